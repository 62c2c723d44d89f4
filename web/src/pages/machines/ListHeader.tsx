/** The columns' names; a click sorts by one, a second click turns it round. */

import type { Filters, SortName } from "./filters";
import styles from "./ListHeader.module.css";
import row from "./Row.module.css";

interface Props {
  filters: Filters;
  change: (changes: Partial<Filters>) => void;
}

interface Column {
  sort: SortName | null;
  name: string;
  className: string | undefined;
}

const COLUMNS: readonly Column[] = [
  { sort: "state", name: "State", className: row.sign },
  { sort: "name", name: "Name", className: row.who },
  { sort: "cpu", name: "CPU", className: row.cpu },
  { sort: null, name: "30 min", className: row.spark },
  { sort: "memory", name: "Memory", className: row.memory },
  { sort: "disk", name: "Disk", className: row.disk },
  { sort: "load", name: "Load", className: row.load },
  { sort: "network", name: "Network", className: row.network },
  { sort: "seen", name: "Seen", className: row.seen },
];

export function ListHeader({ filters, change }: Props) {
  return (
    <div role="row" className={`${row.row ?? ""} ${styles.header ?? ""}`}>
      {COLUMNS.map(({ sort, name, className }) => {
        const active = sort === filters.sort;
        const label = name === "State" ? <span className="away">State</span> : name;
        return (
          <span
            key={name}
            role="columnheader"
            className={className}
            aria-sort={active ? (filters.descending ? "descending" : "ascending") : undefined}
          >
            {sort === null ? (
              name
            ) : (
              <button
                type="button"
                className={styles.sort}
                data-tip={name === "State" ? "Sort by state, worst first" : undefined}
                onClick={() => change({ sort, descending: active && !filters.descending })}
              >
                {label}
                <span
                  aria-hidden
                  className={name === "State" ? styles.alone : styles.arrow}
                  data-active={active || undefined}
                >
                  {active && filters.descending ? "↑" : "↓"}
                </span>
              </button>
            )}
          </span>
        );
      })}
    </div>
  );
}
