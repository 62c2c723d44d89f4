/** The legend: with the numbers under the cursor, or else the newest; and the deployments near it. */

import type { Deployment } from "@/api/types";
import type { Frame } from "@/parts/chart/frame";
import { latest } from "@/parts/chart/frame";
import type { Unit } from "@/parts/chart/units";
import type { Mark } from "@/parts/deployments/marks";
import { Near } from "@/parts/deployments/Near";
import { clock } from "@/words/clock";
import { moment } from "@/words/time";
import styles from "./Readout.module.css";

interface Props {
  frame: Frame;
  unit: Unit;
  /** Whether the least and the greatest are drawn too. */
  envelope: boolean;
  /** The point under the cursor. */
  at: number | null;
  /** How many lines are not drawn. */
  left: number;
  stepS: number;
  marks: readonly Mark[];
  near: readonly Deployment[];
}

export function Readout({ frame, unit, envelope, at, left, stepS, marks, near }: Props) {
  const { lines } = frame;
  const only = lines.length === 1 && envelope;
  const moments = at === null ? undefined : frame.at[at];
  const when = moments !== undefined && (
    <span className={styles.at}>{moment(moments * 1_000, clock.now(), { seconds: stepS < 60 })}</span>
  );
  return (
    <figcaption className={styles.readout} aria-hidden>
      {lines.length === 0 && <span>Nothing was sent in this time</span>}
      {lines.map((line) => (
        <span key={line.name} className={styles.item}>
          <span className={styles.swatch} style={{ background: `var(${line.colour})` }} />
          <span className={styles.name}>{line.name}</span>
          <b>{unit.words(at === null ? latest(line.avg) : (line.avg[at] ?? null))}</b>
          {only && at !== null && (line.avg[at] ?? null) !== null && line.min[at] !== line.max[at] && (
            <span>
              {unit.words(line.min[at] ?? null)}–{unit.words(line.max[at] ?? null)}
            </span>
          )}
        </span>
      ))}
      {left > 0 && <span data-tip="The highest are drawn; all are in the table.">and {left} more</span>}
      {marks.length === 0 ? (
        when
      ) : (
        <span className={styles.line}>
          <Near marks={marks} near={near} />
          {when}
        </span>
      )}
    </figcaption>
  );
}
