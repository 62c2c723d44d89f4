"""Temperatures, of the chips that tell theirs.

Source: /sys/class/hwmon, or where that has none /sys/class/thermal, in thousandths of °C.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tocsin.core.samples import Series
from tocsin.sensors.base import Absent, Host, Readings, SensorKind, gauge, text_of
from tocsin.sensors.hwmon import Input, inputs

_LEAST, _GREATEST = -100.0, 300.0
"""A chip that is asleep, or not there, gives numbers beyond these."""
_MOST: Final = 100


class _Temperatures:
    def __init__(self, host: Host) -> None:
        self._inputs: list[tuple[Path, Series]] = [
            (path, gauge("hw.temperature", "Cel", **{"hw.id": id}))
            for id, path in (inputs(host, "temp") or _zones(host))[:_MOST]
        ]
        if not self._inputs:
            raise Absent("no chip tells its temperature")

    def read(self) -> Readings:
        values: dict[Series, float] = {}
        for path, series in self._inputs:
            try:
                value = int(text_of(path) or "") / 1000
            except ValueError:
                continue
            if _LEAST < value < _GREATEST:
                values[series] = value
        return Readings(values)


def _zones(host: Host) -> list[Input]:
    zones = sorted(host.sys("class/thermal").glob("thermal_zone*"))
    kinds = {zone: text_of(zone / "type") or zone.name for zone in zones}
    alone = list(kinds.values())
    return [
        Input(kind if alone.count(kind) == 1 else f"{kind}/{zone.name}", zone / "temp") for zone, kind in kinds.items()
    ]


TEMPERATURES = SensorKind("temperatures", _Temperatures, deadline_s=2.0, every=3)
