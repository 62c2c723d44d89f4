"""What OpenTelemetry exports cost: simulated Collectors export over gRPC into a real Tocsin.

    python -m bench.otlp        as fast as it goes into split services on PostgreSQL: exports/s, CPU per export

Each export is one of a hostmetrics receiver, of about 100 data points (tests.otlp.hostmetrics). The Collectors are a
process of their own, and each waits for an answer before it exports again, as the SDKs do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import grpc
import psutil
import uvloop
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    DESCRIPTOR,
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from bench.figures import Figure
from bench.stand import cores, pinned
from tests.otlp.hostmetrics import NS, Host, points
from tests.postgres import DURABLE, PrivateServer, start_private_server
from tests.running import Installation, Split, started

METHOD: Final = f"/{DESCRIPTOR.services_by_name['MetricsService'].full_name}/Export"
EVERY_MS: Final = 10_000
PER_CONNECTION: Final = 50
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


async def _export(port: int, key: str, machines: int, seconds: float) -> dict[str, float]:
    at_ms = time.time_ns() // NS - HOURS_AGO * 3_600_000
    metadata = (("authorization", f"Bearer {key}"),)
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [
        grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) for _ in range(-(-machines // PER_CONNECTION))
    ]
    answered = partial = 0
    senders = [_Sender(number, at_ms) for number in range(machines)]
    over_s = time.monotonic() + seconds

    async def one(sender: _Sender, channel: grpc.aio.Channel) -> None:
        nonlocal answered, partial
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        while time.monotonic() < over_s:
            body = sender.next()
            while True:
                try:
                    answer = await call(body, metadata=metadata, timeout=30)
                    break
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.UNAVAILABLE:
                        raise
                    await asyncio.sleep(0.5)
            answered += 1
            partial += bool(answer and ExportMetricsServiceResponse.FromString(answer).partial_success.error_message)

    began_s = time.monotonic()
    await asyncio.gather(*(one(sender, channels[number // PER_CONNECTION]) for number, sender in enumerate(senders)))
    took_s = time.monotonic() - began_s
    for channel in channels:
        await channel.close()
    return {"answered": answered, "partial": partial, "seconds": took_s}


@contextmanager
def _collectors(port: int, key: str, machines: int, seconds: float) -> Iterator[subprocess.Popen[bytes]]:
    command = [*pinned(cores().others), sys.executable, "-m", "bench.otlp", "part", str(port), key]
    process = subprocess.Popen(
        [*command, str(machines), str(seconds)], stdout=subprocess.PIPE, env={**os.environ, "GRPC_VERBOSITY": "NONE"}
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


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


def rate(machines: int, seconds: float) -> list[Figure]:
    """The aggregator on one core; PostgreSQL and the Collectors on the other."""
    with _services() as (services, postgresql):
        key = _ingest_key(services)
        aggregator = psutil.Process(services.of("aggregator")[0].popen.pid)
        aggregator.cpu_affinity([cores().measured])
        with _collectors(services.grpc_port, key, machines, seconds) as collectors:
            before = _cpu_s([aggregator]), _cpu_s(_family(postgresql))
            output, _ = collectors.communicate()
            own_s, server_s = _cpu_s([aggregator]) - before[0], _cpu_s(_family(postgresql)) - before[1]
        if collectors.returncode:
            raise RuntimeError("the Collectors broke off")
        said: dict[str, float] = json.loads(output)
        stored = services.rows("SELECT count(*) FROM samples")[0][0]
    answered = said["answered"]
    if stored != answered or said["partial"]:
        raise RuntimeError(f"{said} and {stored} ticks are stored")
    print(f"{answered:,.0f} exports stored, aggregator at {own_s / said['seconds']:.2f} of a core")
    return [
        Figure("otlp_exports_per_s", answered / said["seconds"], "exports/s"),
        Figure("otlp_exports_per_core_s", answered / own_s, "exports/s"),
        Figure("otlp_cpu_us_per_export", own_s / answered * 1e6, "us"),
        Figure("otlp_postgresql_cpu_us_per_export", server_s / answered * 1e6, "us"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.otlp", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--machines", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=30)
    given = parser.parse_args()
    size = len(ExportMetricsServiceRequest.FromString(_Sender(0, 10**12).next()).SerializeToString())
    print(f"{size:,} bytes an export, {sum(1 for _ in points(Host(cores=8).export(0)))} data points")
    for figure in rate(given.machines, given.seconds):
        print(f"{figure.name} {figure.value:,.4g} {figure.unit}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["part"]:
        _, _, port, key, machines, seconds = sys.argv
        print(json.dumps(uvloop.run(_export(int(port), key, int(machines), float(seconds)))))
    else:
        main()
