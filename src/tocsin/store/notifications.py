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
    Select,
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
from tocsin.core.decide import State, Transition, Verdict
from tocsin.core.dependencies import Stance, stance
from tocsin.core.outcome import HEADLINE, REACHABLE, StateKey, Subject
from tocsin.core.samples import MACHINE
from tocsin.core.target import TARGET
from tocsin.store import fast, tables
from tocsin.store.states import for_targets

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


class InLine(NamedTuple):
    """The oldest transition of a state that nobody has routed yet. ``held``: its telling is held back for now."""

    id: int
    held: bool


def in_line(conn: Connection, *, everything: bool = False) -> list[InLine]:
    """What is worth looking at, oldest first: what is new; and of what is held back that which is over, or whose cause
    is not down. ``everything``: all that is held back.

    Only the oldest of each state, so that whoever routes a recovery sees the notices of the outage before it. In one
    pass over all that is not routed: the thousands that one parent holds back cost no query each.
    """
    line = (
        select(func.min(T.id).label("id"), func.max(T.id).label("last_id"), func.max(T.waits_for).label("waits_for"))
        .where(T.routed_ms.is_(None))
        .group_by(*(T[name] for name in _KEY))
        .cte("line")
    )
    states = tables.states.c
    causes_down = select(states.subject_id).where(
        states.subject_id.in_(select(line.c.waits_for).distinct()),
        states.subject_kind == TARGET,
        states.rule == REACHABLE,
        states.location_id == HEADLINE,
        states.verdict == Verdict.DOWN.value,
    )
    statement = select(line.c.id, line.c.waits_for.is_not(None)).order_by(line.c.id)
    if not everything:
        statement = statement.where(
            or_(
                line.c.waits_for.is_(None),
                line.c.last_id > line.c.id,
                line.c.waits_for.not_in(causes_down),
            )
        )
    return [InLine(number, bool(held)) for number, held in fast.fetch(conn, statement)]


class Unrouted(NamedTuple):
    """A transition that nobody has routed yet. ``ended_ms`` is when the next one of its state came; None: there is
    none."""

    recorded: Recorded
    recorded_ms: int
    waits_for: int | None
    """The target because of which it is held back for now."""
    ended_ms: int | None


def unrouted(conn: Connection, transition_ids: Collection[int]) -> list[Unrouted]:
    """Those of these that nobody has routed yet, oldest first."""
    return [_unrouted(row) for row in fast.fetch(conn, _select_unrouted(conn, transition_ids))]


def claim_unrouted(conn: Connection, transition_ids: Collection[int]) -> list[Unrouted]:
    """As ``unrouted``, ours until the transaction ends; without those another process has."""
    statement = _select_unrouted(conn, transition_ids).with_for_update(skip_locked=True, of=tables.transitions)
    return [_unrouted(row) for row in fast.fetch(conn, statement)]


def _select_unrouted(conn: Connection, transition_ids: Collection[int]) -> Select[Any]:
    later = tables.transitions.alias("later")
    ended_ms = (
        select(later.c.at_ms)
        .where(_same_state(later, tables.transitions), later.c.at_ms >= T.at_ms, later.c.id > T.id)
        .order_by(later.c.id)
        .limit(1)
        .correlate(tables.transitions)
        .scalar_subquery()
    )
    return (
        select(*_TRANSITION_COLUMNS, T.recorded_ms, T.waits_for, ended_ms.label("ended_ms"))
        .where(fast.among(conn, T.id, transition_ids), T.routed_ms.is_(None))
        .order_by(T.id)
    )


def _unrouted(row: Sequence[Any]) -> Unrouted:
    *transition, recorded_ms, waits_for, ended_ms = row
    return Unrouted(_recorded(transition), recorded_ms, waits_for, ended_ms)


def hold_back(conn: Connection, causes: Mapping[int, int]) -> None:
    """For each of these transitions: the target because of which it is not told for now."""
    pairs = fast.paired(conn, causes)
    conn.execute(update(tables.transitions).where(T.id == pairs.c.id).values(waits_for=pairs.c.value))


def mark_routed(conn: Connection, transition_ids: Collection[int], *, at_ms: int) -> None:
    conn.execute(
        update(tables.transitions).where(fast.among(conn, T.id, transition_ids)).values(routed_ms=at_ms, waits_for=None)
    )


def histories(conn: Connection, transition_ids: Collection[int]) -> dict[StateKey, list[Recorded]]:
    """For each state these transitions belong to: its transitions since it was last up before the first of them, up to
    the last of them, oldest first."""
    wanted = (
        select(
            *(T[name] for name in _KEY),
            func.min(T.id).label("first_id"),
            func.max(T.id).label("last_id"),
            func.min(T.at_ms).label("first_ms"),
        )
        .where(fast.among(conn, T.id, transition_ids))
        .group_by(*(T[name] for name in _KEY))
        .cte("wanted")
    )
    up = tables.transitions.alias("up")
    # Looked up for each state, along the index: joined as a list, PostgreSQL compares every state with every other.
    last_up_ms = (
        select(up.c.at_ms)
        .where(
            _same_state(up, wanted),
            up.c.at_ms <= wanted.c.first_ms,
            up.c.id < wanted.c.first_id,
            up.c.after == Verdict.UP.value,
        )
        .order_by(up.c.at_ms.desc())
        .limit(1)
        .correlate(wanted)
        .scalar_subquery()
    )
    begins = select(wanted, func.coalesce(last_up_ms, 0).label("from_ms")).cte("begins").prefix_with("MATERIALIZED")
    statement = (
        select(begins.c.first_id, *_TRANSITION_COLUMNS)
        .join_from(begins, tables.transitions, _same_state(tables.transitions, begins))
        .where(T.at_ms >= begins.c.from_ms, T.id <= begins.c.last_id)
        .order_by(T.id)
    )
    result: dict[StateKey, list[Recorded]] = defaultdict(list)
    for first_id, *row in fast.fetch(conn, statement):
        recorded = _recorded(row)
        past = result[recorded.transition.key]
        if recorded.id < first_id and recorded.transition.after is Verdict.UP:
            past.clear()  # up, and what began in the same millisecond before it
        else:
            past.append(recorded)
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
    """As much of a target or a machine as telling needs."""

    name: str
    tags: Sequence[str]


