/** What machines with a tag are judged by: /v1/machine-bands. */

import { useMutation, useQuery } from "@tanstack/react-query";
import { key, queries } from "./cache";
import { get, send } from "./client";
import type { AllTagBands, OwnBands, TagBands } from "./machineTypes";

export function useTagBands() {
  return useQuery<AllTagBands>({
    queryKey: key.tagBands,
    queryFn: ({ signal }) => get<AllTagBands>("/v1/machine-bands", signal),
  });
}

export function usePutTagBands() {
  return useMutation({
    mutationFn: ({ tag, bands }: TagBands) => send<TagBands>("PUT", path(tag), bands satisfies OwnBands),
    onSuccess: judgedOtherwise,
  });
}

export function useDeleteTagBands() {
  return useMutation({
    mutationFn: (tag: string) => send<undefined>("DELETE", path(tag)),
    onSuccess: judgedOtherwise,
  });
}

function path(tag: string): string {
  return `/v1/machine-bands/${encodeURIComponent(tag)}`;
}

async function judgedOtherwise() {
  void queries.invalidateQueries({ queryKey: key.machines });
  await queries.invalidateQueries({ queryKey: key.tagBands });
}
