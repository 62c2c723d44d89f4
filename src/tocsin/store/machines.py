"""Machines at rest: who they are, the newest of what they said, and up to where that is stored.

Knows no band and no summary: both are JSON to it. One that was deleted is seen by the keeper only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Row, Text, case, cast, select, update
from sqlalchemy import delete as sql_delete
from sqlalchemy.dialects import postgresql, sqlite

from tocsin.store import fast, tables

M: Final = tables.machines.c
_NOW: Final = tables.machine_now.c
_BOOTS: Final = tables.machine_boots.c
_MINUTE_MS: Final = 60_000
_LIVE: Final = M.deleted_ms.is_(None)


class MachineRow(NamedTuple):
    """``uid`` is what the machine calls itself. ``every_ms``: how often it reports. ``bands`` are its own ones only.

    ``clock_off_ms``: how far its clock is ahead of ours; ``refused``: how many values made no sense.
    """

    id: int
    uid: str
    name: str
    facts: Mapping[str, str]
    tags: tuple[str, ...]
    bands: Mapping[str, Any]
    every_ms: int
    version: str
    key_id: int | None
    clock_off_ms: int
    refused: int
    created_ms: int
    updated_ms: int


_COLUMNS: Final = tuple(M[name] for name in MachineRow._fields)


def _row(found: Row[Any]) -> MachineRow:
    values = found._asdict()
    return MachineRow(**values | {"tags": tuple(values["tags"])})


# ── who there is ──────────────────────────────────────────────────────────────────────────────────────


def get(conn: Connection, machine_id: int) -> MachineRow | None:
    found = conn.execute(select(*_COLUMNS).where(M.id == machine_id, _LIVE)).first()
    return None if found is None else _row(found)


def by_uid(conn: Connection, uid: str) -> MachineRow | None:
    found = conn.execute(select(*_COLUMNS).where(M.uid == uid, _LIVE)).first()
    return None if found is None else _row(found)


def every(conn: Connection) -> list[MachineRow]:
    """All of them, by name and then by number."""
    return [_row(found) for found in conn.execute(select(*_COLUMNS).where(_LIVE).order_by(M.name, M.id))]


def register(
    conn: Connection,
    *,
    uid: str,
    name: str,
    facts: Mapping[str, str],
    tags: Collection[str],
    every_ms: int,
    version: str,
    key_id: int | None,
    now_ms: int,
) -> MachineRow:
    """The machine that calls itself ``uid``: made where it is new, and otherwise brought up to date.

    A name or tags that a person has set stay. ``every_ms`` 0: not known; then it stays, and is a minute at first.
    Nothing is written when nothing is other.
    """
    said: dict[str, Any] = {
        "name": name,
        "facts": dict(facts),
        "tags": list(tags),
        "every_ms": every_ms or _MINUTE_MS,
        "version": version,
        "key_id": key_id,
    }
    fresh = {
        "uid": uid,
        "name_set": False,
        "tags_set": False,
        "bands": {},
        "clock_off_ms": 0,
        "refused": 0,
        "created_ms": now_ms,
        "updated_ms": now_ms,
    }
    known = select(*_COLUMNS, M.name_set, M.tags_set).where(M.uid == uid, _LIVE)
    found = conn.execute(known).first()
    if found is None:
        of_engine = sqlite.insert if conn.dialect.name == "sqlite" else postgresql.insert
        conn.execute(of_engine(tables.machines).values(said | fresh).on_conflict_do_nothing())
        found = conn.execute(known).one()  # made by us, or by somebody who was faster
    values = found._asdict()
    by_people = {"name": values.pop("name_set"), "tags": values.pop("tags_set")}
    stays = by_people | {"every_ms": every_ms == 0}
    other = {key: value for key, value in said.items() if value != values[key] and not stays.get(key)}
    if other:
        other["updated_ms"] = max(now_ms, values["updated_ms"] + 1)
        conn.execute(update(tables.machines).where(M.id == values["id"]).values(other))
    values |= other
    return MachineRow(**values | {"tags": tuple(values["tags"])})


def change(
    conn: Connection,
    machine_id: int,
    *,
    name: str | None = None,
    tags: Collection[str] | None = None,
    bands: Mapping[str, Any] | None = None,
    now_ms: int,
) -> MachineRow | None:
    """What a person sets; None is left as it is. Yields None when there is no such machine."""
    values: dict[str, Any] = {"updated_ms": _later_than_before(now_ms)}
    if name is not None:
        values |= {"name": name, "name_set": True}
    if tags is not None:
        values |= {"tags": list(tags), "tags_set": True}
    if bands is not None:
        values |= {"bands": dict(bands)}
    conn.execute(update(tables.machines).where(M.id == machine_id, _LIVE).values(values))
    return get(conn, machine_id)


def note(conn: Connection, machine_id: int, *, clock_off_ms: int | None = None, refused_more: int = 0) -> None:
    """What was noticed about a machine; its other values stay, and so does the time of its last change."""
    values: dict[str, Any] = {}
    if clock_off_ms is not None:
        values["clock_off_ms"] = clock_off_ms
    if refused_more:
        values["refused"] = M.refused + refused_more
    if values:
        conn.execute(update(tables.machines).where(M.id == machine_id).values(values))


def delete(conn: Connection, machine_id: int, now_ms: int) -> bool:
    """False when there is no such machine. Its history goes later; should it report again it is a new one."""
    statement = update(tables.machines).where(M.id == machine_id, _LIVE).values(deleted_ms=now_ms)
    return conn.execute(statement).rowcount > 0


# ── the newest of what they said ──────────────────────────────────────────────────────────────────────


class Now(NamedTuple):
    """The newest tick of a machine in one layout. ``raw``: little-endian doubles as they came; ``starts_ms``: 8-byte
    integers, since when each counter counts."""

    machine_id: int
    layout_id: int
    boot_id: str
    seq: int
    at_ms: int
    received_ms: int
    raw: bytes
    starts_ms: bytes
    summary: Mapping[str, Any]
    processes: list[dict[str, Any]] | None

    def follows(self, other: Now) -> bool:
        """Whether it takes the place of ``other``: within a boot by ``seq``, between boots by time."""
        return self.seq > other.seq if self.boot_id == other.boot_id else self.at_ms > other.at_ms


_FORWARD: Final = (
    "CASE WHEN machine_now.boot_id = excluded.boot_id "
    "THEN excluded.seq > machine_now.seq ELSE excluded.at_ms > machine_now.at_ms END"
)
_NOW_COLUMNS: Final = Now._fields


def now_of(conn: Connection, machine_ids: Collection[int] | None = None, *, received_after_ms: int = 0) -> list[Now]:
    """The newest ticks of these machines (None: of all that are not deleted), by machine and layout."""
    statement = (
        select(*(_NOW[name] for name in _NOW_COLUMNS))
        .join(tables.machines, M.id == _NOW.machine_id)
        .where(_LIVE, _NOW.received_ms > received_after_ms)
        .order_by(_NOW.machine_id, _NOW.layout_id)
    )
    if machine_ids is not None:
        statement = statement.where(fast.among(conn, _NOW.machine_id, machine_ids))
    return [Now._make(found) for found in conn.execute(statement)]


def newest_seqs(conn: Connection, machine_ids: Collection[int]) -> dict[tuple[int, int], int]:
    """The ``seq`` of the newest ticks, by machine and layout."""
    statement = select(_NOW.machine_id, _NOW.layout_id, _NOW.seq).where(fast.among(conn, _NOW.machine_id, machine_ids))
    return {(machine_id, layout_id): seq for machine_id, layout_id, seq in fast.fetch(conn, statement)}


def write_now(conn: Connection, rows: Sequence[Now]) -> None:
    """Store the newest ticks; never one in place of a newer one. Of several of one machine and layout the newest."""
    newest: dict[tuple[int, int], Now] = {}
    for row in rows:
        before = newest.setdefault((row.machine_id, row.layout_id), row)
        if row.follows(before):
            newest[row.machine_id, row.layout_id] = row
    packed = [
        (*row[:-2], _text(row.summary), None if row.processes is None else _text(row.processes))
        for _, row in sorted(newest.items())  # in one order, so that two writers never wait for each other
    ]
    fast.upsert_many(conn, tables.machine_now, _NOW_COLUMNS, packed, only_if=_FORWARD)


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def boots(conn: Connection, machine_ids: Collection[int]) -> dict[tuple[int, str], int]:
    """Up to which ``seq`` everything is stored, by machine and boot. In a write transaction nobody else raises it
    before that ends, where several can write at once."""
    statement = (
        select(_BOOTS.machine_id, _BOOTS.boot_id, _BOOTS.seq)
        .where(fast.among(conn, _BOOTS.machine_id, machine_ids))
        .order_by(_BOOTS.machine_id, _BOOTS.boot_id)  # rows are taken in one order everywhere
    )
    if not conn.get_execution_options().get("postgresql_readonly") and conn.dialect.name != "sqlite":
        statement = statement.with_for_update()
    return {(machine_id, boot_id): seq for machine_id, boot_id, seq in fast.fetch(conn, statement)}


def write_boots(conn: Connection, rows: Sequence[tuple[int, str, int, int]]) -> None:
    """Machine, boot, ``seq`` and the time of that tick; the greatest ``seq`` stays."""
    greatest: dict[tuple[int, str], tuple[int, str, int, int]] = {}
    for row in sorted(rows, key=lambda row: row[2]):
        greatest[row[0], row[1]] = row
    columns = ("machine_id", "boot_id", "seq", "at_ms")
    ordered = [greatest[key] for key in sorted(greatest)]
    fast.upsert_many(conn, tables.machine_boots, columns, ordered, only_if="excluded.seq > machine_boots.seq")


def rewind(conn: Connection, machine_id: int, boot_id: str, *, before_ms: int) -> bool:
    """Begin the numbers of a boot anew if its last tick is from before that; yields whether it was."""
    own = _BOOTS.machine_id == machine_id, _BOOTS.boot_id == boot_id
    if not conn.execute(tables.machine_boots.delete().where(*own, _BOOTS.at_ms < before_ms)).rowcount:
        return False
    newest = tables.machine_now.c
    conn.execute(
        update(tables.machine_now).where(newest.machine_id == machine_id, newest.boot_id == boot_id).values(seq=-1)
    )
    return True


# ── as they are looked at ─────────────────────────────────────────────────────────────────────────────


class Newest(NamedTuple):
    """As much of ``Now`` as is shown in lists."""

    machine_id: int
    layout_id: int
    at_ms: int
    received_ms: int
    summary: Mapping[str, Any]


def newest(conn: Connection, machine_ids: Collection[int] | None = None) -> list[Newest]:
    """Of these machines (None: of all that are not deleted), by machine and layout."""
    statement = (
        select(_NOW.machine_id, _NOW.layout_id, _NOW.at_ms, _NOW.received_ms, cast(_NOW.summary, Text))
        .join(tables.machines, M.id == _NOW.machine_id)
        .where(_LIVE)
        .order_by(_NOW.machine_id, _NOW.layout_id)
    )
    if machine_ids is not None:
        statement = statement.where(fast.among(conn, _NOW.machine_id, machine_ids))
    return [Newest._make((*row[:-1], msgspec.json.decode(row[-1]))) for row in fast.fetch(conn, statement)]


def marks(conn: Connection) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What is other as soon as anything of a machine is: [machine, changed], and [machine, layout, time, received] of
    its newest ticks, those of machines that were deleted among them. Two statements; without a join, which would take
    ten times as long."""
    there = select(M.id, M.updated_ms).where(_LIVE).order_by(M.id)
    heard = select(_NOW.machine_id, _NOW.layout_id, _NOW.at_ms, _NOW.received_ms).order_by(
        _NOW.machine_id, _NOW.layout_id
    )
    return fast.fetch_numbers(conn, there), fast.fetch_numbers(conn, heard)


