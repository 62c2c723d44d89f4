"""Packing changes no answer, wherever it is cut off; and what comes late for a packed day is kept, once."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from sqlalchemy import func, select

from tests.contract.rows import add_targets, check
from tocsin.core.outcome import Result
from tocsin.core.rollup import DAY_MS, HOUR_MS
from tocsin.lib import metrics
from tocsin.services import keeper
from tocsin.services.keeper import Retention
from tocsin.store import blocks, checks, evidence, marks, partitions, rollups, tables
from tocsin.store.blocks import BLOCK_MS
from tocsin.store.checks import CheckRow
from tocsin.store.engine import Store

TODAY_MS = 20_000 * DAY_MS
NOW_MS = TODAY_MS + 9 * HOUR_MS
TARGETS = (1, 2)
KEPT = Retention(unpacked_ms=0)


def history(seed: int = 1) -> list[CheckRow]:
    """Three days and a bit from two places, now and then with an extra look."""
    rng = random.Random(seed)
    rows = []
    for target_id in TARGETS:
        for place in (1, 2):
            for slot_ms in range(NOW_MS - 3 * DAY_MS + target_id * 7_000, NOW_MS, 2_300_000):
                result = rng.choices(list(Result), weights=[1, 10, 1, 1])[0]
                error = f"answered {rng.choice([500, 502, 'ü'])}" if result is Result.FAILED else None
                times = tuple(rng.choice([None, rng.randrange(90_000)]) for _ in range(5))
                latency_us = None if error else rng.randrange(500_000)
                rows.append(
                    check(
                        target_id,
                        slot_ms,
                        result,
                        latency_us=latency_us,
                        phases_us=times,
                        location_id=place,
                        error=error,
                    )
                )
                if error:
                    rows.append(check(target_id, slot_ms + 5_001, location_id=place))
    return rows


@pytest.fixture
def filled(store: Store) -> Store:
    with store.write() as conn:
        if partitions.time_tables(conn) == "timescaledb":
            pytest.skip("TimescaleDB compresses its chunks itself")
        add_targets(conn, *TARGETS)
        checks.insert_many(conn, history())
    return store


def fold(store: Store, now_ms: int = NOW_MS) -> None:
    for chore in (keeper.fold(store, now_ms), keeper.seal_days(store)):
        for _ in chore:
            pass


class Packing:
    """A keeper's packing, call by call; time passes between the calls."""

    def __init__(self, store: Store, kept: Retention = KEPT) -> None:
        self.store, self.kept = store, kept
        self.now_ms = NOW_MS
        self.packed: dict[str, int] = {}

    def steps(self) -> Iterator[int]:
        self.now_ms += keeper.READS_END_MS
        return keeper.pack(self.store, self.kept, lambda: self.now_ms, self.packed)

    def all(self) -> None:
        for _ in range(2):  # what is packed in the first is dropped in the second
            for _ in self.steps():
                pass


def rows_in(store: Store, table: str) -> int:
    with store.read() as conn:
        return int(conn.execute(select(func.count()).select_from(tables.metadata.tables[table])).scalar_one())


def everything(store: Store) -> list[object]:
    """What is answered about these targets, as far as single checks have a part in it."""
    answers: list[object] = []
    with store.read() as conn:
        for target_id in TARGETS:
            answers.append(pages(store, target_id, None, None, limit=97))
            answers.append(pages(store, target_id, [int(Result.FAILED)], 2, limit=7))
            for from_ms, to_ms in [
                (0, 2**53),
                (TODAY_MS - DAY_MS - 1, TODAY_MS + 1),
                (TODAY_MS - 2 * DAY_MS + 5 * HOUR_MS, TODAY_MS - 2 * DAY_MS + 7 * HOUR_MS),
            ]:
                answers.append(checks.of_target(conn, target_id, from_ms=from_ms, to_ms=to_ms, limit=100_000))
            answers += [
                rollups.series(conn, target_id, from_ms=end_ms - 20 * HOUR_MS, to_ms=end_ms)
                for end_ms in (NOW_MS, NOW_MS - 30 * HOUR_MS)
            ]
            answers.append(checks.first_ms(conn, target_id))
            answers.append(rollups.windows(conn, target_id, NOW_MS))
        answers.append(rollups.summaries(conn, None, NOW_MS))
    return answers


def pages(store: Store, target_id: int, results: list[int] | None, place: int | None, *, limit: int) -> list[CheckRow]:
    rows: list[CheckRow] = []
    with store.read() as conn:
        while page := checks.of_target(
            conn,
            target_id,
            from_ms=NOW_MS - 60 * HOUR_MS,
            to_ms=NOW_MS,
            limit=limit,
            before=(rows[-1].at_ms, rows[-1].location_id) if rows else None,
            results=results,
            location_id=place,
        ):
            rows += page
    return rows


