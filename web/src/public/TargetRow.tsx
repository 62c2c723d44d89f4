/** One target, with whatever of it was chosen to be shown. */

import { memo } from "react";
import { Sign } from "@/parts/Sign";
import { Ago } from "@/parts/Time";
import { latency } from "@/words/numbers";
import { VERDICT_WORD } from "@/words/verdicts";
import type { Target } from "./picture";
import { StandWords } from "./StandWords";
import { isPaused, nameOf } from "./standing";
import styles from "./TargetRow.module.css";

interface Props {
  target: Target;
  /** Nobody vouches for it any more. */
  isOld: boolean;
}

export const TargetRow = memo(function TargetRow({ target, isOld }: Props) {
  const { verdict, since, reason, last_check_at, last_latency_ms } = target;
  const paused = isPaused(target);
  return (
    <div className={styles.row} data-old={isOld || undefined}>
      {verdict !== undefined && <Sign of={paused ? "paused" : verdict} size={12} />}
      <span className={styles.name}>{nameOf(target)}</span>
      <span className={styles.stand}>
        {verdict !== undefined && (
          <StandWords
            word={paused ? "paused" : VERDICT_WORD[verdict]}
            since={paused ? null : since}
            reason={reason}
            isOld={isOld}
          />
        )}
      </span>
      {last_latency_ms !== undefined && <span className={styles.latency}>{latency(last_latency_ms)}</span>}
      {last_check_at !== undefined && last_check_at !== null && (
        <span className={styles.seen}>
          <Ago at={last_check_at} />
        </span>
      )}
    </div>
  );
});
