/** The chart's numbers as a table, newest first. */

import type { Latency } from "@/api/types";
import { Moment } from "@/parts/Time";
import { latency as words } from "@/words/numbers";
import styles from "./LatencyTable.module.css";

export function LatencyTable({ latency }: { latency: Latency }) {
  return (
    <div className={styles.scroll} tabIndex={0} role="region" aria-label="Latency as a table">
      <table className={styles.table}>
        <thead>
          <tr>
            <th>From</th>
            <th>Checks</th>
            <th>Failed</th>
            <th>p50</th>
            <th>p95</th>
            <th>p99</th>
            <th>min</th>
            <th>max</th>
          </tr>
        </thead>
        <tbody>
          {[...latency.points].reverse().map((point) => (
            <tr key={point.at}>
              <td>
                <Moment at={point.at} seconds={latency.step_s < 60} />
              </td>
              <td>{point.checks}</td>
              <td>{point.failed}</td>
              <td>{words(point.p50_ms)}</td>
              <td>{words(point.p95_ms)}</td>
              <td>{words(point.p99_ms)}</td>
              <td>{words(point.min_ms)}</td>
              <td>{words(point.max_ms)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
