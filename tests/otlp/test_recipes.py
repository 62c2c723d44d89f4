"""The recipes of docs/opentelemetry.md, as whoever copies them sends: what they say of a machine is one machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from tests.otlp.hostmetrics import Host
from tests.otlp.test_ticks import AT_MS, export, gauge, merged, point, read

PAGE: Final = (Path(__file__).parent.parent.parent / "docs" / "opentelemetry.md").read_text("utf-8")
HOSTNAME: Final = "web-1"
IN_DNS: Final = "web-1.example.org"
MACHINE_ID: Final = "5f0e9d6c2b7a4c1d8e3f"


def of_collector() -> dict[str, str]:
    """What the system detector of the resourcedetection processor adds with these settings. Without any it looks in DNS
    first, and leaves the id out.

    https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/processor/resourcedetectionprocessor
    """
    sources = re.search(r"hostname_sources: \[(\w+)", PAGE)
    found = {"host.name": HOSTNAME if sources is not None and sources[1] == "os" else IN_DNS, "os.type": "linux"}
    if "host.id: {enabled: true}" in PAGE:
        found["host.id"] = MACHINE_ID
    return found


def of_sdk() -> dict[str, str]:
    line = re.search(r"^export OTEL_RESOURCE_ATTRIBUTES=(.*)$", PAGE, re.MULTILINE)
    assert line is not None
    return dict(pair.split("=", 1) for pair in line[1].replace("$(hostname)", HOSTNAME).split(","))


def of_program() -> ExportMetricsServiceRequest:
    return export(gauge("queue.length", point()), **{key.replace(".", "__"): value for key, value in of_sdk().items()})


def test_a_collector_and_a_program_speak_of_one_machine() -> None:
    collector = Host(HOSTNAME, attributes=of_collector()).export(AT_MS)
    found, told, refused = read(merged(collector, of_program()))
    ((who, *_),) = found.parts
    assert (who.uid, who.name) == (HOSTNAME, HOSTNAME)
    names = {one.name for tick in told[HOSTNAME] for one in tick.layout}
    assert {"queue.length", "system.memory.limit"} <= names
    assert not refused.total


def test_the_collector_sends_one_export_after_the_other() -> None:
    """Out of its queue, after an outage: of a counter that comes late there is no rate."""
    assert "num_consumers: 1 " in PAGE
