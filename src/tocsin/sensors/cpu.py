"""Processor time by what it went for, of all processors together, and the idle time of each.

Source: /proc/stat, in ticks of ``SC_CLK_TCK``. ``user`` holds what guests of this host took.
https://docs.kernel.org/filesystems/proc.html#miscellaneous-kernel-statistics-in-proc-stat
"""

from __future__ import annotations

import os
from typing import Final

from tocsin.core.samples import Series
from tocsin.sensors.base import Host, Readings, SensorKind, counter, gauge, kept_or_absent

_TIME: Final = "system.cpu.time"
_MODES: Final = tuple(
    counter(_TIME, "s", **{"cpu.mode": mode})
    for mode in ("user", "system", "nice", "idle", "iowait", "interrupt", "steal")
)
_COUNT: Final = gauge("system.cpu.logical.count", "{cpu}")
_STEP_BACK_S: Final = 3.0
"""The kernel says itself that idle and iowait may step back a little. That is no reset; what goes back further, as
when a processor was taken away, is one. node_exporter draws the line at the same place."""


class _Cpu:
    def __init__(self, host: Host) -> None:
        self._stat = kept_or_absent(host.proc("stat"))
        self._second = os.sysconf("SC_CLK_TCK")
        self._cores: dict[bytes, Series] = {}
        self._before: dict[Series, float] = {}

    def read(self) -> Readings:
        values: dict[Series, float] = {}
        cores = 0
        for line in self._stat.read().splitlines():
            if not line.startswith(b"cpu"):
                break
            name, *rest = line.split()
            times = [int(number) / self._second for number in rest[:8]] + [0.0] * (8 - len(rest))
            user, nice, system, idle, iowait, irq, softirq, steal = times
            if name == b"cpu":
                modes = (user, system, nice, idle, iowait, irq + softirq, steal)
                values.update(zip(_MODES, modes, strict=True))
                continue
            cores += 1
            core = self._cores.get(name)
            if core is None:
                number = name.removeprefix(b"cpu").decode("ascii")
                core = counter(_TIME, "s", **{"cpu.logical_number": number, "cpu.mode": "idle"})
                self._cores[name] = core
            values[core] = idle
        if not values:
            raise ValueError("/proc/stat names no processor")
        for series, value in values.items():
            before = self._before.get(series, value)
            if value < before <= value + _STEP_BACK_S:
                values[series] = before
        self._before = dict(values)
        values[_COUNT] = cores
        return Readings(values)


CPU = SensorKind("cpu", _Cpu)
