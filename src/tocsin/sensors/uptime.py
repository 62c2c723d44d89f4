"""How long this host has been running. Source: /proc/uptime."""

from __future__ import annotations

from typing import Final

from tocsin.sensors.base import Host, Readings, SensorKind, gauge, kept_or_absent

_UPTIME: Final = gauge("system.uptime", "s")


class _Uptime:
    def __init__(self, host: Host) -> None:
        self._uptime = kept_or_absent(host.proc("uptime"))

    def read(self) -> Readings:
        return Readings({_UPTIME: float(self._uptime.read().split()[0])})


UPTIME = SensorKind("uptime", _Uptime)
