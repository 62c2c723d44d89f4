"""When trouble is told, waits, is held or dropped: examples people would recognize, and what always holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.decide import State, Transition, Verdict
from tocsin.core.dependencies import (
    LONGEST_WAIT_MS,
    TELL,
    Judgement,
    Period,
    Stance,
    Telling,
    Trouble,
    judge,
    may_be_laid_to_others,
    stance,
)
from tocsin.core.outcome import CERTIFICATE, HEADLINE, REACHABLE, StateKey, Subject

UP, DEGRADED, DOWN, UNKNOWN = Verdict.UP, Verdict.DEGRADED, Verdict.DOWN, Verdict.UNKNOWN
NOON = 1_772_366_520_000
SECOND = 1_000
MINUTE = 60_000

SHOP = Stance(
    id=1,
    verdict=DOWN,
    since_ms=NOON,
    looked_ms=NOON + 5 * SECOND,
    settled=True,
    enabled=True,
    probed=True,
    expected_ms=None,
    interval_ms=MINUTE,
    timeout_ms=10 * SECOND,
)
"""Down since noon, noticed five seconds later."""
TROUBLE = Trouble(before=UP, began_ms=NOON, recorded_ms=NOON + 6 * SECOND)
NOTICED = TROUBLE.recorded_ms

GATEWAY = replace(SHOP, id=2, verdict=UP, since_ms=NOON - 90 * MINUTE, looked_ms=NOON + 1)
"""Up, and looked at after the shop's trouble began."""
UNSEEN = replace(GATEWAY, looked_ms=NOON)
GONE = replace(GATEWAY, verdict=DOWN, since_ms=NOON + SECOND)
BACK = replace(GATEWAY, since_ms=NOON + 9 * MINUTE, downs=(Period(NOON + SECOND, NOON + 9 * MINUTE),))
"""Was down until nine minutes past; looks at others pass it ten seconds later."""


def hold(ancestor: Stance) -> Judgement:
    return Judgement(Telling.HOLD, ancestor.id)


def wait(ancestor: Stance) -> Judgement:
    return Judgement(Telling.WAIT, ancestor.id)


def drop(ancestor: Stance) -> Judgement:
    return Judgement(Telling.DROP, ancestor.id)


# ── while it lasts ────────────────────────────────────────────────────────────────────────────────────


def test_what_depends_on_nothing_is_told() -> None:
    assert judge(TROUBLE, SHOP, [], NOTICED) == TELL


def test_a_parent_that_is_down_holds_its_children_however_long_it_takes() -> None:
    assert judge(TROUBLE, SHOP, [GONE], NOTICED) == hold(GONE)
    assert judge(TROUBLE, SHOP, [GONE], NOON + 90 * 1440 * MINUTE) == hold(GONE)
    long_gone = replace(GONE, since_ms=NOON - 1440 * MINUTE)
    assert judge(TROUBLE, SHOP, [long_gone], NOTICED) == hold(long_gone)


def test_of_several_that_are_down_the_one_that_is_longest() -> None:
    switch = replace(GONE, id=3, since_ms=GONE.since_ms + 1)
    assert judge(TROUBLE, SHOP, [switch, GATEWAY, GONE], NOTICED) == hold(GONE)


def test_a_child_that_is_noticed_first_waits_until_its_parent_has_been_looked_at() -> None:
    assert judge(TROUBLE, SHOP, [UNSEEN], NOTICED) == wait(UNSEEN)
    assert judge(TROUBLE, SHOP, [GATEWAY], NOTICED) == TELL


def test_every_ancestor_is_waited_for() -> None:
    switch = replace(UNSEEN, id=3)
    assert judge(TROUBLE, SHOP, [GATEWAY, switch], NOTICED) == wait(switch)


def test_a_parent_whose_newest_look_failed_is_waited_for() -> None:
    shaky = replace(GATEWAY, settled=False)
    assert judge(TROUBLE, SHOP, [shaky], NOTICED) == wait(shaky)


@pytest.mark.parametrize(
    ("interval_ms", "timeout_ms", "patience_ms"),
    [(20 * SECOND, 5 * SECOND, 45 * SECOND), (MINUTE, 10 * SECOND, 120 * SECOND), (60 * MINUTE, SECOND, 120 * SECOND)],
)
def test_the_wait_ends(interval_ms: int, timeout_ms: int, patience_ms: int) -> None:
    parent = replace(UNSEEN, interval_ms=interval_ms, timeout_ms=timeout_ms, settled=False)
    assert judge(TROUBLE, SHOP, [parent], NOTICED + patience_ms - 1) == wait(parent)
    assert judge(TROUBLE, SHOP, [parent], NOTICED + patience_ms) == TELL


