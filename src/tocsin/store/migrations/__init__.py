"""The schema's history, run by Alembic. ``upgrade`` is the only way in; nothing here runs on import."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, text

_LOCK: Final = 0x746F6373696E  # "tocsin" in ASCII: the number by which migrating processes wait for each other


def config() -> Config:
    """Alembic's configuration; it needs no file."""
    alembic = Config()
    alembic.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return alembic


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
