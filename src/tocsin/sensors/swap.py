"""Swap space, where there is any. Source: /proc/meminfo, in kibibytes."""

from __future__ import annotations

from tocsin.sensors.base import Absent, Host, Readings, SensorKind, gauge, kept_or_absent

_USED, _FREE = (gauge("system.paging.usage", "By", **{"system.paging.state": state}) for state in ("used", "free"))


class _Swap:
    def __init__(self, host: Host) -> None:
        self._meminfo = kept_or_absent(host.proc("meminfo"))
        if not self.read().values:
            raise Absent("there is no swap space")

    def read(self) -> Readings:
        total = free = 0
        for line in self._meminfo.read().splitlines():
            if line.startswith(b"SwapTotal:"):
                total = int(line.split()[1]) * 1024
            elif line.startswith(b"SwapFree:"):
                free = int(line.split()[1]) * 1024
        return Readings({_USED: float(total - free), _FREE: float(free)} if total else {})


SWAP = SensorKind("swap", _Swap)
