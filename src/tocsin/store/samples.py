"""Samples at rest: what machines measured. Stored one row a tick; read from the finest of what is kept.

Hours that are over are sealed by the keeper (store.sealing). What is read is right at any moment, whenever it last
ran: it is made of documents, of rows that are in none yet, and of ticks that came late and wait.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import msgspec
import numpy as np
from sqlalchemy import Connection, Table, func, select

from tocsin.core import tiers
from tocsin.core.rollup import HOUR_MS
from tocsin.core.samples import Layout, Series
from tocsin.core.tiers import MINUTE_MS, Floats, Ints, Parts
from tocsin.lib.log import get_logger
from tocsin.store import archiving, fast, hours, marks, partitions, tables
from tocsin.store.hours import Key
from tocsin.store.sample_blocks import Damaged, Ticks, union
from tocsin.store.sealing import Kept

_LAYOUTS: Final = tables.layouts.c

log = get_logger("store")


class Tick(NamedTuple):
    """One vector of one machine. ``vector``: little-endian float32 in the order of the layout, NaN where there is
    none; counters as rates."""

    machine_id: int
    at_ms: int
    layout_id: int
    vector: bytes


_COLUMNS: Final = Tick._fields


# ── layouts ───────────────────────────────────────────────────────────────────────────────────────────


def layout_ids(conn: Connection, layouts: Sequence[Layout]) -> list[int]:
    """The number of each layout; makes what is new. The same series in the same order have the same number."""
    texts = [msgspec.json.encode([[*_plain(one)] for one in layout]) for layout in layouts]
    digests = [hashlib.sha256(text).digest() for text in texts]
    known = _known(conn, digests)
    missing = {digest: text.decode() for digest, text in zip(digests, texts, strict=True) if digest not in known}
    if missing:
        # In one order, so that two who make the same never wait for each other.
        rows = [(digest, missing[digest]) for digest in sorted(missing)]
        fast.insert_absent(conn, tables.layouts, ("digest", "series"), rows)
        known = _known(conn, digests)
    return [known[digest] for digest in digests]


def layouts(conn: Connection, ids: Collection[int]) -> dict[int, Layout]:
    """Those of these numbers that there are."""
    statement = select(_LAYOUTS.id, _LAYOUTS.series).where(fast.among(conn, _LAYOUTS.id, ids))
    return {number: Layout(tuple(map(_series, series))) for number, series in conn.execute(statement)}


def _known(conn: Connection, digests: Collection[bytes]) -> dict[bytes, int]:
    statement = select(_LAYOUTS.digest, _LAYOUTS.id).where(_LAYOUTS.digest.in_(set(digests)))
    return {bytes(digest): number for digest, number in conn.execute(statement)}


def _plain(one: Series) -> tuple[str, dict[str, str], str, str]:
    return one.name, dict(one.attributes), one.unit, one.kind


def _series(plain: Sequence[Any]) -> Series:
    name, attributes, unit, kind = plain
    return Series(name, tuple(attributes.items()), unit, kind)


# ── storing ───────────────────────────────────────────────────────────────────────────────────────────


def insert_many(conn: Connection, ticks: Sequence[Tick]) -> int:
    """Store ticks; yields how many were new. One whose machine, time and layout are there already is left as it was.

    Those of hours that are sealed, or being sealed, wait in ``late_samples`` for the keeper; whether one of them has
    been there before is seen when it is merged. The marks are held until the transaction ends: nothing can pass them
    between the look and the commit.
    """
    if not ticks:
        return 0
    closed_ms = marks.hold_samples(conn).closed_ms
    late = [tick for tick in ticks if tick.at_ms < closed_ms]
    if late:
        ticks = [tick for tick in ticks if tick.at_ms >= closed_ms]
    if ticks and partitions.used_for_samples(conn):
        starts_ms = partitions.starts_of((tick.at_ms for tick in ticks), tables.samples.name)
        partitions.ensure(conn, tables.samples.name, starts_ms)
    return fast.insert_vectors(conn, tables.samples, _COLUMNS, ticks) + fast.insert_vectors(
        conn, tables.late_samples, _COLUMNS, late
    )


class Latest(NamedTuple):
    """No tick is stored with a time after ``at_ms``. Where that is the end of a sealed hour, whose last tick may be
    earlier, ``sure_ms`` is the last one outside of it; otherwise None."""

    at_ms: int
    sure_ms: int | None


def latest(conn: Connection, machine_ids: Collection[int]) -> dict[int, Latest]:
    """By machine."""
    own = tables.machines.c.id
    lasts = [
        select(func.max(time)).where(machine_id == own).correlate(tables.machines).scalar_subquery()
        for time, machine_id in (
            (tables.samples.c.at_ms, tables.samples.c.machine_id),
            (tables.late_samples.c.at_ms, tables.late_samples.c.machine_id),
            (tables.sample_blocks.c.start_ms, tables.sample_blocks.c.machine_id),
        )
    ]
    statement = select(own, *lasts).where(fast.among(conn, own, machine_ids))
    found: dict[int, Latest] = {}
    for number, row_ms, late_ms, start_ms in fast.fetch(conn, statement):
        sure_ms = max(row_ms or 0, late_ms or 0)
        sealed_ms = 0 if start_ms is None else start_ms + HOUR_MS - 1
        found[number] = Latest(max(sure_ms, sealed_ms), sure_ms if sealed_ms > sure_ms else None)
    return found


def last_sealed(conn: Connection, ends_ms: Mapping[int, int]) -> dict[int, int]:
    """The time of the last tick of an hour that is sealed, by machine; given its end, as ``latest`` tells it."""
    starts_ms = {end_ms + 1 - HOUR_MS for end_ms in ends_ms.values()}
    documents = hours.documents(conn, tables.sample_blocks, ends_ms.keys(), starts_ms)
    found: dict[int, int] = {}
    for key, (_, document) in documents.items():
        if key.start_ms == ends_ms[key.machine_id] + 1 - HOUR_MS:
            last_ms = max(_times_in(key, document), default=ends_ms[key.machine_id])
            found[key.machine_id] = max(last_ms, found.get(key.machine_id, 0))
    return found


def times(conn: Connection, machine_ids: Collection[int], from_ms: int, to_ms: int) -> dict[int, set[int]]:
    """Of the ticks of these machines in [from_ms, to_ms), and around it, stored or waiting."""
    found: dict[int, set[int]] = {one: set() for one in machine_ids}
    # Blocks last: what is moved into them meanwhile was seen where it came from.
    for table in (tables.samples, tables.late_samples):
        for machine_id, at_ms in hours.times(conn, table, machine_ids, from_ms, to_ms):
            found[machine_id].add(at_ms)
    starts_ms = range(from_ms - from_ms % HOUR_MS, to_ms, HOUR_MS)
    for key, (_, document) in hours.documents(conn, tables.sample_blocks, machine_ids, starts_ms).items():
        found[key.machine_id].update(_times_in(key, document))
    return found


def _times_in(key: Key, document: bytes) -> list[int]:
    try:
        at_ms: list[int] = hours.ticks_in(key, document, ()).at_ms.tolist()
    except Damaged as error:
        log.error("what is in a damaged block is taken for nothing", error=str(error))
        return []
    return at_ms


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────

Tier = Literal["ticks", "minutes", "hours"]
_TABLES: Final[Mapping[Tier, Table]] = {
    "ticks": tables.sample_blocks,
    "minutes": tables.sample_minutes,
    "hours": tables.sample_hours,
}
_UNITS_MS: Final[Mapping[Tier, int]] = {"ticks": 1, "minutes": MINUTE_MS, "hours": HOUR_MS}
_USUAL_MS: Final = 5_000
_GAP: Final = 3
"""Ticks that are further apart than so many of a machine's intervals have something missing between them."""


