"""The decision, held against a slow and obvious model for any order of outcomes and silences."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.decide import Policy, State, Transition, Verdict, decide, hold, release, silence, unsettled
from tocsin.core.outcome import REACHABLE, Outcome, Result, StateKey, Subject

KEY = StateKey(Subject("target", 1), REACHABLE, 1)

policies = st.builds(
    Policy,
    failures_to_down=st.integers(1, 4),
    passes_to_up=st.integers(1, 4),
    warnings_to_degraded=st.integers(1, 4),
    degraded_above_ms=st.none() | st.just(100.0),
    silence=st.sampled_from([Result.UNMEASURED, Result.FAILED]),
)


def outcome(at_ms: int, result: Result, latency_us: int | None = 1000, reason: str = "why") -> Outcome:
    return Outcome(KEY, at_ms, result, latency_us, reason, None)


@st.composite
def histories(draw: st.DrawFn) -> list[Outcome]:
    """Outcomes in any order of time, some repeated, with slow passes and silences among them."""
    found = draw(
        st.lists(
            st.tuples(
                st.integers(1, 60),
                st.sampled_from(Result),
                st.sampled_from([None, 1_000, 200_000]),
                st.none() | st.integers(1, 8_000),
            ),
            max_size=40,
        )
    )
    return [
        outcome(at * 1000, result, latency, f"r{n}")._replace(next_due_ms=due and at * 1000 + due)
        for n, (at, result, latency, due) in enumerate(found)
    ]


def run(history: list[Outcome], policy: Policy) -> tuple[State, list[Transition]]:
    state = State()
    transitions: list[Transition] = []
    for one in history:
        state, changes = decide(state, one, policy, now_ms=10**9)
        transitions += changes
    return state, transitions


@dataclass
class Model:
    """Keeps everything and recomputes all from the whole list each time."""

    policy: Policy

    def verdicts(self, history: list[Outcome]) -> list[tuple[Verdict, int]]:
        """(verdict, since) after every outcome that counted."""
        counted: list[Outcome] = []
        verdict, since = Verdict.UNKNOWN, 0
        found: list[tuple[Verdict, int]] = []
        for one in history:
            if counted and one.at_ms <= max(other.at_ms for other in counted):
                continue
            due_ms = counted[-1].next_due_ms if counted else None
            silent = [] if due_ms is None or due_ms >= one.at_ms else [outcome(due_ms, self.policy.silence, None)]
            for happened in [*silent, one]:
                counted.append(happened)
                new, began = self._settle(verdict, since, counted)
                if new is not verdict:
                    verdict, since = new, max(began, since)
                found.append((verdict, since))
        return found

    def _warned(self, one: Outcome) -> bool:
        limit = self.policy.degraded_above_ms
        slow = limit is not None and one.latency_us is not None and one.latency_us / 1000 > limit
        return one.result is Result.WARNED or (one.result is Result.PASSED and slow)

    def _run(self, counted: list[Outcome], wanted: set[str]) -> list[Outcome]:
        """The longest tail of outcomes that are all of the wanted sort."""
        tail: list[Outcome] = []
        for one in reversed(counted):
            if one.result is Result.FAILED:
                sort = "failed"
            elif one.result is Result.UNMEASURED:
                sort = "unmeasured"
            else:
                sort = "warned" if self._warned(one) else "clean"
            if sort not in wanted:
                break
            tail.insert(0, one)
        return tail

    def _settle(self, verdict: Verdict, since: int, counted: list[Outcome]) -> tuple[Verdict, int]:
        last = counted[-1]
        failed = self._run(counted, {"failed"})
        passed = self._run(counted, {"clean", "warned"})
        warned = self._run(counted, {"warned"})
        clean = self._run(counted, {"clean"})
        slow = len(warned) >= self.policy.warnings_to_degraded
        if last.result is Result.UNMEASURED:
            return Verdict.UNKNOWN, last.at_ms
        if failed:
            if len(failed) >= self.policy.failures_to_down:
                return Verdict.DOWN, failed[0].at_ms
            return verdict, since
        enough = len(passed) >= self.policy.passes_to_up
        if verdict is Verdict.UNKNOWN or (verdict is Verdict.DOWN and enough):
            return (Verdict.DEGRADED if slow else Verdict.UP), passed[0].at_ms
        if verdict is Verdict.UP and slow:
            return Verdict.DEGRADED, warned[0].at_ms
        if verdict is Verdict.DEGRADED and len(clean) >= self.policy.passes_to_up:
            return Verdict.UP, clean[0].at_ms
        return verdict, since


@given(histories(), policies)
def test_agrees_with_the_model(history: list[Outcome], policy: Policy) -> None:
    state, transitions = run(history, policy)
    expected = Model(policy).verdicts(history)
    changes = [after for before, after in pairwise([(Verdict.UNKNOWN, 0), *expected]) if before != after]
    assert [(t.after, t.at_ms) for t in transitions] == changes
    assert (state.verdict, state.since_ms) == (expected[-1] if expected else (Verdict.UNKNOWN, 0))


@given(histories(), policies)
def test_transitions_form_one_unbroken_chain(history: list[Outcome], policy: Policy) -> None:
    state, transitions = run(history, policy)
    chain = [Verdict.UNKNOWN, *(t.after for t in transitions)]
    assert [t.before for t in transitions] == chain[:-1]
    assert state.verdict is chain[-1]
    assert all(a.at_ms <= b.at_ms for a, b in pairwise(transitions))
    assert all(t.before is not t.after and t.at_ms <= t.check_at_ms for t in transitions)


@given(histories(), policies, st.integers(0, 39))
def test_a_repeated_or_late_outcome_changes_nothing(history: list[Outcome], policy: Policy, index: int) -> None:
    state, _ = run(history, policy)
    if not history:
        return
    again = history[index % len(history)]
    assert decide(state, again, policy, now_ms=10**9) == (state, [])


@given(histories(), policies)
def test_nothing_is_down_that_did_not_fail_often_enough(history: list[Outcome], policy: Policy) -> None:
    _, transitions = run(history, policy)
    for transition in transitions:
        if transition.after is Verdict.DOWN:
            failed = {o.at_ms for o in history if o.result is Result.FAILED and o.at_ms <= transition.check_at_ms}
            if policy.silence is Result.FAILED:
                failed |= {o.next_due_ms for o in history if o.next_due_ms and o.next_due_ms <= transition.check_at_ms}
            assert len(failed) >= policy.failures_to_down


def test_an_outage_is_dated_to_its_first_failure() -> None:
    policy = Policy(failures_to_down=3)
    _, transitions = run(
        [outcome(1000, Result.PASSED), *(outcome(at, Result.FAILED) for at in (2000, 3000, 4000))], policy
    )
    assert [(t.after, t.at_ms, t.check_at_ms) for t in transitions][-1] == (Verdict.DOWN, 2000, 4000)


def test_a_clock_set_back_does_not_freeze_the_verdict() -> None:
    policy = Policy(failures_to_down=1)
    state, _ = decide(State(), outcome(3_600_000, Result.PASSED), policy, now_ms=3_600_000)
    state, transitions = decide(state, outcome(1_000, Result.FAILED), policy, now_ms=1_000)
    assert state.verdict is Verdict.DOWN
    assert [t.at_ms for t in transitions] == [3_600_000]  # never before the verdict it replaces


def test_the_newest_reason_explains_a_verdict_that_lasts() -> None:
    policy = Policy(failures_to_down=1)
    state, _ = decide(State(), outcome(1, Result.FAILED, reason="refused"), policy, now_ms=10)
    state, transitions = decide(state, outcome(2, Result.FAILED, reason="timed out"), policy, now_ms=10)
    assert (state.reason, transitions) == ("timed out", [])


def test_a_slow_pass_says_how_slow() -> None:
    policy = Policy(warnings_to_degraded=1, degraded_above_ms=300)
    state, transitions = decide(State(), outcome(1, Result.PASSED, 667_400, reason=""), policy, now_ms=10)
    assert state.verdict is Verdict.DEGRADED
    assert [t.reason for t in transitions] == [state.reason] == ["took 667 ms, more than 300 ms"]


def test_silence_between_two_passes_is_unknown_from_when_it_was_due() -> None:
    first = outcome(1_000, Result.PASSED)._replace(next_due_ms=61_000)
    state, transitions = run([first, outcome(500_000, Result.PASSED)], Policy())
    assert [(t.after, t.at_ms) for t in transitions[1:]] == [(Verdict.UNKNOWN, 61_000), (Verdict.UP, 500_000)]
    assert state.due_ms is None


def test_a_heartbeat_that_comes_late_was_down_until_it_came() -> None:
    policy = Policy(failures_to_down=1, silence=Result.FAILED, silence_reason="did not call")
    first = outcome(1_000, Result.PASSED)._replace(next_due_ms=61_000)
    _, transitions = run([first, outcome(90_000, Result.PASSED)], policy)
    assert [(t.after, t.at_ms, t.reason) for t in transitions[1:]] == [
        (Verdict.DOWN, 61_000, "did not call"),
        (Verdict.UP, 90_000, "why"),
    ]


@given(histories(), policies)
def test_the_sweep_and_the_next_outcome_tell_the_same_silence(history: list[Outcome], policy: Policy) -> None:
    """However often the sweep looks in between, states and transitions are the same."""
    plain = run(history, policy)
    swept = State()
    transitions: list[Transition] = []
    for one in history:
        missed = silence(KEY, swept, policy)
        if missed is not None and missed.at_ms < one.at_ms:
            swept, changes = decide(swept, missed, policy, now_ms=10**9)
            transitions += changes
        swept, changes = decide(swept, one, policy, now_ms=10**9)
        transitions += changes
    assert (swept, transitions) == plain


@given(histories(), policies, histories())
def test_a_held_state_takes_no_outcomes(history: list[Outcome], policy: Policy, later: list[Outcome]) -> None:
    state, _ = run(history, policy)
    held, transitions = hold(KEY, state, "paused", now_ms=70_000)
    assert (held.verdict, held.reason, held.due_ms) == (Verdict.UNKNOWN, "paused", None)
    assert len(transitions) == (state.verdict is not Verdict.UNKNOWN)
    for one in later:
        assert decide(held, one._replace(at_ms=one.at_ms + 70_000), policy, now_ms=10**9) == (held, [])
    assert silence(KEY, held, policy) is None
    resumed, _ = decide(release(held), outcome(200_000, Result.PASSED), policy, now_ms=10**9)
    assert resumed.verdict is Verdict.UP


def test_a_result_that_has_not_overturned_the_verdict_asks_for_another_look() -> None:
    policy = Policy(failures_to_down=2, passes_to_up=2)
    state, _ = decide(State(), outcome(1, Result.PASSED), policy, now_ms=10)
    assert not unsettled(state)
    state, _ = decide(state, outcome(2, Result.FAILED), policy, now_ms=10)
    assert unsettled(state)
    state, _ = decide(state, outcome(3, Result.FAILED), policy, now_ms=10)
    assert not unsettled(state)
    state, _ = decide(state, outcome(4, Result.PASSED), policy, now_ms=10)
    assert unsettled(state)


LASTING = Policy(1, 1, 1, lasting_ms=300)


def test_what_must_last_settles_nothing_before() -> None:
    for result, verdict in ((Result.FAILED, Verdict.DOWN), (Result.WARNED, Verdict.DEGRADED)):
        history = [outcome(0, Result.PASSED), outcome(100, result), outcome(399, result), outcome(400, result)]
        before, _ = run(history[:-1], LASTING)
        assert before.verdict is Verdict.UP
        after, changes = run(history, LASTING)
        assert (after.verdict, after.since_ms, changes[-1].check_at_ms) == (verdict, 100, 400)


def test_what_has_not_lasted_is_nothing_yet_of_what_was_unknown() -> None:
    for result, verdict in ((Result.FAILED, Verdict.DOWN), (Result.WARNED, Verdict.DEGRADED)):
        state, changes = run([outcome(100, result)], LASTING)
        assert (state.verdict, [change.after for change in changes]) == (Verdict.UP, [Verdict.UP])
        state, changes = run([outcome(100, result), outcome(400, result)], LASTING)
        assert (state.verdict, state.since_ms, len(changes)) == (verdict, 100, 2)


def test_without_a_duration_failures_that_are_too_few_leave_it_unknown() -> None:
    state, changes = run([outcome(100, Result.FAILED)], Policy(failures_to_down=2))
    assert (state.verdict, changes) == (Verdict.UNKNOWN, [])


def test_what_swings_between_a_warning_and_a_failure_is_degraded_after_the_duration() -> None:
    """Neither has lasted, but at least a warning it was all the time."""
    history = [
        Outcome(KEY, at_ms, Result.FAILED if at_ms % 200 else Result.WARNED, None, "", None)
        for at_ms in range(1100, 1600, 100)
    ]
    first = Outcome(KEY, 1000, Result.PASSED, None, "", None)
    _, transitions = run([first, *history], LASTING)
    assert [(one.after, one.at_ms) for one in transitions] == [(Verdict.UP, 1000), (Verdict.DEGRADED, 1100)]
    _, without = run([first, *history[:3]], LASTING)
    assert [one.after for one in without] == [Verdict.UP]
