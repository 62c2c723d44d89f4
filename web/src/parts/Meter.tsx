/** A share of a whole as a bar, with marks where it becomes too much. A number of the past is hatched. */

import { share } from "@/words/measures";
import styles from "./Meter.module.css";

interface Props {
  /** "CPU", for who cannot see it. */
  name: string;
  value: number | null;
  /** Null: it is not judged. */
  band: { warn: number | null; critical: number | null } | null;
  /** What the machine said last, and not now. */
  old?: boolean;
  tip?: string | undefined;
}

export function Meter({ name, value, band, old = false, tip }: Props) {
  const level = levelOf(value, band);
  const width = value === null ? 0 : Math.min(1, Math.max(0, value)) * 100;
  return (
    <span
      className={styles.meter}
      data-level={level === "" ? undefined : level}
      data-old={old || undefined}
      data-tip={tip}
      role="meter"
      aria-label={name}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.round(width)}
      aria-valuetext={`${share(value)}${level === "" ? "" : `, above ${level === "warn" ? "the warning" : "the critical"} mark`}`}
    >
      <span className={styles.track}>
        <span className={styles.fill} style={{ width: `${width}%` }} />
        {[band?.warn, band?.critical].map(
          (mark) =>
            mark !== null &&
            mark !== undefined && (
              <span key={mark} className={styles.mark} style={{ left: `${mark * 100}%` }} />
            ),
        )}
      </span>
      <span className={styles.value} aria-hidden>
        {share(value)}
      </span>
    </span>
  );
}

export type Level = "" | "warn" | "critical";

export function levelOf(value: number | null, band: Props["band"]): Level {
  if (value === null || band === null) return "";
  if (value >= (band.critical ?? Infinity)) return "critical";
  return value >= (band.warn ?? Infinity) ? "warn" : "";
}
