"""How a machine is, in a few numbers: from the gauges and rates of one layout.

Pure and for many ticks at once. What a layout tells nothing of is None, or NaN in a column. Series are those of our
collector or of an OpenTelemetry Collector's hostmetrics receiver, in the names of today's conventions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tocsin.core.samples import Layout, Series

Floats = NDArray[np.float64]
Places = NDArray[np.intp]


class Summary(NamedTuple):
    """Shares are 0..1; None: not known. ``disk`` is the fullest filesystem, the one at ``disk_mount``."""

    cpu: float | None = None
    memory: float | None = None
    swap: float | None = None
    disk: float | None = None
    disk_mount: str | None = None
    cores: int | None = None
    memory_bytes: int | None = None
    load_1m: float | None = None
    load_5m: float | None = None
    load_15m: float | None = None
    network_in: float | None = None
    """Bytes a second, as the three after it."""
    network_out: float | None = None
    disk_read: float | None = None
    disk_write: float | None = None
    processes: int | None = None
    uptime_s: float | None = None
    temperature: float | None = None
    """Of the hottest sensor, in °C."""
    disk_full_in_h: float | None = None
    """At the present rate; None also where nothing fills up."""

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Summary:
        """From what was stored; what is not known by this name is left out."""
        return cls(**{name: found[name] for name in cls._fields if found.get(name) is not None})

    def known(self) -> dict[str, Any]:
        """Those that are not None, for storing."""
        return {name: value for name, value in self._asdict().items() if value is not None}


def merged(several: Iterable[tuple[int, Mapping[str, Any]]], *, fresh_ms: int = 300_000) -> Summary:
    """One out of those of a machine whose series come in several layouts, each with the time of its tick: the newest
    that tells. What is more than ``fresh_ms`` older than the newest of all tells nothing any more."""
    ordered = sorted(several, key=lambda one: one[0])
    found: dict[str, Any] = {}
    for at_ms, one in ordered:
        if at_ms >= ordered[-1][0] - fresh_ms:
            found |= {name: value for name, value in one.items() if value is not None}
    return Summary.of(found)


class Filesystem(NamedTuple):
    mount: str
    used: int
    """Where in the vector; and what is free for those who are not root."""
    free: int


@dataclass(frozen=True)
class Columns:
    """The numbers of a Summary for each of n ticks, NaN where there is none."""

    numbers: Mapping[str, Floats]
    """By the name of the field, each [n]; without ``disk_mount`` and ``disk_full_in_h``."""
    shares: Floats
    """How full each filesystem is, [n, filesystems]."""
    mounts: Sequence[str]

    def summary(self, row: int) -> Summary:
        found: dict[str, Any] = {}
        for name, column in self.numbers.items():
            value = float(column[row])
            if value == value:
                found[name] = round(value) if name in _WHOLE else round(value, 4)
        if "disk" in found:
            shares = self.shares[row].tolist()
            found["disk_mount"] = self.mounts[
                max(range(len(shares)), key=lambda one: (shares[one] == shares[one], shares[one]))
            ]
        return Summary(**found)


class View:
    """Where in the vectors of a layout the numbers of a Summary are. Made once for a layout."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._single = {
            field: place for field, name in _SINGLE.items() if (place := layout.places.get((name, ()))) is not None
        }
        self._cpu = self._processor_modes()
        self._cores = len({_get(one, "cpu.logical_number") for one in self._named("system.cpu.time")} - {None})
        self._memory = {
            state: place
            for place, one in self._placed("system.memory.usage")
            if (state := _MEMORY_STATES.get(_get(one, "system.memory.state") or ""))
        }
        self._limit = layout.places.get(("system.memory.limit", ()))
        self._available = layout.places.get(("system.linux.memory.available", ()))
        self._swap_used = self._where("system.paging.usage", "system.paging.state", "used")
        self._swap_free = self._where("system.paging.usage", "system.paging.state", "free")
        self.filesystems = self._filesystems()
        self._used = np.array([one.used for one in self.filesystems], dtype=np.intp)
        self._free = np.array([one.free for one in self.filesystems], dtype=np.intp)
        self._sums = {
            "network_in": self._flow("system.network.io", _INTERFACE, "network.io.direction", "receive", _outside),
            "network_out": self._flow("system.network.io", _INTERFACE, "network.io.direction", "transmit", _outside),
            "disk_read": self._flow("system.disk.io", "system.device", "disk.io.direction", "read", _whole_disks),
            "disk_write": self._flow("system.disk.io", "system.device", "disk.io.direction", "write", _whole_disks),
            "processes": self._processes(),
        }
        self._temperatures = np.array(layout.by_name.get("hw.temperature", ()), dtype=np.intp)

    def columns(self, rows: Floats) -> Columns:
        """Of ticks [n, series], counters as rates."""
        numbers: dict[str, Floats] = {field: rows[:, place] for field, place in self._single.items()}
        with np.errstate(divide="ignore", invalid="ignore"):
            self._add_cpu(numbers, rows)
            self._add_memory(numbers, rows)
            if len(self._swap_used) and len(self._swap_free):
                used, free = rows[:, self._swap_used].sum(axis=1), rows[:, self._swap_free].sum(axis=1)
                numbers["swap"] = used / (used + free)
            used, free = rows[:, self._used], rows[:, self._free]
            shares = used / (used + free)
        if self.filesystems:
            numbers["disk"] = np.fmax.reduce(shares, axis=1)
        for field, places in self._sums.items():
            if len(places):
                numbers[field] = _sum(rows[:, places])
        if len(self._temperatures):
            numbers["temperature"] = np.fmax.reduce(rows[:, self._temperatures], axis=1)
        return Columns(numbers, shares, [one.mount for one in self.filesystems])

    def _add_cpu(self, numbers: dict[str, Floats], rows: Floats) -> None:
        idle, all_modes = self._cpu
        if len(all_modes):
            whole = rows[:, all_modes].sum(axis=1)
            numbers["cpu"] = np.clip(1 - rows[:, idle].sum(axis=1) / whole, 0, 1)
        if "cores" not in numbers and self._cores:
            numbers["cores"] = np.full(len(rows), float(self._cores))

    def _add_memory(self, numbers: dict[str, Floats], rows: Floats) -> None:
        parts = [rows[:, place] for place in self._memory.values()]
        whole: Floats | None = None
        if self._limit is not None:
            whole = rows[:, self._limit]
        elif {"used", "free"} <= self._memory.keys():
            whole = np.sum(parts, axis=0)
        if whole is None:
            return
        numbers["memory_bytes"] = whole
        if self._available is not None:
            numbers["memory"] = np.clip(1 - rows[:, self._available] / whole, 0, 1)
        elif "used" in self._memory:
            numbers["memory"] = np.clip(rows[:, self._memory["used"]] / whole, 0, 1)

    # ── where things are ──────────────────────────────────────────────────────────────────────────

    def _placed(self, name: str) -> list[tuple[int, Series]]:
        return [(place, self._layout.series[place]) for place in self._layout.by_name.get(name, ())]

    def _named(self, name: str) -> list[Series]:
        return [one for _, one in self._placed(name)]

    def _where(self, name: str, attribute: str, value: str) -> Places:
        return np.array([place for place, one in self._placed(name) if _get(one, attribute) == value], dtype=np.intp)

    def _processor_modes(self) -> tuple[Places, Places]:
        """The series of time nothing was to be done in, and of all time: of all processors together where they are
        there, or of each. Without both there is no share."""
        every = [(place, one) for place, one in self._placed("system.cpu.time") if one.stored_unit.endswith("/s")]
        together = [(place, one) for place, one in every if _get(one, "cpu.logical_number") is None]
        chosen = [place for place, _ in together or every]
        idle = [place for place, one in together or every if _get(one, "cpu.mode") in _IDLE]
        if not idle or len(idle) == len(chosen):
            chosen = []
        return np.array(idle, dtype=np.intp), np.array(chosen, dtype=np.intp)

    def _filesystems(self) -> list[Filesystem]:
        parts: dict[str, dict[str, int]] = {}
        for place, one in self._placed("system.filesystem.usage"):
            mount = _get(one, "system.filesystem.mountpoint")
            state = _get(one, "system.filesystem.state")
            if mount is None or state is None or _is_pseudo(_get(one, "system.filesystem.type"), mount):
                continue
            parts.setdefault(mount, {})[state] = place
        return [
            Filesystem(mount, states["used"], states["free"])
            for mount, states in parts.items()
            if {"used", "free"} <= states.keys()
        ]

    def _flow(self, name: str, who: str, attribute: str, value: str, chosen: Any) -> Places:
        there = [(place, _get(one, who) or "") for place, one in self._placed(name) if _get(one, attribute) == value]
        kept = chosen({owner for _, owner in there})
        return np.array([place for place, owner in there if owner in kept], dtype=np.intp)

    def _processes(self) -> Places:
        there = self._placed("system.process.count")
        total = [place for place, one in there if not one.attributes]
        return np.array(total or [place for place, _ in there], dtype=np.intp)


