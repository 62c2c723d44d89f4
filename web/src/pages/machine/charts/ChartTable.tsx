/** The chart's numbers as a table, newest first. */

import type { SeriesAnswer } from "@/api/machineTypes";
import type { Line } from "@/parts/chart/frame";
import type { Unit } from "@/parts/chart/units";
import { Moment } from "@/parts/Time";
import styles from "../../target/LatencyTable.module.css";

interface Props {
  answer: SeriesAnswer;
  lines: readonly Line[];
  unit: Unit;
  label: string;
}

/** Further back than this the chart tells more. */
const MOST_ROWS = 500;

export function ChartTable({ answer, lines, unit, label }: Props) {
  const rows = answer.at
    .map((at, index) => ({ at, index }))
    .filter(({ index }) => lines.some((line) => (line.avg[index] ?? null) !== null))
    .reverse()
    .slice(0, MOST_ROWS);
  return (
    <div className={styles.scroll} tabIndex={0} role="region" aria-label={label}>
      <table className={styles.table}>
        <thead>
          <tr>
            <th>From</th>
            {lines.map((line) => (
              <th key={line.name}>{line.name}</th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(({ at, index }) => (
            <tr key={at}>
              <td>
                <Moment at={new Date(at).toISOString()} seconds={answer.step_s < 60} />
              </td>
              {lines.map((line) => (
                <td key={line.name}>
                  {unit.words(line.avg[index] ?? null)}
                  {line.min[index] !== line.max[index] && (
                    <span className="muted">
                      {" "}
                      ({unit.words(line.min[index] ?? null)}–{unit.words(line.max[index] ?? null)})
                    </span>
                  )}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
