/** How people speak of the verdict of a rule: a target is down, a machine's CPU critical. Pure. */

import type { Verdict } from "@/api/types";
import { VERDICT_WORD } from "./verdicts";

interface RuleWords {
  /** What of the target or the machine it is about; "": the whole. */
  part: string;
  degraded: string;
  down: string;
}

const AS_VERDICTS: RuleWords = { part: "", degraded: VERDICT_WORD.degraded, down: VERDICT_WORD.down };

const RULES: ReadonlyMap<string, RuleWords> = new Map([
  ["certificate", { ...AS_VERDICTS, part: "certificate" }],
  ["reporting", { part: "", degraded: "late", down: "silent" }],
  ["cpu", { part: "CPU", degraded: "high", down: "critical" }],
  ["memory", { part: "memory", degraded: "high", down: "critical" }],
  ["disk", { part: "disk", degraded: "high", down: "critical" }],
  ["forecast", { part: "disk space", degraded: "short", down: "critical" }],
]);

/** "certificate ", "CPU ", and "" for the whole: what stands before the verdict's word. */
export function partOf(rule: string): string {
  const { part } = RULES.get(rule) ?? AS_VERDICTS;
  return part === "" ? "" : `${part} `;
}

export function wordOf(rule: string, verdict: Verdict): string {
  if (verdict !== "degraded" && verdict !== "down") return VERDICT_WORD[verdict];
  return (RULES.get(rule) ?? AS_VERDICTS)[verdict];
}
