/** When a machine counts as silent on the page: before its verdict says so, its numbers already are of the past. Pure. */

import type { Machine } from "@/api/machineTypes";

const LEAST_S = 15;

export function silentAfterMs({ every_s, bands }: Pick<Machine, "every_s" | "bands">): number {
  const set = bands.reporting?.silent_after_s ?? null;
  return 1_000 * (set ?? Math.max(LEAST_S, 3 * every_s));
}

export function isSilent(machine: Pick<Machine, "every_s" | "bands" | "last_seen">, nowMs: number): boolean {
  if (machine.last_seen === null) return true;
  return nowMs - Date.parse(machine.last_seen) > silentAfterMs(machine);
}