_SUBJECTS: Final = {TARGET: tables.targets, MACHINE: tables.machines}
"""Where the subjects of a kind are. Each has ``id``, ``name``, ``tags`` and ``deleted_ms``."""


def labels(conn: Connection, subjects: Collection[Subject]) -> dict[Subject, Label]:
    """Those of these subjects that have not been deleted. A statement for each kind among them."""
    ids: dict[str, list[int]] = defaultdict(list)
    for kind, number in subjects:
        ids[kind].append(number)
    found: dict[Subject, Label] = {}
    for kind in _SUBJECTS.keys() & ids.keys():
        table = _SUBJECTS[kind].c
        statement = select(table.id, table.name, table.tags).where(
            fast.among(conn, table.id, ids[kind]), table.deleted_ms.is_(None)
        )
        found |= {Subject(kind, number): Label(name, tags) for number, name, tags in conn.execute(statement)}
    return found


# ── who depends on whom ───────────────────────────────────────────────────────────────────────────────


def stances(conn: Connection, target_ids: Collection[int], *, since_ms: int) -> dict[int, Stance]:
    """How these targets stand, without those deleted; their periods of being down as far back as they matter to
    trouble that began at ``since_ms`` or later.

    A target's states are of one moment, for they are read by one statement. Its changes are read after it and may know
    more; the next look at the same trouble then knows it all.
    """
    targets = tables.targets.c
    has_token = exists().where(tables.heartbeat_tokens.c.target_id == targets.id)
    statement = select(targets.id, targets.enabled, has_token, targets.interval_ms, targets.timeout_ms).where(
        fast.among(conn, targets.id, target_ids), targets.deleted_ms.is_(None)
    )
    found = fast.fetch(conn, statement)
    headlines: dict[int, State] = {}
    locations: dict[int, list[State]] = defaultdict(list)
    for key, state in for_targets(conn, target_ids):
        if key.rule != REACHABLE:
            continue
        if key.location_id == HEADLINE:
            headlines[key.subject.id] = state
        else:
            locations[key.subject.id].append(state)
    changes: dict[int, list[Transition]] = defaultdict(list)
    longest_ms = max((timeout_ms for *_, timeout_ms in found), default=0)
    for row in fast.fetch(conn, _changes_of_down(conn, target_ids, since_ms - longest_ms)):
        change = _recorded(row).transition
        changes[change.key.subject.id].append(change)
    return {
        number: stance(
            number,
            headlines.get(number, State()),
            locations[number],
            enabled=bool(enabled),
            probed=not calls_in,
            interval_ms=interval_ms,
            timeout_ms=timeout_ms,
            changes=changes[number],
        )
        for number, enabled, calls_in, interval_ms, timeout_ms in found
    }


def _changes_of_down(conn: Connection, target_ids: Collection[int], since_ms: int) -> Select[Any]:
    """The headlines' changes to down and from it."""
    return (
        select(*_TRANSITION_COLUMNS)
        .where(
            T.subject_kind == TARGET,
            fast.among(conn, T.subject_id, target_ids),
            T.rule == REACHABLE,
            T.location_id == HEADLINE,
            T.at_ms >= since_ms,
            or_(T.before == Verdict.DOWN.value, T.after == Verdict.DOWN.value),
        )
        .order_by(T.id)
    )


# ── what lasts ────────────────────────────────────────────────────────────────────────────────────────


def last_of_those_down(conn: Connection) -> list[int]:
    """The newest transition of every target that is down now, is not paused and has not been deleted; and the same of
    every rule of machines."""
    states, targets, machines = tables.states, tables.targets, tables.machines
    statement = (
        select(func.max(T.id))
        .join_from(
            states, targets, and_(states.c.subject_kind == TARGET, targets.c.id == states.c.subject_id), isouter=True
        )
        .join(machines, and_(states.c.subject_kind == MACHINE, machines.c.id == states.c.subject_id), isouter=True)
        .join(tables.transitions, _same_state(tables.transitions, states))
        .where(
            states.c.location_id == HEADLINE,
            states.c.verdict == Verdict.DOWN.value,
            T.at_ms == states.c.since_ms,  # a state stands since its newest transition
            or_(
                and_(states.c.rule == REACHABLE, targets.c.enabled.is_(True), targets.c.deleted_ms.is_(None)),
                and_(machines.c.id.is_not(None), machines.c.deleted_ms.is_(None)),
            ),
        )
        .group_by(states.c.subject_kind, states.c.subject_id, states.c.rule)
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
