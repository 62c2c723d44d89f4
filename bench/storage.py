"""What checks and samples cost on PostgreSQL: how many a second one connection stores, and what one takes on disk.

    .venv/bin/python -m bench.storage [--url URL] [--targets 5000] [--hours 6] [--batch 5000] [--machines 200]

Without a URL it starts a server of its own with settings that survive a power cut (fsync and synchronous_commit on).
Checks come in the order in which those of an installation would, in batches, a transaction each; all have five
phases. Then the day is declared over, packed as the keeper packs it, and the two are compared. The rate is that of
the quickest tenth of the batches, and the mean beside it: other work on the machine makes the mean smaller.

Samples are those of bench.machines: an hour of machines that report 100 series every 5 s, in the order in which they
come in. Then the hour is sealed as the keeper seals it.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from typing import TypeVar

import numpy as np
from rich.console import Console
from sqlalchemy import func, select, text

from bench.figures import Figure, show
from bench.machines import Measured, realistic
from bench.stand import cores
from tests.contract.rows import add_targets
from tests.postgres import DURABLE, start_private_server
from tocsin.core.decide import State
from tocsin.core.outcome import REACHABLE, Result, StateKey, Subject
from tocsin.core.rollup import DAY_MS, HOUR_MS
from tocsin.core.slots import slot_offset_ms
from tocsin.core.target import TARGET
from tocsin.services import keeper
from tocsin.store import checks, machines, marks, partitions, samples, sealing, states, tables
from tocsin.store.checks import CheckRow
from tocsin.store.engine import Store
from tocsin.store.samples import Tick

DAY_START_MS = 20_000 * DAY_MS
INTERVAL_MS = 60_000

Row = TypeVar("Row")

# Medians in microseconds and spreads of the phases: a web server some way off, TLS with every check.
_PHASES = ((900, 0.5), (12_000, 0.4), (25_000, 0.4), (40_000, 0.5), (1_200, 0.6))


def arriving(targets: int, hours: float) -> Iterator[list[CheckRow]]:
    """The checks of each interval, in the order in which they come in: each when it is done."""
    rng = np.random.default_rng(1)
    ids = np.arange(1, targets + 1)
    offsets = np.array([slot_offset_ms(number, INTERVAL_MS) for number in ids.tolist()])
    passed = int(Result.PASSED)
    for begin_ms in range(DAY_START_MS, DAY_START_MS + round(hours * HOUR_MS), INTERVAL_MS):
        phases = [rng.lognormal(np.log(median), spread, targets).astype(np.int64) for median, spread in _PHASES]
        latency = np.sum(phases, axis=0)
        order = np.argsort((begin_ms + offsets) * 1000 + latency)
        columns = [column[order].tolist() for column in (begin_ms + offsets, ids, latency, *phases)]
        yield [CheckRow._make((*row, 1, passed, None)) for row in zip(*columns, strict=True)]


def batches(rows: Iterator[list[Row]], size: int) -> Iterator[list[Row]]:
    waiting: list[Row] = []
    for some in rows:
        waiting += some
        while len(waiting) >= size:
            yield waiting[:size]
            del waiting[:size]
    if waiting:
        yield waiting


@dataclass
class Rates:
    """Rows a second."""

    taken: list[tuple[int, float]] = field(default_factory=list)
    """Of every batch: its rows and seconds."""

    @property
    def mean(self) -> float:
        return sum(rows for rows, _ in self.taken) / sum(seconds for _, seconds in self.taken)

    @property
    def best(self) -> float:
        """Of the quickest tenth."""
        quickest = sorted(self.taken, key=lambda batch: batch[1] / batch[0])
        return Rates(quickest[: max(1, len(quickest) // 10)]).mean


def store_all(store: Store, targets: int, hours: float, batch: int) -> Rates:
    rates = Rates()
    for rows in batches(arriving(targets, hours), batch):
        began = time.perf_counter()
        with store.write() as conn:
            new = checks.insert_many(conn, rows)
        rates.taken.append((len(rows), time.perf_counter() - began))
        if new != len(rows):
            raise RuntimeError(f"{len(rows) - new} checks were there already")
    return rates


def pack_all(store: Store) -> float:
    """Checks a second."""
    with store.write() as conn:
        marks.move(conn, marks.HOURS, DAY_START_MS + DAY_MS)  # as if they were folded
    began = time.perf_counter()
    over_ms = DAY_START_MS + DAY_MS
    packed = sum(keeper.pack(store, keeper.Retention(unpacked_ms=0), lambda: over_ms, {}))
    return packed / (time.perf_counter() - began)


def bytes_a_check(store: Store, table: str) -> float:
    """With indexes, of the day that was measured."""
    counted = {"checks": func.count(), "check_blocks": func.sum(tables.check_blocks.c.checks)}[table]
    with store.read() as conn:
        count = conn.execute(select(counted).select_from(tables.metadata.tables[table])).scalar_one()
        day = next(day for day in partitions.days(conn, table) if day.start_ms == DAY_START_MS)
        size = conn.execute(text("SELECT pg_total_relation_size(:name)"), {"name": day.name}).scalar_one()
    return float(size) / int(count)


# ── samples of machines ───────────────────────────────────────────────────────────────────────────────

HOUR_START_MS = DAY_START_MS + 9 * HOUR_MS
_SERVERS = 10
"""So many different ones; of more each is a copy of one of these."""


def ticks_arriving(machine_ids: Sequence[int], layout_id: int, hours: Sequence[Measured]) -> Iterator[list[Tick]]:
    """The ticks of each round of reports, a machine's at a time of its own."""
    vectors = [[row.tobytes() for row in hour.values] for hour in hours]
    for number in range(len(vectors[0])):
        yield [
            Tick(machine_id, HOUR_START_MS + number * 5_000 + machine_id % 5_000, layout_id, vectors[place][number])
            for place, machine_id in zip(cycle(range(len(hours))), machine_ids, strict=False)
        ]


