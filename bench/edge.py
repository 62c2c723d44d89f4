"""The public relay with a thousand browsers: from a gateway's message to each of them, and what that costs.

    python -m bench.edge

Browsers are bare connections that read frames, all in this process, on the other core: what they take is not the
relay's.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import resource
import statistics
import struct
import sys
import time
from collections.abc import Iterator
from typing import Final, NamedTuple, cast

import psutil
import uvloop
from rich.console import Console
from websockets.asyncio.client import ClientConnection, connect

from bench.figures import Figure, show
from bench.stand import answers, cores, pinned, process
from tests.running import free_port

KEY: Final = "a-key-for-the-measurement"
MESSAGE_BYTES: Final = 1000
EVERY_S: Final = 0.2
CONNECTING_AT_ONCE: Final = 50
WITHIN_S: Final = 60.0
_SENT: Final = b'"name":"sent '
_DIGITS: Final = 20


class Lengths(NamedTuple):
    browsers: int
    seconds: float


FULL = Lengths(browsers=1000, seconds=30)
QUICK = Lengths(browsers=1000, seconds=10)


def figures(lengths: Lengths) -> Iterator[Figure]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    mine = os.sched_getaffinity(0)
    there = cores()
    port = free_port()
    command = [*pinned(there.measured), sys.executable, "-m", "tocsin", "edge", "--port", str(port)]
    try:
        with process(command, environment={"TOCSIN_EDGE_KEY": KEY, "TOCSIN_LOG_LEVEL": "error"}) as relay:
            os.sched_setaffinity(0, {there.others})
            answers(f"http://127.0.0.1:{port}/health/ready")
            idle_mb = relay.memory_info().rss / 1e6
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                found = runner.run(_measured(port, relay, lengths))
    finally:
        os.sched_setaffinity(0, mine)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    quantiles = statistics.quantiles(found.took_ms, n=1000)
    yield Figure("edge_browsers", lengths.browsers, "browsers")
    yield Figure("edge_frames_per_s", len(found.took_ms) / found.seconds, "1/s")
    yield Figure("edge_frame_bytes", found.frame_bytes, "B")
    yield Figure("edge_frames_missing", found.missing, "frames")
    yield Figure("edge_p50_ms", statistics.median(found.took_ms), "ms")
    yield Figure("edge_p99_ms", quantiles[989], "ms")
    yield Figure("edge_p999_ms", quantiles[998], "ms")
    yield Figure("edge_cpu_share", found.cpu_s / found.seconds, "of a core")
    yield Figure("edge_memory_mb", found.resident_mb, "MB")
    yield Figure("edge_idle_memory_mb", idle_mb, "MB")


class _Found(NamedTuple):
    took_ms: list[float]
    seconds: float
    cpu_s: float
    resident_mb: float
    frame_bytes: int
    missing: int


class _Browser(asyncio.Protocol):
    """Counts what it is sent. ``begun`` is set when the relay has agreed to be a WebSocket."""

    def __init__(self, port: int, took_ms: list[float]) -> None:
        self.begun = asyncio.Event()
        self.frame_bytes = 0
        self._port = port
        self._took_ms = took_ms
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none of its classes
        key = base64.b64encode(os.urandom(16)).decode()
        self._transport.write(
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        now_ns = time.monotonic_ns()
        self._buffer += data
        if not self.begun.is_set():
            head, found, rest = bytes(self._buffer).partition(b"\r\n\r\n")
            if not found:
                return
            assert head.startswith(b"HTTP/1.1 101"), head
            self._buffer = bytearray(rest)
            self.begun.set()
        while (frame := self._next()) is not None:
            opcode, payload = frame
            if opcode == 9:  # a ping; an answer without payload is masked with zeros
                self._transport.write(struct.pack("!BB4x", 0x8A, 0x80 | len(payload)) + payload)
            at = payload.find(_SENT)
            if at >= 0:
                self.frame_bytes = len(payload)
                sent_ns = int(payload[at + len(_SENT) : at + len(_SENT) + _DIGITS])
                self._took_ms.append((now_ns - sent_ns) / 1e6)

    def _next(self) -> tuple[int, bytes] | None:
        """The next whole frame: its opcode and payload."""
        held = self._buffer
        if len(held) < 2:
            return None
        length, start = held[1], 2
        if length == 126:
            if len(held) < 4:
                return None
            length, start = struct.unpack_from("!H", held, 2)[0], 4
        elif length == 127:
            if len(held) < 10:
                return None
            length, start = struct.unpack_from("!Q", held, 2)[0], 10
        if len(held) < start + length:
            return None
        payload = bytes(held[start : start + length])
        opcode = held[0] & 15
        del held[: start + length]
        return opcode, payload


async def _measured(port: int, relay: psutil.Process, lengths: Lengths) -> _Found:
    loop = asyncio.get_running_loop()
    took_ms: list[float] = []
    browsers: list[_Browser] = []
    async with (
        asyncio.timeout(WITHIN_S),
        connect(
            f"ws://127.0.0.1:{port}/gateway", additional_headers={"Authorization": f"Bearer {KEY}"}, compression=None
        ) as gateway,
    ):
        await gateway.recv()
        await gateway.send(json.dumps({"type": "initial", "machines": []}))
        while len(browsers) < lengths.browsers:
            some = [
                (await loop.create_connection(lambda: _Browser(port, took_ms), "127.0.0.1", port))[1]
                for _ in range(min(CONNECTING_AT_ONCE, lengths.browsers - len(browsers)))
            ]
            await asyncio.gather(*(one.begun.wait() for one in some))
            browsers += some
    rounds = round(lengths.seconds / EVERY_S)
    async with connect(
        f"ws://127.0.0.1:{port}/gateway", additional_headers={"Authorization": f"Bearer {KEY}"}, compression=None
    ) as gateway:
        await gateway.recv()
        for _ in range(5):  # warm
            await _send(gateway)
            await asyncio.sleep(EVERY_S)
        took_ms.clear()
        began_s, cpu_s = time.monotonic(), _cpu_s(relay)
        for number in range(rounds):
            await asyncio.sleep(max(0.0, began_s + number * EVERY_S - time.monotonic()))
            await _send(gateway)
        await asyncio.sleep(max(EVERY_S, 1.0))
        seconds = time.monotonic() - began_s
        cpu_s = _cpu_s(relay) - cpu_s
    return _Found(
        took_ms=list(took_ms),
        seconds=seconds,
        cpu_s=cpu_s,
        resident_mb=relay.memory_info().rss / 1e6,
        frame_bytes=browsers[0].frame_bytes,
        missing=rounds * len(browsers) - len(took_ms),
    )


async def _send(gateway: ClientConnection) -> None:
    """One message that becomes a kilobyte at every browser."""
    name = f"sent {time.monotonic_ns():0{_DIGITS}d}"
    entry = {"id": 1, "name": name, "verdict": "up", "reason": ""}
    filler = MESSAGE_BYTES - len(json.dumps({"type": "changes", "machines": [entry]}))
    raw = json.dumps({"type": "changes", "machines": [{**entry, "reason": "x" * filler}]})
    await gateway.send(raw)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    show(figures(FULL), Console())
