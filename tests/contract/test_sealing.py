"""Sealed hours: whatever comes in whatever order, what is read is what a count of all distinct ticks would give."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Table, func, select, update

from tocsin.core.rollup import DAY_MS, HOUR_MS
from tocsin.core.samples import Layout, Series
from tocsin.core.tiers import MINUTE_MS
from tocsin.services import keeper
from tocsin.store import machines, marks, samples, sealing, tables
from tocsin.store.engine import Store
from tocsin.store.sample_blocks import Damaged
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


# ── late ──────────────────────────────────────────────────────────────────────────────────────────────


def waiting(store: Store) -> int:
    with store.read() as conn:
        return int(conn.execute(select(func.count()).select_from(tables.late_samples)).scalar_one())


def test_what_comes_late_is_in_every_answer_at_once_and_merged_once(store: Store) -> None:
    register(store, "a")
    ids = layout_ids(store)
    ticks = history(1, ids)
    late = ticks[5::7]
    insert(store, [tick for tick in ticks if tick not in set(late)])
    seal(store)
    assert insert(store, late[::-1]) == len(late)
    check_all(store, ticks, ids)
    other = [tick._replace(vector=np.array([7, 7], "<f4").tobytes()) for tick in ticks[:20] if tick.layout_id == ids[0]]
    insert(store, [*other, *late])  # of the same time as what is there: left out
    check_all(store, ticks, ids)
    for _ in keeper.merge_late_samples(store, KEPT, NOW_MS, set()):
        check_all(store, ticks, ids)
    assert waiting(store) == 0
    insert(store, late)
    seal(store)
    check_all(store, ticks, ids)
    assert waiting(store) == 0


def test_documents_do_not_depend_on_the_order_in_which_ticks_came(store: Store) -> None:
    register(store, "a", "b")
    ids = layout_ids(store)
    ticks = history(1, ids)
    same = [tick._replace(machine_id=2) for tick in ticks]
    insert(store, ticks)
    insert(store, same[::3])
    seal(store)
    for begin in (2, 1):
        insert(store, same[begin::3][::-1])
        seal(store)
    for table in (tables.sample_blocks, tables.sample_minutes, tables.sample_hours):
        columns = table.c.start_ms, table.c.layout_id, table.c.ticks, table.c.document
        with store.read() as conn:
            one, two = (
                sorted(tuple(row) for row in conn.execute(select(*columns).where(table.c.machine_id == machine_id)))
                for machine_id in (1, 2)
            )
        assert one
        assert one == two


def test_many_late_ticks_are_merged_some_at_a_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "_MOST_LATE", 50)
    register(store, "a")
    ids = layout_ids(store)
    first = Tick(1, HOUR - 3 * HOUR_MS, ids[0], np.array([1, 2], "<f4").tobytes())
    ticks = [*history(1, ids), first]
    insert(store, [first])
    seal(store)
    insert(store, ticks)
    steps = list(keeper.merge_late_samples(store, KEPT, NOW_MS, set()))
    assert len(steps) > 5
    assert max(steps) <= 50
    assert waiting(store) == 0
    check_all(store, ticks, ids)


@pytest.fixture
def past(store: Store) -> tuple[Store, list[Tick], list[int], Kept]:
    """Sealed, and single ticks of the first two hours, which lie in another day, removed."""
    register(store, "a")
    ids = layout_ids(store)
    ticks = [tick._replace(at_ms=tick.at_ms - 9 * HOUR_MS + HOUR_MS) for tick in history(1, ids)]
    kept = Kept(ticks_ms=90 * MINUTE_MS)
    insert(store, ticks[::2])
    seal(store, MIDNIGHT + HOUR_MS + 30 * MINUTE_MS)
    for _ in keeper.trim_samples(store, kept, MIDNIGHT + 90 * MINUTE_MS):
        pass
    with store.read() as conn:
        assert marks.read_samples(conn).kept_from_ms == MIDNIGHT
        assert conn.execute(select(func.min(tables.sample_blocks.c.start_ms))).scalar() == MIDNIGHT
    return store, ticks, ids, kept


MIDNIGHT = NOW_MS - NOW_MS % DAY_MS


def test_what_is_older_than_single_ticks_are_kept_is_added(past: tuple[Store, list[Tick], list[int], Kept]) -> None:
    store, ticks, ids, kept = past
    now_ms = MIDNIGHT + 90 * MINUTE_MS
    insert(store, [*ticks[1::2], *ticks[1::4]])

    def agrees() -> None:
        for step_ms in (MINUTE_MS, HOUR_MS):
            from_ms = MIDNIGHT - 2 * HOUR_MS
            found = read(store, 1, from_ms, now_ms, step_ms, kept=kept, now_ms=now_ms)
            assert told(found) == counted(ticks, ids, 1, from_ms, now_ms, step_ms)

    agrees()
    for _ in keeper.merge_late_samples(store, kept, now_ms, set()):
        agrees()
    assert waiting(store) == 0
    agrees()
    with store.read() as conn:
        assert conn.execute(select(func.min(tables.sample_blocks.c.start_ms))).scalar() == MIDNIGHT


def test_what_is_older_than_anything_is_kept_goes(past: tuple[Store, list[Tick], list[int], Kept]) -> None:
    store, ticks, _, kept = past
    old = [tick._replace(at_ms=tick.at_ms - 100 * DAY_MS) for tick in ticks[:10]]
    between = [tick._replace(at_ms=tick.at_ms - 20 * DAY_MS) for tick in ticks[:10]]
    insert(store, [*old, *between])
    seal(store, MIDNIGHT + 90 * MINUTE_MS, kept)
    assert waiting(store) == 0
    with store.read() as conn:
        first = {
            table.name: conn.execute(select(func.min(table.c.start_ms))).scalar_one()
            for table in (tables.sample_minutes, tables.sample_hours)
        }
    assert first["sample_minutes"] > MIDNIGHT - DAY_MS
    assert first["sample_hours"] == between[0].at_ms - between[0].at_ms % HOUR_MS


# ── faults ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("cut", [1, 2, 3, 5])
def test_sealing_may_be_cut_off_between_any_two_steps(store: Store, cut: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "MACHINES_AT_ONCE", 1)
    register(store, "a", "b", "c")
    ids = layout_ids(store)
    ticks = [tick for machine_id in (1, 2, 3) for tick in history(machine_id, ids, every_ms=60_000)]
    insert(store, ticks[::2])
    for begin in (1, 3):
        list(islice(keeper.seal_samples(store, NOW_MS), cut))
        insert(store, ticks[begin::4])
        list(islice(keeper.merge_late_samples(store, KEPT, NOW_MS, set()), cut))
        there = [*ticks[::2], *ticks[1::4], *(ticks[3::4] if begin == 3 else [])]
        for machine_id in (1, 2, 3):
            check_all(store, there, ids, machine_id)
    seal(store)
    assert waiting(store) == 0
    for machine_id in (1, 2, 3):
        check_all(store, ticks, ids, machine_id)


_SEAL = """
import sys
from tests.contract.test_sealing import KEPT, NOW_MS
from tocsin.services import keeper
from tocsin.store.engine import Store
keeper.MACHINES_AT_ONCE = 1
store = Store(sys.argv[1])
for chore in (keeper.seal_samples(store, NOW_MS), keeper.merge_late_samples(store, KEPT, NOW_MS, set())):
    for changed in chore:
        print(changed, flush=True)
