"""Memory by what it is used for. ``used`` is what neither is free nor could be given up: buffers, caches and what the
kernel can reclaim of its own are not in it. Source: /proc/meminfo, in kibibytes.
"""

from __future__ import annotations

from typing import Final

from tocsin.sensors.base import Host, Readings, SensorKind, gauge, kept_or_absent

_LIMIT: Final = gauge("system.memory.limit", "By")
_AVAILABLE: Final = gauge("system.linux.memory.available", "By")
_USED, _FREE, _CACHED, _BUFFERS = (
    gauge("system.memory.usage", "By", **{"system.memory.state": state})
    for state in ("used", "free", "cached", "buffers")
)
_NEEDED: Final = {b"MemTotal", b"MemFree", b"MemAvailable", b"Buffers", b"Cached", b"SReclaimable"}


class _Memory:
    def __init__(self, host: Host) -> None:
        self._meminfo = kept_or_absent(host.proc("meminfo"))

    def read(self) -> Readings:
        found = dict.fromkeys(_NEEDED, 0)
        for line in self._meminfo.read().splitlines():
            name, _, rest = line.partition(b":")
            if name in found:
                found[name] = int(rest.split()[0]) * 1024
        total, free, buffers = found[b"MemTotal"], found[b"MemFree"], found[b"Buffers"]
        cached = found[b"Cached"] + found[b"SReclaimable"]
        if not total:
            raise ValueError("/proc/meminfo names no MemTotal")
        values = {
            _LIMIT: float(total),
            _USED: float(max(total - free - buffers - cached, 0)),
            _FREE: float(free),
            _CACHED: float(cached),
            _BUFFERS: float(buffers),
        }
        if found[b"MemAvailable"]:  # Linux 3.14 and later
            values[_AVAILABLE] = float(found[b"MemAvailable"])
        return Readings(values)


MEMORY = SensorKind("memory", _Memory)
