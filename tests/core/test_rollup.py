from __future__ import annotations

from collections import defaultdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core import rollup, sketch
from tocsin.core.outcome import Result
from tocsin.core.rollup import HOUR_MS, NOT_TIMED, PHASES, SUMS, Checks, Rollups

Row = tuple[int, ...]

times_us = st.one_of(st.just(NOT_TIMED), st.integers(0, 5_000_000))
rows = st.lists(
    st.tuples(
        st.integers(1, 3),
        st.integers(0, 4 * HOUR_MS),
        st.sampled_from([int(result) for result in Result]),
        times_us,
        *[times_us for _ in PHASES],
    ),
    max_size=40,
)


def checks(given_rows: list[Row]) -> Checks:
    return Checks.of(np.array(given_rows, dtype=np.int64).reshape(-1, 4 + len(PHASES)))


def same(left: Rollups, right: Rollups) -> bool:
    return (
        left.keys == right.keys
        and np.array_equal(left.sums, right.sums)
        and np.array_equal(left.latency_min_us, right.latency_min_us)
        and np.array_equal(left.latency_max_us, right.latency_max_us)
        and sketch.encode(left.sketches) == sketch.encode(right.sketches)
    )


@given(rows, st.sampled_from([HOUR_MS, 60_000, 7_000]))
def test_folding_agrees_with_counting_one_by_one(given_rows: list[Row], step_ms: int) -> None:
    groups: dict[tuple[int, int], list[Row]] = defaultdict(list)
    for row in given_rows:
        groups[row[0], row[1] // step_ms * step_ms].append(row)
    found = rollup.fold(checks(given_rows), step_ms)
    assert found.keys == sorted(groups)
    for index, key in enumerate(sorted(groups)):
        mine = groups[key]
        worked = [row for row in mine if row[2] in (Result.PASSED, Result.WARNED)]
        latencies = [row[3] for row in worked if row[3] != NOT_TIMED]
        phases = [[row[4 + phase] for row in worked if row[4 + phase] != NOT_TIMED] for phase in range(len(PHASES))]
        expected = {
            "checks": len(mine),
            "passed": sum(row[2] == Result.PASSED for row in mine),
            "warned": sum(row[2] == Result.WARNED for row in mine),
            "unmeasured": sum(row[2] == Result.UNMEASURED for row in mine),
            "timed": len(latencies),
            "latency_sum_us": sum(latencies),
            **{f"{name}_sum_us": sum(values) for name, values in zip(PHASES, phases, strict=True)},
            **{f"{name}_timed": len(values) for name, values in zip(PHASES, phases, strict=True)},
        }
        assert dict(zip(SUMS, found.sums[index].tolist(), strict=True)) == expected
        assert found.failed[index] == sum(row[2] == Result.FAILED for row in mine)
        assert found.latency_min_us[index] == min(latencies, default=NOT_TIMED)
        assert found.latency_max_us[index] == max(latencies, default=NOT_TIMED)
        assert found.sketches.totals[index] == len(latencies)


@given(rows, st.integers(0, 40))
def test_checks_may_be_folded_in_parts(given_rows: list[Row], cut: int) -> None:
    parts = [rollup.fold(checks(part), HOUR_MS) for part in (given_rows[cut:], given_rows[:cut])]
    assert same(rollup.merge(parts), rollup.fold(checks(given_rows), HOUR_MS))


@given(rows)
def test_longer_steps_may_be_made_from_shorter_ones(given_rows: list[Row]) -> None:
    minutes = rollup.fold(checks(given_rows), 60_000)
    assert same(rollup.merge([minutes], HOUR_MS), rollup.fold(checks(given_rows), HOUR_MS))


@given(rows, st.integers(0, HOUR_MS))
def test_steps_are_counted_from_the_origin(given_rows: list[Row], origin_ms: int) -> None:
    for key in rollup.fold(checks(given_rows), HOUR_MS, origin_ms=origin_ms).keys:
        assert (key.start_ms - origin_ms) % HOUR_MS == 0


@given(rows)
def test_all_targets_may_be_added_up(given_rows: list[Row]) -> None:
    hours = rollup.fold(checks(given_rows), HOUR_MS)
    together = rollup.regroup([hours], np.zeros_like(hours.target_id), np.zeros_like(hours.start_ms))
    assert together.sums.sum(axis=0).tolist() == hours.sums.sum(axis=0).tolist()
    assert len(together) == bool(given_rows)


def test_averages_are_sums_over_counts_and_missing_where_nothing_was_timed() -> None:
    passed, failed = int(Result.PASSED), int(Result.FAILED)
    found = rollup.fold(
        checks(
            [
                (1, 0, passed, 100, 10, 20, NOT_TIMED, 30, 40),
                (1, 1, passed, 300, NOT_TIMED, 40, NOT_TIMED, 30, 0),
                (2, 0, failed, 900, 10, 20, 30, 40, 50),
            ]
        ),
        HOUR_MS,
    )
    np.testing.assert_array_equal(found.latency_averages_us, [200, np.nan])
    np.testing.assert_array_equal(found.phase_averages_us[0], [10, 30, np.nan, 30, 20])
    assert np.isnan(found.phase_averages_us[1]).all()


def test_nothing_folds_into_nothing() -> None:
    assert len(rollup.fold(checks([]), HOUR_MS)) == 0
    assert len(rollup.merge([])) == 0
    assert len(rollup.merge([rollup.NOTHING, rollup.NOTHING], HOUR_MS)) == 0
