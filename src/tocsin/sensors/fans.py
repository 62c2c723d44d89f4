"""How fast fans turn, of the chips that tell. Source: /sys/class/hwmon, in turns a minute."""

from __future__ import annotations

from tocsin.core.samples import Series
from tocsin.sensors.base import Absent, Host, Readings, SensorKind, gauge, text_of
from tocsin.sensors.hwmon import inputs


class _Fans:
    def __init__(self, host: Host) -> None:
        self._inputs = [(path, gauge("hw.fan.speed", "rpm", **{"hw.id": id})) for id, path in inputs(host, "fan")]
        if not self._inputs:
            raise Absent("no chip tells the speed of a fan")

    def read(self) -> Readings:
        values: dict[Series, float] = {}
        for path, series in self._inputs:
            try:
                values[series] = float(int(text_of(path) or ""))
            except ValueError:
                continue
        return Readings(values)


FANS = SensorKind("fans", _Fans, deadline_s=2.0, every=3)
