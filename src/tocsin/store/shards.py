"""Which worker probes which targets of a location, by leases on shards; and which workers there are.

Times are the database's own, so no worker's clock matters.

Whoever renews locks its own row in ``workers``, then its own shards, then shards that nobody else has locked. Whoever
writes results locks its own shards, in their order, in a way that lets them be renewed and not be taken. So renewals
wait for no write, takers wait for nobody, and no two of them can wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum, auto
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, and_, case, delete, func, literal, or_, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from tocsin.core.shards import LEASE_MS, SHARDS, Introduction, fair_share
from tocsin.store import fast
from tocsin.store.tables import shards, workers

FORGOTTEN_AFTER_MS: Final = 3_600_000
"""A worker that has not been heard of for so long is struck off."""


class Fence(NamedTuple):
    """Whose results these are: only the holder of a shard, since the epoch it took it in, may move its verdicts."""

    location_id: int
    holder: str


class Grant(NamedTuple):
    """What a worker holds after a renewal: the epoch of each shard. ``leaving`` are more than its share.

    ``since`` is of shards taken now: up to when their last holder had started their slots, where it gave them back;
    when its lease ended, where that was a moment ago.
    ``news``: the others of the location have reason to look again.
    """

    epochs: dict[int, int]
    leaving: frozenset[int]
    since: dict[int, int]
    news: bool


class _Registered(Enum):
    NEW = auto()
    ALREADY = auto()
    NOT = auto()
    """The id is another life's."""


STILL_MS: Final = LEASE_MS
"""A worker that stands still in the middle of a transaction keeps what it holds from others for so long. The server
ends it then."""


def epochs(conn: Connection, fence: Fence) -> dict[int, int]:
    """The epoch of every shard that ``fence.holder`` holds; in a write transaction nobody takes them until its end."""
    _do_not_stand_still(conn)
    statement = (
        select(shards.c.shard, shards.c.epoch)
        .where(shards.c.location_id == fence.location_id, shards.c.holder == fence.holder)
        .order_by(shards.c.shard)
    )
    return dict(fast.fetch(conn, statement.with_for_update(read=True, key_share=True)))


def renew(
    conn: Connection,
    location_id: int,
    me: Introduction,
    give_back: Mapping[int, int],
    *,
    now_ms: int,
    first: bool,
    steady: bool,
    lease_ms: int = LEASE_MS,
) -> Grant | None:
    """One worker's renewal; needs a write transaction. None: a later life has registered under this id.

    1. It registers. A new life takes over at once, under new epochs, what its former self held.
    2. It gives back the shards in ``give_back``, with the time up to which their slots were started, and renews the
       others. A lease that ran out is renewed where nobody has taken it.
    3. Its fair share is counted by those that are there. With less it takes free shards, and those whose holders are
       gone: when it is ``steady`` and its own lease has not run out either; with more it is told which ones to leave.
    """
    _do_not_stand_still(conn)
    until_ms = now_ms + lease_ms
    _make_missing(conn, location_id)
    was_until_ms = conn.execute(select(workers.c.until_ms).where(_self(me))).scalar()
    steady = steady and was_until_ms is not None and was_until_ms > now_ms
    registered = _register(conn, location_id, me, now_ms=now_ms, until_ms=until_ms, first=first)
    if registered is _Registered.NOT:
        return None
    ours = and_(shards.c.location_id == location_id, shards.c.holder == me.id)
    if registered is _Registered.NEW and first:
        _inherit(conn, location_id, me.id)
    gave_back = 0
    if give_back:
        gave_back = conn.execute(
            update(shards).where(ours, shards.c.shard.in_(give_back)).values(holder=None, until_ms=_moments(give_back))
        ).rowcount
    renewed = conn.execute(
        update(shards).where(ours).values(until_ms=until_ms).returning(shards.c.shard, shards.c.epoch)
    )
    held = _pairs(renewed)
    there = _there(conn, location_id, now_ms, lease_ms)
    share = fair_share(len(there), there.index(me.id))
    taken, since = _take(
        conn,
        location_id,
        me.id,
        share - len(held),
        until_ms=until_ms,
        gone=_is_over(shards.c.until_ms, now_ms, lease_ms) if steady else None,
        ended_between_ms=(now_ms - lease_ms, now_ms),
    )
    leaving = frozenset(sorted(held)[share:])
    return Grant(held | taken, leaving, since, news=registered is _Registered.NEW or gave_back > 0)


def leave(conn: Connection, location_id: int, me: Introduction, give_back: Mapping[int, int]) -> bool:
    """Gives back all that this life of the worker holds, also what is not in ``give_back``, and strikes it off. False:
    it was not registered any more."""
    gone = conn.execute(delete(workers).where(_self(me)))
    if not gone.rowcount:
        return False
    conn.execute(
        update(shards)
        .where(shards.c.location_id == location_id, shards.c.holder == me.id)
        .values(holder=None, until_ms=_moments(give_back))
    )
    return True


def _do_not_stand_still(conn: Connection) -> None:
    if conn.dialect.name != "sqlite":
        conn.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = {STILL_MS}"))


