/** The live connection (/ws): merges what changed into the cache, and says plainly when it is not live. */

import { useSyncExternalStore } from "react";
import { clock } from "@/words/clock";
import { key, queries } from "./cache";
import type { Machine } from "./machineTypes";
import { mergedTarget, mergedTargets, strangers, type Changes } from "./merge";
import {
  hasNewMachines,
  hasTurned,
  mergedMachine,
  mergedMachines,
  withNewTransitions,
  type MachineChanges,
} from "./mergeMachines";
import type { Target, Transition } from "./types";

export type LiveState = "live" | "reconnecting" | "paused";

interface Message {
  type: "initial" | "changes" | "pong";
  at?: string;
  targets?: Changes["targets"];
  removed?: Changes["removed"];
  machines?: MachineChanges["machines"];
  machines_removed?: MachineChanges["removed"];
  transitions?: readonly (Transition & {
    target?: { id: number } | null;
    machine?: { id: number } | null;
    target_id?: number;
  })[];
}

const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 15_000;
/** A connection that says nothing for this long, not even to a ping, is broken. */
const SILENCE_MS = 25_000;
const PING_EVERY_MS = 10_000;
/** Sections of an open target page are asked for again at most this often. */
const TARGET_REFRESH_MS = 4_000;

class LiveConnection {
  private socket: WebSocket | null = null;
  private state: LiveState = "reconnecting";
  private readonly listeners = new Set<() => void>();
  private retryMs = FIRST_RETRY_MS;
  private retryTimer: number | undefined;
  private pingTimer: number | undefined;
  private heardAt = 0;
  private readonly refreshedAt = new Map<number, number>();

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  readonly read = (): LiveState => this.state;

