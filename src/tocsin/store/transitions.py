"""Changes of verdict: the spine that uptime, alerts and the timeline are read from."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    case,
    func,
    insert,
    literal_column,
    or_,
    select,
    tuple_,
)

from tocsin.core.decide import Transition, Verdict
from tocsin.core.outcome import HEADLINE, REACHABLE, StateKey, Subject
from tocsin.core.samples import MACHINE
from tocsin.core.target import TARGET
from tocsin.core.uptime import CODES, Ints
from tocsin.store import fast
from tocsin.store.tables import machines, states, targets, transitions

_VERDICTS: Final = {verdict.value: verdict for verdict in Verdict}
_CODES: Final = {verdict.value: code for verdict, code in CODES.items()}


class StoredTransition(NamedTuple):
    """A transition with its number. ``recorded_ms`` is when it was written, ``transition.at_ms`` when it began.

    ``ended_ms`` is when the next one of the same state began; None: it is still so.
    """

    id: int
    transition: Transition
    recorded_ms: int
    ended_ms: int | None


_later = transitions.alias("later")
_ended_ms: Final = (
    select(_later.c.at_ms)
    .where(
        _later.c.subject_kind == transitions.c.subject_kind,
        _later.c.subject_id == transitions.c.subject_id,
        _later.c.rule == transitions.c.rule,
        _later.c.location_id == transitions.c.location_id,
        tuple_(_later.c.at_ms, _later.c.id) > tuple_(transitions.c.at_ms, transitions.c.id),
    )
    .order_by(_later.c.at_ms, _later.c.id)
    .limit(1)
    .correlate(transitions)
    .scalar_subquery()
)

_SELECTED: Final = (
    transitions.c.id,
    transitions.c.subject_kind,
    transitions.c.subject_id,
    transitions.c.rule,
    transitions.c.location_id,
    transitions.c.before,
    transitions.c.after,
    transitions.c.at_ms,
    transitions.c.check_at_ms,
    transitions.c.reason,
    transitions.c.check_location_id,
    transitions.c.recorded_ms,
    _ended_ms.label("ended_ms"),
)

# Written out, not bound: SQLite uses an index with a condition only where it sees the same condition.
_IS_HEADLINE: Final = transitions.c.location_id == literal_column(str(HEADLINE))

Position = tuple[int, int]
"""The (at_ms, id) of the last row of the previous page."""


def insert_many(conn: Connection, changes: Sequence[Transition], recorded_ms: int) -> list[int]:
    """Store transitions, oldest first per subject; yields their ids in the same order.

    Only headlines are told to anybody; the others count as routed at once.
    """
    if not changes:
        return []
    rows = [
        {
            "subject_kind": change.key.subject.kind,
            "subject_id": change.key.subject.id,
            "rule": change.key.rule,
            "location_id": change.key.location_id,
            "before": change.before.value,
            "after": change.after.value,
            "at_ms": change.at_ms,
            "check_at_ms": change.check_at_ms,
            "recorded_ms": recorded_ms,
            "reason": change.reason,
            "check_location_id": change.check_location_id,
            "routed_ms": None if change.key.location_id == HEADLINE else recorded_ms,
        }
        for change in changes
    ]
    statement = insert(transitions).returning(transitions.c.id, sort_by_parameter_order=True)
    return list(conn.execute(statement, rows).scalars())


def of_subject(
    conn: Connection,
    subject: Subject,
    rule: str | None = REACHABLE,
    *,
    from_ms: int,
    to_ms: int,
    limit: int | None = None,
    before: Position | None = None,
    location_id: int = HEADLINE,
    lasting: bool = False,
) -> list[StoredTransition]:
    """A subject's transitions that began in [from_ms, to_ms), newest first; ``rule`` None: under every rule.
    ``lasting``: and those that began before and stood at ``from_ms``."""
    statement = _of(subject, rule, location_id).where(transitions.c.at_ms >= from_ms, transitions.c.at_ms < to_ms)
    found = _page(conn, statement, limit, before)
    left = None if limit is None else limit - len(found)
    if lasting and left != 0:
        standing = select(*_SELECTED).where(transitions.c.id.in_(_standing(conn, subject, rule, from_ms, location_id)))
        found += _page(conn, standing.where(or_(_ended_ms.is_(None), _ended_ms > from_ms)), left, before)
    return found


def _standing(conn: Connection, subject: Subject, rule: str | None, at_ms: int, location_id: int) -> list[int]:
    """The last transitions before ``at_ms``, one under each rule."""
    state = states.c
    last = (
        select(_later.c.id)
        .where(
            _later.c.subject_kind == subject.kind,
            _later.c.subject_id == subject.id,
            _later.c.rule == state.rule,
            _later.c.location_id == location_id,
            _later.c.at_ms < at_ms,
        )
        .order_by(_later.c.at_ms.desc(), _later.c.id.desc())
        .limit(1)
        .correlate(states)
        .scalar_subquery()
    )
    statement = select(last).where(
        state.subject_kind == subject.kind, state.subject_id == subject.id, state.location_id == location_id
    )
    if rule is not None:
        statement = statement.where(state.rule == rule)
    return [number for number in conn.execute(statement).scalars() if number is not None]


def recent(
    conn: Connection,
    *,
    from_ms: int = 0,
    to_ms: int | None = None,
    limit: int,
    before: Position | None = None,
    rule: str | None = None,
) -> list[StoredTransition]:
    """The newest transitions of all subjects' headlines, newest first."""
    statement = select(*_SELECTED).where(_IS_HEADLINE, transitions.c.at_ms >= from_ms)
    if to_ms is not None:
        statement = statement.where(transitions.c.at_ms < to_ms)
    if rule is not None:
        statement = statement.where(transitions.c.rule == rule)
    return _page(conn, statement, limit, before)


