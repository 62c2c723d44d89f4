/** Every transition of a machine as a stretch to mark: the worst on top. Pure. */

import type { MachineTransition } from "@/api/machineTypes";
import type { Stretch } from "@/parts/chart/marks";

const RANK: Record<Stretch["sign"], number> = { unknown: 0, degraded: 1, down: 2 };

export function stretchesOf(transitions: readonly MachineTransition[]): Stretch[] {
  return transitions
    .flatMap(({ to, at, ended_at }) =>
      to === "up"
        ? []
        : [
            {
              fromS: Date.parse(at) / 1_000,
              toS: ended_at === null ? Infinity : Date.parse(ended_at) / 1_000,
              sign: to,
            },
          ],
    )
    .sort((a, b) => RANK[a.sign] - RANK[b.sign]);
}
