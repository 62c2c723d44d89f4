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
  { sort: "cpu", name: "CPU", className: row.cpu },
  { sort: null, name: "30 min", className: row.spark },
  { sort: "memory", name: "Memory", className: row.memory },
  { sort: "disk", name: "Disk", className: row.disk },
  { sort: "load", name: "Load", className: row.load },
  { sort: "network", name: "Network", className: row.network },
  { sort: "seen", name: "Seen", className: row.seen },
];

export function ListHeader({ filters, change }: Props) {
  return <ColumnNames columns={COLUMNS} sorted={filters} change={change} row={row.row} />;
}
