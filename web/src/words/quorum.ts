/** What it takes for a target to count as down, in words. Pure. */

import type { Quorum } from "@/api/types";

export function quorumWords(quorum: Quorum): string {
  switch (quorum) {
    case "any":
      return "down when one of them finds it down";
    case "majority":
      return "down when more than half find it down";
    case "all":
      return "down when all of them find it down";
    default:
      return quorum === 1 ? quorumWords("any") : `down when ${quorum} of them find it down`;
  }
}
