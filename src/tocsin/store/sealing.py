"""Sealing hours: ticks that are rows become a block, minutes and an hour; and what comes late is merged into these.

An hour is closed first: from then on nobody adds a row to it (store.marks). So what is worked out from its rows in one
transaction is still true in the next, where it is written, unless another keeper was there: the marks count changes.
Whatever was cut off begins anew and gives the same, because documents are made from everything there is.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, select

from tocsin.core import tiers
from tocsin.core.rollup import DAY_MS, HOUR_MS
from tocsin.core.tiers import Parts
from tocsin.lib.log import get_logger
from tocsin.store import fast, hours, marks, partitions
from tocsin.store.hours import Documents, Key
from tocsin.store.sample_blocks import Damaged, Ticks, minutes_of, pack_parts, pack_ticks, union
from tocsin.store.tables import late_samples, sample_blocks, sample_hours, sample_minutes, samples

GRACE_MS: Final = 120_000
"""How long a tick may be on its way before its hour is sealed; later ones are late, not lost."""
_MOST_LATE: Final = 4_000
"""How many late ticks of a machine one transaction takes."""

log = get_logger("store")


@dataclass(frozen=True, slots=True)
class Kept:
    """How long samples are kept: single ticks, minutes, hours. None for less long than those before it."""

    ticks_ms: int = DAY_MS
    minutes_ms: int = 7 * DAY_MS
    hours_ms: int = 90 * DAY_MS

    @classmethod
    def of(cls, *, ticks_hours: float, minutes_days: float, hours_days: float) -> Kept:
        return cls(round(ticks_hours * HOUR_MS), round(minutes_days * DAY_MS), round(hours_days * DAY_MS))


# ── an hour that is over ──────────────────────────────────────────────────────────────────────────────


def through(now_ms: int) -> int:
    """The end of the last hour that has been over long enough."""
    return (now_ms - GRACE_MS) // HOUR_MS * HOUR_MS


class Sealing(NamedTuple):
    """Some machines' documents of one hour, worked out and not yet written."""

    revision: int
    start_ms: int
    machine_ids: list[int]
    documents: Documents
    points: int
    """How many numbers are in it, none counted as well."""


def next_hour(conn: Connection) -> int | None:
    """The start of the first hour that is closed and still has rows that are not sealed, or None."""
    standing = marks.read_samples(conn)
    return hours.first_hour(conn, standing.sealed_ms, standing.closed_ms)


def machines_of(conn: Connection, start_ms: int) -> list[int]:
    """Whose ticks of this hour are rows."""
    return hours.machines_in(conn, samples, start_ms, start_ms + HOUR_MS)


def plan(conn: Connection, start_ms: int, machine_ids: Sequence[int]) -> Sealing:
    """What there will be of these machines' hour. Changes nothing, locks nothing."""
    revision = marks.read_samples(conn).revision
    rows = hours.rows(conn, machine_ids, start_ms, start_ms + HOUR_MS)
    there = hours.documents(conn, sample_blocks, machine_ids, [start_ms])
    ready, points = Documents({}, {}, {}), 0
    for key, ticks in rows.items():
        points += ticks.values.size
        if key in there:  # from before it was cut off
            try:
                ticks = union([hours.ticks_in(key, there[key][1]), ticks])
            except Damaged as error:
                log.error("made anew from single samples", reason=str(error))
        _add(ready, key, ticks)
    return Sealing(revision, start_ms, list(machine_ids), ready, points)


def write(conn: Connection, sealing: Sealing) -> bool:
    """Write what ``plan`` worked out; False, and nothing changed, when somebody came between: plan again."""
    if not marks.samples_unmoved(conn, sealing.revision):
        return False
    hours.write(conn, sealing.documents)
    hours.note_layouts(conn, {key.layout_id: key.start_ms + HOUR_MS for key in sealing.documents.blocks})
    if not partitions.used_for_samples(conn):
        conn.execute(delete(samples).where(*_rows_of(conn, sealing.machine_ids, sealing.start_ms)))
    marks.count_change_of_samples(conn)
    return True


def finish(conn: Connection, through_ms: int) -> None:
    """Say that everything before ``through_ms`` is sealed. To be called when all who had rows are written."""
    marks.advance_samples(conn, marks.SEALED, through_ms)


def _rows_of(conn: Connection, machine_ids: Collection[int], start_ms: int) -> list[ColumnElement[bool]]:
    of_hour = samples.c.at_ms >= start_ms, samples.c.at_ms < start_ms + HOUR_MS
    return [fast.among(conn, samples.c.machine_id, machine_ids), *of_hour]


def _add(ready: Documents, key: Key, ticks: Ticks) -> None:
    minutes = minutes_of(ticks)
    ready.blocks[key] = len(ticks), pack_ticks(ticks, key.start_ms)
    _add_parts(ready, key, len(ticks), minutes, tiers.merge([minutes], HOUR_MS))


def _add_parts(ready: Documents, key: Key, count: int, minutes: Parts | None, hour: Parts) -> None:
    if minutes is not None:
        ready.minutes[key] = count, pack_parts(minutes, key.start_ms)
    ready.hours[key] = count, pack_parts(hour, key.start_ms)


