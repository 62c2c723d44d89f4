"""What kind of database this is, how it is set up and how it keeps history, for ``tocsin doctor``."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, func, select, text

from tocsin.store import partitions
from tocsin.store.partitions import TimeTables
from tocsin.store.tables import check_blocks, checks


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


class HistoryFacts(NamedTuple):
    """How single checks are kept. None: not known, or there are none."""

    time_tables: TimeTables
    days: int | None = None
    """How many partitions or chunks checks have, those of days to come among them."""
    oldest_ms: int | None = None
    newest_ms: int | None = None
    """When the oldest of them begins, and the newest."""
    check_bytes: float | None = None
    """What a check takes with its index, going by the server's own count of rows."""
    packed_check_bytes: float | None = None
    """The same of packed ones, in the newest day of them."""


def inspect_history(conn: Connection) -> HistoryFacts:
    """Reads the catalog, and the numbers of one day's blocks."""
    time_tables = partitions.time_tables(conn)
    if time_tables == "plain":
        return HistoryFacts(time_tables)
    if time_tables == "timescaledb":
        return _chunks(conn)
    days = partitions.days(conn, checks.name)
    facts = HistoryFacts(time_tables, len(days), check_bytes=_bytes_a_row(conn, [day.name for day in days if day.used]))
    if days:
        facts = facts._replace(oldest_ms=days[0].start_ms, newest_ms=days[-1].start_ms)
    packed = [day for day in partitions.days(conn, check_blocks.name) if day.used]
    if not packed:
        return facts
    of_day = check_blocks.c.start_ms >= packed[-1].start_ms, check_blocks.c.start_ms < packed[-1].end_ms
    count = conn.execute(select(func.sum(check_blocks.c.checks)).where(*of_day)).scalar()
    size_bytes = conn.execute(text("SELECT pg_total_relation_size(:name)"), {"name": packed[-1].name}).scalar_one()
    return facts._replace(packed_check_bytes=size_bytes / int(count) if count else None)


def _bytes_a_row(conn: Connection, names: list[str]) -> float | None:
    # As many to a page as when the server counted last: the rows that have come since are on the pages that have.
    statement = text(
        "SELECT sum(pg_total_relation_size(oid)), "
        "sum(reltuples / relpages * pg_relation_size(oid) / current_setting('block_size')::int) "
        "FROM pg_class WHERE relname = ANY(:names) AND reltuples > 0 AND relpages > 0"
    )
    size_bytes, rows = conn.execute(statement, {"names": names}).one()
    return float(size_bytes) / float(rows) if rows else None


def _chunks(conn: Connection) -> HistoryFacts:
    statement = text(
        "SELECT count(*), min(range_start_integer), max(range_start_integer), "
        "hypertable_size(CAST(:name AS regclass)), approximate_row_count(CAST(:name AS regclass)) "
        "FROM timescaledb_information.chunks WHERE hypertable_name = :name"
    )
    days, oldest_ms, newest_ms, size_bytes, rows = conn.execute(statement, {"name": checks.name}).one()
    return HistoryFacts("timescaledb", days, oldest_ms, newest_ms, size_bytes / rows if rows else None)
