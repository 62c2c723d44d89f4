/** What the axes and lines of every chart have in common. */

import type uPlot from "uplot";
import { lonely } from "./lonely";

export const FONT = "11px system-ui, sans-serif";
const DAY_S = 86_400;

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const CLOCK_SECONDS = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});
const DATE = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const MONTH = new Intl.DateTimeFormat(undefined, { month: "short", year: "2-digit" });

interface Range {
  fromS: number;
  toS: number;
}

export function timeWords(range: Range): uPlot.Axis.DynamicValues {
  return (_plot, splits) => timesOf(range, splits);
}

/** What stands under an axis at those times. */
export function timesOf({ fromS, toS }: Range, splits: readonly number[]): string[] {
  // Closer than a minute, or the same words would stand beside each other.
  const clock = (splits[1] ?? Infinity) - (splits[0] ?? 0) < 60 ? CLOCK_SECONDS : CLOCK;
  return splits.map((split) => {
    const at = new Date(split * 1_000);
    if (toS - fromS > 200 * DAY_S) return MONTH.format(at);
    // Days are named where they begin; twelve hours later it is still the same day.
    const begins = at.getHours() === 0 && at.getMinutes() === 0 && at.getSeconds() === 0;
    return begins ? DATE.format(at) : clock.format(at);
  });
}

/** Pixels from one time to the next: more where they may have seconds. */
export function timeSpace(_plot: uPlot, _axis: number, fromS: number, toS: number): number {
  return toS - fromS < 1_800 ? 84 : 64;
}

/** Values without a neighbour still show, as dots. */
export const LONELY_POINTS: uPlot.Series.Points = {
  show: true,
  size: 4,
  filter: (plot, series) => lonely(plot.data[series] as (number | null)[]),
};
