"""What is there of machines' samples, hour by hour: rows, blocks, minutes, hours, and ticks that came late.

Reads it, whole or of some machines, and writes documents. Knows nothing of when an hour is sealed, nor who asks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Table, func, literal, select

from tocsin.core.rollup import HOUR_MS
from tocsin.core.tiers import Ints, Parts
from tocsin.lib.log import get_logger
from tocsin.store import fast, partitions, tables
from tocsin.store.sample_blocks import Damaged, Ticks, unpack_parts, unpack_ticks
from tocsin.store.tables import late_samples, layouts, sample_blocks, sample_hours, sample_minutes, samples

log = get_logger("store")


class Key(NamedTuple):
    """Of what one document is."""

    machine_id: int
    start_ms: int
    layout_id: int

    def __str__(self) -> str:
        hour = datetime.fromtimestamp(self.start_ms / 1000, UTC)
        return f"machine {self.machine_id}, layout {self.layout_id}, {hour:%Y-%m-%d %H:%M} UTC"


_TICK: Final = ("machine_id", "layout_id", "at_ms")
_COLUMNS: Final = ("start_ms", "machine_id", "layout_id", "ticks", "document")


# ── single ticks ──────────────────────────────────────────────────────────────────────────────────────


def rows(conn: Connection, machine_ids: Collection[int], from_ms: int, to_ms: int) -> dict[Key, Ticks]:
    """The ticks of ``samples`` in [from_ms, to_ms), by hour, in the order of time."""
    return _ticks(conn, samples, *_within(conn, samples, machine_ids, from_ms, to_ms))


def late_rows(conn: Connection, machine_id: int, from_ms: int, to_ms: int) -> dict[Key, Ticks]:
    """The same of those that came late and are not merged yet."""
    return _ticks(conn, late_samples, *_within(conn, late_samples, [machine_id], from_ms, to_ms))


def times(
    conn: Connection, table: Table, machine_ids: Collection[int], from_ms: int, to_ms: int
) -> list[tuple[int, int]]:
    """Machine and time of the ticks of ``samples`` or ``late_samples`` in [from_ms, to_ms)."""
    within = _within(conn, table, machine_ids, from_ms, to_ms)
    return [
        (machine_id, at_ms)
        for machine_id, at_ms in fast.fetch(conn, select(table.c.machine_id, table.c.at_ms).where(*within))
    ]


def _within(
    conn: Connection, table: Table, machine_ids: Collection[int], from_ms: int, to_ms: int
) -> list[ColumnElement[bool]]:
    time = table.c.at_ms
    return [fast.among(conn, table.c.machine_id, machine_ids), time >= from_ms, time < to_ms]


def _ticks(conn: Connection, table: Table, *conditions: ColumnElement[bool]) -> dict[Key, Ticks]:
    statement = select(*(table.c[name] for name in _TICK), table.c.vector).where(*conditions)
    numbers, lengths, joined = fast.fetch_numbers_and_bytes(conn, statement)
    return by_hour(conn, numbers, lengths, joined)


def by_hour(conn: Connection, numbers: Ints, lengths: Ints, joined: bytes) -> dict[Key, Ticks]:
    """Ticks as they were fetched: [machine, layout, time], the lengths of their vectors, and these one after the
    other. Of a vector that does not fit its layout nothing is known."""
    if not len(numbers):
        return {}
    begins = np.cumsum(lengths) - lengths
    everything = np.frombuffer(joined, np.uint8)
    order = np.lexsort((numbers[:, 2], numbers[:, 1], numbers[:, 2] // HOUR_MS, numbers[:, 0]))
    numbers, lengths, begins = numbers[order], lengths[order], begins[order]
    groups = np.column_stack([numbers[:, :2], numbers[:, 2] // HOUR_MS])
    edges = np.flatnonzero((np.diff(groups, axis=0) != 0).any(axis=1)) + 1
    widths = _widths(conn, np.unique(numbers[:, 1]).tolist())
    found: dict[Key, Ticks] = {}
    for begin, end in zip([0, *edges.tolist()], [*edges.tolist(), len(numbers)], strict=True):
        machine_id, layout_id, hour = groups[begin].tolist()
        width = widths.get(layout_id)
        fits = np.flatnonzero(lengths[begin:end] == 4 * width) + begin if width is not None else ()
        if width is None or len(fits) < end - begin:
            log.error("samples do not fit their layout", machine=machine_id, layout=layout_id, ticks=end - begin)
        if width is None or not len(fits):
            continue
        key = Key(machine_id, hour * HOUR_MS, layout_id)
        found[key] = Ticks(numbers[fits, 2], _vectors(everything, begins[fits], width))
    return found


def _vectors(everything: NDArray[np.uint8], begins: Ints, width: int) -> NDArray[np.float32]:
    size = 4 * width
    if (np.diff(begins) == size).all():  # as they were fetched
        return np.frombuffer(everything, "<f4", len(begins) * width, int(begins[0])).reshape(len(begins), width)
    picked: NDArray[np.float32] = everything[begins[:, None] + np.arange(size)].view("<f4")
    return picked


def _widths(conn: Connection, layout_ids: Collection[int]) -> dict[int, int]:
    length = func.json_array_length(layouts.c.series)
    return dict(fast.fetch(conn, select(layouts.c.id, length).where(fast.among(conn, layouts.c.id, layout_ids))))


# ── documents ─────────────────────────────────────────────────────────────────────────────────────────


class Documents(NamedTuple):
    """To be written: with each how many ticks are in it."""

    blocks: dict[Key, tuple[int, bytes]]
    minutes: dict[Key, tuple[int, bytes]]
    hours: dict[Key, tuple[int, bytes]]

    @property
    def by_table(self) -> list[tuple[Table, dict[Key, tuple[int, bytes]]]]:
        return [(sample_blocks, self.blocks), (sample_minutes, self.minutes), (sample_hours, self.hours)]


def documents(
    conn: Connection, table: Table, machine_ids: Collection[int], starts_ms: Collection[int]
) -> dict[Key, tuple[int, bytes]]:
    """Those of these machines and hours."""
    if not starts_ms:
        return {}
    hours = fast.among(conn, table.c.start_ms, starts_ms)
    bounds = table.c.start_ms >= min(starts_ms), table.c.start_ms <= max(starts_ms)  # which partitions to look in
    return _documents(conn, table, fast.among(conn, table.c.machine_id, machine_ids), hours, *bounds)


def documents_within(
    conn: Connection, table: Table, machine_id: int, from_ms: int, to_ms: int, layout_ids: Collection[int] | None = None
) -> dict[Key, tuple[int, bytes]]:
    """Those of a machine whose hours begin in [from_ms, to_ms)."""
    conditions = [table.c.machine_id == machine_id, table.c.start_ms >= from_ms, table.c.start_ms < to_ms]
    if layout_ids is not None:
        conditions.append(fast.among(conn, table.c.layout_id, layout_ids))
    return _documents(conn, table, *conditions)


def _documents(conn: Connection, table: Table, *conditions: ColumnElement[bool]) -> dict[Key, tuple[int, bytes]]:
    names = ("machine_id", "start_ms", "layout_id", "ticks")
    statement = select(*(table.c[name] for name in names), table.c.document).where(*conditions)
    numbers, lengths, joined = fast.fetch_numbers_and_bytes(conn, statement)
    ends = np.cumsum(lengths).tolist()
    return {
        Key(*row[:3]): (row[3], joined[begin:end])
        for row, begin, end in zip(numbers.tolist(), [0, *ends], ends, strict=False)
    }


def layout_ids_within(conn: Connection, table: Table, machine_id: int, from_ms: int, to_ms: int) -> set[int]:
    """Of which layouts there are documents of a machine whose hours begin in [from_ms, to_ms)."""
    statement = (
        select(table.c.layout_id)
        .where(table.c.machine_id == machine_id, table.c.start_ms >= from_ms, table.c.start_ms < to_ms)
        .distinct()
    )
    return {number for (number,) in fast.fetch(conn, statement)}


def write(conn: Connection, some: Documents) -> None:
    """Store documents in place of those that are there."""
    for table, of_table in some.by_table:
        rows = [
            (key.start_ms, key.machine_id, key.layout_id, *of_table[key])
            for key in sorted(of_table)  # in one order, so that two writers never wait for each other
        ]
        if rows and partitions.used_for_samples(conn):
            starts_ms = partitions.starts_of((row[0] for row in rows), table.name)
            partitions.ensure(conn, table.name, starts_ms)
        fast.upsert_many(conn, table, _COLUMNS, rows)


def ticks_in(key: Key, document: bytes, columns: Sequence[int] | None = None) -> Ticks:
    """Of a block, or of these columns of it. Raises Damaged, naming it."""
    try:
        return unpack_ticks(document, key.start_ms, columns)
    except Damaged as error:
        raise Damaged(f"the block of samples of {key}: {error}") from error


def parts_in(key: Key, document: bytes, table: Table, columns: Sequence[int] | None = None) -> Parts:
    """Of minutes or an hour, or of these columns of it. Raises Damaged, naming it."""
    try:
        return unpack_parts(document, key.start_ms, columns)
    except Damaged as error:
        raise Damaged(f"{table.name} of {key}: {error}") from error


# ── who has some ──────────────────────────────────────────────────────────────────────────────────────


def machines_in(conn: Connection, table: Table, from_ms: int, to_ms: int) -> list[int]:
    """The machines that have ticks in [from_ms, to_ms) of ``samples`` or ``late_samples``."""
    there = table.c.at_ms >= from_ms, table.c.at_ms < to_ms
    return list(_machines(conn, table, there))


def machines_with_documents(conn: Connection, table: Table, before_ms: int) -> list[int]:
    """The machines that have documents of hours that end at ``before_ms`` or earlier."""
    return list(_machines(conn, table, (table.c.start_ms <= before_ms - HOUR_MS,)))


def _machines(conn: Connection, table: Table, there: Sequence[ColumnElement[bool]]) -> Iterator[int]:
    """From machine to machine by the key: reading all rows to see whose they are would take a thousand times as
    long."""
    first = select(func.min(table.c.machine_id).label("id")).where(*there)
    found = first.cte("found", recursive=True)
    following = (
        select(func.min(table.c.machine_id)).where(table.c.machine_id > found.c.id, *there).correlate(found)
    ).scalar_subquery()
    found = found.union_all(select(following).where(found.c.id.is_not(None)))
    for (number,) in fast.fetch(conn, select(found.c.id).where(found.c.id.is_not(None))):
        yield number


def first_hour(conn: Connection, from_ms: int, to_ms: int) -> int | None:
    """The start of the first hour in [from_ms, to_ms) that has ticks in ``samples``."""
    if partitions.used_for_samples(conn):
        for part in partitions.filled(conn, samples.name, from_ms, to_ms):
            found = conn.execute(
                select(literal(1))
                .select_from(samples)
                .where(samples.c.at_ms >= part.start_ms, samples.c.at_ms < part.end_ms)
                .limit(1)
            ).scalar()
            if found is not None:
                return part.start_ms
        return None
    # By seeking in each machine's rows: the smallest time of the whole table would mean reading all of it.
    firsts = [
        conn.execute(
            select(func.min(samples.c.at_ms)).where(
                samples.c.machine_id == machine_id, samples.c.at_ms >= from_ms, samples.c.at_ms < to_ms
            )
        ).scalar_one()
        for machine_id in machines_in(conn, samples, from_ms, to_ms)
    ]
    first_ms: int | None = min(firsts, default=None)
    return None if first_ms is None else first_ms - first_ms % HOUR_MS


def note_layouts(conn: Connection, used: Mapping[int, int]) -> None:
    """Up to when each of these layouts has documents, where that is later than known."""
    by_end: dict[int, list[int]] = defaultdict(list)
    for layout_id, end_ms in used.items():
        by_end[end_ms].append(layout_id)
    for end_ms, layout_ids in sorted(by_end.items()):
        conn.execute(
            tables.layouts.update()
            .where(fast.among(conn, layouts.c.id, layout_ids), layouts.c.used_ms < end_ms)
            .values(used_ms=end_ms)
        )
