/** What the axes and lines of every chart have in common. */

import type uPlot from "uplot";
import { lonely } from "./lonely";

export const FONT = "11px system-ui, sans-serif";
const DAY_S = 86_400;

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DATE = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const MONTH = new Intl.DateTimeFormat(undefined, { month: "short", year: "2-digit" });

export function timeWords({ fromS, toS }: { fromS: number; toS: number }): uPlot.Axis.DynamicValues {
  const spanS = toS - fromS;
  return (_plot, splits) =>
    splits.map((split) => {
      const at = new Date(split * 1_000);
      if (spanS > 200 * DAY_S) return MONTH.format(at);
      // Days are named where they begin; twelve hours later it is still the same day.
      return at.getHours() === 0 && at.getMinutes() === 0 ? DATE.format(at) : CLOCK.format(at);
    });
}

/** Values without a neighbour still show, as dots. */
export const LONELY_POINTS: uPlot.Series.Points = {
  show: true,
  size: 4,
  filter: (plot, series) => lonely(plot.data[series] as (number | null)[]),
};
