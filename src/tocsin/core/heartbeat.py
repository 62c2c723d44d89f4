"""What a job's call means: the outcome it gives, how long the run took, and when the job is due again.

Pure. Knows no HTTP, no store and no target; whoever answers the calls passes in what is remembered.
The semantics are those of Healthchecks: https://healthchecks.io/docs/measuring_script_run_time/
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from tocsin.core.outcome import Result
from tocsin.core.schedule import Schedule, describe, describe_duration, next_due_ms

MAX_EXIT_CODE = 255


class CallKind(StrEnum):
    """The words stored in ``heartbeat_pings.kind``; a call with an exit code is stored as what it amounts to."""

    START = "start"
    SUCCESS = "success"
    FAIL = "fail"
    LOG = "log"


@dataclass(frozen=True, slots=True)
class Call:
    """One call. ``run_id`` is the caller's own name for one run of the job, or None."""

    kind: CallKind
    at_ms: int
    run_id: str | None = None
    exit_code: int | None = None


class Start(NamedTuple):
    """A run that has begun and not ended."""

    at_ms: int
    run_id: str | None


class Memory(NamedTuple):
    """What is remembered of a job between calls: its open run, and when it last ended one."""

    start: Start | None = None
    ended_ms: int | None = None


class Heard(NamedTuple):
    """What a call means.

    ``result`` is None where the call says nothing about the job's health (start, log). ``duration_ms`` is None
    where the run's start is not known. ``due_ms`` replaces the time by which the job must be heard of again;
    None means that silence says nothing yet.
    """

    result: Result | None
    reason: str
    duration_ms: int | None
    memory: Memory
    due_ms: int | None


def kind_of_exit_code(exit_code: int) -> CallKind:
    """0 is success, 1 to 255 is failure; anything else raises ``ValueError``."""
    if not 0 <= exit_code <= MAX_EXIT_CODE:
        raise ValueError(f"an exit code is between 0 and {MAX_EXIT_CODE}, not {exit_code}")
    return CallKind.FAIL if exit_code else CallKind.SUCCESS


def hear(call: Call, memory: Memory, schedule: Schedule) -> Heard:
    """What ``call`` means for a job that is expected by ``schedule``.

    - start: no outcome. The run must end within the grace, so the job is due at start + grace if that is sooner.
    - success, fail: the outcome. It has a duration when it carries the open run's id (or neither carries one). It
      ends the open run, except that the success of one run leaves another, named run open.
    - log: nothing; it is only kept.
    """
    match call.kind:
        case CallKind.LOG:
            return Heard(None, "", None, memory, due_ms(memory, schedule))
        case CallKind.START:
            begun = memory._replace(start=Start(call.at_ms, call.run_id))
            return Heard(None, "", None, begun, due_ms(begun, schedule))
        case CallKind.SUCCESS | CallKind.FAIL:
            return _ended(call, memory, schedule)


def _ended(call: Call, memory: Memory, schedule: Schedule) -> Heard:
    failed = call.kind is CallKind.FAIL
    start = memory.start
    same_run = start is not None and start.run_id == call.run_id
    duration_ms = max(0, call.at_ms - start.at_ms) if start is not None and same_run else None
    ends_it = same_run or failed or call.run_id is None
    after = Memory(start=None if ends_it else start, ended_ms=call.at_ms)
    return Heard(
        result=Result.FAILED if failed else Result.PASSED,
        reason=_failure_reason(call.exit_code) if failed else "",
        duration_ms=duration_ms,
        memory=after,
        due_ms=due_ms(after, schedule),
    )


def due_ms(memory: Memory, schedule: Schedule) -> int | None:
    """When silence becomes a failure. A run that has begun must end within the grace.

    A run whose time was over when another one ended has been a failure already, and is not waited for again.
    """
    due = [next_due_ms(schedule, memory.ended_ms)]
    if memory.start is not None:
        run_due_ms = memory.start.at_ms + schedule.grace_ms
        if memory.ended_ms is None or run_due_ms > memory.ended_ms:
            due.append(run_due_ms)
    return min((at_ms for at_ms in due if at_ms is not None), default=None)


def silence_reason(memory: Memory, schedule: Schedule, now_ms: int) -> str:
    """Why a job that is overdue at ``now_ms`` counts as failed, for people."""
    if memory.start is not None and memory.start.at_ms + schedule.grace_ms <= now_ms:
        running = describe_duration(now_ms - memory.start.at_ms)
        return f"started {running} ago and did not finish within {describe_duration(schedule.grace_ms)}"
    if memory.ended_ms is None:
        return f"no call yet; expected {describe(schedule)}"
    return f"no call for {describe_duration(now_ms - memory.ended_ms)}; expected {describe(schedule)}"


def _failure_reason(exit_code: int | None) -> str:
    return "the job reported a failure" if exit_code is None else f"the job ended with exit code {exit_code}"
