"""What senders call things, and what Tocsin calls them: names of metrics and attributes, units and values of old and
new semantic conventions become one vocabulary, so that a chart does not end where a Collector was updated.

What has no row here is kept under the name it came with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

SCHEMA: Final = "https://opentelemetry.io/schemas/"
"""Followed by a version: the renames of the semantic conventions, each under the version that made it."""
CONVENTIONS: Final = "https://opentelemetry.io/docs/specs/semconv/system/system-metrics/"
HARDWARE: Final = "https://opentelemetry.io/docs/specs/semconv/hardware/"
SCRAPERS: Final = (
    "https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/"
    "receiver/hostmetricsreceiver/internal/scraper/"
)
PYTHON: Final = (
    "https://github.com/open-telemetry/opentelemetry-python-contrib/tree/main/"
    "instrumentation/opentelemetry-instrumentation-system-metrics"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """``name`` is ours; None: left out, because it does not tell one series from another."""

    name: str | None
    source: str
    values: Mapping[str, str] = field(default_factory=dict)
    """Other words for the same value."""
    lower: bool = False
    """Values are written in small letters."""
    without: str = ""
    """Values begin with this, in some vocabularies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """``name`` and ``unit`` are ours. ``also`` are its other names, ``attributes`` the other names of its attributes,
    each with where it says so."""

    name: str
    unit: str
    source: str
    also: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


_MODES: Final = MappingProxyType({"wait": "iowait", "softirq": "interrupt", "irq": "interrupt"})
_CPU: Final = {
    "state": Attribute(name="cpu.mode", values=_MODES, source=f"{SCHEMA}1.22.0, {SCHEMA}1.27.0"),
    "system.cpu.state": Attribute(name="cpu.mode", values=_MODES, source=f"{SCHEMA}1.27.0"),
    "cpu.mode": Attribute(name="cpu.mode", values=_MODES, source=CONVENTIONS),
    # "cpu0" is what the Collector writes, "0" what the conventions ask for
    "cpu": Attribute(name="cpu.logical_number", without="cpu", source=f"{SCHEMA}1.22.0, {SCRAPERS}cpuscraper"),
    "system.cpu.logical_number": Attribute(name="cpu.logical_number", source=f"{SCHEMA}1.31.0, {SCHEMA}1.38.0"),
}
_MEMORY: Final = {
    "state": Attribute(
        name="system.memory.state",
        values={"buffered": "buffers"},
        source=f"{SCHEMA}1.22.0, {SCRAPERS}memoryscraper",
    ),
}
_SWAP_STATE: Final = Attribute(name="system.paging.state", source=f"{SCHEMA}1.22.0, {SCRAPERS}pagingscraper")
_PAGING: Final = {
    "state": _SWAP_STATE,
    "device": Attribute(name="system.device", source=f"{SCRAPERS}pagingscraper"),
}
_FAULT: Final = Attribute(name="system.paging.fault.type", source=f"{SCHEMA}1.22.0, {SCHEMA}1.38.0")
_DIRECTION_OF_PAGES: Final = Attribute(
    name="system.paging.direction",
    values={"page_in": "in", "page_out": "out"},
    source=f"{SCHEMA}1.22.0, {SCRAPERS}pagingscraper",
)
_PAGES: Final = {
    "type": _FAULT,
    "system.paging.type": _FAULT,
    "direction": _DIRECTION_OF_PAGES,
}
_DISK: Final = {
    "device": Attribute(name="system.device", source=f"{SCHEMA}1.22.0"),
    "direction": Attribute(name="disk.io.direction", source=f"{SCHEMA}1.22.0, {SCHEMA}1.24.0"),
    "system.disk.direction": Attribute(name="disk.io.direction", source=f"{SCHEMA}1.22.0, {SCHEMA}1.24.0"),
    "system.disk.io.direction": Attribute(name="disk.io.direction", source=f"{SCHEMA}1.24.0"),
}
_FILE_SYSTEM: Final = {
    "device": Attribute(name="system.device", source=f"{SCHEMA}1.22.0"),
    "mountpoint": Attribute(name="system.filesystem.mountpoint", source=f"{SCHEMA}1.22.0"),
    "type": Attribute(name="system.filesystem.type", source=f"{SCHEMA}1.22.0"),
    "state": Attribute(name="system.filesystem.state", source=f"{SCHEMA}1.22.0"),
    # a file system that is mounted anew, read-only, is still the same one
    "mode": Attribute(name=None, source=f"{SCHEMA}1.22.0, {SCRAPERS}filesystemscraper"),
    "system.filesystem.mode": Attribute(name=None, source=CONVENTIONS),
}
_NETWORK: Final = {
    "device": Attribute(name="network.interface.name", source=f"{SCHEMA}1.22.0, {SCHEMA}1.29.0"),
    "system.device": Attribute(name="network.interface.name", source=f"{SCHEMA}1.29.0"),
    "direction": Attribute(name="network.io.direction", source=f"{SCHEMA}1.22.0, {SCHEMA}1.24.0"),
    "system.network.direction": Attribute(name="network.io.direction", source=f"{SCHEMA}1.22.0, {SCHEMA}1.24.0"),
    "system.network.io.direction": Attribute(name="network.io.direction", source=f"{SCHEMA}1.24.0"),
}
_CONNECTION_STATE: Final = Attribute(
    name="network.connection.state", lower=True, source=f"{SCHEMA}1.22.0, {SCHEMA}1.30.0, {SCRAPERS}networkscraper"
)
_CONNECTIONS: Final = {
    "protocol": Attribute(name="network.transport", lower=True, source=f"{SCRAPERS}networkscraper, {CONVENTIONS}"),
    "network.protocol": Attribute(name="network.transport", lower=True, source=f"{SCHEMA}1.22.0, {CONVENTIONS}"),
    "state": _CONNECTION_STATE,
    "system.network.state": _CONNECTION_STATE,
    "device": Attribute(name="network.interface.name", source=f"{SCHEMA}1.22.0, {SCHEMA}1.29.0"),
    "system.device": Attribute(name="network.interface.name", source=f"{SCHEMA}1.29.0"),
}
_PROCESS_STATE: Final = Attribute(
    name="process.state",
    values={"zombies": "defunct", "zombie": "defunct"},
    source=f"{SCHEMA}1.22.0, {SCHEMA}1.38.0, {SCRAPERS}processesscraper",
)
_PROCESSES: Final = {
    "status": _PROCESS_STATE,
    "system.processes.status": _PROCESS_STATE,
    "system.process.status": _PROCESS_STATE,
}
_HARDWARE: Final = {
    old: Attribute(name=f"hw.{old}", source=f"{SCRAPERS}hwscraper, {HARDWARE}")
    for old in ("id", "name", "parent", "sensor_location", "limit_type", "state", "type")
}

