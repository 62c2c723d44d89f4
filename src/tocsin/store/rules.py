"""Rules at rest: who is told about which targets and machines. Knows no channel but by number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from tocsin.core.alerting import Event, Rule
from tocsin.store import tables

R = tables.rules.c


class StoredRule(NamedTuple):
    rule: Rule
    created_ms: int
    updated_ms: int


_COLUMNS = (
    R.id,
    R.name,
    R.enabled,
    R.is_default,
    R.target_ids,
    R.machine_ids,
    R.tags,
    R.events,
    R.channel_ids,
    R.reminder_s,
    R.created_ms,
    R.updated_ms,
)


def _stored(row: Sequence[Any]) -> StoredRule:
    number, name, enabled, is_default, target_ids, machine_ids, tags, events, channel_ids, reminder_s, *times = row
    rule = Rule(
        id=number,
        name=name,
        enabled=enabled,
        is_default=is_default,
        target_ids=tuple(target_ids),
        machine_ids=tuple(machine_ids),
        tags=tuple(tags),
        events=tuple(map(Event, events)),
        channel_ids=tuple(channel_ids),
        reminder_s=reminder_s,
    )
    return StoredRule(rule, *times)


def _values(rule: Rule) -> dict[str, object]:
    return {
        "name": rule.name,
        "enabled": rule.enabled,
        "is_default": rule.is_default,
        "target_ids": list(rule.target_ids),
        "machine_ids": list(rule.machine_ids),
        "tags": list(rule.tags),
        "events": [event.value for event in rule.events],
        "channel_ids": list(rule.channel_ids),
        "reminder_s": rule.reminder_s,
    }


def insert_rule(conn: Connection, rule: Rule, *, at_ms: int) -> int | None:
    """The new rule's number (``rule.id`` is not looked at); None when its name is taken."""
    values = {**_values(rule), "created_ms": at_ms, "updated_ms": at_ms}
    try:
        with conn.begin_nested():
            number: int = conn.execute(insert(tables.rules).values(values).returning(R.id)).scalar_one()
    except IntegrityError:
        return None
    return number


def update_rule(conn: Connection, rule: Rule, *, at_ms: int) -> bool:
    """False when another rule has that name."""
    try:
        with conn.begin_nested():
            conn.execute(update(tables.rules).where(R.id == rule.id).values({**_values(rule), "updated_ms": at_ms}))
    except IntegrityError:
        return False
    return True


def delete_rule(conn: Connection, rule_id: int) -> bool:
    """False when there was no such rule."""
    return conn.execute(delete(tables.rules).where(R.id == rule_id)).rowcount == 1


def get(conn: Connection, rule_id: int) -> StoredRule | None:
    found = conn.execute(select(*_COLUMNS).where(R.id == rule_id)).one_or_none()
    return None if found is None else _stored(found)


def get_for_change(conn: Connection, rule_id: int) -> StoredRule | None:
    """The same, and nobody else changes it until the transaction ends."""
    found = conn.execute(select(*_COLUMNS).where(R.id == rule_id).with_for_update()).one_or_none()
    return None if found is None else _stored(found)


def all_rules(conn: Connection) -> list[StoredRule]:
    """Every rule: the default one first, then by name."""
    return [_stored(row) for row in conn.execute(select(*_COLUMNS).order_by(R.is_default.desc(), R.name, R.id))]


def all_for_change(conn: Connection) -> list[StoredRule]:
    """Every rule by number; nobody else changes them until the transaction ends."""
    return [_stored(row) for row in conn.execute(select(*_COLUMNS).order_by(R.id).with_for_update())]
