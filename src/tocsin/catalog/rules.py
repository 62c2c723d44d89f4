"""Rules as people write them: which events of which targets and machines are told on which channels.

Knows no HTTP; the caller opens the transaction and, once it is committed, rings the bus ('channels').
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from tocsin.catalog.errors import Conflict, FieldError, NotFound
from tocsin.catalog.fields import all_of, validated
from tocsin.catalog.words import Name, Tag, unique
from tocsin.core.alerting import DEFAULT_EVENTS, Event, Rule
from tocsin.core.outcome import Subject
from tocsin.core.samples import MACHINE
from tocsin.core.target import TARGET
from tocsin.store import channels as store_channels
from tocsin.store import notifications as store_notifications
from tocsin.store import rules as store_rules

DEFAULT_RULE_NAME = "Everything"
DEFAULT_REMINDER_S = 3600

EventName = Literal["down", "recovered", "degraded", "certificate"]
Number = Annotated[int, Field(ge=1, le=2**53)]


def _default_events() -> list[EventName]:
    return ["down", "recovered", "certificate"]


class RuleFields(BaseModel):
    """What may be sent for a rule."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name = Field(description="What people call it.", examples=["shop to on call"])
    enabled: bool = Field(True, description="False: it says nothing.")
    target_ids: Annotated[list[Number], Field(max_length=1000), AfterValidator(unique)] = Field(
        default_factory=list,
        description="Targets it is about. With `machine_ids` and `tags` empty, too: every target and every machine.",
    )
    machine_ids: Annotated[list[Number], Field(max_length=1000), AfterValidator(unique)] = Field(
        default_factory=list, description="Machines it is about."
    )
    tags: Annotated[list[Tag], Field(max_length=50), AfterValidator(unique)] = Field(
        default_factory=list, description="Targets and machines with any of these tags, besides those named."
    )
    events: Annotated[list[EventName], Field(min_length=1), AfterValidator(unique)] = Field(
        default_factory=_default_events, description="What it tells."
    )
    channel_ids: Annotated[list[Number], Field(max_length=100), AfterValidator(unique)] = Field(
        default_factory=list, description="Where it tells it. Empty only in the default rule: every channel."
    )
    reminder_s: int | None = Field(
        DEFAULT_REMINDER_S,
        ge=60,
        le=30 * 86_400,
        description="Tells again of what is still down after this long, and again; null: never.",
    )


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────


def get(conn: Connection, rule_id: int) -> Rule:
    stored = store_rules.get(conn, rule_id)
    if stored is None:
        raise no_rule(rule_id)
    return stored.rule


def no_rule(rule_id: int) -> NotFound:
    return NotFound(f"There is no rule {rule_id}.")


def describe(rule: Rule) -> dict[str, Any]:
    """A rule as people write it, with what only the system gives it."""
    return {"id": rule.id, "is_default": rule.is_default, **_document(rule)}


def _document(rule: Rule) -> dict[str, Any]:
    return {
        "name": rule.name,
        "enabled": rule.enabled,
        "target_ids": list(rule.target_ids),
        "machine_ids": list(rule.machine_ids),
        "tags": list(rule.tags),
        "events": [event.value for event in rule.events],
        "channel_ids": list(rule.channel_ids),
        "reminder_s": rule.reminder_s,
    }


# ── changing ──────────────────────────────────────────────────────────────────────────────────────────


def create(conn: Connection, given: Mapping[str, Any], *, now_ms: int) -> Rule:
    rule = _checked(conn, given, number=0, is_default=False)
    return _inserted(conn, rule, now_ms=now_ms)


def change(conn: Connection, rule_id: int, given: Mapping[str, Any], *, now_ms: int) -> Rule:
    """Only what ``given`` names."""
    old = _for_change(conn, rule_id)
    return _rewrite(conn, old, _document(old) | dict(given), now_ms=now_ms)


def put(conn: Connection, rule_id: int, given: Mapping[str, Any], *, now_ms: int) -> Rule:
    """Everything anew: what is left out takes its default."""
    return _rewrite(conn, _for_change(conn, rule_id), given, now_ms=now_ms)


