/** Every transition as something to mark, the worst on top. Pure. */

import type { Transition, Verdict } from "@/api/types";
import type { Stretch } from "./marks";

const RANK: Record<Verdict, number> = { up: 0, unknown: 1, degraded: 2, down: 3 };

/** A recovery is a moment; so is a certificate that runs out, for while it does nothing is slower or away. */
export function stretchesOf(
  transitions: readonly Pick<Transition, "rule" | "to" | "at" | "ended_at">[],
): Stretch[] {
  return transitions
    .map(({ rule, to, at, ended_at }) => {
      const fromS = Date.parse(at) / 1_000;
      if (to === "up" || rule === "certificate") return { fromS, toS: fromS, sign: to };
      // What lasts ends with the drawing, wherever that is.
      return { fromS, toS: ended_at === null ? Infinity : Date.parse(ended_at) / 1_000, sign: to };
    })
    .sort((a, b) => RANK[a.sign] - RANK[b.sign]);
}
