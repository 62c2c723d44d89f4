"""Sealed hours: whatever comes in whatever order, what is read is what a count of all distinct ticks would give."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

import numpy as np
import pytest
from sqlalchemy import func, select

from tocsin.core.rollup import DAY_MS, HOUR_MS
from tocsin.core.samples import Layout, Series
from tocsin.core.tiers import MINUTE_MS
from tocsin.services import keeper
from tocsin.store import machines, marks, samples, tables
from tocsin.store.engine import Store
from tocsin.store.samples import Points, Tick
from tocsin.store.sealing import Kept

NOW_MS = 20_000 * DAY_MS + 9 * HOUR_MS + 30 * MINUTE_MS
HOUR = NOW_MS - NOW_MS % HOUR_MS
KEPT = Kept()
CPU, MEMORY, DISK = Series("cpu"), Series("memory", (("state", "used"),), "By"), Series("disk", (), "By", "counter")
LAYOUTS = (Layout((CPU, MEMORY)), Layout((DISK, CPU, MEMORY)))
NAMES = ("cpu", "memory", "disk")


def register(store: Store, *uids: str) -> list[int]:
    with store.write() as conn:
        return [
            machines.register(
                conn, uid=uid, name=uid, facts={}, tags=(), every_ms=5_000, version="", key_id=None, now_ms=0
            ).id
            for uid in uids
        ]


def history(machine_id: int, layout_ids: Sequence[int], *, hours: int = 3, every_ms: int = 20_000) -> list[Tick]:
    """Up to NOW_MS, with gaps; the second layout in between, in the middle of an hour."""
    rng = np.random.default_rng(machine_id)
    found = []
    for at_ms in range(HOUR - hours * HOUR_MS + machine_id, NOW_MS, every_ms):
        which = int(HOUR - 90 * MINUTE_MS < at_ms < HOUR - 70 * MINUTE_MS)
        values = rng.normal(50, 20, len(LAYOUTS[which])).astype("<f4")
        values[rng.random(len(values)) < 0.1] = np.nan
        if rng.random() < 0.9:
            found.append(Tick(machine_id, at_ms, layout_ids[which], values.tobytes()))
    return found


def layout_ids(store: Store) -> list[int]:
    with store.write() as conn:
        return samples.layout_ids(conn, LAYOUTS)


def insert(store: Store, ticks: Sequence[Tick]) -> int:
    with store.write() as conn:
        return samples.insert_many(conn, ticks)


def seal(store: Store, now_ms: int = NOW_MS, kept: Kept = KEPT) -> None:
    for chore in (keeper.seal_samples(store, now_ms), keeper.merge_late_samples(store, kept, now_ms, set())):
        for _ in chore:
            pass


def read(
    store: Store,
    machine_id: int,
    from_ms: int,
    to_ms: int,
    step_ms: int | None = None,
    *,
    kept: Kept = KEPT,
    most: int = 2000,
    now_ms: int = NOW_MS,
    names: Collection[str] = NAMES,
) -> Points:
    with store.read() as conn:
        return samples.read(
            conn, machine_id, names, from_ms, to_ms, step_ms=step_ms, now_ms=now_ms, kept=kept, most=most
        )


Told = dict[tuple[str, int], tuple[int, float, float, float, float]]
"""By series and time: count, sum, least, greatest, last."""


def told(points: Points) -> Told:
    found: Told = {}
    for row, series in enumerate(points.series):
        for column in np.flatnonzero(points.count[row]).tolist():
            numbers = (points.total, points.least, points.greatest, points.last)
            count = int(points.count[row, column])
            key = series.name, int(points.at_ms[column])
            found[key] = (count, *(round(float(some[row, column]), 4) for some in numbers))  # type: ignore[assignment]
    return found


def counted(ticks: Iterable[Tick], ids: Sequence[int], machine_id: int, from_ms: int, to_ms: int, step_ms: int) -> Told:
    """The same of whole steps, one by one; of ticks with the same key the first."""
    from_ms, to_ms = from_ms // step_ms * step_ms, -(-to_ms // step_ms) * step_ms
    distinct: dict[tuple[int, int, int], Tick] = {}
    for tick in ticks:
        distinct.setdefault(tick[:3], tick)
    seen: dict[tuple[str, int], list[tuple[int, float]]] = defaultdict(list)
    for tick in distinct.values():
        if tick.machine_id != machine_id or not from_ms <= tick.at_ms < to_ms:
            continue
        values = np.frombuffer(tick.vector, "<f4").tolist()
        for series, value in zip(LAYOUTS[ids.index(tick.layout_id)], values, strict=True):
            if np.isfinite(value):
                seen[series.name, tick.at_ms // step_ms * step_ms].append((tick.at_ms, value))
    return {
        key: (
            len(pairs),
            round(sum(value for _, value in pairs), 4),
            round(min(value for _, value in pairs), 4),
            round(max(value for _, value in pairs), 4),
            round(max(pairs)[1], 4),
        )
        for key, pairs in seen.items()
    }


def check_all(store: Store, ticks: Iterable[Tick], ids: Sequence[int], machine_id: int = 1) -> None:
    """Every tier, and windows that begin and end in the middle of hours."""
    ticks = list(ticks)
    for from_ms, to_ms, step_ms in [
        (HOUR - 3 * HOUR_MS, NOW_MS, HOUR_MS),
        (HOUR - 3 * HOUR_MS, NOW_MS, MINUTE_MS),
        (HOUR - 2 * HOUR_MS, HOUR, 10_000),
        (HOUR - 100 * MINUTE_MS, HOUR - 3 * MINUTE_MS, 5 * MINUTE_MS),
    ]:
        found = read(store, machine_id, from_ms, to_ms, step_ms)
        assert found.step_ms == step_ms
        assert told(found) == counted(ticks, ids, machine_id, from_ms, to_ms, step_ms)
    from_ms, to_ms = HOUR - 95 * MINUTE_MS - 7, NOW_MS
    single = read(store, machine_id, from_ms, to_ms)
    assert single.tier == "ticks"
    assert told(single) == counted(ticks, ids, machine_id, from_ms, to_ms, 1)


def test_it_is_right_before_while_and_after_it_is_sealed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "MACHINES_AT_ONCE", 1)
    register(store, "a", "b")
    ids = layout_ids(store)
    ticks = [*history(1, ids), *history(2, ids)]
    assert insert(store, ticks) == len(ticks)
    check_all(store, ticks, ids)
    for _ in keeper.seal_samples(store, NOW_MS):
        check_all(store, ticks, ids)
        check_all(store, ticks, ids, 2)
    with store.read() as conn:
        standing = marks.read_samples(conn)
        assert standing.closed_ms == standing.sealed_ms == HOUR
        counts = [
            conn.execute(select(func.sum(table.c.ticks))).scalar_one()
            for table in (tables.sample_blocks, tables.sample_minutes, tables.sample_hours)
        ]
    assert counts == [sum(tick.at_ms < HOUR for tick in ticks)] * 3
    assert list(keeper.seal_samples(store, NOW_MS)) == []
