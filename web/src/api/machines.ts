/** Machines: /v1/machines and everything that can be done to one. */

import {
  keepPreviousData,
  queryOptions,
  useInfiniteQuery,
  useMutation,
  useQuery,
} from "@tanstack/react-query";
import { key, queries } from "./cache";
import { get, send, withQuery } from "./client";
import { MOST_MARKED, type InSight, type Range } from "./history";
import { usePolling } from "./live";
import type { Machine, MachineChange, MachineTransition, SeriesAnswer } from "./machineTypes";
import { withTail, type Seen } from "./seriesTail";
import type { Page } from "./types";

const PAGE_SIZE = 1_000;
const EVERY_MINUTE_MS = 60_000;
const WHILE_BLIND_MS = 10_000;
const PROCESSES_EVERY_MS = 10_000;
const TRANSITIONS = 100;

/** All machines with their last half hour: the list is searched, filtered and sorted here, so it is loaded whole. */
const everyMachine = queryOptions<Machine[]>({
  queryKey: key.machines,
  queryFn: async ({ signal }) => {
    const first = queries.getQueryData<Machine[]>(key.machines) === undefined;
    const all = new Map<number, Machine>();
    let cursor: string | null = null;
    do {
      const page: Page<Machine> = await get<Page<Machine>>(
        withQuery("/v1/machines", { expand: "spark", limit: PAGE_SIZE, cursor: cursor ?? undefined }),
        signal,
      );
      for (const machine of page.items) all.set(machine.id, machine);
      cursor = page.next;
      if (first && cursor !== null) queries.setQueryData(key.machines, [...all.values()]);
    } while (cursor !== null);
    return [...all.values()];
  },
});

/** Asked for again every `liveMs` also while they are told live. */
export function useMachines(liveMs = EVERY_MINUTE_MS) {
  const refetchInterval = usePolling(liveMs, Math.min(liveMs, WHILE_BLIND_MS));
  return useQuery<Machine[]>({ ...everyMachine, refetchInterval });
}

export function useMachine(id: number) {
  return useQuery<Machine>({
    queryKey: key.machine(id),
    queryFn: ({ signal }) => get<Machine>(`/v1/machines/${id}`, signal),
    // The list knows most of it already: show that while the whole is on its way.
    placeholderData: () => queries.getQueryData<Machine[]>(key.machines)?.find((each) => each.id === id),
    // Its processes are not told live.
    refetchInterval: usePolling(PROCESSES_EVERY_MS, WHILE_BLIND_MS),
  });
}

export function useMachineTransitions(id: number) {
  return useInfiniteQuery({
    queryKey: key.machineTransitions(id),
    queryFn: ({ signal, pageParam }) =>
      get<Page<MachineTransition>>(
        withQuery(`/v1/machines/${id}/transitions`, { limit: TRANSITIONS, cursor: pageParam }),
        signal,
      ),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next ?? undefined,
    refetchInterval: usePolling(EVERY_MINUTE_MS, WHILE_BLIND_MS),
  });
}

/** Every transition to mark on the charts: those of the window, and what began before and still stood in it. */
export function useMachineTransitionsIn(id: number, { named, rangeNow }: InSight) {
  return useQuery<Page<MachineTransition>>({
    queryKey: key.machineTransitionsIn(id, named.from, named.to),
    queryFn: ({ signal }) =>
      get<Page<MachineTransition>>(
        withQuery(`/v1/machines/${id}/transitions`, { ...rangeNow(), lasting: true, limit: MOST_MARKED }),
        signal,
      ),
    placeholderData: keepPreviousData,
    refetchInterval: usePolling(EVERY_MINUTE_MS, WHILE_BLIND_MS),
  });
}

export interface SeriesWish {
  names: readonly string[];
  named: Range;
  /** Asked at the moment of the request, so that a window ending now moves with each refresh. */
  rangeNow: () => Range;
  stepS: number;
  /** Asked again this often; null: the stretch is over and does not change. */
  tailEveryMs: number | null;
  enabled: boolean;
}

/** A window that ends now is asked for once; afterwards only what came since is. */
export function useSeries(id: number, wish: SeriesWish) {
  const { names, named, rangeNow, stepS, tailEveryMs, enabled } = wish;
  const queryKey = key.series(id, names, named.from, named.to, stepS);
  const ask = (from: string, to: string, signal: AbortSignal) => {
    const parameters = new URLSearchParams({ from, to, step: String(stepS) });
    for (const name of names) parameters.append("name", name);
    return get<SeriesAnswer>(`/v1/machines/${id}/series?${parameters.toString()}`, signal);
  };
  const everyMs = tailEveryMs ?? EVERY_MINUTE_MS;
  const polling = usePolling(everyMs, Math.max(everyMs, WHILE_BLIND_MS));
  return useQuery<Seen>({
    queryKey,
    enabled,
    queryFn: async ({ signal }) => {
      const { from, to } = rangeNow();
      const known = tailEveryMs === null ? undefined : queries.getQueryData<Seen>(queryKey);
      return withTail(known, { from, to }, (since) => ask(since, to, signal), Date.now());
    },
    placeholderData: keepPreviousData,
    staleTime: tailEveryMs === null ? EVERY_MINUTE_MS : 0,
    refetchInterval: tailEveryMs === null ? false : polling,
  });
}

export function useChangeMachine(id: number) {
  return useMutation({
    mutationFn: (change: MachineChange) => send<Machine>("PATCH", `/v1/machines/${id}`, change),
    onSuccess: (changed) => {
      queries.setQueryData<Machine>(key.machine(id), (known) => ({ ...known, ...changed }));
      queries.setQueryData<Machine[]>(key.machines, (known) =>
        known?.map((each) => (each.id === id ? { ...each, ...changed, spark: each.spark ?? null } : each)),
      );
      void queries.invalidateQueries({ queryKey: key.machine(id) });
    },
  });
}

export function useDeleteMachine() {
  return useMutation({
    mutationFn: (id: number) => send<undefined>("DELETE", `/v1/machines/${id}`),
    onSuccess: (_, id) => {
      queries.setQueryData<Machine[]>(key.machines, (known) => known?.filter((each) => each.id !== id));
      queries.removeQueries({ queryKey: key.machine(id) });
      void queries.invalidateQueries({ queryKey: key.overview });
    },
  });
}
