"""What locations agree on: by examples, by laws that hold for any votes, and against a slow and obvious timeline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.decide import Policy, Quorum, State, Transition, Verdict, decide
from tocsin.core.outcome import HEADLINE, REACHABLE, Outcome, Result, StateKey, Subject
from tocsin.core.quorum import NOWHERE, Vote, combine, needed

UP, DEGRADED, DOWN, UNKNOWN = Verdict.UP, Verdict.DEGRADED, Verdict.DOWN, Verdict.UNKNOWN
LETTERS = {"u": UP, "g": DEGRADED, "d": DOWN, "?": UNKNOWN}
BADNESS = {UP: 0, DEGRADED: 1, DOWN: 2}
KEY = StateKey(Subject("target", 1), REACHABLE, HEADLINE)
NOW_MS = 10**6

_NAMED: tuple[Quorum, ...] = ("any", "majority", "all")
quorums = st.sampled_from(_NAMED) | st.integers(1, 7)
measured = st.sampled_from([UP, DEGRADED, DOWN])
verdicts = st.sampled_from(Verdict)


def at(place: int) -> StateKey:
    return KEY._replace(location_id=place)


def votes(given: Iterable[Verdict], since_ms: Sequence[int] = ()) -> list[Vote]:
    return [
        Vote(
            place, verdict, since_ms[place - 1] if since_ms else 10 * place, f"{verdict} at {place}", 100 + place, place
        )
        for place, verdict in enumerate(given, start=1)
    ]


def agreed(given: Iterable[Verdict], quorum: Quorum) -> Verdict:
    state, _ = combine(KEY, State(), votes(given), quorum, NOW_MS)
    return state.verdict


def moved(place: int, before: Verdict, after: Verdict, at_ms: int, check_at_ms: int = 0) -> Transition:
    return Transition(at(place), before, after, at_ms, check_at_ms or at_ms, "", place)


# ── by examples ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("found", "any_", "majority", "all_", "two"),
    [
        ("u", "u", "u", "u", "u"),
        ("d", "d", "d", "d", "d"),
        ("ud", "d", "u", "u", "u"),
        ("dd", "d", "d", "d", "d"),
        ("uud", "d", "u", "u", "u"),
        ("udd", "d", "d", "u", "d"),
        ("ddd", "d", "d", "d", "d"),
        ("ugd", "d", "g", "u", "g"),
        ("ggd", "d", "g", "g", "g"),
        ("uugg", "g", "u", "u", "g"),
        ("uddd", "d", "d", "u", "d"),
        ("uudd", "d", "u", "u", "d"),
        # who measures nothing has no vote
        ("u??", "u", "u", "u", "u"),
        ("d??", "d", "d", "d", "d"),
        ("ud?", "d", "u", "u", "u"),
        ("dd?", "d", "d", "d", "d"),
        ("?", "?", "?", "?", "?"),
        ("???", "?", "?", "?", "?"),
        ("", "?", "?", "?", "?"),
    ],
)
def test_what_is_agreed_on(found: str, any_: str, majority: str, all_: str, two: str) -> None:
    seen = [LETTERS[letter] for letter in found]
    expected = [LETTERS[letter] for letter in (any_, majority, all_, two)]
    assert [agreed(seen, quorum) for quorum in ("any", "majority", "all", 2)] == expected


def test_a_change_is_dated_to_when_enough_had_found_it_so_and_settled_by_the_check_that_made_it_enough() -> None:
    """The third check that fails at 450 settles what began at 300, and the target is down since then."""
    cause = moved(3, UP, DOWN, at_ms=300, check_at_ms=450)
    state, changes = combine(KEY, State(UP, 5), votes([DOWN, UP, DOWN], [100, 50, 300]), "majority", NOW_MS, cause)
    reason = "down at 1, from 2 of 3 locations"
    assert changes == [Transition(KEY, UP, DOWN, 300, 450, reason, 3)]
    assert (state.verdict, state.since_ms, state.reason) == (DOWN, 300, reason)


def test_a_location_that_reports_late_does_not_date_it_too_early() -> None:
    """What the third found at 120 arrives last; two locations had found it so only since 200."""
    late = moved(3, UP, DOWN, at_ms=120, check_at_ms=130)
    _, changes = combine(KEY, State(UP, 5), votes([DOWN, UP, DOWN], [200, 50, 120]), "majority", NOW_MS, late)
    assert [(change.at_ms, change.check_at_ms) for change in changes] == [(200, 130)]


def test_it_is_up_again_when_too_few_are_left_to_say_otherwise() -> None:
    cause = moved(1, DOWN, UP, at_ms=500)
    state, changes = combine(KEY, State(DOWN, 300), votes([UP, UP, DOWN], [500, 50, 300]), "majority", NOW_MS, cause)
    assert changes == [Transition(KEY, DOWN, UP, 500, 500, "up at 2", 1)], (
        "the reason is that of the first to find it so"
    )
    assert state.verdict is UP


def test_a_location_that_falls_silent_changes_it_when_it_did() -> None:
    """Down at one of two locations is no majority until the other, which is up, measures no more."""
    silent = moved(2, UP, UNKNOWN, at_ms=700)
    state, changes = combine(KEY, State(UP, 5), votes([DOWN, UNKNOWN], [100, 700]), "majority", NOW_MS, silent)
    assert [(change.after, change.at_ms) for change in changes] == [(DOWN, 700)]
    assert state.reason == "down at 1"


def test_a_location_that_begins_to_measure_changes_it_when_it_did() -> None:
    begins = moved(3, UNKNOWN, DOWN, at_ms=100)
    _, changes = combine(KEY, State(UP, 5), votes([DOWN, UP, DOWN], [400, 50, 100]), "majority", NOW_MS, begins)
    assert [(change.after, change.at_ms) for change in changes] == [(DOWN, 400)], "the second found it so at 400"
    begins = moved(3, UNKNOWN, DOWN, at_ms=600)
    _, changes = combine(KEY, State(UP, 5), votes([DOWN, UP, DOWN], [400, 50, 600]), "majority", NOW_MS, begins)
    assert [change.at_ms for change in changes] == [600]


def test_with_all_silent_it_is_unknown_since_the_last_fell_silent_and_says_why() -> None:
    silent = moved(1, UP, UNKNOWN, at_ms=900)
    state, changes = combine(KEY, State(UP, 5), votes([UNKNOWN, UNKNOWN], [900, 800]), "any", NOW_MS, silent)
    assert [(change.after, change.at_ms) for change in changes] == [(UNKNOWN, 900)]
    assert state.reason == "unknown at 2", "of the one that was heard of last"


def test_another_quorum_counts_from_now_on_and_rewrites_no_history() -> None:
    state, changes = combine(KEY, State(UP, 5), votes([DOWN, UP, UP]), "any", NOW_MS)
    assert changes == [Transition(KEY, UP, DOWN, NOW_MS, NOW_MS, "down at 1, from 1 of 3 locations", 0)]
    assert state.since_ms == NOW_MS


def test_without_locations_nothing_is_known() -> None:
    state, changes = combine(KEY, State(DOWN, 5, last_at_ms=77), [], "any", NOW_MS)
    assert (state.verdict, state.reason, state.last_at_ms) == (UNKNOWN, NOWHERE, 77)
    assert [(change.after, change.at_ms) for change in changes] == [(UNKNOWN, NOW_MS)]


def test_the_reason_says_from_how_many_it_is_at_least_that_bad() -> None:
    state, _ = combine(KEY, State(), votes([DEGRADED, DOWN, UP, UNKNOWN]), "majority", NOW_MS)
    assert state.reason == "degraded at 1, from 2 of 3 locations"
    nameless = [vote._replace(reason="") for vote in votes([DOWN, DOWN, UP])]
    assert combine(KEY, State(), nameless, "majority", NOW_MS)[0].reason == "down, from 2 of 3 locations"


def test_another_reason_is_taken_over_without_a_change() -> None:
    head = State(DOWN, 300, "refused, from 1 of 1 locations")
    state, changes = combine(KEY, head, [Vote(1, DOWN, 300, "timed out", 900, None)], "any", NOW_MS)
    assert changes == []
    assert (state.reason, state.since_ms, state.last_at_ms) == ("timed out", 300, 900)


def test_a_held_headline_stays_as_it_is() -> None:
    head = State(UNKNOWN, 400, "paused", held=True)
    assert combine(KEY, head, votes([DOWN]), "any", NOW_MS, moved(1, UP, DOWN, 500)) == (head, [])


@pytest.mark.parametrize(("quorum", "voters", "expected"), [(3, 2, 2), (0, 2, 1), (2, 5, 2), ("majority", 4, 3)])
def test_how_many_must_agree(quorum: Quorum, voters: int, expected: int) -> None:
    assert needed(quorum, voters) == expected


# ── by laws ───────────────────────────────────────────────────────────────────────────────────────────


@given(st.lists(measured, min_size=1, max_size=6), st.data(), quorums)
def test_a_location_that_is_worse_never_makes_it_better(
    found: list[Verdict], data: st.DataObject, quorum: Quorum
) -> None:
    place = data.draw(st.integers(0, len(found) - 1))
    worse = data.draw(measured.filter(lambda verdict: BADNESS[verdict] >= BADNESS[found[place]]))
    after = [*found[:place], worse, *found[place + 1 :]]
    assert BADNESS[agreed(after, quorum)] >= BADNESS[agreed(found, quorum)]


@given(st.lists(measured, min_size=1, max_size=6))
def test_the_more_must_agree_the_better_it_stands(found: list[Verdict]) -> None:
    named = [BADNESS[agreed(found, quorum)] for quorum in ("any", "majority", "all")]
    numbered = [BADNESS[agreed(found, number)] for number in range(1, 9)]
    assert named == sorted(named, reverse=True)
    assert numbered == sorted(numbered, reverse=True)
    assert (numbered[0], numbered[len(found) - 1], numbered[7]) == (named[0], named[2], named[2])


@given(st.lists(verdicts, max_size=6), quorums)
def test_who_measures_nothing_has_no_vote(found: list[Verdict], quorum: Quorum) -> None:
    voters = [verdict for verdict in found if verdict is not UNKNOWN]
    assert agreed(found, quorum) is agreed(voters, quorum)
    assert (agreed(found, quorum) is UNKNOWN) is (not voters)


@given(st.lists(st.tuples(verdicts, st.integers(0, 100)), max_size=5), st.data(), quorums)
def test_the_order_of_votes_does_not_matter(
    found: list[tuple[Verdict, int]], data: st.DataObject, quorum: Quorum
) -> None:
    given_votes = votes([verdict for verdict, _ in found], [since_ms for _, since_ms in found])
    shuffled = data.draw(st.permutations(given_votes))
    state, changes = combine(KEY, State(), given_votes, quorum, NOW_MS)
    other, other_changes = combine(KEY, State(), shuffled, quorum, NOW_MS)
    assert (state.verdict, state.since_ms) == (other.verdict, other.since_ms)
    assert [change.at_ms for change in changes] == [change.at_ms for change in other_changes]


# ── over time ─────────────────────────────────────────────────────────────────────────────────────────

events = st.lists(st.tuples(st.integers(1, 4), verdicts, st.integers(0, 30), st.integers(0, 5)), max_size=40)
"""Which location finds what, at which second, and how long after it that becomes known."""


class Told:
    """A headline that is told of its locations' changes one by one, as the pipeline does."""

    def __init__(self, quorum: Quorum) -> None:
        self.quorum = quorum
        self.head = State()
        self.votes: dict[int, Vote] = {}
        self.changes: list[Transition] = []

    def tell(self, place: int, verdict: Verdict, at_ms: int) -> None:
        known = self.votes.get(place, Vote.of(place, State()))
        if verdict is known.verdict:
            return
        at_ms = max(at_ms, known.since_ms)
        self.votes[place] = Vote(place, verdict, at_ms, "", at_ms, None)
        cause = Transition(at(place), known.verdict, verdict, at_ms, at_ms + 1, "", place)
        self.head, changes = combine(KEY, self.head, self.votes.values(), self.quorum, NOW_MS, cause)
        self.changes += changes