@dataclass(frozen=True, slots=True)
class Points:
    """What was read: arrays are [series, n], NaN where there is nothing and ``count`` is 0.

    With steps, ``at_ms`` are the beginnings of all steps of the time asked for, on whole multiples of ``step_ms``.
    Single ticks are at their own times, and ``step_ms`` is how often the machine reports; where some are missing there
    is one point of nothing.
    """

    series: list[Series]
    at_ms: Ints
    step_ms: int
    tier: Tier
    count: Floats
    total: Floats
    least: Floats
    greatest: Floats
    last: Floats


def read(
    conn: Connection,
    machine_id: int,
    names: Collection[str],
    from_ms: int,
    to_ms: int,
    *,
    step_ms: int | None = None,
    now_ms: int,
    kept: Kept,
    most: int = 2000,
) -> Points:
    """A machine's series of these names in [from_ms, to_ms), made whole steps where there are steps.

    From the finest samples that are kept for the whole time and give ``most`` points or fewer of each series.
    ``step_ms`` is made longer where it would give more, or where what is kept is coarser. A series that was in several
    layouts is one. Raises ``sample_blocks.Damaged`` where something cannot be read.
    """
    every_ms = _every_ms(conn, machine_id)
    length_ms = to_ms - from_ms
    there = _tiers_of(conn, machine_id, from_ms, to_ms, now_ms, kept)
    if step_ms is None and there[0] == "ticks" and length_ms <= most * every_ms:
        single = _as_they_are(_read(conn, machine_id, names, from_ms, to_ms, "ticks", 1), every_ms)
        if len(single.at_ms) <= most:
            return single
    step_ms, tier = _step(length_ms, step_ms, there, every_ms, most)
    begin_ms, end_ms = from_ms // step_ms * step_ms, -(-to_ms // step_ms) * step_ms
    found = _read(conn, machine_id, names, begin_ms, end_ms, tier, step_ms)
    return _in_steps(found, begin_ms, end_ms, step_ms, tier)


