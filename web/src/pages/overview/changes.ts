/**
 * What changed lately, in as few lines as tell it: trouble that is over is one line, not two; many equal changes of one
 * minute are one line that opens, and so are those of one that flaps. Pure.
 */

import type { TimelineEntry, Verdict } from "@/api/types";

type Event = "began" | "passed" | "recovered";

/** Nothing is known of a target that is paused, but everybody knows why. */
export type Trouble = Exclude<Verdict, "up"> | "paused";

/** Who changed: a target or a machine. */
export interface Subject {
  kind: "target" | "machine";
  id: number;
  name: string;
}

export interface Change {
  id: number;
  /** When it became news: when it recovered, or when the trouble began. */
  at: string;
  subject: Subject;
  rule: string;
  /** It lasts; it gave way to something else than up; it recovered. */
  event: Event;
  trouble: Trouble;
  /** When the trouble began; null when that is longer ago than the list reaches. */
  since: string | null;
  /** How long it lasted; null while it lasts, and when its beginning is not known. */
  lastedMs: number | null;
  reason: string;
}

export interface Fold {
  /** Stays the same while more of its kind arrive. */
  key: string;
  at: string;
  changes: Change[];
  /** Of one again and again, or of many at once, all of them targets or all machines. */
  of: "one" | "many";
  /** More of them may lie beyond the list's end. */
  orMore: boolean;
}

export type Line = Change | Fold;

/** What the server gives as the reason when somebody paused a target. */
const PAUSED = "paused";
/** As many equal changes as these are told in one line. */
const MANY = 3;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** `entries` newest first; `full`: there are older ones that are not among them. */
export function linesOf(entries: readonly TimelineEntry[], full: boolean): Line[] {
  const changes = changesOf(entries);
  const oldestMs = Date.parse(entries.at(-1)?.at ?? "");
  const inOneMinute = folded(changes, "many", (change) => `${minuteOf(change.at)} ${kindOf(change)}`);
  const lines = folded(
    inOneMinute,
    "one",
    (change) => `${Math.floor(Date.parse(change.at) / HOUR)} ${change.subject.id} ${kindOf(change)}`,
  );
  for (const line of lines) {
    if (isFold(line)) line.orMore = full && minuteOf(line.at) === Math.floor(oldestMs / MINUTE);
  }
  return lines;
}

export function isFold(line: Line): line is Fold {
  return "changes" in line;
}

export function changesOf(entries: readonly TimelineEntry[]): Change[] {
  const endedAt = new Map(
    entries.filter(isTrouble).map((entry) => [`${stateOf(entry)} ${entry.ended_at ?? ""}`, entry]),
  );
  const recovered = new Set<number>();
  const changes: Change[] = [];
  // Newest first: who recovered is met before the trouble it recovered from.
  for (const entry of entries) {
    if (isTrouble(entry)) {
      if (!recovered.has(entry.id)) changes.push(began(entry));
    } else if (entry.from !== "up" && entry.from !== "unknown") {
      const trouble = endedAt.get(`${stateOf(entry)} ${entry.at}`);
      if (trouble !== undefined) recovered.add(trouble.id);
      changes.push(recovery(entry, entry.from, trouble));
    }
  }
  return changes;
}

type TroubleEntry = TimelineEntry & { to: Exclude<Verdict, "up"> };

function isTrouble(entry: TimelineEntry): entry is TroubleEntry {
  return entry.to !== "up";
}

function subjectOf({ target, machine }: TimelineEntry): Subject {
  if (target !== null) return { kind: "target", ...target };
  return { kind: "machine", ...(machine ?? { id: 0, name: "" }) };
}

function stateOf(entry: TimelineEntry): string {
  const { kind, id } = subjectOf(entry);
  return `${kind} ${id} ${entry.rule}`;
}

function began(entry: TroubleEntry): Change {
  const paused = entry.to === "unknown" && entry.reason === PAUSED;
  return {
    id: entry.id,
    at: entry.at,
    subject: subjectOf(entry),
    rule: entry.rule,
    event: entry.ended_at === null ? "began" : "passed",
    trouble: paused ? "paused" : entry.to,
    since: entry.at,
    lastedMs: entry.ended_at === null ? null : entry.duration_s * 1_000,
    reason: paused ? "" : entry.reason,
  };
}

function recovery(entry: TimelineEntry, from: TroubleEntry["to"], trouble: TroubleEntry | undefined): Change {
  return {
    id: entry.id,
    at: entry.at,
    subject: subjectOf(entry),
    rule: entry.rule,
    event: "recovered",
    trouble: from,
    since: trouble?.at ?? null,
    lastedMs: trouble === undefined ? null : trouble.duration_s * 1_000,
    reason: trouble?.reason ?? entry.reason,
  };
}

function kindOf({ event, trouble, rule, subject }: Change): string {
  return `${event} ${trouble} ${subject.kind} ${rule}`;
}

function minuteOf(at: string): number {
  return Math.floor(Date.parse(at) / MINUTE);
}

/** The same lines with those of equal key as one, where the newest of them stood. */
function folded(lines: readonly Line[], of: Fold["of"], keyOf: (change: Change) => string): Line[] {
  const groups = new Map<string, Change[]>();
  for (const line of lines) {
    if (isFold(line)) continue;
    const key = keyOf(line);
    groups.set(key, [...(groups.get(key) ?? []), line]);
  }
  const told = new Set<string>();
  return lines.flatMap((line): Line[] => {
    if (isFold(line)) return [line];
    const key = keyOf(line);
    const changes = groups.get(key) ?? [];
    const different = new Set(changes.map((change) => change.subject.id)).size;
    if (of === "many" ? different < MANY : changes.length < MANY) return [line];
    if (told.has(key)) return [];
    told.add(key);
    return [{ key, at: line.at, changes, of, orMore: false }];
  });
}
