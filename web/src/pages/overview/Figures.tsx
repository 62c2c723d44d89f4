/** Three numbers that say how it has been. */

import type { Overview } from "@/api/types";
import { count, latency, percent } from "@/words/numbers";
import styles from "./Figures.module.css";

export function Figures({ overview }: { overview: Overview }) {
  const figures = [
    {
      name: "Uptime, 30 days",
      value: percent(overview.uptime_30d),
      tip: "Time up or degraded, of the time that was measured; all targets.",
    },
    { name: "p95 latency, 24 h", value: latency(overview.p95_ms_24h), tip: "95 of 100 checks were faster." },
    {
      name: "Checks a minute",
      value: count(Math.round(overview.checks_per_minute)),
      tip: "Over the last minutes.",
    },
  ];
  return (
    <dl className={styles.figures}>
      {figures.map(({ name, value, tip }) => (
        <div key={name} data-tip={tip}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
