/** The query cache: how long an answer is good for, what is asked again, and the names of its entries. */

import { QueryClient } from "@tanstack/react-query";
import { Problem } from "./client";

export const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 10_000,
      gcTime: 15 * 60_000,
      refetchOnWindowFocus: true,
      // A refusal stays a refusal; silence is worth asking again.
      retry: (failures, error) =>
        failures < 3 && !(error instanceof Problem && error.status >= 400 && error.status < 500),
      retryDelay: (failures) => Math.min(500 * 2 ** failures, 10_000),
    },
  },
});

export const key = {
  session: ["session"] as const,
  overview: ["overview"] as const,
  targets: ["targets"] as const,
  target: (id: number) => ["target", id] as const,
  summary: (id: number) => ["target", id, "summary"] as const,
  latency: (id: number, from: string, to: string, stepS: number) =>
    ["target", id, "latency", from, to, stepS] as const,
  checks: (id: number, only: string, location: string) => ["target", id, "checks", only, location] as const,
  transitions: (id: number, location: string) => ["target", id, "transitions", location] as const,
  transitionsIn: (id: number, from: string, to: string) =>
    ["target", id, "transitions-in", from, to] as const,
  locationStates: (id: number) => ["target", id, "locations"] as const,
  evidence: (id: number, atMs: number, location: string) => ["evidence", id, atMs, location] as const,
  pings: (id: number) => ["target", id, "pings"] as const,
  kinds: ["kinds"] as const,
  locations: ["locations"] as const,
  channels: ["channels"] as const,
  channelKinds: ["channel-kinds"] as const,
  rules: ["rules"] as const,
  notifications: (channelId: string, status: string) => ["notifications", channelId, status] as const,
  keys: ["keys"] as const,
  machines: ["machines"] as const,
  tagBands: ["machine-bands"] as const,
  machine: (id: number) => ["machine", id] as const,
  machineTransitions: (id: number) => ["machine", id, "transitions"] as const,
  machineTransitionsIn: (id: number, from: string, to: string) =>
    ["machine", id, "transitions", from, to] as const,
  deployments: (of: "target" | "machine", id: number, from: string, to: string) =>
    ["deployments", of, id, from, to] as const,
  series: (id: number, names: readonly string[], from: string, to: string, stepS: number) =>
    ["machine", id, "series", names, from, to, stepS] as const,
};
