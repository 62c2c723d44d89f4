"""Documents of samples on their way out of the store and back: which days have some, what one machine has in a day,
and whole hours put back. Knows no file.

What is put back is older than retention keeps. So it is noted until when it stays (``spare``): retention leaves these
days alone until then, and readers find them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final, Literal, NamedTuple

import msgspec
from sqlalchemy import Connection, Table, select

from tocsin.core.rollup import DAY_MS, HOUR_MS
from tocsin.store import fast, hours, installation, marks, partitions, tables
from tocsin.store.hours import Key
from tocsin.store.tables import machines, sample_blocks, sample_hours, sample_minutes

Tier = Literal["ticks", "minutes", "hours"]
TIERS: Final[Mapping[Tier, Table]] = {"ticks": sample_blocks, "minutes": sample_minutes, "hours": sample_hours}
_SPARED: Final = "samples_put_back"
_COLUMNS: Final = ("start_ms", "machine_id", "layout_id", "ticks", "document")


# ── out ───────────────────────────────────────────────────────────────────────────────────────────────


def days(conn: Connection, tier: Tier, before_ms: int) -> list[int]:
    """The starts of the days that end at ``before_ms`` or earlier and have documents, in order."""
    table = TIERS[tier].c
    day = table.start_ms - table.start_ms % DAY_MS
    last_ms = before_ms - before_ms % DAY_MS - HOUR_MS
    return sorted(start for (start,) in fast.fetch(conn, select(day).where(table.start_ms <= last_ms).distinct()))


def machines_of(conn: Connection, tier: Tier, day_ms: int) -> list[int]:
    """Those that have documents of this day."""
    table = TIERS[tier].c
    within = table.start_ms >= day_ms, table.start_ms < day_ms + DAY_MS
    found = select(table.machine_id).where(*within).distinct()
    return sorted(number for (number,) in fast.fetch(conn, found))


class Who(NamedTuple):
    """A machine, also one that was deleted a moment ago."""

    uid: str
    name: str


def who(conn: Connection, machine_ids: Collection[int]) -> dict[int, Who]:
    statement = select(machines.c.id, machines.c.uid, machines.c.name).where(
        fast.among(conn, machines.c.id, machine_ids)
    )
    return {number: Who(uid, name) for number, uid, name in fast.fetch(conn, statement)}


# ── and back ──────────────────────────────────────────────────────────────────────────────────────────


def put_back(conn: Connection, tier: Tier, documents: Mapping[Key, tuple[int, bytes]], *, layouts_until_ms: int) -> int:
    """Store those of these documents that are not there; yields how many. One that is there stays as it is.

    Their layouts are kept at least until ``layouts_until_ms``.
    """
    table = TIERS[tier]
    rows = [(key.start_ms, key.machine_id, key.layout_id, *documents[key]) for key in sorted(documents)]
    if not rows:
        return 0
    # From here on nobody else writes documents, and what somebody has worked out without these begins anew.
    marks.count_change_of_samples(conn)
    if partitions.used_for_samples(conn):
        partitions.ensure(conn, table.name, partitions.starts_of((row[0] for row in rows), table.name))
    put = fast.insert_absent(conn, table, _COLUMNS, rows)
    hours.note_layouts(conn, {key.layout_id: layouts_until_ms for key in documents})
    return put


class Spared(NamedTuple):
    """Times of a tier that were put back, and until when they stay. ``machine_id``: only this one's; None: of all."""

    tier: Tier
    from_ms: int
    to_ms: int
    until_ms: int
    machine_id: int | None = None

    def holds(self, tier: Tier, machine_id: int, from_ms: int, to_ms: int) -> bool:
        """Whether all of this is there."""
        whole = self.from_ms <= from_ms and to_ms <= self.to_ms
        return whole and self.tier == tier and self.machine_id in (None, machine_id)

    @property
    def days(self) -> tuple[int, int]:
        return self.from_ms - self.from_ms % DAY_MS, -(-self.to_ms // DAY_MS) * DAY_MS

    def touches(self, tier: Tier, from_ms: int, to_ms: int) -> bool:
        return self.tier == tier and self.from_ms < to_ms and from_ms < self.to_ms


def spare(conn: Connection, more: Iterable[Spared], *, now_ms: int) -> None:
    """From now on retention leaves the days that these touch alone. Of two at once the second waits for the first."""
    installation.keep_first(conn, _SPARED, "[]")
    held = select(tables.installation.c.value).where(tables.installation.c.name == _SPARED).with_for_update()
    lasting = _lasting(conn.execute(held).scalar_one(), now_ms)
    installation.put(conn, _SPARED, msgspec.json.encode([*lasting, *more]).decode())


def spared(conn: Connection, now_ms: int) -> list[Spared]:
    """Those that stay after ``now_ms``."""
    kept = installation.get(conn, _SPARED)
    return [] if kept is None else _lasting(kept, now_ms)


def _lasting(kept: str, now_ms: int) -> list[Spared]:
    return [one for one in msgspec.json.decode(kept, type=list[Spared]) if one.until_ms > now_ms]
