/** Half an hour in a small line, from 0 to 1. Where there was nothing there is a gap. */

import { memo } from "react";
import { share } from "@/words/measures";
import { sparkPaths } from "./sparkPaths";
import styles from "./Spark.module.css";

interface Props {
  values: readonly (number | null)[];
  height: number;
  /** "CPU, last 30 minutes". */
  label: string;
}

export const Spark = memo(function Spark({ values, height, label }: Props) {
  const { line, area, dots, highest, width } = sparkPaths(values, height);
  return (
    <svg
      className={styles.spark}
      height={height}
      viewBox={`0 0 ${width} ${height}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={`${label}: ${highest === null ? "no data" : `at most ${share(highest)}`}`}
    >
      <path className={styles.floor} d={`M0 ${height - 0.5}H${width}`} />
      <path className={styles.area} d={area} />
      <path className={styles.line} d={line} />
      <path className={styles.dot} d={dots} />
    </svg>
  );
});
