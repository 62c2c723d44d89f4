"""Layouts of a machine stay few."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.core.samples import Layout, Series
from tocsin.otlp.layouts import FEWEST_GAPS, NEW_AT_ONCE, NEW_PER_S, REMEMBERED, Fitted, Layouts, Used
from tocsin.otlp.ticks import Tick

AT_MS = 1_800_000_000_000


def tick(*names: str, kind: str = "gauge", at_ms: int = AT_MS) -> Tick:
    """Each series has the number in its name."""
    series = tuple(Series(name, (), "1", kind) for name in sorted(names))  # type: ignore[arg-type]
    values = np.array([float(name[1:]) for name in sorted(names)])
    starts = np.full(len(series), 5 if kind == "counter" else 0, dtype=np.int64)
    return Tick(at_ms, Layout(series), starts, values)


def taken(layouts: Layouts, one: Tick, now_s: float = 0.0) -> Fitted | None:
    fitted = layouts.fit(one, now_s)
    if fitted is not None:
        beat(layouts.used(fitted.layout), one.at_ms)
    return fitted


def beat(used: Used, at_ms: int) -> bool:
    """One that is stored at once."""
    in_order = used.beat(at_ms)
    if in_order:
        used.settled(at_ms, is_stored=True)
    return in_order


def told(fitted: Fitted | None) -> dict[str, float]:
    assert fitted is not None
    return {one.name: float(value) for one, value in zip(fitted.layout, fitted.values, strict=True) if value == value}


def test_the_first_is_its_own_layout_and_so_is_the_same_again() -> None:
    layouts, one = Layouts(), tick("s1", "s2")
    assert taken(layouts, one) == Fitted(one.layout, one.starts_ms, one.values)
    again = taken(layouts, one)
    assert again is not None
    assert again.layout is one.layout
    assert len(layouts) == 1


def test_a_part_goes_into_the_whole_with_gaps() -> None:
    layouts = Layouts()
    whole = tick("s1", "s2", "s3", "s4")
    taken(layouts, whole)
    fitted = taken(layouts, tick("s2", "s3"))
    assert fitted is not None
    assert fitted.layout is whole.layout
    assert told(fitted) == {"s2": 2, "s3": 3}
    assert not fitted.left_out


def test_what_is_new_is_added_to_what_there_is() -> None:
    layouts = Layouts()
    taken(layouts, tick("s1", "s2"))
    fitted = taken(layouts, tick("s2", "s3"))
    assert fitted is not None
    assert [one.name for one in fitted.layout] == ["s1", "s2", "s3"]
    assert told(fitted) == {"s2": 2, "s3": 3}


def test_counters_are_never_left_open() -> None:
    layouts = Layouts()
    whole, part = tick("s1", "s2", kind="counter"), tick("s1", kind="counter")
    taken(layouts, whole)
    fitted = taken(layouts, part)
    assert fitted is not None
    assert fitted.layout is part.layout
    # While the others of a tick may be beside it.
    both = Tick(AT_MS, Layout((*part.layout, *tick("s9").layout)), np.array([5, 0]), np.array([1.0, 9.0]))
    assert told(taken(layouts, both)) == {"s1": 1, "s9": 9}


def test_a_series_that_is_a_counter_now_is_another() -> None:
    layouts = Layouts()
    taken(layouts, tick("s1", "s2"))
    fitted = taken(layouts, tick("s1", kind="counter"))
    assert fitted is not None
    assert [(one.name, one.kind) for one in fitted.layout] == [("s1", "counter")]


def test_new_layouts_are_so_many_and_then_what_fits_is_kept() -> None:
    layouts = Layouts()
    for number in range(NEW_AT_ONCE):
        taken(layouts, tick("s0", f"s{number + 1}", kind="counter"))
    fitted = layouts.fit(tick("s0", "s999", kind="counter"), 0.0)
    assert told(fitted) == {"s0": 0}
    assert fitted is not None
    assert fitted.left_out == ("s999",)
    assert layouts.fit(tick("s998", kind="counter"), 0.0) is None
    assert layouts.fit(tick("s998", kind="counter"), 1.01 / NEW_PER_S) is not None
    assert len(layouts) == REMEMBERED


@settings(max_examples=50, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 30))
def test_whatever_part_of_its_series_a_library_tells_the_layouts_are_few_and_no_number_is_lost(
    dice: random.Random, most: int
) -> None:
    layouts = Layouts()
    names = [f"s{number}" for number in range(1, 31)]
    distinct: set[Layout] = set()
    for number in range(300):
        chosen = dice.sample(names, dice.randint(1, most))
        fitted = taken(layouts, tick(*chosen, at_ms=AT_MS + number))
        assert told(fitted) == {name: float(name[1:]) for name in chosen}
        assert fitted is not None
        distinct.add(fitted.layout)
    assert len(distinct) <= 30


def test_how_often_it_reports_is_learned_from_what_comes_most_often() -> None:
    layouts = Layouts()
    fast, slow = tick("s1", kind="counter"), tick("s2", kind="counter")
    for number in range(FEWEST_GAPS):
        assert layouts.every_ms() == 0
        beat(layouts.used(fast.layout), AT_MS + 10_000 * number)
    beat(layouts.used(fast.layout), AT_MS + 10_000 * FEWEST_GAPS)
    for number in range(5):
        beat(layouts.used(slow.layout), AT_MS + 60_000 * number)
    assert layouts.every_ms() == 10_000
    # One that was late, and one that was left out, change nothing.
    used = layouts.used(fast.layout)
    assert not beat(used, AT_MS + 5000)
    assert beat(used, AT_MS + 10_000 * (FEWEST_GAPS + 2))
    assert layouts.every_ms() == 10_000


def test_what_was_not_stored_is_not_late_when_it_comes_again() -> None:
    used = Layouts().used(tick("s1").layout)
    assert [used.beat(AT_MS), used.beat(AT_MS + 20_000), used.beat(AT_MS + 10_000)] == [True, True, False]
    used.settled(AT_MS, is_stored=True)
    used.settled(AT_MS + 20_000, is_stored=False)
    assert not used.gaps
    assert [used.beat(AT_MS + 10_000), used.beat(AT_MS + 20_000)] == [True, True]
    used.settled(AT_MS + 20_000, is_stored=True)
    used.settled(AT_MS + 10_000, is_stored=False)
    assert not used.beat(AT_MS + 10_000), "what came after it is stored"
