"""Days of history on PostgreSQL: made by whoever needs one, dropped beside those who write, read by an index."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from sqlalchemy import select, text

from tests.contract.rows import add_targets, check
from tocsin.core.rollup import DAY_MS, HOUR_MS
from tocsin.services import keeper
from tocsin.store import blocks, checks, evidence, installation, marks, partitions, tables
from tocsin.store.checks import CheckRow
from tocsin.store.engine import Store, StoreBusy

DAY = 20_000
MORNING_MS = DAY * DAY_MS + 8 * HOUR_MS


@pytest.fixture
def store(postgres_url: str) -> Iterator[Store]:
    opened = Store(postgres_url, busy_timeout_s=0.3, statement_timeout_s=20)
    yield opened
    opened.close()


def days(store: Store, table: str = "checks") -> list[int]:
    with store.read() as conn:
        return [day.start_ms // DAY_MS for day in partitions.days(conn, table)]


def add(store: Store, *rows: CheckRow) -> int:
    with store.write() as conn:
        return checks.insert_many(conn, rows)


def stored(store: Store, target_id: int = 1) -> list[int]:
    with store.read() as conn:
        return [row.at_ms for row in checks.of_target(conn, target_id, from_ms=0, to_ms=2**53, limit=100_000)]


def run(store: Store, now_ms: int) -> int:
    return sum(keeper.make_partitions(store, now_ms))


def test_there_are_partitions_for_today_and_a_week_from_the_beginning(store: Store) -> None:
    with store.read() as conn:
        assert installation.get(conn, "time_tables") == "partitions"
        today = conn.execute(text("SELECT extract(epoch FROM now())::bigint / 86400")).scalar_one()
    for table in partitions.TABLES:
        found = days(store, table)
        assert found in ([*range(today, today + 8)], [*range(today - 1, today + 7)])  # midnight may lie between


def test_the_keeper_makes_those_to_come(store: Store) -> None:
    before = days(store)
    run(store, MORNING_MS)
    coming = list(range(DAY, DAY + keeper.DAYS_AHEAD + 1))
    for table in partitions.TABLES:
        assert [day for day in days(store, table) if day not in before] == coming
    assert run(store, MORNING_MS) == 0
    assert run(store, MORNING_MS + DAY_MS) == len(partitions.TABLES)


def test_rows_of_any_day_are_stored(store: Store) -> None:
    """A remote location replays what it had kept; a clock is off by a century."""
    times = [0, MORNING_MS, MORNING_MS - 9 * DAY_MS, MORNING_MS + 36_525 * DAY_MS, 2**52]
    assert add(store, *(check(1, at_ms) for at_ms in times)) == len(times)
    assert stored(store) == sorted(times, reverse=True)
    with store.write() as conn:
        evidence.insert_many(conn, [((1, at_ms, 1), {"at": at_ms}) for at_ms in times])
    with store.read() as conn:
        assert [evidence.get(conn, (1, at_ms, 1)) for at_ms in times] == [{"at": at_ms} for at_ms in times]


def test_a_day_is_made_by_several_at_once(store: Store, postgres_url: str) -> None:
    count, gate = 6, threading.Barrier(6)

    def write(number: int) -> int:
        own = Store(postgres_url)
        try:
            gate.wait()
            return add(own, *(check(number, MORNING_MS + day * DAY_MS) for day in range(5)))
        finally:
            own.close()

    with ThreadPoolExecutor(count) as threads:
        assert list(threads.map(write, range(1, count + 1))) == [5] * count
    assert set(range(DAY, DAY + 5)) <= set(days(store))
    for number in range(1, count + 1):
        assert len(stored(store, number)) == 5


def test_who_makes_a_day_keeps_nobody_from_writing_to_another(store: Store) -> None:
    add(store, check(1, MORNING_MS))
    with store.write() as conn:
        checks.insert_many(conn, [check(1, MORNING_MS + DAY_MS)])
        assert add(store, check(1, MORNING_MS + 1)) == 1
        assert stored(store) == [MORNING_MS + 1, MORNING_MS]
    assert stored(store)[0] == MORNING_MS + DAY_MS


def test_a_day_begun_and_rolled_back_is_made_by_the_next(store: Store) -> None:
    def fail() -> None:
        with store.write() as conn:
            checks.insert_many(conn, [check(1, MORNING_MS)])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert DAY not in days(store)
    assert add(store, check(1, MORNING_MS)) == 1


def test_numbers_too_large_for_the_key_are_refused(store: Store) -> None:
    for row in (check(partitions.LARGEST_TARGET_ID + 1, 5), check(1, 5, location_id=1024)):
        with pytest.raises(ValueError, match="numbers up to"):
            add(store, row)


# ── dropping ──────────────────────────────────────────────────────────────────────────────────────────


def drop(store: Store, day: int) -> None:
    with store.statements() as conn:
        name = next(one.name for one in partitions.days(conn, "checks") if one.start_ms == day * DAY_MS)
        partitions.drop(conn, "checks", name)


def test_while_a_day_is_dropped_others_read_and_write(store: Store, postgres_url: str) -> None:
    """A reader who may still look into it keeps the drop waiting, and nobody else."""
    add(store, check(1, MORNING_MS), check(1, MORNING_MS + DAY_MS))
    with psycopg.connect(postgres_url) as reader:
        assert reader.execute("SELECT count(*) FROM checks").fetchone() == (2,)
        dropping = Store(postgres_url)
        thread = threading.Thread(target=drop, args=(dropping, DAY))
        thread.start()
        with psycopg.connect(postgres_url, autocommit=True) as other:
            while not other.execute("SELECT 1 FROM pg_inherits WHERE inhdetachpending").fetchone():
                pass
        for number in range(1, 20):
            assert add(store, check(1, MORNING_MS + DAY_MS + number)) == 1
        assert len(stored(store)) == 20
        assert thread.is_alive()
    thread.join()
    dropping.close()
    assert DAY not in days(store)


@pytest.mark.parametrize("until", ["COMMENT", "DETACH", "DROP"])
def test_a_drop_cut_off_anywhere_is_ended_by_the_keeper(store: Store, postgres_url: str, until: str) -> None:
    add(store, check(1, MORNING_MS), check(1, MORNING_MS + DAY_MS))
    name = f"checks_{_date(DAY)}"
    hasty = Store(postgres_url, statement_timeout_s=0.3)

    def begin() -> None:
        if until == "DETACH":
            drop(hasty, DAY)
            return
        with store.statements() as conn:
            conn.execute(text(f"COMMENT ON TABLE {name} IS 'being dropped by Tocsin'"))
            if until == "DROP":
                conn.execute(text(f"ALTER TABLE checks DETACH PARTITION {name} CONCURRENTLY"))

    with psycopg.connect(postgres_url) as reader:
        if until == "DETACH":  # it waits for this one, and is cut off by its own timeout
            reader.execute("SELECT count(*) FROM checks")
            with pytest.raises(StoreBusy):
                begin()
        else:
            begin()
    hasty.close()
    run(store, MORNING_MS + DAY_MS)
    with store.read() as conn:
        there = conn.execute(text("SELECT to_regclass(:name)"), {"name": name}).scalar()
    assert (there is None) == (until != "COMMENT"), "what was only meant to be dropped is dropped by who meant it"
    if until == "COMMENT":
        drop(store, DAY)
    assert stored(store) == [MORNING_MS + DAY_MS]


def _date(day: int) -> str:
    return {20_000: "2024_10_04"}[day]


def test_a_table_somebody_detached_to_keep_is_left_alone(store: Store) -> None:
    add(store, check(1, MORNING_MS))
    name = f"checks_{_date(DAY)}"
    with store.statements() as conn:
        conn.execute(text(f"ALTER TABLE checks DETACH PARTITION {name} CONCURRENTLY"))
    run(store, MORNING_MS + DAY_MS)
    with store.read() as conn:
        assert conn.execute(text(f"SELECT count(*) FROM {name}")).scalar() == 1


def test_days_past_their_time_are_dropped_not_emptied(store: Store) -> None:
    with store.write() as conn:
        add_targets(conn, 1)
        rows = [check(1, MORNING_MS + hours * HOUR_MS) for hours in range(-75, 0, 5)]
        checks.insert_many(conn, rows)
        evidence.insert_many(conn, [((1, row.at_ms, 1), {}) for row in rows])
    now_ms = MORNING_MS
    for chore in (keeper.fold(store, now_ms), keeper.trim(store, keeper.Retention(checks_ms=2 * DAY_MS), now_ms)):
        for _ in chore:
            pass
    assert min(days(store)) == DAY - 2
    assert min(days(store, "evidence")) == DAY - 2
    assert stored(store)[-1] >= (DAY - 2) * DAY_MS


# ── reading and room ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def busy(store: Store) -> Store:
    """Two hours of 1,000 targets, as they come: 84,000 checks, of which some failed."""
    with store.write() as conn:
        add_targets(conn, *range(1, 1_001))
    for begin_ms in range(MORNING_MS, MORNING_MS + 84 * 60_000, 60_000):
        rows = [
            check(number, begin_ms + number * 7919 % 300 * 200, phases_us=(900, 4_000, 9_000, 15_000, 1_000))
            for number in range(1, 1_001)
        ]
        rows.sort(key=lambda row: row.at_ms)
        add(store, *rows)
    with store.statements() as conn:
        conn.execute(text("ANALYZE checks"))
    return store


def test_room_and_ways_to_read(busy: Store) -> None:
    name = f"checks_{_date(DAY)}"
    with busy.read() as conn:
        size_bytes = conn.execute(text("SELECT pg_total_relation_size(:name)"), {"name": name}).scalar_one()
        assert size_bytes / 84_000 < 110
        index = f"uq_{name}"
        for statement in (
            select(checks.within(conn, [7], MORNING_MS, MORNING_MS + HOUR_MS)),  # a page, a chart
            select(checks.within(conn, None, MORNING_MS + HOUR_MS, MORNING_MS + HOUR_MS + 60_000)),  # a fold
            select(checks.within(conn, list(range(1, 1_001)), MORNING_MS, MORNING_MS + DAY_MS)),  # packing
        ):
            compiled = statement.compile(conn, compile_kwargs={"render_postcompile": True})
            explained = conn.exec_driver_sql(f"EXPLAIN {compiled}", compiled.params)
            plan = "\n".join(explained.scalars())
            assert index in plan, plan
            assert f"Seq Scan on {name}" not in plan, plan
    assert len(stored(busy, 7)) == 84


def test_what_is_packed_takes_a_third_of_that_at_most(busy: Store) -> None:
    for chore in (
        keeper.fold(busy, MORNING_MS + DAY_MS),
        keeper.pack(busy, keeper.Retention(unpacked_ms=0), lambda: MORNING_MS + DAY_MS, {}),
    ):
        for _ in chore:
            pass
    name = f"check_blocks_{_date(DAY)}"
    with busy.read() as conn:
        size_bytes = conn.execute(text("SELECT pg_total_relation_size(:name)"), {"name": name}).scalar_one()
        packed = sum(conn.execute(select(tables.check_blocks.c.checks)).scalars())
        assert len(blocks.within(conn, [7], 0, 2**53)) == 84
        assert marks.read(conn).packed_ms == (DAY + 1) * DAY_MS
    assert packed == 84_000
    assert size_bytes / packed < 37