@given(events, quorums)
def test_told_in_order_it_changes_just_when_what_is_agreed_on_changes(
    found: list[tuple[int, Verdict, int, int]], quorum: Quorum
) -> None:
    found.sort(key=lambda event: event[2])
    told = Told(quorum)
    standing: dict[int, Verdict] = {}
    expected: list[tuple[Verdict, int]] = [(UNKNOWN, 0)]
    for place, verdict, second, _ in found:
        told.tell(place, verdict, second)
        standing[place] = verdict
        now = agreed(standing.values(), quorum)
        if now is not expected[-1][0]:
            expected.append((now, second))
    assert [(change.after, change.at_ms) for change in told.changes] == expected[1:]


@given(events, quorums)
def test_told_late_its_history_still_goes_forward_and_ends_where_it_should(
    found: list[tuple[int, Verdict, int, int]], quorum: Quorum
) -> None:
    found.sort(key=lambda event: event[2] + event[3])
    told = Told(quorum)
    for place, verdict, second, _ in found:
        told.tell(place, verdict, second)
        assert told.head.verdict is agreed([vote.verdict for vote in told.votes.values()], quorum)
    for earlier, later in pairwise(told.changes):
        assert earlier.after is later.before
        assert earlier.at_ms <= later.at_ms
    if told.changes:
        last = told.changes[-1]
        assert (told.head.verdict, told.head.since_ms) == (last.after, last.at_ms)


