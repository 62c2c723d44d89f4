"""How is the host? One file per sensor, and this table."""

from __future__ import annotations

from typing import Final

from tocsin.sensors.base import SensorKind
from tocsin.sensors.cpu import CPU
from tocsin.sensors.disks import DISKS
from tocsin.sensors.fans import FANS
from tocsin.sensors.filesystems import FILESYSTEMS, NETWORK_FILESYSTEMS
from tocsin.sensors.load import LOAD
from tocsin.sensors.memory import MEMORY
from tocsin.sensors.network import NETWORK
from tocsin.sensors.processes import PROCESSES
from tocsin.sensors.swap import SWAP
from tocsin.sensors.temperatures import TEMPERATURES
from tocsin.sensors.uptime import UPTIME

SENSORS: Final[dict[str, SensorKind]] = {
    row.name: row
    for row in (
        # Counters first, so that they are read at the moment the tick is dated to; what may take long goes last.
        CPU,
        DISKS,
        NETWORK,
        LOAD,
        MEMORY,
        SWAP,
        UPTIME,
        FILESYSTEMS,
        PROCESSES,
        TEMPERATURES,
        FANS,
        NETWORK_FILESYSTEMS,
    )
}