METRICS: Final = (
    Metric(
        name="system.cpu.time",
        unit="s",
        also={"cpu.time": f"{SCHEMA}1.31.0, {SCHEMA}1.34.0"},
        attributes=_CPU,
        source=CONVENTIONS,
    ),
    Metric(
        name="system.cpu.utilization",
        unit="1",
        also={"cpu.utilization": f"{SCHEMA}1.31.0, {SCHEMA}1.34.0"},
        attributes=_CPU,
        source=CONVENTIONS,
    ),
    Metric(
        name="system.cpu.frequency",
        unit="Hz",
        also={"cpu.frequency": f"{SCHEMA}1.31.0, {SCHEMA}1.34.0"},
        attributes=_CPU,
        source=CONVENTIONS,
    ),
    Metric(name="system.cpu.logical.count", unit="{cpu}", source=CONVENTIONS),
    Metric(name="system.cpu.physical.count", unit="{cpu}", source=CONVENTIONS),
    Metric(name="system.cpu.load_average.1m", unit="{thread}", source=f"{SCRAPERS}loadscraper"),
    Metric(name="system.cpu.load_average.5m", unit="{thread}", source=f"{SCRAPERS}loadscraper"),
    Metric(name="system.cpu.load_average.15m", unit="{thread}", source=f"{SCRAPERS}loadscraper"),
    Metric(name="system.memory.usage", unit="By", attributes=_MEMORY, source=CONVENTIONS),
    Metric(name="system.memory.utilization", unit="1", attributes=_MEMORY, source=CONVENTIONS),
    Metric(name="system.memory.limit", unit="By", source=CONVENTIONS),
    Metric(
        name="system.linux.memory.available",
        unit="By",
        also={"system.memory.linux.available": f"{SCHEMA}1.39.0"},
        source=CONVENTIONS,
    ),
    Metric(
        name="system.linux.memory.slab.usage",
        unit="By",
        also={"system.memory.linux.slab.usage": f"{SCHEMA}1.39.0"},
        attributes={
            "system.memory.linux.slab.state": Attribute(name="linux.memory.slab.state", source=f"{SCHEMA}1.39.0")
        },
        source=CONVENTIONS,
    ),
    Metric(
        name="system.paging.usage",
        unit="By",
        also={"system.swap.usage": PYTHON},
        attributes=_PAGING,
        source=CONVENTIONS,
    ),
    Metric(
        name="system.paging.utilization",
        unit="1",
        also={"system.swap.utilization": PYTHON},
        attributes=_PAGING,
        source=CONVENTIONS,
    ),
    Metric(name="system.paging.faults", unit="{fault}", attributes=_PAGES, source=CONVENTIONS),
    Metric(name="system.paging.operations", unit="{operation}", attributes=_PAGES, source=CONVENTIONS),
    Metric(name="system.disk.io", unit="By", attributes=_DISK, source=CONVENTIONS),
    Metric(name="system.disk.operations", unit="{operation}", attributes=_DISK, source=CONVENTIONS),
    Metric(name="system.disk.io_time", unit="s", attributes=_DISK, source=CONVENTIONS),
    Metric(name="system.disk.operation_time", unit="s", attributes=_DISK, source=CONVENTIONS),
    Metric(name="system.disk.weighted_io_time", unit="s", attributes=_DISK, source=f"{SCRAPERS}diskscraper"),
    Metric(
        name="system.disk.pending_operations", unit="{operation}", attributes=_DISK, source=f"{SCRAPERS}diskscraper"
    ),
    Metric(name="system.disk.merged", unit="{operation}", attributes=_DISK, source=CONVENTIONS),
    Metric(name="system.filesystem.usage", unit="By", attributes=_FILE_SYSTEM, source=CONVENTIONS),
    Metric(name="system.filesystem.utilization", unit="1", attributes=_FILE_SYSTEM, source=CONVENTIONS),
    Metric(name="system.filesystem.limit", unit="By", attributes=_FILE_SYSTEM, source=CONVENTIONS),
    Metric(
        name="system.filesystem.inodes.usage",
        unit="{inode}",
        attributes=_FILE_SYSTEM,
        source=f"{SCRAPERS}filesystemscraper",
    ),
    Metric(name="system.network.io", unit="By", attributes=_NETWORK, source=CONVENTIONS),
    Metric(name="system.network.errors", unit="{error}", attributes=_NETWORK, source=CONVENTIONS),
    Metric(
        name="system.network.packet.count",
        unit="{packet}",
        also={"system.network.packets": f"{SCRAPERS}networkscraper, {CONVENTIONS}"},
        attributes=_NETWORK,
        source=CONVENTIONS,
    ),
    Metric(
        name="system.network.packet.dropped",
        unit="{packet}",
        also={
            "system.network.dropped": f"{SCRAPERS}networkscraper, {CONVENTIONS}",
            "system.network.dropped_packets": PYTHON,
        },
        attributes=_NETWORK,
        source=CONVENTIONS,
    ),
    Metric(
        name="system.network.connection.count",
        unit="{connection}",
        also={"system.network.connections": f"{SCHEMA}1.35.0"},
        attributes=_CONNECTIONS,
        source=CONVENTIONS,
    ),
    Metric(
        name="system.process.count",
        unit="{process}",
        also={"system.processes.count": f"{SCHEMA}1.25.0"},
        attributes=_PROCESSES,
        source=CONVENTIONS,
    ),
    Metric(
        name="system.process.created",
        unit="{process}",
        also={"system.processes.created": f"{SCHEMA}1.25.0"},
        source=CONVENTIONS,
    ),
    Metric(name="system.uptime", unit="s", source=CONVENTIONS),
    Metric(name="hw.temperature", unit="Cel", attributes=_HARDWARE, source=f"{HARDWARE}temperature/"),
    Metric(name="hw.temperature.limit", unit="Cel", attributes=_HARDWARE, source=f"{HARDWARE}temperature/"),
    Metric(name="hw.fan.speed", unit="rpm", attributes=_HARDWARE, source=f"{HARDWARE}fan/"),
    Metric(name="hw.status", unit="1", attributes=_HARDWARE, source=f"{HARDWARE}common/"),
)

