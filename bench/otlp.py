"""What OpenTelemetry exports cost: simulated Collectors export into a real Tocsin.

    python -m bench.otlp            over gRPC, as fast as it goes into split services on PostgreSQL
    python -m bench.otlp --http     the same over HTTP, into the API
    python -m bench.otlp --spread   where each may use all cores; otherwise what takes the exports has one of its own

Each export is one of a hostmetrics receiver, of about 100 data points (tests.otlp.hostmetrics). The Collectors are a
process of their own, and each waits for an answer before it exports again, as the SDKs do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

import grpc
import psutil
import uvicorn
import uvloop
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    DESCRIPTOR,
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from starlette.types import Receive, Scope, Send

from bench.figures import Figure
from bench.stand import cores, pinned
from tests.otlp.hostmetrics import NS, Host, points
from tests.postgres import DURABLE, PrivateServer, start_private_server
from tests.running import Installation, Split, free_port, started

METHOD: Final = f"/{DESCRIPTOR.services_by_name['MetricsService'].full_name}/Export"
EVERY_MS: Final = 10_000
PER_CONNECTION: Final = 50
FIRST: Final = 3
"""Exports of each machine before it is measured: it is registered with the first, and what is alike in them is known
after the second."""
HOURS_AGO: Final = 20
"""The first export's time: what follows is later, and never more than a day old."""


# ── the Collectors, a process of their own ────────────────────────────────────────────────────────────


class _Sender:
    """A machine that exports the same series again and again: times and numbers are written over in the bytes."""

    def __init__(self, number: int, at_ms: int) -> None:
        host = Host(f"machine-{number:05}", cores=8, booted_ms=at_ms - 86_400_000, spread_ms=0)
        export = host.export(at_ms, 1000.0)
        self._body = bytearray(export.SerializeToString())
        self._at_ms = at_ms
        time_of = struct.pack("<Q", at_ms * NS + 1234)
        self._times = _places(self._body, time_of)
        if len(self._times) != sum(1 for _ in points(export)):
            raise RuntimeError("the times in an export are not where they are thought to be")

    def next(self) -> bytes:
        self._at_ms += EVERY_MS
        told = struct.pack("<Q", self._at_ms * NS + 1234)
        for place in self._times:
            self._body[place : place + 8] = told
        return bytes(self._body)


def _places(body: bytearray, wanted: bytes) -> list[int]:
    found, place = [], body.find(wanted)
    while place >= 0:
        found.append(place)
        place = body.find(wanted, place + 8)
    return found


class _Throttled(Exception):
    """Sent away for a while."""


Call = Callable[[bytes], Awaitable[bytes]]
"""Exports, and yields the answer."""


