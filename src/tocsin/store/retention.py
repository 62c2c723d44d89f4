"""Removing what is too old to keep, a bounded number of rows at a time. Callers choose what, before when, how many."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, exists, func, or_, select

from tocsin.core.outcome import Subject
from tocsin.core.rollup import HOUR_MS
from tocsin.core.samples import MACHINE
from tocsin.core.target import TARGET
from tocsin.store import blocks, fast, hours, partitions
from tocsin.store.tables import (
    certificates,
    check_blocks,
    check_days,
    check_hours,
    checks,
    evidence,
    heartbeat_pings,
    late_checks,
    late_samples,
    layouts,
    machine_boots,
    machine_now,
    machines,
    notices,
    notifications,
    sample_blocks,
    sample_hours,
    sample_minutes,
    samples,
    sessions,
    states,
    targets,
    transitions,
)

HISTORY: Final[Mapping[str, tuple[Table, ColumnElement[int]]]] = {
    "checks": (checks, checks.c.at_ms),
    "blocks": (check_blocks, check_blocks.c.start_ms + blocks.BLOCK_MS - 1),
    "evidence": (evidence, evidence.c.at_ms),
    "pings": (heartbeat_pings, heartbeat_pings.c.at_ms),
    "hours": (check_hours, check_hours.c.start_ms),
    "days": (check_days, check_days.c.start_ms),
}
"""What is kept of each target, by time: of a block, when its last check may have been."""


def targets_with(conn: Connection, what: str, before_ms: int) -> list[int]:
    """The targets that have rows of HISTORY[what] from before ``before_ms``."""
    table, time = HISTORY[what]
    first = select(func.min(time)).where(table.c.target_id == targets.c.id).correlate(targets).scalar_subquery()
    return [target_id for (target_id,) in fast.fetch(conn, select(targets.c.id).where(first < before_ms))]


def trim(conn: Connection, what: str, target_id: int, *, before_ms: int | None, most: int) -> int:
    """Delete a target's oldest rows of HISTORY[what], those before ``before_ms`` (None: all), ``most`` or a few more.

    Yields how many were deleted. A few more: rows of one moment, from several locations, go together; and all of an
    hour where they are found by the hour.
    """
    table, time = HISTORY[what]
    if table is checks and before_ms is None and partitions.used(conn):
        return partitions.delete_checks(conn, target_id, most=most)
    mine = table.c.target_id == target_id
    if before_ms is not None:
        mine = and_(mine, time < before_ms)
    last_ms = conn.execute(select(time).where(mine).order_by(time).offset(most - 1).limit(1)).scalar()
    if last_ms is not None:
        mine = and_(mine, time <= last_ms)
    return conn.execute(delete(table).where(mine)).rowcount


def deleted_targets(conn: Connection, before_ms: int) -> list[int]:
    """Targets that were deleted before ``before_ms`` and still have their row."""
    statement = select(targets.c.id).where(targets.c.deleted_ms < before_ms).order_by(targets.c.id)
    return [target_id for (target_id,) in fast.fetch(conn, statement)]


def trim_transitions(conn: Connection, subject: Subject, *, most: int) -> int:
    """Delete some of a subject's transitions; yields how many."""
    some = (
        select(transitions.c.id)
        .where(transitions.c.subject_kind == subject.kind, transitions.c.subject_id == subject.id)
        .limit(most)
    )
    return conn.execute(delete(transitions).where(transitions.c.id.in_(some))).rowcount


def forget_target(conn: Connection, target_id: int) -> None:
    """Delete a target's states and its row; to be called when its history is gone."""
    conn.execute(delete(states).where(states.c.subject_kind == TARGET, states.c.subject_id == target_id))
    conn.execute(delete(certificates).where(certificates.c.target_id == target_id))
    conn.execute(delete(late_checks).where(late_checks.c.target_id == target_id))
    conn.execute(delete(targets).where(targets.c.id == target_id))


# ── machines ──────────────────────────────────────────────────────────────────────────────────────────

SAMPLES: Final[Mapping[str, tuple[Table, ColumnElement[int]]]] = {
    "blocks": (sample_blocks, sample_blocks.c.start_ms),
    "minutes": (sample_minutes, sample_minutes.c.start_ms),
    "hours": (sample_hours, sample_hours.c.start_ms),
    "ticks": (samples, samples.c.at_ms),
    "late": (late_samples, late_samples.c.at_ms),
}
"""What is kept of each machine, by time; the first three are tiers."""
TIERS: Final = ("blocks", "minutes", "hours")


def machines_with(conn: Connection, what: str, before_ms: int) -> list[int]:
    """The machines that have documents of the tier ``what`` of hours that end at ``before_ms`` or earlier."""
    return hours.machines_with_documents(conn, SAMPLES[what][0], before_ms)


