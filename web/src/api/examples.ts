/** Targets and deployments as the API answers them, for tests. */

import type { Deployment, Target } from "./types";

export function exampleTarget(changes: Partial<Target> & { id: number }): Target {
  const target = {
    name: `target ${changes.id}`,
    slug: `target-${changes.id}`,
    kind: "http",
    description: "",
    enabled: true,
    paused: false,
    interval_s: 60,
    timeout_s: 10,
    recheck_s: 5,
    tags: [],
    group: "",
    assert: [],
    failures_to_down: 2,
    passes_to_up: 1,
    warnings_to_degraded: 2,
    degraded_above_ms: null,
    certificate_warning_days: 14,
    endpoint: `https://${changes.id}.example`,
    secrets_set: [],
    verdict: "up",
    since: "2026-03-01T00:00:00.000Z",
    reason: "",
    last_check_at: "2026-03-01T00:00:00.000Z",
    last_latency_ms: 12,
    certificate_expires_at: null,
    created_at: "2026-01-01T00:00:00.000Z",
    updated_at: "2026-01-01T00:00:00.000Z",
    ping_url: null,
    summary: null,
    ...changes,
  };
  return target as unknown as Target;
}

export function exampleDeployment(changes: Partial<Deployment> & { id: string }): Deployment {
  return {
    source: "",
    service: "checkout-api",
    environment: "production",
    version: "v1.42.0",
    status: "succeeded",
    started_at: "2026-03-01T00:00:00.000Z",
    finished_at: "2026-03-01T00:00:00.000Z",
    description: "",
    by: "ada",
    url: "",
    targets: [],
    machines: [],
    tags: [],
    ...changes,
  };
}
