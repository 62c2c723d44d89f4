/** Machines as the API answers them, for tests. */

import type { Machine, OneSeries, SeriesAnswer } from "./machineTypes";

export const NOTHING = {
  cpu: null,
  memory: null,
  swap: null,
  disk: null,
  disk_mount: null,
  cores: null,
  memory_bytes: null,
  load_1m: null,
  load_5m: null,
  load_15m: null,
  network_in: null,
  network_out: null,
  disk_read: null,
  disk_write: null,
  processes: null,
  uptime_s: null,
  temperature: null,
  disk_full_in_h: null,
} as const;

export const UNJUDGED = { cpu: null, memory: null, disk: null, forecast: null, reporting: null } as const;

export function exampleMachine(changes: Partial<Machine> & { id: number }): Machine {
  return {
    uid: `uid-${changes.id}`,
    name: `machine ${changes.id}`,
    verdict: "up",
    since: "2026-03-01T00:00:00.000Z",
    reason: "",
    last_seen: "2026-03-01T00:00:00.000Z",
    every_s: 5,
    clock_off_ms: 0,
    version: "0.1.0",
    tags: [],
    facts: {},
    refused: 0,
    key: null,
    bands: UNJUDGED,
    own_bands: {},
    rules: [],
    current: { ...NOTHING },
    created_at: "2026-01-01T00:00:00.000Z",
    ...changes,
  };
}

/** A series whose average, least and greatest are all the same. */
export function exampleSeries(
  name: string,
  attributes: Record<string, string>,
  values: (number | null)[],
): OneSeries {
  return { name, attributes, unit: "", avg: values, min: values, max: values, last: values };
}

/** An answer that begins at the epoch, a point every `stepS`. */
export function exampleAnswer(stepS: number, series: OneSeries[]): SeriesAnswer {
  const length = series[0]?.avg.length ?? 0;
  return {
    from: new Date(0).toISOString(),
    to: new Date(length * stepS * 1_000).toISOString(),
    step_s: stepS,
    tier: "ticks",
    left_out: 0,
    at: Array.from({ length }, (_, index) => index * stepS * 1_000),
    series,
  };
}
