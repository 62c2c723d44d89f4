/**
 * The last 24 hours, an hour a cell. What is bad stands taller than what is well, unknown is hatched, and where there
 * was no data there is a gap: no cell needs its colour to be read.
 */

import { memo } from "react";
import type { BarCell, Verdict } from "@/api/types";
import { counted } from "@/words/numbers";
import { moment } from "@/words/time";
import styles from "./Bar.module.css";

const STEP = 6;
const WIDTH = 4;
const HEIGHT = 20;
const SIGNS: readonly Verdict[] = ["up", "unknown", "degraded", "down"];

export const Bar = memo(function Bar({ cells }: { cells: readonly BarCell[] }) {
  const width = cells.length * STEP - (STEP - WIDTH);
  return (
    <svg
      className={styles.bar}
      width={width}
      height={HEIGHT}
      viewBox={`0 0 ${width} ${HEIGHT}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={spoken(cells)}
    >
      {SIGNS.map((verdict) => (
        <path key={verdict} className={styles[verdict]} d={drawn(cells, verdict)} />
      ))}
      <path className={styles.none} d={gaps(cells)} />
      {cells.map((cell, index) => (
        <rect
          key={cell.start}
          className={styles.hit}
          x={index * STEP - 1}
          width={STEP}
          height={HEIGHT}
          data-tip={tip(cell)}
        />
      ))}
    </svg>
  );
});

function drawn(cells: readonly BarCell[], verdict: Verdict): string {
  return cells.map((cell, index) => (cell.verdict === verdict ? SHAPES[verdict](index * STEP) : "")).join("");
}

const SHAPES: Record<Verdict, (x: number) => string> = {
  up: (x) => `M${x} 5h${WIDTH}v10h-${WIDTH}z`,
  unknown: (x) => `M${x} 5h${WIDTH}v10h-${WIDTH}z`,
  // Like its sign, half full: a frame above, solid below.
  degraded: (x) => `M${x} 2h${WIDTH}v8h-1v-7h-2v7h-1zM${x} 10h${WIDTH}v8h-${WIDTH}z`,
  down: (x) => `M${x} 0h${WIDTH}v${HEIGHT}h-${WIDTH}z`,
};

function gaps(cells: readonly BarCell[]): string {
  return cells
    .map((cell, index) => (cell.verdict === null ? `M${index * STEP + 1} 9.5h2v1h-2z` : ""))
    .join("");
}

function tip(cell: BarCell): string {
  const start = Date.parse(cell.start);
  const hour = `${moment(start, start)}–${moment(start + 3_600_000, start + 3_600_000)}`;
  if (cell.verdict === null) return `${hour}: no data`;
  const failed = cell.failed > 0 ? `, ${cell.failed} failed` : "";
  return `${hour}: ${cell.verdict}\n${counted(cell.checks, "check")}${failed}`;
}

function spoken(cells: readonly BarCell[]): string {
  const parts = [...SIGNS]
    .reverse()
    .map((verdict) => [cells.filter((cell) => cell.verdict === verdict).length, verdict] as const)
    .filter(([hours]) => hours > 0)
    .map(([hours, verdict]) => `${hours} h ${verdict}`);
  const empty = cells.filter((cell) => cell.verdict === null).length;
  if (empty > 0) parts.push(`${empty} h no data`);
  return `Last 24 hours: ${parts.join(", ")}`;
}
