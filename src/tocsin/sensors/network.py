"""What went over each network interface.

The loopback is left out, and so are interfaces whose traffic is another's as well (bridges, bonds and VLANs, and the
ports of containers, on a bridge or routed), so that the sum over all is the machine's; and those that never carried a
byte. Of many the machine's own come first.
Source: /proc/net/dev. https://docs.kernel.org/networking/statistics.html
"""

from __future__ import annotations

import os
from typing import Final, NamedTuple

from tocsin.core.samples import Series
from tocsin.sensors.base import Absent, Host, Readings, SensorKind, counter, kept_or_absent

_MOST: Final = 100
"""A host with an interface for each of its containers would send nothing else."""
_OF_CONTAINERS: Final = ("veth", "cali", "lxc", "tap", "azv", "eni")
"""How the near ends of what containers and virtual machines have are called where they are routed: by Docker, Calico,
Cilium, QEMU, Azure and Amazon. Where such a name is a device's, it is one of the machine's own."""
_FIELDS: Final = (0, 8, 2, 10, 3, 11)
"""Of a line, in the order of the series: bytes, errors and drops, received and transmitted each."""


class _Interface(NamedTuple):
    series: tuple[Series, ...]
    has_device: bool


class _Network:
    def __init__(self, host: Host) -> None:
        self._dev = kept_or_absent(host.net_dev)
        self._class = host.sys("class/net")
        self._known: dict[bytes, _Interface | None] = {}
        """By name; None: not to be counted."""
        if not self.read().values:
            raise Absent("there is no network interface in use")

    def read(self) -> Readings:
        counted: list[tuple[_Interface, list[bytes]]] = []
        there: dict[bytes, _Interface | None] = {}
        for line in self._dev.read().splitlines()[2:]:
            name, _, rest = line.rpartition(b":")
            name, fields = name.strip(), rest.split()
            if fields[0] == b"0" and fields[8] == b"0":
                continue
            interface = there[name] = self._known[name] if name in self._known else self._interface(name)
            if interface is not None:
                counted.append((interface, fields))
        self._known = there
        if len(counted) > _MOST:
            counted.sort(key=lambda one: not one[0].has_device)
        values: dict[Series, float] = {}
        for interface, fields in counted[:_MOST]:
            values.update(zip(interface.series, (int(fields[place]) for place in _FIELDS), strict=True))
        return Readings(values)

    def _interface(self, name: bytes) -> _Interface | None:
        interface = name.decode("utf-8", "replace")
        if interface == "lo":
            return None
        try:
            links = os.listdir(self._class / interface)
        except OSError:
            links = []
        consists_of_others = any(link.startswith("lower_") for link in links)
        has_device = "device" in links
        is_a_port = not has_device and (
            interface.startswith(_OF_CONTAINERS) or any(link.startswith("upper_") for link in links)
        )
        if consists_of_others or is_a_port:
            return None
        series = tuple(
            counter(series, unit, **{"network.interface.name": interface, "network.io.direction": direction})
            for series, unit in (
                ("system.network.io", "By"),
                ("system.network.errors", "{error}"),
                ("system.network.packet.dropped", "{packet}"),
            )
            for direction in ("receive", "transmit")
        )
        return _Interface(series, has_device)


NETWORK = SensorKind("network", _Network)
