"""Calls of jobs: kept, understood, and turned into verdicts, in one transaction. Knows no HTTP.

A paused heartbeat keeps what it is told and stays paused; only a person resumes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection

from tocsin.catalog import runs, targets
from tocsin.catalog.errors import NotFound
from tocsin.core.decide import State, Transition
from tocsin.core.heartbeat import Call, CallKind, hear
from tocsin.core.outcome import HEADLINE, REACHABLE, Outcome, Result, StateKey, Subject
from tocsin.core.schedule import Schedule
from tocsin.core.target import TARGET
from tocsin.pipeline import Entry, Pipeline, Settled
from tocsin.store import heartbeats as store_heartbeats
from tocsin.store import states as store_states
from tocsin.store import targets as store_targets
from tocsin.store.checks import CheckRow
from tocsin.store.heartbeats import PingRow

LARGEST_BODY_BYTES: Final = 10_000
"""How much of what a job sends is kept."""


class Caller(NamedTuple):
    """Where a call came from, as far as that is known."""

    remote: str = ""
    user_agent: str = ""


class Received(NamedTuple):
    """What a call changed, for ``Pipeline.ring``: how states stand now, and the changes of verdict."""

    settled: Sequence[Settled] = ()
    changed: Sequence[Transition] = ()


def ensure_known(conn: Connection, token: str) -> None:
    """``NotFound`` when nobody has this address."""
    if store_heartbeats.target_of(conn, token) is None:
        raise _unknown()


def _unknown() -> NotFound:
    return NotFound("No heartbeat has this address.")


def receive(
    conn: Connection,
    token: str,
    call: Call,
    *,
    pipeline: Pipeline,
    caller: Caller = Caller(),  # noqa: B008 - immutable
    body: bytes = b"",
) -> Received:
    """Keeps one call and writes what it means.

    1. The run it belongs to is found among the calls before it.
    2. It is kept, with how long the run took.
    3. A call that says how the job is becomes a check and an outcome; a start moves only the time it is due.

    ``NotFound`` when nobody has this address.
    """
    target_id = store_heartbeats.target_of(conn, token)
    row = None if target_id is None else store_targets.get(conn, target_id)
    schedule = None if row is None else targets.schedule_of(row)
    if row is None or schedule is None:
        raise _unknown()
    key = StateKey(Subject(TARGET, row.id), REACHABLE, HEADLINE)
    # Taken first: the state's row is ours until the end, so two calls at once are understood one after the other.
    state = store_states.read_many(conn, [key])[key]
    heard = hear(call, runs.remembered(conn, row.id, schedule), schedule)
    store_heartbeats.insert_ping(
        conn,
        PingRow(
            id=0,
            target_id=row.id,
            at_ms=call.at_ms,
            kind=call.kind.value,
            exit_code=call.exit_code,
            run_id=call.run_id,
            duration_ms=heard.duration_ms,
            remote=caller.remote,
            user_agent=caller.user_agent[:500],
            body=body[:LARGEST_BODY_BYTES] or None,
        ),
    )
    if state.held:
        return Received()
    if heard.result is None:
        if call.kind is CallKind.START:
            store_states.write_many(conn, [(key, state._replace(due_ms=_due_ms(heard.due_ms, call, state, schedule)))])
        return Received()
    # Two calls within one millisecond are two calls: the second takes the next one.
    at_ms = max(call.at_ms, state.last_at_ms + 1) if state.last_at_ms - call.at_ms < 1000 else call.at_ms
    latency_us = None if heard.duration_ms is None else min(heard.duration_ms * 1000, _LARGEST_LATENCY_US)
    passed = heard.result is not Result.FAILED
    entry = Entry(
        outcome=Outcome(key, at_ms, heard.result, latency_us, heard.reason, heard.due_ms),
        policy=targets.policy_of(row),
        check=CheckRow(
            at_ms=at_ms,
            target_id=row.id,
            latency_us=latency_us,
            dns_us=None,
            connect_us=None,
            tls_us=None,
            first_byte_us=None,
            transfer_us=None,
            location_id=key.location_id,
            result=heard.result,
            error=None if passed else heard.reason,
        ),
        evidence=None if passed else _evidence(heard.reason, latency_us, call, caller, body),
    )
    return Received(*pipeline.write_within(conn, [entry]))


def _due_ms(due_ms: int | None, call: Call, state: State, schedule: Schedule) -> int | None:
    """When a job is due after a start; ``due_ms`` is what its calls alone say.

    What is overdue stays so until it is written. Otherwise a time that has passed was written already, or was put
    off (nobody listened then), or did not count (the job was paused): what was expected until now stands, and the run
    must end within the grace.
    """
    if state.due_ms is not None and state.due_ms < call.at_ms:
        return state.due_ms
    if due_ms is not None and due_ms > max(call.at_ms, state.last_at_ms):
        return due_ms
    run_due_ms = call.at_ms + schedule.grace_ms
    return run_due_ms if state.due_ms is None else min(run_due_ms, state.due_ms)


_LARGEST_LATENCY_US: Final = 2**31 - 1
"""35 minutes: what the column holds. The whole duration is with the call."""


def _evidence(reason: str, latency_us: int | None, call: Call, caller: Caller, body: bytes) -> dict[str, object]:
    """In the shape of every other check's evidence."""
    return {
        "result": "failed",
        "ok": False,
        "latency_ms": None if latency_us is None else latency_us / 1000,
        "phases": dict.fromkeys(("dns_ms", "connect_ms", "tls_ms", "first_byte_ms", "transfer_ms")),
        "address": caller.remote or None,
        "error": reason,
        "network_fault": False,
        "assertions": [],
        "certificates": [],
        "details": {
            "exit_code": call.exit_code,
            "run_id": call.run_id,
            "user_agent": caller.user_agent[:500],
            "body": body[:LARGEST_BODY_BYTES].decode("utf-8", "replace"),
        },
    }
