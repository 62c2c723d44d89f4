"""Half an hour of a number, minute by minute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.spark import MINUTE_MS, MINUTES, advanced, last_minutes

BEGIN_MS = 30_000_000 * MINUTE_MS


def told(*values: tuple[float, float | None]) -> Mapping[str, Any] | None:
    """Each a minute since the beginning, and the value."""
    spark: Mapping[str, Any] | None = None
    for minute, value in values:
        spark = advanced(spark, BEGIN_MS + round(minute * MINUTE_MS), value)
    return spark


def test_each_minute_has_its_mean() -> None:
    spark = told((0, 0.1), (0.5, 0.2), (0.9, 0.6), (1, 1.0))
    assert last_minutes(spark, BEGIN_MS + MINUTE_MS)[-2:] == pytest.approx([0.3, 1.0])


def test_nothing_is_known_of_minutes_without_a_value() -> None:
    spark = told((0, 0.5), (1, None), (3, 0.7))
    assert last_minutes(spark, BEGIN_MS + 5 * MINUTE_MS) == [None] * 24 + [0.5, None, None, 0.7, None, None]
    assert last_minutes(None, BEGIN_MS) == [None] * MINUTES
    assert advanced(None, BEGIN_MS, None) is None


def test_what_is_old_is_gone() -> None:
    assert last_minutes(told((0, 0.5)), BEGIN_MS + MINUTES * MINUTE_MS) == [None] * MINUTES
    assert last_minutes(told((0, 0.5), (90, 0.7)), BEGIN_MS + 90 * MINUTE_MS) == [None] * 29 + [0.7]


def test_what_comes_late_or_is_ahead_of_the_clock_changes_nothing() -> None:
    spark = told((5, 0.5), (4, 0.9))
    assert last_minutes(spark, BEGIN_MS + 5 * MINUTE_MS) == [None] * 29 + [0.5]
    assert last_minutes(told((4, 0.4), (5, 0.5)), BEGIN_MS + 4 * MINUTE_MS) == [None] * 29 + [0.4]
    assert last_minutes(told((50, 0.5)), BEGIN_MS) == [None] * MINUTES


@given(st.lists(st.tuples(st.integers(0, 100), st.floats(0, 1)), max_size=60))
def test_it_is_the_mean_of_what_came_in_each_minute(values: list[tuple[int, float]]) -> None:
    values.sort(key=lambda one: one[0])
    spark = told(*values)
    shown = last_minutes(spark, BEGIN_MS + 100 * MINUTE_MS)
    for place, value in enumerate(shown):
        came = [known for minute, known in values if minute == 100 - (MINUTES - 1) + place]
        # Means are kept with four digits, each step rounds once.
        assert value == (None if not came else pytest.approx(sum(came) / len(came), abs=1e-3))
