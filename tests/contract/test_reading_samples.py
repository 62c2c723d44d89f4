"""What is read of samples: which tier, in which steps, and whatever happened to them before."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.test_sealing import (
    CPU,
    HOUR,
    KEPT,
    LAYOUTS,
    MIDNIGHT,
    NOW_MS,
    check_all,
    counted,
    history,
    insert,
    layout_ids,
    read,
    register,
    seal,
    told,
)
from tocsin.core.rollup import DAY_MS, HOUR_MS
from tocsin.core.samples import Layout, Series
from tocsin.core.tiers import MINUTE_MS
from tocsin.services import keeper
from tocsin.store import marks, samples, tables
from tocsin.store.engine import Store
from tocsin.store.samples import Tick
from tocsin.store.sealing import Kept

WEEK_MS = 7 * DAY_MS
PAST_MS = NOW_MS % HOUR_MS


@pytest.mark.parametrize(
    ("back_ms", "length_ms", "asked_ms", "tier", "step_ms"),
    [
        (HOUR_MS, HOUR_MS, None, "ticks", 5_000),  # as they are
        (3 * HOUR_MS, 3 * HOUR_MS, None, "ticks", 10_000),
        (DAY_MS, DAY_MS, None, "minutes", MINUTE_MS),
        (DAY_MS + 17, HOUR_MS, None, "ticks", 5_000),  # hours are kept whole
        (DAY_MS + PAST_MS, HOUR_MS, None, "ticks", 5_000),
        (DAY_MS + PAST_MS + 1, HOUR_MS, None, "minutes", MINUTE_MS),  # single ticks are not kept for all of it
        (WEEK_MS, WEEK_MS, None, "minutes", 10 * MINUTE_MS),
        (WEEK_MS + 17, WEEK_MS, 10 * MINUTE_MS, "minutes", 10 * MINUTE_MS),  # "a week ago", as a browser asks
        (WEEK_MS + PAST_MS, DAY_MS, None, "minutes", MINUTE_MS),
        (WEEK_MS + PAST_MS + 1, DAY_MS, None, "hours", HOUR_MS),
        (90 * DAY_MS, 90 * DAY_MS, None, "hours", 2 * HOUR_MS),
        (4000 * DAY_MS, 4000 * DAY_MS, None, "hours", 5 * DAY_MS),
        (HOUR_MS, HOUR_MS, 1_000, "ticks", 2_000),  # it would be too many
        (HOUR_MS, HOUR_MS, 7_000, "ticks", 7_000),
        (HOUR_MS, HOUR_MS, 90_000, "ticks", 90_000),
        (HOUR_MS, HOUR_MS, 5 * MINUTE_MS, "minutes", 5 * MINUTE_MS),
        (3 * HOUR_MS, 3 * HOUR_MS, 2 * HOUR_MS, "hours", 2 * HOUR_MS),
        (2 * DAY_MS, HOUR_MS, 90_000, "minutes", 2 * MINUTE_MS),
        (8 * DAY_MS, DAY_MS, 90 * MINUTE_MS, "hours", 2 * HOUR_MS),
        (8 * DAY_MS, 8 * DAY_MS, 1, "hours", HOUR_MS),
    ],
)
def test_it_comes_from_the_finest_that_is_kept_and_not_too_much(
    store: Store, back_ms: int, length_ms: int, asked_ms: int | None, tier: str, step_ms: int
) -> None:
    register(store, "a")
    insert(store, [Tick(1, NOW_MS - back_ms + 1, layout_ids(store)[0], np.array([1, 2], "<f4").tobytes())])
    found = read(store, 1, NOW_MS - back_ms, NOW_MS - back_ms + length_ms, asked_ms)
    assert (found.tier, found.step_ms) == (tier, step_ms)
    assert len(found.at_ms) <= 2000
    assert found.series == [CPU, LAYOUTS[0].series[1]]
    assert found.count.shape == found.total.shape == found.last.shape == (2, len(found.at_ms))
    assert found.count.sum() == 2
    if asked_ms is not None or step_ms != 5_000:
        assert (found.at_ms % step_ms == 0).all()
        assert (np.diff(found.at_ms) == step_ms).all()
        assert found.at_ms[0] <= NOW_MS - back_ms < found.at_ms[0] + step_ms


@pytest.mark.parametrize("past_ms", [0, 1, PAST_MS, HOUR_MS - 1])
def test_what_is_read_from_is_what_retention_has_left(store: Store, past_ms: int) -> None:
    """At any minute of an hour, asked for from as far back as it is kept and, on its way, a little further."""
    now_ms = HOUR + past_ms
    register(store, "a")
    ids = layout_ids(store)
    vector = np.array([1, 2], "<f4").tobytes()
    insert(store, [Tick(1, at_ms, ids[0], vector) for at_ms in range(HOUR - DAY_MS, HOUR, 5 * MINUTE_MS)])
    kept = Kept(ticks_ms=3 * HOUR_MS, minutes_ms=7 * HOUR_MS)
    seal(store, HOUR + HOUR_MS, kept)
    for _ in keeper.trim_samples(store, kept, now_ms):
        pass
    for tier, length_ms in (("ticks", kept.ticks_ms), ("minutes", kept.minutes_ms)):
        oldest_ms = (now_ms - length_ms) // HOUR_MS * HOUR_MS
        for from_ms in {oldest_ms, max(oldest_ms, now_ms - length_ms - 17), now_ms - length_ms}:
            found = read(store, 1, from_ms, HOUR, None if tier == "ticks" else MINUTE_MS, kept=kept, now_ms=now_ms)
            first_ms = found.at_ms[found.count[0] > 0][0]
            assert (found.tier, first_ms - from_ms < 5 * MINUTE_MS) == (tier, True)
        coarser = read(store, 1, oldest_ms - 1, HOUR, kept=kept, now_ms=now_ms)
        assert coarser.tier != tier


def test_more_ticks_than_expected_are_put_into_steps(store: Store) -> None:
    """It says it reports every 5 s and does so every second."""
    register(store, "a")
    ids = layout_ids(store)
    vector = np.array([1, 2], "<f4").tobytes()
    insert(store, [Tick(1, at_ms, ids[0], vector) for at_ms in range(HOUR, HOUR + 400_000, 1_000)])
    assert len(read(store, 1, HOUR, HOUR + 400_000, most=400).at_ms) == 400
    found = read(store, 1, HOUR, HOUR + 400_000, most=300)
    assert (found.tier, found.step_ms, len(found.at_ms)) == ("ticks", 5_000, 80)
    assert (found.count == 5).all()


def test_where_ticks_are_missing_there_is_one_point_of_nothing(store: Store) -> None:
    register(store, "a")
    ids = layout_ids(store)
    vector = np.array([1, math.nan], "<f4").tobytes()
    times = [0, 5_000, 15_000, 30_000, 46_000, 51_000]
    insert(store, [Tick(1, HOUR + at_ms, ids[0], vector) for at_ms in times])
    found = read(store, 1, HOUR, HOUR + 3 * MINUTE_MS)
    assert (found.at_ms - HOUR).tolist() == [0, 5_000, 15_000, 30_000, 35_000, 46_000, 51_000]
    assert found.count.tolist() == [[1, 1, 1, 1, 0, 1, 1], [0] * 7]
    assert np.isnan(found.last[0]).tolist() == [False] * 4 + [True] + [False] * 2
    assert np.isnan(found.total).tolist() == np.isnan(found.last).tolist() == (found.count == 0).tolist()


def test_nothing_was_sent(store: Store) -> None:
    for step_ms, size in ((None, 0), (MINUTE_MS, 10)):
        found = read(store, 7, HOUR, HOUR + 10 * MINUTE_MS, step_ms)
        assert (found.series, len(found.at_ms), found.count.shape) == ([], size, (0, size))
    register(store, "a")
    insert(store, history(1, layout_ids(store)))
    assert read(store, 1, HOUR, NOW_MS, names=["odd"]).series == []
    assert read(store, 1, HOUR, NOW_MS, names=[]).series == []
    assert len(read(store, 1, NOW_MS + HOUR_MS, NOW_MS + 2 * HOUR_MS).at_ms) == 0
    assert read(store, 1, NOW_MS - 3 * DAY_MS, NOW_MS - 2 * DAY_MS).count.sum() == 0


def test_a_series_of_several_layouts_is_one_line_in_the_newest_unit(store: Store) -> None:
    register(store, "a")
    series = Series("disk", (("device", "sda"),), "By")
    other = Series("disk", (("device", "sdb"),), "By")
    with store.write() as conn:
        ids = samples.layout_ids(conn, [Layout((series,)), Layout((other, series._replace(unit="KiBy")))])
    values = ([1.0], [5.0, 2.0])
    for number in range(120):
        which = number % 2
        at_ms = HOUR - HOUR_MS + number * MINUTE_MS // 2
        insert(store, [Tick(1, at_ms, ids[which], np.array(values[which], "<f4").tobytes())])
    for _ in range(2):
        found = read(store, 1, HOUR - HOUR_MS, HOUR, HOUR_MS, names=["disk"])
        assert found.series == [series._replace(unit="KiBy"), other]
        assert found.count[:, 0].tolist() == [120, 60]
        assert found.total[:, 0].tolist() == [180, 300]
        assert found.last[:, 0].tolist() == [2, 5]
        seal(store)


# ── whatever happens to them ──────────────────────────────────────────────────────────────────────────

_SPREAD_MS = 3 * HOUR_MS
moments = st.integers(0, _SPREAD_MS - 1).map(lambda at_ms: MIDNIGHT - 2 * HOUR_MS + at_ms // 7_000 * 7_000)
values = st.one_of(st.floats(width=32, min_value=-1e4, max_value=1e4), st.sampled_from([math.nan, math.inf, 0.0]))
whats = st.lists(
    st.tuples(
        moments,
        st.integers(0, 1),
        st.tuples(values, values, values),
        st.integers(0, 4),  # when it comes
        st.integers(0, 2),  # how often it is sent again
    ),
    min_size=1,
    max_size=60,
    unique_by=lambda tick: tick[:2],
)
AFTERWARDS_MS = MIDNIGHT + 90 * MINUTE_MS
SHORT = Kept(ticks_ms=90 * MINUTE_MS)


def forget(store: Store) -> None:
    with store.write() as conn:
        for table in (
            tables.samples,
            tables.late_samples,
            tables.sample_blocks,
            tables.sample_minutes,
            tables.sample_hours,
        ):
            conn.execute(table.delete())
        names = tables.rollup_marks.c.name
        of_samples = names.in_([marks.CLOSED, marks.SEALED, marks.TICKS])
        conn.execute(tables.rollup_marks.update().where(of_samples).values(through_ms=0))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(whats, st.integers(0, 2**32))
def test_shuffled_repeated_late_and_missing_it_equals_a_count_of_all(
    store: Store, some: Sequence[tuple[int, int, tuple[float, ...], int, int]], seed: int
) -> None:
    """Before an hour is sealed, while it is, afterwards, and when single ticks are not kept any more."""
    forget(store)
    if not layout_ids_of(store):
        register(store, "a")
    ids = layout_ids(store)
    rng = random.Random(seed)
    seen: list[Tick] = []
    for phase in range(5):
        # Of what is gone nobody can tell any more whether it was there: it is not sent again.
        sendable = [one for one in some if one[3] == phase or (one[3] < phase and phase < 4 and one[4] > 1)]
        sent = [tick(one, ids) for one in sendable for _ in range(one[4] + 1)]
        rng.shuffle(sent)
        for begin in range(0, len(sent), 7):
            insert(store, sent[begin : begin + 7])
        seen += sent
        everything_agrees(store, seen, ids, single=phase < 4)
        match phase:
            case 0:  # one hour is over
                seal(store, MIDNIGHT - HOUR_MS + 2 * MINUTE_MS, SHORT)
            case 1:  # closed, and no more
                with store.write() as conn:
                    marks.close_samples(conn, MIDNIGHT)
            case 2:
                seal(store, MIDNIGHT + 2 * MINUTE_MS, SHORT)
            case 3:
                seal(store, AFTERWARDS_MS, SHORT)
                for _ in keeper.trim_samples(store, SHORT, AFTERWARDS_MS):
                    pass
            case _:
                seal(store, AFTERWARDS_MS, SHORT)
        everything_agrees(store, seen, ids, single=phase < 3)


def layout_ids_of(store: Store) -> list[int]:
    with store.read() as conn:
        return list(samples.layouts(conn, range(1, 3)))


def tick(one: tuple[int, int, tuple[float, ...], int, int], ids: Sequence[int]) -> Tick:
    at_ms, which, row, *_ = one
    return Tick(1, at_ms, ids[which], np.array(row[: len(LAYOUTS[which])], "<f4").tobytes())


def everything_agrees(store: Store, seen: Sequence[Tick], ids: Sequence[int], *, single: bool) -> None:
    from_ms, to_ms = MIDNIGHT - 2 * HOUR_MS, MIDNIGHT + HOUR_MS
    for step_ms in (7_000, MINUTE_MS, HOUR_MS) if single else (MINUTE_MS, HOUR_MS):
        kept = KEPT if single else SHORT
        found = read(store, 1, from_ms, to_ms, step_ms, kept=kept, now_ms=AFTERWARDS_MS)
        assert found.step_ms == step_ms
        one, other = told(found), counted(seen, ids, 1, from_ms, to_ms, step_ms)
        assert one.keys() == other.keys()
        if one:
            assert np.abs(np.array(list(map(one.get, one))) - np.array(list(map(other.get, one)))).max() < 1e-3


def test_the_check_itself_can_fail(store: Store) -> None:
    register(store, "a")
    ids = layout_ids(store)
    ticks = history(1, ids)
    insert(store, ticks[1:])
    with pytest.raises(AssertionError):
        check_all(store, ticks, ids)
