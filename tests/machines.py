"""Simulated machines: what a collector would say, without one. They keep what is not acknowledged and send it again.

The numbers are those of a working server and move with time; every tick of one machine can be told from every other.
"""

from __future__ import annotations

import asyncio
import math
import time
import zlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
import numpy as np

from tocsin.core.samples import Layout, Series
from tocsin.v1 import collection_pb2 as pb

METHOD: Final = "/tocsin.v1.Collection/Stream"
MODES: Final = ("user", "system", "nice", "idle", "iowait", "interrupt", "steal")
_GIB: Final = 1 << 30


def usual_layout(*, cores: int = 8, disks: int = 3, filesystems: int = 5, interfaces: int = 5) -> Layout:
    """A hundred series unless asked for others, as our collector names them."""
    found = [Series("system.cpu.time", (("cpu.mode", mode),), "s", "counter") for mode in MODES]
    found += [
        Series("system.cpu.time", (("cpu.logical_number", str(core)), ("cpu.mode", "idle")), "s", "counter")
        for core in range(cores)
    ]
    found.append(Series("system.cpu.logical.count", (), "{cpu}"))
    found += [Series(f"system.cpu.load_average.{span}", (), "{thread}") for span in ("1m", "5m", "15m")]
    found.append(Series("system.memory.limit", (), "By"))
    found += [
        Series("system.memory.usage", (("system.memory.state", state),), "By")
        for state in ("used", "free", "cached", "buffers")
    ]
    found.append(Series("system.linux.memory.available", (), "By"))
    found += [Series("system.paging.usage", (("system.paging.state", state),), "By") for state in ("used", "free")]
    for number in range(filesystems):
        found += [
            Series(
                "system.filesystem.usage",
                (
                    ("system.device", f"/dev/sda{number + 1}"),
                    ("system.filesystem.mountpoint", "/" if number == 0 else f"/data{number}"),
                    ("system.filesystem.state", state),
                    ("system.filesystem.type", "ext4"),
                ),
                "By",
            )
            for state in ("used", "free", "reserved")
        ]
    for number in range(disks):
        device = f"sd{'abcdefgh'[number]}"
        for name, unit in (("io", "By"), ("operations", "{operation}")):
            found += [
                Series(f"system.disk.{name}", (("disk.io.direction", way), ("system.device", device)), unit, "counter")
                for way in ("read", "write")
            ]
        found.append(Series("system.disk.io_time", (("system.device", device),), "s", "counter"))
    for number in range(interfaces):
        interface = f"eth{number}"
        for name, unit in (("io", "By"), ("errors", "{error}"), ("packet.dropped", "{packet}")):
            found += [
                Series(
                    f"system.network.{name}",
                    (("network.interface.name", interface), ("network.io.direction", way)),
                    unit,
                    "counter",
                )
                for way in ("receive", "transmit")
            ]
    found += [
        Series("system.process.count", (), "{process}"),
        Series("system.uptime", (), "s"),
        *(Series("hw.temperature", (("hw.id", f"core{number}"),), "Cel") for number in range(8)),
        *(Series("hw.fan.speed", (("hw.id", f"fan{number}"),), "rpm") for number in range(3)),
    ]
    return Layout(tuple(found))


USUAL: Final = usual_layout()


@dataclass
class Load:
    """How busy it is; may be changed at any time."""

    cpu: float = 0.3
    memory: float = 0.5
    disk: float = 0.4
    """Of the first filesystem; the others are at half of that."""
    network: float = 1e6
    """Bytes a second, each way."""


