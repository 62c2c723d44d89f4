"""What disks read and wrote, and for how long they were busy.

Whole disks that consist of no others: what a partition, a logical volume or a RAID does is done by its disks, so that
the sum over all is the machine's. Of an NVMe disk with several paths the disk counts. Older kernels count nothing
there, and then its paths do, together. Source: /proc/diskstats, sectors of 512 bytes whatever the disk's own are.
https://docs.kernel.org/admin-guide/iostats.html
"""

from __future__ import annotations

import os
import re
from typing import Final

from tocsin.core.samples import Series
from tocsin.sensors.base import Absent, Host, Readings, SensorKind, counter, kept_or_absent

_SECTOR_BYTES: Final = 512
_NO_DISKS: Final = (b"loop", b"ram", b"zram", b"fd", b"sr", b"nbd", b"zd")
"""Devices that are files, memory, removable media, somebody else's disk, or volumes of ZFS, which lie on disks."""
_PATH: Final = re.compile(rb"(nvme\d+)c\d+(n\d+)")


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
        of_paths: dict[bytes, list[float]] = {}
        for line in self._diskstats.read().splitlines():
            fields = line.split()
            name = fields[2]
            if path := _PATH.fullmatch(name):
                disk, numbers = path[1] + path[2], _numbers(fields)
                before = of_paths.get(disk, [0.0] * len(numbers))
                of_paths[disk] = [number + other for number, other in zip(numbers, before, strict=True)]
                continue
            series = there[name] = self._known[name] if name in self._known else self._series(name)
            if series is not None:
                values.update(zip(series, _numbers(fields), strict=True))
        for name, numbers in of_paths.items():
            series = there.get(name)
            if series is not None and not any(values[one] for one in series):
                values.update(zip(series, numbers, strict=True))
        self._known = there
        return Readings(values)

    def _series(self, name: bytes) -> tuple[Series, ...] | None:
        if name.startswith(_NO_DISKS):
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


def _numbers(fields: list[bytes]) -> list[float]:
    """Of a line, in the order of the series."""
    reads, sectors_read, writes, sectors_written, busy_ms = (int(fields[place]) for place in (3, 5, 7, 9, 12))
    return [sectors_read * _SECTOR_BYTES, sectors_written * _SECTOR_BYTES, reads, writes, busy_ms / 1000]


DISKS = SensorKind("disks", _Disks)