outcomes = st.lists(
    st.tuples(st.integers(1, 60), st.sampled_from(Result), st.sampled_from([None, 1_000, 200_000])), max_size=40
)


@given(outcomes, quorums, st.integers(1, 3), st.integers(1, 3))
def test_one_location_alone_is_the_headline(
    found: list[tuple[int, Result, int | None]], quorum: Quorum, failures: int, passes: int
) -> None:
    """Whatever the quorum: the same verdicts, times, reasons and checks as the location's own."""
    policy = Policy(failures_to_down=failures, passes_to_up=passes, degraded_above_ms=100)
    state, head = State(), State()
    own: list[Transition] = []
    headline: list[Transition] = []
    for number, (second, result, latency_us) in enumerate(found):
        outcome = Outcome(at(1), second * 1000, result, latency_us, f"r{number}", None)
        before = state
        state, changes = decide(state, outcome, policy, NOW_MS)
        own += changes
        if changes or state.reason != before.reason:
            cause = changes[0] if changes else None
            head, news = combine(KEY, head, [Vote.of(1, state)], quorum, NOW_MS, cause)
            headline += news
        shown = (head.verdict, head.since_ms, head.reason)
        assert shown == (state.verdict, state.since_ms, state.reason)
    assert headline == [change._replace(key=KEY) for change in own]
