"""History in partitions, on PostgreSQL: which there are, making and dropping them, and finding checks in them.

A partition is dropped in no time, where deleting its rows one by one would write as much as storing them did. Checks
have one a day where ``used`` says so; other engines have whole tables (or, with TimescaleDB, chunks of its own).
Samples have them on every PostgreSQL (``used_for_samples``): an hour each for single ticks, a day for what is made of
them.

A partition of ``checks`` has one index, on a number made of hour, target, time and location (``KEY``). 16 bytes an
entry in place of 24; and because the hour comes first, what is inserted now falls into a small part of the index that
stays in memory, however many targets there are. Measured in docs/decisions/0014.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Final, Literal, NamedTuple, cast

import numpy as np
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    Subquery,
    bindparam,
    column,
    delete,
    func,
    literal,
    literal_column,
    select,
    text,
    true,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import ARRAY

from tocsin.core.rollup import DAY_MS, HOUR_MS
from tocsin.store import fast, installation
from tocsin.store.tables import (
    check_blocks,
    checks,
    evidence,
    sample_blocks,
    sample_hours,
    sample_minutes,
    samples,
    targets,
)

TimeTables = Literal["plain", "partitions", "timescaledb"]

TABLES: Final = (checks.name, evidence.name, check_blocks.name)
SAMPLE_TABLES: Final = (samples.name, sample_blocks.name, sample_minutes.name, sample_hours.name)

_LENGTH_MS: Final = {samples.name: HOUR_MS}
"""Of those whose partitions are no days."""

LARGEST_TARGET_ID: Final = 2**26 - 1
LARGEST_LOCATION_ID: Final = 2**10 - 1
"""What KEY has room for."""

KEY: Final = (
    "(((at_ms / 3600000 % 24) << 58) | (target_id::bigint << 32) | ((at_ms % 3600000) << 10) | location_id::bigint)"
)
"""Hour of the day, target, millisecond of the hour, location, in 5 + 26 + 22 + 10 bits. Within one day's partition a
check has its own; one target's of one hour lie side by side, by time and location."""

_LOCK: Final = 0x74636461797320  # the number by which those who make partitions wait for each other
_DROPPING: Final = "being dropped by Tocsin"
_BOUNDS: Final = re.compile(r"FROM \('(\d+)'\) TO \('(\d+)'\)")


class Day(NamedTuple):
    """One partition, of a day or an hour. ``used``: it has rows, or once had some."""

    name: str
    start_ms: int
    end_ms: int
    used: bool


def time_tables(conn: Connection) -> TimeTables:
    """How this database keeps history by time; decided when it was migrated."""
    if conn.dialect.name == "sqlite":
        return "plain"
    known = conn.info.get("time_tables")  # of this connection to the server, kept while it is open
    if known is None:
        known = conn.info["time_tables"] = installation.get(conn, "time_tables")
    return cast("TimeTables", known)


def used(conn: Connection) -> bool:
    return time_tables(conn) == "partitions"


def used_for_samples(conn: Connection) -> bool:
    return conn.dialect.name != "sqlite"


def length_ms(table: str) -> int:
    """How long a time one partition of it is for."""
    return _LENGTH_MS.get(table, DAY_MS)


# ── which there are ───────────────────────────────────────────────────────────────────────────────────


def days(conn: Connection, table: str) -> list[Day]:
    """A table's partitions, oldest first."""
    statement = text(
        "SELECT part.relname, pg_get_expr(part.relpartbound, part.oid), pg_relation_size(part.oid) > 0 "
        "FROM pg_inherits JOIN pg_class part ON part.oid = inhrelid "
        "WHERE inhparent = to_regclass(:parent) AND NOT inhdetachpending"
    )
    found = []
    for name, bounds, has_pages in conn.execute(statement, {"parent": table}):
        match = _BOUNDS.search(bounds)
        if match is not None:  # None: somebody's own kind of partition
            found.append(Day(name, int(match[1]), int(match[2]), has_pages))
    return sorted(found, key=lambda day: day.start_ms)