  open(): void {
    if (this.socket !== null || this.state === "paused") return;
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws`);
    this.socket = socket;
    socket.onmessage = (event: MessageEvent<string>) => {
      if (this.socket !== socket) return;
      this.heardAt = Date.now();
      this.hear(JSON.parse(event.data) as Message);
    };
    socket.onclose = () => {
      if (this.socket === socket) this.retry();
    };
    this.heardAt = Date.now();
    window.clearInterval(this.pingTimer);
    this.pingTimer = window.setInterval(() => this.ping(), PING_EVERY_MS);
  }

  close(): void {
    window.clearTimeout(this.retryTimer);
    window.clearInterval(this.pingTimer);
    const socket = this.socket;
    this.socket = null;
    socket?.close();
  }

  pause(): void {
    this.close();
    this.become("paused");
  }

  resume(): void {
    this.retryMs = FIRST_RETRY_MS;
    this.become("reconnecting");
    this.open();
  }

  private ping(): void {
    const socket = this.socket;
    if (socket === null) return;
    if (Date.now() - this.heardAt > SILENCE_MS) {
      socket.close();
      this.retry();
    } else if (socket.readyState === WebSocket.OPEN) {
      socket.send('{"type":"ping"}');
    }
  }

  private retry(): void {
    this.close();
    this.become("reconnecting");
    this.retryTimer = window.setTimeout(() => this.open(), this.retryMs * (0.75 + Math.random() / 2));
    this.retryMs = Math.min(this.retryMs * 2, LONGEST_RETRY_MS);
  }

  private become(state: LiveState): void {
    if (this.state === state) return;
    this.state = state;
    for (const listener of this.listeners) listener();
  }

  private hear(message: Message): void {
    switch (message.type) {
      case "initial": {
        this.retryMs = FIRST_RETRY_MS;
        if (message.at !== undefined) clock.synchronize(Date.parse(message.at));
        const states = message.targets ?? [];
        const present = new Set(states.map((state) => state.id));
        const known = queries.getQueryData<Target[]>(key.targets) ?? [];
        merge({
          targets: states,
          removed: known.filter((target) => !present.has(target.id)).map((target) => target.id),
        });
        let turned: readonly number[] = [];
        if (message.machines !== undefined) {
          const there = new Set(message.machines.map((state) => state.id));
          const machines = queries.getQueryData<Machine[]>(key.machines) ?? [];
          turned = mergeMachines({
            machines: message.machines,
            removed: machines.filter((machine) => !there.has(machine.id)).map((machine) => machine.id),
          });
        }
        // What happened while we were away is not in the message: ask for it.
        if (this.state !== "live" || turned.length > 0)
          void queries.invalidateQueries({ queryKey: key.overview });
        refreshTransitions(withNewTransitions(turned, []));
        this.become("live");
        break;
      }
      case "changes": {
        merge({ targets: message.targets ?? [], removed: message.removed ?? [] });
        const turned = mergeMachines({
          machines: message.machines ?? [],
          removed: message.machines_removed ?? [],
        });
        const transitions = message.transitions ?? [];
        if (transitions.length > 0 || turned.length > 0)
          void queries.invalidateQueries({ queryKey: key.overview });
        refreshTransitions(withNewTransitions(turned, transitions));
        for (const transition of transitions) {
          const id = transition.target?.id ?? transition.target_id;
          if (id !== undefined) this.refreshTarget(id, true);
        }
        for (const state of message.targets ?? []) this.refreshTarget(state.id, false);
        break;
      }
      case "pong":
        break;
    }
  }

  /** Asks again for what an open page of this target shows; closed pages only grow stale. */
  private refreshTarget(id: number, atOnce: boolean): void {
    if (queries.getQueryData(key.target(id)) === undefined) return;
    const now = Date.now();
    if (!atOnce && now - (this.refreshedAt.get(id) ?? 0) < TARGET_REFRESH_MS) return;
    this.refreshedAt.set(id, now);
    void queries.invalidateQueries({
      queryKey: key.target(id),
      // The target itself has been merged; what only a change of verdict alters (because of what) is asked for.
      predicate: (query) => atOnce || query.queryKey.length > 2,
    });
  }
}

function merge(changes: Changes): void {
  const known = queries.getQueryData<Target[]>(key.targets);
  if (known !== undefined) {
    queries.setQueryData(key.targets, mergedTargets(known, changes));
    // While the list is still arriving, what it does not have yet is no news.
    const arriving = queries.isFetching({ queryKey: key.targets }) > 0;
    if (!arriving && strangers(known, changes)) void queries.invalidateQueries({ queryKey: key.targets });
  }
  for (const state of changes.targets) {
    queries.setQueryData<Target>(key.target(state.id), (target) =>
      target === undefined ? undefined : mergedTarget(target, state),
    );
  }
}

/** Gives the machines with an open page that stand otherwise than it says. */
function mergeMachines(changes: MachineChanges): readonly number[] {
  if (changes.machines.length === 0 && changes.removed.length === 0) return [];
  const known = queries.getQueryData<Machine[]>(key.machines);
  if (known !== undefined) {
    queries.setQueryData(key.machines, mergedMachines(known, changes));
    const arriving = queries.isFetching({ queryKey: key.machines }) > 0;
    if (!arriving && hasNewMachines(known, changes))
      void queries.invalidateQueries({ queryKey: key.machines });
  }
  const turned: number[] = [];
  for (const state of changes.machines) {
    const open = queries.getQueryData<Machine>(key.machine(state.id));
    if (open === undefined) continue;
    queries.setQueryData<Machine>(key.machine(state.id), mergedMachine(open, state));
    if (!hasTurned(open, state)) continue;
    turned.push(state.id);
    void queries.invalidateQueries({ queryKey: key.machine(state.id), exact: true });
  }
  return turned;
}

/** Of open pages; closed ones only grow stale. */
function refreshTransitions(machineIds: ReadonlySet<number>): void {
  for (const id of machineIds) void queries.invalidateQueries({ queryKey: key.machineTransitions(id) });
}

export const live = new LiveConnection();

export function useLiveState(): LiveState {
  return useSyncExternalStore(live.subscribe, live.read);
}

/** How often to ask when nobody calls: seldom while live, every few seconds while not. */
export function usePolling(liveMs: number, blindMs: number): number | false {
  switch (useLiveState()) {
    case "live":
      return liveMs;
    case "reconnecting":
      return blindMs;
    case "paused":
      return false;
  }
}
