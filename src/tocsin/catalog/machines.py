"""Machines: how each stands, what it is judged by, and what people change about it. They register by themselves."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from sqlalchemy import Connection

from tocsin.catalog.errors import FieldError, Invalid, NotFound, field_errors
from tocsin.catalog.fields import all_of, validated
from tocsin.catalog.words import Name, Tag, Tags
from tocsin.core import bands as core_bands
from tocsin.core.bands import BandError
from tocsin.core.decide import State, Transition, Verdict
from tocsin.core.machine import Summary, merged
from tocsin.core.outcome import HEADLINE, StateKey, Subject
from tocsin.core.samples import MACHINE, Series
from tocsin.core.spark import last_minutes
from tocsin.lib.expressions import fit_text
from tocsin.pipeline import Pipeline
from tocsin.store import access as store_access
from tocsin.store import machines as store_machines
from tocsin.store import samples as store_samples
from tocsin.store import states as store_states
from tocsin.store.access import KeyBrief
from tocsin.store.machines import MachineRow, Newest

NOTHING_YET: Final = "nothing received yet"
NOT_JUDGED: Final = "not judged"
"""The reason of a verdict that is unknown because its rule was switched off."""
REMOVED: Final = "removed"
USUAL: Final = core_bands.in_force((), every_ms=0).as_json() | {core_bands.REPORTING: {"silent_after_s": None}}
"""What a machine is judged by of which nobody said anything else."""


def no_machine(machine_id: int) -> NotFound:
    return NotFound(f"There is no machine {machine_id}.")


def get(conn: Connection, machine_id: int) -> MachineRow:
    row = store_machines.get(conn, machine_id)
    if row is None:
        raise no_machine(machine_id)
    return row


# ── how they stand ────────────────────────────────────────────────────────────────────────────────────


class RuleStanding(NamedTuple):
    rule: str
    verdict: Verdict
    since_ms: int
    reason: str


class Standing(NamedTuple):
    """How a machine stands. ``last_seen_ms`` is the time of its newest sample, None before the first; ``rules`` are
    those it is judged by, worst first."""

    id: int
    name: str
    verdict: Verdict
    since_ms: int
    reason: str
    last_seen_ms: int | None
    current: Summary
    rules: Sequence[RuleStanding]


class Machine(NamedTuple):
    row: MachineRow
    judging: Judging
    standing: Standing
    newest: Sequence[Newest]


_RANKS: Final = {Verdict.DOWN: 0, Verdict.DEGRADED: 1, Verdict.UNKNOWN: 2, Verdict.UP: 3}


def headline(
    *,
    machine_id: int,
    name: str,
    created_ms: int,
    states: Mapping[str, State],
    judged: Collection[str],
    newest: Sequence[Newest],
) -> Standing:
    """The worst of the rules that are judged. It is so since the first of the rules that are, and up since the last;
    the reason is that of all of them. What is up needs none."""
    rules = [
        RuleStanding(
            rule,
            state.verdict,
            state.since_ms or created_ms,
            "" if state.verdict is Verdict.UP else state.reason,
        )
        for rule in core_bands.RULES
        if rule in judged and (state := states.get(rule)) is not None
    ]
    rules.sort(key=lambda one: _RANKS[one.verdict])
    verdict, since_ms, reason = Verdict.UNKNOWN, created_ms, NOTHING_YET
    if rules:
        verdict = rules[0].verdict
        worst = [one for one in rules if one.verdict is verdict]
        since_ms = (max if verdict is Verdict.UP else min)(one.since_ms for one in worst)
        reason = "; ".join(dict.fromkeys(one.reason for one in worst if one.reason))
    return Standing(
        machine_id,
        name,
        verdict,
        since_ms,
        reason,
        # A clock that is ahead has nothing to tell us from the future.
        max((min(one.at_ms, one.received_ms) for one in newest), default=None),
        merged((one.at_ms, one.summary) for one in newest),
        tuple(rules),
    )


def described(conn: Connection, rows: Sequence[MachineRow]) -> list[Machine]:
    """Machines with how they stand, in the order given. Three statements, however many there are."""
    ids = [row.id for row in rows]
    judge = Judge(store_machines.tag_bands(conn))
    states = states_of(conn, ids)
    newest: dict[int, list[Newest]] = {number: [] for number in ids}
    for one in store_machines.newest(conn, ids):
        newest[one.machine_id].append(one)
    found = []
    for row in rows:
        judging = judge.of(row)
        standing = headline(
            machine_id=row.id,
            name=row.name,
            created_ms=row.created_ms,
            states=states.get(row.id, {}),
            judged=judging.rules,
            newest=newest[row.id],
        )
        found.append(Machine(row, judging, standing, newest[row.id]))
    return found


def describe(conn: Connection, machine_id: int) -> Machine:
    return described(conn, [get(conn, machine_id)])[0]


def states_of(conn: Connection, machine_ids: Collection[int] | None = None) -> dict[int, dict[str, State]]:
    """By machine and rule; None: of all."""
    found: dict[int, dict[str, State]] = {}
    for key, state in store_states.of_kind(conn, MACHINE, machine_ids):
        if key.location_id == HEADLINE:
            found.setdefault(key.subject.id, {})[key.rule] = state
    return found


class Overall(NamedTuple):
    counts: Mapping[str, int]
    """How many machines have each verdict."""
    worst: Sequence[Standing]
    """Down, then degraded; longest first. Without their numbers."""


def overall(conn: Connection, *, most: int) -> Overall:
    judge = Judge(store_machines.tag_bands(conn))
    states = states_of(conn)
    standings = [
        headline(
            machine_id=row.id,
            name=row.name,
            created_ms=row.created_ms,
            states=states.get(row.id, {}),
            judged=judge.of(row).rules,
            newest=(),
        )
        for row in store_machines.every(conn)
    ]
    tally = Counter(one.verdict for one in standings)
    troubled = [one for one in standings if one.verdict in (Verdict.DOWN, Verdict.DEGRADED)]
    worst = heapq.nsmallest(most, troubled, key=lambda one: (_RANKS[one.verdict], one.since_ms, one.id))
    return Overall({verdict.value: tally[verdict] for verdict in Verdict}, worst)


Position = tuple[str, int]
"""Where a page ended: the name, folded, and the id."""


def position(row: MachineRow) -> Position:
    return row.name.casefold(), row.id


def page(
    conn: Connection,
    *,
    text: str | None = None,
    tag: str | None = None,
    verdict: str | None = None,
    limit: int | None = None,
    after: Position | None = None,
) -> list[Machine]:
    """Those that fit, by name, beginning after ``after``. Reads all rows: they are few, and pages long."""
    rows = [row for row in store_machines.every(conn) if _fits(row, text, tag)]
    rows = sorted((row for row in rows if after is None or position(row) > after), key=position)
    if verdict is None:
        return described(conn, rows[:limit])
    return [one for one in described(conn, rows) if one.standing.verdict == verdict][:limit]


def _fits(row: MachineRow, text: str | None, tag: str | None) -> bool:
    if tag is not None and tag not in row.tags:
        return False
    if text is None:
        return True
    wanted = text.casefold()
    return any(wanted in word.casefold() for word in (row.name, row.uid, *row.tags, *row.facts.values()))


def find(conn: Connection, reference: str) -> MachineRow:
    """By its id, uid or name. ``Invalid`` where several have the name."""
    rows = store_machines.every(conn)
    for fits in (
        lambda row: str(row.id) == reference,
        lambda row: row.uid == reference,
        lambda row: row.name == reference,
        lambda row: row.name.casefold() == reference.casefold(),
    ):
        found = [row for row in rows if fits(row)]
        if len(found) == 1:
            return found[0]
        if found:
            numbers = ", ".join(str(row.id) for row in found)
            raise Invalid(
                [FieldError("", f"Several machines are called {reference}: {numbers}. Give one of these ids.")]
            )
    raise NotFound(f"There is no machine {reference}.")


def spark(one: Machine, *, now_ms: int) -> list[float | None]:
    """``cpu`` of the last 30 minutes."""
    known = [newest for newest in one.newest if "spark" in newest.summary]
    latest = max(known, key=lambda newest: newest.at_ms, default=None)
    return last_minutes(None if latest is None else latest.summary["spark"], now_ms)


def series_of(conn: Connection, newest: Iterable[Newest]) -> list[Series]:
    """What a machine sends, each once."""
    layouts = store_samples.layouts(conn, {one.layout_id for one in newest})
    return list(dict.fromkeys(series for _, layout in sorted(layouts.items()) for series in layout))


# ── as they are told of ───────────────────────────────────────────────────────────────────────────────

Moment = Callable[[int], str]
"""How a time is written."""


def brief(standing: Standing, moment: Moment) -> dict[str, Any]:
    """How a machine stands, as lists and the live view say it."""
    seen_ms = standing.last_seen_ms
    return {
        "id": standing.id,
        "name": standing.name,
        "verdict": standing.verdict.value,
        "since": moment(standing.since_ms),
        "reason": standing.reason,
        "last_seen": None if seen_ms is None else moment(seen_ms),
        "current": standing.current._asdict(),
    }


def documents(conn: Connection, found: Sequence[Machine], moment: Moment) -> list[dict[str, Any]]:
    """All that is said of each in a list. One statement."""
    keys = store_access.briefs(conn, {one.row.key_id for one in found if one.row.key_id is not None})
    return [_document(one, keys.get(one.row.key_id or 0), moment) for one in found]


def _document(one: Machine, key: KeyBrief | None, moment: Moment) -> dict[str, Any]:
    row = one.row
    return brief(one.standing, moment) | {
        "uid": row.uid,
        "every_s": row.every_ms / 1000,
        "clock_off_ms": row.clock_off_ms,
        "version": row.version,
        "tags": list(row.tags),
        "facts": dict(row.facts),
        "refused": row.refused,
        "key": None if key is None else key._asdict(),
        "bands": one.judging.bands,
        "own_bands": dict(row.bands),
        "rules": [
            {"rule": rule.rule, "verdict": rule.verdict.value, "since": moment(rule.since_ms), "reason": rule.reason}
            for rule in one.standing.rules
        ],
        "created_at": moment(row.created_ms),
    }


# ── what they are judged by ───────────────────────────────────────────────────────────────────────────


class Judging(NamedTuple):
    """What a machine is judged by: the bands in force, as JSON, and the rules that count."""

    bands: Mapping[str, Any]
    rules: frozenset[str]


class Judge:
    """Says by what each machine is judged. Most are judged alike, and what is the same is made once."""

    def __init__(self, tag_bands: Mapping[str, Mapping[str, Any]]) -> None:
        self._tag_bands = tag_bands
        self._known: dict[tuple[bytes, tuple[str, ...], int], Judging] = {}

    def of(self, row: MachineRow) -> Judging:
        own = msgspec.json.encode(row.bands)
        key = own, tuple(tag for tag in row.tags if tag in self._tag_bands), row.every_ms
        found = self._known.get(key)
        if found is None:
            layers = core_bands.layers_of(row.bands, row.tags, self._tag_bands)
            bands = core_bands.in_force(layers, every_ms=row.every_ms).as_json()
            rules = frozenset(rule for rule, band in bands.items() if band is not None)
            found = self._known[key] = Judging(bands, rules)
        return found


def put_tag_bands(
    conn: Connection, tag: str, given: Mapping[str, Any], *, pipeline: Pipeline, now_ms: int
) -> list[Transition]:
    """Judges every machine with the tag by these, where it has none of its own."""
    try:
        tag = _TAG.validate_python(tag)
    except ValidationError as error:
        raise Invalid([FieldError("tag", one.message) for one in field_errors(error)]) from None
    bands = _parsed(given, "")
    return _judged_anew(
        conn, lambda: store_machines.set_tag_bands(conn, tag, bands), pipeline=pipeline, now_ms=now_ms, tag=tag
    )


def delete_tag_bands(conn: Connection, tag: str, *, pipeline: Pipeline, now_ms: int) -> list[Transition]:
    if tag not in store_machines.tag_bands(conn):
        raise NotFound(f"There are no bands for machines with the tag {tag}.")
    return _judged_anew(
        conn, lambda: store_machines.set_tag_bands(conn, tag, None), pipeline=pipeline, now_ms=now_ms, tag=tag
    )


_TAG: Final[TypeAdapter[str]] = TypeAdapter(Tag)


def _judged_anew(
    conn: Connection, change: Callable[[], None], *, pipeline: Pipeline, now_ms: int, tag: str
) -> list[Transition]:
    rows = [row for row in store_machines.every(conn) if tag in row.tags]
    before = Judge(store_machines.tag_bands(conn))
    change()
    after = Judge(store_machines.tag_bands(conn))
    store_machines.touch(conn, [row.id for row in rows], now_ms)
    turned = [(row.id, before.of(row).rules, after.of(row).rules) for row in rows]
    return _turned(conn, turned, pipeline)


def _turned(
    conn: Connection, machines: Iterable[tuple[int, frozenset[str], frozenset[str]]], pipeline: Pipeline
) -> list[Transition]:
    """By which rules each machine was judged and is: a rule that is switched off is unknown and deaf, one that is
    switched on is unknown until the next sample."""
    off: list[StateKey] = []
    on: list[StateKey] = []
    for machine_id, before, after in machines:
        off += [_key(machine_id, rule) for rule in before - after]
        on += [_key(machine_id, rule) for rule in after - before]
    known = {key for key, _ in store_states.of_kind(conn, MACHINE, {key.subject.id for key in (*off, *on)})}
    # All are taken first, in the order in which everybody takes them.
    store_states.read_many(conn, sorted({*off, *(key for key in on if key in known)}))
    changes = pipeline.hold(conn, sorted(off), NOT_JUDGED)
    pipeline.release(conn, sorted(key for key in on if key in known))
    return changes


def _key(machine_id: int, rule: str) -> StateKey:
    return StateKey(Subject(MACHINE, machine_id), rule, HEADLINE)


# ── changes ───────────────────────────────────────────────────────────────────────────────────────────


class MachineFields(BaseModel):
    """What people may say of a machine, beside its bands."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name = ""
    tags: Tags = []