# ── what came late ────────────────────────────────────────────────────────────────────────────────────


class Merge(NamedTuple):
    """Late ticks of one machine, worked into its documents and not yet written."""

    revision: int
    late_ids: list[int]
    documents: Documents
    damaged: list[str]
    """What could not be merged because a document cannot be read; its ticks go on waiting."""
    upto_ms: int
    """All that waited before this is in it."""


def machines_with_late(conn: Connection) -> list[int]:
    """Those that have late ticks of hours that are sealed."""
    return hours.machines_in(conn, late_samples, 0, marks.read_samples(conn).sealed_ms)


def plan_merge(conn: Connection, machine_id: int, from_ms: int, kept: Kept, now_ms: int) -> Merge | None:
    """Work in a machine's late ticks of sealed hours from ``from_ms`` on, as many as one transaction takes; None when
    there are none. Changes nothing, locks nothing.

    While an hour's block is there its documents are made anew from everything. Afterwards the ticks are added to
    minutes and hour as far as these are kept; what is older than all of it goes.
    """
    standing = marks.read_samples(conn)
    late = late_samples.c
    statement = (
        select(late.id, late.machine_id, late.layout_id, late.at_ms, late.vector)
        .where(late.machine_id == machine_id, late.at_ms >= from_ms, late.at_ms < standing.sealed_ms)
        .order_by(late.at_ms, late.layout_id)
        .limit(_MOST_LATE)
    )
    numbers, lengths, joined = fast.fetch_numbers_and_bytes(conn, statement)
    if not len(numbers):
        return None
    upto_ms = int(numbers[-1, 3]) + 1 if len(numbers) == _MOST_LATE else standing.sealed_ms
    if len(numbers) == _MOST_LATE and (numbers[:, 3] < upto_ms - 1).any():
        # Of the last moment there may be more: it comes next.
        whole = numbers[:, 3] < upto_ms - 1
        joined = joined[: int(lengths[whole].sum())]
        numbers, lengths, upto_ms = numbers[whole], lengths[whole], upto_ms - 1
    coming = hours.by_hour(conn, numbers[:, 1:], lengths, joined)
    ready, damaged = Documents({}, {}, {}), dict[Key, str]()
    recent = {key.start_ms for key in coming if key.start_ms >= standing.kept_from_ms}
    blocks = hours.documents(conn, sample_blocks, [machine_id], recent)
    # A block that somebody has deleted is gone like those that are old: nothing is made anew without it.
    without = {key for key in hours.documents(conn, sample_hours, [machine_id], recent) if key not in blocks}
    exact = {key: ticks for key, ticks in coming.items() if key.start_ms in recent and key not in without}
    for key, ticks in exact.items():
        try:
            there = [hours.ticks_in(key, blocks[key][1])] if key in blocks else []
        except Damaged as error:
            damaged[key] = str(error)
            continue
        _add(ready, key, union([*there, ticks]))
    added = {key: ticks for key, ticks in coming.items() if key not in exact and key.start_ms >= now_ms - kept.hours_ms}
    _add_to_parts(conn, machine_id, added, kept, now_ms, ready, damaged)
    waiting = {(key.start_ms, key.layout_id) for key in damaged}
    late_ids = [
        number
        for number, _, layout_id, at_ms in numbers.tolist()
        if (at_ms - at_ms % HOUR_MS, layout_id) not in waiting
    ]
    return Merge(standing.revision, late_ids, ready, list(damaged.values()), upto_ms)


def _add_to_parts(
    conn: Connection,
    machine_id: int,
    added: dict[Key, Ticks],
    kept: Kept,
    now_ms: int,
    ready: Documents,
    damaged: dict[Key, str],
) -> None:
    starts_ms = {key.start_ms for key in added}
    there = {table: hours.documents(conn, table, [machine_id], starts_ms) for table in (sample_minutes, sample_hours)}
    for key, ticks in added.items():
        minutes = minutes_of(ticks)
        hour = tiers.merge([minutes], HOUR_MS)
        count = len(ticks)
        try:
            if key in there[sample_minutes]:
                before = hours.parts_in(key, there[sample_minutes][key][1], sample_minutes)
                minutes = tiers.merge([before, minutes], tiers.MINUTE_MS)
            if key in there[sample_hours]:
                count += there[sample_hours][key][0]
                before = hours.parts_in(key, there[sample_hours][key][1], sample_hours)
                hour = tiers.merge([before, hour], HOUR_MS)
        except Damaged as error:
            damaged[key] = str(error)
            continue
        _add_parts(ready, key, count, minutes if key.start_ms >= now_ms - kept.minutes_ms else None, hour)


def write_merge(conn: Connection, merge: Merge) -> bool:
    """Write what ``plan_merge`` worked out; False as in ``write``."""
    if not marks.samples_unmoved(conn, merge.revision):
        return False
    hours.write(conn, merge.documents)
    hours.note_layouts(conn, {key.layout_id: key.start_ms + HOUR_MS for key in merge.documents.hours})
    conn.execute(delete(late_samples).where(fast.among(conn, late_samples.c.id, merge.late_ids)))
    marks.count_change_of_samples(conn)
    return True
