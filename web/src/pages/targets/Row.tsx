/** One target in one line: state, who, its last 24 hours, uptime, speed, when last looked at. */

import { memo } from "react";
import { Link } from "wouter";
import type { Target } from "@/api/types";
import { Bar } from "@/parts/Bar";
import { Sign } from "@/parts/Sign";
import { Ago, Since } from "@/parts/Time";
import { latency, percent } from "@/words/numbers";
import { word } from "@/words/verdicts";
import styles from "./Row.module.css";

interface Props {
  target: Target;
  picked: boolean;
  pick: (id: number) => void;
}

/** Two tags with no more letters than these stand beside each other. */
const TAG_LETTERS = 12;

export const Row = memo(function Row({ target, picked, pick }: Props) {
  const { id, name, verdict, enabled, summary } = target;
  const sign = enabled ? verdict : "paused";
  return (
    <div role="presentation" className={styles.row} data-sign={sign} data-picked={picked || undefined}>
      <span role="cell" className={styles.pick}>
        <input
          type="checkbox"
          aria-label={`Select ${name}`}
          checked={picked}
          onChange={() => pick(id)}
          tabIndex={-1}
        />
      </span>
      <span role="cell" key={sign} className={`${styles.sign ?? ""} arrives`}>
        <Sign of={sign} label={word(target)} />
      </span>
      <span role="cell" className={styles.who}>
        <Link href={`/targets/${id}`} className={styles.name}>
          {name}
        </Link>
        <span className={styles.detail}>
          <Detail target={target} />
        </span>
      </span>
      <span role="cell" className={styles.tags}>
        <Tags tags={target.tags} />
      </span>
      <span role="cell" className={styles.bar}>
        {summary === null || summary === undefined ? null : <Bar cells={summary.bar} />}
      </span>
      <span role="cell" className={styles.uptime} data-none={summary?.uptime_24h === null || undefined}>
        {summary === null || summary === undefined ? "" : percent(summary.uptime_24h)}
      </span>
      <span role="cell" className={styles.p95}>
        {latency(summary?.p95_ms_24h)}
      </span>
      <span role="cell" className={styles.checked}>
        {target.last_check_at === null ? "–" : <Ago at={target.last_check_at} />}
      </span>
    </div>
  );
});

/** One or two of them, as there is room; how many more, with their names in the tip. */
function Tags({ tags }: { tags: readonly string[] }) {
  const shown = tags.slice(0, tags.slice(0, 2).join("").length > TAG_LETTERS ? 1 : 2);
  const more = tags.length - shown.length;
  return (
    <>
      {shown.map((tag) => (
        <span key={tag} className={styles.tag}>
          {tag}
        </span>
      ))}
      {more > 0 && (
        <span className={styles.moreTags} data-tip={tags.join("\n")}>
          +{more}
        </span>
      )}
    </>
  );
}

/** The address of what is well; of what is not, for how long and why. */
function Detail({ target }: { target: Target }) {
  const troubled = target.enabled && (target.verdict === "down" || target.verdict === "degraded");
  if (!troubled) return target.endpoint;
  return (
    <>
      <span className={styles.trouble}>
        {word(target)} <Since at={target.since} rough />
      </span>
      {target.because_of !== null
        ? ` · because of ${target.because_of.name}`
        : target.reason !== "" && ` · ${target.reason}`}
    </>
  );
}