def _sum(rows: Floats) -> Floats:
    """Of what is there; NaN where nothing is."""
    nothing = np.logical_and.reduce(np.isnan(rows), axis=1)
    found: Floats = np.nansum(rows, axis=1)
    found[nothing] = np.nan
    return found


def _get(one: Series, attribute: str) -> str | None:
    for name, value in one.attributes:
        if name == attribute:
            return value
    return None


_INTERFACE: Final = "network.interface.name"
_SINGLE: Final = {
    "cores": "system.cpu.logical.count",
    "load_1m": "system.cpu.load_average.1m",
    "load_5m": "system.cpu.load_average.5m",
    "load_15m": "system.cpu.load_average.15m",
    "uptime_s": "system.uptime",
}
_WHOLE: Final = frozenset({"cores", "memory_bytes", "processes"})
_IDLE: Final = frozenset({"idle", "iowait", "wait"})
"""Modes in which a processor does nothing."""
_MEMORY_STATES: Final = {
    "used": "used",
    "free": "free",
    "cached": "cached",
    "buffers": "buffers",
    "buffered": "buffers",
}
"""Those that add up to all of it; slabs are a part of what is used."""

_PSEUDO: Final = frozenset({
    "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devfs", "devpts", "devtmpfs",
    "efivarfs", "erofs", "fusectl", "hugetlbfs", "iso9660", "mqueue", "nsfs", "nullfs", "overlay", "proc",
    "procfs", "pstore", "ramfs", "rpc_pipefs", "securityfs", "selinuxfs", "squashfs", "sysfs", "tmpfs", "tracefs",
    "udf",
})  # fmt: skip
"""Kept in memory, made up by the kernel, or full by nature."""


