"""The workers that are there, as people are shown them. How they share their location's targets is in ``shards``."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, delete, func, select

from tocsin.core.shards import LEASE_MS
from tocsin.store import fast, server_clock
from tocsin.store.tables import shards, workers


class Worker(NamedTuple):
    """``seen_ms`` is its last sign of life; ``shards`` how many parts of its location's targets it has;
    ``clock_off_ms`` how far its clock is ahead of the installation's."""

    id: str
    location_id: int
    name: str
    version: str
    remote: bool
    started_ms: int
    seen_ms: int
    shards: int
    clock_off_ms: int


def there(conn: Connection, now_ms: int, *, lease_ms: int = LEASE_MS) -> list[Worker]:
    """Those heard of within a lease, by name. ``now_ms`` counts where the database has no clock of its own."""
    now_ms = server_clock.now_ms(conn) or now_ms
    held = (
        select(shards.c.holder, func.count().label("number"))
        .where(shards.c.holder.is_not(None))
        .group_by(shards.c.holder)
        .subquery()
    )
    w = workers.c
    statement = (
        select(
            w.id,
            w.location_id,
            w.name,
            w.version,
            w.remote,
            w.started_ms,
            w.until_ms - lease_ms,
            func.coalesce(held.c.number, 0),
            w.clock_off_ms,
        )
        .join_from(workers, held, held.c.holder == w.id, isouter=True)
        # One that is to be there for far longer than a lease was seen by a clock that has been set back since.
        .where(w.until_ms > now_ms, w.until_ms <= now_ms + 2 * lease_ms)
        .order_by(w.name, w.id)
    )
    return [Worker(*row)._replace(remote=bool(row[4])) for row in fast.fetch(conn, statement)]


def forget(conn: Connection, location_id: int) -> None:
    """None has ever been at this location. Its shards stay, so that no epoch comes twice."""
    conn.execute(delete(workers).where(workers.c.location_id == location_id))
