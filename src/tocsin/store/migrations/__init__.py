"""The schema's history, run by Alembic. ``upgrade`` is the only way in; nothing here runs on import."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import sqlalchemy as sa
from alembic import command, op
from alembic.config import Config
from sqlalchemy import Engine, text

_LOCK: Final = 0x746F6373696E  # "tocsin" in ASCII: the number by which migrating processes wait for each other


def config() -> Config:
    """Alembic's configuration; it needs no file."""
    alembic = Config()
    alembic.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return alembic


def serves_from(revision: str) -> None:
    """Called by every revision: the oldest code that works with the schema as it is from here on is that of
    ``revision``. One that only adds keeps the number of the one before it; one that takes away, or changes what is
    there, gives its own.
    """
    op.execute("DELETE FROM installation WHERE name = 'oldest_revision'")
    installation = sa.table("installation", sa.column("name"), sa.column("value"))
    op.bulk_insert(installation, [{"name": "oldest_revision", "value": revision}])


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Run what has not run yet, all in one transaction; whoever comes second waits and then has nothing to do."""
    alembic = config()
    with engine.begin() as conn:
        if conn.dialect.name == "postgresql":
            conn.execute(text("SET LOCAL statement_timeout = 0"))
            conn.execute(text("SET LOCAL lock_timeout = 0"))
            conn.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        alembic.attributes["connection"] = conn
        command.upgrade(alembic, revision)
