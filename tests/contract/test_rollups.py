"""Folding and reading against a model that looks at every single check."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import pytest

from tests.contract.rows import add_targets, check, key
from tocsin.core.decide import Transition, Verdict
from tocsin.core.outcome import Result
from tocsin.core.rollup import DAY_MS, HOUR_MS
from tocsin.services import keeper
from tocsin.store import checks, marks, rollups, transitions
from tocsin.store.checks import CheckRow
from tocsin.store.engine import Store
from tocsin.store.rollups import GRACE_MS, Latency, Point

NOW_MS = 20_000 * DAY_MS + 15 * HOUR_MS + 20 * 60_000
"""Twenty past three in the afternoon."""

TIMED = (Result.PASSED, Result.WARNED)


def add(store: Store, rows: Iterable[CheckRow]) -> None:
    with store.write() as conn:
        checks.insert_many(conn, list(rows))


def some_checks(seed: int, *, target_ids: Iterable[int], from_ms: int, to_ms: int, every_ms: int) -> list[CheckRow]:
    rng = random.Random(seed)
    return [
        check(
            target_id,
            at_ms,
            rng.choices(list(Result), weights=[1, 10, 1, 1])[0],
            latency_us=rng.choice([None, round(rng.lognormvariate(10, 1))]),
            phases_us=tuple(rng.choice([None, rng.randrange(1, 90_000)]) for _ in range(5)),
        )
        for target_id in target_ids
        for at_ms in range(from_ms + target_id * 1_000, to_ms, every_ms)
    ]


def work(store: Store, now_ms: int) -> None:
    for _ in keeper.fold(store, now_ms):
        pass
    for _ in keeper.seal_days(store):
        pass


def agrees(found: Latency, rows: list[CheckRow]) -> None:
    timed = [row.latency_us for row in rows if row.result in TIMED and row.latency_us is not None]
    if not timed:
        assert found == Latency(None, None, None, None, None, None)
        return
    assert (found.min_us, found.max_us) == (min(timed), max(timed))
    assert found.avg_us == pytest.approx(sum(timed) / len(timed))
    exact = np.quantile(timed, [0.5, 0.95, 0.99])
    assert [found.p50_us, found.p95_us, found.p99_us] == pytest.approx(exact.tolist(), rel=0.02)


def p95(rows: list[CheckRow]) -> object:
    timed = [row.latency_us for row in rows if row.result in TIMED and row.latency_us is not None]
    return pytest.approx(np.quantile(timed, 0.95), rel=0.02) if timed else None


def failed(rows: list[CheckRow]) -> int:
    return sum(row.result == Result.FAILED for row in rows)


def assert_everything_agrees(store: Store, rows: list[CheckRow], target_ids: list[int]) -> None:
    of_target: dict[int, list[CheckRow]] = defaultdict(list)
    for row in rows:
        of_target[row.target_id].append(row)
    this_hour_ms, today_ms = NOW_MS - NOW_MS % HOUR_MS, NOW_MS - NOW_MS % DAY_MS
    with store.read() as conn:
        found = rollups.summaries(conn, None, NOW_MS)
        everything = rollups.overall(conn, NOW_MS)
        of_windows = {target_id: rollups.windows(conn, target_id, NOW_MS) for target_id in target_ids}
    assert list(found) == target_ids
    since_ms = this_hour_ms - 23 * HOUR_MS
    last_day = {target_id: [row for row in of_target[target_id] if row.at_ms >= since_ms] for target_id in target_ids}
    for target_id in target_ids:
        mine, summary = last_day[target_id], found[target_id]
        assert (summary.checks_24h, summary.failed_24h) == (len(mine), failed(mine))
        assert summary.p95_us_24h == p95(mine)
        for number, cell in enumerate(summary.bar):
            assert cell.start_ms == since_ms + number * HOUR_MS
            hour = [row for row in mine if cell.start_ms <= row.at_ms < cell.start_ms + HOUR_MS]
            assert (cell.checks, cell.failed) == (len(hour), failed(hour))
        for name, length_ms in rollups.WINDOWS_MS.items():
            by_hour = length_ms <= 31 * DAY_MS
            begin_ms = this_hour_ms - length_ms + HOUR_MS if by_hour else today_ms - length_ms + DAY_MS
            inside = [row for row in of_target[target_id] if row.at_ms >= begin_ms]
            window = of_windows[target_id][name]
            assert (window.checks, window.failed) == (len(inside), failed(inside))
            assert window.passed == sum(row.result == Result.PASSED for row in inside)
            assert window.warned == sum(row.result == Result.WARNED for row in inside)
            assert window.unmeasured == sum(row.result == Result.UNMEASURED for row in inside)
            agrees(window.latency, inside)
    assert everything.p95_us_24h == p95([row for mine in last_day.values() for row in mine])


@pytest.mark.parametrize("folded_at_ms", [[], [NOW_MS], [NOW_MS - 26 * HOUR_MS, NOW_MS - 3 * HOUR_MS]])
def test_answers_are_the_same_however_much_has_been_folded(store: Store, folded_at_ms: list[int]) -> None:
    """Nothing folded; all; a part, with checks arriving in between for times folded already."""
    target_ids = [1, 2, 3]
    rows = some_checks(1, target_ids=target_ids, from_ms=NOW_MS - 50 * HOUR_MS, to_ms=NOW_MS, every_ms=613_000)
    delayed = random.Random(2).sample(rows, len(rows) // 5)
    with store.write() as conn:
        add_targets(conn, *target_ids)
    known: list[CheckRow] = []
    for moment_ms in folded_at_ms:
        arrived = [row for row in rows if row.at_ms < moment_ms and row not in delayed and row not in known]
        add(store, arrived)
        known += arrived
        work(store, moment_ms)
        assert_everything_agrees(store, known, target_ids)
    random.Random(3).shuffle(rows)
    add(store, [row for row in rows if row not in known])
    assert_everything_agrees(store, rows, target_ids)
    work(store, NOW_MS)
    assert_everything_agrees(store, rows, target_ids)


def test_a_fold_leaves_the_grace_alone_and_moves_the_mark(store: Store) -> None:
    with store.write() as conn:
        add_targets(conn, 1)
    add(store, [check(1, NOW_MS - GRACE_MS - 1), check(1, NOW_MS - GRACE_MS)])
    work(store, NOW_MS)
    with store.read() as conn:
        assert marks.read(conn).hours_ms == NOW_MS - GRACE_MS
        plan = rollups.plan_fold(conn, NOW_MS + 1)
    assert plan is not None
    assert plan.seen == 1


def test_a_fold_worked_out_before_something_came_between_is_not_written(store: Store) -> None:
    with store.write() as conn:
        add_targets(conn, 1)
    add(store, [check(1, NOW_MS - HOUR_MS)])
    with store.read() as conn:
        plan = rollups.plan_fold(conn, NOW_MS)
    assert plan is not None
    add(store, [check(1, NOW_MS - HOUR_MS + 1)])
    with store.write() as conn:
        assert not rollups.write_fold(conn, plan)
    with store.read() as conn:
        again = rollups.plan_fold(conn, NOW_MS)
    assert again is not None
    for expected in (True, False):  # the second keeper with the same plan must not count it again
        with store.write() as conn:
            assert rollups.write_fold(conn, again) is expected
    with store.read() as conn:
        assert rollups.windows(conn, 1, NOW_MS)["24h"].checks == 2


def test_a_late_check_reaches_the_day_that_was_sealed(store: Store) -> None:
    with store.write() as conn:
        add_targets(conn, 1)
    long_ago_ms = NOW_MS - 100 * DAY_MS
    add(store, [check(1, long_ago_ms)])
    work(store, long_ago_ms + 2 * DAY_MS)
    with store.read() as conn:
        assert marks.read(conn).days_ms > long_ago_ms
    add(store, [check(1, long_ago_ms + 60_000, Result.FAILED)])
    for _ in range(2):  # as a late check, and then as part of the day
        with store.read() as conn:
            year = rollups.windows(conn, 1, NOW_MS)["365d"]
        assert (year.checks, year.failed) in ((1, 0), (2, 1))
        work(store, long_ago_ms + 2 * DAY_MS)
    assert (year.checks, year.failed) == (2, 1)


def test_uptime_in_a_list_is_weighted_by_time_and_missing_without_data(store: Store) -> None:
    def turn(target_id: int, at_ms: int, before: Verdict, after: Verdict) -> Transition:
        return Transition(key(target_id), before, after, at_ms, at_ms, "")

    start_ms = NOW_MS - 10 * DAY_MS
    with store.write() as conn:
        add_targets(conn, 1, 2, 3)
        add_targets(conn, 4, deleted_ms=5)
        transitions.insert_many(
            conn,
            [
                turn(1, start_ms, Verdict.UNKNOWN, Verdict.UP),
                turn(1, NOW_MS - 6 * HOUR_MS, Verdict.UP, Verdict.DOWN),
                turn(1, NOW_MS - 5 * HOUR_MS, Verdict.DOWN, Verdict.DEGRADED),
                turn(2, start_ms, Verdict.DOWN, Verdict.UNKNOWN),
                turn(4, start_ms, Verdict.UNKNOWN, Verdict.DOWN),
            ],
            NOW_MS,
        )
    with store.read() as conn:
        found = rollups.summaries(conn, None, NOW_MS)
        assert rollups.summaries(conn, [1], NOW_MS) == {1: found[1]}
        assert rollups.summaries(conn, [], NOW_MS) == {}
        windows = rollups.windows(conn, 1, NOW_MS)
        assert rollups.overall(conn, NOW_MS).uptime_30d == pytest.approx(239 / 240)
    assert found[1].uptime_24h == pytest.approx(23 / 24)
    assert found[1].uptime_30d == pytest.approx(239 / 240)
    assert (found[2].uptime_30d, found[3].uptime_30d, found[3].p95_us_24h) == (None, None, None)
    assert [cell.verdict for cell in found[1].bar[-8:]] == [
        *[Verdict.UP] * 1,
        *[Verdict.DOWN] * 2,
        *[Verdict.DEGRADED] * 5,
    ]
    assert {cell.verdict for cell in found[2].bar} == {Verdict.UNKNOWN}
    assert {cell.verdict for cell in found[3].bar} == {None}
    assert windows["24h"].availability.down_ms == HOUR_MS
    assert windows["365d"].availability.unknown_ms == 355 * DAY_MS
    assert windows["365d"].availability.outages == 1


def test_uptimes_of_several_windows_are_those_of_each(store: Store) -> None:
    """Of the headline alone: what one location found is no downtime of the target."""
    hours_down = {1: [(2, 1), (50, 3)], 2: [(20 * 24, 24)], 3: []}
    told: list[Transition] = []
    with store.write() as conn:
        add_targets(conn, 1, 2, 3, 5)
        add_targets(conn, 4, deleted_ms=5)
        for target_id, outages in hours_down.items():
            told.append(Transition(key(target_id), Verdict.UNKNOWN, Verdict.UP, NOW_MS - 60 * DAY_MS, 0, ""))
            for ago, length in outages:
                begin_ms = NOW_MS - ago * HOUR_MS
                told.append(Transition(key(target_id), Verdict.UP, Verdict.DOWN, begin_ms, 0, ""))
                told.append(Transition(key(target_id), Verdict.DOWN, Verdict.UP, begin_ms + length * HOUR_MS, 0, ""))
        told.append(Transition(key(3, location_id=2), Verdict.UP, Verdict.DOWN, NOW_MS - 5 * DAY_MS, 0, ""))
        told.append(Transition(key(4), Verdict.UP, Verdict.DOWN, NOW_MS - 5 * DAY_MS, 0, ""))
        transitions.insert_many(conn, told, NOW_MS)
    names = ["24h", "7d", "30d", "90d"]
    with store.read() as conn:
        found = rollups.uptimes(conn, None, names, NOW_MS)
        assert rollups.uptimes(conn, [5, 1], names, NOW_MS) == {5: found[5], 1: found[1]}
        assert rollups.uptimes(conn, [], names, NOW_MS) == {}
        assert rollups.uptimes(conn, [1], [], NOW_MS) == {1: {}}
        each = {number: rollups.windows(conn, number, NOW_MS) for number in (1, 2, 3, 5)}
    assert found == {
        number: {name: windows[name].availability.ratio for name in names} for number, windows in each.items()
    }
    assert found[1] == {"24h": 23 / 24, "7d": 1 - 4 / 168, "30d": 1 - 4 / 720, "90d": 1 - 4 / 1440}
    assert found[2] == {"24h": 1.0, "7d": 1.0, "30d": 1 - 24 / 720, "90d": 1 - 24 / 1440}
    assert set(found[3].values()) == {1.0}
    assert set(found[5].values()) == {None}


def expected_points(rows: list[CheckRow], from_ms: int, to_ms: int, step_ms: int) -> dict[int, list[CheckRow]]:
    steps: dict[int, list[CheckRow]] = defaultdict(list)
    for row in rows:
        if from_ms - from_ms % step_ms <= row.at_ms < to_ms:
            steps[row.at_ms - row.at_ms % step_ms].append(row)
    return steps


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize(
    ("span_ms", "step_ms"),
    [(HOUR_MS, 60_000), (DAY_MS, 300_000), (DAY_MS, HOUR_MS), (3 * DAY_MS, HOUR_MS), (4 * DAY_MS, DAY_MS)],
)
def test_charts_show_every_check_once(store: Store, folded: bool, span_ms: int, step_ms: int) -> None:
    rows = some_checks(4, target_ids=[1, 2], from_ms=NOW_MS - 5 * DAY_MS, to_ms=NOW_MS, every_ms=313_000)
    with store.write() as conn:
        add_targets(conn, 1, 2)
    add(store, rows)
    if folded:
        work(store, NOW_MS)
    with store.read() as conn:
        found = rollups.series(conn, 1, from_ms=NOW_MS - span_ms, to_ms=NOW_MS, step_ms=step_ms)
    assert found.step_ms == step_ms
    expected = expected_points([row for row in rows if row.target_id == 1], NOW_MS - span_ms, NOW_MS, step_ms)
    assert [point.start_ms for point in found.points] == sorted(expected)
    for point in found.points:
        mine = expected[point.start_ms]
        assert (point.checks, point.failed) == (len(mine), failed(mine))
        agrees(point.latency, mine)
        phase_agrees(point, mine)


def phase_agrees(point: Point, rows: list[CheckRow]) -> None:
    for number, average in enumerate(point.phases_us):
        timed = [row[3 + number] for row in rows if row.result in TIMED and row[3 + number] is not None]
        assert average == (pytest.approx(sum(timed) / len(timed)) if timed else None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("span_ms", "interval_ms", "step_ms"),
    [
        (HOUR_MS, 5_000, 10_000),
        (HOUR_MS, 60_000, 60_000),
        (DAY_MS, 60_000, 300_000),
        (7 * DAY_MS, 60_000, HOUR_MS),
        (30 * DAY_MS, 60_000, 2 * HOUR_MS),
        (90 * DAY_MS, 60_000, 6 * HOUR_MS),
        (365 * DAY_MS, 60_000, DAY_MS),
        (5 * 365 * DAY_MS, 60_000, 7 * DAY_MS),
        (40 * 365 * DAY_MS, 60_000, 42 * DAY_MS),
    ],
)
def test_a_chart_chooses_a_round_step(store: Store, span_ms: int, interval_ms: int, step_ms: int) -> None:
    with store.read() as conn:
        found = rollups.series(conn, 1, from_ms=NOW_MS - span_ms, to_ms=NOW_MS, interval_ms=interval_ms)
        assert found.step_ms == step_ms
        assert found.points == []
        finer = rollups.series(conn, 1, from_ms=NOW_MS - span_ms, to_ms=NOW_MS, step_ms=1)
    assert (finer.to_ms - finer.from_ms) / finer.step_ms <= rollups.MOST_POINTS + 1


def test_a_chart_of_a_time_whose_checks_are_gone_is_made_from_hours(store: Store) -> None:
    rows = some_checks(5, target_ids=[1], from_ms=NOW_MS - 20 * HOUR_MS, to_ms=NOW_MS, every_ms=60_000)
    with store.write() as conn:
        add_targets(conn, 1)
    add(store, rows)
    work(store, NOW_MS)
    gone = keeper.Retention(checks_ms=4 * HOUR_MS)
    for _ in keeper.trim(store, gone, NOW_MS):
        pass
    with store.read() as conn:
        whole = rollups.series(conn, 1, from_ms=NOW_MS - 20 * HOUR_MS, to_ms=NOW_MS)
        recent = rollups.series(conn, 1, from_ms=NOW_MS - 3 * HOUR_MS, to_ms=NOW_MS)
    assert whole.step_ms == HOUR_MS
    assert sum(point.checks for point in whole.points) == len(rows)
    assert recent.step_ms < HOUR_MS
