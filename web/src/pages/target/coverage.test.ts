import { expect, it } from "vitest";
import type { WindowSummary } from "@/api/types";
import { coverageOf } from "./coverage";

const HOUR_S = 3_600;
const DAY_MS = 86_400_000;

function measured(parts: Partial<WindowSummary>): WindowSummary {
  return {
    uptime: 1,
    up_s: 0,
    degraded_s: 0,
    down_s: 0,
    unknown_s: 0,
    maintenance_s: 0,
    outages: 0,
    p50_ms: null,
    p95_ms: null,
    p99_ms: null,
    checks: 0,
    failed: 0,
    counts: { passed: 0, warned: 0, failed: 0, unmeasured: 0 },
    ...parts,
  };
}

it.each([
  ["a whole day", { up_s: 24 * HOUR_S }, "whole", ""],
  ["a day with a restart", { up_s: 23.9 * HOUR_S, unknown_s: 0.1 * HOUR_S }, "whole", ""],
  ["a day with maintenance", { up_s: 20 * HOUR_S, maintenance_s: 4 * HOUR_S }, "whole", ""],
  [
    "most of a day",
    { up_s: 11 * HOUR_S, degraded_s: HOUR_S, down_s: 3 * HOUR_S },
    "part",
    "of 15 h measured",
  ],
  ["three minutes", { up_s: 180 }, "little", "of 3 min measured"],
  ["nothing", { unknown_s: 24 * HOUR_S }, "none", ""],
] as const)("%s", (_, parts, extent, words) => {
  const coverage = coverageOf(measured(parts), DAY_MS);
  expect(coverage.extent).toBe(extent);
  expect(coverage.words.replaceAll("\u00a0", " ")).toBe(words);
});
