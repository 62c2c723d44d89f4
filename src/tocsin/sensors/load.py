"""Load averages. Source: /proc/loadavg."""

from __future__ import annotations

from typing import Final

from tocsin.sensors.base import Host, Readings, SensorKind, gauge, kept_or_absent

_SERIES: Final = tuple(gauge(f"system.cpu.load_average.{span}", "{thread}") for span in ("1m", "5m", "15m"))


class _Load:
    def __init__(self, host: Host) -> None:
        self._loadavg = kept_or_absent(host.proc("loadavg"))

    def read(self) -> Readings:
        numbers = map(float, self._loadavg.read().split()[:3])
        return Readings(dict(zip(_SERIES, numbers, strict=True)))


LOAD = SensorKind("load", _Load)
