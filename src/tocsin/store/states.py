"""What is held about every (subject, rule, location). Read and written by the pipeline, in batches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import BigInteger, ColumnElement, Connection, Text, and_, bindparam, case, delete, func, or_, select
from sqlalchemy.dialects.postgresql import ARRAY, insert

from tocsin.core.decide import State, Verdict
from tocsin.core.outcome import HEADLINE, StateKey, Subject
from tocsin.core.target import TARGET
from tocsin.store import fast
from tocsin.store.tables import states

_KEY: Final = ("subject_kind", "subject_id", "rule", "location_id")
_HELD: Final = State._fields
_COLUMNS: Final = (*_KEY, *_HELD)
_SELECTED: Final = tuple(states.c[name] for name in _COLUMNS)
_VERDICTS: Final = {verdict.value: verdict for verdict in Verdict}


def read_many(conn: Connection, keys: Collection[StateKey]) -> dict[StateKey, State]:
    """The state of every key; ``State()`` for one never written.

    In a write transaction the rows stay ours until it ends (taken in one order, so two batches never wait for each
    other): rows that do not exist yet are made first, where the engine lets several writers work at once.
    """
    several_write = conn.dialect.name != "sqlite" and not conn.get_execution_options().get("postgresql_readonly")
    groups: dict[tuple[str, str, int], list[int]] = defaultdict(list)
    for (kind, subject_id), rule, location_id in keys:
        groups[kind, rule, location_id].append(subject_id)
    found: dict[StateKey, State] = {}
    # Headlines last, as the pipeline comes to them last: nobody waits for a location while holding a headline.
    for group in sorted(groups, key=lambda group: (group[2] == HEADLINE, group)):
        ids = sorted(groups[group])
        known = _read_group(conn, group, ids, held=several_write)
        if several_write and len(known) < len(ids):
            _make(conn, group, ids)
            known = _read_group(conn, group, ids, held=True)
        found.update(known)
    fresh = State()
    return {key: found.get(key, fresh) for key in keys}


def write_many(conn: Connection, items: Sequence[tuple[StateKey, State]]) -> None:
    """Store these states, each key once, in one statement per few hundred."""
    rows = [
        (kind, subject_id, rule, location_id, str(state[0].value), *state[1:])
        for ((kind, subject_id), rule, location_id), state in sorted(items)
    ]
    fast.upsert_many(conn, states, _COLUMNS, rows)


def of_locations(conn: Connection, headlines: Collection[StateKey]) -> list[tuple[StateKey, State]]:
    """The states of every location that has a part in these headlines."""
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for (kind, subject_id), rule, _ in headlines:
        groups[kind, rule].append(subject_id)
    found: list[tuple[StateKey, State]] = []
    for (kind, rule), ids in groups.items():
        statement = select(*_SELECTED).where(
            states.c.subject_kind == kind,
            states.c.rule == rule,
            fast.among(conn, states.c.subject_id, ids),
            states.c.location_id != HEADLINE,
        )
        found += [_item(row) for row in fast.fetch(conn, statement)]
    return found


class Stand(NamedTuple):
    """A headline's verdict, and those of the locations that have a say in it, in no particular order."""

    headline: Verdict
    locations: list[Verdict]


def in_doubt(conn: Connection) -> dict[StateKey, Stand]:
    """How the headlines of targets stand, without those that are held, those without a location, and those with whom
    every location agrees: mostly few. Reads the whole table."""
    on_top = states.c.location_id == HEADLINE
    has_say = and_(states.c.location_id != HEADLINE, states.c.held.is_(False))
    numbers = {one: _number(and_(has_say, states.c.verdict == one.value)) for one in _MEASURED}
    voters = _number(and_(has_say, states.c.verdict != Verdict.UNKNOWN.value))
    headline = func.coalesce(func.max(case((on_top, states.c.verdict))), Verdict.UNKNOWN.value)
    agreeing = case({one.value: number for one, number in numbers.items()}, value=headline, else_=0)
    statement = (
        select(states.c.subject_id, states.c.rule, headline, *numbers.values())
        .where(states.c.subject_kind == TARGET)
        .group_by(states.c.subject_id, states.c.rule)
        .having(
            _number(states.c.location_id != HEADLINE) > 0,
            _number(and_(on_top, states.c.held.is_(True))) == 0,
            or_(agreeing != voters, and_(voters == 0, headline != Verdict.UNKNOWN.value)),
        )
    )
    return {
        StateKey(Subject(TARGET, subject_id), rule, HEADLINE): Stand(
            _VERDICTS[verdict], [one for one, times in zip(_MEASURED, found, strict=True) for _ in range(times)]
        )
        for subject_id, rule, verdict, *found in fast.fetch(conn, statement)
    }