def store_ticks(store: Store, rounds: Iterator[list[Tick]], batch: int) -> Rates:
    rates = Rates()
    for ticks in batches(rounds, batch):
        began = time.perf_counter()
        with store.write() as conn:
            new = samples.insert_many(conn, ticks)
        rates.taken.append((len(ticks), time.perf_counter() - began))
        if new != len(ticks):
            raise RuntimeError(f"{len(ticks) - new} ticks were there already")
    return rates


def seal_all(store: Store) -> float:
    """Machines a second whose hour is sealed."""
    began = time.perf_counter()
    sealed = sum(keeper.seal_samples(store, HOUR_START_MS + HOUR_MS + sealing.GRACE_MS))
    return sealed / (time.perf_counter() - began)


def bytes_a_point(store: Store, table: str, points: int) -> float:
    """With indexes, of the hour that was measured, or of the day it is in."""
    with store.read() as conn:
        there = partitions.days(conn, table)
        name = next(part.name for part in there if part.start_ms <= HOUR_START_MS < part.end_ms)
        size = conn.execute(text("SELECT pg_total_relation_size(:name)"), {"name": name}).scalar_one()
    return float(size) / points


def of_samples(store: Store, number: int, batch: int) -> Iterator[Figure]:
    hours = [realistic(seed=seed, from_ms=HOUR_START_MS) for seed in range(_SERVERS)]
    with store.write() as conn:
        (layout_id,) = samples.layout_ids(conn, [hours[0].layout])
        for uid in range(number):
            machines.register(
                conn,
                uid=str(uid),
                name=str(uid),
                facts={},
                tags=(),
                every_ms=5_000,
                version="",
                key_id=None,
                now_ms=HOUR_START_MS,
            )
        ids = [machine.id for machine in machines.every(conn)]
    rates = store_ticks(store, ticks_arriving(ids, layout_id, hours), batch)
    points = number * hours[0].values.size
    yield Figure("samples_ticks_per_s", rates.best, "ticks/s")
    yield Figure("samples_mean_ticks_per_s", rates.mean, "ticks/s")
    yield Figure("samples_bytes_per_fresh_point", bytes_a_point(store, "samples", points), "bytes")
    yield Figure("sealing_machine_hours_per_s", seal_all(store), "hours/s")
    for table, name in (("sample_blocks", "sealed"), ("sample_minutes", "minutes"), ("sample_hours", "hours")):
        yield Figure(f"samples_bytes_per_{name}_point", bytes_a_point(store, table, points), "bytes")


