"""Which process does a job that only one may do, and until when. Callers bring the time."""

from __future__ import annotations

from sqlalchemy import Connection, delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from tocsin.store.tables import leases


def take(conn: Connection, name: str, holder: str, *, now_ms: int, for_ms: int) -> bool:
    """Take or renew the lease; True: it is ours until ``now_ms + for_ms``. Another's counts until it runs out.

    One that would last much longer than anybody takes it for was taken by a clock that has been set back since.
    """
    free = or_(leases.c.until_ms <= now_ms, leases.c.until_ms > now_ms + 2 * for_ms)
    changed = conn.execute(
        update(leases)
        .where(leases.c.name == name, or_(leases.c.holder == holder, free))
        .values(holder=holder, until_ms=now_ms + for_ms)
    )
    if changed.rowcount:
        return True
    insert = sqlite.insert if conn.dialect.name == "sqlite" else postgresql.insert
    made = conn.execute(
        insert(leases)
        .values(name=name, holder=holder, until_ms=now_ms + for_ms)
        .on_conflict_do_nothing()
        .returning(leases.c.name)
    )
    return made.first() is not None


def renew(conn: Connection, name: str, holder: str, *, now_ms: int, for_ms: int) -> bool:
    """Renew the lease; False: somebody else has had it since we took it. One that ran out and that nobody took is ours
    still."""
    mine = leases.c.name == name, leases.c.holder == holder
    return conn.execute(update(leases).where(*mine).values(until_ms=now_ms + for_ms)).rowcount > 0


def until_ms(conn: Connection, name: str) -> int | None:
    """When the lease runs out, or ran out; None when nobody ever took it or it was given back."""
    return conn.execute(select(leases.c.until_ms).where(leases.c.name == name)).scalar()


def holder(conn: Connection, name: str, *, now_ms: int) -> str | None:
    """Whose the lease is; None: nobody's."""
    held = leases.c.name == name, leases.c.until_ms >= now_ms
    return conn.execute(select(leases.c.holder).where(*held)).scalar()


def release(conn: Connection, name: str, holder: str) -> None:
    """Give the lease back, if it is ours, so that the next one need not wait for it to run out."""
    conn.execute(delete(leases).where(leases.c.name == name, leases.c.holder == holder))
