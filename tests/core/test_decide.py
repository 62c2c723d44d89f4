"""The decision, held against a slow and obvious model for any order of outcomes and silences."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.decide import Policy, State, Transition, Verdict, decide
from tocsin.core.outcome import REACHABLE, Outcome, Result, StateKey, Subject

KEY = StateKey(Subject("target", 1), REACHABLE, 1)

policies = st.builds(
    Policy,
    failures_to_down=st.integers(1, 4),
    passes_to_up=st.integers(1, 4),
    warnings_to_degraded=st.integers(1, 4),
    degraded_above_ms=st.none() | st.just(100.0),
)


def outcome(at_ms: int, result: Result, latency_us: int | None = 1000, reason: str = "why") -> Outcome:
    return Outcome(KEY, at_ms, result, latency_us, reason, None)


@st.composite
def histories(draw: st.DrawFn) -> list[Outcome]:
    """Outcomes in any order of time, some repeated, with slow passes and silences among them."""
    found = draw(
        st.lists(
            st.tuples(st.integers(1, 60), st.sampled_from(Result), st.sampled_from([None, 1_000, 200_000])), max_size=40
        )
    )
    return [outcome(at * 1000, result, latency, f"r{n}") for n, (at, result, latency) in enumerate(found)]


def run(history: list[Outcome], policy: Policy) -> tuple[State, list[Transition]]:
    state, transitions = State(), []
    for one in history:
        state, transition = decide(state, one, policy, now_ms=10**9)
        if transition:
            transitions.append(transition)
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
            counted.append(one)
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
    assert decide(state, again, policy, now_ms=10**9) == (state, None)


@given(histories(), policies)
def test_nothing_is_down_that_did_not_fail_often_enough(history: list[Outcome], policy: Policy) -> None:
    _, transitions = run(history, policy)
    for transition in transitions:
        if transition.after is Verdict.DOWN:
            failed = {o.at_ms for o in history if o.result is Result.FAILED and o.at_ms <= transition.check_at_ms}
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
    state, transition = decide(state, outcome(1_000, Result.FAILED), policy, now_ms=1_000)
    assert state.verdict is Verdict.DOWN
    assert transition is not None
    assert transition.at_ms == 3_600_000  # never before the verdict it replaces


def test_the_newest_reason_explains_a_verdict_that_lasts() -> None:
    policy = Policy(failures_to_down=1)
    state, _ = decide(State(), outcome(1, Result.FAILED, reason="refused"), policy, now_ms=10)
    state, transition = decide(state, outcome(2, Result.FAILED, reason="timed out"), policy, now_ms=10)
    assert (state.reason, transition) == ("timed out", None)


def test_the_due_time_follows_the_newest_outcome() -> None:
    state, _ = decide(State(), outcome(1, Result.PASSED)._replace(next_due_ms=61_001), Policy(), now_ms=10)
    assert state.due_ms == 61_001
    state, _ = decide(state, outcome(2, Result.UNMEASURED), Policy(), now_ms=10)
    assert state.due_ms is None