"""


@pytest.mark.parametrize("seed", range(3))
def test_a_keeper_killed_at_any_moment_leaves_each_tick_once(store: Store, store_url: str, seed: int) -> None:
    register(store, "a", "b")
    ids = layout_ids(store)
    ticks = [*history(1, ids, every_ms=60_000), *history(2, ids, every_ms=60_000)]
    insert(store, ticks[::2])
    rng = random.Random(seed)
    root = Path(__file__).parents[2]
    for part in (ticks[1::4], ticks[3::4]):
        with subprocess.Popen([sys.executable, "-c", _SEAL, store_url], stdout=subprocess.PIPE, cwd=root) as process:
            assert process.stdout is not None
            for _ in range(rng.randrange(1, 6)):
                process.stdout.readline()
            threading.Event().wait(rng.random() / 50)  # somewhere inside the next transactions
            process.kill()
        insert(store, part)
    for machine_id in (1, 2):
        check_all(store, ticks, ids, machine_id)
    seal(store)
    assert waiting(store) == 0
    for machine_id in (1, 2):
        check_all(store, ticks, ids, machine_id)


def test_two_keepers_at_once_count_nothing_twice(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even what can only be added."""
    monkeypatch.setattr(keeper, "MACHINES_AT_ONCE", 1)
    register(store, "a", "b")
    ids = layout_ids(store)
    ticks = [*history(1, ids, every_ms=60_000), *history(2, ids, every_ms=60_000)]
    insert(store, ticks[::2])
    both(lambda: seal(store))
    seal(store)
    with store.write() as conn:  # as if blocks were gone
        marks.advance_samples(conn, marks.TICKS, HOUR)
        conn.execute(tables.sample_blocks.delete())
    insert(store, ticks[1::2])
    both(lambda: seal(store))
    seal(store)
    assert waiting(store) == 0
    for machine_id in (1, 2):
        found = read(store, machine_id, HOUR - 3 * HOUR_MS, NOW_MS, HOUR_MS)
        assert told(found) == counted(ticks, ids, machine_id, HOUR - 3 * HOUR_MS, NOW_MS, HOUR_MS)


