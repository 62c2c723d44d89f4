"""A year of history for many targets, and how long the answers about it take.

    .venv/bin/python -m bench.history [--targets 1000] [--directory DIR] [--url URL]

Generates rows by the day in bulk: day rows for a year, hour rows for a month, single checks for a week.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sqlalchemy import update

from tests.contract.rows import add_targets
from tocsin.core import rollup, sketch
from tocsin.core.decide import State, Transition, Verdict
from tocsin.core.outcome import HEADLINE, REACHABLE, Result, StateKey, Subject
from tocsin.core.rollup import DAY_MS, HOUR_MS, SUMS, Rollups
from tocsin.core.target import TARGET
from tocsin.services import keeper
from tocsin.store import checks, marks, rollups, states, transitions
from tocsin.store.checks import CheckRow
from tocsin.store.engine import Store
from tocsin.store.tables import check_days, check_hours, rollup_marks

NOW_MS = 20_000 * DAY_MS + 15 * HOUR_MS + 20 * 60_000
INTERVAL_MS = 60_000
ROUNDS = 15
_UPTIME_WINDOWS = ("24h", "7d", "30d", "90d")


def rows(rng: np.random.Generator, target_ids: np.ndarray, starts: np.ndarray, of_each: int) -> Rollups:
    """One row per target and start, as if ``of_each`` checks had passed in each."""
    target_id, start_ms = (grid.ravel() for grid in np.meshgrid(target_ids, starts, indexing="ij"))
    size = len(target_id)
    groups = np.repeat(np.arange(size), min(of_each, 200))
    latency_us = rng.lognormal(np.log(30_000), 0.3, len(groups)).astype(np.int64)
    sums = np.zeros((size, len(SUMS)), np.int64)
    for name, value in {"checks": of_each, "passed": of_each, "timed": of_each}.items():
        sums[:, SUMS.index(name)] = value
    sums[:, SUMS.index("latency_sum_us")] = of_each * 31_000
    for phase in rollup.PHASES:
        sums[:, SUMS.index(f"{phase}_sum_us")] = of_each * 6_000
        sums[:, SUMS.index(f"{phase}_timed")] = of_each
    return Rollups(
        target_id,
        start_ms,
        sums,
        np.full(size, 9_000),
        np.full(size, 90_000),
        sketch.of_values(latency_us, groups, size),
    )


def generate(store: Store, count: int, *, now_ms: int = NOW_MS, raw_days: int = 7) -> None:
    """The history of targets 1 to ``count``, which are there already, up to ``now_ms``."""
    rng = np.random.default_rng(1)
    today_ms = now_ms - now_ms % DAY_MS
    this_hour_ms = now_ms - now_ms % HOUR_MS
    ids = np.arange(1, count + 1)
    with store.write() as conn:
        conn.execute(
            update(rollup_marks).where(rollup_marks.c.name == marks.DAYS).values(through_ms=today_ms, revision=1)
        )
        states.write_many(
            conn,
            [
                (StateKey(Subject(TARGET, number), REACHABLE, place), State(Verdict.UP, now_ms - DAY_MS))
                for number in ids.tolist()
                for place in (HEADLINE, 1)
            ],
        )
    for part in np.array_split(ids, max(1, count // 100)):
        with store.write() as conn:
            rollups.replace(
                conn, check_days, rows(rng, part, np.arange(today_ms - 365 * DAY_MS, today_ms, DAY_MS), 1440)
            )
            hours = np.arange(today_ms - 31 * DAY_MS, this_hour_ms, HOUR_MS)
            rollups.replace(conn, check_hours, rows(rng, part, hours, 60))
            transitions.insert_many(conn, turns(rng, part.tolist(), now_ms), now_ms)
        print(f"  history of targets up to {part[-1]}", file=sys.stderr)
    begin_ms = now_ms - raw_days * DAY_MS
    for start_ms in range(begin_ms, now_ms, HOUR_MS):
        with store.write() as conn:
            checks.insert_many(conn, raw(rng, ids.tolist(), start_ms, now_ms))
        if (start_ms - begin_ms) % DAY_MS == 0:
            print(f"  checks of day {(start_ms - begin_ms) // DAY_MS + 1}", file=sys.stderr)
    with store.write() as conn:
        conn.execute(
            update(rollup_marks).where(rollup_marks.c.name == marks.HOURS).values(through_ms=this_hour_ms, revision=1)
        )


def raw(rng: np.random.Generator, ids: list[int], start_ms: int, now_ms: int) -> list[CheckRow]:
    """An hour of checks, in the order in which they would come."""
    latency = iter(rng.lognormal(np.log(30_000), 0.3, len(ids) * 60).astype(int).tolist())
    passed = int(Result.PASSED)
    return [
        CheckRow(at_ms + number * 60, number, next(latency), 900, 4_000, 9_000, 15_000, 1_000, 1, passed, None)
        for at_ms in range(start_ms, min(start_ms + HOUR_MS, now_ms - INTERVAL_MS), INTERVAL_MS)
        for number in ids
    ]


def turns(rng: np.random.Generator, ids: list[int], now_ms: int) -> list[Transition]:
    """About one outage of ten minutes a month for each target."""
    changes = []
    for number in ids:
        key = StateKey(Subject(TARGET, number), REACHABLE, HEADLINE)
        at_ms = now_ms - 365 * DAY_MS
        changes.append(Transition(key, Verdict.UNKNOWN, Verdict.UP, at_ms, at_ms, ""))
        for begin in np.sort(rng.integers(at_ms + 1, now_ms - HOUR_MS, 12)).tolist():
            end = begin + 600_000
            changes.append(Transition(key, Verdict.UP, Verdict.DOWN, begin, begin, "connection refused"))
            changes.append(Transition(key, Verdict.DOWN, Verdict.UP, end, end, ""))
    return changes


def timed(name: str, call: Callable[[], object]) -> None:
    taken_ms = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        call()
        taken_ms.append((time.perf_counter() - begun) * 1000)
    print(f"{name:<46} median {statistics.median(taken_ms):7.1f} ms   worst {max(taken_ms):7.1f} ms")


def measure(store: Store, count: int) -> None:
    def read(question: Callable[..., object], *args: object, **kwargs: object) -> Callable[[], None]:
        def ask() -> None:
            with store.read() as conn:
                question(conn, *args, **kwargs)

        return ask

    begun = time.perf_counter()
    steps = list(keeper.fold(store, NOW_MS))
    print(f"{'fold the running hour':<46} {(time.perf_counter() - begun) * 1000:7.0f} ms in {len(steps)} steps")
    timed(f"list with summaries, {count} targets", read(rollups.summaries, None, NOW_MS))
    timed("list with summaries, 100 targets", read(rollups.summaries, list(range(1, 101)), NOW_MS))
    timed("overall", read(rollups.overall, NOW_MS))
    timed(f"uptime over 24h, 7d, 30d, 90d, {count} targets", read(rollups.uptimes, None, _UPTIME_WINDOWS, NOW_MS))
    timed("one target, five windows", read(rollups.windows, 7, NOW_MS))
    for name, length_ms in {"1h": HOUR_MS, **rollups.WINDOWS_MS}.items():
        ask = read(rollups.series, 7, from_ms=NOW_MS - length_ms, to_ms=NOW_MS, interval_ms=INTERVAL_MS)
        timed(f"one target, chart of {name}", ask)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=1000)
    parser.add_argument(
        "--directory", type=Path, help="kept, and used again; by default one that is removed at the end"
    )
    parser.add_argument("--url", help="another database, empty; by default a SQLite file in the directory")
    options = parser.parse_args()
    directory = options.directory or Path(tempfile.mkdtemp(prefix="tocsin-history-"))
    directory.mkdir(exist_ok=True)
    store = Store(options.url or f"sqlite:///{directory / 'history.db'}")
    try:
        if store.schema_state() == "empty":
            store.migrate()
            with store.write() as conn:
                add_targets(conn, *range(1, options.targets + 1))
            generate(store, options.targets)
        measure(store, options.targets)
    finally:
        store.close()
        if options.directory is None:
            shutil.rmtree(directory)


if __name__ == "__main__":
    main()
