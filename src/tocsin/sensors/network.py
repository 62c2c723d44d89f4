"""What went over each network interface.

The loopback is left out, and so are interfaces whose traffic is another's as well (bridges, bonds and VLANs, and the
ports of containers on a bridge), so that the sum over all is the machine's; and those that never carried a byte.
Source: /proc/net/dev. https://docs.kernel.org/networking/statistics.html
"""

from __future__ import annotations

import os
from typing import Final

from tocsin.core.samples import Series
from tocsin.sensors.base import Absent, Host, Readings, SensorKind, counter, kept_or_absent

_FIELDS: Final = (0, 8, 2, 10, 3, 11)
"""Of a line, in the order of the series: bytes, errors and drops, received and transmitted each."""


class _Network:
    def __init__(self, host: Host) -> None:
        self._dev = kept_or_absent(host.net_dev)
        self._class = host.sys("class/net")
        self._known: dict[bytes, tuple[Series, ...] | None] = {}
        """By name; None: not to be counted."""
        if not self.read().values:
            raise Absent("there is no network interface in use")

    def read(self) -> Readings:
        values: dict[Series, float] = {}
        there: dict[bytes, tuple[Series, ...] | None] = {}
        for line in self._dev.read().splitlines()[2:]:
            name, _, rest = line.rpartition(b":")
            name, fields = name.strip(), rest.split()
            if fields[0] == b"0" and fields[8] == b"0":
                continue
            series = there[name] = self._known[name] if name in self._known else self._series(name)
            if series is not None:
                values.update(zip(series, (int(fields[place]) for place in _FIELDS), strict=True))
        self._known = there
        return Readings(values)

    def _series(self, name: bytes) -> tuple[Series, ...] | None:
        interface = name.decode("utf-8", "replace")
        if interface == "lo":
            return None
        try:
            links = os.listdir(self._class / interface)
        except OSError:
            links = []
        consists_of_others = any(link.startswith("lower_") for link in links)
        is_a_port = "device" not in links and any(link.startswith("upper_") for link in links)
        if consists_of_others or is_a_port:
            return None
        return tuple(
            counter(series, unit, **{"network.interface.name": interface, "network.io.direction": direction})
            for series, unit in (
                ("system.network.io", "By"),
                ("system.network.errors", "{error}"),
                ("system.network.packet.dropped", "{packet}"),
            )
            for direction in ("receive", "transmit")
        )


NETWORK = SensorKind("network", _Network)
