"""Up to where the history of checks, and of samples, has been worked through, and the locks that keep that from moving
meanwhile.

Whoever stores checks holds the marks until the transaction ends; whoever moves one has to wait for them. So a check is
either there when a mark passes it, or is stored by somebody who knows that it was passed. Samples have marks of their
own, for which the same holds.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import Connection, func, select, update

from tocsin.store.tables import rollup_marks

HOURS: Final = "check_hours"
DAYS: Final = "check_days"
PACKED: Final = "check_blocks"
KEPT: Final = "checks"


class Marks(NamedTuple):
    """Before ``hours_ms`` checks are folded into hours, before ``days_ms`` hours are added up into days.
    ``revision`` grows with every fold."""

    hours_ms: int
    days_ms: int
    revision: int
    packed_ms: int = 0
    """Checks before this are being packed into blocks, or are packed: no row is added to them any more."""
    kept_from_ms: int = 0
    """Single checks before this are not kept."""


_ALL: Final = select(rollup_marks.c.name, rollup_marks.c.through_ms, rollup_marks.c.revision)
# One row is the lock for all of them, and before it a door: whoever may share a row with those who have it overtakes
# whoever wants it alone, for ever where many write; at the door all wait in the order in which they came.
_DOOR: Final = 0x746F_636D
_ENTER: Final = select(func.pg_advisory_xact_lock_shared(_DOOR))
_ENTER_ALONE: Final = select(func.pg_advisory_xact_lock(_DOOR))
_LOCK: Final = select(rollup_marks.c.revision).where(rollup_marks.c.name == HOURS)
_LOCK_SHARED: Final = _LOCK.with_for_update(read=True)
_LOCK_ALONE: Final = _LOCK.with_for_update()
_LOCK_BLOCKS: Final = select(rollup_marks.c.name).where(rollup_marks.c.name == PACKED).with_for_update()


def read(conn: Connection) -> Marks:
    found = {name: (through_ms, revision) for name, through_ms, revision in conn.execute(_ALL)}
    return Marks(found[HOURS][0], found[DAYS][0], found[HOURS][1], found[PACKED][0], found[KEPT][0])


def hold(conn: Connection) -> Marks:
    """The marks, none of which moves until this transaction ends. Others may hold them too."""
    if conn.dialect.name != "sqlite":  # which has one writer at a time
        # Read by a statement of its own: one that had to wait for the lock sees what was true before.
        conn.execute(_ENTER)
        conn.execute(_LOCK_SHARED)
    return read(conn)


def unmoved(conn: Connection, revision: int) -> bool:
    """True: no fold was written since ``revision``, and none can be, nor any check, before this transaction ends."""
    return _hold_alone(conn) == revision


def move(conn: Connection, name: str, through_ms: int) -> None:
    """To be called while nobody else holds the marks."""
    conn.execute(update(rollup_marks).where(rollup_marks.c.name == name).values(through_ms=through_ms))


def advance(conn: Connection, name: str, through_ms: int) -> None:
    """Waits until nobody holds the marks, and moves one forward; never back."""
    _hold_alone(conn)
    forward = rollup_marks.c.name == name, rollup_marks.c.through_ms < through_ms
    conn.execute(update(rollup_marks).where(*forward).values(through_ms=through_ms))


def count_fold(conn: Connection) -> None:
    """A fold was written: whoever has worked one out before this has to begin anew."""
    revision = rollup_marks.c.revision + 1
    conn.execute(update(rollup_marks).where(rollup_marks.c.name == HOURS).values(revision=revision))


def hold_blocks(conn: Connection) -> None:
    """Nobody else changes blocks until this transaction ends."""
    conn.execute(_LOCK_BLOCKS)


def _hold_alone(conn: Connection) -> int:
    """Nobody else holds the marks until this transaction ends. Yields the revision."""
    if conn.dialect.name != "sqlite":
        conn.execute(_ENTER_ALONE)
    revision: int = conn.execute(_LOCK_ALONE).scalar_one()
    return revision


# ── of samples ────────────────────────────────────────────────────────────────────────────────────────

CLOSED: Final = "samples"
SEALED: Final = "sample_blocks"
TICKS: Final = "sample_ticks"


class SampleMarks(NamedTuple):
    """All are ends of hours. ``revision`` grows with every change to what is made of samples."""

    closed_ms: int
    """No row is added to ``samples`` before this: what comes for such a time waits in ``late_samples``."""
    sealed_ms: int
    """Before this everything is in blocks, minutes and hours. Up to ``closed_ms`` it is while they are being made."""
    kept_from_ms: int
    """Before this there are no single ticks any more, so what comes late is added to minutes and hours as it is."""
    revision: int


_SAMPLE_DOOR: Final = 0x746F_6373
_ENTER_SAMPLES: Final = select(func.pg_advisory_xact_lock_shared(_SAMPLE_DOOR))
_CLOSE_SAMPLES: Final = select(func.pg_advisory_xact_lock(_SAMPLE_DOOR))
_LOCK_SEALED: Final = select(rollup_marks.c.revision).where(rollup_marks.c.name == SEALED).with_for_update()


def read_samples(conn: Connection) -> SampleMarks:
    found = {name: (through_ms, revision) for name, through_ms, revision in conn.execute(_ALL)}
    return SampleMarks(found[CLOSED][0], found[SEALED][0], found[TICKS][0], found[SEALED][1])


def hold_samples(conn: Connection) -> SampleMarks:
    """The marks; ``closed_ms`` does not move until this transaction ends. Others may hold it too."""
    if conn.dialect.name != "sqlite":  # which has one writer at a time
        conn.execute(_ENTER_SAMPLES)
    return read_samples(conn)


def close_samples(conn: Connection, through_ms: int) -> None:
    """Waits until nobody holds the marks of samples, and moves ``closed_ms`` forward; never back."""
    if conn.dialect.name != "sqlite":
        conn.execute(_CLOSE_SAMPLES)
    forward = rollup_marks.c.name == CLOSED, rollup_marks.c.through_ms < through_ms
    conn.execute(update(rollup_marks).where(*forward).values(through_ms=through_ms))


def samples_unmoved(conn: Connection, revision: int) -> bool:
    """True: nothing that is made of samples was changed since ``revision``, and nobody else changes it before this
    transaction ends. Those who store samples do not wait for it."""
    found: int = conn.execute(_LOCK_SEALED).scalar_one()
    return found == revision


def advance_samples(conn: Connection, name: str, through_ms: int) -> None:
    """Move SEALED or TICKS forward, never back; waits for whoever changes what is made of samples."""
    conn.execute(_LOCK_SEALED)
    forward = rollup_marks.c.name == name, rollup_marks.c.through_ms < through_ms
    conn.execute(update(rollup_marks).where(*forward).values(through_ms=through_ms))
    count_change_of_samples(conn)


def count_change_of_samples(conn: Connection) -> None:
    """What is made of samples was changed: whoever has worked something out before this has to begin anew."""
    revision = rollup_marks.c.revision + 1
    conn.execute(update(rollup_marks).where(rollup_marks.c.name == SEALED).values(revision=revision))
