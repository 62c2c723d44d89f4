/** What changed lately, newest first, by day. */

import { Link } from "wouter";
import type { TimelineEntry } from "@/api/types";
import { Panel } from "@/parts/Panel";
import { Sign } from "@/parts/Sign";
import { Moment } from "@/parts/Time";
import { TransitionWords } from "@/parts/TransitionWords";
import { duration } from "@/words/time";
import styles from "./Timeline.module.css";

export function Timeline({ entries }: { entries: readonly TimelineEntry[] }) {
  return (
    <Panel title="Recent changes" flush>
      {entries.length === 0 ? (
        <p className={styles.none}>Nothing has changed since Tocsin started watching.</p>
      ) : (
        <ol className={styles.timeline}>
          {entries.map((entry) => (
            <li key={entry.id} className={styles.entry}>
              <span className={styles.when}>
                <Moment at={entry.at} />
              </span>
              <Sign of={entry.to} />
              <Link href={`/targets/${entry.target.id}`} className={styles.name}>
                {entry.target.name}
              </Link>
              <span className={styles.what}>
                <TransitionWords transition={entry} />
              </span>
              <span className={styles.lasted}>
                {entry.ended_at !== null && entry.to !== "up" && `for ${duration(entry.duration_s * 1_000)}`}
              </span>
            </li>
          ))}
        </ol>
      )}
    </Panel>
  );
}
