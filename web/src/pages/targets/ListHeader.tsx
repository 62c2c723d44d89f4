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
  { sort: null, name: "Tags", className: row.tags },
  { sort: null, name: "24 hours", className: row.bar },
  { sort: "uptime", name: "Uptime", className: row.uptime },
  { sort: "p95", name: "p95", className: row.p95 },
  { sort: "checked", name: "Checked", className: row.checked },
];

export function ListHeader({ filters, change }: Props) {
  return (
    <div role="row" className={`${row.row ?? ""} ${styles.header ?? ""}`}>
      <span role="columnheader" className={row.pick}>
        <span className="away">Selected</span>
      </span>
      {COLUMNS.map(({ sort, name, className }) => {
        const active = sort === filters.sort;
        const direction = filters.descending ? "descending" : "ascending";
        const label = name === "State" ? <span className="away">State</span> : name;
        return (
          <span
            key={name}
            role="columnheader"
            className={className}
            aria-sort={active ? direction : undefined}
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
