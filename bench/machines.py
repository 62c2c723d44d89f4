"""What a machine's collector measures, made up: 100 series of a server with 8 cores, as they are stored.

Counters count what they do in reality (hundredths of a second of processor time, bytes, packets) and are rates of two
times that are a few milliseconds off; gauges move as those of a server do, in the units the kernel counts in. About
half of the series are constant or nearly so, as on a real machine: states nobody uses, disks that do not fill, errors
that do not happen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tocsin.core.samples import Layout, Series

_CORES: Final = 8
_PAGE: Final = 4096
_NOWHERE: Final[Mapping[str, str]] = {}
_Floats = NDArray[np.float64]
_Numbers = NDArray[Any] | float


class Measured(NamedTuple):
    layout: Layout
    at_ms: NDArray[np.int64]
    values: NDArray[np.float32]


class _Making:
    def __init__(self, at_ms: NDArray[np.int64], every_ms: int, rng: np.random.Generator) -> None:
        self.size = len(at_ms)
        self.seconds = np.diff(at_ms, prepend=at_ms[0] - every_ms) / 1000
        self.rng = rng
        self.series: list[Series] = []
        self.columns: list[_Floats] = []

    def gauge(self, name: str, values: _Numbers, unit: str = "1", where: Mapping[str, str] = _NOWHERE) -> None:
        self.series.append(Series(name, tuple(sorted(where.items())), unit))
        self.columns.append(np.broadcast_to(np.asarray(values, np.float64), self.size))

    def counter(self, name: str, grown: _Numbers, unit: str, where: Mapping[str, str], *, each: float = 1.0) -> None:
        """``grown``: in whole ``each``, from tick to tick."""
        steps = np.round(np.broadcast_to(np.asarray(grown, np.float64), self.size))
        before = float(self.rng.integers(0, 10**8))
        counted = (before + np.concatenate([[0.0], np.cumsum(steps)])) * each
        self.series.append(Series(name, tuple(sorted(where.items())), unit, "counter"))
        self.columns.append(np.diff(counted) / self.seconds)

    def drift(self, spread: float) -> _Floats:
        return np.cumsum(self.rng.normal(0, spread, self.size))


def realistic(*, ticks: int = 720, every_ms: int = 5_000, seed: int = 0, from_ms: int = 1_728_032_400_000) -> Measured:
    """So many ticks from ``from_ms`` on, a few milliseconds off."""
    rng = np.random.default_rng(seed)
    at_ms = from_ms + np.arange(ticks) * every_ms + rng.integers(0, 5, ticks)
    making = _Making(at_ms, every_ms, rng)
    load = np.clip(0.3 + 0.2 * np.sin(np.arange(ticks) / 90) + making.drift(0.01), 0.02, 0.95)
    _processors(making, load, every_ms)
    _memory(making)
    _disks(making)
    _networks(making)
    making.gauge("system.process.count", np.round(240 + making.drift(0.6)), "{process}")
    making.gauge("system.uptime", np.round(1e6 + (at_ms - at_ms[0]) / 1000, 2), "s")
    for number in range(6):
        warm = np.round(45 + 10 * load + rng.normal(0, 0.7, ticks))
        making.gauge("hw.temperature", warm, "Cel", {"hw.id": f"core{number}"})
    for number in range(3):
        making.gauge("hw.fan.speed", np.round(1200 + rng.normal(0, 8, ticks)), "rpm", {"hw.id": f"fan{number}"})
    values = np.column_stack(making.columns).astype("<f4")
    return Measured(Layout(tuple(making.series)), at_ms, values)


def _processors(making: _Making, load: _Floats, every_ms: int) -> None:
    rng, each = making.rng, every_ms // 10
    busy = {"user": rng.poisson(load * each * _CORES * 0.6), "system": rng.poisson(load * each * _CORES * 0.2)}
    busy |= {"iowait": rng.poisson(3, making.size)}
    nothing = {mode: np.zeros(making.size) for mode in ("nice", "interrupt", "steal")}
    idle = each * _CORES - sum(busy.values())
    for mode, grown in (busy | nothing | {"idle": idle}).items():
        making.counter("system.cpu.time", grown, "s", {"cpu.mode": mode}, each=0.01)
    for core in range(_CORES):
        spare = np.clip(each - rng.poisson(load * each * 0.8), 0, None)
        making.counter("system.cpu.time", spare, "s", {"cpu.mode": "idle", "cpu.logical_number": str(core)}, each=0.01)
    making.gauge("system.cpu.logical.count", _CORES, "{cpu}")
    for name, ticks in (("1m", 12), ("5m", 60), ("15m", 180)):
        mean = np.convolve(load * _CORES, np.ones(ticks) / ticks)[: making.size]
        making.gauge(f"system.cpu.load_average.{name}", np.round(mean, 2), "{thread}")


def _memory(making: _Making) -> None:
    limit = 33_567_801_344.0
    used, cached, buffers = (
        np.round((begin + making.drift(spread)) / _PAGE) * _PAGE
        for begin, spread in ((12e9, 2e6), (8e9, 5e5), (4e8, 5e3))
    )
    making.gauge("system.memory.limit", limit, "By")
    states = {"used": used, "cached": cached, "buffered": buffers, "free": limit - used - cached - buffers}
    for state, values in states.items():
        making.gauge("system.memory.usage", values, "By", {"system.memory.state": state})
    making.gauge("system.linux.memory.available", limit - used - buffers, "By")
    making.gauge("system.paging.usage", 123_456.0 * _PAGE, "By", {"system.paging.state": "used"})
    making.gauge("system.paging.usage", 2e9, "By", {"system.paging.state": "free"})


def _disks(making: _Making) -> None:
    rng, size = making.rng, making.size
    for number, growth in enumerate((5.0, 0.3, 2.0, 0.0, 0.0, 0.0)):
        grown = np.cumsum(rng.poisson(growth, size)) * float(_PAGE)
        where = {"system.device": f"/dev/sd{number}", "system.filesystem.mountpoint": f"/mnt/{number}"}
        states: dict[str, _Numbers] = {"used": 5e10 + grown, "free": 2e11 - grown, "reserved": 1e10}
        for state, values in states.items():
            making.gauge("system.filesystem.usage", values, "By", where | {"system.filesystem.state": state})
    for number, active in enumerate((0.5, 0.1, 0.0, 0.0)):
        device = {"system.device": f"sd{number}"}
        written = (rng.random(size) < active) * rng.integers(1, 300, size)
        fetched = (rng.random(size) < active / 10) * rng.integers(1, 300, size)
        for direction, blocks in {"read": fetched, "write": written}.items():
            making.counter("system.disk.io", blocks * _PAGE, "By", device | {"disk.io.direction": direction})
            making.counter(
                "system.disk.operations", blocks // 2, "{operation}", device | {"disk.io.direction": direction}
            )
        making.counter("system.disk.io_time", written // 3, "s", device, each=0.001)


def _networks(making: _Making) -> None:
    rng, size = making.rng, making.size
    for name, bytes_a_tick in (("eth0", 40_000.0), ("eth1", 900.0), ("lo", 3_000.0), ("docker0", 0.0)):
        for direction in ("receive", "transmit"):
            where = {"network.interface.name": name, "network.io.direction": direction}
            sent = rng.poisson(bytes_a_tick, size) + (rng.lognormal(9, 1, size) if bytes_a_tick else 0.0)
            making.counter("system.network.io", sent, "By", where)
            making.counter("system.network.errors", 0, "{error}", where)
            making.counter("system.network.packet.dropped", 0, "{packet}", where)
