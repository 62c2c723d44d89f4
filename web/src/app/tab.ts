/** The browser's tab: "2 down · Targets · Tocsin", and the worst sign as its icon. */

import { useEffect, useMemo } from "react";
import { useLocation } from "wouter";
import { useLiveState } from "@/api/live";
import { useOverview } from "@/api/overview";
import type { Overview } from "@/api/types";
import { tabTitle } from "@/words/verdicts";
import { roomOf } from "./rooms";

export function useTabSigns(): void {
  const [path] = useLocation();
  const overview = useOverview();
  const live = useLiveState();
  const counts = useMemo(() => together(overview.data), [overview.data]);
  const blind = overview.isError && live !== "live";

  useEffect(() => {
    const room = roomOf(path);
    document.title = tabTitle(
      counts ?? { down: 0, degraded: 0 },
      room === undefined || room.path === "/" ? "" : room.name,
    );
  }, [path, counts]);

  useEffect(() => {
    const icon = document.querySelector<HTMLLinkElement>("link[rel=icon]");
    if (icon !== null) icon.href = `/signs/${blind ? "unknown" : worstSign(counts)}.svg`;
  }, [counts, blind]);
}

type Counts = Overview["machines"];

/** Targets and machines. */
function together(overview: Overview | undefined): Counts | undefined {
  if (overview === undefined) return undefined;
  const { counts, machines } = overview;
  return {
    up: counts.up + machines.up,
    degraded: counts.degraded + machines.degraded,
    down: counts.down + machines.down,
    unknown: counts.unknown + machines.unknown,
  };
}

function worstSign(counts: Counts | undefined): string {
  if (counts === undefined) return "bell";
  if (counts.down > 0) return "down";
  if (counts.degraded > 0) return "degraded";
  return counts.up > 0 ? "up" : "unknown";
}