def delete(conn: Connection, rule_id: int) -> None:
    """Gone. What it had to say already is still sent; the end of what it told of is not told any more."""
    old = _for_change(conn, rule_id)
    if old.is_default:
        raise Conflict("The default rule cannot be deleted; switch it off instead.")
    store_rules.delete_rule(conn, old.id)


def ensure_default_rule(conn: Connection, *, now_ms: int) -> None:
    """On a first start, a rule that tells everything that matters on every channel there will be."""
    if any(stored.rule.is_default for stored in store_rules.all_for_change(conn)):
        return
    rule = Rule(
        id=0,
        name=DEFAULT_RULE_NAME,
        enabled=True,
        is_default=True,
        target_ids=(),
        machine_ids=(),
        tags=(),
        events=DEFAULT_EVENTS,
        channel_ids=(),
        reminder_s=DEFAULT_REMINDER_S,
    )
    # Another process may have been first; then its rule is ours too.
    store_rules.insert_rule(conn, rule, at_ms=now_ms)


def _for_change(conn: Connection, rule_id: int) -> Rule:
    stored = store_rules.get_for_change(conn, rule_id)
    if stored is None:
        raise no_rule(rule_id)
    return stored.rule


def _inserted(conn: Connection, rule: Rule, *, now_ms: int) -> Rule:
    number = store_rules.insert_rule(conn, rule, at_ms=now_ms)
    if number is None:
        raise _name_taken(rule.name)
    return replace(rule, id=number)


def _rewrite(conn: Connection, old: Rule, whole: Mapping[str, Any], *, now_ms: int) -> Rule:
    rule = _checked(
        conn,
        whole,
        number=old.id,
        is_default=old.is_default,
        # What it names already may have been deleted since; that must not keep it from being changed.
        known_targets=old.target_ids,
        known_machines=old.machine_ids,
        known_channels=old.channel_ids,
    )
    if not store_rules.update_rule(conn, rule, at_ms=now_ms):
        raise _name_taken(rule.name)
    return rule


def _checked(
    conn: Connection,
    given: Mapping[str, Any],
    *,
    number: int,
    is_default: bool,
    known_targets: Collection[int] = (),
    known_machines: Collection[int] = (),
    known_channels: Collection[int] = (),
) -> Rule:
    written = validated(RuleFields, given)
    targets = {*known_targets, *_those_there_are(conn, TARGET, written.target_ids)}
    machines = {*known_machines, *_those_there_are(conn, MACHINE, written.machine_ids)}
    channels = {*known_channels, *(row.id for row in store_channels.all_channels(conn))}
    all_of(
        _missing("target_ids", "target", written.target_ids, targets),
        _missing("machine_ids", "machine", written.machine_ids, machines),
        _missing("channel_ids", "channel", written.channel_ids, channels),
        [] if is_default or written.channel_ids else [FieldError("channel_ids", "must name at least one channel")],
    )
    return Rule(
        id=number,
        name=written.name,
        enabled=written.enabled,
        is_default=is_default,
        target_ids=tuple(written.target_ids),
        machine_ids=tuple(written.machine_ids),
        tags=tuple(written.tags),
        events=tuple(map(Event, written.events)),
        channel_ids=tuple(written.channel_ids),
        reminder_s=written.reminder_s,
    )


def _those_there_are(conn: Connection, kind: str, numbers: Collection[int]) -> set[int]:
    return {subject.id for subject in store_notifications.labels(conn, [Subject(kind, one) for one in numbers])}


def _missing(field: str, what: str, wanted: list[int], there_are: Collection[int]) -> list[FieldError]:
    return [
        FieldError(f"{field}.{place}", f"there is no {what} {number}")
        for place, number in enumerate(wanted)
        if number not in there_are
    ]


def _name_taken(name: str) -> Conflict:
    return Conflict(f"There is already a rule named {name}.", [FieldError("name", "another rule has this name")])
