"""Raw checks: one small row per probe, written in batches, read by target and time.

Those of days that are over are packed into blocks (``store.blocks``). Where both are there while that is done, or was
cut off, a check is one check: what is read is made one by its key.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import chain, islice
from typing import Final, NamedTuple

import numpy as np
from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    LargeBinary,
    Subquery,
    cast,
    delete,
    false,
    func,
    select,
    tuple_,
)

from tocsin.core.rollup import NOT_TIMED
from tocsin.core.sketch import Ints
from tocsin.lib import metrics
from tocsin.store import blocks, fast, marks, partitions
from tocsin.store.blocks import Checks
from tocsin.store.tables import checks, late_checks, targets


class CheckRow(NamedTuple):
    """One check as it is stored. Times are microseconds except ``at_ms``, the slot the check was scheduled for.

    ``latency_us`` None: nothing was timed; a phase None: it did not take place. ``result`` is a
    ``core.outcome.Result``; ``error`` is None when the check passed.
    """

    at_ms: int
    target_id: int
    latency_us: int | None
    dns_us: int | None
    connect_us: int | None
    tls_us: int | None
    first_byte_us: int | None
    transfer_us: int | None
    location_id: int
    result: int
    error: str | None


_COLUMNS: Final = CheckRow._fields
_TIMES: Final = ("latency_us", "dns_us", "connect_us", "tls_us", "first_byte_us", "transfer_us")
_BLANKS: Final[dict[str, int | str]] = {**dict.fromkeys(_TIMES, NOT_TIMED), "error": ""}
"""What stands for NULL where that would make rows longer."""
_LATE_COLUMNS: Final = tuple(column.name for column in late_checks.c if column.name != "id")
_FOR_EVER_MS: Final = 2**60

CheckKey = tuple[int, int, int]
"""``(target_id, at_ms, location_id)``: what one check and its evidence are found by."""


# ── storing ───────────────────────────────────────────────────────────────────────────────────────────


def insert_many(conn: Connection, rows: Sequence[CheckRow]) -> int:
    """Store checks; yields how many were new. One whose slot is recorded already is left as it was.

    Those for a time that has been folded into hours already are noted in ``late_checks`` too, in the same
    transaction, so that the keeper adds them later; those of days that are packed go into their blocks; those older
    than single checks are kept are left out and counted. The marks are held until the transaction ends: nothing can
    pass them between the look and the commit.
    """
    if not rows:
        return 0
    standing = marks.hold(conn)
    packed: list[CheckRow] = []
    if min(row.at_ms for row in rows) < max(standing.packed_ms, standing.kept_from_ms):
        kept = [row for row in rows if row.at_ms >= standing.kept_from_ms]
        metrics.CHECKS_TOO_OLD.inc(len(rows) - len(kept))
        packed = [row for row in kept if row.at_ms < standing.packed_ms]
        rows = [row for row in kept if row.at_ms >= standing.packed_ms]
    new = _insert(conn, rows) + _insert_packed(conn, packed)
    late = [row for row in new if row.at_ms < standing.hours_ms]
    fast.insert_many(conn, late_checks, _LATE_COLUMNS, [[getattr(row, name) for name in _LATE_COLUMNS] for row in late])
    return len(new)


def _insert(conn: Connection, rows: Sequence[CheckRow]) -> list[CheckRow]:
    """Those that were new."""
    if rows and partitions.used(conn):
        # Beyond these two checks would have the same key.
        if max(row.target_id for row in rows) > partitions.LARGEST_TARGET_ID:
            raise ValueError(f"targets have numbers up to {partitions.LARGEST_TARGET_ID} only")
        if max(row.location_id for row in rows) > partitions.LARGEST_LOCATION_ID:
            raise ValueError(f"locations have numbers up to {partitions.LARGEST_LOCATION_ID} only")
        partitions.ensure(conn, checks.name, partitions.starts_of(row.at_ms for row in rows))
    return fast.insert_new(conn, checks, _COLUMNS, rows, blanks=_BLANKS)


def _insert_packed(conn: Connection, rows: Sequence[CheckRow]) -> list[CheckRow]:
    """The same for days that are packed, or being packed: then some are still in the table."""
    if not rows:
        return []
    there = _recorded(conn, rows)
    coming = [row for row in rows if (row.target_id, row.at_ms, row.location_id) not in there]
    return _rows(blocks.add(conn, _of_rows(coming)))


def _recorded(conn: Connection, rows: Sequence[CheckRow]) -> set[CheckKey]:
    """The keys of the checks of that time that are in the table: of these targets, and perhaps of a few more times."""
    times_ms = [row.at_ms for row in rows]
    there = within(conn, {row.target_id for row in rows}, min(times_ms), max(times_ms) + 1)
    statement = select(there.c.target_id, there.c.at_ms, there.c.location_id)
    return {(target_id, at_ms, place) for target_id, at_ms, place in fast.fetch_numbers(conn, statement).tolist()}


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────


def read_time(column: ColumnElement[int]) -> ColumnElement[int | None]:
    """A column of times of ``checks``: NULL where there is no time."""
    return func.nullif(column, NOT_TIMED)


def read_error(column: ColumnElement[str]) -> ColumnElement[str | None]:
    """The error of ``checks``: NULL where there is none."""
    return func.nullif(column, "")


def of_target(
    conn: Connection,
    target_id: int,
    *,
    from_ms: int,
    to_ms: int,
    limit: int,
    before: tuple[int, int] | None = None,
    results: Collection[int] | None = None,
    location_id: int | None = None,
) -> list[CheckRow]:
    """A target's checks in [from_ms, to_ms), newest first.

    ``before`` is the (at_ms, location_id) of the last row of the previous page; ``results`` keeps only these,
    ``location_id`` only those from there.
    """
    if before is not None:
        to_ms = min(to_ms, before[0] + 1)
    page = _Page(target_id, from_ms, to_ms, limit, before, results, location_id)
    in_table = list(_newest_in_table(conn, page))
    packed_ms = marks.read(conn).packed_ms
    if from_ms >= packed_ms or (len(in_table) == limit and in_table[-1].at_ms >= packed_ms):
        return in_table
    in_blocks = list(islice(_newest_in_blocks(conn, page, packed_ms), limit))
    together = {(row.at_ms, row.location_id): row for row in chain(in_table, in_blocks)}
    return [together[key] for key in sorted(together, reverse=True)[:limit]]


class _Page(NamedTuple):
    """What ``of_target`` is asked for."""

    target_id: int
    from_ms: int
    to_ms: int
    limit: int
    before: tuple[int, int] | None
    results: Collection[int] | None
    location_id: int | None

    @property
    def conditions(self) -> list[ColumnElement[bool]]:
        """What else rows of ``checks`` must meet, beside target and time."""
        conditions: list[ColumnElement[bool]] = []
        if self.before is not None:
            conditions.append(tuple_(checks.c.at_ms, checks.c.location_id) < tuple_(*self.before))
        if self.results is not None:
            conditions.append(checks.c.result.in_(sorted(self.results)))
        if self.location_id is not None:
            conditions.append(checks.c.location_id == self.location_id)
        return conditions

    def wants(self, row: CheckRow) -> bool:
        """The same of a row of this target and time, and of the location that is asked for."""
        return (self.before is None or (row.at_ms, row.location_id) < self.before) and (
            self.results is None or row.result in self.results
        )


def _newest_in_table(conn: Connection, page: _Page) -> list[CheckRow]:
    if not partitions.used(conn):
        mine = checks.c.target_id == page.target_id, checks.c.at_ms >= page.from_ms, checks.c.at_ms < page.to_ms
        there = select(checks).where(*mine, *page.conditions).subquery()
        return _fetch_newest(conn, there, page.limit)
    target = partitions.these_targets(conn, [page.target_id])
    rows: list[CheckRow] = []
    for hours in partitions.stretches(conn, page.from_ms, page.to_ms):
        there = partitions.checks_in(hours, target, *page.conditions, newest=page.limit)
        rows += _fetch_newest(conn, there, page.limit - len(rows))
        if len(rows) == page.limit:
            break
    return rows


def _fetch_newest(conn: Connection, there: FromClause, limit: int) -> list[CheckRow]:
    read = {name: read_time(there.c[name]) for name in _TIMES} | {"error": read_error(there.c.error)}
    selected = [read.get(name, there.c[name]) for name in _COLUMNS]
    newest_first = there.c.at_ms.desc(), there.c.location_id.desc()
    return [CheckRow(*row) for row in fast.fetch(conn, select(*selected).order_by(*newest_first).limit(limit))]


def _newest_in_blocks(conn: Connection, page: _Page, packed_ms: int) -> Iterator[CheckRow]:
    parts = blocks.newest(
        conn,
        page.target_id,
        from_ms=page.from_ms,
        to_ms=min(page.to_ms, packed_ms),
        location_id=page.location_id,
    )
    for part in parts:
        rows = sorted(_rows(part), key=lambda row: (row.at_ms, row.location_id), reverse=True)
        yield from filter(page.wants, rows)


def within(conn: Connection, target_ids: Collection[int] | None, from_ms: int, to_ms: int | None = None) -> Subquery:
    """The checks in [from_ms, to_ms) that are in the table, as a table like ``checks``; ``target_ids`` None: of every
    target, deleted ones too. Some may be in blocks as well."""
    to_ms = _FOR_EVER_MS if to_ms is None else to_ms
    if not partitions.used(conn):
        ids = checks.c.target_id
        mine = ids.in_(select(targets.c.id)) if target_ids is None else fast.among(conn, ids, target_ids)
        return select(checks).where(mine, checks.c.at_ms >= from_ms, checks.c.at_ms < to_ms).subquery()
    hours = list(chain.from_iterable(partitions.stretches(conn, from_ms, to_ms)))
    if not hours:
        return select(checks).where(false()).subquery()
    whose = partitions.every_target() if target_ids is None else partitions.these_targets(conn, target_ids)
    return partitions.checks_in(hours, whose)


def numbers_within(
    conn: Connection, target_ids: Collection[int] | None, from_ms: int, to_ms: int | None = None
) -> Ints:
    """The numbers of the checks that ``within`` gives, as ``store.blocks.COLUMNS`` orders them."""
    there = within(conn, target_ids, from_ms, to_ms)
    return fast.fetch_numbers(conn, select(*_numbers(there)))


def _numbers(there: FromClause) -> list[ColumnElement[int]]:
    times = [func.coalesce(there.c[name], NOT_TIMED) for name in _TIMES]
    return [*(there.c[name] for name in (*blocks.KEY, "result")), *times]


def all_within(conn: Connection, target_ids: Collection[int], from_ms: int, to_ms: int) -> Ints:
    """The same with those that are in blocks: every check once, in any order."""
    numbers = numbers_within(conn, target_ids, from_ms, to_ms)
    packed_ms = marks.read(conn).packed_ms
    if from_ms >= packed_ms:
        return numbers
    packed = blocks.within(conn, target_ids, from_ms, min(to_ms, packed_ms))
    in_table = Checks(numbers, np.full(len(numbers), "", object))
    return blocks.union([packed, in_table]).numbers


def unpacked(conn: Connection, target_ids: Collection[int], from_ms: int, to_ms: int) -> Checks:
    """The checks that ``within`` gives, with their errors."""
    there = within(conn, target_ids, from_ms, to_ms)
    error = func.coalesce(there.c.error, "")
    as_bytes = cast(error, LargeBinary) if conn.dialect.name == "sqlite" else func.convert_to(error, "UTF8")
    numbers, lengths, joined = fast.fetch_numbers_and_bytes(conn, select(*_numbers(there), as_bytes))
    errors = np.full(len(numbers), "", object)
    ends = np.cumsum(lengths)
    for place in np.flatnonzero(lengths).tolist():
        errors[place] = joined[ends[place] - lengths[place] : ends[place]].decode()
    return Checks(numbers, errors)


def pack_oldest(conn: Connection, target_id: int, *, before_ms: int, most: int) -> int:
    """Move a target's oldest checks before ``before_ms`` into blocks, ``most`` or a few more; yields how many.

    For a table that is not in partitions. A few more: those of one moment, from several locations, go together.
    """
    mine = checks.c.target_id == target_id, checks.c.at_ms < before_ms
    at_ms = checks.c.at_ms
    last_ms = conn.execute(select(at_ms).where(*mine).order_by(at_ms).offset(most - 1).limit(1)).scalar()
    to_ms = before_ms if last_ms is None else last_ms + 1
    blocks.add(conn, unpacked(conn, [target_id], 0, to_ms))
    return conn.execute(delete(checks).where(*mine, at_ms < to_ms)).rowcount


def first_ms(conn: Connection, target_id: int) -> int | None:
    """The time of a target's first check that is still there."""
    found = [blocks.first_ms(conn, target_id), _first_in_table(conn, target_id)]
    return min((at_ms for at_ms in found if at_ms is not None), default=None)