def test_pages_hold_what_was_asked_for(filled: Store) -> None:
    expected = [
        row
        for row in history()
        if row.target_id == 2 and row.location_id == 2 and row.result == 0 and row.at_ms >= NOW_MS - 60 * HOUR_MS
    ]
    expected.sort(key=lambda row: row.at_ms, reverse=True)
    assert len(expected) > 5
    for _ in range(2):
        assert pages(filled, 2, [0], 2, limit=3) == expected
        fold(filled)
        Packing(filled).all()


def test_every_answer_is_the_same_at_every_step(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "ROWS_AT_ONCE", 60)
    monkeypatch.setattr(keeper, "CHECKS_AT_ONCE", 30)
    fold(filled)
    before = everything(filled)
    packing, steps = Packing(filled), 0
    for _ in range(2):
        for _ in packing.steps():
            steps += 1
            if steps % 3 == 1:
                assert everything(filled) == before
    assert steps > 6
    assert everything(filled) == before
    assert rows_in(filled, "checks") == sum(row.at_ms >= TODAY_MS for row in history())
    with filled.read() as conn:
        assert conn.execute(select(func.sum(tables.check_blocks.c.checks))).scalar() == sum(
            row.at_ms < TODAY_MS for row in history()
        )


@pytest.mark.parametrize("cut", [1, 2, 5])
def test_it_may_be_cut_off_anywhere_and_begun_anew(filled: Store, cut: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "ROWS_AT_ONCE", 200)
    monkeypatch.setattr(keeper, "CHECKS_AT_ONCE", 100)
    fold(filled)
    before = everything(filled)
    for _ in range(3):
        list(islice(Packing(filled).steps(), cut))
        assert everything(filled) == before
    Packing(filled).all()
    assert everything(filled) == before
    assert rows_in(filled, "checks") == sum(row.at_ms >= TODAY_MS for row in history())


def test_only_days_that_are_over_long_enough_and_folded_are_packed(filled: Store) -> None:
    Packing(filled).all()
    assert rows_in(filled, "check_blocks") == 0, "no hour holds them yet"
    fold(filled, NOW_MS - 2 * DAY_MS)
    Packing(filled).all()
    with filled.read() as conn:
        assert marks.read(conn).packed_ms == TODAY_MS - 2 * DAY_MS
    fold(filled)
    Packing(filled, Retention(unpacked_ms=DAY_MS)).all()
    with filled.read() as conn:
        assert marks.read(conn).packed_ms == TODAY_MS - DAY_MS
    Packing(filled, Retention(unpacked_ms=10 * DAY_MS)).all()
    with filled.read() as conn:
        assert marks.read(conn).packed_ms == TODAY_MS - DAY_MS, "never back"


