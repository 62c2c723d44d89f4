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
    "tocsin_own_network_up", "1 while this worker trusts its own network, 0 otherwise.", registry=REGISTRY
)
TRANSITIONS = Counter("tocsin_transitions", "Changes of verdict, by the new verdict.", ["to"], registry=REGISTRY)
NOTIFICATIONS = Counter(
    "tocsin_notifications", "Attempts to deliver a message, by outcome.", ["status"], registry=REGISTRY
)
CLOCK_JUMPS = Counter("tocsin_clock_jumps", "Times the wall clock was seen to jump.", registry=REGISTRY)
