/** What the address of a target's page says beside the target: which check is open, which location is looked at. */

import { useLocation, useSearchParams } from "wouter";
import { without } from "@/parts/windows";

/** The address of what one check saw: this page, with the check's time and place in it. */
export function useEvidenceLink(): (at: string, location: string | null) => string {
  const [path] = useLocation();
  const [parameters] = useSearchParams();
  return (at, location) => {
    const next = new URLSearchParams(parameters);
    next.set("check", String(Date.parse(at)));
    if (location === null) next.delete("from");
    else next.set("from", location);
    return `${path}?${next.toString()}`;
  };
}

/** The check whose evidence is open; null: none. */
export function useOpenEvidence(): { opened: { atMs: number; location: string } | null; close: () => void } {
  const [parameters, setParameters] = useSearchParams();
  const atMs = Number(parameters.get("check") ?? NaN);
  return {
    opened: Number.isFinite(atMs) ? { atMs, location: parameters.get("from") ?? "" } : null,
    close: () => setParameters(without(parameters, ["check", "from"]), { replace: true }),
  };
}

/** The location whose history is shown; empty: that of all together. */
export function useShownLocation(): [string, (location: string) => void] {
  const [parameters, setParameters] = useSearchParams();
  const show = (location: string) => {
    const next = without(parameters, ["location"]);
    if (location !== "") next.set("location", location);
    setParameters(next, { replace: true });
  };
  return [parameters.get("location") ?? "", show];
}
