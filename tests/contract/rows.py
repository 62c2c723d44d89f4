"""Rows for tests, with everything that does not matter filled in."""

from __future__ import annotations

from sqlalchemy import Connection, insert

from tocsin.core.outcome import HEADLINE, REACHABLE, Result, StateKey, Subject
from tocsin.core.target import TARGET
from tocsin.store import machines, tables
from tocsin.store.checks import CheckRow

HERE = 1


def add_targets(conn: Connection, *ids: int, deleted_ms: int | None = None) -> None:
    conn.execute(
        insert(tables.targets),
        [
            {
                "id": number,
                "name": f"target {number}",
                "slug": f"target-{number}",
                "kind": "http",
                "settings": {},
                "interval_ms": 60_000,
                "timeout_ms": 10_000,
                "recheck_ms": 60_000,
                "enabled": True,
                "tags": [],
                "assertions": [],
                "failures_to_down": 2,
                "passes_to_up": 1,
                "warnings_to_degraded": 2,
                "created_ms": 0,
                "updated_ms": 0,
                "deleted_ms": deleted_ms,
                "revision": number,
            }
            for number in ids
        ],
    )


def add_machine(conn: Connection, name: str, *tags: str) -> int:
    """A machine that calls itself so, new or known; yields its number."""
    row = machines.register(
        conn, uid=name, name=name, facts={}, tags=tags, every_ms=5_000, version="1", key_id=None, now_ms=0
    )
    return row.id


def check(
    target_id: int,
    at_ms: int,
    result: Result = Result.PASSED,
    *,
    latency_us: int | None = 20_000,
    phases_us: tuple[int | None, ...] = (1_000, 2_000, None, 15_000, 2_000),
    location_id: int = HERE,
    error: str | None = None,
) -> CheckRow:
    return CheckRow._make((at_ms, target_id, latency_us, *phases_us, location_id, int(result), error))


def key(target_id: int, rule: str = REACHABLE, location_id: int = HEADLINE) -> StateKey:
    return StateKey(Subject(TARGET, target_id), rule, location_id)
