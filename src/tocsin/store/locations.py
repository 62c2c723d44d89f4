"""The vantage points that checks are made from, by name and number; and which targets name them."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, Integer, cast, func, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite

from tocsin.store import fast
from tocsin.store.partitions import LARGEST_LOCATION_ID
from tocsin.store.tables import locations, targets
from tocsin.store.targets import elements

L = locations.c


def ensure(conn: Connection, name: str) -> int:
    """The number of the location called ``name``, given out now if it is new; the first ever is 1. One that was
    removed is there again, under the number it had.

    Needs a write transaction. Of two that name the same new place at once, the slower waits for the faster and is
    given the same number.
    """
    while True:
        found = conn.execute(select(L.id, L.removed_ms).where(L.name == name)).one_or_none()
        if found is not None:
            if found.removed_ms is not None:
                conn.execute(update(locations).where(L.id == found.id).values(removed_ms=None))
            return int(found.id)
        number: int = conn.execute(select(func.coalesce(func.max(L.id), 0) + 1)).scalar_one()
        if number > LARGEST_LOCATION_ID:
            raise ValueError(f"there are {LARGEST_LOCATION_ID} locations already")
        # Somebody else's new place may have taken the number meanwhile: then the next one is tried.
        inserting = sqlite.insert if conn.dialect.name == "sqlite" else postgresql.insert
        made = conn.execute(inserting(locations).values(id=number, name=name).on_conflict_do_nothing().returning(L.id))
        if made.scalar() is not None:
            return number


def names(conn: Connection) -> dict[int, str]:
    """Every location's name by number, of those removed too: history names them."""
    return dict(fast.fetch(conn, select(L.id, L.name)))


def present(conn: Connection) -> dict[int, str]:
    """The names of those that are not removed, by number, in the order of their names."""
    return dict(fast.fetch(conn, select(L.id, L.name).where(L.removed_ms.is_(None)).order_by(L.name)))


def mark_removed(conn: Connection, location_id: int, *, at_ms: int) -> bool:
    """False when there was no such location, or it was removed before."""
    done = conn.execute(update(locations).where(L.id == location_id, L.removed_ms.is_(None)).values(removed_ms=at_ms))
    return done.rowcount == 1


# ── who is probed from where ──────────────────────────────────────────────────────────────────────────


def named(conn: Connection) -> dict[int, int]:
    """How many live targets name each location; one that none names is left out."""
    each = elements(conn, targets.c.location_ids)
    number = cast(each.c.value, Integer)
    statement = (
        select(number, func.count())
        .select_from(targets.join(each, literal(True)))
        .where(targets.c.deleted_ms.is_(None))
        .group_by(number)
    )
    return dict(fast.fetch(conn, statement))


def naming_none(conn: Connection, kinds: Collection[str]) -> int:
    """How many live targets of these kinds are probed from every location, because they name none."""
    statement = select(func.count()).where(
        targets.c.deleted_ms.is_(None),
        targets.c.kind.in_(sorted(kinds)),
        func.json_array_length(targets.c.location_ids) == 0,
    )
    return int(conn.execute(statement).scalar_one())