# ── all of it ─────────────────────────────────────────────────────────────────────────────────────────


def updated_in_place(store: Store, targets: int, seconds: int) -> float:
    """What share of updates of states changed no index, with 100,000 of them updated once a minute, in the order of
    their slots. By seconds of the schedule, one after the other: faster than in use, where pages have time to recover.
    """
    numbers = sorted(range(1, targets + 1), key=lambda number: slot_offset_ms(number, INTERVAL_MS))
    keys = [StateKey(Subject(TARGET, number), REACHABLE, 1) for number in numbers]
    with store.write() as conn:
        states.write_many(conn, [(key, State()) for key in keys])
    at_once = targets * 1000 // INTERVAL_MS
    for second in range(seconds):
        some = [keys[(second * at_once + number) % targets] for number in range(at_once)]
        with store.write() as conn:
            held = states.read_many(conn, some)
            states.write_many(conn, [(key, state._replace(last_at_ms=second)) for key, state in held.items()])
    counted = text("SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'states'")
    with store.statements() as conn:
        while True:
            updated, in_place = conn.execute(counted).one()
            if updated >= at_once * seconds:
                return float(in_place) / float(updated)
            time.sleep(0.1)  # the server counts now and then


@contextmanager
def opened(url: str | None) -> Iterator[Store]:
    there, before = cores(), os.sched_getaffinity(0)
    os.sched_setaffinity(0, {there.others})
    server = None if url else start_private_server(DURABLE)
    os.sched_setaffinity(0, {there.measured})  # the server keeps the other core
    store = Store(url or (server.create_database() if server else ""), statement_timeout_s=600)
    try:
        store.migrate()
        yield store
    finally:
        store.close()
        os.sched_setaffinity(0, before)
        if server is not None:
            server.remove()


def figures(url: str | None, *, targets: int, hours: float, batch: int, machines: int) -> Iterator[Figure]:
    with opened(url) as store:
        with store.read() as conn:
            settings = ("server_version", "fsync", "synchronous_commit", "shared_buffers")
            print(" ", *(f"{name} {conn.execute(text(f'SHOW {name}')).scalar_one()}" for name in settings))
        with store.write() as conn:
            add_targets(conn, *range(1, targets + 1))
        rates = store_all(store, targets, hours, batch)
        yield Figure("storage_checks_per_s", rates.best, "checks/s")
        yield Figure("storage_mean_checks_per_s", rates.mean, "checks/s")
        yield Figure("storage_bytes_per_check", bytes_a_check(store, "checks"), "bytes")
        yield Figure("packing_checks_per_s", pack_all(store), "checks/s")
        yield Figure("storage_bytes_per_packed_check", bytes_a_check(store, "check_blocks"), "bytes")
        share = updated_in_place(store, 100_000, 90)
        yield Figure("states_updated_in_place", 100 * share, "%")
        yield from of_samples(store, machines, batch)


def piece(targets: int) -> Iterator[Figure]:
    return figures(None, targets=targets, hours=6, batch=5_000, machines=max(20, targets // 25))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="an empty PostgreSQL database; by default one of a server of its own")
    parser.add_argument("--targets", type=int, default=5_000)
    parser.add_argument("--hours", type=float, default=6.0)
    parser.add_argument("--batch", type=int, default=5_000)
    parser.add_argument("--machines", type=int, default=200)
    options = parser.parse_args(arguments)
    measured = figures(
        options.url, targets=options.targets, hours=options.hours, batch=options.batch, machines=options.machines
    )
    show(list(measured), Console(width=120))


if __name__ == "__main__":
    main()
