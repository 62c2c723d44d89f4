/** How a live message changes what is already known. Pure: takes the known, gives the new, shares what did not change. */

import type { Target, TargetState } from "./types";

export interface Changes {
  targets: readonly TargetState[];
  removed: readonly number[];
}

/** The list with the changes laid over it; the same array when none of them concerns it. */
export function mergedTargets(known: readonly Target[], changes: Changes): Target[] {
  const byId = new Map(changes.targets.map((state) => [state.id, state]));
  const removed = new Set(changes.removed);
  let changed = false;
  const merged: Target[] = [];
  for (const target of known) {
    if (removed.has(target.id)) {
      changed = true;
      continue;
    }
    const next = mergedTarget(target, byId.get(target.id));
    changed ||= next !== target;
    merged.push(next);
  }
  return changed ? merged : (known as Target[]);
}

export function mergedTarget(target: Target, state: TargetState | undefined): Target {
  if (state === undefined || sameState(target, state)) return target;
  return {
    ...target,
    verdict: state.verdict,
    because_of: state.verdict === "down" ? target.because_of : null,
    since: state.since,
    reason: state.reason,
    enabled: state.enabled,
    last_check_at: state.last_check_at,
    last_latency_ms: state.last_latency_ms,
  };
}

/** Targets somebody added elsewhere: changes name them, the list does not have them yet. */
export function strangers(known: readonly Target[], changes: Changes): boolean {
  const ids = new Set(known.map((target) => target.id));
  return changes.targets.some((state) => !ids.has(state.id));
}

function sameState(target: TargetState, state: TargetState): boolean {
  return (
    target.verdict === state.verdict &&
    target.since === state.since &&
    target.reason === state.reason &&
    target.enabled === state.enabled &&
    target.last_check_at === state.last_check_at &&
    target.last_latency_ms === state.last_latency_ms
  );
}
