/** What was deployed while something was watched: /v1/deployments. Nobody calls when there is one, so they are asked for. */

import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { key } from "./cache";
import { get, withQuery } from "./client";
import { MOST_MARKED, type InSight } from "./history";
import { usePolling } from "./live";
import type { Deployment, Page } from "./types";

const EVERY_MS = 30_000;

/** Those that concern a target or a machine, newest first. */
export function useDeployments(of: "target" | "machine", id: number, { named, rangeNow, endsNow }: InSight) {
  const polling = usePolling(EVERY_MS, EVERY_MS);
  return useQuery<Page<Deployment>>({
    queryKey: key.deployments(of, id, named.from, named.to),
    queryFn: ({ signal }) =>
      get<Page<Deployment>>(
        withQuery("/v1/deployments", { ...rangeNow(), [of]: id, limit: MOST_MARKED }),
        signal,
      ),
    placeholderData: keepPreviousData,
    refetchInterval: endsNow ? polling : false,
  });
}