def test_a_clock_that_was_set_back_waits_for_nothing() -> None:
    assert judge(TROUBLE, SHOP, [UNSEEN], NOTICED - 1) == TELL
    assert judge(TROUBLE, SHOP, [BACK], NOON - 400 * 1440 * MINUTE) == TELL


@pytest.mark.parametrize("unlooked", [NOON - MINUTE, 0])
def test_a_paused_or_unknown_parent_holds_nothing(unlooked: int) -> None:
    unknown = replace(UNSEEN, verdict=UNKNOWN, looked_ms=unlooked)
    assert judge(TROUBLE, SHOP, [unknown, replace(unknown, enabled=False)], NOTICED) == TELL


def test_after_a_start_a_child_waits_for_its_parents_first_look_too() -> None:
    start = TROUBLE._replace(before=UNKNOWN)
    unknown = replace(UNSEEN, verdict=UNKNOWN, looked_ms=0)
    assert judge(start, SHOP, [unknown], NOTICED) == wait(unknown)
    assert judge(start, SHOP, [replace(unknown, looked_ms=NOON + 1)], NOTICED) == TELL  # it measures nothing
    assert judge(start, SHOP, [replace(unknown, enabled=False)], NOTICED) == TELL
    assert judge(start, SHOP, [unknown], NOTICED + LONGEST_WAIT_MS) == TELL


def test_an_unknown_parent_that_has_just_failed_is_waited_for() -> None:
    failing = replace(GATEWAY, verdict=UNKNOWN, settled=False)
    assert judge(TROUBLE, SHOP, [failing], NOTICED) == wait(failing)


# ── parents that call in ──────────────────────────────────────────────────────────────────────────────


def test_a_parent_that_calls_in_is_waited_for_only_if_it_is_due_in_time() -> None:
    job = replace(UNSEEN, probed=False, expected_ms=NOTICED + 30 * SECOND)
    assert judge(TROUBLE, SHOP, [job], NOTICED) == wait(job)
    assert judge(TROUBLE, SHOP, [replace(job, looked_ms=NOON + 1)], NOTICED) == TELL
    assert judge(TROUBLE, SHOP, [replace(job, expected_ms=NOTICED + LONGEST_WAIT_MS)], NOTICED) == TELL
    assert judge(TROUBLE, SHOP, [replace(job, expected_ms=None)], NOTICED) == TELL


# ── when the parent is well again ─────────────────────────────────────────────────────────────────────

LOOKED_AGAIN = replace(SHOP, looked_ms=NOON + 9 * MINUTE + 10 * SECOND + 1)
TEN_PAST = NOON + 10 * MINUTE


def test_a_child_is_told_only_when_it_has_been_looked_at_since() -> None:
    assert judge(TROUBLE, SHOP, [BACK], TEN_PAST) == wait(BACK)
    too_soon = replace(SHOP, looked_ms=NOON + 9 * MINUTE + 10 * SECOND)
    assert judge(TROUBLE, too_soon, [BACK], TEN_PAST) == wait(BACK)
    assert judge(TROUBLE, LOOKED_AGAIN, [BACK], TEN_PAST) == TELL


def test_a_child_that_is_gone_is_not_looked_at_again() -> None:
    assert judge(TROUBLE, None, [BACK], TEN_PAST) == TELL
    assert judge(TROUBLE, None, [GONE], NOTICED) == hold(GONE)
    assert judge(TROUBLE, None, [UNSEEN], NOTICED) == wait(UNSEEN)


def test_a_child_that_is_just_recovering_is_given_time() -> None:
    recovering = replace(LOOKED_AGAIN, settled=False)
    assert judge(TROUBLE, recovering, [BACK], TEN_PAST) == wait(BACK)


def test_a_child_that_is_not_looked_at_again_is_told_after_a_round_of_its_own() -> None:
    ends_ms = NOON + 9 * MINUTE + 10 * SECOND + 130 * SECOND
    assert judge(TROUBLE, SHOP, [BACK], ends_ms - 1) == wait(BACK)
    assert judge(TROUBLE, SHOP, [BACK], ends_ms) == TELL
    job = replace(SHOP, probed=False, interval_ms=1440 * MINUTE)
    assert judge(TROUBLE, job, [BACK], ends_ms - 10 * SECOND - 1) == wait(BACK)
    assert judge(TROUBLE, job, [BACK], ends_ms - 10 * SECOND) == TELL


def test_a_parent_that_is_paused_while_down_lets_its_children_be_looked_at_first() -> None:
    paused = replace(BACK, verdict=UNKNOWN, enabled=False)
    assert judge(TROUBLE, SHOP, [paused], TEN_PAST) == wait(paused)
    assert judge(TROUBLE, LOOKED_AGAIN, [paused], TEN_PAST) == TELL


