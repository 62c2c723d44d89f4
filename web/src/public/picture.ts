/** What the relay says, and how a message changes what is known. Pure: shares what did not change. */

import type { Verdict } from "@/api/types";

/** Shares are 0 to 1, rates bytes a second. What was not chosen to be shown is not there. */
export interface Current {
  cpu?: number | null;
  memory?: number | null;
  swap?: number | null;
  disk?: number | null;
  disk_full_in_h?: number | null;
  load_1m?: number | null;
  load_5m?: number | null;
  load_15m?: number | null;
  network_in?: number | null;
  network_out?: number | null;
  disk_read?: number | null;
  disk_write?: number | null;
  processes?: number | null;
  temperature?: number | null;
  uptime_s?: number | null;
}

export interface Machine {
  id: number;
  name?: string;
  verdict?: Verdict;
  since?: string | null;
  reason?: string;
  last_seen?: string | null;
  current?: Current | null;
}

export interface Target {
  id: number;
  slug?: string;
  verdict?: Verdict;
  enabled?: boolean;
  since?: string | null;
  reason?: string;
  last_check_at?: string | null;
  last_latency_ms?: number | null;
}

/** `seen_at`: when what is shown was last known to be right; null: there was never anything. */
export interface Source {
  connected: boolean;
  seen_at: string | null;
}

/** How many more there are than those that are told; not there: none, or, in changes, as many as before. */
interface LeftOut {
  machines_left_out?: number;
  targets_left_out?: number;
}

export type Message =
  | ({ type: "initial"; at: string; source: Source; machines: Machine[]; targets: Target[] } & LeftOut)
  | ({
      type: "changes";
      at: string;
      machines: Machine[];
      machines_removed: number[];
      targets: Target[];
      removed: number[];
    } & LeftOut)
  | { type: "source"; at: string; source: Source }
  | { type: "pong" };

export interface Picture {
  source: Source;
  machines: readonly Machine[];
  targets: readonly Target[];
  machinesLeftOut: number;
  targetsLeftOut: number;
}

export const NOTHING: Picture = {
  source: { connected: false, seen_at: null },
  machines: [],
  targets: [],
  machinesLeftOut: 0,
  targetsLeftOut: 0,
};

export function after(known: Picture, message: Message): Picture {
  switch (message.type) {
    case "initial":
      return {
        source: message.source,
        machines: message.machines,
        targets: message.targets,
        machinesLeftOut: message.machines_left_out ?? 0,
        targetsLeftOut: message.targets_left_out ?? 0,
      };
    case "changes":
      return {
        // It comes from a source that is there.
        source: { connected: true, seen_at: message.at },
        machines: merged(known.machines, message.machines, message.machines_removed),
        targets: merged(known.targets, message.targets, message.removed),
        machinesLeftOut: message.machines_left_out ?? known.machinesLeftOut,
        targetsLeftOut: message.targets_left_out ?? known.targetsLeftOut,
      };
    case "source":
      return { ...known, source: message.source };
    case "pong":
      return known;
  }
}

function merged<T extends { id: number }>(
  known: readonly T[],
  changed: readonly T[],
  removed: readonly number[],
): readonly T[] {
  if (changed.length === 0 && removed.length === 0) return known;
  const news = new Map(changed.map((one) => [one.id, one]));
  const gone = new Set(removed);
  const there = new Set(known.map((one) => one.id));
  return [
    ...known.filter((one) => !gone.has(one.id)).map((one) => news.get(one.id) ?? one),
    ...[...news.values()].filter((one) => !there.has(one.id) && !gone.has(one.id)),
  ];
}
