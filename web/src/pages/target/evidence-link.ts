/** The address of what one check saw: this page, with the check's time in it. */

import { useLocation, useSearchParams } from "wouter";

export function useEvidenceLink(): (at: string) => string {
  const [path] = useLocation();
  const [parameters] = useSearchParams();
  return (at) => {
    const next = new URLSearchParams(parameters);
    next.set("check", String(Date.parse(at)));
    return `${path}?${next.toString()}`;
  };
}