def _first_in_table(conn: Connection, target_id: int) -> int | None:
    first = func.min(checks.c.at_ms)
    if not partitions.used(conn):
        return _number(conn.execute(select(first).where(checks.c.target_id == target_id)).scalar())
    target = partitions.these_targets(conn, [target_id])
    for hours in reversed(list(partitions.stretches(conn, 0, _FOR_EVER_MS))):
        found = _number(conn.execute(select(func.min(partitions.checks_in(hours, target).c.at_ms))).scalar())
        if found is not None:
            return found
    return None


def first_of_all_ms(conn: Connection) -> int | None:
    """The time of the first check of any target that is in the table."""
    if not partitions.used(conn):
        # By seeking in each target's rows: the smallest of the whole table would mean reading all of it.
        mine = checks.c.target_id == targets.c.id
        each = select(func.min(checks.c.at_ms)).where(mine).correlate(targets).scalar_subquery()
        return _number(conn.execute(select(func.min(each)).select_from(targets)).scalar())
    for day in partitions.filled(conn, checks.name, 0, _FOR_EVER_MS):
        of_day = checks.c.at_ms >= day.start_ms, checks.c.at_ms < day.end_ms
        known = checks.c.target_id.in_(select(targets.c.id))
        found = _number(conn.execute(select(func.min(checks.c.at_ms)).where(*of_day, known)).scalar())
        if found is not None:
            return found
    return None


def _number(found: int | None) -> int | None:
    return found


# ── as arrays ─────────────────────────────────────────────────────────────────────────────────────────


def _rows(some: Checks) -> list[CheckRow]:
    target_id, location_id, at_ms, result, *times = (column.tolist() for column in some.numbers.T)
    known = [[None if time == NOT_TIMED else time for time in column] for column in times]
    errors = [error or None for error in some.errors]
    return list(map(CheckRow, at_ms, target_id, *known, location_id, result, errors))


def _of_rows(rows: Sequence[CheckRow]) -> Checks:
    order = [CheckRow._fields.index(name) for name in blocks.COLUMNS]
    numbers = [[NOT_TIMED if row[place] is None else row[place] for place in order] for row in rows]
    errors = np.full(len(rows), "", object)
    errors[:] = [row.error or "" for row in rows]
    return Checks(np.array(numbers, np.int64).reshape(-1, len(order)), errors)
