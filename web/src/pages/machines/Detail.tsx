/** What a machine is, of one that is well; of what is not, for how long and why. */

import type { Machine } from "@/api/machineTypes";
import { Since } from "@/parts/Time";
import { VERDICT_WORD } from "@/words/verdicts";
import { systemOf } from "./facts";
import styles from "./Detail.module.css";

export function Detail({ machine }: { machine: Machine }) {
  const { verdict, since, reason, tags } = machine;
  if (verdict === "up") return <>{[systemOf(machine), ...tags].filter((word) => word !== "").join(" · ")}</>;
  return (
    <span className={styles.trouble} data-sign={verdict}>
      {VERDICT_WORD[verdict]} <Since at={since} rough />
      {reason !== "" && <span className={styles.reason}> · {reason}</span>}
    </span>
  );
}