@asynccontextmanager
async def _over_grpc(port: int, key: str, machines: int) -> AsyncIterator[list[Call]]:
    """One for each machine; several share a connection."""
    metadata = (("authorization", f"Bearer {key}"),)
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [
        grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) for _ in range(-(-machines // PER_CONNECTION))
    ]

    def made(channel: grpc.aio.Channel) -> Call:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)

        async def export(body: bytes) -> bytes:
            try:
                return await call(body, metadata=metadata, timeout=30)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                raise _Throttled from error

        return export

    yield [made(channels[number // PER_CONNECTION]) for number in range(machines)]
    for channel in channels:
        await channel.close()


@asynccontextmanager
async def _over_http(port: int, key: str, machines: int) -> AsyncIterator[list[Call]]:
    """One for each machine, each with a connection of its own."""
    head = (
        f"POST /v1/metrics HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n"
        "Content-Type: application/x-protobuf\r\nContent-Length: "
    ).encode()
    writers = []

    async def made() -> Call:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writers.append(writer)

        async def export(body: bytes) -> bytes:
            writer.write(b"%b%d\r\n\r\n%b" % (head, len(body), body))
            said = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)", said)
            answer = await reader.readexactly(int(length[1]) if length else 0)
            if b" 503 " in said[:16]:
                raise _Throttled
            if b" 200 " not in said[:16]:
                raise RuntimeError(f"{said.decode()}{answer.decode(errors='replace')}")
            return answer

        return export

    yield [await made() for _ in range(machines)]
    for writer in writers:
        writer.close()


_WAYS: Final = {"grpc": _over_grpc, "http": _over_http}


async def _export(way: str, port: int, key: str, machines: int, seconds: float) -> dict[str, float]:
    at_ms = time.time_ns() // NS - HOURS_AGO * 3_600_000
    answered = partial = 0
    senders = [_Sender(number, at_ms) for number in range(machines)]
    over_s = 0.0

    async def one(sender: _Sender, export: Call, most: float) -> None:
        nonlocal answered, partial
        done = 0
        while done < most and (most < math.inf or time.monotonic() < over_s):
            done += 1
            body = sender.next()
            while True:
                try:
                    answer = await export(body)
                    break
                except _Throttled:
                    await asyncio.sleep(0.5)
            answered += 1
            partial += bool(answer and ExportMetricsServiceResponse.FromString(answer).partial_success.error_message)

    async with _WAYS[way](port, key, machines) as calls:

        async def all_of_them(most: float = math.inf) -> None:
            await asyncio.gather(*(one(sender, call, most) for sender, call in zip(senders, calls, strict=True)))

        await all_of_them(FIRST)
        print(json.dumps({"answered": answered}), flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        answered = 0
        began_s = time.monotonic()
        over_s = began_s + seconds
        await all_of_them()
        took_s = time.monotonic() - began_s
    return {"answered": answered, "partial": partial, "seconds": took_s}


class _Run(NamedTuple):
    """``pin``: what takes the exports has one core, PostgreSQL and the Collectors the other."""

    way: str
    machines: int
    pin: bool


@contextmanager
def _collectors(run: _Run, port: int, key: str, seconds: float) -> Iterator[subprocess.Popen[bytes]]:
    command = [*(pinned(cores().others) if run.pin else ()), sys.executable, "-m", "bench.otlp", "part", run.way]
    process = subprocess.Popen(
        [*command, str(port), key, str(run.machines), str(seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "GRPC_VERBOSITY": "NONE"},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


async def _bare(way: str, port: int) -> None:
    """What no server of the same kind can be cheaper than: takes exports and says that they are stored."""
    if way == "http":
        await uvicorn.Server(uvicorn.Config(_nothing, port=port, log_config=None, access_log=False)).serve()
        return

    async def answer(_: bytes, __: object) -> bytes:
        return b""

    server = grpc.aio.server()
    service, call = METHOD.strip("/").split("/")
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(answer)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {call: handler})])
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        return
    while (await receive()).get("more_body", False):
        pass
    headers = [(b"content-type", b"application/x-protobuf"), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


# ── what is measured ──────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _services() -> Iterator[tuple[Split, PrivateServer]]:
    """What takes exports, on a PostgreSQL of its own with durable settings."""
    with tempfile.TemporaryDirectory() as place:
        server = start_private_server(DURABLE)
        try:
            url = server.create_database(migrated=False)
            with started(Split(Path(place), url, roles={"api": 1, "aggregator": 1})) as services:
                yield services, server
        finally:
            server.remove()


def _ingest_key(installation: Installation) -> str:
    made = installation.command("keys", "create", "collectors", "--scope", "ingest")
    if made.returncode:
        raise RuntimeError(made.stderr)
    return made.stdout.strip()


def _cpu_s(several: Sequence[psutil.Process]) -> float:
    return sum(one.cpu_times().user + one.cpu_times().system for one in several)


def _family(server: PrivateServer) -> list[psutil.Process]:
    assert server.process is not None
    parent = psutil.Process(server.process.pid)
    return [parent, *parent.children(recursive=True)]


def _driven(run: _Run, server: psutil.Process, port: int, key: str, seconds: float) -> tuple[dict[str, float], int]:
    """What the Collectors say, and how many exports they made before they were measured."""
    if run.pin:
        server.cpu_affinity([cores().measured])
    with _collectors(run, port, key, seconds) as collectors:
        assert collectors.stdout is not None
        known = json.loads(collectors.stdout.readline() or "{}").get("answered", 0)
        before_s = _cpu_s([server])
        output, _ = collectors.communicate(b"\n")
        cpu_s = _cpu_s([server]) - before_s
    if collectors.returncode:
        raise RuntimeError("the Collectors broke off")
    said: dict[str, float] = json.loads(output)
    return {**said, "cpu_s": cpu_s}, known


def _floor_us(run: _Run, seconds: float) -> float:
    """CPU of a call that does nothing."""
    port = free_port()
    with subprocess.Popen([sys.executable, "-m", "bench.otlp", "bare", run.way, str(port)]) as bare:
        try:
            _wait_for(port)
            said, _ = _driven(run, psutil.Process(bare.pid), port, "none", seconds)
        finally:
            bare.kill()
    return said["cpu_s"] / said["answered"] * 1e6


def _wait_for(port: int) -> None:
    for _ in range(200):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError("nobody listens")


_TAKES: Final = {"grpc": "aggregator", "http": "api"}
_PEERS: Final = {"grpc": "grpc.aio, doing nothing", "http": "uvicorn, doing nothing"}


def rate(run: _Run, seconds: float) -> list[Figure]:
    floor_us = _floor_us(run, seconds / 3)
    with _services() as (services, postgresql):
        key = _ingest_key(services)
        (process,) = services.of(_TAKES[run.way])
        port = services.grpc_port if run.way == "grpc" else int(process.address.rpartition(":")[2])
        before_s = _cpu_s(_family(postgresql))
        said, known = _driven(run, psutil.Process(process.popen.pid), port, key, seconds)
        server_s, own_s = _cpu_s(_family(postgresql)) - before_s, said["cpu_s"]
        stored = services.rows("SELECT count(*) FROM samples")[0][0]
    answered = said["answered"]
    if stored != known + answered or said["partial"]:
        raise RuntimeError(f"{said} and {stored} ticks are stored")
    print(f"{answered:,.0f} exports stored, {process.name} at {own_s / said['seconds']:.2f} of a core")
    of = "otlp" if run.way == "grpc" else f"otlp_{run.way}"
    return [
        Figure(f"{of}_exports_per_s", answered / said["seconds"], "exports/s"),
        Figure(f"{of}_exports_per_core_s", answered / own_s, "exports/s"),
        Figure(f"{of}_cpu_us_per_export", own_s / answered * 1e6, "us", _PEERS[run.way], floor_us),
        Figure(f"{of}_postgresql_cpu_us_per_export", server_s / (known + answered) * 1e6, "us"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.otlp", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--machines", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--http", action="store_true", help="over HTTP, not over gRPC")
    parser.add_argument("--spread", action="store_true", help="no process has a core of its own")
    given = parser.parse_args()
    size = len(ExportMetricsServiceRequest.FromString(_Sender(0, 10**12).next()).SerializeToString())
    print(f"{size:,} bytes an export, {sum(1 for _ in points(Host(cores=8).export(0)))} data points")
    run = _Run("http" if given.http else "grpc", given.machines, pin=not given.spread)
    for figure in rate(run, given.seconds):
        beside = f" ({figure.peer}: {figure.peer_value:,.4g}, {figure.ratio:.2f}x)" if figure.ratio else ""
        print(f"{figure.name} {figure.value:,.4g} {figure.unit}{beside}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["part"]:
        _, _, way, port, key, machines, seconds = sys.argv
        print(json.dumps(uvloop.run(_export(way, int(port), key, int(machines), float(seconds)))))
    elif sys.argv[1:2] == ["bare"]:
        uvloop.run(_bare(sys.argv[2], int(sys.argv[3])))
    else:
        main()
