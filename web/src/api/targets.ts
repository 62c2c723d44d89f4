/** Targets: /v1/targets and everything that can be done to one. */

import { queryOptions, useMutation, useQuery } from "@tanstack/react-query";
import { key, queries } from "./cache";
import { get, send, withQuery } from "./client";
import { usePolling } from "./live";
import type { Examination, Page, Target } from "./types";

/** A first screenful at once, the worst of all on top; the rest follows behind it. */
const FIRST_PAGE = 100;
const PAGE_SIZE = 1_000;
const EVERY_MINUTE_MS = 60_000;
const WHILE_BLIND_MS = 10_000;
const LOCATIONS_EVERY_MS = 10_000;

export function useTargets() {
  const refetchInterval = usePolling(EVERY_MINUTE_MS, WHILE_BLIND_MS);
  return useQuery<Target[]>({ ...everyTarget, refetchInterval });
}

/** Asks before the page that shows them is there. A refusal is that page's to show: it finds it in the cache. */
export function prefetchTargets(): void {
  queries.query(everyTarget).catch(() => undefined);
}

/**
 * All targets with their summaries. The list is searched, filtered and sorted here, so it is loaded whole: page by
 * page, each shown as it arrives.
 */
const everyTarget = queryOptions<Target[]>({
  queryKey: key.targets,
  queryFn: async ({ signal }) => {
    const first = queries.getQueryData<Target[]>(key.targets) === undefined;
    // By id: a target whose verdict changes between two pages may stand on both.
    const all = new Map<number, Target>();
    let cursor: string | null = null;
    do {
      const page: Page<Target> = await get<Page<Target>>(
        withQuery("/v1/targets", {
          expand: "summary",
          sort: "verdict",
          limit: cursor === null ? FIRST_PAGE : PAGE_SIZE,
          cursor: cursor ?? undefined,
        }),
        signal,
      );
      for (const target of page.items) all.set(target.id, target);
      cursor = page.next;
      if (first && cursor !== null) queries.setQueryData(key.targets, [...all.values()]);
    } while (cursor !== null);
    return [...all.values()];
  },
});

export function useTarget(id: number) {
  const everyMinute = usePolling(EVERY_MINUTE_MS, WHILE_BLIND_MS);
  const often = usePolling(LOCATIONS_EVERY_MS, WHILE_BLIND_MS);
  return useQuery<Target>({
    queryKey: key.target(id),
    queryFn: ({ signal }) => get<Target>(`/v1/targets/${id}`, signal),
    // The list knows most of it already: show that while the whole is on its way.
    placeholderData: () => queries.getQueryData<Target[]>(key.targets)?.find((target) => target.id === id),
    // How single locations stand is not told live.
    refetchInterval: (query) => ((query.state.data?.location_states?.length ?? 0) > 1 ? often : everyMinute),
  });
}

export type TargetDraft = Record<string, unknown>;

export function useSaveTarget() {
  return useMutation({
    mutationFn: ({ id, draft }: { id: number | null; draft: TargetDraft }) =>
      id === null
        ? send<Target>("POST", "/v1/targets", draft)
        : send<Target>("PATCH", `/v1/targets/${id}`, draft),
    onSuccess: remember,
  });
}

export function useTestTarget() {
  return useMutation({
    mutationFn: (draft: TargetDraft) => send<Examination>("POST", "/v1/targets/test", draft),
  });
}

/** Pauses or resumes; several at once are asked for one after the other. */
export function useSwitchTargets() {
  return useMutation({
    mutationFn: async ({ ids, enabled }: { ids: readonly number[]; enabled: boolean }) => {
      for (const id of ids) {
        remember(await send<Target>("POST", `/v1/targets/${id}/${enabled ? "resume" : "pause"}`));
      }
    },
    onSettled: () => queries.invalidateQueries({ queryKey: key.overview }),
  });
}

/** Gives each the tags named for it; asked for one after the other. */
export function useTagTargets() {
  return useMutation({
    mutationFn: async (wanted: readonly Pick<Target, "id" | "tags">[]) => {
      for (const { id, tags } of wanted) {
        remember(await send<Target>("PATCH", `/v1/targets/${id}`, { tags }));
      }
    },
  });
}

export function useCloneTarget() {
  return useMutation({
    mutationFn: (id: number) => send<Target>("POST", `/v1/targets/${id}/clone`),
    onSuccess: remember,
  });
}

export function useDeleteTargets() {
  return useMutation({
    mutationFn: async (ids: readonly number[]) => {
      for (const id of ids) {
        await send<undefined>("DELETE", `/v1/targets/${id}`);
        forget(id);
      }
    },
    onSettled: () => queries.invalidateQueries({ queryKey: key.overview }),
  });
}

/** Lays the server's answer over the list, so that no view waits for the next refresh. */
function remember(target: Target): void {
  queries.setQueryData(key.target(target.id), target);
  queries.setQueryData<Target[]>(key.targets, (known) => {
    if (known === undefined) return undefined;
    const present = known.some((each) => each.id === target.id);
    return present
      ? known.map((each) =>
          each.id === target.id ? { ...target, summary: target.summary ?? each.summary ?? null } : each,
        )
      : [...known, target];
  });
  void queries.invalidateQueries({ queryKey: key.overview });
  void queries.invalidateQueries({ queryKey: key.target(target.id) });
}

function forget(id: number): void {
  queries.removeQueries({ queryKey: key.target(id) });
  queries.setQueryData<Target[]>(key.targets, (known) => known?.filter((target) => target.id !== id));
}
