/** A window that ends now, grown at its end: what is known keeps, only what came since is asked for. */

import type { OneSeries, SeriesAnswer } from "./machineTypes";

/** The last points may still have been growing when they were read. */
const AGAIN_STEPS = 3;
/** Samples that came late lie further back: now and then everything is asked for again. */
const WHOLE_AGAIN_MS = 120_000;

export interface Seen extends SeriesAnswer {
  /** When all of it was asked for last. */
  wholeAtMs: number;
}

/** `ask` is called with where to begin, and answers from there to the end of the window. */
export async function withTail(
  known: Seen | undefined,
  range: { from: string; to: string },
  ask: (from: string) => Promise<SeriesAnswer>,
  nowMs: number,
): Promise<Seen> {
  const whole = async () => ({ ...(await ask(range.from)), wholeAtMs: nowMs });
  if (known === undefined || nowMs - known.wholeAtMs > WHOLE_AGAIN_MS) return whole();
  const since = Date.parse(known.to) - AGAIN_STEPS * known.step_s * 1_000;
  if (since <= Date.parse(range.from)) return whole();
  const tail = await ask(new Date(since).toISOString());
  if (tail.step_s !== known.step_s || !sameSeries(known.series, tail.series)) return whole();
  return { ...joined(known, tail, range), wholeAtMs: known.wholeAtMs };
}

/** `known` up to where `tail` begins, then `tail`; without what lies before the window. Both have the same series. */
export function joined(
  known: SeriesAnswer,
  tail: SeriesAnswer,
  range: { from: string; to: string },
): SeriesAnswer {
  const begins = Math.min(Date.parse(tail.from), tail.at[0] ?? Infinity);
  const end = firstAtLeast(known.at, begins);
  const start = Math.min(firstAtLeast(known.at, Date.parse(range.from)), end);
  const join = <T>(before: readonly T[], after: readonly T[]): T[] => [...before.slice(start, end), ...after];
  return {
    ...tail,
    from: range.from,
    at: join(known.at, tail.at),
    series: tail.series.map((one, index) => {
      const before = known.series[index];
      if (before === undefined) return one;
      return {
        ...one,
        avg: join(before.avg, one.avg),
        min: join(before.min, one.min),
        max: join(before.max, one.max),
        last: join(before.last, one.last),
      };
    }),
  };
}

function firstAtLeast(at: readonly number[], wanted: number): number {
  let low = 0;
  let high = at.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((at[middle] ?? Infinity) < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}

function sameSeries(a: readonly OneSeries[], b: readonly OneSeries[]): boolean {
  return a.length === b.length && a.every((one, index) => labelOf(one) === labelOf(b[index]));
}

function labelOf(one: OneSeries | undefined): string {
  return one === undefined ? "" : `${one.name}${JSON.stringify(one.attributes)}`;
}
