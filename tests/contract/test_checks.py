from __future__ import annotations

import pytest
from sqlalchemy import select, update

from tests.contract.rows import check
from tocsin.core.outcome import Result
from tocsin.store import checks, evidence, marks, partitions
from tocsin.store.checks import CheckRow
from tocsin.store.engine import Store
from tocsin.store.tables import late_checks, rollup_marks


def add(store: Store, *rows: CheckRow) -> int:
    with store.write() as conn:
        return checks.insert_many(conn, rows)


def stored(store: Store, target_id: int = 1) -> list[CheckRow]:
    with store.read() as conn:
        return checks.of_target(conn, target_id, from_ms=0, to_ms=2**53, limit=100_000)


def late(store: Store) -> list[tuple[int, int]]:
    with store.read() as conn:
        found = conn.execute(select(late_checks.c.target_id, late_checks.c.at_ms).order_by(late_checks.c.id))
        return [(target_id, at_ms) for target_id, at_ms in found]


@pytest.mark.parametrize("count", [1, 19, 20, 21, 500, 621, 1_500])
def test_batches_of_any_size_are_stored_whole(store: Store, count: int) -> None:
    rows = [check(1, at_ms) for at_ms in range(count)]
    assert add(store, *rows) == count
    assert stored(store) == rows[::-1]


def test_nothing_to_store_is_no_error(store: Store) -> None:
    assert add(store) == 0


def test_every_value_comes_back_as_it_was(store: Store) -> None:
    largest = partitions.LARGEST_TARGET_ID, partitions.LARGEST_LOCATION_ID
    row = CheckRow(
        2**52, largest[0], 2**31 - 1, 0, None, 1, None, 2, largest[1], int(Result.FAILED), "päng \U0001f514 'x'"
    )
    plain = check(largest[0], 2**52 + 1, latency_us=None)
    add(store, plain, row, check(largest[0], 2**52 + 2, Result.FAILED, error="é"))
    assert stored(store, row.target_id)[1:] == [plain, row]


def test_a_slot_is_recorded_once_whoever_comes_again(store: Store) -> None:
    first = [check(1, at_ms, latency_us=10) for at_ms in range(0, 700, 2)]
    add(store, *first)
    again = [check(1, at_ms, latency_us=99) for at_ms in range(700)]
    assert add(store, *again) == 350
    assert add(store, *again, *again) == 0
    found = stored(store)
    assert len(found) == 700
    assert {row.latency_us for row in found if row.at_ms % 2 == 0} == {10}
    assert {row.latency_us for row in found if row.at_ms % 2 == 1} == {99}


def test_of_two_for_one_slot_in_a_batch_the_first_counts(store: Store) -> None:
    assert add(store, check(1, 5, latency_us=1), check(1, 5, latency_us=2)) == 1
    assert [row.latency_us for row in stored(store)] == [1]


def test_two_locations_have_a_slot_each(store: Store) -> None:
    assert add(store, check(1, 5, location_id=1), check(1, 5, location_id=2)) == 2
    assert [row.location_id for row in stored(store)] == [2, 1]


def test_what_else_the_transaction_did_survives_a_repeated_slot(store: Store) -> None:
    add(store, check(1, 5))
    with store.write() as conn:
        checks.insert_many(conn, [check(2, 5)])
        checks.insert_many(conn, [check(1, 5), check(1, 6)])
    assert [row.at_ms for row in stored(store, 2)] == [5]
    assert [row.at_ms for row in stored(store, 1)] == [6, 5]


def test_checks_for_a_time_already_folded_are_noted_as_late(store: Store) -> None:
    add(store, check(1, 400))
    with store.write() as conn:
        conn.execute(update(rollup_marks).where(rollup_marks.c.name == marks.HOURS).values(through_ms=1_000))
    assert add(store, check(1, 999), check(1, 1_000), check(2, 500)) == 3
    assert late(store) == [(1, 999), (2, 500)]
    # repeated ones were counted before
    assert add(store, check(1, 400), check(1, 999), check(1, 998)) == 1
    assert late(store) == [(1, 999), (2, 500), (1, 998)]


def test_pages_join_up_without_a_gap_or_a_repeat(store: Store) -> None:
    rows = [check(1, at_ms, location_id=place) for at_ms in range(5) for place in (1, 2, 3)]
    add(store, *rows, check(2, 3))
    paged: list[CheckRow] = []
    with store.read() as conn:
        while page := checks.of_target(
            conn,
            1,
            from_ms=1,
            to_ms=4,
            limit=4,
            before=(paged[-1].at_ms, paged[-1].location_id) if paged else None,
        ):
            paged += page
    assert paged == [row for row in rows if 1 <= row.at_ms < 4][::-1]


def test_one_may_ask_for_some_results_only(store: Store) -> None:
    results = [Result.PASSED, Result.FAILED, Result.WARNED, Result.UNMEASURED]
    add(store, *(check(1, number, result) for number, result in enumerate(results)))
    with store.read() as conn:
        found = checks.of_target(
            conn, 1, from_ms=0, to_ms=9, limit=9, results=[int(Result.FAILED), int(Result.UNMEASURED)]
        )
    assert [row.at_ms for row in found] == [3, 1]


def test_evidence_is_kept_as_it_was_said(store: Store) -> None:
    document = {"body": "ü" * 2_000, "headers": [["a", "b"]], "deep": {"n": 1.5, "none": None}}
    with store.write() as conn:
        evidence.insert_many(conn, [((1, 5, 1), document), ((1, 9, 1), {})])
        evidence.insert_many(conn, [((1, 5, 1), {"second": True})])
        evidence.insert_many(conn, [])
    with store.read() as conn:
        assert evidence.get(conn, (1, 5, 1)) == document
        assert evidence.get(conn, (1, 6, 1)) is None
        assert evidence.known(conn, [(1, 5, 1), (1, 6, 1), (1, 9, 2)]) == {(1, 5, 1)}
        assert evidence.known(conn, []) == set()