def news(conn: Connection, *, limit: int) -> list[StoredTransition]:
    """The newest transitions of targets and machines that are not deleted, newest first, without those from unknown to
    up and those of machines to unknown.

    What was registered, resumed or measured again and is well is no news. That a machine is silent is told by the one
    rule that is about it: what the others cannot measure meanwhile tells nothing more.
    """
    to_unknown = transitions.c.after == Verdict.UNKNOWN.value
    statement = select(*_SELECTED).where(
        _IS_HEADLINE,
        or_(transitions.c.before != Verdict.UNKNOWN.value, transitions.c.after != Verdict.UP.value),
        or_(_is_live(TARGET, targets), and_(_is_live(MACHINE, machines), ~to_unknown)),
    )
    return _page(conn, statement, limit, None)


def _is_live(kind: str, table: Table) -> ColumnElement[bool]:
    found = select(table.c.id).where(table.c.id == transitions.c.subject_id, table.c.deleted_ms.is_(None))
    return and_(transitions.c.subject_kind == kind, found.exists())


def names(conn: Connection, subjects: Collection[Subject]) -> dict[Subject, str]:
    """What these are called; also those deleted but not yet cleared away."""
    found: dict[Subject, str] = {}
    for kind, table in ((TARGET, targets), (MACHINE, machines)):
        ids = [subject.id for subject in subjects if subject.kind == kind]
        if ids:
            statement = select(table.c.id, table.c.name).where(fast.among(conn, table.c.id, ids))
            found |= {Subject(kind, number): name for number, name in fast.fetch(conn, statement)}
    return found


def get_many(conn: Connection, ids: Collection[int]) -> dict[int, StoredTransition]:
    """Transitions by their number; those that do not exist are left out."""
    statement = select(*_SELECTED).where(fast.among(conn, transitions.c.id, ids))
    return {stored.id: stored for stored in map(_stored, fast.fetch(conn, statement))}


def for_uptime(
    conn: Connection,
    target_ids: Collection[int] | None,
    from_ms: int,
    *,
    rule: str = REACHABLE,
    location_id: int = HEADLINE,
) -> Ints:
    """What ``Timelines.of`` takes: each target's changes since ``from_ms``, led by the one that stood then, if any.

    One statement for all targets (None: every target). A target without any change is left out.
    """
    asked = select(targets.c.id).subquery() if target_ids is None else fast.listed(conn, target_ids)
    standing = (
        select(_later.c.id)
        .where(
            _later.c.subject_kind == TARGET,
            _later.c.subject_id == asked.c.id,
            _later.c.rule == rule,
            _later.c.location_id == location_id,
            _later.c.at_ms <= from_ms,
        )
        .order_by(_later.c.at_ms.desc(), _later.c.id.desc())
        .limit(1)
        .correlate(asked)
        .scalar_subquery()
    )
    code = case(_CODES, value=transitions.c.after)
    columns = (transitions.c.subject_id, transitions.c.at_ms, code, transitions.c.id)
    since = select(*columns).where(
        transitions.c.subject_kind == TARGET,
        transitions.c.subject_id.in_(select(asked.c.id)),
        transitions.c.rule == rule,
        transitions.c.location_id == location_id,
        transitions.c.at_ms > from_ms,
    )
    statement = select(*columns).where(transitions.c.id.in_(select(standing).select_from(asked))).union_all(since)
    found = fast.fetch_numbers(conn, statement)
    subject, at_ms, _, number = found.T
    return found[np.lexsort((number, at_ms, subject)), :3]


def _of(subject: Subject, rule: str | None, location_id: int) -> Select[Any]:
    statement = select(*_SELECTED).where(
        transitions.c.subject_kind == subject.kind,
        transitions.c.subject_id == subject.id,
        transitions.c.location_id == location_id,
    )
    return statement if rule is None else statement.where(transitions.c.rule == rule)


def _page(
    conn: Connection, statement: Select[Any], limit: int | None, before: Position | None
) -> list[StoredTransition]:
    if before is not None:
        statement = statement.where(tuple_(transitions.c.at_ms, transitions.c.id) < tuple_(*before))
    statement = statement.order_by(transitions.c.at_ms.desc(), transitions.c.id.desc()).limit(limit)
    return [_stored(row) for row in fast.fetch(conn, statement)]


def _stored(row: tuple[Any, ...]) -> StoredTransition:
    number, kind, subject_id, rule, location_id, before, after, at_ms, check_at_ms, reason, place, *times = row
    key = StateKey(Subject(kind, subject_id), rule, location_id)
    change = Transition(key, _VERDICTS[before], _VERDICTS[after], at_ms, check_at_ms, reason, place)
    return StoredTransition(number, change, *times)


def newest_id(conn: Connection) -> int:
    """The number of the transition stored last; 0 when there is none."""
    newest = conn.execute(select(func.max(transitions.c.id))).scalar()
    return int(newest or 0)


def ids_after(conn: Connection, transition_id: int) -> list[int]:
    """The numbers above ``transition_id`` of the headlines' transitions, in order."""
    statement = (
        select(transitions.c.id)
        .where(transitions.c.location_id == HEADLINE, transitions.c.id > transition_id)
        .order_by(transitions.c.id)
    )
    return [number for (number,) in fast.fetch(conn, statement)]
