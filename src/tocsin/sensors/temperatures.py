"""Temperatures, of the chips that tell theirs.

Source: /sys/class/hwmon, or where that has none /sys/class/thermal, in thousandths of °C.
"""

from __future__ import annotations

from typing import Final

from tocsin.sensors.base import Host, Readings, SensorKind, gauge, text_of
from tocsin.sensors.hwmon import Gauges, Input, inputs

_LEAST, _GREATEST = -100.0, 300.0
"""A chip that is asleep, or not there, gives numbers beyond these."""
_THOUSANDTHS: Final = 1000


class _Temperatures:
    def __init__(self, host: Host) -> None:
        self._gauges = Gauges(
            lambda: inputs(host, "temp") or _zones(host),
            lambda id: gauge("hw.temperature", "Cel", **{"hw.id": id}),
            "no chip tells its temperature",
        )

    def read(self) -> Readings:
        values = {series: value / _THOUSANDTHS for series, value in self._gauges.read().items()}
        return Readings({series: value for series, value in values.items() if _LEAST < value < _GREATEST})


def _zones(host: Host) -> list[Input]:
    zones = sorted(host.sys("class/thermal").glob("thermal_zone*"))
    kinds = {zone: text_of(zone / "type") or zone.name for zone in zones}
    alone = list(kinds.values())
    return [
        Input(kind if alone.count(kind) == 1 else f"{kind}/{zone.name}", zone / "temp") for zone, kind in kinds.items()
    ]


TEMPERATURES = SensorKind("temperatures", _Temperatures, deadline_s=2.0, every=3)
