"""Samples at rest: what machines measured, one row a tick while an hour lasts."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, select

from tocsin.core.samples import Layout, Series
from tocsin.store import fast, marks, partitions, tables

_LAYOUTS: Final = tables.layouts.c


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