def change(
    conn: Connection, machine_id: int, given: Mapping[str, Any], *, pipeline: Pipeline, now_ms: int
) -> list[Transition]:
    """Its name, its tags or its bands, as ``given`` names them. Yields what changed, for ``Pipeline.ring``."""
    row = get(conn, machine_id)
    fields, bands = _checked(given)
    judge = Judge(store_machines.tag_bands(conn))
    changed = store_machines.change(
        conn,
        machine_id,
        name=fields.name if "name" in fields.model_fields_set else None,
        tags=fields.tags if "tags" in fields.model_fields_set else None,
        bands=bands,
        now_ms=now_ms,
    )
    if changed is None:
        raise no_machine(machine_id)
    return _turned(conn, [(machine_id, judge.of(row).rules, judge.of(changed).rules)], pipeline)


def _checked(given: Mapping[str, Any]) -> tuple[MachineFields, dict[str, Any] | None]:
    """Raises ``Invalid`` with everything that is wrong."""
    wrong: list[FieldError] = []
    fields, bands = MachineFields(), None
    try:
        fields = validated(MachineFields, {name: value for name, value in given.items() if name != "bands"})
    except Invalid as error:
        wrong += error.errors
    if "bands" in given:
        try:
            bands = _parsed(given["bands"], "bands")
        except Invalid as error:
            wrong += error.errors
    all_of(wrong)
    return fields, bands


def _parsed(given: object, field: str) -> dict[str, Any]:
    try:
        return core_bands.parse(given, field=field)
    except BandError as error:
        raise Invalid([FieldError(fit_text(error.field.removeprefix(".")), fit_text(error.reason))]) from None


def delete(conn: Connection, machine_id: int, *, pipeline: Pipeline, now_ms: int) -> list[Transition]:
    """Gone from every list at once, and deaf to samples still under way; the keeper removes its history."""
    if not store_machines.delete(conn, machine_id, now_ms):
        raise no_machine(machine_id)
    return pipeline.hold(conn, [_key(machine_id, rule) for rule in core_bands.RULES], REMOVED)
