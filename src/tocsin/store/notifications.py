"""The outbox: from transitions nobody was told of to messages that were delivered, step by step, each one transaction.

    transition  ── routed ──►  notices  ── grouped ──►  notification  ── sent ──►  delivered | refused | abandoned

What is decided at each step is in ``core.alerting``; this module only remembers. Several processes may do each step at
once: whoever comes second finds the rows taken.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, get_args

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    and_,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from tocsin.core.alerting import Event, Message, Notice, Recorded, Said, message_document, message_of
from tocsin.core.decide import Transition, Verdict
from tocsin.core.outcome import REACHABLE, StateKey, Subject
from tocsin.core.target import TARGET
from tocsin.store import fast, tables

Status = Literal["pending", "sending", "delivered", "refused", "abandoned"]
STATUSES: tuple[Status, ...] = get_args(Status)

T = tables.transitions.c
N = tables.notices.c
M = tables.notifications.c
A = tables.delivery_attempts.c

_KEY = ("subject_kind", "subject_id", "rule", "location_id")
_TRANSITION_COLUMNS = (
    T.id,
    T.subject_kind,
    T.subject_id,
    T.rule,
    T.location_id,
    T.before,
    T.after,
    T.at_ms,
    T.check_at_ms,
    T.reason,
)


def _recorded(row: Sequence[Any]) -> Recorded:
    number, kind, subject_id, rule, location_id, before, after, at_ms, check_at_ms, reason = row
    key = StateKey(Subject(kind, subject_id), rule, location_id)
    return Recorded(number, Transition(key, Verdict(before), Verdict(after), at_ms, check_at_ms, reason))


def _same_state(left: FromClause, right: FromClause) -> ColumnElement[bool]:
    return and_(*(left.c[name] == right.c[name] for name in _KEY))


# ── routing ───────────────────────────────────────────────────────────────────────────────────────────


def claim_unrouted(conn: Connection, limit: int) -> list[Recorded]:
    """Transitions nobody has routed yet, the oldest of each state, held until the transaction ends.

    Only the oldest, so that whoever routes a recovery sees the notices of the outage before it committed.
    """
    oldest = select(func.min(T.id)).where(T.routed_ms.is_(None)).group_by(*(T[name] for name in _KEY))
    statement = (
        select(*_TRANSITION_COLUMNS)
        .where(T.id.in_(oldest), T.routed_ms.is_(None))
        .order_by(T.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [_recorded(row) for row in conn.execute(statement)]


def any_unrouted(conn: Connection) -> bool:
    """Whether ``claim_unrouted`` would find something; takes no lock."""
    return bool(conn.execute(select(exists().where(T.routed_ms.is_(None)))).scalar())


def mark_routed(conn: Connection, transition_ids: Collection[int], *, at_ms: int) -> None:
    conn.execute(update(tables.transitions).where(fast.among(conn, T.id, transition_ids)).values(routed_ms=at_ms))


def histories(conn: Connection, transition_ids: Collection[int]) -> dict[StateKey, list[Recorded]]:
    """For each state these transitions belong to: its transitions since it was last up before the first of them, up to
    the last of them, oldest first."""
    wanted = (
        select(*(T[name] for name in _KEY), func.min(T.id).label("first_id"), func.max(T.id).label("last_id"))
        .where(fast.among(conn, T.id, transition_ids))
        .group_by(*(T[name] for name in _KEY))
        .cte("wanted")
    )
    up = tables.transitions.alias("up")
    floor = (
        select(*(wanted.c[name] for name in _KEY), func.max(up.c.id).label("id"))
        .join_from(wanted, up, _same_state(up, wanted))
        .where(up.c.id < wanted.c.first_id, up.c.after == Verdict.UP.value)
        .group_by(*(wanted.c[name] for name in _KEY))
        .cte("floor")
    )
    statement = (
        select(*_TRANSITION_COLUMNS)
        .join_from(wanted, tables.transitions, _same_state(tables.transitions, wanted))
        .outerjoin(floor, _same_state(floor, wanted))
        .where(T.id > func.coalesce(floor.c.id, 0), T.id <= wanted.c.last_id)
        .order_by(T.id)
    )
    result: dict[StateKey, list[Recorded]] = defaultdict(list)
    for row in fast.fetch(conn, statement):
        recorded = _recorded(row)
        result[recorded.transition.key].append(recorded)
    return dict(result)


def said_about(conn: Connection, transition_ids: Collection[int]) -> dict[int, list[Said]]:
    """The notices made about these transitions, by transition; without those whose message was refused or abandoned."""
    statement = (
        select(N.rule_id, N.channel_id, N.transition_id, N.event, N.created_ms, N.notification_id, M.status)
        .join_from(tables.notices, tables.notifications, M.id == N.notification_id, isouter=True)
        .where(fast.among(conn, N.transition_id, transition_ids))
        .where(or_(M.status.is_(None), M.status.not_in(["refused", "abandoned"])))
        .order_by(N.id)
    )
    result: dict[int, list[Said]] = defaultdict(list)
    for rule_id, channel_id, transition_id, event, created_ms, notification_id, status in fast.fetch(conn, statement):
        notice = Notice(rule_id, channel_id, transition_id, Event(event))
        # A message that retention has removed had been delivered.
        delivered = notification_id is not None and status in (None, "delivered")
        result[transition_id].append(Said(notice, created_ms, delivered))
    return dict(result)


def add_notices(conn: Connection, notices: Sequence[Notice], *, at_ms: int) -> None:
    rows = [(notice.rule_id, notice.channel_id, notice.transition_id, notice.event.value, at_ms) for notice in notices]
    fast.insert_many(conn, tables.notices, ("rule_id", "channel_id", "transition_id", "event", "created_ms"), rows)


class Label(NamedTuple):
    """As much of a target as telling needs."""

    name: str
    tags: Sequence[str]


def labels(conn: Connection, target_ids: Collection[int]) -> dict[int, Label]:
    """Those of these targets that have not been deleted."""
    targets = tables.targets.c
    statement = select(targets.id, targets.name, targets.tags).where(
        fast.among(conn, targets.id, target_ids), targets.deleted_ms.is_(None)
    )
    return {number: Label(name, tags) for number, name, tags in conn.execute(statement)}


# ── what lasts ────────────────────────────────────────────────────────────────────────────────────────


def last_of_those_down(conn: Connection) -> list[int]:
    """The newest transition of every target that is down now, is not paused and has not been deleted."""
    states, targets = tables.states, tables.targets
    statement = (
        select(func.max(T.id))
        .join_from(states, targets, targets.c.id == states.c.subject_id)
        .join(tables.transitions, _same_state(tables.transitions, states))
        .where(
            states.c.subject_kind == TARGET,
            states.c.rule == REACHABLE,
            states.c.verdict == Verdict.DOWN.value,
            T.at_ms == states.c.since_ms,  # a state stands since its newest transition
            targets.c.enabled.is_(True),
            targets.c.deleted_ms.is_(None),
        )
        .group_by(*(states.c[name] for name in _KEY))
    )
    return list(conn.execute(statement).scalars())


# ── grouping ──────────────────────────────────────────────────────────────────────────────────────────


class Waiting(NamedTuple):
    """How long a channel's notices have waited for their message."""

    channel_id: int
    first_ms: int
    last_ms: int


