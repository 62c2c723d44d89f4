/** Keys for programs: /v1/keys. */

import { useMutation, useQuery } from "@tanstack/react-query";
import { key, queries } from "./cache";
import { getAll, send } from "./client";
import type { ApiKey, NewApiKey, Scope } from "./types";

export function useKeys() {
  return useQuery<ApiKey[]>({
    queryKey: key.keys,
    queryFn: ({ signal }) => getAll<ApiKey>("/v1/keys", signal),
  });
}

export function useCreateKey() {
  return useMutation({
    mutationFn: (draft: { name: string; scopes: Scope[] }) => send<NewApiKey>("POST", "/v1/keys", draft),
    onSuccess: () => queries.invalidateQueries({ queryKey: key.keys }),
  });
}

export function useRevokeKey() {
  return useMutation({
    mutationFn: (id: number) => send<undefined>("DELETE", `/v1/keys/${id}`),
    onSuccess: () => queries.invalidateQueries({ queryKey: key.keys }),
  });
}
