"""What Tocsin says about itself, for Prometheus. One registry, every metric named here and in docs/operating.md."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

CHECKS = Counter("tocsin_checks", "Checks run, by result.", ["result"], registry=REGISTRY)
START_LATENESS = Histogram(
    "tocsin_check_start_lateness_seconds",
    "How long after its slot a check started.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
    registry=REGISTRY,
)
SLOTS_MISSED = Counter("tocsin_slots_missed", "Slots that passed without a check.", registry=REGISTRY)
CHECKS_UNDER_WAY = Gauge("tocsin_checks_under_way", "Checks under way now.", registry=REGISTRY)
TARGETS_WATCHED = Gauge("tocsin_targets_watched", "Targets this worker probes.", registry=REGISTRY)
RESULTS_BUFFERED = Gauge(
    "tocsin_results_buffered", "Results that wait to be written to the database.", registry=REGISTRY
)
RESULTS_DROPPED = Counter(
    "tocsin_results_dropped",
    "Latency rows given up because the buffer was full; their verdicts were kept.",
    registry=REGISTRY,
)
RESULTS_FENCED = Counter(
    "tocsin_results_fenced",
    "Results made under a lease that another worker has taken since; kept as history, without a say in the verdict.",
    registry=REGISTRY,
)
CHECKS_TOO_OLD = Counter(
    "tocsin_checks_too_old",
    "Checks left out because they came after single checks of their time were removed.",
    registry=REGISTRY,
)
WRITES = Histogram(
    "tocsin_write_seconds",
    "Time to write one batch of results.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
    registry=REGISTRY,
)
WRITE_FAILURES = Counter(
    "tocsin_write_failures", "Batches that could not be written and were tried again.", registry=REGISTRY
)
OWN_NETWORK = Gauge(
    "tocsin_own_network_up", "0 while this worker has lost its own network, 1 otherwise.", registry=REGISTRY
)
OWN_NETWORK.set(1)  # also of a process that probes nothing
TRANSITIONS = Counter("tocsin_transitions", "Changes of verdict, by the new verdict.", ["to"], registry=REGISTRY)
NOTIFICATIONS = Counter(
    "tocsin_notifications", "Attempts to deliver a message, by outcome.", ["status"], registry=REGISTRY
)
SHARDS_HELD = Gauge("tocsin_shards_held", "Shards of its location's targets that this worker holds.", registry=REGISTRY)
LEASE_RENEWAL_FAILURES = Counter(
    "tocsin_lease_renewal_failures", "Renewals of this worker's lease that did not succeed.", registry=REGISTRY
)
CLOCK_AHEAD = Gauge(
    "tocsin_clock_ahead_seconds",
    "How far this machine's clock is ahead of the installation's, which counts.",
    registry=REGISTRY,
)
CLOCK_JUMPS = Counter("tocsin_clock_jumps", "Times the wall clock was seen to jump.", registry=REGISTRY)
BUS_UP = Gauge(
    "tocsin_bus_up", "1 while this process is linked to the others by the bus, 0 while cut off.", registry=REGISTRY
)
BUS_RECONNECTS = Counter(
    "tocsin_bus_reconnects", "Times the bus was linked again after it had been cut off.", registry=REGISTRY
)
SPOOLED = Gauge(
    "tocsin_spool_results",
    "Results on a remote worker's disk that the aggregator has not taken yet.",
    registry=REGISTRY,
)
SPOOL_BYTES = Gauge("tocsin_spool_bytes", "What those results take on disk.", registry=REGISTRY)
RESULTS_REFUSED = Counter(
    "tocsin_results_refused",
    "Results given up because the aggregator refused them for good or the disk buffer had no room at all.",
    registry=REGISTRY,
)
REMOTE_CALLS = Counter(
    "tocsin_remote_calls",
    "Calls of remote workers to this aggregator, by call and answer.",
    ["call", "answer"],
    registry=REGISTRY,
)
REMOTE_RESULTS = Counter(
    "tocsin_remote_results", "Results this aggregator took from remote workers.", registry=REGISTRY
)
TICKS_TAKEN = Counter("tocsin_ticks_taken", "Ticks of machines that were stored.", registry=REGISTRY)
TICKS_REPEATED = Counter(
    "tocsin_ticks_repeated", "Ticks of machines that were sent again and were there already.", registry=REGISTRY
)
VALUES_REFUSED = Counter(
    "tocsin_values_refused",
    "Values of machines that made no sense, by why: infinite, negative, range; and whole ticks: time, deleted.",
    ["reason"],
    registry=REGISTRY,
)
OTLP_EXPORTS = Counter(
    "tocsin_otlp_exports",
    "OpenTelemetry exports, by what was answered: stored, partial, refused, throttled.",
    ["answer"],
    registry=REGISTRY,
)
OTLP_REFUSED = Counter(
    "tocsin_otlp_points_refused", "OpenTelemetry data points that were not kept, by why.", ["reason"], registry=REGISTRY
)
STREAMS_OPEN = Gauge("tocsin_streams_open", "Collectors that are connected to this aggregator.", registry=REGISTRY)
TICKS_WAITING = Gauge(
    "tocsin_ticks_waiting", "Ticks of machines in this aggregator that wait to be written.", registry=REGISTRY
)
