"""Raw checks: one small row per probe, written in batches, read by target and time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Select, select, tuple_

from tocsin.store import fast
from tocsin.store.tables import checks, late_checks, rollup_marks

HOURS: Final = "check_hours"
"""The name of the mark up to which raw checks have been folded into hours."""


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
_SELECTED: Final = tuple(checks.c[name] for name in _COLUMNS)
_HELD_MARK: Final = select(rollup_marks.c.through_ms).where(rollup_marks.c.name == HOURS).with_for_update(read=True)
_LATE_COLUMNS: Final = tuple(column.name for column in late_checks.c if column.name != "id")

CheckKey = tuple[int, int, int]
"""``(target_id, at_ms, location_id)``: what one check and its evidence are found by."""


def insert_many(conn: Connection, rows: Sequence[CheckRow]) -> int:
    """Store checks; yields how many were new. One whose slot is recorded already is left as it was.

    Those for a time that has been folded into hours already are noted in ``late_checks`` too, in the same
    transaction, so that the keeper adds them later. The mark is held until the transaction ends: no fold can pass
    it between the look and the commit.
    """
    if not rows:
        return 0
    folded_ms: int = conn.execute(_HELD_MARK).scalar_one()
    new = fast.insert_new(conn, checks, _COLUMNS, rows)
    late = [row for row in new if row.at_ms < folded_ms]
    fast.insert_many(conn, late_checks, _LATE_COLUMNS, [[getattr(row, name) for name in _LATE_COLUMNS] for row in late])
    return len(new)


def of_target(
    conn: Connection,
    target_id: int,
    *,
    from_ms: int,
    to_ms: int,
    limit: int,
    before: tuple[int, int] | None = None,
    results: Collection[int] | None = None,
) -> list[CheckRow]:
    """A target's checks in [from_ms, to_ms), newest first.

    ``before`` is the (at_ms, location_id) of the last row of the previous page; ``results`` keeps only these.
    """
    statement = select(*_SELECTED).where(
        checks.c.target_id == target_id, checks.c.at_ms >= from_ms, checks.c.at_ms < to_ms
    )
    if before is not None:
        statement = statement.where(tuple_(checks.c.at_ms, checks.c.location_id) < tuple_(*before))
    if results is not None:
        statement = statement.where(checks.c.result.in_(sorted(results)))
    statement = statement.order_by(checks.c.at_ms.desc(), checks.c.location_id.desc()).limit(limit)
    return _rows(conn, statement)


def _rows(conn: Connection, statement: Select[Any]) -> list[CheckRow]:
    return [CheckRow(*row) for row in fast.fetch(conn, statement)]
