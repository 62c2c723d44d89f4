/** Series on a time axis: a stretch without points is a gap, and kinds of one whole can be piled up. Pure. */

import type { OneSeries, SeriesAnswer } from "@/api/machineTypes";

export type Column = (number | null)[];

export interface Line {
  name: string;
  /** A colour of tokens.css. */
  colour: string;
  avg: Column;
  min: Column;
  max: Column;
}

/** Further apart than this many steps there was nothing in between. */
const GAP_STEPS = 2.5;

export interface Frame {
  /** Epoch seconds. */
  at: number[];
  lines: Line[];
}

/** Puts an empty moment into every stretch without points, so that no line is drawn across it. */
export function withGaps(atMs: readonly number[], stepS: number, lines: readonly Line[]): Frame {
  const farMs = GAP_STEPS * stepS * 1_000;
  /** For each moment drawn: which point it is; -1: none. */
  const places: number[] = [];
  const at: number[] = [];
  atMs.forEach((ms, index) => {
    const before = atMs[index - 1];
    if (before !== undefined && ms - before > farMs) {
      at.push(before / 1_000 + stepS);
      places.push(-1);
    }
    at.push(ms / 1_000);
    places.push(index);
  });
  if (at.length === atMs.length) return { at, lines: [...lines] };
  const spread = (column: Column): Column => places.map((place) => column[place] ?? null);
  return {
    at,
    lines: lines.map((line) => ({
      ...line,
      avg: spread(line.avg),
      min: spread(line.min),
      max: spread(line.max),
    })),
  };
}

/** Each line on top of those before it; null where none of them has a number. */
export function piled(lines: readonly Line[]): Column[] {
  const length = lines[0]?.avg.length ?? 0;
  const totals: Column = Array.from({ length }, (_, index) =>
    lines.some((line) => (line.avg[index] ?? null) !== null) ? 0 : null,
  );
  return lines.map((line) => {
    line.avg.forEach((value, index) => {
      const total = totals[index] ?? null;
      if (total !== null) totals[index] = total + (value ?? 0);
    });
    return [...totals];
  });
}

/** No drawing has more lines than can be told apart; those that are highest on average stay, in their order. */
export function highest(lines: readonly Line[], most: number): Line[] {
  if (lines.length <= most) return [...lines];
  const means = new Map(lines.map((line) => [line, mean(line.avg)]));
  const kept = new Set([...lines].sort((a, b) => (means.get(b) ?? 0) - (means.get(a) ?? 0)).slice(0, most));
  return lines.filter((line) => kept.has(line));
}

function mean(column: Column): number {
  let sum = 0;
  let count = 0;
  for (const value of column) {
    if (value === null) continue;
    sum += value;
    count += 1;
  }
  return count === 0 ? -Infinity : sum / count;
}

export function latest(column: Column): number | null {
  return column.findLast((value) => value !== null) ?? null;
}

/** Every point of one or several columns through one formula; null as soon as one of them is. */
export function combined(columns: readonly Column[], formula: (...values: number[]) => number): Column {
  const length = columns[0]?.length ?? 0;
  return Array.from({ length }, (_, index) => {
    const values: number[] = [];
    for (const column of columns) {
      const value = column[index] ?? null;
      if (value === null) return null;
      values.push(value);
    }
    const result = formula(...values);
    return Number.isFinite(result) ? result : null;
  });
}

/** Columns added up; what is missing in one counts nothing, what is missing in all is missing. */
export function added(columns: readonly Column[]): Column {
  const length = columns[0]?.length ?? 0;
  return Array.from({ length }, (_, index) => {
    let sum: number | null = null;
    for (const column of columns) {
      const value = column[index] ?? null;
      if (value !== null) sum = (sum ?? 0) + value;
    }
    return sum;
  });
}

export function of(answer: SeriesAnswer, name: string, wanted: Record<string, string> = {}): OneSeries[] {
  return answer.series.filter(
    (one) =>
      one.name === name && Object.entries(wanted).every(([key, value]) => one.attributes[key] === value),
  );
}
