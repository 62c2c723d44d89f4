/** Three numbers that say how it has been. */

import type { Overview } from "@/api/types";
import { count, latency, percent } from "@/words/numbers";
import { duration } from "@/words/time";
import styles from "./Figures.module.css";

/** Thirty days, but for what a restart or a short loss of the own network takes away. */
const MONTH_S = 0.99 * 30 * 86_400;

export function Figures({ overview }: { overview: Overview }) {
  const measuredS = overview.measured_s_30d;
  const partial = measuredS > 0 && measuredS < MONTH_S;
  const figures = [
    {
      name: "Uptime, 30 days",
      value: percent(overview.uptime_30d),
      aside: partial ? `of ${duration(measuredS * 1_000)} measured` : "",
      tip: "Time up or degraded, of the time that was measured; all targets.",
    },
    { name: "p95 latency, 24 h", value: latency(overview.p95_ms_24h), tip: "95 of 100 checks were faster." },
    {
      name: "Checks a minute",
      value: count(Math.round(overview.checks_per_minute)),
      tip: "Over the last minutes.",
    },
  ];
  const { up, degraded, down, unknown } = overview.machines;
  const machines = up + degraded + down + unknown;
  if (machines > 0)
    figures.push({
      name: "Machines",
      value: `${count(up)}/${count(machines)}`,
      tip: "How many are up, of all that report.",
    });
  return (
    <dl className={styles.figures}>
      {figures.map(({ name, value, aside = "", tip }) => (
        <div key={name} data-tip={tip}>
          <dt>{name}</dt>
          <dd>
            {value}
            {aside !== "" && <span className={styles.aside}>{aside}</span>}
          </dd>
        </div>
      ))}
    </dl>
  );
}
