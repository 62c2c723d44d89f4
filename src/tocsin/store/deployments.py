"""Deployments at rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, exists, func, literal, or_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from tocsin.core.deployment import About, Deployment, Status
from tocsin.store import tables
from tocsin.store.targets import elements

D = tables.deployments.c

LONGEST_MS: Final = 7 * 86_400_000
"""One that took longer is found by when it began, and no more by when it ended."""
LONGEST_RUNNING_MS: Final = 86_400_000
"""One whose end nobody has told for longer is not under way any more, as far as anybody knows."""

_COLUMNS: Final = (
    D.id,
    D.source,
    D.outside_id,
    D.status,
    D.started_ms,
    D.finished_ms,
    D.service,
    D.environment,
    D.version,
    D.description,
    D.by,
    D.url,
    D.target_names,
    D.machine_names,
    D.tags,
)

Position = tuple[int, int]
"""The (started_ms, id) of the last row of the previous page."""


class Key(NamedTuple):
    """Who told of it, and what it is called there."""

    source: str
    outside_id: str


class DeploymentRow(NamedTuple):
    id: int
    key: Key
    deployment: Deployment


class Concerning(NamedTuple):
    """Something that deployments concern: by which of the names, and the tags it carries."""

    names: ColumnElement[Any]
    name: str
    tags: Sequence[str]

    @staticmethod
    def target(name: str, tags: Sequence[str]) -> Concerning:
        return Concerning(D.target_names, name, tags)

    @staticmethod
    def machine(name: str, tags: Sequence[str]) -> Concerning:
        return Concerning(D.machine_names, name, tags)


def _row(found: Sequence[Any]) -> DeploymentRow:
    number, source, outside_id, status, started_ms, finished_ms, *words, targets, machines, tags = found
    about = About._make((*words, tuple(targets), tuple(machines), tuple(tags)))
    return DeploymentRow(number, Key(source, outside_id), Deployment(Status(status), started_ms, finished_ms, about))


def _values(one: Deployment) -> dict[str, object]:
    return {
        "status": one.status.value,
        "started_ms": one.started_ms,
        "finished_ms": one.finished_ms,
        **one.about._asdict(),
    }


def add(conn: Connection, key: Key, one: Deployment, *, at_ms: int) -> int | None:
    """Its number; None when it is there already, or somebody else was faster."""
    values = {**key._asdict(), **_values(one), "created_ms": at_ms, "updated_ms": at_ms}
    inserting = sqlite.insert if conn.dialect.name == "sqlite" else postgresql.insert
    adding = inserting(tables.deployments).values(values)
    unless_there = adding.on_conflict_do_nothing(index_elements=[D.source, D.outside_id])
    number: int | None = conn.execute(unless_there.returning(D.id)).scalar()
    return number


def get_for_change(conn: Connection, key: Key) -> DeploymentRow:
    """One that is there. Nobody else changes it until the transaction ends."""
    statement = select(*_COLUMNS).where(D.source == key.source, D.outside_id == key.outside_id).with_for_update()
    return _row(conn.execute(statement).one())


def change(conn: Connection, number: int, one: Deployment, *, at_ms: int) -> None:
    conn.execute(update(tables.deployments).where(D.id == number).values({**_values(one), "updated_ms": at_ms}))


def between(
    conn: Connection,
    *,
    from_ms: int,
    to_ms: int,
    limit: int,
    before: Position | None = None,
    concerning: Concerning | None = None,
) -> list[DeploymentRow]:
    """Those under way at some time of [from_ms, to_ms), the one begun last first."""
    conditions = [
        D.started_ms < to_ms,
        D.started_ms >= from_ms - LONGEST_MS,
        or_(
            D.started_ms >= from_ms,
            D.finished_ms >= from_ms,
            and_(D.finished_ms.is_(None), D.started_ms >= from_ms - LONGEST_RUNNING_MS),
        ),
    ]
    if before is not None:
        conditions.append(tuple_(D.started_ms, D.id) < before)
    if concerning is not None:
        conditions.append(_concerns(conn, concerning))
    statement = select(*_COLUMNS).where(*conditions).order_by(D.started_ms.desc(), D.id.desc()).limit(limit)
    return [_row(found) for found in conn.execute(statement)]


def _concerns(conn: Connection, one: Concerning) -> ColumnElement[bool]:
    name, tag = elements(conn, one.names), elements(conn, D.tags)
    return or_(
        and_(*(func.json_array_length(names) == 0 for names in (D.target_names, D.machine_names, D.tags))),
        exists(select(literal(1)).select_from(name).where(name.c.value == one.name)),
        exists(select(literal(1)).select_from(tag).where(tag.c.value.in_(one.tags))),
    )