def both(work: Callable[[], None]) -> None:
    failed: list[BaseException] = []
    ready = threading.Barrier(2)

    def run() -> None:
        ready.wait()
        try:
            work()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_what_was_worked_out_before_another_came_is_not_written(store: Store) -> None:
    register(store, "a")
    ids = layout_ids(store)
    insert(store, history(1, ids))
    with store.write() as conn:
        marks.close_samples(conn, HOUR)
    start_ms = HOUR - 3 * HOUR_MS
    with store.read() as conn:
        first, second = (sealing.plan(conn, start_ms, [1]) for _ in range(2))
    with store.write() as conn:
        assert sealing.write(conn, first)
        assert not sealing.write(conn, second)
    seal(store)
    late = Tick(1, start_ms, ids[0], np.array([1, 2], "<f4").tobytes())
    insert(store, [late])
    with store.read() as conn:
        one, two = (sealing.plan_merge(conn, 1, 0, KEPT, NOW_MS) for _ in range(2))
        assert one is not None
        assert two is not None
    with store.write() as conn:
        assert sealing.write_merge(conn, one)
        assert not sealing.write_merge(conn, two)


def test_a_tick_that_comes_while_its_hour_is_sealed_is_not_lost(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between any two transactions of the sealing, and for machines that are sealed already or not yet."""
    monkeypatch.setattr(keeper, "MACHINES_AT_ONCE", 1)
    register(store, "a", "b")
    ids = layout_ids(store)
    ticks = [*history(1, ids, every_ms=60_000), *history(2, ids, every_ms=60_000)]
    coming = [*ticks[3::10]]
    insert(store, [tick for tick in ticks if tick not in set(coming)])
    missing = list(coming)
    for _ in keeper.seal_samples(store, NOW_MS):
        some, missing = missing[:6], missing[6:]
        insert(store, some)
        there = [tick for tick in ticks if tick not in set(missing)]
        check_all(store, there, ids)
        check_all(store, there, ids, 2)
        for _ in keeper.merge_late_samples(store, KEPT, NOW_MS, set()):
            check_all(store, there, ids)
    insert(store, missing)
    seal(store)
    for machine_id in (1, 2):
        check_all(store, ticks, ids, machine_id)


def damage(store: Store, table: Table, machine_id: int) -> None:
    with store.write() as conn:
        of_hour = table.c.machine_id == machine_id, table.c.start_ms == HOUR - HOUR_MS
        changed = conn.execute(update(table).where(*of_hour).values(document=b"\x01" + bytes(20)))
        assert changed.rowcount


def test_a_damaged_block_is_said_and_stops_no_other(store: Store) -> None:
    register(store, "a", "b")
    ids = layout_ids(store)
    ticks = [*history(1, ids), *history(2, ids)]
    late = ticks[3::5]
    insert(store, [tick for tick in ticks if tick not in set(late)])
    seal(store)
    damage(store, tables.sample_blocks, 1)
    insert(store, late)
    said: set[str] = set()
    for _ in range(2):
        for _ in keeper.merge_late_samples(store, KEPT, NOW_MS, said):
            pass
    assert all("the block of samples of machine 1, layout" in words and "damaged" in words for words in said)
    assert len(said) in (1, 2), "of each layout"
    assert waiting(store) == sum(tick.machine_id == 1 and HOUR - HOUR_MS <= tick.at_ms < HOUR for tick in late), (
        "they are not thrown away"
    )
    check_all(store, ticks, ids, 2)
    for step_ms in (None, MINUTE_MS):
        with pytest.raises(Damaged, match=r"machine 1, layout 1, 2024-10-04 08:00 UTC: damaged"):
            read(store, 1, HOUR - HOUR_MS, NOW_MS, step_ms)
    earlier = read(store, 1, HOUR - 3 * HOUR_MS, HOUR - HOUR_MS, MINUTE_MS)
    assert told(earlier) == counted(ticks, ids, 1, HOUR - 3 * HOUR_MS, HOUR - HOUR_MS, MINUTE_MS)


def test_a_block_that_was_deleted_takes_its_single_ticks_along_and_no_more(store: Store) -> None:
    register(store, "a")
    ids = layout_ids(store)
    ticks = history(1, ids)
    late = ticks[3::5]
    insert(store, [tick for tick in ticks if tick not in set(late)])
    seal(store)
    insert(store, late)
    with store.write() as conn:
        conn.execute(tables.sample_blocks.delete())
    for _ in range(2):
        for step_ms in (MINUTE_MS, HOUR_MS):
            found = read(store, 1, HOUR - 3 * HOUR_MS, NOW_MS, step_ms)
            assert told(found) == counted(ticks, ids, 1, HOUR - 3 * HOUR_MS, NOW_MS, step_ms)
        seal(store)
    assert waiting(store) == 0
    single = read(store, 1, HOUR - HOUR_MS, NOW_MS)
    assert told(single) == counted([tick for tick in ticks if tick.at_ms >= HOUR], ids, 1, HOUR - HOUR_MS, NOW_MS, 1)


@pytest.mark.parametrize("table", [tables.sample_minutes, tables.sample_hours])
def test_damaged_minutes_and_hours_too(past: tuple[Store, list[Tick], list[int], Kept], table: Table) -> None:
    store, ticks, _, kept = past
    with store.write() as conn:
        conn.execute(update(table).where(table.c.start_ms < MIDNIGHT).values(document=b""))
    insert(store, ticks[1::2])
    said: set[str] = set()
    for _ in keeper.merge_late_samples(store, kept, MIDNIGHT + 90 * MINUTE_MS, said):
        pass
    assert said
    assert waiting(store) == sum(tick.at_ms < MIDNIGHT for tick in ticks[1::2])
    step_ms = MINUTE_MS if table is tables.sample_minutes else HOUR_MS
    with pytest.raises(Damaged, match=f"{table.name} of machine 1"):
        read(store, 1, MIDNIGHT - HOUR_MS, MIDNIGHT, step_ms, kept=kept, now_ms=MIDNIGHT + 90 * MINUTE_MS)


def test_a_layout_without_a_series_stops_nothing(store: Store) -> None:
    register(store, "a")
    ids = layout_ids(store)
    with store.write() as conn:
        (empty,) = samples.layout_ids(conn, [Layout(())])
    ticks = history(1, ids)
    nothing = [Tick(1, HOUR - 5 * MINUTE_MS - number, empty, b"") for number in range(2)]
    insert(store, [*ticks, nothing[0]])
    for _ in range(2):
        check_all(store, ticks, ids)
        seal(store)
        insert(store, nothing)
    check_all(store, ticks, ids)


def test_a_vector_that_does_not_fit_its_layout_is_left_out(store: Store) -> None:
    register(store, "a", "b")
    ids = layout_ids(store)
    ticks = [*history(1, ids), *history(2, ids)]
    odd = [
        Tick(1, HOUR - 5 * MINUTE_MS - 1, ids[0], b"\x01"),
        Tick(1, HOUR - 5 * MINUTE_MS - 2, ids[0], bytes(12)),
        Tick(1, HOUR - 5 * MINUTE_MS - 3, 999, bytes(8)),
    ]
    insert(store, [*ticks, *odd])
    for _ in range(2):
        check_all(store, ticks, ids)
        check_all(store, ticks, ids, 2)
        seal(store)
        insert(store, odd)
