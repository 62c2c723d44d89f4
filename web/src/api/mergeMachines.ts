/** How a live message changes what is known of machines. Pure: shares what did not change. */

import type { Machine, MachineState } from "./machineTypes";

export interface MachineChanges {
  machines: readonly MachineState[];
  removed: readonly number[];
}

/** The list with the changes laid over it; the same array when none of them concerns it. */
export function mergedMachines(known: readonly Machine[], changes: MachineChanges): Machine[] {
  const byId = new Map(changes.machines.map((state) => [state.id, state]));
  const removed = new Set(changes.removed);
  let changed = false;
  const merged: Machine[] = [];
  for (const machine of known) {
    if (removed.has(machine.id)) {
      changed = true;
      continue;
    }
    const next = mergedMachine(machine, byId.get(machine.id));
    changed ||= next !== machine;
    merged.push(next);
  }
  return changed ? merged : (known as Machine[]);
}

export function mergedMachine(machine: Machine, state: MachineState | undefined): Machine {
  if (state === undefined || !isNews(machine, state)) return machine;
  const { name, verdict, since, reason, last_seen, current } = state;
  return { ...machine, name, verdict, since, reason, last_seen, current };
}

/** Machines that appeared since the list was asked for: changes name them, the list does not have them yet. */
export function hasNewMachines(known: readonly Machine[], changes: MachineChanges): boolean {
  const ids = new Set(known.map((machine) => machine.id));
  return changes.machines.some((state) => !ids.has(state.id));
}

/** It stands otherwise than was known. */
export function hasTurned(known: Machine, state: MachineState): boolean {
  return known.verdict !== state.verdict || known.since !== state.since || known.reason !== state.reason;
}

/**
 * The machines that have transitions nobody here has seen, each once: those that turned, and those that a transition is
 * about. Either may come alone: a verdict is told before its transition, and after we were away without it; and one rule
 * may change while another keeps the machine's verdict.
 */
export function withNewTransitions(
  turned: readonly number[],
  transitions: readonly { machine?: { id: number } | null }[],
): ReadonlySet<number> {
  return new Set([...turned, ...transitions.flatMap(({ machine }) => machine?.id ?? [])]);
}

/** Something differs, and it is not older than what is known: an answer over REST may have overtaken the message. */
function isNews(machine: Machine, state: MachineState): boolean {
  if ((state.last_seen ?? "") < (machine.last_seen ?? "")) return false;
  return (
    machine.last_seen !== state.last_seen ||
    machine.verdict !== state.verdict ||
    machine.since !== state.since ||
    machine.reason !== state.reason ||
    machine.name !== state.name
  );
}
