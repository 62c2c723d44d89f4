/** Who is told: channels, rules and what was delivered. */

import { useInfiniteQuery, useMutation, useQuery } from "@tanstack/react-query";
import { key, queries } from "./cache";
import { get, getAll, send, withQuery } from "./client";
import { usePolling } from "./live";
import type { Channel, ChannelKind, ChannelTest, Notification, Page, Rule, RuleDraft } from "./types";

export function useChannelKinds() {
  return useQuery<ChannelKind[]>({
    queryKey: key.channelKinds,
    staleTime: Infinity,
    queryFn: ({ signal }) => getAll<ChannelKind>("/v1/channel-kinds", signal),
  });
}

export function useChannels() {
  return useQuery<Channel[]>({
    queryKey: key.channels,
    queryFn: ({ signal }) => getAll<Channel>("/v1/channels", signal),
    refetchInterval: usePolling(30_000, 15_000),
  });
}

export function useSaveChannel() {
  return useMutation({
    mutationFn: ({ id, draft }: { id: number | null; draft: Record<string, unknown> }) =>
      id === null
        ? send<Channel>("POST", "/v1/channels", draft)
        : send<Channel>("PATCH", `/v1/channels/${id}`, draft),
    onSuccess: () => queries.invalidateQueries({ queryKey: key.channels }),
  });
}

export function useDeleteChannel() {
  return useMutation({
    mutationFn: (id: number) => send<undefined>("DELETE", `/v1/channels/${id}`),
    onSuccess: () =>
      Promise.all([
        queries.invalidateQueries({ queryKey: key.channels }),
        queries.invalidateQueries({ queryKey: key.rules }),
      ]),
  });
}

/** Sends a test message: through a saved channel, or through one that is still only a draft. */
export function useTestChannel() {
  return useMutation({
    mutationFn: ({ id, draft }: { id: number | null; draft?: Record<string, unknown> }) =>
      id !== null && draft === undefined
        ? send<ChannelTest>("POST", `/v1/channels/${id}/test`)
        : send<ChannelTest>("POST", "/v1/channels/test", id === null ? draft : { id, ...draft }),
    onSuccess: () => queries.invalidateQueries({ queryKey: key.channels }),
  });
}

export function useRules() {
  return useQuery<Rule[]>({
    queryKey: key.rules,
    queryFn: ({ signal }) => getAll<Rule>("/v1/rules", signal),
  });
}

export function useSaveRule() {
  return useMutation({
    mutationFn: ({ id, draft }: { id: number | null; draft: Partial<RuleDraft> }) =>
      id === null ? send<Rule>("POST", "/v1/rules", draft) : send<Rule>("PATCH", `/v1/rules/${id}`, draft),
    onSuccess: () => queries.invalidateQueries({ queryKey: key.rules }),
  });
}

export function useDeleteRule() {
  return useMutation({
    mutationFn: (id: number) => send<undefined>("DELETE", `/v1/rules/${id}`),
    onSuccess: () => queries.invalidateQueries({ queryKey: key.rules }),
  });
}

export function useNotifications(filters: { channelId: string; status: string }) {
  return useInfiniteQuery({
    queryKey: key.notifications(filters.channelId, filters.status),
    queryFn: ({ signal, pageParam }) =>
      get<Page<Notification>>(
        withQuery("/v1/notifications", {
          limit: 50,
          cursor: pageParam,
          channel_id: filters.channelId,
          status: filters.status,
        }),
        signal,
      ),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next ?? undefined,
    refetchInterval: usePolling(10_000, 10_000),
  });
}

export function useRetryNotification() {
  return useMutation({
    mutationFn: (id: number) => send<Notification>("POST", `/v1/notifications/${id}/retry`),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["notifications"] }),
  });
}
