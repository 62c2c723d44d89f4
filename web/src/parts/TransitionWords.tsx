/** A transition in words: "down · connection refused", "CPU critical · CPU 97 %". */

import type { Transition } from "@/api/types";
import { partOf, wordOf } from "@/words/rules";

export function TransitionWords({
  transition,
}: {
  transition: Pick<Transition, "rule" | "from" | "to" | "reason">;
}) {
  const { rule, from, to, reason } = transition;
  const word =
    rule !== "certificate" && to === "up" && (from === "down" || from === "degraded")
      ? "recovered"
      : wordOf(rule, to);
  return (
    <>
      {partOf(rule)}
      {word}
      {reason !== "" && <span className="muted"> · {reason}</span>}
    </>
  );
}
