"""Heartbeats at rest: the secret address of each target whose job calls in, and the calls. Knows no schedule."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

from sqlalchemy import Connection, delete, insert, select, tuple_

from tocsin.store import fast, tables

H = tables.heartbeat_tokens.c
P = tables.heartbeat_pings.c

KEPT_PER_TARGET: Final = 500


class PingRow(NamedTuple):
    """One call. ``id`` is 0 before it is stored."""

    id: int
    target_id: int
    at_ms: int
    kind: str
    exit_code: int | None
    run_id: str | None
    duration_ms: int | None
    remote: str
    user_agent: str
    body: bytes | None


_SELECTED: Final = tuple(P[name] for name in PingRow._fields)


def insert_token(conn: Connection, token: str, target_id: int) -> None:
    conn.execute(insert(tables.heartbeat_tokens).values(token=token, target_id=target_id))


def target_of(conn: Connection, token: str) -> int | None:
    return conn.execute(select(H.target_id).where(H.token == token)).scalar_one_or_none()


def tokens(conn: Connection, target_ids: Collection[int]) -> dict[int, str]:
    statement = select(H.target_id, H.token).where(fast.among(conn, H.target_id, target_ids))
    return dict(fast.fetch(conn, statement))


def insert_ping(conn: Connection, ping: PingRow) -> int:
    """Stores it, and forgets the target's oldest beyond ``KEPT_PER_TARGET``. Two statements."""
    values = ping._asdict()
    del values["id"]
    ping_id: int = conn.execute(insert(tables.heartbeat_pings).values(values).returning(P.id)).scalar_one()
    oldest_kept = (
        select(P.at_ms, P.id)
        .where(P.target_id == ping.target_id)
        .order_by(P.at_ms.desc(), P.id.desc())
        .offset(KEPT_PER_TARGET - 1)
        .limit(1)
    )
    conn.execute(
        delete(tables.heartbeat_pings).where(
            P.target_id == ping.target_id, tuple_(P.at_ms, P.id) < oldest_kept.scalar_subquery()
        )
    )
    return ping_id


def pings(
    conn: Connection,
    target_id: int,
    *,
    limit: int,
    before: tuple[int, int] | None = None,
    kinds: Collection[str] | None = None,
) -> list[PingRow]:
    """A target's calls, newest first; ``before`` is the (at_ms, id) of the last one of the page before."""
    statement = select(*_SELECTED).where(P.target_id == target_id)
    if before is not None:
        statement = statement.where(tuple_(P.at_ms, P.id) < tuple_(*before))
    if kinds is not None:
        statement = statement.where(P.kind.in_(sorted(kinds)))
    found = conn.execute(statement.order_by(P.at_ms.desc(), P.id.desc()).limit(limit))
    return [PingRow(*row) for row in found]
