"""The vantage points that checks are made from, by name and number."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, func, insert, select

from tocsin.store import fast
from tocsin.store.tables import locations

_LARGEST: Final = 32_767


def ensure(conn: Connection, name: str) -> int:
    """The number of the location called ``name``, given out now if it is new; the first ever is 1.

    Needs a write transaction. Two processes that name the same new place at once: the slower gets an
    IntegrityError and finds it on the next try.
    """
    known = conn.execute(select(locations.c.id).where(locations.c.name == name)).scalar()
    if known is not None:
        return int(known)
    last = conn.execute(select(func.max(locations.c.id))).scalar()
    number = (last or 0) + 1
    if number > _LARGEST:
        raise ValueError(f"there are {_LARGEST} locations already")
    conn.execute(insert(locations).values(id=number, name=name))
    return int(number)


def names(conn: Connection) -> dict[int, str]:
    """Every location's name by number."""
    return dict(fast.fetch(conn, select(locations.c.id, locations.c.name)))
