"""How fast fans turn, of the chips that tell. Source: /sys/class/hwmon, in turns a minute."""

from __future__ import annotations

from tocsin.sensors.base import Host, Readings, SensorKind, gauge
from tocsin.sensors.hwmon import Gauges, inputs


class _Fans:
    def __init__(self, host: Host) -> None:
        self._gauges = Gauges(
            lambda: inputs(host, "fan"),
            lambda id: gauge("hw.fan.speed", "rpm", **{"hw.id": id}),
            "no chip tells the speed of a fan",
        )

    def read(self) -> Readings:
        return Readings({series: float(value) for series, value in self._gauges.read().items()})


FANS = SensorKind("fans", _Fans, deadline_s=2.0, every=3)
