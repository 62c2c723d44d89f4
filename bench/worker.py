"""Checks per second of the worker and its writer alone, from the slot to the stored verdict on SQLite.

``http_path_checks_per_s`` is the same inside a whole ``tocsin up``.
``python -m bench.worker PLACE SECONDS URL…`` is the measured process itself, with more checks due than it can do.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

import uvloop
from sqlalchemy import func, select

from bench.figures import Figure
from bench.stand import cores, pinned
from tocsin.bus.memory import MemoryBus
from tocsin.core.shards import shard_of
from tocsin.core.target import Target
from tocsin.home import DatabaseHome, Introduction, TargetChanges
from tocsin.lib.clock import SYSTEM_CLOCK
from tocsin.lib.net import Network
from tocsin.lib.vault import Vault
from tocsin.main.garbage import settle_down
from tocsin.main.process import SWITCH_S
from tocsin.pipeline import Pipeline
from tocsin.services.worker import Worker, WorkerSettings
from tocsin.store import tables
from tocsin.store.engine import Store

TARGETS: Final = 10_000
INTERVAL_MS: Final = 1000
WARM_UP_S: Final = 2.0
ROUNDS: Final = 3


def figures(place: Path, urls: Sequence[str], seconds: float) -> Iterator[Figure]:
    """Medians of ``ROUNDS`` turns of that many seconds each."""
    rates: list[float] = []
    costs_ms: list[float] = []
    for number in range(ROUNDS):
        directory = place / f"worker-{number}"
        directory.mkdir()
        command = [*pinned(cores().measured), sys.executable, "-m", "bench.worker", str(directory), str(seconds), *urls]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        rate, cost_ms = map(float, said.split())
        rates.append(rate)
        costs_ms.append(cost_ms)
    yield Figure("http_worker_checks_per_s", statistics.median(rates), "checks/s")
    yield Figure("worker_cpu_ms_per_check", statistics.median(costs_ms), "ms")


async def _alone(directory: Path, seconds: float, urls: Sequence[str]) -> None:
    """Prints checks stored per second, and milliseconds of CPU for each."""
    store = Store(f"sqlite:///{directory / 'tocsin.db'}")
    store.migrate()
    bus = MemoryBus()
    worker = Worker(
        home=_Home(store, bus, [_target(number, urls[number % len(urls)]) for number in range(1, TARGETS + 1)]),
        me=_ME,
        bus=bus,
        clock=SYSTEM_CLOCK,
        open_network=Network.open,
        settings=WorkerSettings(),
    )
    sys.setswitchinterval(SWITCH_S)
    settle_down()
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(worker.run(stop))
        await asyncio.sleep(WARM_UP_S)
        before, began_s, used_s = _stored(store), time.monotonic(), time.process_time()
        await asyncio.sleep(seconds)
        stored = _stored(store) - before
        took_s, used_s = time.monotonic() - began_s, time.process_time() - used_s
        stop.set()
    store.close()
    print(stored / took_s, used_s * 1000 / stored)


_ME = Introduction("bench", "only", "local", "here", "")


class _Home(DatabaseHome):
    """The real one, but for the targets: those are in no database."""

    def __init__(self, store: Store, bus: MemoryBus, roster: Sequence[Target]) -> None:
        pipeline = Pipeline(store, bus, SYSTEM_CLOCK)
        vault = Vault("no secret is kept here")
        super().__init__(store=store, bus=bus, pipeline=pipeline, vault=vault, clock=SYSTEM_CLOCK, me=_ME)
        self._roster = roster

    def load(self, shards: Collection[int], since_revision: int) -> TargetChanges:
        new = [target for target in self._roster if shard_of(target.id) in shards] if since_revision < 1 else []
        return TargetChanges(new, [], 1)


def _stored(store: Store) -> int:
    with store.read() as conn:
        return conn.execute(select(func.count()).select_from(tables.checks)).scalar_one()


def _target(number: int, url: str) -> Target:
    return Target(
        id=number,
        name=f"target {number}",
        slug=f"target-{number}",
        kind="http",
        settings={"url": url},
        interval_ms=INTERVAL_MS,
        timeout_ms=INTERVAL_MS,
        recheck_ms=INTERVAL_MS,
        enabled=True,
        tags=(),
        group="",
        assertions=(),
    )


if __name__ == "__main__":
    uvloop.run(_alone(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]))
