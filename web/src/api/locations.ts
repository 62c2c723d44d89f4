/** Where checks are made from: /v1/locations. */

import { useMutation, useQuery } from "@tanstack/react-query";
import { key, queries } from "./cache";
import { getAll, send } from "./client";
import type { Location } from "./types";

const EVERY_MS = 10_000;

export function useLocations() {
  return useQuery<Location[]>({
    queryKey: key.locations,
    queryFn: ({ signal }) => getAll<Location>("/v1/locations", signal),
    refetchInterval: EVERY_MS,
  });
}

export function useRemoveLocation() {
  return useMutation({
    mutationFn: (name: string) => send<undefined>("DELETE", `/v1/locations/${encodeURIComponent(name)}`),
    onSuccess: () => queries.invalidateQueries({ queryKey: key.locations }),
  });
}