_MEASURED: Final = (Verdict.UP, Verdict.DEGRADED, Verdict.DOWN)


def _number(of_rows: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((of_rows, 1), else_=0))


def overdue(conn: Connection, now_ms: int, limit: int | None = None) -> list[tuple[StateKey, State]]:
    """Whose outcome was due before ``now_ms`` and is not held, longest overdue first."""
    statement = (
        select(*_SELECTED)
        .where(states.c.due_ms < now_ms, states.c.held.is_(False))
        .order_by(states.c.due_ms)
        .limit(limit)
    )
    return [_item(row) for row in fast.fetch(conn, statement)]


def for_targets(conn: Connection, ids: Collection[int] | None = None) -> list[tuple[StateKey, State]]:
    """Every state of these targets (None: of all), by target."""
    return of_kind(conn, TARGET, ids)


def of_kind(conn: Connection, kind: str, ids: Collection[int] | None = None) -> list[tuple[StateKey, State]]:
    """Every state of these subjects of one kind (None: of all), by subject."""
    statement = select(*_SELECTED).where(states.c.subject_kind == kind)
    if ids is not None:
        statement = statement.where(fast.among(conn, states.c.subject_id, ids))
    statement = statement.order_by(states.c.subject_id, states.c.rule, states.c.location_id)
    return [_item(row) for row in fast.fetch(conn, statement)]


def at(conn: Connection, location_id: int) -> list[tuple[StateKey, State]]:
    """Every state of one location. Reads the whole table."""
    return [_item(row) for row in fast.fetch(conn, select(*_SELECTED).where(states.c.location_id == location_id))]


def forget(conn: Connection, location_id: int) -> None:
    """Nothing has been seen from this location."""
    conn.execute(delete(states).where(states.c.location_id == location_id))


def _read_group(
    conn: Connection, group: tuple[str, str, int], ids: Sequence[int], *, held: bool
) -> dict[StateKey, State]:
    kind, rule, location_id = group
    asked = {"kind": kind, "rule": rule, "location_id": location_id}
    found: Iterable[tuple[int, State]]
    if conn.dialect.name == "sqlite":
        text: str = conn.execute(_READ_TEXT, asked | {"ids": _TO_TEXT.encode(ids).decode()}).scalar_one()
        found = _FROM_TEXT.decode(text)
    else:
        rows = conn.execute(_READ_HELD if held else _READ, asked | {"ids": ids})
        found = ((row[0], State._make((_VERDICTS[row[1]], *row[2:]))) for row in rows)
    return {StateKey(Subject(kind, subject_id), rule, location_id): state for subject_id, state in found}


# Built once: making a statement takes longer than reading a few states with it.
_GROUP: Final = and_(
    states.c.subject_kind == bindparam("kind"),
    states.c.rule == bindparam("rule"),
    states.c.location_id == bindparam("location_id"),
)
_FIELDS: Final = tuple(states.c[name] for name in _HELD)
_READ: Final = (
    select(states.c.subject_id, *_FIELDS)
    .where(_GROUP, states.c.subject_id == func.any(bindparam("ids", type_=ARRAY(BigInteger))))
    .order_by(states.c.subject_id)
)
_READ_HELD: Final = _READ.with_for_update()
_READ_TEXT: Final = select(
    func.json_group_array(
        func.json_array(
            states.c.subject_id,
            func.json_array(*_FIELDS[:-1], func.json(case((states.c.held, "true"), else_="false"))),
        )
    )
).where(
    _GROUP,
    states.c.subject_id.in_(select(func.json_each(bindparam("ids", type_=Text)).table_valued("value").c.value)),
)
_TO_TEXT: Final = msgspec.json.Encoder()
_FROM_TEXT: Final = msgspec.json.Decoder(list[tuple[int, State]])


def _make(conn: Connection, group: tuple[str, str, int], ids: Sequence[int]) -> None:
    kind, rule, location_id = group
    fresh = State()._asdict() | {"verdict": State().verdict.value}
    rows = [
        {"subject_kind": kind, "subject_id": subject_id, "rule": rule, "location_id": location_id, **fresh}
        for subject_id in ids
    ]
    conn.execute(insert(states).on_conflict_do_nothing(), rows)


def _item(row: tuple[Any, ...]) -> tuple[StateKey, State]:
    key = StateKey(Subject(row[0], row[1]), row[2], row[3])
    return key, State._make((_VERDICTS[row[4]], *row[5:16], row[16] == 1))
