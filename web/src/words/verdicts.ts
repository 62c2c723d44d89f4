/** The words and ranks of verdicts. Pure. */

import type { CheckResult, Verdict } from "@/api/types";

export const VERDICT_WORD: Record<Verdict, string> = {
  up: "up",
  degraded: "degraded",
  down: "down",
  unknown: "unknown",
};

const RANK: Record<Verdict, number> = { down: 0, degraded: 1, unknown: 2, up: 3 };

interface Judged {
  verdict: Verdict;
  enabled: boolean;
}

/** Worst first; what is paused asks for nothing and comes last. */
export function rank({ verdict, enabled }: Judged): number {
  return enabled ? RANK[verdict] : 4;
}

export function word({ verdict, enabled }: Judged): string {
  return enabled ? VERDICT_WORD[verdict] : "paused";
}

/** The sign a check's own result is drawn with. */
export const RESULT_VERDICT: Record<CheckResult, Verdict> = {
  passed: "up",
  warned: "degraded",
  failed: "down",
  unmeasured: "unknown",
};

export const RESULT_WORD: Record<CheckResult, string> = {
  passed: "passed",
  warned: "passed, with a warning",
  failed: "failed",
  unmeasured: "nothing measured",
};

/** What stands in the browser's tab before "Tocsin". */
export function tabTitle(counts: { down: number; degraded: number }, page: string): string {
  const worst =
    counts.down > 0 ? `${counts.down} down` : counts.degraded > 0 ? `${counts.degraded} degraded` : "";
  return [worst, page, "Tocsin"].filter((part) => part !== "").join(" · ");
}
