"""What disks read and wrote, and for how long they were busy.

Whole disks that consist of no others: what a partition, a logical volume or a RAID does is done by its disks, so that
the sum over all is the machine's. Source: /proc/diskstats, sectors of 512 bytes whatever the disk's own are.
https://docs.kernel.org/admin-guide/iostats.html
"""

from __future__ import annotations

import os
from typing import Final

from tocsin.core.samples import Series
from tocsin.sensors.base import Absent, Host, Readings, SensorKind, counter, kept_or_absent

_SECTOR_BYTES: Final = 512
_OF_MEMORY: Final = (b"loop", b"ram", b"zram", b"fd", b"sr", b"nbd")
"""Devices that are files, memory, removable media or somebody else's disk."""


class _Disks:
    def __init__(self, host: Host) -> None:
        self._diskstats = kept_or_absent(host.proc("diskstats"))
        self._block = host.sys("block")
        self._known: dict[bytes, tuple[Series, ...] | None] = {}
        """By device; None: not to be counted."""
        if not self.read().values:
            raise Absent("there is no disk")

    def read(self) -> Readings:
        values: dict[Series, float] = {}
        there: dict[bytes, tuple[Series, ...] | None] = {}
        for line in self._diskstats.read().splitlines():
            fields = line.split()
            name = fields[2]
            series = there[name] = self._known[name] if name in self._known else self._series(name)
            if series is None:
                continue
            reads, sectors_read, writes, sectors_written, busy_ms = (int(fields[place]) for place in (3, 5, 7, 9, 12))
            numbers = (sectors_read * _SECTOR_BYTES, sectors_written * _SECTOR_BYTES, reads, writes, busy_ms / 1000)
            values.update(zip(series, numbers, strict=True))
        self._known = there
        return Readings(values)

    def _series(self, name: bytes) -> tuple[Series, ...] | None:
        if name.startswith(_OF_MEMORY):
            return None
        device = name.decode("utf-8", "replace")
        place = self._block / device.replace("/", "!")
        if not place.exists():  # a partition
            return None
        try:
            if os.listdir(place / "slaves"):
                return None
        except OSError:  # not every kernel tells
            pass
        of = {"system.device": device}
        return (
            *(counter("system.disk.io", "By", **of, **{"disk.io.direction": way}) for way in ("read", "write")),
            *(
                counter("system.disk.operations", "{operation}", **of, **{"disk.io.direction": way})
                for way in ("read", "write")
            ),
            counter("system.disk.io_time", "s", **of),
        )


DISKS = SensorKind("disks", _Disks)
