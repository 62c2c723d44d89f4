/** How far what is on the page can be believed, and how everything stands together. Pure. */

import type { Verdict } from "@/api/types";
import { count, counted } from "@/words/numbers";
import { duration } from "@/words/time";
import type { Machine, Picture, Source, Target } from "./picture";

/** A source that is there says something every 5 s. */
const OLD_MS = 20_000;

/** `lost`: this page has lost its server; `none`: there was never anything; `gone`, `old`: as known last. */
export type Belief = "lost" | "none" | "gone" | "old" | "live";

export function belief(online: boolean, { connected, seen_at }: Source, nowMs: number): Belief {
  if (!online) return "lost";
  if (seen_at === null) return "none";
  if (!connected) return "gone";
  return nowMs - Date.parse(seen_at) > OLD_MS ? "old" : "live";
}

/** For the corner: one or two words. */
export function shortly(believed: Belief): string {
  switch (believed) {
    case "lost":
      return "reconnecting";
    case "none":
      return "no data yet";
    case "gone":
      return "source gone";
    case "old":
      return "old data";
    case "live":
      return "live";
  }
}

/** The sentence above what is shown; nothing where there is nothing to say. */
export function sentence(believed: Belief, source: Source, nowMs: number): string {
  const age = source.seen_at === null ? "" : duration(nowMs - Date.parse(source.seen_at));
  switch (believed) {
    case "lost":
      return source.seen_at === null
        ? "This page cannot reach its server. It tries again by itself."
        : `This page has lost its server and tries again by itself. What you see is ${age} old.`;
    case "gone":
      return `The source of this page is gone. What you see is how things stood ${age} ago.`;
    case "old":
      return `The source of this page has sent nothing new. What you see is how things stood ${age} ago.`;
    case "none":
    case "live":
      return "";
  }
}

const RANK: Record<Verdict, number> = { down: 0, degraded: 1, unknown: 2, up: 3 };

export function isPaused(one: Machine | Target): boolean {
  return "enabled" in one && !one.enabled;
}

function rank(one: Machine | Target): number {
  if (isPaused(one)) return 4;
  return one.verdict === undefined ? 3 : RANK[one.verdict];
}

export function nameOf(one: Machine | Target): string {
  const given = "slug" in one ? one.slug : "name" in one ? one.name : undefined;
  return given === undefined || given.trim() === "" ? `number ${one.id}` : given;
}

const order = new Intl.Collator(undefined, { numeric: true });

/** The worst first, then by name. */
export function inOrder<T extends Machine | Target>(all: readonly T[]): readonly T[] {
  return [...all].sort(
    (one, other) => rank(one) - rank(other) || order.compare(nameOf(one), nameOf(other)) || one.id - other.id,
  );
}

/** `inOrder` that remembers: while every one keeps its rank and its name, nothing is sorted. */
export function ordering<T extends Machine | Target>(): (all: readonly T[]) => readonly T[] {
  let before: readonly T[] = [];
  return (all) => {
    const news = new Map(all.map((one) => [one.id, one]));
    const kept = before.map((one) => {
      const now = news.get(one.id);
      return now !== undefined && (now === one || isAlike(now, one)) ? now : undefined;
    });
    const same = kept.length === all.length ? kept.filter((one) => one !== undefined) : [];
    before = same.length === all.length ? same : inOrder(all);
    return before;
  };
}

function isAlike(one: Machine | Target, other: Machine | Target): boolean {
  return rank(one) === rank(other) && nameOf(one) === nameOf(other);
}

export type Counts = Record<Verdict, number>;

/** Of machines and targets that are judged. */
export function countsOf({ machines, targets }: Pick<Picture, "machines" | "targets">): Counts {
  const counts: Counts = { down: 0, degraded: 0, unknown: 0, up: 0 };
  for (const one of [...machines, ...targets]) {
    if (one.verdict !== undefined && !isPaused(one)) counts[one.verdict] += 1;
  }
  return counts;
}

interface Reach {
  /** There are more than these. */
  isPart?: boolean;
  /** So it was, and nobody says that it is. */
  isOld?: boolean;
}

/** "1 down · 3 up"; "All 4 are up", "All 4 were up"; what there is, where nothing is judged. */
export function headline(
  picture: Pick<Picture, "machines" | "targets">,
  { isPart = false, isOld = false }: Reach = {},
): string {
  const counts = countsOf(picture);
  const judged = counts.down + counts.degraded + counts.unknown + counts.up;
  if (judged === 0) {
    return [
      picture.machines.length > 0 ? counted(picture.machines.length, "machine") : "",
      picture.targets.length > 0 ? counted(picture.targets.length, "target") : "",
    ]
      .filter((part) => part !== "")
      .join(", ");
  }
  if (counts.up === judged) {
    if (judged === 1 && !isPart) return isOld ? "Was up" : "Up";
    return `All ${count(judged)} ${isPart ? "shown " : ""}${isOld ? "were" : "are"} up`;
  }
  return (["down", "degraded", "unknown", "up"] as const)
    .filter((verdict) => counts[verdict] > 0)
    .map((verdict) => `${count(counts[verdict])}\u00a0${isOld ? pastOf(counts[verdict]) : ""}${verdict}`)
    .join(" · ");
}

function pastOf(number: number): string {
  return number === 1 ? "was\u00a0" : "were\u00a0";
}

/** What is not on the page although it is there; nothing where all is. */
export function unshown({ machinesLeftOut, targetsLeftOut }: Picture): string {
  const parts = [
    machinesLeftOut > 0 ? counted(machinesLeftOut, "machine") : "",
    targetsLeftOut > 0 ? counted(targetsLeftOut, "target") : "",
  ].filter((part) => part !== "");
  return parts.length === 0 ? "" : `Not everything is shown: there are ${parts.join(" and ")} more.`;
}

export function worst(counts: Counts): Verdict | null {
  return (["down", "degraded", "unknown", "up"] as const).find((verdict) => counts[verdict] > 0) ?? null;
}