def test_a_parent_that_was_down_before_it_all_explains_nothing() -> None:
    earlier = replace(BACK, since_ms=NOON - MINUTE, downs=(Period(NOON - 5 * MINUTE, NOON - MINUTE),))
    assert judge(TROUBLE, SHOP, [earlier], NOTICED) == TELL


def test_another_parent_that_is_down_goes_on_holding() -> None:
    switch = replace(GONE, id=3)
    assert judge(TROUBLE, LOOKED_AGAIN, [BACK, switch], TEN_PAST) == hold(switch)


# ── when it is over ───────────────────────────────────────────────────────────────────────────────────

OVER = TROUBLE._replace(ended_ms=NOON + 5 * MINUTE)


def test_what_is_over_while_a_parent_is_down_is_not_told() -> None:
    assert judge(OVER, SHOP, [GONE], TEN_PAST) == drop(GONE)


def test_what_was_over_before_the_parent_went_down_is_told() -> None:
    later = replace(GONE, since_ms=OVER.ended_ms or 0)
    assert judge(OVER, SHOP, [later], TEN_PAST) == drop(later)
    after = replace(later, since_ms=later.since_ms + 1)
    assert judge(OVER, SHOP, [after], TEN_PAST) == TELL


def test_what_fell_into_an_outage_of_the_parent_that_is_over_too_is_not_told() -> None:
    assert judge(OVER, SHOP, [BACK], TEN_PAST) == drop(BACK)
    assert judge(OVER._replace(ended_ms=NOON + SECOND), SHOP, [BACK], TEN_PAST) == drop(BACK)
    assert judge(OVER._replace(ended_ms=NOON + SECOND - 1), SHOP, [BACK], TEN_PAST) == TELL
    late = OVER._replace(began_ms=NOON + 9 * MINUTE + 9 * SECOND, ended_ms=NOON + 20 * MINUTE)
    assert judge(late, SHOP, [BACK], TEN_PAST) == drop(BACK)
    later = late._replace(began_ms=NOON + 9 * MINUTE + 10 * SECOND)
    assert judge(later, SHOP, [replace(BACK, looked_ms=TEN_PAST)], TEN_PAST) == TELL


def test_any_of_the_parents_outages_counts() -> None:
    twice = replace(BACK, downs=(*BACK.downs, Period(NOON + 20 * MINUTE, NOON + 21 * MINUTE)))
    assert judge(OVER, SHOP, [twice], NOON + 30 * MINUTE) == drop(twice)


def test_a_blip_waits_until_it_is_known_whether_the_parent_was_the_cause() -> None:
    blip = TROUBLE._replace(ended_ms=NOON + 20 * SECOND)
    assert judge(blip, SHOP, [UNSEEN], NOON + 21 * SECOND) == wait(UNSEEN)
    assert judge(blip, SHOP, [GATEWAY], NOON + 21 * SECOND) == TELL
    assert judge(blip, SHOP, [GONE], NOON + 21 * SECOND) == drop(GONE)


# ── how a target stands ───────────────────────────────────────────────────────────────────────────────


def standing(headline: State, *locations: State, probed: bool = True, changes: Sequence[Transition] = ()) -> Stance:
    return stance(
        7, headline, locations, enabled=True, probed=probed, interval_ms=MINUTE, timeout_ms=SECOND, changes=changes
    )


def test_it_has_been_looked_at_when_every_location_that_measures_has() -> None:
    seen = standing(
        State(verdict=UP, since_ms=5, last_at_ms=1),
        State(verdict=UP, last_at_ms=70),
        State(verdict=DOWN, last_at_ms=60),
        State(verdict=UNKNOWN, last_at_ms=10),
    )
    assert (seen.verdict, seen.since_ms, seen.looked_ms, seen.settled) == (UP, 5, 60, True)


def test_where_no_location_measures_the_newest_look_counts() -> None:
    unmeasured = State(verdict=UNKNOWN, last_at_ms=10)
    assert standing(State(), unmeasured, unmeasured._replace(last_at_ms=20)).looked_ms == 20
    assert standing(State()).looked_ms == 0


def test_one_location_that_is_not_settled_is_enough() -> None:
    shaky = State(verdict=UP, failures=1, last_at_ms=70)
    assert not standing(State(verdict=UP), State(verdict=UP, last_at_ms=60), shaky).settled
    assert not standing(State(), State(verdict=UNKNOWN, failures=1)).settled


def test_what_calls_in_has_only_its_headline() -> None:
    job = standing(State(verdict=UP, last_at_ms=50, due_ms=90), probed=False)
    assert (job.looked_ms, job.expected_ms) == (50, 90)
    assert standing(State(verdict=UP, due_ms=90), State(verdict=UP)).expected_ms is None


def change(before: Verdict, after: Verdict, at_ms: int, rule: str = REACHABLE) -> Transition:
    return Transition(StateKey(Subject("target", 7), rule, HEADLINE), before, after, at_ms, at_ms, "")


