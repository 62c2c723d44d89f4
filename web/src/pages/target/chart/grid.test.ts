import { describe, expect, it } from "vitest";
import type { Latency, LatencyPoint } from "@/api/types";
import { lonely } from "@/parts/chart/lonely";
import { column, gridOf, piled } from "./grid";

const NONE = { dns_ms: null, connect_ms: null, tls_ms: null, first_byte_ms: null, transfer_ms: null };

function point(at: string, p50: number | null, phases: Partial<LatencyPoint["phases"]> = {}): LatencyPoint {
  return {
    at,
    checks: 1,
    failed: p50 === null ? 1 : 0,
    p50_ms: p50,
    p95_ms: p50,
    p99_ms: p50,
    min_ms: p50,
    max_ms: p50,
    avg_ms: p50,
    phases: { ...NONE, ...phases },
  };
}

const latency: Latency = {
  step_s: 60,
  from: "2026-03-01T00:00:30.000Z",
  to: "2026-03-01T00:05:30.000Z",
  points: [
    point("2026-03-01T00:01:00.000Z", 10, { connect_ms: 1, first_byte_ms: 8 }),
    point("2026-03-01T00:02:00.000Z", null),
    point("2026-03-01T00:04:00.000Z", 30, { connect_ms: 2, first_byte_ms: 20 }),
  ],
};

describe("a regular grid", () => {
  const grid = gridOf(latency);

  it("covers the window on the points' own steps", () => {
    expect(grid.xs.map((at) => new Date(at * 1_000).toISOString().slice(14, 19))).toEqual([
      "00:00",
      "01:00",
      "02:00",
      "03:00",
      "04:00",
      "05:00",
    ]);
  });

  it("leaves a gap where nothing was checked, and where nothing passed", () => {
    expect(column(grid, "p50_ms")).toEqual([null, 10, null, null, 30, null]);
  });

  it("piles the phases up, each on the one before", () => {
    const [dns, connect, , firstByte, transfer] = piled(grid);
    expect(dns).toEqual([null, 0, null, null, 0, null]);
    expect(connect).toEqual([null, 1, null, null, 2, null]);
    expect(firstByte).toEqual([null, 9, null, null, 22, null]);
    expect(transfer).toEqual(firstByte);
  });

  it("is empty of points, not of time, when nothing was checked", () => {
    expect(gridOf({ ...latency, points: [] }).points).toEqual([null, null, null, null, null, null]);
  });
});

it("finds values a line cannot show", () => {
  expect(lonely([null, 1, null, 2, 3, null, 4])).toEqual([1, 6]);
});
