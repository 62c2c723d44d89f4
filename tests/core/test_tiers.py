"""Ticks made into minutes and hours, compared with counting one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core import tiers
from tocsin.core.tiers import MINUTE_MS, NEVER_MS, STEPS_MS, Parts

WIDTH = 3
numbers = st.one_of(
    st.floats(width=32, min_value=-1e6, max_value=1e6), st.sampled_from([math.nan, math.inf, -math.inf, 0.0])
)
ticks = st.lists(
    st.tuples(st.integers(0, 10 * MINUTE_MS), st.tuples(*[numbers] * WIDTH)),
    max_size=30,
    unique_by=lambda tick: tick[0],
)
Some = list[tuple[int, tuple[float, ...]]]


def fold(some: Some, step_ms: int) -> Parts:
    at_ms = np.array([at for at, _ in some], np.int64)
    return tiers.fold(at_ms, np.array([row for _, row in some], np.float32).reshape(-1, WIDTH), step_ms)


def told(parts: Parts) -> dict[tuple[int, int], tuple[float, ...]]:
    """By start and series, those that are not empty."""
    return {
        (int(parts.start_ms[row]), column): (
            int(parts.count[row, column]),
            round(float(parts.total[row, column]), 3),
            float(parts.least[row, column]),
            float(parts.greatest[row, column]),
            float(parts.last[row, column]),
            int(parts.last_ms[row, column]),
        )
        for row, column in zip(*np.nonzero(parts.count), strict=True)
    }


def counted(some: Some, step_ms: int) -> dict[tuple[int, int], tuple[float, ...]]:
    groups: dict[tuple[int, int], list[tuple[int, float]]] = {}
    for at_ms, row in some:
        for column, value in enumerate(row):
            if math.isfinite(value):
                groups.setdefault((at_ms // step_ms * step_ms, column), []).append((at_ms, value))
    return {
        key: (
            len(pairs),
            round(math.fsum(value for _, value in pairs), 3),
            min(value for _, value in pairs),
            max(value for _, value in pairs),
            max(pairs)[1],
            max(pairs)[0],
        )
        for key, pairs in groups.items()
    }


@given(ticks, st.sampled_from([1, 7_000, MINUTE_MS, 60 * MINUTE_MS]))
def test_folding_agrees_with_counting_one_by_one(some: Some, step_ms: int) -> None:
    found = fold(some, step_ms)
    assert told(found) == counted(some, step_ms)
    assert found.start_ms.tolist() == sorted({at_ms // step_ms * step_ms for at_ms, _ in some})
    empty = found.count == 0
    assert np.isnan(found.least[empty]).all()
    assert np.isnan(found.greatest[empty]).all()
    assert np.isnan(found.last[empty]).all()
    assert (found.last_ms[empty] == NEVER_MS).all()
    assert (found.total[empty] == 0).all()


@given(ticks, st.randoms(use_true_random=False))
def test_parts_add_up_in_any_order_and_from_any_tier(some: Some, random: object) -> None:
    assert hasattr(random, "shuffle")
    shuffled = list(some)
    random.shuffle(shuffled)
    middle = len(shuffled) // 2
    halves = [fold(shuffled[:middle], MINUTE_MS), fold(shuffled[middle:], MINUTE_MS)]
    together = tiers.merge(halves, MINUTE_MS)
    assert told(together) == counted(some, MINUTE_MS)
    assert told(tiers.merge([together], 5 * MINUTE_MS)) == counted(some, 5 * MINUTE_MS)
    assert told(tiers.merge(halves[::-1], 5 * MINUTE_MS)) == counted(some, 5 * MINUTE_MS)


@given(ticks)
def test_the_same_ticks_give_the_same_to_the_last_bit(some: Some) -> None:
    one, two = fold(some, MINUTE_MS), fold(some[::-1], MINUTE_MS)
    assert one.total.tobytes() == two.total.tobytes()
    assert one.last.tobytes() == two.last.tobytes()


def test_of_two_last_values_of_one_time_the_greater_counts() -> None:
    for order in ((1.0, 2.0), (2.0, 1.0)):
        parts = [tiers.of_ticks(np.array([5]), np.array([[value]])) for value in order]
        merged = tiers.merge(parts, MINUTE_MS)
        assert (merged.last[0, 0], merged.count[0, 0], merged.total[0, 0]) == (2.0, 2, 3.0)


def test_series_find_their_places() -> None:
    parts = fold([(5, (1.0, 2.0, math.nan)), (MINUTE_MS, (4.0, 5.0, 6.0))], MINUTE_MS)
    placed = parts.placed([3, -1, 0], 4)
    assert placed.width == 4
    assert placed.count.tolist() == [[0, 0, 0, 1], [1, 0, 0, 1]]
    assert placed.last[1].tolist()[0::3] == [6.0, 4.0]
    assert np.isnan(placed.last[:, 1:3]).all()
    assert placed.start_ms.tolist() == [0, MINUTE_MS]


def test_nothing_is_something_to_add() -> None:
    nothing = tiers.nothing(0, WIDTH)
    assert len(tiers.merge([nothing], MINUTE_MS)) == 0
    parts = fold([(5, (1.0, 2.0, math.nan))], MINUTE_MS)
    assert told(tiers.merge([nothing, parts], MINUTE_MS)) == told(parts)
    assert told(tiers.merge([tiers.nothing(1, WIDTH), parts], MINUTE_MS)) == told(parts)
    assert tiers.fold(np.zeros(0, np.int64), np.zeros((0, 0), np.float32), MINUTE_MS).width == 0


@pytest.mark.parametrize(
    ("length_ms", "most", "least_ms", "step_ms"),
    [
        (0, 2000, 1, 1_000),
        (3_600_000, 2000, 1, 2_000),
        (3_600_000, 2000, 5_000, 5_000),
        (3_600_000, 2000, 7_000, 10_000),
        (86_400_000, 2000, 5_000, 60_000),
        (7 * 86_400_000, 2000, 1, 600_000),
        (90 * 86_400_000, 2000, 1, 2 * 3_600_000),
        (365 * 86_400_000, 2, 1, 365 * 86_400_000),
        (1000 * 86_400_000, 2, 1, 3 * 365 * 86_400_000),
        (86_400_000, 1, 1, 86_400_000),
    ],
)
def test_steps_are_such_as_people_read(length_ms: int, most: int, least_ms: int, step_ms: int) -> None:
    assert tiers.step_for(length_ms, most, least_ms) == step_ms


@given(st.integers(0, 10**13), st.integers(2, 5_000), st.integers(0, 10**10))
def test_a_step_gives_no_more_than_is_wanted_wherever_it_begins(length_ms: int, most: int, begin_ms: int) -> None:
    step_ms = tiers.step_for(length_ms, most)
    end_ms = begin_ms + length_ms
    assert -(-end_ms // step_ms) - begin_ms // step_ms <= most
    assert step_ms in STEPS_MS or step_ms % STEPS_MS[-1] == 0
