/** What a target was like: summary, latency, checks, evidence, transitions, pings. */

import { keepPreviousData, useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { key } from "./cache";
import { get, withQuery } from "./client";
import { usePolling } from "./live";
import type { Check, Evidence, Latency, Page, Ping, Summary, Transition } from "./types";

const ROWS = 50;
const EVERY_MINUTE_MS = 60_000;
const WHILE_BLIND_MS = 10_000;

export function useSummary(id: number) {
  return useQuery<Summary>({
    queryKey: key.summary(id),
    queryFn: ({ signal }) => get<Summary>(`/v1/targets/${id}/summary`, signal),
    refetchInterval: usePolling(EVERY_MINUTE_MS, WHILE_BLIND_MS),
  });
}

export interface Range {
  /** RFC 3339, or a window such as `24h` that ends now. */
  from: string;
  to: string;
}

/** No page has more; of a window with more, the newest are marked. */
export const MOST_MARKED = 1_000;

/** The stretch of time a page has in sight. */
export interface InSight {
  named: Range;
  /** Asked at the moment of the request, so that a window ending now moves with each refresh. */
  rangeNow: () => Range;
  endsNow: boolean;
}

interface LatencyWish {
  named: Range;
  /** Asked at the moment of the request, so that a window ending now moves with each refresh. */
  rangeNow: () => Range;
  /** No finer than this: between two checks there is nothing, and a drawing would show gaps that are none. */
  stepS: number;
}

export function useLatency(id: number, { named, rangeNow, stepS }: LatencyWish) {
  return useQuery<Latency>({
    queryKey: key.latency(id, named.from, named.to, stepS),
    queryFn: ({ signal }) => {
      const { from, to } = rangeNow();
      return get<Latency>(withQuery(`/v1/targets/${id}/latency`, { from, to, step: stepS }), signal);
    },
    placeholderData: keepPreviousData,
    refetchInterval: usePolling(EVERY_MINUTE_MS, WHILE_BLIND_MS),
  });
}

export type CheckFilter = "all" | "failed";

/** `location` empty: from everywhere. */
export function useChecks(id: number, only: CheckFilter, location: string) {
  return useInfiniteQuery({
    queryKey: key.checks(id, only, location),
    queryFn: ({ signal, pageParam }) =>
      get<Page<Check>>(
        withQuery(`/v1/targets/${id}/checks`, {
          limit: ROWS,
          cursor: pageParam,
          ok: only === "failed" ? false : undefined,
          location: location || undefined,
        }),
        signal,
      ),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next ?? undefined,
    placeholderData: keepPreviousData,
  });
}

/** `location` empty: of the target as a whole; otherwise as that location saw it. */
export function useTransitions(id: number, location = "") {
  return useInfiniteQuery({
    queryKey: key.transitions(id, location),
    queryFn: ({ signal, pageParam }) =>
      get<Page<Transition>>(
        withQuery(`/v1/targets/${id}/transitions`, {
          limit: ROWS,
          cursor: pageParam,
          location: location || undefined,
        }),
        signal,
      ),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next ?? undefined,
  });
}

/** Every transition to mark on the charts: those of the window, and what began before and still stood in it. */
export function useTransitionsIn(id: number, { named, rangeNow }: InSight) {
  return useQuery<Page<Transition>>({
    queryKey: key.transitionsIn(id, named.from, named.to),
    queryFn: ({ signal }) =>
      get<Page<Transition>>(
        withQuery(`/v1/targets/${id}/transitions`, { ...rangeNow(), lasting: true, limit: MOST_MARKED }),
        signal,
      ),
    placeholderData: keepPreviousData,
    refetchInterval: usePolling(EVERY_MINUTE_MS, WHILE_BLIND_MS),
  });
}

/** `location` empty: wherever some was kept. */
export function useEvidence(id: number, atMs: number, location: string) {
  return useQuery<Evidence>({
    queryKey: key.evidence(id, atMs, location),
    queryFn: ({ signal }) =>
      get<Evidence>(
        withQuery(`/v1/targets/${id}/checks/${atMs}/evidence`, { location: location || undefined }),
        signal,
      ),
    staleTime: Infinity,
  });
}

export function usePings(id: number) {
  return useInfiniteQuery({
    queryKey: key.pings(id),
    queryFn: ({ signal, pageParam }) =>
      get<Page<Ping>>(withQuery(`/v1/targets/${id}/pings`, { limit: ROWS, cursor: pageParam }), signal),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next ?? undefined,
  });
}
