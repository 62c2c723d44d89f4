/** The legend; while the pointer is on the chart, with the numbers under it. */

import type { LatencyPoint } from "@/api/types";
import { PHASES } from "@/parts/examination/phases";
import { clock } from "@/words/clock";
import { counted, latency } from "@/words/numbers";
import { moment } from "@/words/time";
import { LINES, type Mode } from "./chart/plot";
import styles from "./Readout.module.css";

interface Props {
  mode: Mode;
  /** Whether there is anything to draw: a check that failed has no latency. */
  measured: boolean;
  /** All there is so far, which is less than the window asked for. */
  whole: boolean;
  point: LatencyPoint | null;
  /** Epoch seconds of the step under the pointer. */
  at: number | null;
}

export function Readout({ mode, measured, whole, point, at }: Props) {
  const items =
    mode === "percentiles"
      ? [
          ...LINES.map(({ name, field, colour }) => ({ name, colour, value: point?.[field] })),
          { name: "min–max", colour: "--accent-soft", value: null },
        ]
      : PHASES.map(({ name, field, colour }) => ({ name, colour, value: point?.phases[field] }));
  return (
    <figcaption className={styles.readout} aria-hidden>
      {items.map(({ name, colour, value }) => (
        <span key={name} className={styles.item}>
          <span className={styles.swatch} style={{ background: `var(${colour})` }} />
          {name}
          {point !== null && name === "min–max" ? (
            <b>
              {latency(point.min_ms)}–{latency(point.max_ms)}
            </b>
          ) : (
            point !== null && <b>{latency(value)}</b>
          )}
        </span>
      ))}
      <span className={styles.at}>
        {at === null
          ? measured
            ? `${whole ? "all there is so far · " : ""}drag to zoom`
            : "no check passed, so there is no latency to draw"
          : `${moment(at * 1_000, clock.now())} · ${point === null ? "no data" : `${counted(point.checks, "check")}${point.failed > 0 ? `, ${point.failed} failed` : ""}`}`}
      </span>
    </figcaption>
  );
}
