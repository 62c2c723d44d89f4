"""What machines cost and how soon they are seen: simulated machines stream into a real Tocsin, browsers watch.

    python -m bench.fleet rate      as fast as it goes into split services on PostgreSQL: ticks/s, CPU per tick
    python -m bench.fleet live      1,000 machines every 5 s and 200 browsers: from the tick to the browser
    python -m bench.fleet kill      500 machines for five minutes, the aggregator killed every 20 s: none lost
    python -m bench.fleet away --minutes 60    the aggregator away for an hour: none lost

Each machine has 100 series (tests.machines). Machines and browsers are processes of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import grpc
import msgspec
import numpy as np
import psutil
import uvloop
from websockets.asyncio.client import connect

from bench.figures import Figure
from bench.stand import cores, pinned
from tests.machines import METHOD, USUAL, SimulatedMachine, channel_to, metadata_of, send
from tests.postgres import DURABLE, PrivateServer, start_private_server
from tests.running import Installation, Split, running, started
from tocsin.v1 import collection_pb2 as pb

STREAMS_PER_CONNECTION: Final = 50
WINDOW: Final = 400
"""Ticks of a machine on their way."""
LOOK_S: Final = 2.0
"""So often each machine at ease looks whether it may send on; of a new tick it hears at once."""
CLOCK_S: Final = 0.01
"""So often it is looked whose next tick is due."""
COLLECTED_EVERY_MS: Final = 5000
SETTLE_S: Final = 10.0
"""All browsers come at once, and each is given everything: what is measured begins after that."""
LISTENING_BROWSERS: Final = 5
"""Of the browsers, so many read every message; the others only take it."""


# ── the machines, a process of their own ──────────────────────────────────────────────────────────────


async def _rush(port: int, key: str, machines: int, seconds: float) -> dict[str, float]:
    """Every machine sends what it has kept for a day, as fast as it is acknowledged."""
    rng = np.random.default_rng(1)
    vectors = [rng.random(len(USUAL)).cumsum().astype("<f8").tobytes() for _ in range(50)]
    began_ms = time.time_ns() // 1_000_000 - 20 * 3_600_000
    acked = 0
    over_s = time.monotonic() + seconds

    async def one(number: int, channel: grpc.aio.Channel) -> None:
        nonlocal acked
        machine = SimulatedMachine(f"machine-{number}", booted_ms=began_ms - 1000)
        call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(METHOD)(metadata=metadata_of(key))
        await call.write(machine.hello().SerializeToString())
        await call.write(machine.layout_report().SerializeToString())
        sent = taken = 0
        room = asyncio.Event()

        async def read() -> None:
            nonlocal acked, taken
            while isinstance(body := await call.read(), bytes):
                receipt = pb.Receipt.FromString(body)
                new = receipt.acked_seq - taken
                if new > 0:
                    acked, taken = acked + new, receipt.acked_seq
                    room.set()

        reading = asyncio.create_task(read())
        while time.monotonic() < over_s:
            if sent - taken >= WINDOW:
                room.clear()
                await asyncio.wait([asyncio.create_task(room.wait())], timeout=1)
                continue
            sent += 1
            tick = pb.Tick(
                boot_id=machine.boot_id,
                seq=sent,
                at_ms=began_ms + sent * 5000,
                layout_id=1,
                values=vectors[sent % len(vectors)],
            )
            await call.write(pb.Report(tick=tick).SerializeToString())
        reading.cancel()
        call.cancel()

    channels = [channel_to(port) for _ in range(-(-machines // STREAMS_PER_CONNECTION))]
    began_s = time.monotonic()
    await asyncio.gather(*(one(number, channels[number // STREAMS_PER_CONNECTION]) for number in range(machines)))
    return {"acked": acked, "seconds": time.monotonic() - began_s}


async def _at_ease(port: int, key: str, machines: int, seconds: float) -> dict[str, float]:
    """Every machine sends a tick every 5 s, spread evenly; what is not acknowledged is kept and sent again."""
    stop = asyncio.Event()
    channels = [channel_to(port) for _ in range(-(-machines // STREAMS_PER_CONNECTION))]
    several = [SimulatedMachine(f"machine-{number}") for number in range(machines)]
    over_s = time.monotonic() + seconds

    async def tick_on() -> None:
        """By the clock, whether anybody takes them or not."""
        every_s = several[0].every_ms / 1000
        due = deque((time.monotonic() + number / machines * every_s, machine) for number, machine in enumerate(several))
        while (now_s := time.monotonic()) < over_s:
            while due[0][0] <= now_s:
                due_s, machine = due.popleft()
                machine.tick(time.time_ns() // 1_000_000)
                due.append((due_s + every_s, machine))
            await asyncio.sleep(CLOCK_S)

    sending = [
        asyncio.create_task(
            send(
                machine,
                channels[number // STREAMS_PER_CONNECTION],
                key,
                stop,
                next_tick=lambda: None,
                look_s=LOOK_S,
            )
        )
        for number, machine in enumerate(several)
    ]
    await tick_on()
    patience_s = over_s + 120
    while any(one.kept for one in several) and time.monotonic() < patience_s:  # noqa: ASYNC110 - no event says so
        await asyncio.sleep(0.2)
    stop.set()
    await asyncio.gather(*sending)
    return {"made": sum(len(one.times) for one in several), "kept": sum(len(one.kept) for one in several)}


# ── the browsers, a process of their own ──────────────────────────────────────────────────────────────


async def _watch(address: str, key: str, browsers: int, seconds: float) -> dict[str, float]:
    """From the time of a tick to its arrival, of machines' first sight of each tick."""
    late_ms: list[float] = []
    taken = 0
    settled_s = time.monotonic() + SETTLE_S
    over_s = settled_s + seconds

    async def one(number: int) -> None:
        nonlocal taken
        url = f"{address.replace('http', 'ws')}/ws"
        async with connect(
            url, additional_headers={"Authorization": f"Bearer {key}"}, max_size=None, proxy=None
        ) as socket:
            await socket.recv()
            while (left_s := over_s - time.monotonic()) > 0:
                try:
                    async with asyncio.timeout(left_s):
                        message = await socket.recv(decode=False)
                except TimeoutError:
                    return
                taken += 1
                if number < LISTENING_BROWSERS and time.monotonic() >= settled_s:
                    now_ms = time.time_ns() / 1e6
                    told = msgspec.json.decode(message).get("machines", ())
                    late_ms.extend(now_ms - _ms(machine["last_seen"]) for machine in told)

    await asyncio.gather(*(one(number) for number in range(browsers)))
    p50, p99 = np.percentile(late_ms, [50, 99]) if late_ms else (float("nan"), float("nan"))
    return {"seen": len(late_ms), "messages": taken, "p50_ms": float(p50), "p99_ms": float(p99)}


