"""The peer: Debian's prometheus-blackbox-exporter, asked to probe the same target from the same core.

It probes when asked and has no schedule, so it is asked over kept connections, as Prometheus does, from the other
core. Its share of a Prometheus server, which would store what it finds, is not counted.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

import httptools
import psutil

from bench.stand import answers, cores, pinned, process
from tests.running import free_port

NAME: Final = "blackbox_exporter"
CONNECTIONS: Final = 64


class Peer(NamedTuple):
    port: int
    process: psutil.Process

    def cpu_s(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)


@contextmanager
def peer(place: Path) -> Iterator[Peer | None]:
    """None where it is not installed."""
    program = shutil.which("prometheus-blackbox-exporter")
    if program is None:
        yield None
        return
    config = place / "blackbox.yml"
    config.write_text("modules: {http_2xx: {prober: http, timeout: 5s, http: {preferred_ip_protocol: ip4}}}\n")
    port = free_port()
    command = [
        *pinned(cores().measured),
        program,
        f"--config.file={config}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    with process(command, environment={"GOMAXPROCS": "1"}) as running:
        answers(f"http://127.0.0.1:{port}/")
        yield Peer(port, running)


class Probed(NamedTuple):
    checks: int
    seconds: float
    cpu_s: float


async def probe(peer: Peer, urls: Sequence[str], *, seconds: float, per_s: float | None = None) -> Probed:
    """As many probes as it can do, or ``per_s``, for so long."""
    loop = asyncio.get_running_loop()
    lines = [f"GET /probe?module=http_2xx&target={quote(url, safe='')} HTTP/1.1\r\nHost: peer\r\n\r\n" for url in urls]
    connections = [
        (await loop.create_connection(_Connection, "127.0.0.1", peer.port))[1]
        for _ in range(CONNECTIONS if per_s is None else 8)
    ]
    cpu_before, began = peer.cpu_s(), time.monotonic()
    deadline = began + seconds

    async def ask(number: int, connection: _Connection) -> int:
        done = 0
        while time.monotonic() < deadline:
            if per_s is not None:
                turn = began + (done * len(connections) + number) / per_s
                await asyncio.sleep(max(0.0, turn - time.monotonic()))
            text = await connection.ask(lines[(number + done) % len(lines)].encode())
            if b"\nprobe_success 1" not in text:
                raise RuntimeError(f"the peer's probe failed:\n{text.decode(errors='replace')}")
            done += 1
        return done

    try:
        checks = sum(await asyncio.gather(*(ask(number, one) for number, one in enumerate(connections))))
        return Probed(checks, time.monotonic() - began, peer.cpu_s() - cpu_before)
    finally:
        for connection in connections:
            connection.close()


class _Connection(asyncio.Protocol):
    """One kept connection; one question at a time."""

    def __init__(self) -> None:
        self._body = bytearray()
        self._answer: asyncio.Future[bytes] | None = None
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)

    async def ask(self, request: bytes) -> bytes:
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._body.clear()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(bytes(self._body))
        self._parser = httptools.HttpResponseParser(self)
