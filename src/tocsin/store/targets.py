"""Targets at rest: rows in, rows out, pages by key, what changed since a revision. Knows no kind and no secret.

Every function takes the connection first and runs one statement unless it says otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal, NamedTuple

import msgspec
import numpy as np
from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Integer,
    Row,
    Select,
    TableValuedAlias,
    Text,
    and_,
    case,
    cast,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from tocsin.core.decide import Quorum, Verdict
from tocsin.core.outcome import HEADLINE, REACHABLE, StateKey
from tocsin.core.shards import SHARDS
from tocsin.core.target import TARGET
from tocsin.store import fast, tables

T = tables.targets.c


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRow:
    """A target without its secrets. ``id`` is 0 before it is inserted.

    ``settings`` holds the kind's own fields; a secret that is set stands there as None.
    """

    id: int = 0
    name: str
    slug: str
    kind: str
    description: str
    settings: Mapping[str, Any]
    endpoint: str
    interval_ms: int
    timeout_ms: int
    recheck_ms: int
    enabled: bool
    tags: Sequence[str]
    group_name: str
    assertions: Sequence[str]
    failures_to_down: int
    passes_to_up: int
    warnings_to_degraded: int
    degraded_above_ms: float | None
    certificate_warning_days: int | None
    location_ids: Sequence[int] = ()
    """Empty: every location."""
    quorum: str = "majority"
    """``any``, ``majority``, ``all`` or a number."""
    created_ms: int
    updated_ms: int
    deleted_ms: int | None = None
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FullTargetRow(TargetRow):
    """A whole row of ``targets``. ``secrets`` is ciphertext; None: no secret is set."""

    secrets: bytes | None


_COUNTER: Final = "targets"
"""The name of the revision that counts changes of targets."""


def _named(kind: type[TargetRow]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


_FULL_NAMES: Final = _named(FullTargetRow)
_FULL_COLUMNS: Final = tuple(T[name] for name in _FULL_NAMES)
_NAMES: Final = _named(TargetRow)
_JSON_NAMES: Final = tuple(name for name in _NAMES if isinstance(T[name].type, JSON))
# As text, so that the quick way to read works for them too.
_COLUMNS: Final[tuple[ColumnElement[Any], ...]] = tuple(
    cast(T[name], Text).label(name) if name in _JSON_NAMES else T[name] for name in _NAMES
)


def _full_row(found: Row[Any]) -> FullTargetRow:
    return FullTargetRow(**dict(zip(_FULL_NAMES, found, strict=True)))


def _row(found: Sequence[Any]) -> TargetRow:
    values = dict(zip(_NAMES, found, strict=True))
    for name in _JSON_NAMES:
        values[name] = msgspec.json.decode(values[name])
    values["enabled"] = bool(values["enabled"])
    return TargetRow(**values)


def next_revision(conn: Connection) -> int:
    """Takes the next number. The row stays locked until the transaction ends, so whoever holds it is the only
    one who changes targets, and revisions become visible in order."""
    taken: int = conn.execute(
        update(tables.revisions)
        .where(tables.revisions.c.name == _COUNTER)
        .values(value=tables.revisions.c.value + 1)
        .returning(tables.revisions.c.value)
    ).scalar_one()
    return taken


def latest_revision(conn: Connection) -> int:
    """0 before the first change. Any change to any target makes it grow."""
    statement = select(tables.revisions.c.value).where(tables.revisions.c.name == _COUNTER)
    latest: int = conn.execute(statement).scalar_one()
    return latest


def insert_target(conn: Connection, row: FullTargetRow) -> int:
    values = asdict(row)
    del values["id"]
    target_id: int = conn.execute(insert(tables.targets).values(values).returning(T.id)).scalar_one()
    return target_id


def update_target(conn: Connection, row: FullTargetRow) -> bool:
    """False when there is no such live target."""
    values = asdict(row)
    del values["id"], values["created_ms"]
    done = conn.execute(update(tables.targets).where(T.id == row.id, T.deleted_ms.is_(None)).values(values))
    return done.rowcount == 1


def mark_deleted(conn: Connection, target_id: int, *, at_ms: int, revision: int) -> bool:
    """False when there was no such live target."""
    done = conn.execute(
        update(tables.targets)
        .where(T.id == target_id, T.deleted_ms.is_(None))
        .values(deleted_ms=at_ms, updated_ms=at_ms, revision=revision)
    )
    return done.rowcount == 1


def get(conn: Connection, target_id: int) -> FullTargetRow | None:
    found = conn.execute(select(*_FULL_COLUMNS).where(T.id == target_id, T.deleted_ms.is_(None))).one_or_none()
    return None if found is None else _full_row(found)


def get_many(conn: Connection, target_ids: Collection[int]) -> list[TargetRow]:
    """Those that are live, in no particular order."""
    statement = select(*_COLUMNS).where(fast.among(conn, T.id, target_ids), T.deleted_ms.is_(None))
    return [_row(row) for row in fast.fetch(conn, statement)]


def taken_slugs(conn: Connection, slugs: Collection[str]) -> set[str]:
    """Those of these that live targets have."""
    found = conn.execute(select(T.slug).where(T.deleted_ms.is_(None), T.slug.in_(slugs)))
    return set(found.scalars())


def changed_since(
    conn: Connection, revision: int, *, shards: Collection[int] | None = None, limit: int | None = None
) -> list[FullTargetRow]:
    """Targets whose newest change is later than ``revision``, deleted ones too, oldest change first.

    ``shards`` keeps only theirs. The first ``limit`` changes; each has a revision of its own.
    """
    statement = select(*_FULL_COLUMNS).where(T.revision > revision).order_by(T.revision).limit(limit)
    if shards is not None and len(shards) < SHARDS:
        statement = statement.where(fast.among(conn, T.id % SHARDS, shards))
    return [_full_row(row) for row in conn.execute(statement)]


def touched_since(conn: Connection, revision: int) -> list[int]:
    """The ids of targets whose newest change is later than ``revision``, deleted ones too."""
    return [number for (number,) in fast.fetch(conn, select(T.id).where(T.revision > revision))]


# ── pages ─────────────────────────────────────────────────────────────────────────────────────────────

Sort = Literal["name", "-name", "created", "-created", "verdict", "latency", "-latency"]


class Place(NamedTuple):
    """A location, and the kinds of targets that are checked from locations."""

    location_id: int
    kinds: Collection[str]


class Filters(NamedTuple):
    """What a list is narrowed by; None: not at all."""

    text: str | None = None
    kind: str | None = None
    tag: str | None = None
    group: str | None = None
    verdict: str | None = None
    enabled: bool | None = None
    place: Place | None = None
    """Checked from there: naming it, or naming none."""
    ids: Collection[int] | None = None


class Headline(NamedTuple):
    """How a target stands: its headline's verdict, and what was seen last from anywhere.

    ``since_ms`` is 0 before the first verdict, ``last_at_ms`` before the first look.
    """

    verdict: str
    since_ms: int
    reason: str
    last_at_ms: int
    last_latency_us: int | None


class Listed(NamedTuple):
    row: TargetRow
    headline: Headline
    sort_key: Any


class Position(NamedTuple):
    """Where the last page ended."""

    sort_key: Any
    id: int


_state = tables.states.alias("headline")
_RANK_UP = 3
# Worst first. A paused target comes last, whatever it was.
_RANK: ColumnElement[int] = case(
    (T.enabled.is_(False), 4),
    (_state.c.verdict == "down", 0),
    (_state.c.verdict == "degraded", 1),
    (_state.c.verdict == "up", _RANK_UP),
    else_=2,
)
_FOLDED_NAME: ColumnElement[str] = func.lower(T.name)
# A headline is written when it changes, so what was seen last is found where it was seen. A location that the target is
# no longer probed from is held and counts only where all of them are: the target is paused.
_look = tables.states.alias("look")
_NEWEST_FIRST: Final = (_look.c.held, _look.c.last_at_ms.desc(), _look.c.location_id)
_LATENCY: ColumnElement[int] = func.coalesce(
    select(_look.c.last_latency_us)
    .where(_look.c.subject_id == T.id, _look.c.subject_kind == TARGET, _look.c.rule == REACHABLE)
    .order_by(*_NEWEST_FIRST)
    .limit(1)
    .correlate(tables.targets)
    .scalar_subquery(),
    -1,
)

_SORTS: dict[Sort, tuple[ColumnElement[Any], bool]] = {
    "name": (_FOLDED_NAME, True),
    "-name": (_FOLDED_NAME, False),
    "created": (T.created_ms, True),
    "-created": (T.created_ms, False),
    "verdict": (_RANK, True),
    "latency": (_LATENCY, True),
    "-latency": (_LATENCY, False),
}


def page(
    conn: Connection, filters: Filters, *, sort: Sort = "name", limit: int, after: Position | None = None
) -> list[Listed]:
    """Live targets with their headline, by ``sort`` and then by id, beginning after ``after``. Two statements."""
    key, ascending = _SORTS[sort]
    statement = (
        _listed(key)
        .where(*_conditions(conn, filters))
        .order_by(*((key, T.id) if ascending else (key.desc(), T.id.desc())))
        .limit(limit)
    )
    if after is not None:
        beyond = (key > after.sort_key) if ascending else (key < after.sort_key)
        further = (T.id > after.id) if ascending else (T.id < after.id)
        statement = statement.where(or_(beyond, and_(key == after.sort_key, further)))
    return _seen(conn, statement)


def matching(conn: Connection, filters: Filters) -> list[int]:
    """The ids of live targets that fit, in order."""
    statement = (
        select(T.id)
        .select_from(tables.targets.outerjoin(_state, _headline_of_target()))
        .where(*_conditions(conn, filters))
        .order_by(T.id)
    )
    return [target_id for (target_id,) in fast.fetch(conn, statement)]


def listed(conn: Connection, target_id: int) -> Listed | None:
    """One live target with its headline. Two statements."""
    found = _seen(conn, _listed(T.id).where(T.id == target_id, T.deleted_ms.is_(None)))
    return found[0] if found else None


def worst(conn: Connection, *, limit: int) -> list[Listed]:
    """Enabled targets that are not up, worst first, then those that have been so longest. Two statements."""
    statement = (
        _listed(_RANK)
        .where(T.deleted_ms.is_(None), T.enabled.is_(True), _RANK < _RANK_UP)
        .order_by(_RANK, func.coalesce(_state.c.since_ms, T.created_ms), T.id)
        .limit(limit)
    )
    return _seen(conn, statement)


def counts(conn: Connection) -> dict[str, int]:
    """How many live targets have each verdict, and how many are ``paused``."""
    word = case((T.enabled.is_(False), "paused"), else_=func.coalesce(_state.c.verdict, _UNKNOWN))
    statement = (
        select(word, func.count())
        .select_from(tables.targets.outerjoin(_state, _headline_of_target()))
        .where(T.deleted_ms.is_(None))
        .group_by(word)
    )
    return dict(fast.fetch(conn, statement))


class Down(NamedTuple):
    name: str
    since_ms: int


def down(conn: Connection, target_ids: Collection[int] | None = None) -> dict[int, Down]:
    """Those of these live, enabled targets (None: of all) that are down."""
    statement = (
        select(T.id, T.name, _state.c.since_ms)
        .select_from(tables.targets.join(_state, _headline_of_target()))
        .where(T.deleted_ms.is_(None), T.enabled.is_(True), _state.c.verdict == Verdict.DOWN.value)
    )
    if target_ids is not None:
        statement = statement.where(fast.among(conn, T.id, target_ids))
    return {target_id: Down(name, since_ms) for target_id, name, since_ms in fast.fetch(conn, statement)}


def names(conn: Connection, target_ids: Collection[int]) -> dict[int, str]:
    """Also of targets deleted but not yet cleared away."""
    statement = select(T.id, T.name).where(fast.among(conn, T.id, target_ids))
    return dict(fast.fetch(conn, statement))


def tag_counts(conn: Connection) -> list[tuple[str, int]]:
    """Every tag in use and how many live targets carry it, by name."""
    tag = elements(conn)
    statement = (
        select(tag.c.value, func.count())
        .select_from(tables.targets.join(tag, literal(True)))
        .where(T.deleted_ms.is_(None))
        .group_by(tag.c.value)
        .order_by(tag.c.value)
    )
    return [(name, number) for name, number in conn.execute(statement)]


def group_counts(conn: Connection) -> list[tuple[str, int]]:
    """Every group in use and how many live targets are in it, by name."""
    statement = (
        select(T.group_name, func.count())
        .where(T.deleted_ms.is_(None), T.group_name != "")
        .group_by(T.group_name)
        .order_by(T.group_name)
    )
    return [(name, number) for name, number in conn.execute(statement)]


def _listed(key: ColumnElement[Any]) -> Select[Any]:
    return select(
        *_COLUMNS,
        _state.c.verdict.label("state_verdict"),
        _state.c.since_ms.label("state_since_ms"),
        _state.c.reason.label("state_reason"),
        key.label("sort_key"),
    ).select_from(tables.targets.outerjoin(_state, _headline_of_target()))


def quorums(conn: Connection, headlines: Collection[StateKey]) -> dict[StateKey, Quorum]:
    """What targets ask for now, for those of these headlines whose quorum they choose."""
    chosen = {key.subject.id: key for key in headlines if key.subject.kind == TARGET and key.rule == REACHABLE}
    if not chosen:
        return {}
    statement = select(T.id, T.quorum).where(fast.among(conn, T.id, chosen))
    return {chosen[target_id]: quorum_of(text) for target_id, text in fast.fetch(conn, statement)}


def quorum_of(text: str) -> Quorum:
    """As the column holds it. One that a later version has written counts as the default."""
    named: dict[str, Quorum] = {"any": "any", "majority": "majority", "all": "all"}
    return int(text) if text.isdecimal() else named.get(text, "majority")


def _headline_of_target() -> ColumnElement[bool]:
    return and_(
        _state.c.subject_kind == TARGET,
        _state.c.subject_id == T.id,
        _state.c.rule == REACHABLE,
        _state.c.location_id == HEADLINE,
    )


def _seen(conn: Connection, statement: Select[Any]) -> list[Listed]:
    """The rows of ``_listed``, with what was seen of each target last."""
    rows = [(_row(found[: len(_NAMES)]), found[len(_NAMES) :]) for found in fast.fetch(conn, statement)]
    looks = _looks(conn, [row.id for row, _ in rows])
    return [
        Listed(row, Headline(verdict or _UNKNOWN, since_ms or 0, reason or "", *looks.get(row.id, _NO_LOOK)), sort_key)
        for row, (verdict, since_ms, reason, sort_key) in rows
    ]


class _Look(NamedTuple):
    at_ms: int
    latency_us: int | None


_NO_LOOK: Final = _Look(0, None)
_UNKNOWN: Final = Verdict.UNKNOWN.value


def _looks(conn: Connection, target_ids: Collection[int] | None) -> dict[int, _Look]:
    """What was seen last of each of these targets (None: of all)."""
    statement = select(
        _look.c.subject_id,
        cast(_look.c.held, Integer),
        _look.c.last_at_ms,
        _look.c.location_id,
        func.coalesce(_look.c.last_latency_us, -1),
    ).where(_look.c.subject_kind == TARGET, _look.c.rule == REACHABLE)
    if target_ids is not None:
        statement = statement.where(fast.among(conn, _look.c.subject_id, target_ids))
    owner, held, at_ms, place, latency_us = fast.fetch_numbers(conn, statement).T
    order = np.lexsort((-place, at_ms, -held, owner))  # the last one of each target is its newest look
    is_last = np.append(owner[order][1:] != owner[order][:-1], True)[: len(order)]
    newest = order[is_last]
    return {
        number: _Look(seen_ms, None if took_us < 0 else took_us)
        for number, seen_ms, took_us in zip(
            owner[newest].tolist(), at_ms[newest].tolist(), latency_us[newest].tolist(), strict=True
        )
    }


def _conditions(conn: Connection, filters: Filters) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [T.deleted_ms.is_(None)]
    if filters.text:
        pattern = f"%{_escaped(filters.text.lower())}%"
        tag = elements(conn)
        tagged = exists(select(literal(1)).select_from(tag).where(_folded(tag.c.value).like(pattern, escape="\\")))
        searched = (T.name, T.endpoint, T.group_name, T.description)
        conditions.append(or_(tagged, *(_folded(column).like(pattern, escape="\\") for column in searched)))
    if filters.kind is not None:
        conditions.append(T.kind == filters.kind)
    if filters.group is not None:
        conditions.append(T.group_name == filters.group)
    if filters.enabled is not None:
        conditions.append(T.enabled.is_(filters.enabled))
    if filters.tag is not None:
        tag = elements(conn)
        conditions.append(exists(select(literal(1)).select_from(tag).where(tag.c.value == filters.tag)))
    if filters.verdict is not None:
        conditions.append(func.coalesce(_state.c.verdict, _UNKNOWN) == filters.verdict)
    if filters.place is not None:
        named = elements(conn, T.location_ids)
        naming_it = exists(
            select(literal(1)).select_from(named).where(cast(named.c.value, Integer) == filters.place.location_id)
        )
        naming_none = func.json_array_length(T.location_ids) == 0
        conditions += [T.kind.in_(sorted(filters.place.kinds)), or_(naming_none, naming_it)]
    if filters.ids is not None:
        conditions.append(fast.among(conn, T.id, filters.ids))
    return conditions


def elements(conn: Connection, column: ColumnElement[Any] = T.tags) -> TableValuedAlias:
    """What is in a list of a target's, its tags where none is named, as rows with one column, ``value``."""
    unpack = func.json_each if conn.dialect.name == "sqlite" else func.json_array_elements_text
    return unpack(column).table_valued("value", joins_implicitly=True)


