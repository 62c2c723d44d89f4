"""The keeper's chores, and that cutting them off anywhere changes nothing."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from itertools import islice

import pytest
from sqlalchemy import Table, func, insert, select, update

from tests.clocks import FakeClock
from tests.contract.rows import add_targets, check, key
from tests.servers import until
from tocsin.core.decide import State, Transition, Verdict
from tocsin.core.outcome import CERTIFICATE, Result
from tocsin.core.rollup import DAY_MS, HOUR_MS
from tocsin.core.target import TARGET
from tocsin.services import keeper
from tocsin.services.keeper import Keeper, Retention
from tocsin.store import checks, evidence, leases, marks, partitions, rollups, states, tables, transitions
from tocsin.store.engine import Store
from tocsin.store.marks import Marks

NOW_MS = 20_000 * DAY_MS + 9 * HOUR_MS
EVERYTHING = Retention()


def work(steps: Iterator[int]) -> int:
    return sum(steps)


def contents(store: Store, *of: Table) -> dict[str, list[tuple[object, ...]]]:
    """Every row of these tables (none named: of all), to be compared."""
    with store.read() as conn:
        return {
            table.name: sorted((tuple(row) for row in conn.execute(select(table))), key=repr)
            for table in of or tables.metadata.sorted_tables
        }


def times(store: Store, table: Table, column: str = "at_ms") -> list[int]:
    with store.read() as conn:
        return list(conn.execute(select(table.c[column]).order_by(table.c[column])).scalars())


def kept_since(store: Store, at_ms: int) -> int:
    """From when on checks of every 20 minutes are kept that may go before ``at_ms``: partitions go as a whole."""
    with store.read() as conn:
        return at_ms if partitions.time_tables(conn) == "plain" else at_ms - at_ms % DAY_MS


def some_history(store: Store, *target_ids: int) -> None:
    """Three days of checks, every 20 minutes, with evidence for what failed."""
    rows = [
        check(target_id, at_ms, Result.FAILED if at_ms // 1_200_000 % 9 == 0 else Result.PASSED)
        for target_id in target_ids
        for at_ms in range(NOW_MS - 3 * DAY_MS, NOW_MS, 1_200_000)
    ]
    with store.write() as conn:
        checks.insert_many(conn, rows)
        evidence.insert_many(
            conn,
            [((row.target_id, row.at_ms, 1), {"at": row.at_ms}) for row in rows if row.result == Result.FAILED],
        )


@pytest.mark.parametrize("cut", range(1, 9))
def test_folding_may_be_cut_off_between_any_two_steps(store: Store, cut: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollups, "_MOST_RAW", 60)
    monkeypatch.setattr(keeper, "TARGETS_AT_ONCE", 1)
    with store.write() as conn:
        add_targets(conn, 1, 2)
    some_history(store, 1, 2)
    for _ in range(50):  # always a few steps, and then it is killed
        list(islice(keeper.fold(store, NOW_MS), cut))
        list(islice(keeper.seal_days(store), cut + 2))
    work(keeper.fold(store, NOW_MS))
    work(keeper.seal_days(store))
    in_steps = contents(store, tables.check_hours, tables.check_days)
    with store.write() as conn:
        conn.execute(tables.check_hours.delete())
        conn.execute(tables.check_days.delete())
        conn.execute(tables.rollup_marks.update().values(through_ms=0))
    monkeypatch.undo()
    work(keeper.fold(store, NOW_MS))
    work(keeper.seal_days(store))
    assert in_steps == contents(store, tables.check_hours, tables.check_days)
    assert len(in_steps["check_days"]) == 2 * 3


def test_a_day_is_begun_anew_when_something_was_folded_meanwhile(store: Store) -> None:
    with store.write() as conn:
        add_targets(conn, 1)
    some_history(store, 1)
    work(keeper.fold(store, NOW_MS))
    steps = keeper.seal_days(store)
    assert next(steps) == 1
    with store.write() as conn:
        checks.insert_many(conn, [check(1, NOW_MS - 3 * DAY_MS + 1)])
    assert work(keeper.fold(store, NOW_MS)) > 0
    assert list(steps) == []
    work(keeper.seal_days(store))
    with store.read() as conn:
        days = conn.execute(select(func.sum(tables.check_days.c.checks))).scalar()
        hours = conn.execute(
            select(func.sum(tables.check_hours.c.checks)).where(
                tables.check_hours.c.start_ms < marks.read(conn).days_ms
            )
        ).scalar()
    assert days == hours


def test_each_tier_is_kept_for_its_time(store: Store) -> None:
    with store.write() as conn:
        add_targets(conn, 1)
        conn.execute(
            insert(tables.heartbeat_pings),
            [{"target_id": 1, "at_ms": NOW_MS - hours * HOUR_MS, "kind": "success"} for hours in (1, 30, 60)],
        )
    some_history(store, 1)
    work(keeper.fold(store, NOW_MS))
    work(keeper.seal_days(store))
    kept = Retention(checks_ms=DAY_MS, hours_ms=2 * DAY_MS, days_ms=round(2.5 * DAY_MS))
    removed = work(keeper.trim(store, kept, NOW_MS))
    assert removed > 0
    assert times(store, tables.checks)[0] == kept_since(store, NOW_MS - DAY_MS)
    assert times(store, tables.evidence)[0] >= kept_since(store, NOW_MS - DAY_MS)
    assert times(store, tables.heartbeat_pings) == [NOW_MS - HOUR_MS]
    assert times(store, tables.check_hours, "start_ms")[0] == NOW_MS - 2 * DAY_MS
    assert times(store, tables.check_days, "start_ms")[0] > NOW_MS - 2.5 * DAY_MS
    assert work(keeper.trim(store, kept, NOW_MS)) == 0


def test_a_check_that_no_hour_holds_yet_is_never_removed(store: Store) -> None:
    with store.write() as conn:
        add_targets(conn, 1)
    some_history(store, 1)
    before = times(store, tables.checks)
    work(keeper.trim(store, Retention(checks_ms=HOUR_MS), NOW_MS))
    assert times(store, tables.checks) == before
    work(keeper.fold(store, NOW_MS))
    hours = times(store, tables.check_hours, "start_ms")
    work(keeper.trim(store, Retention(checks_ms=HOUR_MS, hours_ms=HOUR_MS), NOW_MS))
    assert times(store, tables.checks)[0] == kept_since(store, NOW_MS - HOUR_MS)
    assert times(store, tables.check_hours, "start_ms") == hours, "their day is not sealed"


def test_rows_are_removed_a_few_at_a_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "ROWS_AT_ONCE", 50)
    with store.write() as conn:
        add_targets(conn, 1, 2, 3)
    some_history(store, 1, 2, 3)
    work(keeper.fold(store, NOW_MS))
    work(keeper.seal_days(store))
    steps = list(keeper.trim(store, Retention(hours_ms=HOUR_MS), NOW_MS))
    assert max(steps) == 50
    assert len(times(store, tables.check_hours, "start_ms")) == 3 * 9


def test_a_deleted_target_leaves_nothing_behind_and_others_stay(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "ROWS_AT_ONCE", 50)
    with store.write() as conn:
        add_targets(conn, 1)
        add_targets(conn, 2, deleted_ms=NOW_MS - keeper.PURGE_AFTER_MS - 1)
        add_targets(conn, 3, deleted_ms=NOW_MS - keeper.PURGE_AFTER_MS + 1)
        for number in (1, 2, 3):
            conn.execute(insert(tables.heartbeat_tokens).values(token=f"token {number}", target_id=number))
            conn.execute(insert(tables.heartbeat_pings).values(target_id=number, at_ms=5, kind="start"))
            parents = [{"target_id": number, "parent_id": other} for other in (1, 2, 3) if other != number]
            conn.execute(insert(tables.target_parents), parents)
            conn.execute(
                insert(tables.certificates).values(
                    target_id=number, location_id=1, seen_ms=1, expires_ms=2, document=b""
                )
            )
        names = [
            key(number, rule, place) for number in (1, 2, 3) for rule in ("reachable", CERTIFICATE) for place in (0, 1)
        ]
        states.write_many(conn, [(name, State()) for name in names])
        turns = [Transition(name, Verdict.UP, Verdict.DOWN, at_ms, at_ms, "") for name in names for at_ms in range(90)]
        transitions.insert_many(conn, turns, 0)
    some_history(store, 1, 2, 3)
    work(keeper.fold(store, NOW_MS))
    work(keeper.seal_days(store))
    work(keeper.pack(store, Retention(unpacked_ms=0), lambda: NOW_MS - DAY_MS, {}))
    with store.write() as conn:
        checks.insert_many(conn, [check(number, NOW_MS - HOUR_MS + 7) for number in (1, 2, 3)])
    steps = keeper.purge(store, NOW_MS)
    list(islice(steps, 4))  # cut off on the way; the next one ends it
    work(keeper.purge(store, NOW_MS))
    with store.read() as conn:
        packs = partitions.time_tables(conn) != "timescaledb"
    without = {tables.delivery_attempts, tables.notices, *([] if packs else [tables.check_blocks])}
    for table in tables.metadata.sorted_tables:
        for column in {"target_id", "subject_id", "parent_id"} & set(table.c.keys()):
            if table not in without:
                assert set(times(store, table, column)) == {1, 3}, table.name
    assert times(store, tables.targets, "id") == [1, 3]


def test_sessions_that_have_run_out_go(store: Store) -> None:
    with store.write() as conn:
        conn.execute(insert(tables.users).values(id=1, name="a", password_hash="", scopes=[], created_ms=0))
        for number, expires_ms in enumerate([NOW_MS - 1, NOW_MS, NOW_MS + 1]):
            conn.execute(
                insert(tables.sessions).values(
                    token_hash=bytes([number]), user_id=1, created_ms=0, seen_ms=0, expires_ms=expires_ms
                )
            )
    work(keeper.expire(store, EVERYTHING, NOW_MS))
    assert times(store, tables.sessions, "expires_ms") == [NOW_MS + 1]


def test_old_messages_go_but_not_the_news_of_what_still_lasts(store: Store) -> None:
    old_ms, recent_ms = NOW_MS - 91 * DAY_MS, NOW_MS - 89 * DAY_MS
    with store.write() as conn:
        over, lasting = transitions.insert_many(
            conn,
            [
                Transition(key(1), Verdict.UP, Verdict.DOWN, old_ms, old_ms, ""),
                Transition(key(2), Verdict.UP, Verdict.DOWN, old_ms, old_ms, ""),
            ],
            old_ms,
        )
        transitions.insert_many(conn, [Transition(key(1), Verdict.DOWN, Verdict.UP, old_ms, old_ms, "")], old_ms)
        for number, finished_ms in enumerate([old_ms, old_ms, recent_ms, None], start=1):
            conn.execute(
                insert(tables.notifications).values(
                    id=number,
                    delivery_key=str(number),
                    channel_id=1,
                    title="",
                    message={},
                    status="delivered",
                    attempts=1,
                    created_ms=old_ms,
                    next_attempt_ms=old_ms,
                    finished_ms=finished_ms,
                )
            )
            conn.execute(
                insert(tables.delivery_attempts).values(
                    notification_id=number, at_ms=old_ms, duration_ms=1, ok=True, detail=""
                )
            )
        for number, (transition_id, created_ms, notification_id) in enumerate(
            [(over, old_ms, 1), (lasting, old_ms, 2), (over, recent_ms, 3), (over, old_ms, None)], start=1
        ):
            conn.execute(
                insert(tables.notices).values(
                    id=number,
                    rule_id=1,
                    channel_id=number,
                    transition_id=transition_id,
                    event="down",
                    created_ms=created_ms,
                    notification_id=notification_id,
                )
            )
    work(keeper.expire(store, EVERYTHING, NOW_MS))
    assert times(store, tables.notifications, "id") == [3, 4]
    assert times(store, tables.delivery_attempts, "notification_id") == [3, 4]
    assert times(store, tables.notices, "id") == [2, 3, 4]


def standing(store: Store) -> Marks:
    with store.read() as conn:
        return marks.read(conn)


def test_one_keeper_works_and_the_other_takes_over(store: Store) -> None:
    with store.write() as conn:
        add_targets(conn, 1)
    clock = FakeClock(NOW_MS)
    first, second = (Keeper(store=store, clock=clock, retention=EVERYTHING) for _ in range(2))
    some_history(store, 1)
    assert work(first.round()) > 0
    clock.tick(60)
    assert list(second.round()) == []
    assert standing(store).hours_ms == NOW_MS - rollups.GRACE_MS
    clock.tick(keeper.LEASE_MS / 1000)
    list(second.round())
    assert standing(store).hours_ms == clock.now_ms() - rollups.GRACE_MS
    assert list(first.round()) == []


def test_a_keeper_that_lost_its_lease_in_a_long_round_stops(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollups, "_MOST_RAW", 20)
    with store.write() as conn:
        add_targets(conn, 1)
    some_history(store, 1)
    clock = FakeClock(NOW_MS)
    steps = Keeper(store=store, clock=clock, retention=EVERYTHING).round()
    next(steps)
    clock.tick(2 * keeper.LEASE_MS / 1000)
    with store.write() as conn:
        assert leases.take(conn, keeper.LEASE, "another", now_ms=clock.now_ms(), for_ms=keeper.LEASE_MS)
    assert list(steps) == []


def test_old_rows_are_looked_for_once_an_hour(store: Store) -> None:
    clock = FakeClock(NOW_MS)
    keeps = Keeper(store=store, clock=clock, retention=Retention(checks_ms=DAY_MS))
    with store.write() as conn:
        add_targets(conn, 1)
        conn.execute(insert(tables.heartbeat_pings).values(target_id=1, at_ms=NOW_MS - DAY_MS + 1, kind="log"))
    work(keeps.round())
    clock.tick(keeper.TIDY_EVERY_MS / 1000 - 60)
    work(keeps.round())
    assert len(times(store, tables.heartbeat_pings)) == 1
    clock.tick(120)
    work(keeps.round())
    assert times(store, tables.heartbeat_pings) == []


def after_rounds(keeps: Keeper, count: int, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set when that many rounds have ended, one way or the other."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    ended = itertools.count(1)
    original = keeps.round

    def watched() -> Iterator[int]:
        try:
            yield from original()
        finally:
            if next(ended) == count:
                loop.call_soon_threadsafe(done.set)

    monkeypatch.setattr(keeps, "round", watched)
    return done


async def test_the_loop_works_and_gives_the_lease_back_when_it_stops(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.write() as conn:
        add_targets(conn, 1)
    some_history(store, 1)
    keeps = Keeper(store=store, clock=FakeClock(NOW_MS), retention=EVERYTHING)
    stop, done = asyncio.Event(), after_rounds(keeps, 1, monkeypatch)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(keeps.run(stop))
        await done.wait()
        stop.set()
    assert standing(store).hours_ms == NOW_MS - rollups.GRACE_MS
    with store.write() as conn:
        assert leases.take(conn, keeper.LEASE, "another", now_ms=NOW_MS, for_ms=1)


async def test_the_loop_outlives_a_database_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "EVERY_S", 0.01)
    store = Store("postgresql://tocsin@127.0.0.1:9/tocsin")  # discard: nothing listens there
    keeps = Keeper(store=store, clock=FakeClock(NOW_MS), retention=EVERYTHING)
    stop, done = asyncio.Event(), after_rounds(keeps, 3, monkeypatch)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(keeps.run(stop))
        await done.wait()
        stop.set()
    store.close()


async def test_the_loop_outlives_a_row_it_cannot_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "EVERY_S", 0)
    with store.write() as conn:
        add_targets(conn, 1)
    some_history(store, 1)
    work(keeper.fold(store, NOW_MS - 30 * 60_000))  # in the middle of an hour, which the next fold adds to
    hour = tables.check_hours.c
    with store.write() as conn:
        last_ms = conn.execute(select(func.max(hour.start_ms))).scalar_one()
        whole = conn.execute(select(hour.sketch).where(hour.start_ms == last_ms)).scalar_one()
        conn.execute(update(tables.check_hours).where(hour.start_ms == last_ms).values(sketch=b"odd"))
    working = Keeper(store=store, clock=FakeClock(NOW_MS), retention=EVERYTHING)
    with pytest.raises(ValueError, match="buffer"):
        work(working.round())
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(working.run(stop))
        await asyncio.sleep(0.1)  # a few rounds that fail
        with store.write() as conn:
            conn.execute(update(tables.check_hours).where(hour.start_ms == last_ms).values(sketch=whole))
        await until(lambda: folded_ms(store) >= NOW_MS - rollups.GRACE_MS)
        stop.set()


def folded_ms(store: Store) -> int:
    with store.read() as conn:
        return marks.read(conn).hours_ms


def test_subjects_of_other_kinds_are_not_touched_by_a_purge(store: Store) -> None:
    machine = key(2)._replace(subject=key(2).subject._replace(kind="machine"))
    with store.write() as conn:
        add_targets(conn, 2, deleted_ms=1)
        states.write_many(conn, [(machine, State()), (key(2), State())])
        transitions.insert_many(conn, [Transition(machine, Verdict.UP, Verdict.DOWN, 5, 5, "")], 5)
    work(keeper.purge(store, NOW_MS))
    with store.read() as conn:
        assert set(conn.execute(select(tables.states.c.subject_kind)).scalars()) == {"machine"}
        assert transitions.of_subject(conn, machine.subject, from_ms=0, to_ms=9) != []
        assert machine.subject.kind != TARGET
