"""Which workers there are, on every engine."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, insert

from tocsin.core.shards import LEASE_MS
from tocsin.store import server_clock, tables, workers
from tocsin.store.engine import Store
from tocsin.store.workers import Worker

NOW_MS = 1_800_000_000_000


def add_worker(conn: Connection, worker_id: str, *, until_ms: int, **fields: Any) -> None:
    row = {
        "id": worker_id,
        "life": "1",
        "location_id": 1,
        "name": f"host {worker_id}",
        "version": "0.1.0",
        "remote": False,
        "started_ms": 1,
        "clock_off_ms": 0,
    }
    conn.execute(insert(tables.workers).values(row | fields | {"until_ms": until_ms}))


def test_those_heard_of_within_a_lease_are_there(store: Store) -> None:
    with store.write() as conn:
        now_ms = server_clock.now_ms(conn) or NOW_MS
        add_worker(conn, "b", until_ms=now_ms + LEASE_MS, location_id=2, remote=True, clock_off_ms=-300_000)
        add_worker(conn, "a", until_ms=now_ms + LEASE_MS - 3000)
        add_worker(conn, "gone", until_ms=now_ms - 1)
        add_worker(conn, "from a time to come", until_ms=now_ms + 3 * LEASE_MS)
        rows = [
            {"location_id": 1, "shard": shard, "holder": holder, "epoch": 1, "until_ms": now_ms}
            for shard, holder in enumerate(["a", "a", "gone", None])
        ]
        conn.execute(insert(tables.shards), rows)
        found = workers.there(conn, NOW_MS)
    assert found == [
        Worker("a", 1, "host a", "0.1.0", False, 1, now_ms - 3000, 2, 0),
        Worker("b", 2, "host b", "0.1.0", True, 1, now_ms, 0, -300_000),
    ]


def test_nobody_is_there(store: Store) -> None:
    with store.read() as conn:
        assert workers.there(conn, NOW_MS) == []
