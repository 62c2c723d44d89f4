"""What kind of database this is and how it is set up, for ``tocsin doctor``. Knows none of Tocsin's own things."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, text


class EngineFacts(NamedTuple):
    """``now_ms`` is the database server's own clock, None when it is this machine's."""

    name: str
    version: str
    size_bytes: int
    durability: str
    now_ms: float | None = None
    warning: str = ""
    advice: str = ""


def inspect_engine(conn: Connection) -> EngineFacts:
    """A few short statements; reads no table."""
    return _sqlite(conn) if conn.dialect.name == "sqlite" else _postgresql(conn)


def _sqlite(conn: Connection) -> EngineFacts:
    def pragma(name: str) -> object:
        return conn.execute(text(f"PRAGMA {name}")).scalar_one()

    journal = str(pragma("journal_mode"))
    # WAL needs shared memory between processes, which network file systems do not give.
    lost = "" if journal == "wal" else f"the journal mode is {journal}, so readers and writers wait for each other"
    return EngineFacts(
        name="SQLite",
        version=str(conn.execute(text("SELECT sqlite_version()")).scalar_one()),
        size_bytes=int(str(pragma("page_count"))) * int(str(pragma("page_size"))),
        durability=f"{journal.upper()} journal",
        warning=lost,
        advice="Keep the data directory on a local disk, not on a network file system." if lost else "",
    )


def _postgresql(conn: Connection) -> EngineFacts:
    version, size_bytes, synchronous, now_ms = conn.execute(
        text(
            "SELECT current_setting('server_version'), pg_database_size(current_database()), "
            "current_setting('synchronous_commit'), extract(epoch FROM clock_timestamp()) * 1000"
        )
    ).one()
    return EngineFacts(
        name="PostgreSQL",
        version=str(version),
        size_bytes=int(size_bytes),
        durability=f"synchronous_commit {synchronous}",
        now_ms=float(now_ms),
    )
