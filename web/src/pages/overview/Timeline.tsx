/** What changed lately, newest first: what, for how long, why. */

import { useMemo, useState, type ReactNode } from "react";
import { Link } from "wouter";
import type { TimelineEntry } from "@/api/types";
import { Icon } from "@/parts/Icon";
import { Panel } from "@/parts/Panel";
import { Sign } from "@/parts/Sign";
import { Moment, Since } from "@/parts/Time";
import { count } from "@/words/numbers";
import { duration } from "@/words/time";
import { partOf, wordOf } from "@/words/rules";
import { isFold, linesOf, type Change, type Fold } from "./changes";
import styles from "./Timeline.module.css";

/** How many changes the server tells at most: with so many there may be more. */
const MOST_ENTRIES = 100;
const LINES_AT_FIRST = 12;

export function Timeline({ entries }: { entries: readonly TimelineEntry[] }) {
  const lines = useMemo(() => linesOf(entries, entries.length >= MOST_ENTRIES), [entries]);
  const [all, setAll] = useState(false);
  const shown = all ? lines : lines.slice(0, LINES_AT_FIRST);
  const hidden = lines.length - shown.length;
  return (
    <Panel title="Recent changes" flush>
      {lines.length === 0 ? (
        <p className={styles.none}>Nothing has gone wrong since Tocsin started watching.</p>
      ) : (
        <ol className={styles.timeline}>
          {shown.map((line) =>
            isFold(line) ? <Folded key={line.key} fold={line} /> : <Single key={line.id} change={line} />,
          )}
        </ol>
      )}
      {hidden > 0 && (
        <button type="button" className={styles.more} onClick={() => setAll(true)}>
          {count(hidden)} earlier
        </button>
      )}
    </Panel>
  );
}

function Single({ change }: { change: Change }) {
  const { kind, id, name } = change.subject;
  return (
    <Entry
      change={change}
      name={
        <Link href={`/${kind}s/${id}`} className={styles.name}>
          {name}
        </Link>
      }
    >
      <What change={change} />
      <Why reason={change.reason} />
    </Entry>
  );
}

function Folded({ fold }: { fold: Fold }) {
  const [open, setOpen] = useState(false);
  const [newest] = fold.changes;
  if (newest === undefined) return null;
  const reasons = new Set(fold.changes.map((change) => change.reason));
  const times = `${count(fold.changes.length)}${fold.orMore ? "+" : ""}`;
  return (
    <>
      <Entry
        change={newest}
        name={
          <button
            type="button"
            className={styles.fold}
            aria-expanded={open}
            data-open={open || undefined}
            onClick={() => setOpen(!open)}
          >
            <span className={styles.foldName}>
              {fold.of === "one" ? newest.subject.name : `${times} ${newest.subject.kind}s`}
            </span>
            <Icon name="right" size={12} />
          </button>
        }
      >
        <Together fold={fold} newest={newest} />
        {fold.of === "one" && `, ${times} times`}
        {reasons.size === 1 && <Why reason={newest.reason} />}
      </Entry>
      {open && (
        <li>
          <ol className={styles.inside}>
            {fold.changes.map((change) => (
              <Single key={change.id} change={change} />
            ))}
          </ol>
        </li>
      )}
    </>
  );
}

function Entry({ change, name, children }: { change: Change; name: ReactNode; children: ReactNode }) {
  return (
    <li className={styles.entry}>
      <span className={styles.when}>
        <Moment at={change.at} />
      </span>
      <Sign of={change.event === "recovered" ? "up" : change.trouble} />
      {name}
      <span className={styles.what}>{children}</span>
    </li>
  );
}

/** "down for 4 min", "was degraded for 2 min", "recovered after 4 min down", "CPU recovered after 2 min critical". */
function What({ change }: { change: Change }) {
  const { event, since, lastedMs } = change;
  if (event === "began" && since !== null)
    return (
      <>
        {troubleWords(change)} for <Since at={since} />
      </>
    );
  const part = partOf(change.rule);
  if (lastedMs === null) return event === "recovered" ? `${part}recovered` : troubleWords(change);
  return event === "recovered"
    ? `${part}recovered after ${duration(lastedMs)} ${troubleWord(change)}`
    : `${part}was ${troubleWord(change)} for ${duration(lastedMs)}`;
}

/** The same of many: of what is over, the longest. */
function Together({ fold, newest }: { fold: Fold; newest: Change }) {
  const part = partOf(newest.rule);
  const word = troubleWord(newest);
  const longestMs = Math.max(...fold.changes.map((change) => change.lastedMs ?? 0));
  const upTo = longestMs === 0 ? "" : ` up to ${duration(longestMs)}`;
  if (newest.event === "began") return <What change={oldest(fold, newest)} />;
  if (newest.event === "passed") return `${part}was ${word}${upTo && ` for${upTo}`}`;
  return `${part}recovered${upTo && ` after${upTo} ${word}`}`;
}

function oldest(fold: Fold, newest: Change): Change {
  return fold.changes.at(-1) ?? newest;
}

function troubleWords(change: Change): string {
  return `${partOf(change.rule)}${troubleWord(change)}`;
}

function troubleWord({ rule, trouble }: Change): string {
  return trouble === "paused" ? "paused" : wordOf(rule, trouble);
}

function Why({ reason }: { reason: string }) {
  return reason === "" ? null : <span className="muted"> · {reason}</span>;
}
