"""Samples on PostgreSQL: partitions of hours and days, when they go, and what a fresh point takes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest
from sqlalchemy import text, update

from bench.machines import realistic
from tests.contract.test_sealing import (
    HOUR,
    NOW_MS,
    check_all,
    damage,
    history,
    insert,
    layout_ids,
    register,
    seal,
)
from tocsin.core.rollup import DAY_MS, HOUR_MS
from tocsin.services import keeper
from tocsin.store import machines, partitions, samples, sealing, tables
from tocsin.store.engine import Store
from tocsin.store.samples import Tick
from tocsin.store.sealing import Kept


@pytest.fixture
def store(postgres_url: str) -> Iterator[Store]:
    opened = Store(postgres_url)
    yield opened
    opened.close()


def starts(store: Store, table: str) -> list[int]:
    with store.read() as conn:
        return [part.start_ms for part in partitions.days(conn, table)]


def test_there_are_partitions_from_the_beginning_and_the_keeper_makes_those_to_come(store: Store) -> None:
    with store.read() as conn:
        now_ms = conn.execute(text("SELECT (extract(epoch FROM now()) * 1000)::bigint")).scalar_one()
    for table in partitions.SAMPLE_TABLES:
        each_ms = partitions.length_ms(table)
        ahead = (6 if each_ms == HOUR_MS else 7) + 1
        found = starts(store, table)
        assert found == list(range(found[0], found[0] + ahead * each_ms, each_ms))
        assert 0 <= now_ms - found[0] < 2 * each_ms  # an hour may have ended between
    assert sum(keeper.make_sample_partitions(store, NOW_MS)) == 7 + 3 * 8
    assert sum(keeper.make_sample_partitions(store, NOW_MS)) == 0
    assert HOUR + 6 * HOUR_MS in starts(store, "samples")
    assert NOW_MS - NOW_MS % DAY_MS + 7 * DAY_MS in starts(store, "sample_hours")


def test_an_hour_goes_when_it_is_sealed_and_nobody_can_be_reading_it(store: Store) -> None:
    register(store, "a")
    ids = layout_ids(store)
    ticks = history(1, ids)
    insert(store, ticks)
    seal(store)
    now_ms, sealed = NOW_MS, dict[str, int]()

    def drop() -> list[int]:
        for _ in keeper.drop_sealed_samples(store, lambda: now_ms, sealed):
            pass
        return [start_ms for start_ms in starts(store, "samples") if start_ms < NOW_MS]

    assert len(drop()) == 4
    now_ms += keeper.READS_END_MS - 1
    assert len(drop()) == 4
    now_ms += 1
    assert drop() == [HOUR]
    assert sealed == {}
    check_all(store, ticks, ids)


def test_days_of_documents_go_as_a_whole(store: Store) -> None:
    register(store, "a")
    ids = layout_ids(store)
    ticks = [tick._replace(at_ms=tick.at_ms - 9 * HOUR_MS) for tick in history(1, ids)]
    insert(store, ticks)
    seal(store)
    today_ms = NOW_MS - NOW_MS % DAY_MS
    for now_ms, blocks in [
        (today_ms + DAY_MS - 1, [today_ms - DAY_MS, today_ms]),
        (today_ms + DAY_MS, [today_ms]),
    ]:
        for _ in keeper.trim_samples(store, Kept(ticks_ms=DAY_MS), now_ms):
            pass
        assert [start_ms for start_ms in starts(store, "sample_blocks") if start_ms <= today_ms] == blocks
        assert today_ms - DAY_MS in starts(store, "sample_minutes")


def test_a_block_damaged_while_its_hour_is_sealed_is_made_anew(store: Store) -> None:
    register(store, "a")
    ids = layout_ids(store)
    ticks = history(1, ids)
    insert(store, ticks)
    list(islice(keeper.seal_samples(store, NOW_MS), 2))  # the first hour's documents are there, the mark is not moved
    with store.write() as conn:
        changed = conn.execute(update(tables.sample_blocks).values(document=b"odd")).rowcount
    assert changed == 1
    seal(store)
    check_all(store, ticks, ids)
    damage(store, tables.sample_blocks, 1)


def test_hours_are_made_by_several_at_once_and_of_any_time(store: Store) -> None:
    times = [HOUR + hour * HOUR_MS for hour in (0, 1, 400 * 24)]
    assert insert(store, [Tick(1, at_ms, 1, b"") for at_ms in times]) == 3
    with store.read() as conn:
        assert set(times) <= {part.start_ms for part in partitions.days(conn, "samples") if part.used is not None}
        name = next(part.name for part in partitions.days(conn, "samples") if part.start_ms == HOUR)
    assert name == "samples_2024_10_04_09"


def test_a_fresh_point_takes_six_bytes_at_most(store: Store) -> None:
    """With the key's index, of 100 series: 40 machines that report at once, for half an hour."""
    hour = realistic(ticks=360)
    assert len(hour.layout) == 100
    ids = [machine.id for number in range(40) for machine in [_machine(store, str(number))]]
    with store.write() as conn:
        (layout_id,) = samples.layout_ids(conn, [hour.layout])
    at_ms = HOUR + np.arange(360) * 5_000
    for moment, vector in zip(at_ms.tolist(), hour.values, strict=True):
        assert insert(store, [Tick(number, moment + number, layout_id, vector.tobytes()) for number in ids]) == 40
    with store.read() as conn:
        name = next(part.name for part in partitions.days(conn, "samples") if part.start_ms == HOUR)
        size = conn.execute(text("SELECT pg_total_relation_size(:name)"), {"name": name}).scalar_one()
    assert size / (40 * 360 * 100) < 6


def _machine(store: Store, uid: str) -> machines.MachineRow:
    with store.write() as conn:
        return machines.register(
            conn, uid=uid, name=uid, facts={}, tags=(), every_ms=5_000, version="", key_id=None, now_ms=0
        )


def test_a_machine_is_read_by_the_key_alone(store: Store) -> None:
    """No partition is read through, and only those of the time asked for are looked at."""
    register(store, "a")
    ids = layout_ids(store)
    insert(store, history(1, ids))
    sealing.through(NOW_MS)
    with store.read() as conn:
        conn.execute(text("SET LOCAL enable_seqscan = off"))
        statement = text("EXPLAIN SELECT vector FROM samples WHERE machine_id = 1 AND at_ms >= :begin AND at_ms < :end")
        lines = conn.execute(statement, {"begin": HOUR, "end": HOUR + HOUR_MS}).scalars().all()
    said = "\n".join(lines)
    assert "samples_2024_10_04_09_pkey" in said
    assert "samples_2024_10_04_08" not in said