def trim_samples(
    conn: Connection,
    what: str,
    machine_id: int,
    *,
    before_ms: int | None,
    most: int,
    spare: Collection[tuple[int, int]] = (),
) -> int:
    """Delete a machine's oldest rows of SAMPLES[what], ``most`` or a few more; of tiers only hours that end at
    ``before_ms`` or earlier (None: all), and none in the times to ``spare``. Yields how many. A few more: those of one
    moment, in several layouts."""
    table, time = SAMPLES[what]
    mine = table.c.machine_id == machine_id
    if before_ms is not None:
        mine = and_(mine, time <= before_ms - HOUR_MS)
    for from_ms, to_ms in spare:
        mine = and_(mine, or_(time < from_ms, time >= to_ms))
    last_ms = conn.execute(select(time).where(mine).order_by(time).offset(most - 1).limit(1)).scalar()
    if last_ms is not None:
        mine = and_(mine, time <= last_ms)
    return conn.execute(delete(table).where(mine)).rowcount


def deleted_machines(conn: Connection, before_ms: int) -> list[int]:
    """Machines that were deleted before ``before_ms`` and still have their row."""
    statement = select(machines.c.id).where(machines.c.deleted_ms < before_ms).order_by(machines.c.id)
    return [machine_id for (machine_id,) in fast.fetch(conn, statement)]


def forget_machine(conn: Connection, machine_id: int) -> None:
    """Delete what stands about a machine, and its row; to be called when its history is gone."""
    conn.execute(delete(states).where(states.c.subject_kind == MACHINE, states.c.subject_id == machine_id))
    for table in (machine_now, machine_boots):
        conn.execute(delete(table).where(table.c.machine_id == machine_id))
    conn.execute(delete(machines).where(machines.c.id == machine_id))


def trim_boots(conn: Connection, before_ms: int) -> int:
    """Forget boots nothing was heard of since ``before_ms``, but for each machine's newest; yields how many."""
    newer = machine_boots.alias("newer")
    other = exists().where(newer.c.machine_id == machine_boots.c.machine_id, newer.c.at_ms > machine_boots.c.at_ms)
    return conn.execute(delete(machine_boots).where(machine_boots.c.at_ms < before_ms, other)).rowcount


def trim_newest(conn: Connection, before_ms: int) -> int:
    """Forget the newest vectors of layouts that a machine has not used since ``before_ms``, where it has used others
    since; yields how many."""
    newer = machine_now.alias("newer")
    other = exists().where(newer.c.machine_id == machine_now.c.machine_id, newer.c.received_ms >= before_ms)
    return conn.execute(delete(machine_now).where(machine_now.c.received_ms < before_ms, other)).rowcount


def trim_layouts(conn: Connection, now_ms: int, before_ms: int) -> int:
    """Forget layouts that no document is in: the last ended before ``before_ms``. Yields how many.

    One that was never sealed counts as used now, so it stays as long as a document would.
    """
    conn.execute(layouts.update().where(layouts.c.used_ms == 0).values(used_ms=now_ms))
    in_use = [exists().where(table.c.layout_id == layouts.c.id) for table in (machine_now, late_samples, samples)]
    return conn.execute(delete(layouts).where(layouts.c.used_ms < before_ms, ~or_(*in_use))).rowcount


# ── sessions and messages ─────────────────────────────────────────────────────────────────────────────


def expire_sessions(conn: Connection, now_ms: int) -> int:
    """Delete sessions that have run out; yields how many."""
    return conn.execute(delete(sessions).where(sessions.c.expires_ms <= now_ms)).rowcount


def trim_notifications(conn: Connection, *, before_ms: int, most: int) -> int:
    """Delete messages finished before ``before_ms``, with their attempts, and the notices of changes that are over.

    Yields how many rows were deleted; not more than twice ``most`` (attempts not counted). A notice about something
    that still lasts stays: reminders, and the news of its end, go by it.
    """
    told = transitions.alias("told")
    later = transitions.alias("later")
    lasting = exists().where(
        told.c.id == notices.c.transition_id,
        ~exists().where(
            later.c.subject_kind == told.c.subject_kind,
            later.c.subject_id == told.c.subject_id,
            later.c.rule == told.c.rule,
            later.c.location_id == told.c.location_id,
            or_(later.c.at_ms > told.c.at_ms, and_(later.c.at_ms == told.c.at_ms, later.c.id > told.c.id)),
        ),
    )
    over = (
        select(notices.c.id)
        .where(notices.c.created_ms < before_ms, notices.c.notification_id.is_not(None), ~lasting)
        .order_by(notices.c.id)
        .limit(most)
    )
    finished = (
        select(notifications.c.id)
        .where(notifications.c.finished_ms < before_ms)
        .order_by(notifications.c.id)
        .limit(most)
    )
    gone = conn.execute(delete(notices).where(notices.c.id.in_(over))).rowcount
    return gone + conn.execute(delete(notifications).where(notifications.c.id.in_(finished))).rowcount
