"""What is remembered of a job, from the calls that are kept: its open run, and when it last ended one."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from tocsin.core.heartbeat import Call, CallKind, Memory, hear
from tocsin.core.schedule import Schedule
from tocsin.store import heartbeats

_REMEMBERED: Final = 100
"""So many calls back is looked for a run that is still open."""
_KINDS: Final = (CallKind.START.value, CallKind.SUCCESS.value, CallKind.FAIL.value)


def remembered(conn: Connection, target_id: int, schedule: Schedule) -> Memory:
    memory = Memory()
    for ping in reversed(heartbeats.pings(conn, target_id, limit=_REMEMBERED, kinds=_KINDS)):
        call = Call(CallKind(ping.kind), ping.at_ms, ping.run_id, ping.exit_code)
        memory = hear(call, memory, schedule).memory
    return memory
