/** A transition in words: "down · connection refused". */

import type { Transition } from "@/api/types";
import { VERDICT_WORD } from "@/words/verdicts";

export function TransitionWords({ transition }: { transition: Transition }) {
  const { rule, from, to, reason } = transition;
  const subject = rule === "certificate" ? "certificate " : "";
  const word =
    rule !== "certificate" && to === "up" && (from === "down" || from === "degraded")
      ? "recovered"
      : VERDICT_WORD[to];
  return (
    <>
      {subject}
      {word}
      {reason !== "" && <span className="muted"> · {reason}</span>}
    </>
  );
}
