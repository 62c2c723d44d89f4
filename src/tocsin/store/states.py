"""What is held about every (subject, rule, location). Read and written by the pipeline, in batches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import Connection, and_, select
from sqlalchemy.dialects.postgresql import insert

from tocsin.core.decide import State, Verdict
from tocsin.core.outcome import StateKey, Subject
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
    for group in sorted(groups):
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
    statement = select(*_SELECTED).where(states.c.subject_kind == TARGET)
    if ids is not None:
        statement = statement.where(fast.among(conn, states.c.subject_id, ids))
    statement = statement.order_by(states.c.subject_id, states.c.rule, states.c.location_id)
    return [_item(row) for row in fast.fetch(conn, statement)]


def _read_group(
    conn: Connection, group: tuple[str, str, int], ids: Sequence[int], *, held: bool
) -> dict[StateKey, State]:
    kind, rule, location_id = group
    statement = (
        select(*_SELECTED)
        .where(
            and_(states.c.subject_kind == kind, states.c.rule == rule, states.c.location_id == location_id),
            fast.among(conn, states.c.subject_id, ids),
        )
        .order_by(states.c.subject_id)
    )
    if held:
        statement = statement.with_for_update()
    return dict(_item(row) for row in fast.fetch(conn, statement))


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
