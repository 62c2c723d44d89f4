"""The heart: one pure function that turns outcomes, and silence, into states and transitions.

It owns failure and recovery thresholds and the latency band. It never reads a clock, a store or a
target; the pipeline passes everything in and writes what comes out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NamedTuple, TypeAlias

from tocsin.core.outcome import Outcome, Result, StateKey

Quorum: TypeAlias = Literal["any", "majority", "all"] | int
"""How many locations must agree that something is wrong: one, more than half, every one, or this many (at most
every one) of those that measure. ``core.quorum`` counts."""


class Verdict(StrEnum):
    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Policy:
    """How many outcomes in a row it takes to change a verdict (all at least 1), how many locations must agree, and what
    silence means.

    Where silence is a failure (a heartbeat), ``failures_to_down`` should be 1: the grace is in the due time, and a
    subject that is silent once is not heard of again.
    """

    failures_to_down: int = 2
    passes_to_up: int = 1
    warnings_to_degraded: int = 2
    degraded_above_ms: float | None = None
    """A pass slower than this counts as a warning. None: latency never degrades."""
    quorum: Quorum = "majority"
    lasting_ms: int = 0
    """Failures and warnings must also have gone on for so long before they settle anything; until then what was unknown
    is up. What is down is not up again, but degraded, as soon as it only warns."""
    silence: Result = Result.UNMEASURED
    silence_reason: str = "not checked: no worker was running"


class State(NamedTuple):
    """What is held about one (subject, rule, location).

    ``run_since_ms`` is when the present run of failures, or of passes, began; ``pace_since_ms`` when the
    present run of fast, or of slow, passes began. A transition is dated to the start of the run that caused
    it, so that an outage is as long as it was and not as long as it took to notice.

    A ``held`` state belongs to a paused subject: outcomes still on their way when it was paused change nothing.
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
    held: bool = False


class Transition(NamedTuple):
    """A change of verdict. ``at_ms`` is when it began; ``check_at_ms`` and ``check_location_id`` are the check that
    settled it (location 0: nothing that any location saw)."""

    key: StateKey
    before: Verdict
    after: Verdict
    at_ms: int
    check_at_ms: int
    reason: str
    check_location_id: int = 0


def silence(key: StateKey, state: State, policy: Policy) -> Outcome | None:
    """The outcome that silence amounts to, dated to when the subject was due; None where it is not expected.

    The sweep writes it for subjects that stay silent. Where the next outcome is quicker than the sweep,
    ``decide`` puts it in by itself, so the record does not depend on when anybody looked.
    """
    if state.due_ms is None or state.held:
        return None
    return Outcome(key, state.due_ms, policy.silence, None, policy.silence_reason, None)


def decide(state: State, outcome: Outcome, policy: Policy, now_ms: int) -> tuple[State, list[Transition]]:
    """Fold one outcome into a state; yields the new state and what changed, oldest first (mostly nothing).

    1. An outcome for a held state, or no newer than the last one, changes nothing: it is late or repeated. A
       ``last_at_ms`` in the future means the clock was set back: then the outcome counts.
    2. An outcome that comes after the time the subject was due is preceded by its silence.
    3. The run it belongs to grows or a new one starts.
    4. A run that has reached its threshold settles the verdict; a changed verdict is a transition, dated to the
       start of the run but never before the verdict it replaces.
    """
    if state.held or outcome.at_ms <= state.last_at_ms <= now_ms:
        return state, []
    transitions: list[Transition] = []
    if state.due_ms is not None and state.due_ms < outcome.at_ms:
        missed = silence(outcome.key, state, policy)
        if missed is not None:
            state = _fold(state, missed, policy, transitions)
    return _fold(state, outcome, policy, transitions), transitions


def graded(result: Result, latency_us: int | None, policy: Policy) -> Result:
    """A pass that was too slow is a warning; everything else is what it is."""
    if (
        result is Result.PASSED
        and policy.degraded_above_ms is not None
        and latency_us is not None
        and latency_us > policy.degraded_above_ms * 1000
    ):
        return Result.WARNED
    return result


def unsettled(state: State) -> bool:
    """True while the newest outcome speaks against the verdict but has not overturned it: worth a quick re-check."""
    if state.verdict is Verdict.DOWN:
        return state.passes > 0
    return state.failures > 0


