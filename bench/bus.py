"""The bus by itself: from a ring to whoever it wakes, what a state costs to hand round, and what a NOTIFY inside every
transaction would cost.

    python -m bench.bus
"""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Final, NamedTuple

import psycopg
from rich.console import Console

from bench.figures import Figure, show
from tests.postgres import DURABLE, start_private_server
from tests.redis import start_private_redis
from tocsin.bus import open_bus
from tocsin.bus.base import Bus, Feed
from tocsin.bus.linked import PAUSE_S
from tocsin.core.decide import State, Verdict
from tocsin.core.outcome import REACHABLE, StateKey, Subject
from tocsin.core.target import TARGET
from tocsin.lib.clock import SYSTEM_CLOCK

BATCH: Final = 500
"""States in one commit of a busy worker."""
WRITERS: Final = 8


class Lengths(NamedTuple):
    rings: int
    batches: int
    commits_s: float


FULL = Lengths(rings=200, batches=100, commits_s=5)
QUICK = Lengths(rings=40, batches=20, commits_s=1)


def figures(lengths: Lengths) -> Iterator[Figure]:
    postgres = start_private_server(DURABLE)
    redis = start_private_redis()
    try:
        for name, url in {"memory": "memory://", "postgres": postgres.url, "redis": redis.url}.items():
            with ExitStack() as ends:
                near = ends.enter_context(open_bus(url, database_url=""))
                far = near if name == "memory" else ends.enter_context(open_bus(url, database_url=""))
                took_ms = asyncio.run(_rings(near, far, lengths.rings))
            yield Figure(f"bus_{name}_ring_p50_ms", statistics.median(took_ms), "ms")
            yield Figure(f"bus_{name}_ring_p99_ms", statistics.quantiles(took_ms, n=100)[-1], "ms")
        yield from asyncio.run(_states(redis.url, lengths.batches))
        yield Figure("commits_per_s", _commits_per_s(postgres.url, lengths.commits_s, notify=False), "1/s")
        yield Figure("commits_with_notify_per_s", _commits_per_s(postgres.url, lengths.commits_s, notify=True), "1/s")
    finally:
        redis.remove()
        postgres.remove()


async def _rings(near: Bus, far: Bus, count: int) -> list[float]:
    """Milliseconds from each ring, after a rest, to the listener at the other end."""
    took_ms: list[float] = []
    async with near.listen(["channels"]) as bell:
        while "channels" not in await bell.wait(0.5):
            far.ring("channels")
        await bell.wait(0.5)
        for _ in range(count):
            await asyncio.sleep(PAUSE_S * 1.2)
            began = time.perf_counter()
            far.ring("channels")
            while not await bell.wait(10):
                raise TimeoutError("a ring was not heard")
            took_ms.append((time.perf_counter() - began) * 1000)
    return took_ms


async def _states(url: str, batches: int) -> list[Figure]:
    """Processor time per state, of this process: to send it, and to send it and follow it at another end."""
    sent = [list(_batch(number).items()) for number in range(batches)]
    with open_bus(url, database_url="") as far, open_bus(url, database_url="") as near:
        async with near.listen(["channels"]) as bell:
            while "channels" not in await bell.wait(0.5):
                far.ring("channels")
            alone_us = await _sending_us(far, sent)
            async with near.follow() as feed:
                while not feed.take().complete:
                    await bell.wait(0.1)
                followed_us = await _sending_us(far, sent, feed)
    return [
        Figure("bus_redis_send_us_per_state", alone_us, "µs"),
        Figure("bus_redis_send_and_follow_us_per_state", followed_us, "µs"),
    ]


async def _sending_us(far: Bus, sent: Sequence[Sequence[tuple[StateKey, State]]], feed: Feed | None = None) -> float:
    began_s = time.process_time()
    for batch in sent:
        far.publish(batch)
        await asyncio.sleep(PAUSE_S * 1.2)
        if feed is not None:
            feed.take()
    return (time.process_time() - began_s) / len(sent) / BATCH * 1e6


def _batch(number: int) -> Mapping[StateKey, State]:
    now_ms = SYSTEM_CLOCK.now_ms()
    state = State(Verdict.UP, now_ms - 1_000_000, "", last_at_ms=now_ms, last_latency_us=20_500, due_ms=now_ms + 60_000)
    first = number * BATCH
    return {StateKey(Subject(TARGET, first + one), REACHABLE, 1): state for one in range(BATCH)}


def _commits_per_s(url: str, seconds: float, *, notify: bool) -> float:
    """Of writers that each update a row of their own, with and without a NOTIFY in the same transaction."""
    done = [0] * WRITERS
    over = threading.Event()

    def write(number: int) -> None:
        with closing(psycopg.connect(url)) as conn:
            while not over.is_set():
                conn.execute("UPDATE bench_bus SET value = value + 1 WHERE id = %s", (number,))
                if notify:
                    conn.execute("SELECT pg_notify('bench', %s)", (str(done[number]),))
                conn.commit()
                done[number] += 1

    with closing(psycopg.connect(url, autocommit=True)) as conn:
        conn.execute("DROP TABLE IF EXISTS bench_bus")
        conn.execute("CREATE TABLE bench_bus (id int PRIMARY KEY, value int NOT NULL)")
        conn.execute("INSERT INTO bench_bus SELECT n, 0 FROM generate_series(0, %s) n", (WRITERS,))
    writers = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    began = time.perf_counter()
    for writer in writers:
        writer.start()
    time.sleep(seconds)
    over.set()
    for writer in writers:
        writer.join()
    return sum(done) / (time.perf_counter() - began)


if __name__ == "__main__":
    show(figures(FULL), Console())
