"""Rates of counters, against what the growth between two rows is by definition."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tocsin.core.rates import rates

NAN = math.nan


def of(
    values: list[float],
    at_s: list[float],
    *,
    begins: tuple[int, ...] = (0,),
    starts_s: list[float] | None = None,
) -> list[float | None]:
    """Rates of one counter; None where there is no number."""
    rows = np.array(values, dtype=float).reshape(-1, 1)
    first = np.zeros(len(values), dtype=bool)
    first[list(begins)] = True
    at_ms = np.array([round(1000 * one) for one in at_s], dtype=np.int64)
    table = which = None
    if starts_s is not None:
        table = np.array([[round(1000 * one)] for one in starts_s], dtype=np.int64)
        which = np.arange(len(values))
    found = rates(rows, at_ms, first, np.array([0]), table, which)[:, 0]
    return [None if math.isnan(one) else one for one in found.tolist()]


def test_growth_a_second() -> None:
    assert of([10, 20, 50], [0, 5, 10]) == [None, 2, 6]


def test_over_a_gap_it_is_the_mean_over_it() -> None:
    assert of([0, 10, 370], [0, 5, 65]) == [None, 2, 6]


def test_time_that_stands_still_or_goes_back_gives_no_number() -> None:
    assert of([0, 10, 20, 30, 40], [0, 5, 5, 3, 8]) == [None, 2, None, None, 2]


def test_a_value_that_is_missing_costs_itself_and_the_next() -> None:
    assert of([0, NAN, 20, 30], [0, 5, 10, 15]) == [None, None, None, 2]


def test_each_machine_begins_anew() -> None:
    assert of([0, 10, 1000, 1010], [0, 5, 100, 105], begins=(0, 2)) == [None, 2, None, 2]


def test_a_counter_that_fell_gives_no_number_where_its_start_is_not_known() -> None:
    assert of([100, 10, 20], [0, 5, 10]) == [None, None, 2]


def test_after_a_reset_it_is_counted_from_the_new_start() -> None:
    assert of([100, 8, 18], [10, 15, 20], starts_s=[1, 13, 13]) == [None, 4, 2]


def test_a_reset_that_grew_beyond_the_old_value_is_seen_by_its_start() -> None:
    assert of([100, 400], [10, 15], starts_s=[1, 11]) == [None, 100]


def test_a_start_before_the_row_before_says_nothing_about_the_time_between() -> None:
    assert of([100, 8], [10, 15], starts_s=[1, 5]) == [None, None]
    assert of([100, 108], [10, 15], starts_s=[1, 5]) == [None, None]


def test_a_start_that_is_counted_anew_every_time_is_the_same_one() -> None:
    assert of([0, 10], [10, 15], starts_s=[1.0, 1.4]) == [None, 2]


def test_a_start_that_becomes_known_is_no_reset() -> None:
    assert of([0, 10], [10, 15], starts_s=[0, 12]) == [None, 2]


def test_a_start_after_a_value_that_is_not_there_gives_none() -> None:
    assert of([NAN, 8], [10, 15], starts_s=[1, 13]) == [None, None]


def test_gauges_are_what_they_are() -> None:
    rows = np.array([[1.0, 5], [2, 5], [NAN, 25]])
    found = rates(rows, np.array([0, 1000, 2000]), np.array([True, False, False]), np.array([1]))
    assert found[:, 0].tolist()[:2] == [1, 2]
    assert found[1:, 1].tolist() == [0, 20]
    assert np.isnan(rows[2, 0])  # and what was given is left alone


def test_nothing_gives_nothing() -> None:
    empty = rates(np.empty((0, 2)), np.empty(0, dtype=np.int64), np.empty(0, dtype=bool), np.array([0]))
    assert empty.shape == (0, 2)


@given(
    st.lists(
        st.tuples(
            st.floats(0, 1e6, allow_nan=False) | st.just(NAN),
            st.integers(-3000, 20_000),
            st.booleans(),
            st.sampled_from([0, -5000, 500, 4000]),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_it_is_the_same_for_many_as_row_by_row(rows: list[tuple[float, int, bool, int]]) -> None:
    values = np.array([[row[0], row[0] * 2] for row in rows])
    at_ms = np.cumsum([1_000_000, *(row[1] for row in rows[1:])]).astype(np.int64)
    begins = np.array([True, *(row[2] for row in rows[1:])])
    starts = np.array([[at_ms[n] - row[3] if row[3] else 0] * 2 for n, row in enumerate(rows)], dtype=np.int64)
    found = rates(values, at_ms, begins, np.array([1]), starts, np.arange(len(rows)))
    for n in range(len(rows)):
        expected = _by_hand(values[:, 1], at_ms, begins, starts[:, 1], n)
        assert found[n, 1] == expected or (math.isnan(expected) and math.isnan(found[n, 1]))


def _by_hand(values: NDArray[Any], at_ms: NDArray[Any], begins: NDArray[Any], starts: NDArray[Any], n: int) -> float:
    if begins[n] or at_ms[n] <= at_ms[n - 1] or math.isnan(values[n]) or math.isnan(values[n - 1]):
        return NAN
    moved = starts[n] and starts[n - 1] and abs(starts[n] - starts[n - 1]) > 1000
    if values[n] >= values[n - 1] and not moved:
        return float((values[n] - values[n - 1]) / ((at_ms[n] - at_ms[n - 1]) / 1000))
    if at_ms[n - 1] < starts[n] < at_ms[n]:
        return float(values[n] / ((at_ms[n] - starts[n]) / 1000))
    return NAN
