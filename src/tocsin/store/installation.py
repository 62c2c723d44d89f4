"""What is true of the whole installation, by name."""

from __future__ import annotations

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from tocsin.store.tables import installation


def get(conn: Connection, name: str) -> str | None:
    return conn.execute(select(installation.c.value).where(installation.c.name == name)).scalar()


def put(conn: Connection, name: str, value: str) -> None:
    """In place of what was kept under ``name``."""
    insert = sqlite.insert if conn.dialect.name == "sqlite" else postgresql.insert
    statement = insert(installation).values(name=name, value=value)
    conn.execute(statement.on_conflict_do_update(index_elements=[installation.c.name], set_={"value": value}))


def keep_first(conn: Connection, name: str, value: str) -> str:
    """What is kept under ``name``: ``value``, when nothing was before.

    Of several that come at once the first keeps its own; the others wait until its transaction has ended and are given
    the same, so that they also see what else it wrote.
    """
    insert = sqlite.insert if conn.dialect.name == "sqlite" else postgresql.insert
    conn.execute(insert(installation).values(name=name, value=value).on_conflict_do_nothing())
    kept: str = conn.execute(select(installation.c.value).where(installation.c.name == name)).scalar_one()
    return kept
