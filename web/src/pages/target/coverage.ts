/** How much of a window a percentage speaks for. Pure. */

import type { WindowSummary } from "@/api/types";
import { duration } from "@/words/time";

export interface Coverage {
  /** All of it as good as; part of it; so little that the percentage says nothing of the window. */
  extent: "whole" | "part" | "little" | "none";
  /** "of 12 h measured"; empty where it is all, or nothing. */
  words: string;
}

/** A restart or a short loss of the own network is no part worth a word. */
const WHOLE = 0.99;
const LITTLE = 0.5;

export function coverageOf(
  { up_s, degraded_s, down_s, maintenance_s }: WindowSummary,
  windowMs: number,
): Coverage {
  const measuredMs = (up_s + degraded_s + down_s) * 1_000;
  if (measuredMs === 0) return { extent: "none", words: "" };
  // Announced maintenance is left out on purpose: it is no hole in what was measured.
  const share = measuredMs / (windowMs - maintenance_s * 1_000);
  if (share >= WHOLE) return { extent: "whole", words: "" };
  return { extent: share >= LITTLE ? "part" : "little", words: `of ${duration(measuredMs)} measured` };
}