def _is_pseudo(kind: str | None, mount: str) -> bool:
    """A container's own root is a share of a real disk."""
    return kind in _PSEUDO and not (kind == "overlay" and mount == "/")


def _outside(names: set[str]) -> set[str]:
    """Interfaces that lead out of the machine: what passes a bridge passes one of these too."""
    real = {name for name in names if not _VIRTUAL.match(name)}
    return real or {name for name in names if not _LOOPBACK.match(name)}


_LOOPBACK: Final = re.compile(r"lo\d*$|Loopback", re.IGNORECASE)
_VIRTUAL: Final = re.compile(
    r"lo\d*$|Loopback|veth|docker|br-|virbr|vnet|cni|cali|flannel|cilium|lxc|dummy|ifb|kube|bond.*\.|utun|awdl|bridge",
    re.IGNORECASE,
)


def _whole_disks(names: set[str]) -> set[str]:
    """Without partitions of others, and without what lies on others."""
    kept = {
        name
        for name in names
        if not _LAYERED.match(name)
        and not any(other != name and re.fullmatch(re.escape(other) + r"p?\d+", name) for other in names)
    }
    return kept or names


_LAYERED: Final = re.compile(r"(/dev/)?((loop|ram|zram|dm-|md|sr|fd|nbd|zd)\d|nvme\d+c\d+n\d)")
