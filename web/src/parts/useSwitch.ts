/** Pausing and resuming, done at once and undone with one click. */

import { useSwitchTargets } from "@/api/targets";
import type { Target } from "@/api/types";
import { complain, say } from "./Toasts";

type Named = Pick<Target, "id" | "name">;

export function useSwitch(): (targets: readonly Named[], enabled: boolean) => void {
  const { mutate } = useSwitchTargets();
  const change = (targets: readonly Named[], enabled: boolean) => {
    const ids = targets.map((target) => target.id);
    const only = targets[0];
    const who = targets.length === 1 && only !== undefined ? only.name : `${targets.length} targets`;
    mutate(
      { ids, enabled },
      {
        onSuccess: () =>
          say(`${who} ${enabled ? "resumed" : "paused"}. History is kept.`, () => undo(targets, !enabled)),
        onError: (error) => complain(`${who} not ${enabled ? "resumed" : "paused"}`, error),
      },
    );
  };
  const undo = (targets: readonly Named[], enabled: boolean) => {
    mutate(
      { ids: targets.map((target) => target.id), enabled },
      { onError: (error) => complain("Not undone", error) },
    );
  };
  return change;
}