KNOWN: Final[Mapping[str, Metric]] = MappingProxyType(
    {name: metric for metric in METRICS for name in (metric.name, *metric.also)}
)
"""By every name."""

_SLAB: Final = "linux.memory.slab.state"
_SLABS: Final = MappingProxyType({"slab_reclaimable": "reclaimable", "slab_unreclaimable": "unreclaimable"})


def normalized(name: str, attributes: Mapping[str, str], unit: str) -> tuple[str, dict[str, str], str]:
    """Our name, attributes and unit for theirs. The states ``slab_…`` of ``system.memory.usage`` overlap with its
    others, and are the metric of their own that the conventions made of them."""
    metric = KNOWN.get(name)
    if metric is None:
        return name, dict(attributes), unit
    found: dict[str, str] = {}
    for key, value in attributes.items():
        known = metric.attributes.get(key)
        if known is None:
            found[key] = value
        elif known.name is not None:
            found[known.name] = _value(known, value)
    slab = _SLABS.get(found.get("system.memory.state", ""))
    if slab is not None and metric.name == "system.memory.usage":
        del found["system.memory.state"]
        return "system.linux.memory.slab.usage", found | {_SLAB: slab}, metric.unit
    return metric.name, found, metric.unit


def _value(known: Attribute, value: str) -> str:
    value = value.removeprefix(known.without)
    if known.lower:
        value = value.lower()
    return known.values.get(value, value)
