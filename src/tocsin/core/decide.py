"""The heart: one pure function that turns outcomes, and silence, into states and transitions.

It owns failure and recovery thresholds and the latency band. It never reads a clock, a store or a
target; the pipeline passes everything in and writes what comes out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from tocsin.core.outcome import Outcome, Result, StateKey


class Verdict(StrEnum):
    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Policy:
    """How many outcomes in a row it takes to change a verdict (all at least 1)."""

    failures_to_down: int = 2
    passes_to_up: int = 1
    warnings_to_degraded: int = 2
    degraded_above_ms: float | None = None
    """A pass slower than this counts as a warning. None: latency never degrades."""


@dataclass(frozen=True, slots=True)
class State:
    """What is held about one (subject, rule, location).

    ``run_since_ms`` is when the present run of failures, or of passes, began; ``pace_since_ms`` when the
    present run of fast, or of slow, passes began. A transition is dated to the start of the run that caused
    it, so that an outage is as long as it was and not as long as it took to notice.
    """

    verdict: Verdict = Verdict.UNKNOWN
    since_ms: int = 0
    reason: str = ""
    failures: int = 0
    passes: int = 0
    warnings: int = 0
    clean: int = 0
    run_since_ms: int = 0
    pace_since_ms: int = 0
    last_at_ms: int = 0
    last_latency_us: int | None = None
    due_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of verdict. ``at_ms`` is when it began; ``check_at_ms`` is the check that settled it."""

    key: StateKey
    before: Verdict
    after: Verdict
    at_ms: int
    check_at_ms: int
    reason: str


def decide(state: State, outcome: Outcome, policy: Policy, now_ms: int) -> tuple[State, Transition | None]:
    """Fold one outcome into a state.

    1. An outcome no newer than the last one is late or repeated and changes nothing. A ``last_at_ms`` in the
       future means the clock was set back: then the outcome counts.
    2. The run it belongs to grows or a new one starts.
    3. A run that has reached its threshold settles the verdict; a changed verdict is a transition, dated to the
       start of the run but never before the verdict it replaces.
    """
    if outcome.at_ms <= state.last_at_ms <= now_ms:
        return state, None
    if outcome.result is Result.UNMEASURED:
        counted = replace(state, failures=0, passes=0, warnings=0, clean=0)
        verdict, began_ms = Verdict.UNKNOWN, outcome.at_ms
    elif outcome.result is Result.FAILED:
        counted = _after_failure(state, outcome, policy)
        verdict = Verdict.DOWN if counted.failures >= policy.failures_to_down else state.verdict
        began_ms = counted.run_since_ms
    else:
        counted = _after_pass(state, outcome, policy)
        verdict, began_ms = _verdict_of_passes(counted, policy)
    after = replace(
        counted,
        last_at_ms=outcome.at_ms,
        last_latency_us=outcome.latency_us,
        due_ms=outcome.next_due_ms,
    )
    if verdict is state.verdict:
        # The newest reason explains a verdict that lasts (a refused connection that became a timeout);
        # a blip that did not settle leaves the standing reason alone.
        settled = _says_the_same(verdict, outcome.result)
        return (replace(after, reason=outcome.reason) if settled and outcome.reason else after), None
    at_ms = max(began_ms, state.since_ms)
    reason = outcome.reason
    transition = Transition(outcome.key, state.verdict, verdict, at_ms, outcome.at_ms, reason)
    return replace(after, verdict=verdict, since_ms=at_ms, reason=reason), transition


def _after_failure(state: State, outcome: Outcome, policy: Policy) -> State:
    return replace(
        state,
        failures=min(state.failures + 1, policy.failures_to_down),
        passes=0,
        warnings=0,
        clean=0,
        run_since_ms=state.run_since_ms if state.failures else outcome.at_ms,
    )


def _after_pass(state: State, outcome: Outcome, policy: Policy) -> State:
    warned = outcome.result is Result.WARNED or (
        policy.degraded_above_ms is not None
        and outcome.latency_us is not None
        and outcome.latency_us > policy.degraded_above_ms * 1000
    )
    same_pace = state.warnings if warned else state.clean
    return replace(
        state,
        failures=0,
        passes=min(state.passes + 1, policy.passes_to_up),
        warnings=min(state.warnings + 1, policy.warnings_to_degraded) if warned else 0,
        clean=0 if warned else min(state.clean + 1, policy.passes_to_up),
        run_since_ms=state.run_since_ms if state.passes else outcome.at_ms,
        pace_since_ms=state.pace_since_ms if same_pace else outcome.at_ms,
    )


def _verdict_of_passes(state: State, policy: Policy) -> tuple[Verdict, int]:
    """The verdict and when it began, for a state whose newest outcome passed (its counts already updated)."""
    slow = state.warnings >= policy.warnings_to_degraded
    match state.verdict:
        case Verdict.UP if slow:
            return Verdict.DEGRADED, state.pace_since_ms
        case Verdict.DEGRADED if state.clean >= policy.passes_to_up:
            return Verdict.UP, state.pace_since_ms
        case Verdict.UNKNOWN:
            return (Verdict.DEGRADED if slow else Verdict.UP), state.run_since_ms
        case Verdict.DOWN if state.passes >= policy.passes_to_up:
            return (Verdict.DEGRADED if slow else Verdict.UP), state.run_since_ms
    return state.verdict, state.since_ms


def _says_the_same(verdict: Verdict, result: Result) -> bool:
    match result:
        case Result.FAILED:
            return verdict is Verdict.DOWN
        case Result.UNMEASURED:
            return verdict is Verdict.UNKNOWN
        case Result.WARNED:
            return verdict is Verdict.DEGRADED
        case Result.PASSED:
            return verdict is Verdict.UP
