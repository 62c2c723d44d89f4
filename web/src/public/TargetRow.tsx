/** One target, with whatever of it was chosen to be shown. */

import { memo } from "react";
import { Sign } from "@/parts/Sign";
import { Ago, Since } from "@/parts/Time";
import { latency } from "@/words/numbers";
import { VERDICT_WORD } from "@/words/verdicts";
import type { Target } from "./picture";
import { isPaused, nameOf } from "./standing";
import styles from "./TargetRow.module.css";

export const TargetRow = memo(function TargetRow({ target }: { target: Target }) {
  const { verdict, since, reason, last_check_at, last_latency_ms } = target;
  const paused = isPaused(target);
  return (
    <li className={styles.row}>
      {verdict !== undefined && <Sign of={paused ? "paused" : verdict} size={12} />}
      <span className={styles.name}>{nameOf(target)}</span>
      <span className={styles.stand}>
        {verdict !== undefined && (paused ? "paused" : VERDICT_WORD[verdict])}
        {since !== undefined && since !== null && !paused && (
          <>
            {" for "}
            <Since at={since} rough />
          </>
        )}
        {reason !== undefined && reason !== "" && `: ${reason}`}
      </span>
      {last_latency_ms !== undefined && <span className={styles.latency}>{latency(last_latency_ms)}</span>}
      {last_check_at !== undefined && last_check_at !== null && (
        <span className={styles.seen}>
          <Ago at={last_check_at} />
        </span>
      )}
    </li>
  );
});
