"""How long samples stay, what goes with a machine that is deleted, and the keeper's rounds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from sqlalchemy import Table, func, insert, select, update

from tests.clocks import FakeClock
from tests.contract.test_sealing import (
    HOUR,
    KEPT,
    MIDNIGHT,
    NOW_MS,
    check_all,
    history,
    layout_ids,
    register,
    seal,
    waiting,
)
from tests.contract.test_sealing import insert as store_ticks
from tocsin.core.decide import State, Transition, Verdict
from tocsin.core.outcome import HEADLINE, StateKey, Subject
from tocsin.core.rollup import DAY_MS, HOUR_MS
from tocsin.core.samples import MACHINE
from tocsin.core.tiers import MINUTE_MS
from tocsin.services import keeper
from tocsin.services.keeper import Keeper, Retention
from tocsin.store import machines, marks, partitions, samples, states, tables, transitions
from tocsin.store.engine import Store
from tocsin.store.machines import Now
from tocsin.store.samples import Tick
from tocsin.store.sealing import Kept

TIERS = (tables.sample_blocks, tables.sample_minutes, tables.sample_hours)


def hours_of(store: Store, table: Table) -> list[int]:
    with store.read() as conn:
        return sorted(set(conn.execute(select(table.c.start_ms)).scalars()))


def count(store: Store, table: Table) -> int:
    with store.read() as conn:
        return int(conn.execute(select(func.count()).select_from(table)).scalar_one())


def trim(store: Store, kept: Kept, now_ms: int) -> None:
    for _ in keeper.trim_samples(store, kept, now_ms):
        pass


def hourly(store: Store, days: int) -> list[Tick]:
    """A tick an hour up to NOW_MS."""
    ids = layout_ids(store)
    vector = np.array([1, 2], "<f4").tobytes()
    return [Tick(1, at_ms, ids[0], vector) for at_ms in range(HOUR - days * DAY_MS, NOW_MS, HOUR_MS)]


def test_each_tier_stays_as_long_as_it_is_said(store: Store) -> None:
    register(store, "a")
    store_ticks(store, hourly(store, 4))
    seal(store)
    everything = hours_of(store, tables.sample_hours)
    assert len(everything) == 4 * 24
    kept = Kept(ticks_ms=30 * HOUR_MS, minutes_ms=2 * DAY_MS, hours_ms=3 * DAY_MS)
    trim(store, kept, NOW_MS)
    with store.read() as conn:
        unit_ms = DAY_MS if partitions.used_for_samples(conn) else HOUR_MS
        assert marks.read_samples(conn).kept_from_ms == (NOW_MS - 30 * HOUR_MS) // unit_ms * unit_ms
    for table, length_ms in zip(TIERS, (kept.ticks_ms, kept.minutes_ms, kept.hours_ms), strict=True):
        first_ms = (NOW_MS - length_ms) // unit_ms * unit_ms
        assert hours_of(store, table) == [start_ms for start_ms in everything if start_ms >= first_ms]


def test_nothing_goes_that_is_not_sealed(store: Store) -> None:
    """A keeper that was away for days."""
    register(store, "a")
    ticks = hourly(store, 3)
    store_ticks(store, ticks)
    trim(store, KEPT, NOW_MS)
    assert count(store, tables.samples) == len(ticks)
    with store.read() as conn:
        assert marks.read_samples(conn).kept_from_ms == 0
    seal(store)
    assert len(hours_of(store, tables.sample_hours)) == 3 * 24


def test_rows_go_in_small_transactions(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "ROWS_AT_ONCE", 5)
    register(store, "a", "b")
    ticks = hourly(store, 2)
    store_ticks(store, [*ticks, *(tick._replace(machine_id=2) for tick in ticks)])
    seal(store)
    assert max(keeper.trim_samples(store, Kept(*[HOUR_MS] * 3), NOW_MS)) <= 5
    with store.read() as conn:
        whole = partitions.used_for_samples(conn)
    assert hours_of(store, tables.sample_hours)[0] == (MIDNIGHT if whole else HOUR - HOUR_MS)
    with store.write() as conn:
        assert machines.delete(conn, 1, NOW_MS)
    assert max(keeper.purge_machines(store, NOW_MS + keeper.PURGE_AFTER_MS + 1)) <= 5


def now(machine_id: int, layout_id: int, received_ms: int) -> Now:
    return Now(machine_id, layout_id, "boot", received_ms, received_ms, received_ms, b"", b"", {}, None)


def test_of_a_machine_that_was_deleted_everything_goes_and_of_others_nothing(store: Store) -> None:
    gone, stays = register(store, "gone", "stays")
    ids = layout_ids(store)
    ticks = {number: history(number, ids) for number in (gone, stays)}
    late = {number: ticks[number][::9] for number in ticks}
    store_ticks(store, [tick for number in ticks for tick in ticks[number] if tick not in set(late[number])])
    seal(store)
    store_ticks(store, [tick for number in late for tick in late[number]])
    subjects = {number: Subject(MACHINE, number) for number in ticks}
    target = Subject("target", gone)
    with store.write() as conn:
        machines.write_now(conn, [now(number, ids[0], NOW_MS) for number in ticks])
        machines.write_boots(conn, [(number, "boot", 1, NOW_MS) for number in ticks])
        for subject in (*subjects.values(), target):
            key = StateKey(subject, "cpu", HEADLINE)
            states.write_many(conn, [(key, State())])
            transitions.insert_many(conn, [Transition(key, Verdict.UP, Verdict.DOWN, 5, 5, "")], 5)
        machines.delete(conn, gone, NOW_MS)
    before = list(keeper.purge_machines(store, NOW_MS + keeper.PURGE_AFTER_MS))
    assert before == [], "somebody may still be writing for it"
    for _ in keeper.purge_machines(store, NOW_MS + keeper.PURGE_AFTER_MS + 1):
        pass
    of_machines = (tables.samples, tables.late_samples, *TIERS, tables.machine_now, tables.machine_boots)
    with store.read() as conn:
        for table in of_machines:
            assert set(conn.execute(select(table.c.machine_id)).scalars()) == {stays}, table.name
        assert list(conn.execute(select(tables.machines.c.id)).scalars()) == [stays]
        left = {
            (kind, number)
            for table in (tables.states, tables.transitions)
            for kind, number in conn.execute(select(table.c.subject_kind, table.c.subject_id))
        }
    assert left == {(MACHINE, stays), ("target", gone)}
    check_all(store, ticks[stays], ids, stays)


def test_boots_go_but_for_the_newest_of_each_machine(store: Store) -> None:
    register(store, "a", "b")
    old_ms = NOW_MS - KEPT.hours_ms - 1
    with store.write() as conn:
        machines.write_boots(
            conn,
            [(1, "old", 5, old_ms), (1, "new", 6, NOW_MS), (1, "kept", 6, old_ms + 1), (2, "only", 9, old_ms)],
        )
    trim(store, KEPT, NOW_MS)
    with store.read() as conn:
        assert set(machines.boots(conn, [1, 2])) == {(1, "new"), (1, "kept"), (2, "only")}


def test_the_newest_of_a_layout_goes_when_the_machine_uses_others(store: Store) -> None:
    register(store, "a", "b")
    old_ms = NOW_MS - KEPT.ticks_ms - 1
    with store.write() as conn:
        machines.write_now(conn, [now(1, 1, old_ms), now(1, 2, NOW_MS), now(1, 3, old_ms + 1)])
        machines.write_now(conn, [now(2, 1, old_ms), now(2, 2, old_ms)])
    trim(store, KEPT, NOW_MS)
    with store.read() as conn:
        there = [(row.machine_id, row.layout_id) for row in machines.now_of(conn)]
    assert there == [(1, 2), (1, 3), (2, 1), (2, 2)]


def partition_names(store: Store) -> list[str]:
    with store.read() as conn:
        there = partitions.days(conn, "samples") if partitions.used_for_samples(conn) else []
    return [part.name for part in there]


def test_layouts_go_when_no_document_is_in_them(store: Store) -> None:
    register(store, "a")
    used, unused = layout_ids(store)
    vector = np.array([1, 2], "<f4").tobytes()
    store_ticks(store, [Tick(1, HOUR - HOUR_MS, used, vector)])
    seal(store)
    for _ in keeper.drop_sealed_samples(store, lambda: NOW_MS, dict.fromkeys(partition_names(store), 0)):
        pass
    trim(store, KEPT, NOW_MS)
    last_ms = NOW_MS + KEPT.hours_ms

    def there(at_ms: int) -> set[int]:
        for _ in keeper.seal_samples(store, at_ms):
            pass
        trim(store, KEPT, at_ms)
        with store.read() as conn:
            return set(samples.layouts(conn, [used, unused]))

    assert there(last_ms) == {used, unused}
    with store.write() as conn:
        machines.write_now(conn, [now(1, used, NOW_MS)])
    assert there(last_ms + 2 * DAY_MS) == {used}, "one that a machine uses now stays"
    with store.write() as conn:
        conn.execute(tables.machine_now.delete())
        store_late = insert(tables.late_samples).values(machine_id=1, at_ms=5, layout_id=used, vector=b"")
        conn.execute(store_late)
    assert there(last_ms + 2 * DAY_MS) == {used}
    with store.write() as conn:
        conn.execute(tables.late_samples.delete())
    assert there(last_ms + 2 * DAY_MS) == set()


def test_the_keeper_seals_an_hour_two_minutes_after_its_end(store: Store) -> None:
    register(store, "a")
    ids = layout_ids(store)
    ticks = history(1, ids)
    store_ticks(store, ticks)
    clock = FakeClock(HOUR + 2 * MINUTE_MS - 1)
    keeps = Keeper(store=store, clock=clock, retention=Retention(), samples=KEPT)
    sum(keeps.round())
    assert hours_of(store, tables.sample_hours)[-1] == HOUR - 2 * HOUR_MS
    clock.tick(0.001)
    sum(keeps.round())
    assert hours_of(store, tables.sample_hours)[-1] == HOUR - HOUR_MS
    store_ticks(store, [tick._replace(at_ms=tick.at_ms + 1) for tick in ticks])
    sum(keeps.round())
    assert waiting(store) == 0
    clock.tick(keeper.TIDY_EVERY_MS / 1000)
    sum(keeps.round())
    with store.read() as conn:
        if partitions.used_for_samples(conn):
            there = [part.start_ms for part in partitions.days(conn, "samples") if part.used]
            assert there == [HOUR], "the sealed ones are dropped"


def test_one_chore_that_fails_stops_no_other(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    register(store, "a")
    store_ticks(store, history(1, layout_ids(store)))

    def fails(*_: object) -> Iterator[int]:
        yield from map(int, ["cannot be read"])

    monkeypatch.setattr(keeper, "fold", fails)
    keeps = Keeper(store=store, clock=FakeClock(NOW_MS), retention=Retention(), samples=KEPT)
    with pytest.raises(ValueError, match="cannot be read"):
        sum(keeps.round())
    assert len(hours_of(store, tables.sample_hours)) == 3


def test_a_damaged_block_is_logged_once(store: Store) -> None:
    register(store, "a")
    ticks = history(1, layout_ids(store))
    store_ticks(store, ticks[::2])
    keeps = Keeper(store=store, clock=FakeClock(NOW_MS), retention=Retention(), samples=KEPT)
    sum(keeps.round())
    with store.write() as conn:
        conn.execute(update(tables.sample_blocks).values(document=b"odd"))
    store_ticks(store, ticks[1::2])
    for _ in range(3):
        sum(keeps.round())
    assert len(keeps._said) == 4, "three hours, and in one of them two layouts"
