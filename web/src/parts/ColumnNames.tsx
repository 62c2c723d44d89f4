/** The names of a list's columns; a click sorts by one, a second click turns it round. */

import type { ReactNode } from "react";
import styles from "./ColumnNames.module.css";

export interface Column<Sort> {
  /** What it is sorted by; null: nothing. */
  sort: Sort | null;
  name: string;
  className: string | undefined;
}

interface Sorted<Sort> {
  sort: Sort;
  descending: boolean;
}

interface Props<Sort> {
  columns: readonly Column<Sort>[];
  sorted: Sorted<Sort>;
  change: (sorted: Sorted<Sort>) => void;
  /** The class of a row, which has the same columns. */
  row: string | undefined;
  /** Cells before the first column. */
  children?: ReactNode;
}

export function ColumnNames<Sort>({ columns, sorted, change, row, children }: Props<Sort>) {
  return (
    <div role="row" className={`${row ?? ""} ${styles.header ?? ""}`}>
      {children}
      {columns.map(({ sort, name, className }) => {
        const active = sort === sorted.sort;
        const isState = name === "State"; // as wide as its sign: the name is not seen
        return (
          <span
            key={name}
            role="columnheader"
            className={className}
            aria-sort={active ? (sorted.descending ? "descending" : "ascending") : undefined}
          >
            {sort === null ? (
              name
            ) : (
              <button
                type="button"
                className={styles.sort}
                data-tip={isState ? "Sort by state, worst first" : undefined}
                onClick={() => change({ sort, descending: active && !sorted.descending })}
              >
                {isState ? <span className="away">State</span> : name}
                <span
                  aria-hidden
                  className={isState ? styles.alone : styles.arrow}
                  data-active={active || undefined}
                >
                  {active && sorted.descending ? "↑" : "↓"}
                </span>
              </button>
            )}
          </span>
        );
      })}
    </div>
  );
}
