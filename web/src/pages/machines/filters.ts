/** Which machines are shown, how and in which order; all of it is in the address. Pure. */

import type { Machine } from "@/api/machineTypes";
import type { Verdict } from "@/api/types";
import { rank } from "@/words/verdicts";

export type View = "table" | "cards";
export type SortName = "state" | "name" | "cpu" | "memory" | "disk" | "load" | "network" | "seen";

export interface Filters {
  q: string;
  tag: string;
  verdict: Verdict | "";
  sort: SortName;
  descending: boolean;
  view: View;
}

const VERDICTS: readonly string[] = ["up", "degraded", "down", "unknown"];
const SORTS: readonly string[] = ["state", "name", "cpu", "memory", "disk", "load", "network", "seen"];

export function filtersFrom(parameters: URLSearchParams): Filters {
  const verdict = parameters.get("verdict") ?? "";
  const order = parameters.get("sort") ?? "";
  const sort = order.replace(/^-/, "");
  return {
    q: parameters.get("q") ?? "",
    tag: parameters.get("tag") ?? "",
    verdict: VERDICTS.includes(verdict) ? (verdict as Verdict) : "",
    sort: SORTS.includes(sort) ? (sort as SortName) : "state",
    descending: order.startsWith("-"),
    view: parameters.get("view") === "cards" ? "cards" : "table",
  };
}

/** Only what differs from the defaults, so that addresses stay short. */
export function parametersFor({ q, tag, verdict, sort, descending, view }: Filters): URLSearchParams {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries({ q, tag, verdict })) {
    if (value !== "") parameters.set(name, value);
  }
  if (sort !== "state" || descending) parameters.set("sort", `${descending ? "-" : ""}${sort}`);
  if (view === "cards") parameters.set("view", view);
  return parameters;
}

export function narrowed({ q, tag, verdict }: Filters): boolean {
  return [q, tag, verdict].some((value) => value !== "");
}

export function selected(machines: readonly Machine[], filters: Filters): Machine[] {
  const shown = machines.filter(
    (machine) =>
      (filters.tag === "" || machine.tags.includes(filters.tag)) &&
      (filters.verdict === "" || machine.verdict === filters.verdict) &&
      matches(machine, filters.q),
  );
  const compare = COMPARISONS[filters.sort];
  const sign = filters.descending ? -1 : 1;
  shown.sort((a, b) => compare(a, b, sign) || byText(a.name, b.name) || a.id - b.id);
  return shown;
}

/** Every word of the text occurs in the name, a tag or a fact. */
export function matches(machine: Machine, text: string): boolean {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return true;
  const { name, tags, facts } = machine;
  const hay = [name, ...tags, ...Object.values(facts)].join("\n").toLowerCase();
  return words.every((word) => hay.includes(word));
}

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

function byText(a: string, b: string): number {
  return collator.compare(a, b);
}

type Compare = (a: Machine, b: Machine, sign: number) => number;

/** The most first; what is not known stands last in either direction. */
function most(of: (machine: Machine) => number | null): Compare {
  return (a, b, sign) => {
    const [one, other] = [of(a), of(b)];
    if (one === null || other === null) return Number(one === null) - Number(other === null);
    return sign * (other - one);
  };
}

const COMPARISONS: Record<SortName, Compare> = {
  state: (a, b, sign) => sign * (rank({ ...a, enabled: true }) - rank({ ...b, enabled: true })),
  name: (a, b, sign) => sign * byText(a.name, b.name),
  cpu: most(({ current }) => current.cpu),
  memory: most(({ current }) => current.memory),
  disk: most(({ current }) => current.disk),
  load: most(({ current }) => current.load_1m),
  network: most(({ current }) =>
    current.network_in === null && current.network_out === null
      ? null
      : (current.network_in ?? 0) + (current.network_out ?? 0),
  ),
  seen: most(({ last_seen }) => (last_seen === null ? null : Date.parse(last_seen))),
};