def _every_ms(conn: Connection, machine_id: int) -> int:
    found = conn.execute(select(tables.machines.c.every_ms).where(tables.machines.c.id == machine_id)).scalar()
    return found or _USUAL_MS


def _tiers_of(conn: Connection, machine_id: int, from_ms: int, to_ms: int, now_ms: int, kept: Kept) -> Sequence[Tier]:
    """The tiers that have all of this time, the finest first: it is kept for so long, or was put back from the archive.
    Hours where none has: they reach back furthest.

    What is kept is whole hours: one that is partly too old goes with its end.
    """
    lengths_ms: Mapping[Tier, int] = {"ticks": kept.ticks_ms, "minutes": kept.minutes_ms, "hours": kept.hours_ms}
    kept_ones = [tier for tier in _TABLES if from_ms >= (now_ms - lengths_ms[tier]) // HOUR_MS * HOUR_MS]
    if len(kept_ones) == len(_TABLES):
        return kept_ones
    spared = archiving.spared(conn, now_ms)
    return [
        tier
        for tier in _TABLES
        if tier in kept_ones or any(one.holds(tier, machine_id, from_ms, to_ms) for one in spared)
    ] or ["hours"]


def _step(length_ms: int, asked_ms: int | None, there: Sequence[Tier], every_ms: int, most: int) -> tuple[int, Tier]:
    """The step, and what to make it of: the coarsest of what is ``there`` that gives the same numbers."""
    unit_ms = _UNITS_MS[there[0]]
    step_ms = max(asked_ms or tiers.step_for(length_ms, most, every_ms), unit_ms)
    if length_ms > step_ms * (most - 1):
        step_ms = tiers.step_for(length_ms, most, step_ms)
    step_ms = -(-step_ms // unit_ms) * unit_ms
    return step_ms, next(tier for tier in reversed(there) if step_ms % _UNITS_MS[tier] == 0)


class _Found(NamedTuple):
    series: list[Series]
    parts: list[Parts]
    """With a column for each of ``series``, and in no order."""


def _read(
    conn: Connection, machine_id: int, names: Collection[str], from_ms: int, to_ms: int, tier: Tier, step_ms: int
) -> _Found:
    there = _There.of(conn, machine_id, from_ms, to_ms, tier)
    known = layouts(conn, {key.layout_id for key in there.keys})
    # The newest layout says in which unit a series is.
    series = {one[:2]: one for number in sorted(known) for one in known[number] if one.name in names}
    places = {key: place for place, key in enumerate(sorted(series))}
    by_layout: dict[int, list[Parts]] = defaultdict(list)
    for key in sorted(there.keys):
        columns = [number for number, one in enumerate(known.get(key.layout_id, ())) if one.name in names]
        if columns:
            part = there.parts(key, columns, step_ms)
            by_layout[key.layout_id].append(part.where((part.start_ms >= from_ms) & (part.start_ms < to_ms)))
    parts = []
    for number, some in by_layout.items():
        mine = [places[one[:2]] for one in known[number] if one.name in names]
        parts.append(tiers.merge(some, step_ms).placed(mine, len(places)))
    return _Found([series[key] for key in places], parts)


class _There(NamedTuple):
    """What there is of a machine in a time, by hour and layout."""

    tier: Tier
    kept_from_ms: int
    documents: dict[Key, tuple[int, bytes]]
    """Of the tier."""
    blocks: dict[Key, tuple[int, bytes]]
    """At least those of hours that have late ticks."""
    rows: dict[Key, Ticks]
    late: dict[Key, Ticks]

    @classmethod
    def of(cls, conn: Connection, machine_id: int, from_ms: int, to_ms: int, tier: Tier) -> _There:
        standing = marks.read_samples(conn)
        first_ms = from_ms - from_ms % HOUR_MS
        documents = hours.documents_within(conn, _TABLES[tier], machine_id, first_ms, to_ms)
        rows = hours.rows(conn, [machine_id], max(from_ms, standing.sealed_ms), to_ms)
        late = hours.late_rows(conn, machine_id, from_ms, to_ms)
        blocks = documents
        if tier != "ticks":
            blocks = hours.documents(conn, _TABLES["ticks"], [machine_id], {key.start_ms for key in late})
        return cls(tier, standing.kept_from_ms, documents, blocks, rows, late)

    @property
    def keys(self) -> set[Key]:
        return {*self.documents, *self.rows, *self.late}

    def parts(self, key: Key, columns: Sequence[int], step_ms: int) -> Parts:
        """Of one hour and layout: these columns of it. ``step_ms`` is a multiple of what the tier gives."""
        late = self.late.get(key)
        exact = late is not None and key.start_ms >= self.kept_from_ms and key in self.blocks
        if self.tier == "ticks" or exact or key not in self.documents:
            # Of two of the same time the first counts: the one that was stored.
            single = [hours.ticks_in(key, self.blocks[key][1], columns)] if key in self.blocks else []
            single += [_picked(some[key], columns) for some in (self.rows, self.late) if key in some]
            return _folded(union(single), step_ms)
        parts = hours.parts_in(key, self.documents[key][1], _TABLES[self.tier], columns)
        return parts if late is None else tiers.merge([parts, _folded(_picked(late, columns), step_ms)])


def _picked(ticks: Ticks, columns: Sequence[int]) -> Ticks:
    return Ticks(ticks.at_ms, ticks.values[:, columns])


def _folded(ticks: Ticks, step_ms: int) -> Parts:
    return tiers.fold(ticks.at_ms, ticks.values, step_ms)


def _as_they_are(found: _Found, every_ms: int) -> Points:
    parts = tiers.merge(found.parts) if found.parts else tiers.nothing(0, len(found.series))
    after = np.flatnonzero(np.diff(parts.start_ms) > _GAP * every_ms)
    between = tiers.nothing(len(after), parts.width).beginning(parts.start_ms[after] + every_ms)
    return _points(found.series, tiers.merge([parts, between]), every_ms, "ticks")


def _in_steps(found: _Found, begin_ms: int, end_ms: int, step_ms: int, tier: Tier) -> Points:
    starts_ms = np.arange(begin_ms, end_ms, step_ms, dtype=np.int64)
    grid = tiers.nothing(len(starts_ms), len(found.series)).beginning(starts_ms)
    return _points(found.series, tiers.merge([grid, *found.parts], step_ms), step_ms, tier)


def _points(series: list[Series], parts: Parts, step_ms: int, tier: Tier) -> Points:
    count = parts.count.T.astype(np.float64)
    total = np.where(count > 0, parts.total.T, np.nan)
    return Points(series, parts.start_ms, step_ms, tier, count, total, parts.least.T, parts.greatest.T, parts.last.T)