def get_many(conn: Connection, machine_ids: Collection[int]) -> list[MachineRow]:
    """Those that are not deleted, in no particular order."""
    statement = select(*_COLUMNS).where(fast.among(conn, M.id, machine_ids), _LIVE)
    return [_row(found) for found in conn.execute(statement)]


def processes(conn: Connection, machine_id: int) -> list[dict[str, Any]] | None:
    """The newest that the machine told of; None: it tells of none."""
    statement = (
        select(_NOW.processes)
        .where(_NOW.machine_id == machine_id, _NOW.processes.is_not(None))
        .order_by(_NOW.at_ms.desc())
        .limit(1)
    )
    found: list[dict[str, Any]] | None = conn.execute(statement).scalar()
    return found


def touch(conn: Connection, machine_ids: Collection[int], now_ms: int) -> None:
    """They are judged otherwise: whoever looks for what changed finds them."""
    conn.execute(
        update(tables.machines).where(fast.among(conn, M.id, machine_ids)).values(updated_ms=_later_than_before(now_ms))
    )


def _later_than_before(now_ms: int) -> ColumnElement[int]:
    """So that no change looks like the one before it."""
    return case((M.updated_ms < now_ms, now_ms), else_=M.updated_ms + 1)


# ── bands of tags ─────────────────────────────────────────────────────────────────────────────────────


def tag_bands(conn: Connection) -> dict[str, Mapping[str, Any]]:
    table = tables.tag_bands.c
    found = conn.execute(select(table.tag, table.bands).order_by(table.tag))
    return {str(tag): dict(bands) for tag, bands in found}


def set_tag_bands(conn: Connection, tag: str, bands: Mapping[str, Any] | None) -> None:
    """Bands for every machine with this tag; None takes them away."""
    if bands is None:
        conn.execute(sql_delete(tables.tag_bands).where(tables.tag_bands.c.tag == tag))
    else:
        fast.upsert_many(conn, tables.tag_bands, ("tag", "bands"), [(tag, _text(bands))])
