/** Which stretch of time the page looks at; it is in the address. Pure. */

import type { Range } from "@/api/history";

export interface WindowChoice {
  name: string;
  words: string;
  ms: number;
}

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

export const WINDOWS: readonly WindowChoice[] = [
  { name: "1h", words: "1 h", ms: HOUR },
  { name: "6h", words: "6 h", ms: 6 * HOUR },
  { name: "24h", words: "24 h", ms: DAY },
  { name: "7d", words: "7 d", ms: 7 * DAY },
  { name: "30d", words: "30 d", ms: 30 * DAY },
  { name: "90d", words: "90 d", ms: 90 * DAY },
  { name: "1y", words: "1 y", ms: 365 * DAY },
];

/** What a page shows that was not told: a day, or less of a target that is younger. */
export function defaultWindow(ageMs: number): string {
  return WINDOWS.find((window) => window.ms >= Math.min(ageMs, DAY))?.name ?? "24h";
}

/** No drawing is shorter than this many checks: one alone would be a line across an empty room. */
const LEAST_CHECKS = 12;

/** A window ends now and begins with the target, when that is younger: before it there is nothing to see. */
function beginOf(window: WindowChoice, { bornMs, intervalMs }: Life, nowMs: number): number {
  const leastMs = Math.min(window.ms, LEAST_CHECKS * intervalMs);
  return Math.max(nowMs - window.ms, Math.min(bornMs, nowMs - leastMs));
}

export interface Life {
  bornMs: number;
  /** How far apart its checks are. */
  intervalMs: number;
}

export interface Sight {
  /** The chosen window; null when zoomed to a stretch of its own. */
  window: WindowChoice | null;
  /** What names this stretch in the cache. */
  named: Range;
  /** The stretch as of `nowMs`. */
  rangeAt: (nowMs: number) => Range;
}

export function sightFrom(parameters: URLSearchParams, fallback: string, life: Life): Sight {
  const from = Date.parse(parameters.get("from") ?? "");
  const to = Date.parse(parameters.get("to") ?? "");
  if (Number.isFinite(from) && Number.isFinite(to) && from < to) {
    const zoomed = { from: stamp(from), to: stamp(to) };
    return { window: null, named: zoomed, rangeAt: () => zoomed };
  }
  const chosen = parameters.get("window") ?? fallback;
  const window = WINDOWS.find((each) => each.name === chosen) ?? WINDOWS[2];
  if (window === undefined) throw new RangeError("there are no windows");
  return {
    window,
    named: { from: window.name, to: "now" },
    rangeAt: (nowMs) => ({ from: stamp(beginOf(window, life, nowMs)), to: stamp(nowMs) }),
  };
}

function stamp(ms: number): string {
  return new Date(ms).toISOString();
}

/** The same address with another window, or zoomed to a stretch. */
export function withWindow(parameters: URLSearchParams, name: string): URLSearchParams {
  const next = without(parameters, ["from", "to", "window"]);
  if (name !== "") next.set("window", name);
  return next;
}

export function withZoom(parameters: URLSearchParams, fromMs: number, toMs: number): URLSearchParams {
  const next = without(parameters, ["from", "to"]);
  next.set("from", stamp(fromMs));
  next.set("to", stamp(toMs));
  return next;
}

export function without(parameters: URLSearchParams, names: readonly string[]): URLSearchParams {
  const next = new URLSearchParams(parameters);
  for (const name of names) next.delete(name);
  return next;
}