@dataclass
class SimulatedMachine:
    """One machine in one boot. ``tick`` yields what it says at a time; ticks it has made and nobody has acknowledged
    are in ``kept``."""

    uid: str
    boot_id: str = "boot-1"
    name: str = ""
    every_ms: int = 5000
    layout: Layout = USUAL
    cores: int = 8
    memory_bytes: int = 16 * _GIB
    load: Load = field(default_factory=Load)
    tags: Sequence[str] = ()
    facts: Mapping[str, str] = field(default_factory=lambda: {"os.type": "linux", "host.arch": "amd64"})
    booted_ms: int = 0
    """Its counters count from then on; 0: an hour before the first tick."""

    def __post_init__(self) -> None:
        self.kept: OrderedDict[int, pb.Tick] = OrderedDict()
        self.made = 0
        self.news = asyncio.Event()
        """Set when there is another tick."""
        self.times: set[int] = set()
        """Of every tick it ever made."""
        self.seq = 0
        self._counts = np.zeros(len(self.layout))
        self._counted_ms = 0
        self._jitter = np.random.default_rng(zlib.crc32(self.uid.encode()))

    def lay_out(self, layout: Layout) -> None:
        """It says other series from now on; counters that stay go on."""
        counts = dict(zip(((one.name, one.attributes) for one in self.layout), self._counts.tolist(), strict=True))
        self._counts = np.array([counts.get((one.name, one.attributes), 0.0) for one in layout])
        self.layout = layout

    # ── what it says ──────────────────────────────────────────────────────────────────────────────

    def hello(self, *, sent_at_ms: int | None = None) -> pb.Report:
        hello = pb.Hello(
            machine_id=self.uid,
            boot_id=self.boot_id,
            name=self.name or self.uid,
            version="1.0",
            every_ms=self.every_ms,
            facts=dict(self.facts),
            tags=list(self.tags),
            sent_at_ms=_now_ms() if sent_at_ms is None else sent_at_ms,
        )
        return pb.Report(hello=hello)

    def layout_report(self, number: int = 1) -> pb.Report:
        kinds = {"gauge": pb.KIND_GAUGE, "counter": pb.KIND_COUNTER}
        series = [
            pb.Series(
                name=one.name,
                attributes=dict(one.attributes),
                unit=one.unit,
                kind=kinds[one.kind],
                start_ms=self.booted_ms if one.kind == "counter" else 0,
            )
            for one in self.layout
        ]
        return pb.Report(layout=pb.Layout(id=number, series=series))

    def tick(self, at_ms: int | None = None, *, values: Sequence[float] | None = None) -> pb.Tick:
        """The next one, of that time (now); kept until it is acknowledged."""
        at_ms = _now_ms() if at_ms is None else at_ms
        if not self.booted_ms:
            self.booted_ms = at_ms - 3_600_000
        vector = self.values(at_ms) if values is None else np.array(values, dtype="<f8")
        self.seq = max(self.seq + 1, at_ms - self.booted_ms)
        tick = pb.Tick(
            boot_id=self.boot_id,
            seq=self.seq,
            at_ms=at_ms,
            sent_at_ms=at_ms,
            layout_id=1,
            values=vector.astype("<f8").tobytes(),
        )
        self.kept[self.seq] = tick
        self.made += 1
        self.news.set()
        self.times.add(at_ms)
        return tick

    def values(self, at_ms: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Its numbers at that time, in the layout's order; counters go on from the call before."""
        if not self._counted_ms:
            self._counted_ms = self.booted_ms or at_ms - 3_600_000
        seconds = max(0.0, (at_ms - self._counted_ms) / 1000)
        self._counted_ms = max(at_ms, self._counted_ms)
        found = np.empty(len(self.layout))
        for place, one in enumerate(self.layout):
            if one.kind == "counter":
                self._counts[place] += seconds * self._rate(one)
                found[place] = self._counts[place]
            else:
                found[place] = self._gauge(one, at_ms)
        return found

    def acknowledged(self, receipt: pb.Receipt) -> int:
        """Forgets what is stored; yields how many ticks that were."""
        if receipt.boot_id != self.boot_id:
            return 0
        number = 0
        while self.kept and next(iter(self.kept)) <= receipt.acked_seq:
            self.kept.popitem(last=False)
            number += 1
        return number

    def _rate(self, one: Series) -> float:
        attributes = dict(one.attributes)
        noise = 1 + 0.02 * float(self._jitter.random())
        mode = attributes.get("cpu.mode")
        if mode is not None:
            busy = min(1.0, self.load.cpu)
            share = {"user": busy * 0.7, "system": busy * 0.3, "idle": 1 - busy}.get(mode, 0.0)
            return share * (1 if "cpu.logical_number" in attributes else self.cores)
        if one.name.endswith(".io"):
            return self.load.network * noise
        if one.name in ("system.disk.operations",):
            return 40 * noise
        return 0.2 if one.name == "system.disk.io_time" else 0.0

    def _gauge(self, one: Series, at_ms: int) -> float:
        attributes, load, whole = dict(one.attributes), self.load, float(self.memory_bytes)
        if one.name == "system.memory.usage":
            used = whole * load.memory
            parts = {"used": used, "free": (whole - used) * 0.4, "cached": (whole - used) * 0.5}
            return parts.get(attributes["system.memory.state"], (whole - used) * 0.1)
        if one.name == "system.filesystem.usage":
            share = load.disk if attributes["system.filesystem.mountpoint"] == "/" else load.disk / 2
            parts = {"used": share * 100 * _GIB, "free": (1 - share) * 100 * _GIB}
            return parts.get(attributes["system.filesystem.state"], 5.0 * _GIB)
        if one.name == "system.paging.usage":
            return 1.0 * _GIB if attributes["system.paging.state"] == "used" else 3.0 * _GIB
        simple = {
            "system.cpu.logical.count": float(self.cores),
            "system.memory.limit": whole,
            "system.linux.memory.available": whole * (1 - load.memory),
            "system.process.count": 240.0,
            "system.uptime": (at_ms - (self.booted_ms or at_ms)) / 1000,
            "hw.fan.speed": 1800.0,
            "hw.temperature": 45.0 + 3 * math.sin(at_ms / 60_000),
        }
        return simple.get(one.name, load.cpu * self.cores)


# ── sending ───────────────────────────────────────────────────────────────────────────────────────────


def metadata_of(key: str | None) -> tuple[tuple[str, str], ...]:
    return () if key is None else (("authorization", f"Bearer {key}"),)


def channel_to(port: int, *, host: str = "127.0.0.1") -> grpc.aio.Channel:
    """A connection of its own."""
    return grpc.aio.insecure_channel(
        f"{host}:{port}",
        options=[("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 1000)],
    )


async def send(
    machine: SimulatedMachine,
    channel: grpc.aio.Channel,
    key: str,
    stop: asyncio.Event,
    *,
    next_tick: Callable[[], int | None] | None = None,
    at_most: int = 500,
    again_s: float = 0.3,
    look_s: float = 0.01,
) -> None:
    """Sends what the machine keeps, and what it makes meanwhile, until ``stop``; after an end of the stream again on a
    new one, everything that was not acknowledged from the beginning.

    ``next_tick`` is asked for the time of the next tick when there is nothing left to send, None: none yet; without it
    the machine makes one every ``every_ms``, by the clock. It looks every ``look_s`` whether there is something to
    send. No more than ``at_most`` wait for a receipt.
    """
    while not stop.is_set():
        call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(METHOD)(metadata=metadata_of(key))
        wait_s = again_s

        async def read(call: grpc.aio.StreamStreamCall[bytes, bytes], sent: set[int]) -> float:
            while True:
                body = await call.read()
                if not isinstance(body, bytes):
                    return again_s
                receipt = pb.Receipt.FromString(body)
                machine.acknowledged(receipt)
                sent.difference_update([seq for seq in sent if seq <= receipt.acked_seq])
                if receipt.retry_after_s > 0:
                    return receipt.retry_after_s

        sent: set[int] = set()
        reading = asyncio.create_task(read(call, sent))
        try:
            async for report in _reports(machine, stop, sent, reading, next_tick, at_most, look_s):
                await call.write(report.SerializeToString())
            if not stop.is_set():
                wait_s = await reading
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            call.cancel()
        if not stop.is_set():
            await asyncio.sleep(wait_s)


async def _reports(
    machine: SimulatedMachine,
    stop: asyncio.Event,
    sent: set[int],
    reading: asyncio.Task[float],
    next_tick: Callable[[], int | None] | None,
    at_most: int,
    look_s: float,
) -> AsyncIterator[pb.Report]:
    due_s = time.monotonic()
    top = -1  # of what was sent on this stream
    yield machine.hello()
    if not machine.kept and next_tick is None:
        machine.tick()
    yield machine.layout_report()
    while not stop.is_set() and not reading.done():
        machine.news.clear()
        waiting = next((seq for seq in machine.kept if seq > top), None) if len(sent) < at_most else None
        if waiting is None:
            at_ms: int | None = None
            if next_tick is not None:
                at_ms = next_tick() if len(sent) < at_most else None
            elif (now_s := time.monotonic()) >= due_s:
                # Beats that passed while it stood still are left out: no machine measures twice in a millisecond.
                due_s = max(due_s, now_s - machine.every_ms / 2000) + machine.every_ms / 1000
                at_ms = _now_ms()
            if at_ms is None:
                with suppress(TimeoutError):
                    await asyncio.wait_for(machine.news.wait(), look_s)
                continue
            waiting = machine.tick(at_ms).seq
        tick = machine.kept[waiting]
        tick.sent_at_ms = _now_ms()
        sent.add(waiting)
        top = waiting
        yield pb.Report(tick=tick)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
