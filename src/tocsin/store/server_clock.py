"""The database server's own clock: the one that every process of an installation can ask."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, text

from tocsin.lib import metrics
from tocsin.lib.clock import SharedClock
from tocsin.lib.log import get_logger
from tocsin.store.engine import Store

FAR_OFF_MS: Final = 2000
"""A clock that has to be set by more than this is worth a warning."""

log = get_logger("store")


def now_ms(conn: Connection) -> int | None:
    """Epoch milliseconds; None where the database is a file and has no other clock than this machine's."""
    if conn.dialect.name == "sqlite":
        return None
    return int(conn.execute(text("SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)")).scalar_one())


def teach(clock: SharedClock, store: Store) -> None:
    """Puts ``clock`` right by the database's, where that has one of its own. Blocks; raises the store's errors."""
    with store.read() as conn:
        asked = clock.ask()
        shared_ms = now_ms(conn)
        answered_at = clock.monotonic()
    if shared_ms is None:
        return
    set_by_ms = clock.learn(shared_ms=shared_ms, asked=asked, answered_at=answered_at)
    metrics.CLOCK_AHEAD.set(clock.ahead_ms / 1000)
    if abs(set_by_ms) > FAR_OFF_MS:
        log.warning("this machine's clock is wrong; going by the database's", ahead_ms=clock.ahead_ms)
