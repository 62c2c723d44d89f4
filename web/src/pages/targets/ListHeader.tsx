/** The columns of the list. */

import { ColumnNames, type Column } from "@/parts/ColumnNames";
import type { Filters, SortName } from "./filters";
import row from "./Row.module.css";

interface Props {
  filters: Filters;
  change: (changes: Partial<Filters>) => void;
}

const COLUMNS: readonly Column<SortName>[] = [
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
    <ColumnNames columns={COLUMNS} sorted={filters} change={change} row={row.row}>
      <span role="columnheader" className={row.pick}>
        <span className="away">Selected</span>
      </span>
    </ColumnNames>
  );
}