def waiting(conn: Connection) -> list[Waiting]:
    statement = (
        select(N.channel_id, func.min(N.created_ms), func.max(N.created_ms))
        .where(N.notification_id.is_(None))
        .group_by(N.channel_id)
    )
    return [Waiting(*row) for row in conn.execute(statement)]


class WaitingNotice(NamedTuple):
    id: int
    created_ms: int
    notice: Notice


def take_waiting(conn: Connection, channel_id: int) -> list[WaitingNotice]:
    """A channel's waiting notices, oldest first, ours until the transaction ends; without those another process has."""
    statement = (
        select(N.id, N.created_ms, N.rule_id, N.channel_id, N.transition_id, N.event)
        .where(N.channel_id == channel_id, N.notification_id.is_(None))
        .order_by(N.id)
        .with_for_update(skip_locked=True)
    )
    return [
        WaitingNotice(number, created_ms, Notice(rule_id, channel, transition_id, Event(event)))
        for number, created_ms, rule_id, channel, transition_id, event in conn.execute(statement)
    ]


def add_notification(conn: Connection, channel_id: int, message: Message, *, notice_ids: Collection[int]) -> int:
    """Puts a message into the outbox, due at once, with the notices it is made of."""
    number: int = conn.execute(
        insert(tables.notifications)
        .values(
            delivery_key=message.delivery_key,
            channel_id=channel_id,
            title=message.title,
            message=message_document(message),
            status="pending",
            attempts=0,
            created_ms=message.created_ms,
            next_attempt_ms=message.created_ms,
        )
        .returning(M.id)
    ).scalar_one()
    conn.execute(update(tables.notices).where(fast.among(conn, N.id, notice_ids)).values(notification_id=number))
    return number