def test_periods_of_being_down() -> None:
    changes = [
        change(DOWN, UNKNOWN, 10),
        change(UNKNOWN, DOWN, 20),
        change(DOWN, DEGRADED, 30),
        change(UP, DOWN, 40),
    ]
    assert standing(State(verdict=DOWN, since_ms=40), changes=changes).downs == (Period(0, 10), Period(20, 30))


def test_what_others_can_explain() -> None:
    assert may_be_laid_to_others(change(UP, DOWN, 1))
    assert may_be_laid_to_others(change(UNKNOWN, DEGRADED, 1))
    assert not may_be_laid_to_others(change(DOWN, UP, 1))
    assert not may_be_laid_to_others(change(DOWN, UNKNOWN, 1))
    assert not may_be_laid_to_others(change(UP, DEGRADED, 1, rule=CERTIFICATE))
    of_machine = StateKey(Subject("machine", 7), REACHABLE, HEADLINE)
    assert not may_be_laid_to_others(change(UP, DOWN, 1)._replace(key=of_machine))


# ── what always holds ─────────────────────────────────────────────────────────────────────────────────

moments = st.integers(0, 1_000_000)
periods = st.lists(moments, max_size=6, unique=True).map(
    lambda ends: tuple(Period(*pair) for pair in zip(*[iter(sorted(ends))] * 2, strict=False))
)
stances = st.builds(
    Stance,
    id=st.integers(2, 5),
    verdict=st.sampled_from(Verdict),
    since_ms=moments,
    looked_ms=moments,
    settled=st.booleans(),
    enabled=st.booleans(),
    probed=st.booleans(),
    expected_ms=st.none() | moments,
    interval_ms=st.integers(1_000, 400_000),
    timeout_ms=st.integers(100, 30_000),
    downs=periods,
)
several = st.lists(stances, max_size=4, unique_by=lambda one: one.id)
troubles = st.builds(
    lambda before, began_ms, noticed_ms, lasted_ms: Trouble(
        before, began_ms, began_ms + noticed_ms, None if lasted_ms is None else began_ms + lasted_ms
    ),
    st.sampled_from(Verdict),
    moments,
    st.integers(0, 100_000),
    st.none() | st.integers(0, 500_000),
)
targets = stances.map(lambda one: replace(one, id=1))


@given(troubles, targets, several, moments)
def test_nothing_that_lasts_is_told_while_an_ancestor_is_down_and_only_then_it_is_held(
    trouble: Trouble, target: Stance, ancestors: list[Stance], now_ms: int
) -> None:
    judgement = judge(trouble._replace(ended_ms=None), target, ancestors, now_ms)
    held = any(one.verdict is DOWN for one in ancestors)
    assert (judgement.telling is Telling.HOLD) == held
    assert judgement.telling is not Telling.DROP


@given(troubles, targets, several, moments)
def test_whose_fault_it_may_be_is_named(trouble: Trouble, target: Stance, ancestors: list[Stance], now_ms: int) -> None:
    judgement = judge(trouble, target, ancestors, now_ms)
    assert (judgement.because_of is None) == (judgement.telling is Telling.TELL)
    assert judgement.because_of in {None, *(one.id for one in ancestors)}
    assert (judgement.waits_for is not None) == (judgement.telling in (Telling.WAIT, Telling.HOLD))


@given(troubles, targets, several, moments)
def test_the_order_of_ancestors_does_not_matter(
    trouble: Trouble, target: Stance, ancestors: list[Stance], now_ms: int
) -> None:
    assert judge(trouble, target, ancestors[::-1], now_ms) == judge(trouble, target, ancestors, now_ms)


@given(troubles, targets, several)
def test_no_wait_is_for_ever(trouble: Trouble, target: Stance, ancestors: list[Stance]) -> None:
    """Where no ancestor is down, everything is decided two minutes after it was noticed, and a round of the target's
    own after the last of its ancestors' outages."""
    waits = [trouble.recorded_ms + LONGEST_WAIT_MS]
    waits += [one.downs[-1].until_ms + one.timeout_ms + target.round_ms for one in ancestors if one.downs]
    judgement = judge(trouble, target, ancestors, max(waits))
    assert judgement.telling is not Telling.WAIT
    if trouble.ended_ms is None and not any(one.verdict is DOWN for one in ancestors):
        assert judgement == TELL


@given(troubles, targets, several, moments)
def test_the_one_that_is_named_decides_alone(
    trouble: Trouble, target: Stance, ancestors: list[Stance], now_ms: int
) -> None:
    """Leaving out everybody but the one that is named changes nothing."""
    judgement = judge(trouble, target, ancestors, now_ms)
    named = [one for one in ancestors if one.id == judgement.because_of]
    assert judge(trouble, target, named, now_ms) == judgement
