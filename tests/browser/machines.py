"""Machines that report to a running Tocsin while a test looks at its pages. Knows no page.

They are those of tests/machines.py with more life in their numbers; they may bring hours of history with them, which
the real aggregator takes in like that of a machine that was cut off.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from tests.machines import SimulatedMachine, channel_to, send, usual_layout
from tests.running import Tocsin
from tocsin.core.samples import Layout, Series
from tocsin.v1 import collection_pb2 as pb

MARKUP: Final = '<img src=x onerror="alert(1)">'
FACTS: Final = {
    "host.name": "web-1",
    "host.arch": "amd64",
    "host.cpu.model.name": "AMD EPYC 7402P",
    "os.type": "linux",
    "os.description": "Debian GNU/Linux 13",
    "os.kernel.release": "6.12.43",
}
SMALL: Final = usual_layout(cores=4, disks=1, filesystems=2, interfaces=2)
PROCESSES: Final = (
    pb.Process(pid=812, name="postgres", user="postgres", cpu=0.62, memory_bytes=2_400_000_000),
    pb.Process(pid=1440, name="nginx", user="www-data", cpu=0.21, memory_bytes=180_000_000),
    pb.Process(pid=2210, name="python", user="app", cpu=1.34, memory_bytes=910_000_000),
    pb.Process(pid=301, name="systemd-journald", user="root", cpu=0.01, memory_bytes=64_000_000),
)


@dataclass
class Machine(SimulatedMachine):
    """Its numbers come and go in waves of their own, so that a line in a drawing is no ruler's."""

    processes: Sequence[pb.Process] = PROCESSES
    lively: bool = True

    def tick(self, at_ms: int | None = None, *, values: Sequence[float] | None = None) -> pb.Tick:
        tick = super().tick(at_ms, values=values)
        tick.processes.extend(self.processes)
        return tick

    def _wave(self, name: str) -> float:
        """Around 1, by name and time."""
        if not self.lively:
            return 1.0
        phase = zlib.crc32(f"{self.uid} {name}".encode()) % 628 / 100
        seconds = self._counted_ms / 1000
        slow, quick = math.sin(seconds / 700 + phase), math.sin(seconds / 61 + 3 * phase)
        return 1 + 0.35 * slow + 0.15 * quick + 0.2 * (float(self._jitter.random()) - 0.5)

    def _rate(self, one: Series) -> float:
        attributes = dict(one.attributes)
        mode = attributes.get("cpu.mode")
        if mode is not None:
            core = attributes.get("cpu.logical_number")
            busy = min(1.0, self.load.cpu * self._wave("cpu" if core is None else f"cpu{core}"))
            share = {"user": busy * 0.66, "system": busy * 0.28, "interrupt": busy * 0.06, "idle": 1 - busy}
            return share.get(mode, 0.0) * (self.cores if core is None else 1)
        return super()._rate(one) * self._wave(one.label) if one.name.endswith((".io", ".operations")) else 0.0

    def _gauge(self, one: Series, at_ms: int) -> float:
        value = super()._gauge(one, at_ms)
        return value * self._wave(one.label) if one.name.startswith("system.cpu.load") else value


def marked_layout() -> Layout:
    """With markup where people write: a mount point."""
    return Layout(
        tuple(
            one._replace(
                attributes=tuple(
                    (key, MARKUP if key == "system.filesystem.mountpoint" and value == "/" else value)
                    for key, value in one.attributes
                )
            )
            for one in SMALL
        )
    )


class Reporting:
    """Machines that report until they are told to be silent."""

    def __init__(self, loop: asyncio.AbstractEventLoop, port: int, key: str) -> None:
        self._loop, self._port, self._key = loop, port, key
        self._stops: dict[str, asyncio.Event] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def add(
        self, machine: SimulatedMachine, *, history_s: float = 0, busy: Callable[[int], float] | None = None
    ) -> None:
        """``busy``: how busy its processor is at a time."""
        now_ms = time.time_ns() // 1_000_000
        machine.booted_ms = now_ms - round(history_s * 1000) - 86_400_000
        due = iter(range(now_ms - round(history_s * 1000), 1 << 60, machine.every_ms))
        waiting = next(due)

        def next_tick() -> int | None:
            nonlocal waiting
            if waiting > time.time_ns() // 1_000_000:
                return None
            at_ms, waiting = waiting, next(due)
            if busy is not None:
                machine.load.cpu = busy(at_ms)
            return at_ms

        async def start() -> None:
            stop = self._stops[machine.uid] = asyncio.Event()
            channel = channel_to(self._port)
            self._tasks.append(asyncio.create_task(send(machine, channel, self._key, stop, next_tick=next_tick)))

        asyncio.run_coroutine_threadsafe(start(), self._loop).result(10)

    def silence(self, machine: SimulatedMachine) -> None:
        self._loop.call_soon_threadsafe(self._stops[machine.uid].set)

    async def _end(self) -> None:
        for stop in self._stops.values():
            stop.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def end(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(20)


def ingest_key(installation: Tocsin, name: str) -> str:
    return str(installation.post("/v1/keys", {"name": name, "scopes": ["ingest"]})["key"])


@contextmanager
def reporting(installation: Tocsin, key: str) -> Iterator[Reporting]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    running = Reporting(loop, installation.grpc_port, key)
    try:
        yield running
    finally:
        running.end()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def registered(installation: Tocsin, name: str) -> dict[str, object]:
    """The machine of that name, once it is there."""
    found: list[dict[str, object]] = installation.wait_until(
        lambda: [one for one in installation.items("/v1/machines") if one["name"] == name],
        what=f"for {name} to report",
    )
    return found[0]