def drop_notices(conn: Connection, notice_ids: Collection[int]) -> None:
    """Notices there is nothing to say about any more."""
    conn.execute(delete(tables.notices).where(fast.among(conn, N.id, notice_ids)))


# ── sending ───────────────────────────────────────────────────────────────────────────────────────────


_FURTHEST_MS: Final = 2 * 86_400_000
"""Nothing is planned further ahead than this; what is was planned by a clock that has been set back since."""


def _sendable(now_ms: int) -> ColumnElement[bool]:
    furthest_ms = now_ms + _FURTHEST_MS
    return and_(
        M.finished_ms.is_(None),
        or_(M.next_attempt_ms <= now_ms, M.next_attempt_ms > furthest_ms),
        or_(M.claimed_until_ms.is_(None), M.claimed_until_ms <= now_ms, M.claimed_until_ms > furthest_ms),
    )


def channels_with_due(conn: Connection, *, now_ms: int) -> list[int]:
    """The channels that are switched on and have something to send, longest waiting first."""
    channels = tables.channels.c
    statement = (
        select(M.channel_id)
        .join_from(tables.notifications, tables.channels, channels.id == M.channel_id)
        .where(_sendable(now_ms), channels.enabled.is_(True))
        .group_by(M.channel_id)
        .order_by(func.min(M.next_attempt_ms), M.channel_id)
    )
    return list(conn.execute(statement).scalars())


class Claimed(NamedTuple):
    """A message somebody has begun to send. ``until_ms`` is also the claim's mark: another claim has another."""

    id: int
    channel_id: int
    document: Mapping[str, object]
    """``core.alerting.message_of`` reads it."""
    failures: int
    created_ms: int
    until_ms: int


