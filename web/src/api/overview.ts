/** Is anything wrong: /v1/overview. */

import { useQuery } from "@tanstack/react-query";
import { key } from "./cache";
import { get } from "./client";
import { usePolling } from "./live";
import type { Overview } from "./types";

export function useOverview() {
  return useQuery<Overview>({
    queryKey: key.overview,
    queryFn: ({ signal }) => get<Overview>("/v1/overview", signal),
    refetchInterval: usePolling(30_000, 5_000),
    // The tab's title and icon must tell the truth on a wall screen nobody has touched for hours.
    refetchIntervalInBackground: true,
  });
}
