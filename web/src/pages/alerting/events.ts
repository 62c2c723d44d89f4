/** What can be told, in words. */

import type { RuleEvent } from "@/api/types";

export const EVENTS: readonly { event: RuleEvent; label: string }[] = [
  { event: "down", label: "Goes down" },
  { event: "recovered", label: "Recovers" },
  { event: "degraded", label: "Is degraded" },
  { event: "certificate", label: "Its certificate is about to expire" },
];

export const EVENT_WORD: Record<RuleEvent, string> = {
  down: "goes down",
  recovered: "recovers",
  degraded: "is degraded",
  certificate: "has a certificate about to expire",
};
