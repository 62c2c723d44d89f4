"""Exports as the hostmetrics receiver of an OpenTelemetry Collector sends them: a resource, a scope and a time for each
scraper, whole numbers where it has whole numbers, and the words of the vocabulary of the day.

Names, types and attributes: receiver/hostmetricsreceiver/internal/scraper/*/metadata.yaml and
https://opentelemetry.io/schemas/1.44.0
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    Gauge,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

CUMULATIVE: Final = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
DELTA: Final = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
SCOPE: Final = (
    "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/hostmetricsreceiver/internal/scraper/"
)
VERSION: Final = "0.140.0"
NS: Final = 1_000_000

Vocabulary = Literal["old", "new"]
Attributes = Mapping[str, str]
Told = tuple[Attributes, float]
"""Attributes and value of a data point."""


class Words(NamedTuple):
    """What a vocabulary calls things."""

    mode: str
    number: str
    wait: str
    memory: str
    buffers: str
    available: str
    device: str
    mountpoint: str
    fs_type: str
    fs_mode: str
    fs_state: str
    disk_direction: str
    interface: str
    net_direction: str
    dropped: str
    packets: str
    paging: str
    processes: str
    created: str
    status: str


WORDS: Final[Mapping[Vocabulary, Words]] = {
    "old": Words(
        "state", "cpu", "wait", "state", "buffered", "system.linux.memory.available", "device", "mountpoint", "type",
        "mode", "state", "direction", "device", "direction", "system.network.dropped", "system.network.packets",
        "state", "system.processes.count", "system.processes.created", "status",
    ),
    "new": Words(
        "cpu.mode", "cpu.logical_number", "iowait", "system.memory.state", "buffers", "system.memory.linux.available",
        "system.device", "system.filesystem.mountpoint", "system.filesystem.type", "system.filesystem.mode",
        "system.filesystem.state", "disk.io.direction", "network.interface.name", "network.io.direction",
        "system.network.packet.dropped", "system.network.packet.count", "system.paging.state", "system.process.count",
        "system.process.created", "process.state",
    ),
}  # fmt: skip


@dataclass
class Host:
    """A machine that measures itself. Numbers are those of ``reading``, which grows with every export."""

    name: str = "web-1"
    vocabulary: Vocabulary = "old"
    cores: int = 4
    disks: Sequence[str] = ("sda", "sdb")
    mounts: Sequence[tuple[str, str, str]] = (("/dev/sda1", "/", "ext4"), ("/dev/sdb1", "/srv", "xfs"))
    interfaces: Sequence[str] = ("lo", "eth0")
    booted_ms: int = 1_799_990_000_000
    spread_ms: int = 3
    """Each scraper looks this much later than the one before."""
    extra: bool = True
    """Metrics too that are not sent unless asked for."""
    attributes: Attributes = field(default_factory=lambda: {"os.type": "linux"})

    def export(self, at_ms: int, reading: float = 1.0) -> ExportMetricsServiceRequest:
        scrapers = self._scrapers(reading)
        resource = Resource(attributes=pairs({"host.name": self.name, **self.attributes}))
        return ExportMetricsServiceRequest(
            resource_metrics=[
                ResourceMetrics(
                    resource=resource,
                    schema_url="https://opentelemetry.io/schemas/1.9.0",
                    scope_metrics=[
                        ScopeMetrics(
                            scope=InstrumentationScope(name=SCOPE + scraper, version=VERSION),
                            metrics=[self._metric(one, at_ms + place * self.spread_ms) for one in metrics],
                        )
                    ],
                )
                for place, (scraper, metrics) in enumerate(scrapers.items())
            ]
        )

    def _metric(self, one: Measured, at_ms: int) -> Metric:
        points = []
        for attributes, value in one.points:
            point = NumberDataPoint(
                attributes=pairs(attributes),
                start_time_unix_nano=self.booted_ms * NS,
                time_unix_nano=at_ms * NS + 1234,
            )
            if one.floats:
                point.as_double = value
            else:
                point.as_int = int(value)
            points.append(point)
        if one.grows is None:
            return Metric(name=one.name, description="what it is", unit=one.unit, gauge=Gauge(data_points=points))
        told = Sum(data_points=points, aggregation_temporality=CUMULATIVE, is_monotonic=one.grows)
        return Metric(name=one.name, description="what it is", unit=one.unit, sum=told)

    def _scrapers(self, x: float) -> dict[str, list[Measured]]:
        w = WORDS[self.vocabulary]
        modes = ("user", "system", "idle", "interrupt", "nice", "softirq", "steal", w.wait)
        cpus = [f"cpu{number}" if self.vocabulary == "old" else str(number) for number in range(self.cores)]

        def directed(
            name: str, unit: str, key: str, devices: Iterable[str], direction: str, ways: Sequence[str]
        ) -> Measured:
            return Measured(
                name,
                unit,
                [
                    ({key: device, direction: way}, x * (place + 1))
                    for device in devices
                    for place, way in enumerate(ways)
                ],
                grows=True,
            )

        disk = w.device, self.disks, w.disk_direction, ("read", "write")
        net = w.interface, self.interfaces, w.net_direction, ("receive", "transmit")
        memory: list[Told] = [
            ({w.memory: state}, value)
            for state, value in {"used": 4e9, "free": 8e9, w.buffers: 1e9, "cached": 3e9}.items()
        ]
        if self.vocabulary == "old":
            memory += [({w.memory: state}, 5e8) for state in ("slab_reclaimable", "slab_unreclaimable")]
        found = {
            "cpuscraper": [
                Measured(
                    "system.cpu.time",
                    "s",
                    [
                        ({w.number: cpu, w.mode: mode}, x * (10.0 if mode == "idle" else 1.0) + place)
                        for place, cpu in enumerate(cpus)
                        for mode in modes
                    ],
                    grows=True,
                    floats=True,
                )
            ],
            "diskscraper": [
                directed("system.disk.io", "By", *disk),
                directed("system.disk.operations", "{operations}", *disk),
                Measured(
                    "system.disk.io_time", "s", [({w.device: one}, x) for one in self.disks], grows=True, floats=True
                ),
            ],
            "filesystemscraper": [
                Measured(
                    "system.filesystem.usage",
                    "By",
                    [
                        (
                            {
                                w.device: device,
                                w.fs_mode: "rw",
                                w.mountpoint: mount,
                                w.fs_type: kind,
                                w.fs_state: state,
                            },
                            value,
                        )
                        for device, mount, kind in self.mounts
                        for state, value in (("used", 3e10), ("free", 6e10), ("reserved", 1e9))
                    ],
                )
            ],
            "loadscraper": [
                Measured(f"system.cpu.load_average.{span}", "{thread}", [({}, 0.5)], grows=None, floats=True)
                for span in ("1m", "5m", "15m")
            ],
            "memoryscraper": [Measured("system.memory.usage", "By", memory)],
            "networkscraper": [
                directed("system.network.io", "By", *net),
                directed("system.network.errors", "{errors}", *net),
                directed(w.dropped, "{packets}", *net),
                directed(w.packets, "{packets}", *net),
            ],
            "pagingscraper": [
                Measured("system.paging.usage", "By", [({w.paging: state}, 1e9) for state in ("used", "free")])
            ],
            "processesscraper": [
                Measured(w.processes, "{processes}", [({w.status: "running"}, 2), ({w.status: "sleeping"}, 98)]),
                Measured(w.created, "{processes}", [({}, x * 100)], grows=True),
            ],
            "systemscraper": [Measured("system.uptime", "s", [({}, 12_345.0)], grows=None, floats=True)],
        }
        if self.extra:
            found["memoryscraper"] += [
                Measured("system.memory.limit", "By", [({}, 16e9)]),
                Measured(w.available, "By", [({}, 11e9)]),
            ]
            found["cpuscraper"].append(Measured("system.cpu.logical.count", "{cpu}", [({}, self.cores)]))
        return found


class Measured(NamedTuple):
    """A metric of a host; ``grows`` None: a gauge."""

    name: str
    unit: str
    points: Sequence[Told]
    grows: bool | None = False
    floats: bool = False


def pairs(attributes: Attributes) -> list[KeyValue]:
    return [KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in attributes.items()]


def points(export: ExportMetricsServiceRequest) -> Iterator[NumberDataPoint]:
    """All that have one number."""
    for metric in metrics(export):
        yield from (metric.gauge if metric.HasField("gauge") else metric.sum).data_points


def metrics(export: ExportMetricsServiceRequest) -> Iterator[Metric]:
    for resource in export.resource_metrics:
        for scoped in resource.scope_metrics:
            yield from scoped.metrics
