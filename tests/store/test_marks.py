"""The lock that keeps the marks of history from moving while checks are stored."""

from __future__ import annotations

import threading

import psycopg
import pytest

from tocsin.store import marks
from tocsin.store.engine import Store, StoreBusy


def test_whoever_moves_a_mark_is_overtaken_by_nobody(postgres_url: str) -> None:
    """Where many store checks there is always one that holds them."""
    store, hasty = Store(postgres_url), Store(postgres_url, busy_timeout_s=0.1)
    moved = threading.Thread(target=_move, args=[store])
    with store.write() as storing:
        marks.hold(storing)
        moved.start()
        _wait_until_somebody_waits(postgres_url)
        with pytest.raises(StoreBusy):
            _hold(hasty)
    moved.join(60)
    _hold(hasty)
    with store.read() as conn:
        assert marks.read(conn).kept_from_ms == 7
    store.close()
    hasty.close()


def _move(store: Store) -> None:
    with store.write() as conn:
        marks.advance(conn, marks.KEPT, 7)


def _hold(store: Store) -> None:
    with store.write() as conn:
        marks.hold(conn)


def _wait_until_somebody_waits(url: str) -> None:
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()"
    with psycopg.connect(url, autocommit=True) as conn:
        while conn.execute(waiting).fetchone() == (0,):
            pass
