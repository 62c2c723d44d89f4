from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.core import sketch
from tocsin.core.sketch import Sketches

latencies = st.lists(st.integers(1, sketch.LARGEST_US), max_size=300)
FRACTIONS = (0.0, 0.5, 0.95, 0.99, 1.0)


def one(values: list[int]) -> Sketches:
    return sketch.of_values(values, [0] * len(values), 1)


def same(left: Sketches, right: Sketches) -> bool:
    return (
        left.size == right.size
        and np.array_equal(left.cells, right.cells)
        and np.array_equal(left.counts, right.counts)
    )


@given(latencies.filter(bool))
def test_quantiles_are_within_two_percent_of_exact(values: list[int]) -> None:
    found = sketch.quantiles(one(values), FRACTIONS)[0]
    exact = np.quantile(values, FRACTIONS)
    assert np.all(np.abs(found - exact) <= 0.02 * exact)


@given(st.lists(latencies, min_size=1, max_size=6))
def test_merging_is_as_good_as_having_seen_all_values(parts: list[list[int]]) -> None:
    merged = sketch.merge([one(part) for part in parts])
    assert same(merged, one([value for part in parts for value in part]))


@given(latencies, latencies, latencies)
def test_merging_is_associative_and_commutative(a: list[int], b: list[int], c: list[int]) -> None:
    left = sketch.merge([sketch.merge([one(a), one(b)]), one(c)])
    right = sketch.merge([one(c), sketch.merge([one(b), one(a)])])
    assert same(left, right)
    assert sketch.encode(left) == sketch.encode(right)


@given(st.lists(latencies, max_size=8))
def test_bytes_tell_everything_and_keep_sketches_apart(groups: list[list[int]]) -> None:
    values = [value for group in groups for value in group]
    numbers = [number for number, group in enumerate(groups) for _ in group]
    sketches = sketch.of_values(values, numbers, len(groups))
    packed = sketch.encode(sketches)
    assert len(packed) == len(groups)
    assert same(sketch.decode(packed), sketches)
    assert packed == [sketch.encode(one(group))[0] for group in groups]


@given(st.lists(st.tuples(st.integers(0, 1100), st.integers(1, 1 << 34)), min_size=1, unique_by=lambda pair: pair[0]))
def test_any_count_survives_being_packed(buckets: list[tuple[int, int]]) -> None:
    ordered = sorted(buckets)
    sketches = Sketches(1, np.array([bucket for bucket, _ in ordered]), np.array([count for _, count in ordered]))
    assert same(sketch.decode(sketch.encode(sketches)), sketches)


@given(st.lists(latencies, min_size=1, max_size=8), st.data())
@settings(max_examples=50)
def test_bytes_are_added_by_group(groups: list[list[int]], data: st.DataObject) -> None:
    packed = [sketch.encode(one(group))[0] for group in groups]
    owners = data.draw(st.lists(st.integers(0, 2), min_size=len(groups), max_size=len(groups)))
    added = sketch.decode(packed, owners, 3)
    values = [value for group in groups for value in group]
    of_value = [owner for owner, group in zip(owners, groups, strict=True) for _ in group]
    assert same(added, sketch.of_values(values, of_value, 3))


def test_sorting_and_counting_into_cells_agree() -> None:
    """Few values are sorted, many are counted; 3,000 values in two sketches take the second way."""
    rng = np.random.default_rng(7)
    values = rng.lognormal(np.log(20_000), 0.5, 3_000)
    groups = rng.integers(0, 2, 3_000)
    many = sketch.of_values(values, groups, 2)
    few = [
        sketch.of_values(values[begin : begin + 100], groups[begin : begin + 100], 2) for begin in range(0, 3_000, 100)
    ]
    assert same(sketch.merge(few), many)
    assert many.totals.tolist() == np.bincount(groups).tolist()


def test_empty_sketches_have_no_quantiles_and_no_bytes() -> None:
    sketches = sketch.of_values([1_000], [1], 3)
    assert sketch.encode(sketches)[::2] == [b"", b""]
    found = sketch.quantiles(sketches, [0.5])[:, 0]
    assert np.isnan(found).tolist() == [True, False, True]


def test_values_out_of_range_count_as_the_nearest() -> None:
    assert same(one([0, -5]), one([1, 1]))
    assert same(one([sketch.LARGEST_US * 10]), one([sketch.LARGEST_US]))


def test_an_hour_of_a_target_checked_each_minute_is_small() -> None:
    rng = np.random.default_rng(3)
    values = rng.lognormal(np.log(30_000), 0.3, 60)
    assert len(sketch.encode(sketch.of_values(values, np.zeros(60), 1))[0]) <= 120


@pytest.mark.parametrize("interval_s", [1, 10, 60])
def test_a_day_stays_within_three_kilobytes(interval_s: int) -> None:
    count = 86_400 // interval_s
    values = np.random.default_rng(5).lognormal(np.log(30_000), 0.5, count)
    assert len(sketch.encode(sketch.of_values(values, np.zeros(count), 1))[0]) < 3_000