def hold(key: StateKey, state: State, reason: str, now_ms: int) -> tuple[State, list[Transition]]:
    """Pause: the verdict becomes unknown now, and stays so until ``release``."""
    outcome = Outcome(key, max(now_ms, state.last_at_ms + 1), Result.UNMEASURED, None, reason, None)
    transitions: list[Transition] = []
    after = _fold(state, outcome, Policy(), transitions)
    return after._replace(held=True, reason=reason, last_latency_us=None), transitions


def release(state: State) -> State:
    """Resume: unknown until the next outcome settles it."""
    return state._replace(held=False, due_ms=None)


def _fold(state: State, outcome: Outcome, policy: Policy, transitions: list[Transition]) -> State:
    _, at_ms, _, latency_us, why, due_ms = outcome
    verdict, since_ms, reason, failures, passes, warnings, clean, run_since_ms, pace_since_ms, *_ = state
    result = graded(outcome.result, latency_us, policy)
    settled, began_ms = verdict, since_ms
    if result is Result.WARNED and not why and latency_us is not None and policy.degraded_above_ms is not None:
        why = f"took {latency_us / 1000:.0f} ms, more than {policy.degraded_above_ms:g} ms"

    if result is Result.UNMEASURED:
        failures = passes = warnings = clean = 0
        settled, began_ms = Verdict.UNKNOWN, at_ms
    elif result is Result.FAILED:
        run_since_ms = run_since_ms if failures else at_ms
        failures = min(failures + 1, policy.failures_to_down)
        passes = clean = 0
        if policy.lasting_ms:  # worse than a warning is a warning too: it may swing about the threshold for hours
            pace_since_ms = pace_since_ms if warnings else at_ms
            warnings = min(warnings + 1, policy.warnings_to_degraded)
        else:
            warnings = 0
        if failures >= policy.failures_to_down:
            if at_ms - run_since_ms >= policy.lasting_ms:
                settled, began_ms = Verdict.DOWN, run_since_ms
            elif verdict is Verdict.UNKNOWN:  # it is measured again; what has not lasted is nothing yet
                settled, began_ms, why = Verdict.UP, run_since_ms, ""
            elif verdict is Verdict.UP and at_ms - pace_since_ms >= policy.lasting_ms:
                settled, began_ms = Verdict.DEGRADED, pace_since_ms
    else:
        run_since_ms = run_since_ms if passes else at_ms
        failures, passes = 0, min(passes + 1, policy.passes_to_up)
        if result is Result.WARNED:
            pace_since_ms = pace_since_ms if warnings else at_ms
            warnings, clean = min(warnings + 1, policy.warnings_to_degraded), 0
        else:
            pace_since_ms = pace_since_ms if clean else at_ms
            warnings, clean = 0, min(clean + 1, policy.passes_to_up)
        warned = warnings >= policy.warnings_to_degraded
        slow = warned and at_ms - pace_since_ms >= policy.lasting_ms
        if verdict is Verdict.DOWN and passes >= policy.passes_to_up:
            settled, began_ms = (Verdict.DEGRADED if warned else Verdict.UP), run_since_ms
        elif verdict is Verdict.UNKNOWN:
            settled, began_ms = (Verdict.DEGRADED if slow else Verdict.UP), run_since_ms
        elif verdict is Verdict.UP and slow:
            settled, began_ms = Verdict.DEGRADED, pace_since_ms
        elif verdict is Verdict.DEGRADED and clean >= policy.passes_to_up:
            settled, began_ms = Verdict.UP, pace_since_ms

    if settled is not verdict:
        reason, since_ms = why, max(began_ms, since_ms)
        place = outcome.key.location_id
        transitions.append(Transition(outcome.key, verdict, settled, since_ms, at_ms, why, place))
    elif why and _CONFIRMED[result] is verdict:
        # The newest reason explains a verdict that lasts (a refused connection that became a timeout); a blip that
        # did not settle leaves the standing reason alone.
        reason = why
    return State(
        settled,
        since_ms,
        reason,
        failures,
        passes,
        warnings,
        clean,
        run_since_ms,
        pace_since_ms,
        at_ms,
        latency_us,
        due_ms,
    )


_CONFIRMED = {
    Result.FAILED: Verdict.DOWN,
    Result.UNMEASURED: Verdict.UNKNOWN,
    Result.WARNED: Verdict.DEGRADED,
    Result.PASSED: Verdict.UP,
}
"""The verdict that an outcome of this result confirms when it changes nothing."""
