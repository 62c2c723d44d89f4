"""History in TimescaleDB's chunks, where the database has that extension and was migrated with it.

Its hypertables make, compress and drop their chunks of a day by themselves; the keeper only says when. A check's time
is a number, so the extension is told what now is by a function that the migration makes.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from tocsin.store.tables import checks, evidence

TABLES = (checks.name, evidence.name)


def to_compress(conn: Connection, before_ms: int) -> list[str]:
    """The chunks of checks that end before ``before_ms`` and are not compressed, oldest first; none where the
    extension is the edition that cannot."""
    if conn.execute(text("SELECT current_setting('timescaledb.license', true)")).scalar() != "timescale":
        return []
    statement = text(
        "SELECT format('%I.%I', chunk_schema, chunk_name) FROM timescaledb_information.chunks "
        "WHERE hypertable_name = :name AND NOT is_compressed AND range_end_integer <= :before ORDER BY 1"
    )
    return list(conn.execute(statement, {"name": checks.name, "before": before_ms}).scalars())


def compress(conn: Connection, chunk: str) -> None:
    conn.execute(text("SELECT compress_chunk(CAST(:chunk AS regclass), true)"), {"chunk": chunk})


def drop_before(conn: Connection, table: str, before_ms: int) -> int:
    """Drop the chunks that end before ``before_ms``; yields how many."""
    statement = text("SELECT count(*) FROM drop_chunks(CAST(:name AS regclass), older_than => CAST(:before AS bigint))")
    return int(conn.execute(statement, {"name": table, "before": before_ms}).scalar_one())
