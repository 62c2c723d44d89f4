/** Where each field of a target stands in the form. A field not named here falls under "More about the check". */

/** What makes the kind what it is; shown first. Required fields are shown first in any case. */
export const MAIN: Record<string, readonly string[]> = {
  http: ["url"],
  tcp: ["host", "port"],
  icmp: ["host"],
  dns: ["host", "record", "expect", "resolver"],
  tls: ["host", "port"],
  heartbeat: ["period_s", "cron", "tz", "grace_s"],
};

/** Short fields that stand side by side. */
export const SHORT: ReadonlySet<string> = new Set([
  "port",
  "record",
  "period_s",
  "grace_s",
  "interval_s",
  "timeout_s",
  "tz",
  "group",
  "tags",
  "failures_to_down",
  "recheck_s",
  "passes_to_up",
  "degraded_above_ms",
  "warnings_to_degraded",
  "certificate_warning_days",
  "username",
  "password",
  "proxy_username",
  "proxy_password",
  "ip_version",
  "http_version",
  "minimum_tls_version",
  "starttls",
  "transport",
  "count",
  "size_bytes",
  "max_redirects",
  "max_body_bytes",
  "cron",
]);

export const TIMING: readonly string[] = ["interval_s", "timeout_s"];

export const SORTING: readonly string[] = ["group", "tags", "description"];

export const VERDICT: readonly string[] = [
  "failures_to_down",
  "recheck_s",
  "passes_to_up",
  "degraded_above_ms",
  "warnings_to_degraded",
  "certificate_warning_days",
];

/** Drawn by hand, elsewhere. */
export const ELSEWHERE: ReadonlySet<string> = new Set([
  "kind",
  "name",
  "assert",
  "enabled",
  "locations",
  "quorum",
  "depends_on",
]);

/** What a heartbeat does not have: nobody probes it. */
export const NOT_FOR: Record<string, ReadonlySet<string>> = {
  heartbeat: new Set([
    "interval_s",
    "timeout_s",
    "recheck_s",
    "degraded_above_ms",
    "warnings_to_degraded",
    "certificate_warning_days",
    "assert",
  ]),
};

export const KIND_HINT: Record<string, string> = {
  http: "Asks a URL and judges the answer",
  tcp: "Connects to a port, and may talk",
  icmp: "Pings a host",
  dns: "Asks a name server",
  tls: "Watches a certificate",
  heartbeat: "A job that must call in",
};