def filled(conn: Connection, table: str, from_ms: int, to_ms: int) -> list[Day]:
    """Those that are used and have a part in [from_ms, to_ms), oldest first."""
    return [day for day in days(conn, table) if day.used and day.start_ms < to_ms and day.end_ms > from_ms]


def starts_of(times_ms: Iterable[int], table: str = checks.name) -> list[int]:
    """The starts of the table's partitions in which these times lie."""
    each_ms = length_ms(table)
    return [number * each_ms for number in sorted({at_ms // each_ms for at_ms in times_ms})]


# ── making and dropping ───────────────────────────────────────────────────────────────────────────────


def ensure(conn: Connection, table: str, starts_ms: Collection[int]) -> int:
    """Make what is missing of the partitions that begin then, as part of the transaction; yields how many.

    Those who write to others wait for nothing: a table that is attached is locked, not the one it is attached to.
    """
    names = {_name(table, start_ms): start_ms for start_ms in starts_ms}
    if not _missing(conn, names):
        return 0
    conn.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    missing = _missing(conn, names)  # somebody may have been faster
    for name in missing:
        _make(conn, table, name, names[name])
    return len(missing)


def drop(conn: Connection, table: str, name: str) -> None:
    """Drop a partition. ``conn`` is outside of any transaction (``Store.statements``).

    Detached CONCURRENTLY, which waits for those who may read it and lets everybody go on meanwhile. Cut off anywhere,
    ``finish_drops`` does the rest.
    """
    conn.execute(text(f"COMMENT ON TABLE {name} IS '{_DROPPING}'"))
    conn.execute(text(f"ALTER TABLE {table} DETACH PARTITION {name} CONCURRENTLY"))
    conn.execute(text(f"DROP TABLE {name}"))


def finish_drops(conn: Connection) -> int:
    """Drop what ``drop`` began and was kept from ending; yields how many. ``conn`` as there."""
    pending = text(
        "SELECT parent.relname, part.relname FROM pg_inherits JOIN pg_class part ON part.oid = inhrelid "
        "JOIN pg_class parent ON parent.oid = inhparent "
        "WHERE inhdetachpending AND obj_description(part.oid, 'pg_class') = :dropping"
    )
    for table, name in conn.execute(pending, {"dropping": _DROPPING}).all():
        conn.execute(text(f"ALTER TABLE {table} DETACH PARTITION {name} FINALIZE"))
    loose = text(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND NOT relispartition AND pg_table_is_visible(oid) "
        "AND obj_description(oid, 'pg_class') = :dropping"
    )
    names = list(conn.execute(loose, {"dropping": _DROPPING}).scalars())
    for name in names:
        conn.execute(text(f"DROP TABLE {name}"))
    return len(names)


def _name(table: str, start_ms: int) -> str:
    unit: Literal["D", "h"] = "D" if length_ms(table) == DAY_MS else "h"
    spelt = str(np.datetime64(start_ms // length_ms(table), unit))  # years may have more than four digits
    return f"{table}_{spelt.replace('-', '_').replace('T', '_')}"


def _missing(conn: Connection, names: Collection[str]) -> list[str]:
    # Not asked of to_regclass: its cache does not see what was made while this transaction waited for the lock.
    statement = text(
        "SELECT name FROM unnest(CAST(:names AS text[])) AS name "
        "WHERE NOT EXISTS (SELECT FROM pg_class WHERE relname = name AND pg_table_is_visible(oid))"
    )
    return list(conn.execute(statement, {"names": list(names)}).scalars())


def _make(conn: Connection, table: str, name: str, start_ms: int) -> None:
    conn.execute(text(f"CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING INDEXES)"))
    if table == checks.name:
        # serves a target's checks by time, and keeps a slot from being recorded twice
        conn.execute(text(f"CREATE UNIQUE INDEX uq_{name} ON {name} ({KEY})"))
    # Rows are only ever added, and the table is gone before their transactions are old.
    conn.execute(text(f"ALTER TABLE {name} SET (autovacuum_vacuum_insert_threshold = -1)"))
    end_ms = start_ms + length_ms(table)
    conn.execute(text(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({start_ms}) TO ({end_ms})"))


# ── finding checks ────────────────────────────────────────────────────────────────────────────────────


class Stretch(NamedTuple):
    """The part of an hour of one day in which to look: [low, high) are keys, but for the target's part of them."""

    from_ms: int
    to_ms: int
    low: int
    high: int


def stretches(conn: Connection, from_ms: int, to_ms: int) -> Iterator[list[Stretch]]:
    """Where checks of [from_ms, to_ms) can be, one list a day, all newest first."""
    for day in reversed(filled(conn, checks.name, from_ms, to_ms)):
        yield [
            _stretch(max(start_ms, from_ms), min(start_ms + HOUR_MS, to_ms))
            for start_ms in range(day.end_ms - HOUR_MS, day.start_ms - 1, -HOUR_MS)
            if start_ms < to_ms and start_ms + HOUR_MS > from_ms
        ]


def _stretch(from_ms: int, to_ms: int) -> Stretch:
    hour = from_ms // HOUR_MS
    base = (hour % 24) << 58
    return Stretch(from_ms, to_ms, base + (from_ms % HOUR_MS << 10), base + (to_ms - hour * HOUR_MS << 10))


def checks_in(
    where: Collection[Stretch], target_ids: FromClause, *conditions: ColumnElement[bool], newest: int | None = None
) -> Subquery:
    """The checks of these targets (a table with the column ``id``) in these stretches, as a table like ``checks``:
    those that meet ``conditions`` (on ``checks``); of every stretch and target the ``newest`` only, where given."""
    hours = _table_of(where)
    target = sql_cast(target_ids.c.id, BigInteger) * literal(1 << 32, BigInteger)
    key = literal_column(KEY, BigInteger)
    # As it stands for each hour and target. Without a limit in it PostgreSQL would take it apart, and read all of the
    # day because it cannot know how few keys lie between two.
    there = (
        select(*checks.c)
        .where(
            key >= hours.c.low + target,
            key < hours.c.high + target,
            checks.c.at_ms >= hours.c.from_ms,
            checks.c.at_ms < hours.c.to_ms,
            # what can be known before hours are looked at: the partitions
            checks.c.at_ms >= min(stretch.from_ms for stretch in where),
            checks.c.at_ms < max(stretch.to_ms for stretch in where),
            *conditions,
        )
        .order_by(key.desc())
    )
    there = there.offset(0) if newest is None else there.limit(newest)
    found = there.lateral("found")
    return select(*found.c).select_from(hours.join(target_ids, true()).join(found, true())).subquery("checks_in")


def delete_checks(conn: Connection, target_id: int, *, most: int) -> int:
    """Delete a target's oldest checks, ``most`` or, because those of an hour go together, a few more; yields how
    many."""
    key = literal_column(KEY, BigInteger)
    target = target_id << 32
    gone = 0
    for stretch in reversed([hour for day in stretches(conn, 0, 2**60) for hour in day]):
        of_time = checks.c.at_ms >= stretch.from_ms, checks.c.at_ms < stretch.to_ms
        of_target = key >= stretch.low + target, key < stretch.high + target
        gone += conn.execute(delete(checks).where(*of_time, *of_target)).rowcount
        if gone >= most:
            break
    return gone


def _table_of(where: Collection[Stretch]) -> FromClause:
    """As four lists, so that the statement is the same for any number of them."""
    names = [column(name, BigInteger) for name in Stretch._fields]
    lists = [bindparam(None, list(numbers), type_=ARRAY(BigInteger)) for numbers in zip(*where, strict=True)]
    return func.unnest(*lists).table_valued(*names, name="hours").render_derived()


def every_target() -> FromClause:
    """For ``checks_in``: all of them, deleted ones too."""
    return select(targets.c.id).subquery("every_target")


def these_targets(conn: Connection, target_ids: Collection[int]) -> FromClause:
    """For ``checks_in``."""
    return fast.listed(conn, target_ids)