def claim(conn: Connection, channel_id: int, *, now_ms: int, until_ms: int, patience: int) -> Claimed | None:
    """The channel's oldest message that is due, ours until ``until_ms``; None when there is none.

    A message waits for the older ones of its channel until they have failed ``patience`` times.
    """
    older = tables.notifications.alias("older")
    statement = (
        select(M.id)
        .where(M.channel_id == channel_id, _sendable(now_ms))
        .where(
            ~exists().where(
                older.c.channel_id == channel_id,
                older.c.id < M.id,
                older.c.finished_ms.is_(None),
                older.c.attempts < patience,
            )
        )
        .order_by(M.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    number = conn.execute(statement).scalar()
    if number is None:
        return None
    taken = conn.execute(
        update(tables.notifications)
        .where(M.id == number, _sendable(now_ms))
        .values(status="sending", claimed_until_ms=until_ms)
        .returning(M.message, M.attempts, M.created_ms)
    ).one_or_none()
    if taken is None:
        return None
    document, failures, created_ms = taken
    return Claimed(number, channel_id, document, failures, created_ms, until_ms)


class Attempt(NamedTuple):
    at_ms: int
    duration_ms: int
    ok: bool
    detail: str


def record(
    conn: Connection, claimed: Claimed, attempt: Attempt, *, status: Status, next_attempt_ms: int | None, now_ms: int
) -> None:
    """What came of sending: the attempt, and with it the message's new status (``pending`` with its next attempt).

    A delivery counts whatever happened meanwhile; a failure only while the claim is still ours.
    """
    _add_attempt(conn, claimed.id, attempt)
    still_ours = M.claimed_until_ms == claimed.until_ms
    statement = update(tables.notifications).where(M.id == claimed.id)
    if not attempt.ok:
        statement = statement.where(still_ours, M.finished_ms.is_(None))
    conn.execute(
        statement.values(
            status=status,
            attempts=M.attempts + 1,
            next_attempt_ms=M.next_attempt_ms if next_attempt_ms is None else next_attempt_ms,
            claimed_until_ms=None,
            finished_ms=None if next_attempt_ms is not None else now_ms,
        )
    )


def hasten(conn: Connection, channel_id: int, *, now_ms: int) -> None:
    """The channel works again: what failed before need not wait out its pause."""
    conn.execute(
        update(tables.notifications)
        .where(
            M.channel_id == channel_id,
            M.finished_ms.is_(None),
            M.claimed_until_ms.is_(None),
            M.attempts > 0,
            M.next_attempt_ms > now_ms,
        )
        .values(next_attempt_ms=now_ms)
    )


def _add_attempt(conn: Connection, notification_id: int, attempt: Attempt) -> None:
    conn.execute(insert(tables.delivery_attempts).values(notification_id=notification_id, **attempt._asdict()))


# ── by hand ───────────────────────────────────────────────────────────────────────────────────────────


def withdraw(conn: Connection, channel_id: int, *, reason: str, now_ms: int) -> int:
    """Nothing more goes to this channel: waiting notices are dropped, unsent messages abandoned, saying why.

    Returns how many messages that were. A message that is being sent at this moment may still arrive.
    """
    conn.execute(delete(tables.notices).where(N.channel_id == channel_id, N.notification_id.is_(None)))
    unsent = and_(M.channel_id == channel_id, M.finished_ms.is_(None))
    conn.execute(
        insert(tables.delivery_attempts).from_select(
            ["notification_id", "at_ms", "duration_ms", "ok", "detail"],
            select(M.id, literal(now_ms), literal(0), literal(False), literal(reason)).where(unsent),
        )
    )
    return conn.execute(
        update(tables.notifications).where(unsent).values(status="abandoned", finished_ms=now_ms, claimed_until_ms=None)
    ).rowcount


def retry(conn: Connection, notification_id: int, *, now_ms: int) -> bool:
    """Tries a message again at once, from the start. False when it was delivered, is being sent, or does not exist."""
    done = conn.execute(
        update(tables.notifications)
        .where(M.id == notification_id, M.status.in_(["pending", "refused", "abandoned"]))
        .values(status="pending", attempts=0, next_attempt_ms=now_ms, finished_ms=None, claimed_until_ms=None)
    )
    return done.rowcount == 1


# ── to be read by people ──────────────────────────────────────────────────────────────────────────────


class Notification(NamedTuple):
    id: int
    delivery_key: str
    channel_id: int
    channel_name: str | None
    """None when the channel has been deleted."""
    title: str
    text: str
    status: Status
    attempts: Sequence[Attempt]
    """Oldest first."""
    created_ms: int
    next_attempt_ms: int | None
    """None when there will be none."""


def page(
    conn: Connection,
    *,
    limit: int,
    before_id: int | None = None,
    channel_id: int | None = None,
    status: Status | None = None,
) -> list[Notification]:
    """Messages, newest first, older than ``before_id``. Two statements."""
    statement = _notifications().order_by(M.id.desc()).limit(limit)
    if before_id is not None:
        statement = statement.where(M.id < before_id)
    if channel_id is not None:
        statement = statement.where(M.channel_id == channel_id)
    if status is not None:
        statement = statement.where(M.status == status)
    return _read(conn, statement)


def get(conn: Connection, notification_id: int) -> Notification | None:
    return next(iter(_read(conn, _notifications().where(M.id == notification_id))), None)


def _notifications() -> Any:
    channels = tables.channels.c
    return select(
        M.id, M.delivery_key, M.channel_id, channels.name, M.title, M.message, M.status, M.created_ms, M.next_attempt_ms
    ).join_from(tables.notifications, tables.channels, channels.id == M.channel_id, isouter=True)


def _read(conn: Connection, statement: Any) -> list[Notification]:
    rows = conn.execute(statement).all()
    attempts: dict[int, list[Attempt]] = defaultdict(list)
    found = conn.execute(
        select(A.notification_id, A.at_ms, A.duration_ms, A.ok, A.detail)
        .where(fast.among(conn, A.notification_id, [row[0] for row in rows]))
        .order_by(A.id)
    )
    for number, *attempt in found:
        attempts[number].append(Attempt(*attempt))
    return [
        Notification(
            number,
            key,
            channel_id,
            name,
            title,
            message_of(document).text,
            status,
            attempts.get(number, []),
            created_ms,
            next_ms if status in ("pending", "sending") else None,
        )
        for number, key, channel_id, name, title, document, status, created_ms, next_ms in rows
    ]


class LastDelivery(NamedTuple):
    """How a channel's newest attempt went."""

    status: Status
    at_ms: int
    detail: str


def last_deliveries(conn: Connection) -> dict[int, LastDelivery]:
    """By channel; a channel that has never sent is left out."""
    newest = (
        select(func.max(A.id))
        .join_from(tables.delivery_attempts, tables.notifications, M.id == A.notification_id)
        .group_by(M.channel_id)
    )
    statement = (
        select(M.channel_id, M.status, A.at_ms, A.detail)
        .join_from(tables.delivery_attempts, tables.notifications, M.id == A.notification_id)
        .where(A.id.in_(newest))
    )
    return {
        channel_id: LastDelivery(status, at_ms, detail) for channel_id, status, at_ms, detail in conn.execute(statement)
    }
