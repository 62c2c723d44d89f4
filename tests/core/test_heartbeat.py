"""What a job's calls mean, one by one and in sequence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.heartbeat import (
    Call,
    CallKind,
    Memory,
    Start,
    due_ms,
    hear,
    kind_of_exit_code,
    silence_reason,
)
from tocsin.core.outcome import Result
from tocsin.core.schedule import Cron, Every

HOURLY = Every(period_ms=3_600_000, grace_ms=600_000)
T0 = 1_700_000_000_000
NOTHING = Memory()


def call(kind: CallKind, after_s: int, run_id: str | None = None, exit_code: int | None = None) -> Call:
    return Call(kind, T0 + after_s * 1000, run_id, exit_code)


def at(after_s: int) -> int:
    return T0 + after_s * 1000


def test_a_success_passes_and_is_due_after_period_and_grace() -> None:
    heard = hear(call(CallKind.SUCCESS, 0), NOTHING, HOURLY)
    assert heard == (Result.PASSED, "", None, Memory(None, T0), at(4200))


@pytest.mark.parametrize(
    ("exit_code", "reason"),
    [(None, "the job reported a failure"), (3, "the job ended with exit code 3")],
)
def test_a_failure_fails_with_its_reason(exit_code: int | None, reason: str) -> None:
    heard = hear(call(CallKind.FAIL, 0, exit_code=exit_code), NOTHING, HOURLY)
    assert (heard.result, heard.reason, heard.due_ms) == (Result.FAILED, reason, at(4200))


def test_a_start_gives_no_outcome_but_must_end_within_the_grace() -> None:
    heard = hear(call(CallKind.START, 0), NOTHING, HOURLY)
    assert heard == (None, "", None, Memory(Start(T0, None), None), at(600))


def test_a_start_never_moves_the_due_time_back() -> None:
    ended = hear(call(CallKind.SUCCESS, 0), NOTHING, HOURLY)
    late = hear(call(CallKind.START, 4000), ended.memory, HOURLY)
    assert late.due_ms == ended.due_ms == at(4200)


def test_a_run_is_timed_from_its_start() -> None:
    started = hear(call(CallKind.START, 0, "a"), NOTHING, HOURLY)
    ended = hear(call(CallKind.SUCCESS, 90, "a"), started.memory, HOURLY)
    assert (ended.duration_ms, ended.memory.start, ended.due_ms) == (90_000, None, at(90 + 4200))


def test_a_clock_set_back_gives_no_negative_duration() -> None:
    started = hear(call(CallKind.START, 10), NOTHING, HOURLY)
    assert hear(call(CallKind.SUCCESS, 5), started.memory, HOURLY).duration_ms == 0


def test_another_run_s_success_leaves_a_named_run_open_and_untimed() -> None:
    started = hear(call(CallKind.START, 0, "a"), NOTHING, HOURLY)
    other = hear(call(CallKind.SUCCESS, 5, "b"), started.memory, HOURLY)
    assert (other.result, other.duration_ms) == (Result.PASSED, None)
    assert other.memory.start == Start(T0, "a")
    assert other.due_ms == at(600)


def test_a_run_that_was_overdue_when_another_ended_is_not_waited_for_again() -> None:
    stuck = hear(call(CallKind.START, 0, "a"), NOTHING, HOURLY)
    other = hear(call(CallKind.SUCCESS, 700, "b"), stuck.memory, HOURLY)
    assert other.due_ms == at(700 + 4200)


@pytest.mark.parametrize("ending", [call(CallKind.SUCCESS, 5), call(CallKind.FAIL, 5), call(CallKind.FAIL, 5, "b")])
def test_a_nameless_success_and_every_failure_end_the_open_run(ending: Call) -> None:
    started = hear(call(CallKind.START, 0, "a"), NOTHING, HOURLY)
    ended = hear(ending, started.memory, HOURLY)
    assert (ended.memory.start, ended.duration_ms) == (None, None)


def test_a_log_changes_nothing() -> None:
    memory = Memory(Start(T0, "a"), at(-60))
    heard = hear(call(CallKind.LOG, 30), memory, HOURLY)
    assert heard == (None, "", None, memory, due_ms(memory, HOURLY))


def test_a_log_from_a_job_never_heard_of_leaves_it_unexpected() -> None:
    assert hear(call(CallKind.LOG, 0), NOTHING, HOURLY).due_ms is None


def test_cron_is_due_after_the_next_named_time() -> None:
    nightly = Cron("30 2 * * *", "UTC", grace_ms=60_000)
    heard = hear(Call(CallKind.SUCCESS, 0), NOTHING, nightly)
    assert heard.due_ms == (2 * 3600 + 30 * 60) * 1000 + 60_000


@pytest.mark.parametrize(("code", "kind"), [(0, CallKind.SUCCESS), (1, CallKind.FAIL), (255, CallKind.FAIL)])
def test_an_exit_code_is_a_success_or_a_failure(code: int, kind: CallKind) -> None:
    assert kind_of_exit_code(code) is kind


@pytest.mark.parametrize("code", [-1, 256])
def test_an_exit_code_out_of_range_is_refused(code: int) -> None:
    with pytest.raises(ValueError, match="between 0 and 255"):
        kind_of_exit_code(code)


@pytest.mark.parametrize(
    ("memory", "reason"),
    [
        (Memory(None, T0), "no call for 1 hour 15 minutes; expected every hour, with 10 minutes of grace"),
        (Memory(Start(at(3600), None), T0), "started 15 minutes ago and did not finish within 10 minutes"),
        (NOTHING, "no call yet; expected every hour, with 10 minutes of grace"),
    ],
)
def test_silence_is_explained(memory: Memory, reason: str) -> None:
    assert silence_reason(memory, HOURLY, at(4500)) == reason


@given(
    st.lists(
        st.tuples(st.sampled_from(CallKind), st.integers(0, 5000), st.sampled_from([None, "a", "b"])),
        max_size=20,
    )
)
def test_in_any_order_of_calls_the_due_time_follows_from_what_is_remembered(
    steps: list[tuple[CallKind, int, str | None]],
) -> None:
    """The newest end counts, an open run is one whose end was not heard, and due is the sooner of the two."""
    memory, now_s = NOTHING, 0
    for kind, wait_s, run_id in steps:
        now_s += wait_s
        before = memory
        heard = hear(call(kind, now_s, run_id), memory, HOURLY)
        memory = heard.memory
        assert (heard.result is None) == (kind in (CallKind.START, CallKind.LOG))
        if heard.result is not None:
            assert memory.ended_ms == at(now_s)
        if heard.duration_ms is not None:
            assert before.start is not None
            assert before.start.run_id == run_id
            assert memory.start is None
        bounds = [memory.ended_ms + 4_200_000] if memory.ended_ms is not None else []
        if memory.start is not None:
            run_due_ms = memory.start.at_ms + 600_000
            # A run that was overdue when another ended has been counted.
            bounds += [run_due_ms] if memory.ended_ms is None or run_due_ms > memory.ended_ms else []
        assert heard.due_ms == min(bounds, default=None)
