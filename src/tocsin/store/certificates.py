"""The certificate chain each location saw last at a target."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, delete, func, select

from tocsin.store import evidence, fast
from tocsin.store.tables import certificates

_COLUMNS: Final = ("target_id", "location_id", "seen_ms", "expires_ms", "document")


class Chain(NamedTuple):
    """``certificates`` are JSON objects, leaf first; ``expires_ms`` is when the first of them expires."""

    target_id: int
    location_id: int
    seen_ms: int
    expires_ms: int
    certificates: Sequence[dict[str, Any]]


def put_many(conn: Connection, chains: Sequence[Chain]) -> None:
    """Keep these in place of those seen before."""
    newest = {(chain.target_id, chain.location_id): chain for chain in chains}
    rows = [(*chain[:4], evidence.pack(chain.certificates)) for chain in newest.values()]
    fast.upsert_many(conn, certificates, _COLUMNS, rows)


def forget(conn: Connection, target_id: int, location_ids: Collection[int] | None = None) -> None:
    """None of these locations (None: no location) has seen this target's certificates."""
    statement = delete(certificates).where(certificates.c.target_id == target_id)
    if location_ids is not None:
        statement = statement.where(certificates.c.location_id.in_(set(location_ids)))
    conn.execute(statement)


def forget_location(conn: Connection, location_id: int) -> None:
    """This location has seen no certificate."""
    conn.execute(delete(certificates).where(certificates.c.location_id == location_id))


def of_target(conn: Connection, target_id: int) -> list[Chain]:
    """What every location saw last, the first to expire first."""
    statement = select(*(certificates.c[name] for name in _COLUMNS)).where(certificates.c.target_id == target_id)
    return [
        Chain(target, location_id, seen_ms, expires_ms, evidence.unpack(document))
        for target, location_id, seen_ms, expires_ms, document in conn.execute(
            statement.order_by(certificates.c.expires_ms)
        )
    ]


def expiries(conn: Connection, target_ids: Collection[int] | None = None) -> dict[int, int]:
    """When the first certificate of each target that has one expires (epoch ms); None: of all targets."""
    statement = select(certificates.c.target_id, func.min(certificates.c.expires_ms)).group_by(certificates.c.target_id)
    if target_ids is not None:
        statement = statement.where(fast.among(conn, certificates.c.target_id, target_ids))
    return dict(fast.fetch(conn, statement))
