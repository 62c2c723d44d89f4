/** Which targets are shown, in which order; all of it is in the address. Pure. */

import type { Target, Verdict } from "@/api/types";
import { rank } from "@/words/verdicts";

export type VerdictFilter = Verdict | "paused";
export type SortName = "state" | "name" | "uptime" | "p95" | "checked";

export interface Filters {
  q: string;
  kind: string;
  tag: string;
  verdict: VerdictFilter | "";
  group: string;
  sort: SortName;
  descending: boolean;
  grouped: boolean;
}

const VERDICTS: readonly string[] = ["up", "degraded", "down", "unknown", "paused"];
const SORTS: readonly string[] = ["state", "name", "uptime", "p95", "checked"];

export function filtersFrom(parameters: URLSearchParams): Filters {
  const verdict = parameters.get("verdict") ?? "";
  const order = parameters.get("sort") ?? "";
  const sort = order.replace(/^-/, "");
  return {
    q: parameters.get("q") ?? "",
    kind: parameters.get("kind") ?? "",
    tag: parameters.get("tag") ?? "",
    verdict: VERDICTS.includes(verdict) ? (verdict as VerdictFilter) : "",
    group: parameters.get("group") ?? "",
    sort: SORTS.includes(sort) ? (sort as SortName) : "state",
    descending: order.startsWith("-"),
    grouped: parameters.get("by") === "group",
  };
}

/** Only what differs from the defaults, so that addresses stay short. */
export function parametersFor(filters: Filters): URLSearchParams {
  const parameters = new URLSearchParams();
  const { q, kind, tag, verdict, group, sort, descending, grouped } = filters;
  for (const [name, value] of Object.entries({ q, kind, tag, verdict, group })) {
    if (value !== "") parameters.set(name, value);
  }
  if (sort !== "state" || descending) parameters.set("sort", `${descending ? "-" : ""}${sort}`);
  if (grouped) parameters.set("by", "group");
  return parameters;
}

export function narrowed({ q, kind, tag, verdict, group }: Filters): boolean {
  return [q, kind, tag, verdict, group].some((value) => value !== "");
}

export function selected(targets: readonly Target[], filters: Filters): Target[] {
  const shown = targets.filter(
    (target) =>
      (filters.kind === "" || target.kind === filters.kind) &&
      (filters.tag === "" || target.tags.includes(filters.tag)) &&
      (filters.group === "" || target.group === filters.group) &&
      (filters.verdict === "" || verdictMatches(target, filters.verdict)) &&
      matches(target, filters.q),
  );
  const compare = COMPARISONS[filters.sort];
  const sign = filters.descending ? -1 : 1;
  shown.sort(
    (a, b) =>
      (filters.grouped ? byGroup(a, b) : 0) || sign * compare(a, b) || byText(a.name, b.name) || a.id - b.id,
  );
  return shown;
}

function verdictMatches(target: Target, wanted: VerdictFilter): boolean {
  return wanted === "paused" ? !target.enabled : target.enabled && target.verdict === wanted;
}

/** Every word of the text occurs in the name, the address, a tag or the group. */
export function matches(target: Target, text: string): boolean {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return true;
  const hay = haystack(target);
  return words.every((word) => hay.includes(word));
}

const haystacks = new WeakMap<Target, string>();

function haystack(target: Target): string {
  let hay = haystacks.get(target);
  if (hay === undefined) {
    hay = [target.name, target.endpoint, target.group, target.kind, ...target.tags].join("\n").toLowerCase();
    haystacks.set(target, hay);
  }
  return hay;
}

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

function byText(a: string, b: string): number {
  return collator.compare(a, b);
}

/** Targets without a group stand last. */
function byGroup(a: Target, b: Target): number {
  if (a.group === b.group) return 0;
  if (a.group === "" || b.group === "") return a.group === "" ? 1 : -1;
  return byText(a.group, b.group);
}

/** What is not known stands last in either direction's first reading. */
function byNumber(a: number | null | undefined, b: number | null | undefined): number {
  return (a ?? Infinity) === (b ?? Infinity) ? 0 : (a ?? Infinity) - (b ?? Infinity);
}

const COMPARISONS: Record<SortName, (a: Target, b: Target) => number> = {
  state: (a, b) => rank(a) - rank(b),
  name: (a, b) => byText(a.name, b.name),
  uptime: (a, b) => byNumber(a.summary?.uptime_24h, b.summary?.uptime_24h),
  p95: (a, b) => byNumber(b.summary?.p95_ms_24h, a.summary?.p95_ms_24h),
  checked: (a, b) => byText(b.last_check_at ?? "", a.last_check_at ?? ""),
};

export type Line = { heading: string; count: number } | { target: Target };

/** The lines of the list: targets, with a heading before each group where it is grouped. */
export function lines(targets: readonly Target[], grouped: boolean): Line[] {
  if (!grouped) return targets.map((target) => ({ target }));
  const counts = new Map<string, number>();
  for (const target of targets) counts.set(target.group, (counts.get(target.group) ?? 0) + 1);
  const all: Line[] = [];
  let group: string | null = null;
  for (const target of targets) {
    if (target.group !== group) {
      group = target.group;
      all.push({ heading: group === "" ? "No group" : group, count: counts.get(group) ?? 0 });
    }
    all.push({ target });
  }
  return all;
}