def _moments(give_back: Mapping[int, int]) -> ColumnElement[int]:
    """Up to when the slots of each shard were started; 0 where nobody knows."""
    return case(dict(give_back), value=shards.c.shard, else_=0) if give_back else literal(0)


def _self(me: Introduction) -> ColumnElement[bool]:
    return and_(workers.c.id == me.id, workers.c.life == me.life)


def _make_missing(conn: Connection, location_id: int) -> None:
    """A location that is new has no shards yet."""
    made = conn.execute(select(func.count()).where(shards.c.location_id == location_id)).scalar_one()
    if made == SHARDS:
        return
    insert = sqlite.insert if conn.dialect.name == "sqlite" else postgresql.insert
    rows = [
        {"location_id": location_id, "shard": shard, "holder": None, "epoch": 0, "until_ms": 0}
        for shard in range(SHARDS)
    ]
    conn.execute(insert(shards).on_conflict_do_nothing(), rows)


def _register(
    conn: Connection, location_id: int, me: Introduction, *, now_ms: int, until_ms: int, first: bool
) -> _Registered:
    present = {
        "location_id": location_id,
        "name": me.name,
        "version": me.version,
        "remote": me.remote,
        "until_ms": until_ms,
        "clock_off_ms": me.clock_off_ms,
    }
    known = conn.execute(update(workers).where(_self(me)).values(present))
    if known.rowcount:
        return _Registered.ALREADY
    insert = sqlite.insert if conn.dialect.name == "sqlite" else postgresql.insert
    born = present | {"life": me.life, "started_ms": now_ms}
    statement = insert(workers).values(born | {"id": me.id})
    if first:
        statement = statement.on_conflict_do_update(index_elements=[workers.c.id], set_=born)
    else:
        statement = statement.on_conflict_do_nothing()
    made = conn.execute(statement.returning(workers.c.id)).first()
    return _Registered.NOT if made is None else _Registered.NEW


def _inherit(conn: Connection, location_id: int, worker_id: str) -> None:
    """What the former self held is this life's under new epochs, and free where it probed from another location."""
    ours = shards.c.holder == worker_id
    conn.execute(update(shards).where(ours, shards.c.location_id != location_id).values(holder=None, until_ms=0))
    here = and_(ours, shards.c.location_id == location_id)
    # What the former self is still writing is waited for.
    conn.execute(select(shards.c.shard).where(here).order_by(shards.c.shard).with_for_update()).all()
    conn.execute(update(shards).where(here).values(epoch=shards.c.epoch + 1))


def _there(conn: Connection, location_id: int, now_ms: int, lease_ms: int) -> list[str]:
    """The ids of the workers that are there, in order; those gone for long are struck off."""
    statement = select(workers.c.id, workers.c.until_ms).where(workers.c.location_id == location_id)
    known = fast.fetch(conn, statement.order_by(workers.c.id))
    if any(until_ms < now_ms - FORGOTTEN_AFTER_MS for _, until_ms in known):
        long_gone = and_(workers.c.location_id == location_id, workers.c.until_ms < now_ms - FORGOTTEN_AFTER_MS)
        nobodys = select(workers.c.id).where(long_gone).with_for_update(skip_locked=True)
        conn.execute(delete(workers).where(workers.c.id.in_(nobodys)))
    return [worker_id for worker_id, until_ms in known if now_ms < until_ms <= now_ms + 2 * lease_ms]


def _is_over(until_ms: ColumnElement[int], now_ms: int, lease_ms: int) -> ColumnElement[bool]:
    """The lease has run out, or is so far off that the database's clock must have been set back since."""
    return or_(until_ms <= now_ms, until_ms > now_ms + 2 * lease_ms)


def _take(
    conn: Connection,
    location_id: int,
    worker_id: str,
    wanted: int,
    *,
    until_ms: int,
    gone: ColumnElement[bool] | None,
    ended_between_ms: tuple[int, int],
) -> tuple[dict[int, int], dict[int, int]]:
    """Up to so many shards that are free, or ``gone``, and that nobody else is taking just now: their epochs, and since
    when of those that were given back, or whose lease ended in that time."""
    if wanted <= 0:
        return {}, {}
    free = shards.c.holder.is_(None)
    candidates = (
        select(shards.c.shard, shards.c.holder, shards.c.until_ms)
        .where(shards.c.location_id == location_id, free if gone is None else or_(free, gone))
        .order_by(shards.c.shard)
        .limit(wanted)
        .with_for_update(skip_locked=True)
    )
    found = conn.execute(candidates).all()
    if not found:
        return {}, {}
    taken = conn.execute(
        update(shards)
        .where(shards.c.location_id == location_id, shards.c.shard.in_([shard for shard, _, _ in found]))
        .values(holder=worker_id, epoch=shards.c.epoch + 1, until_ms=until_ms)
        .returning(shards.c.shard, shards.c.epoch)
    )
    earliest_ms, latest_ms = ended_between_ms
    since = {
        shard: moment_ms
        for shard, holder, moment_ms in found
        if moment_ms and (holder is None or earliest_ms <= moment_ms <= latest_ms)
    }
    return _pairs(taken), since


def _pairs(rows: Iterable[Row[int, int]]) -> dict[int, int]:
    return {shard: epoch for shard, epoch in rows}  # noqa: C416 - a row is no tuple to the type checker