def _folded(column: ColumnElement[Any]) -> ColumnElement[str]:
    return func.lower(column)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


# ── how all of them stand ─────────────────────────────────────────────────────────────────────────────


class Standing(NamedTuple):
    """One live target, as little of it as a live view or a metric needs. ``since_ms`` is 0 before the first verdict,
    ``last_at_ms`` before the first look."""

    id: int
    slug: str
    kind: str
    enabled: bool
    created_ms: int
    verdict: str
    since_ms: int
    reason: str
    last_at_ms: int
    last_latency_us: int | None


def standings(conn: Connection, target_ids: Collection[int] | None = None) -> list[Standing]:
    """Those of these live targets (None: of all), by id. Two statements."""
    statement = (
        select(
            T.id,
            T.slug,
            T.kind,
            T.enabled,
            T.created_ms,
            func.coalesce(_state.c.verdict, _UNKNOWN),
            func.coalesce(_state.c.since_ms, 0),
            func.coalesce(_state.c.reason, ""),
        )
        .select_from(tables.targets.outerjoin(_state, _headline_of_target()))
        .where(T.deleted_ms.is_(None))
        .order_by(T.id)
    )
    if target_ids is not None:
        statement = statement.where(fast.among(conn, T.id, target_ids))
    looks = _looks(conn, target_ids)
    return [
        Standing._make((number, slug, kind, enabled == 1, *rest, *looks.get(number, _NO_LOOK)))
        for number, slug, kind, enabled, *rest in fast.fetch(conn, statement)
    ]


def checks_per_minute(conn: Connection, kinds: Collection[str]) -> float:
    """How many checks the enabled targets of these kinds ask for."""
    statement = select(func.sum(60_000.0 / T.interval_ms)).where(
        T.deleted_ms.is_(None), T.enabled.is_(True), T.kind.in_(sorted(kinds))
    )
    return float(conn.execute(statement).scalar() or 0)