def _ms(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp() * 1000


_Part = Callable[[Any, str, int, float], Coroutine[Any, Any, dict[str, float]]]
_PARTS: Final[dict[str, _Part]] = {"rush": _rush, "ease": _at_ease, "watch": _watch}


@contextmanager
def _part(name: str, where: object, key: str, number: int, seconds: float) -> Iterator[subprocess.Popen[bytes]]:
    command = [*pinned(cores().others), sys.executable, "-m", "bench.fleet", "part", name, str(where), key]
    started = subprocess.Popen(
        [*command, str(number), str(seconds)], stdout=subprocess.PIPE, env={**os.environ, "GRPC_VERBOSITY": "NONE"}
    )
    try:
        yield started
    finally:
        if started.poll() is None:
            started.kill()
        started.wait()


def _said(part: subprocess.Popen[bytes]) -> dict[str, float]:
    output, _ = part.communicate()
    found: dict[str, float] = json.loads(output)
    return found


def _cpu_s(several: Sequence[psutil.Process]) -> float:
    return sum(one.cpu_times().user + one.cpu_times().system for one in several)


# ── what is measured ──────────────────────────────────────────────────────────────────────────────────


def _ingest_key(installation: Installation) -> str:
    made = installation.command("keys", "create", "fleet", "--scope", "ingest")
    if made.returncode:
        raise RuntimeError(made.stderr)
    return made.stdout.strip()


@contextmanager
def _services() -> Iterator[tuple[Split, PrivateServer]]:
    """What takes samples and shows them, on a PostgreSQL of its own with durable settings."""
    with tempfile.TemporaryDirectory() as place:
        server = start_private_server(DURABLE)
        try:
            url = server.create_database(migrated=False)
            with started(Split(Path(place), url, roles={"api": 1, "aggregator": 1})) as services:
                yield services, server
        finally:
            server.remove()


def rate(machines: int, seconds: float) -> list[Figure]:
    """The aggregator on one core; PostgreSQL and the machines on the other."""
    with _services() as (services, postgresql):
        key = _ingest_key(services)
        aggregator = psutil.Process(services.of("aggregator")[0].popen.pid)
        aggregator.cpu_affinity([cores().measured])
        with _part("rush", services.grpc_port, key, machines, seconds) as part:
            before = _cpu_s([aggregator]), _cpu_s(_family(postgresql))
            said = _said(part)
            own_s, server_s = _cpu_s([aggregator]) - before[0], _cpu_s(_family(postgresql)) - before[1]
        stored = services.rows("SELECT count(*) FROM samples")[0][0]
    acked = said["acked"]
    print(f"{acked:,.0f} acknowledged, {stored:,} stored, aggregator at {own_s / said['seconds']:.2f} of a core")
    return [
        Figure("aggregator_ticks_per_s", acked / said["seconds"], "ticks/s"),
        Figure("aggregator_ticks_per_core_s", acked / own_s, "ticks/s"),
        Figure("aggregator_cpu_us_per_tick", own_s / acked * 1e6, "us"),
        Figure("aggregator_postgresql_cpu_us_per_tick", server_s / acked * 1e6, "us"),
    ]


def _family(server: PrivateServer) -> list[psutil.Process]:
    assert server.process is not None
    parent = psutil.Process(server.process.pid)
    return [parent, *parent.children(recursive=True)]


def live(machines: int, browsers: int, seconds: float) -> list[Figure]:
    with tempfile.TemporaryDirectory() as place, running(Path(place)) as installation:
        key, reader = _ingest_key(installation), installation.key
        whole = psutil.Process(installation.processes[0].popen.pid)
        with _part("ease", installation.grpc_port, key, machines, seconds + SETTLE_S + 20) as fleet:
            time.sleep(15)  # until all of them are there
            began_s, before_s = time.monotonic(), _cpu_s([whole])
            with _part("watch", installation.address, reader, browsers, seconds) as watching:
                seen = _said(watching)
            share = (_cpu_s([whole]) - before_s) / (time.monotonic() - began_s)
            said = _said(fleet)
    print(f"{said} {seen}")
    return [
        Figure("live_tick_to_browser_p50_ms", seen["p50_ms"], "ms"),
        Figure("live_tick_to_browser_p99_ms", seen["p99_ms"], "ms"),
        Figure("live_cpu_share", share, ""),
    ]


def kill(machines: int, minutes: float, every_s: float = 20.0) -> list[Figure]:
    def disturb(services: Split, over_s: float) -> str:
        aggregator, killed = services.of("aggregator")[0], 0
        while time.monotonic() + every_s < over_s:
            time.sleep(every_s)
            aggregator.kill()
            aggregator.start()
            killed += 1
        return f"killed {killed} times"

    return _disturbed("killed_aggregator", machines, minutes * 60, disturb)


def away(machines: int, minutes: float) -> list[Figure]:
    """The aggregator is there for a minute, away for so many, and back: a real collector among the machines."""

    def disturb(services: Split, over_s: float) -> str:
        aggregator = services.of("aggregator")[0]
        time.sleep(60)
        aggregator.stop()
        time.sleep(max(0.0, over_s - time.monotonic() - 90))
        began_s, back_ms = time.monotonic(), time.time_ns() // 1_000_000
        aggregator.start()
        while services.rows(f"SELECT count(*) FROM machine_now WHERE at_ms >= {back_ms}")[0][0] < machines:
            time.sleep(0.5)
        took_s = time.monotonic() - began_s
        return f"away for {minutes:g} minutes; all machines caught up within {took_s:.1f} s"

    return _disturbed("away_aggregator", machines, minutes * 60 + 150, disturb)


def _disturbed(what: str, machines: int, seconds: float, disturb: Callable[[Split, float], str]) -> list[Figure]:
    """Machines at ease, and this one with a real collector, while something happens to the aggregator: what of their
    ticks is lost, and what is there twice."""
    with _services() as (services, _), tempfile.TemporaryDirectory() as place:
        key = _ingest_key(services)
        with _part("ease", services.grpc_port, key, machines, seconds) as fleet, _collector(services, key, place):
            told = disturb(services, time.monotonic() + seconds)
            said = _said(fleet)
            time.sleep(10)  # the collector looks again after a pause
        own = "machine_id IN (SELECT id FROM machines WHERE uid = 'a-real-one')"
        stored = services.rows(f"SELECT count(*), count(DISTINCT (machine_id, at_ms)) FROM samples WHERE NOT {own}")[0]
        times = [row[0] for row in services.rows(f"SELECT at_ms FROM samples WHERE {own} ORDER BY at_ms")]
    missed = max(0, round((times[-1] - times[0]) / COLLECTED_EVERY_MS) + 1 - len(times))
    print(f"{told}; {said}; stored {stored}; the collector's own {len(times)}, {missed} missing between them")
    return [
        Figure(f"{what}_ticks_lost", said["made"] - stored[1] + missed, ""),
        Figure(f"{what}_ticks_twice", stored[0] - stored[1] + len(times) - len(set(times)), ""),
        Figure(f"{what}_ticks_stored", stored[1] + len(times), ""),
    ]


@contextmanager
def _collector(services: Split, key: str, place: str) -> Iterator[None]:
    command = [sys.executable, "-m", "tocsin", "collector", "--aggregator", f"127.0.0.1:{services.grpc_port}"]
    command += [
        "--key",
        key,
        "--data-dir",
        place,
        "--machine-id",
        "a-real-one",
        "--every",
        str(COLLECTED_EVERY_MS // 1000),
    ]
    with open(Path(place) / "log", "wb") as log:
        collector = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield
    finally:
        collector.terminate()
        collector.wait(10)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.fleet", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=["rate", "live", "kill", "away"])
    parser.add_argument("--machines", type=int)
    parser.add_argument("--browsers", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--minutes", type=float, default=5)
    given = parser.parse_args()
    if given.what == "rate":
        figures = rate(given.machines or 50, given.seconds)
    elif given.what == "live":
        figures = live(given.machines or 1000, given.browsers, given.seconds)
    elif given.what == "kill":
        figures = kill(given.machines or 500, given.minutes)
    else:
        figures = away(given.machines or 500, given.minutes)
    for figure in figures:
        print(f"{figure.name} {figure.value:,.4g} {figure.unit}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["part"]:
        _, _, name, where, key, number, seconds = sys.argv
        target: Any = where if name == "watch" else int(where)
        print(json.dumps(uvloop.run(_PARTS[name](target, key, int(number), float(seconds)))))
    else:
        main()
