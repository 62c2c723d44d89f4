/** Latency on a regular grid: a step without a point is null, so that a gap is drawn as a gap. Pure. */

import type { Latency, LatencyPoint } from "@/api/types";
import { PHASES } from "@/parts/examination/phases";

export type Column = (number | null)[];

export interface Grid {
  /** Epoch seconds, one per step. */
  xs: number[];
  /** The point of each step; null where nothing was checked. */
  points: (LatencyPoint | null)[];
}

export function gridOf(latency: Latency): Grid {
  const step = Math.max(1, latency.step_s);
  const to = Date.parse(latency.to) / 1_000;
  const known = new Map(latency.points.map((point) => [Math.round(Date.parse(point.at) / 1_000), point]));
  // Steps are aligned as the points are; without points there is nothing to align with.
  const first = latency.points[0];
  const anchor = first === undefined ? Date.parse(latency.from) / 1_000 : Date.parse(first.at) / 1_000;
  const from = Date.parse(latency.from) / 1_000;
  const start = anchor - Math.ceil((anchor - from) / step) * step;
  const grid: Grid = { xs: [], points: [] };
  for (let at = start; at <= to; at += step) {
    grid.xs.push(at);
    grid.points.push(known.get(Math.round(at)) ?? null);
  }
  return grid;
}

type Measure = "p50_ms" | "p95_ms" | "p99_ms" | "min_ms" | "max_ms";

export function column(grid: Grid, measure: Measure): Column {
  return grid.points.map((point) => point?.[measure] ?? null);
}

/** The phases piled up: each column is the sum up to and including its phase. */
export function piled(grid: Grid): Column[] {
  const totals: Column = grid.points.map((point) => (point === null || !measured(point) ? null : 0));
  return PHASES.map(({ field }) => {
    grid.points.forEach((point, index) => {
      const total = totals[index];
      if (point !== null && total !== null && total !== undefined)
        totals[index] = total + (point.phases[field] ?? 0);
    });
    return [...totals];
  });
}

function measured(point: LatencyPoint): boolean {
  return PHASES.some(({ field }) => point.phases[field] !== null);
}
