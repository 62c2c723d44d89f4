from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.decide import Verdict
from tocsin.core.uptime import CODES, Availability, Interval, Timelines, availability, ratios, worst_by_step

END = 60
"""Windows and changes lie in [0, END): small enough to look at every millisecond."""


class Change(NamedTuple):
    """From ``at_ms`` on, until the next change, the verdict is ``after``."""

    at_ms: int
    after: Verdict


def lines(changes: Mapping[int, Sequence[Change]], until_ms: int) -> Timelines:
    rows = [(subject, at_ms, CODES[after]) for subject in sorted(changes) for at_ms, after in changes[subject]]
    return Timelines.of(np.array(rows, dtype=np.int64).reshape(-1, 3), until_ms)


@st.composite
def timelines(draw: st.DrawFn) -> list[Change]:
    times = draw(st.lists(st.integers(0, END - 1), min_size=1, max_size=8).map(sorted))
    verdicts = draw(st.lists(st.sampled_from(Verdict), min_size=len(times), max_size=len(times)))
    return [Change(at_ms, after) for at_ms, after in zip(times, verdicts, strict=True)]


@st.composite
def intervals(draw: st.DrawFn) -> Interval:
    begin, end = sorted(draw(st.tuples(st.integers(0, END), st.integers(0, END))))
    return Interval(begin, end)


subjects = st.dictionaries(st.integers(1, 5), timelines(), max_size=4)
maintenances = st.dictionaries(st.integers(1, 5), st.lists(intervals(), max_size=3), max_size=3)


def verdict_at(changes: Sequence[Change], at_ms: int) -> Verdict | None:
    """The slow way: the last change that is not later, None before the first."""
    standing = None
    for change in changes:
        if change.at_ms <= at_ms:
            standing = change.after
    return standing


def model(changes: Sequence[Change], window: Interval, pauses: Sequence[Interval]) -> Availability:
    """Every millisecond by itself."""
    spent = dict.fromkeys([*Verdict, "maintenance"], 0)
    for at_ms in range(*window):
        if any(begin <= at_ms < end for begin, end in pauses):
            spent["maintenance"] += 1
        else:
            spent[verdict_at(changes, at_ms) or Verdict.UNKNOWN] += 1
    return Availability(
        spent[Verdict.UP],
        spent[Verdict.DEGRADED],
        spent[Verdict.DOWN],
        spent[Verdict.UNKNOWN],
        spent["maintenance"],
        outages(changes, window, pauses),
    )


def outages(changes: Sequence[Change], window: Interval, pauses: Sequence[Interval]) -> int:
    stretches = pairwise([*changes, Change(END, Verdict.UNKNOWN)])
    return sum(
        1
        for change, following in stretches
        if change.after is Verdict.DOWN
        and any(
            window.from_ms <= at_ms < window.to_ms and not any(begin <= at_ms < end for begin, end in pauses)
            for at_ms in range(change.at_ms, following.at_ms)
        )
    )


@given(subjects, intervals(), maintenances)
def test_time_is_counted_as_by_looking_at_every_millisecond(
    changes: Mapping[int, list[Change]], window: Interval, maintenance: Mapping[int, list[Interval]]
) -> None:
    found = availability(lines(changes, END), window, maintenance=maintenance)
    assert found == {subject: model(mine, window, maintenance.get(subject, ())) for subject, mine in changes.items()}


@given(subjects, st.lists(intervals(), max_size=4))
def test_ratios_are_those_of_each_window_by_itself(
    changes: Mapping[int, list[Change]], windows: list[Interval]
) -> None:
    timelines = lines(changes, END)
    found = ratios(timelines, windows)
    assert found.shape == (len(changes), len(windows))
    for number, window in enumerate(windows):
        each = availability(timelines, window)
        expected = [each[subject].ratio for subject in timelines.subjects]
        assert [None if np.isnan(ratio) else ratio for ratio in found[:, number].tolist()] == expected


@given(subjects, intervals())
def test_the_five_parts_are_the_whole_window(changes: Mapping[int, list[Change]], window: Interval) -> None:
    for found in availability(lines(changes, END), window).values():
        parts = (found.up_ms, found.degraded_ms, found.down_ms, found.unknown_ms, found.maintenance_ms)
        assert sum(parts) == window.to_ms - window.from_ms


SEVERITY = [Verdict.UNKNOWN, Verdict.UP, Verdict.DEGRADED, Verdict.DOWN]


@given(subjects, st.integers(0, 20), st.integers(1, 10), st.integers(1, 6))
def test_each_cell_shows_the_worst_verdict_in_it(
    changes: Mapping[int, list[Change]], from_ms: int, step_ms: int, steps: int
) -> None:
    found = worst_by_step(lines(changes, END), from_ms, step_ms, steps)
    for subject, mine in changes.items():
        for number, cell in enumerate(found[subject]):
            begin = from_ms + number * step_ms
            seen = [
                verdict for at_ms in range(begin, min(begin + step_ms, END)) if (verdict := verdict_at(mine, at_ms))
            ]
            assert cell == max(seen, key=SEVERITY.index, default=None)


def test_nothing_measured_is_no_ratio() -> None:
    changes = {1: [Change(0, Verdict.UNKNOWN)]}
    assert availability(lines(changes, 10), Interval(0, 10))[1].ratio is None


def test_maintenance_and_unknown_do_not_count() -> None:
    changes = {1: [Change(0, Verdict.UNKNOWN), Change(2, Verdict.UP), Change(6, Verdict.DOWN)]}
    found = availability(lines(changes, 10), Interval(0, 10), maintenance={1: [Interval(8, 10)]})[1]
    assert found == Availability(up_ms=4, degraded_ms=0, down_ms=2, unknown_ms=2, maintenance_ms=2, outages=1)
    assert found.ratio == 4 / 6


def test_a_second_of_outage_in_a_year_is_not_rounded_away() -> None:
    year_ms = 365 * 86_400_000
    changes = {1: [Change(0, Verdict.UP), Change(5_000, Verdict.DOWN), Change(6_000, Verdict.UP)]}
    found = availability(lines(changes, year_ms), Interval(0, year_ms))[1]
    assert found.down_ms == 1_000
    assert found.ratio == (year_ms - 1_000) / year_ms