@pytest.mark.parametrize("done", [1, 3, 1_000])
def test_late_checks_for_a_packed_day_are_kept_once(filled: Store, done: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packed wholly, or only begun with."""
    monkeypatch.setattr(keeper, "ROWS_AT_ONCE", 200)
    monkeypatch.setattr(keeper, "CHECKS_AT_ONCE", 100)
    fold(filled)
    rows = history()
    list(islice(Packing(filled).steps(), done))
    day_ms = TODAY_MS - 2 * DAY_MS
    known = [row for row in rows if day_ms <= row.at_ms < day_ms + DAY_MS]
    late = [
        check(target_id, day_ms + number * 3_333_333, Result.FAILED, location_id=place, error="late")
        for target_id in TARGETS
        for place in (1, 9)
        for number in range(25)
    ]
    with filled.write() as conn:
        assert checks.insert_many(conn, [*known, *late, *late[:5]]) == len(late)
    with filled.write() as conn:
        assert checks.insert_many(conn, [*late, *known]) == 0
    with filled.read() as conn:
        noted = conn.execute(select(func.count()).select_from(tables.late_checks)).scalar()
        year = [rollups.windows(conn, target_id, NOW_MS)["7d"].checks for target_id in TARGETS]
    assert noted == len(late)
    fold(filled)
    with filled.read() as conn:
        assert year == [rollups.windows(conn, target_id, NOW_MS)["7d"].checks for target_id in TARGETS]
        for target_id in TARGETS:
            found = checks.of_target(conn, target_id, from_ms=0, to_ms=2**53, limit=100_000)
            mine = [row for row in [*rows, *late] if row.target_id == target_id]
            assert found == sorted(mine, key=lambda row: (row.at_ms, row.location_id), reverse=True)
    Packing(filled).all()
    with filled.read() as conn:
        found = checks.of_target(conn, 1, from_ms=0, to_ms=2**53, limit=100_000)
    mine = [row for row in [*rows, *late] if row.target_id == 1]
    assert found == sorted(mine, key=lambda row: (row.at_ms, row.location_id), reverse=True)


def test_a_late_check_and_the_packing_of_its_day_do_not_lose_each_other(filled: Store) -> None:
    """Whoever stores checks holds the marks: packing does not begin until its transaction has ended."""
    fold(filled)
    late = check(1, TODAY_MS - 5, location_id=3)
    began, thread = threading.Event(), None
    with filled.write() as conn:
        assert checks.insert_many(conn, [late]) == 1

        def work() -> None:
            began.set()
            Packing(filled).all()

        thread = threading.Thread(target=work)
        thread.start()
        began.wait()
    thread.join()
    with filled.read() as conn:
        newest = checks.of_target(conn, 1, from_ms=0, to_ms=TODAY_MS, limit=1)
        assert newest == [late]
        assert int(blocks.within(conn, [1], TODAY_MS - 5, TODAY_MS).numbers[0, 1]) == 3


def test_what_is_older_than_single_checks_are_kept_is_left_out_and_counted(filled: Store) -> None:
    fold(filled)
    for _ in keeper.trim(filled, Retention(checks_ms=DAY_MS), NOW_MS):
        pass
    before = metrics.CHECKS_TOO_OLD._value.get()
    old = [check(1, TODAY_MS - 2 * DAY_MS + number) for number in range(4)]
    recent = check(1, TODAY_MS + 1, Result.FAILED, error="x")
    with filled.write() as conn:
        assert checks.insert_many(conn, [*old, recent]) == 1
        evidence.insert_many(conn, [((1, row.at_ms, 1), {}) for row in [*old, recent]])
    assert metrics.CHECKS_TOO_OLD._value.get() == before + 4
    with filled.read() as conn:
        assert checks.of_target(conn, 1, from_ms=0, to_ms=old[-1].at_ms + 1, limit=9) == []
        assert evidence.kept(conn, 1, from_ms=0, to_ms=2**53) == {(recent.at_ms, 1)}


def test_blocks_go_when_single_checks_do(filled: Store) -> None:
    fold(filled)
    Packing(filled).all()
    for days, oldest_ms in ((2, TODAY_MS - 2 * DAY_MS), (1, TODAY_MS - DAY_MS)):
        for _ in keeper.trim(filled, Retention(checks_ms=days * DAY_MS + 3 * HOUR_MS), NOW_MS):
            pass
        with filled.read() as conn:
            first_ms = conn.execute(select(func.min(tables.check_blocks.c.start_ms))).scalar_one()
            whole = partitions.time_tables(conn) == "plain"
        assert first_ms == oldest_ms + (BLOCK_MS if whole else 0)  # up to the last that may hold a check to be kept


_PACK = """
import sys
from tests.contract.test_packing import KEPT, NOW_MS
from tocsin.services import keeper
from tocsin.store.engine import Store
keeper.ROWS_AT_ONCE = keeper.CHECKS_AT_ONCE = 40
store, packed, now_ms = Store(sys.argv[1]), {}, NOW_MS
for _ in range(2):
    for changed in keeper.pack(store, KEPT, lambda: now_ms, packed):
        print(changed, flush=True)
    now_ms += keeper.READS_END_MS
"""


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_moment_it_leaves_each_check_once(filled: Store, store_url: str, seed: int) -> None:
    fold(filled)
    before = everything(filled)
    rng = random.Random(seed)
    root = Path(__file__).parents[2]
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", _PACK, store_url], stdout=subprocess.PIPE, cwd=root) as process:
            assert process.stdout is not None
            for _ in range(rng.randrange(1, 8)):
                process.stdout.readline()
            threading.Event().wait(rng.random() / 50)  # somewhere inside the next transactions
            process.kill()
        assert everything(filled) == before
    for chore in (keeper.make_partitions(filled, NOW_MS), keeper.trim(filled, Retention(), NOW_MS)):
        for _ in chore:
            pass
    Packing(filled).all()
    assert everything(filled) == before
    assert rows_in(filled, "checks") == sum(row.at_ms >= TODAY_MS for row in history())


def test_a_block_that_is_damaged_is_said_and_not_overwritten(filled: Store) -> None:
    fold(filled)
    Packing(filled).all()
    with filled.write() as conn:
        conn.execute(tables.check_blocks.update().values(document=b"\x01" + bytes(9)))
    late = check(1, TODAY_MS - DAY_MS + 1)
    with pytest.raises(ValueError, match="damaged"), filled.write() as conn:
        checks.insert_many(conn, [late])
    with filled.read() as conn, pytest.raises(ValueError, match="damaged"):
        checks.of_target(conn, 1, from_ms=0, to_ms=TODAY_MS, limit=5)


def test_a_target_with_many_checks_a_day_is_packed_in_parts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "ROWS_AT_ONCE", 500)
    rows = [check(1, at_ms, latency_us=at_ms % 977) for at_ms in range(TODAY_MS - DAY_MS, TODAY_MS, 30_000)]
    with store.write() as conn:
        add_targets(conn, 1)
        checks.insert_many(conn, rows)
    fold(store)
    Packing(store).all()
    with store.read() as conn:
        sizes = conn.execute(select(tables.check_blocks.c.checks)).scalars().all()
        assert sizes == [BLOCK_MS // 30_000] * 4
        assert checks.of_target(conn, 1, from_ms=0, to_ms=NOW_MS, limit=9_999) == rows[::-1]
        taken = conn.execute(select(func.sum(func.length(tables.check_blocks.c.document)))).scalar_one()
    assert taken < 10 * len(rows)
