"""Targets as people register them: one flat shape per kind of probe, checked in full before it is stored.

Knows no HTTP; the caller opens the transaction and, once it is committed, rings the bus ('targets').
"""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from sqlalchemy import Connection

from tocsin.catalog import runs
from tocsin.catalog.errors import FieldError, Invalid, NotFound
from tocsin.catalog.fields import (
    SendsSecrets,
    all_of,
    changed_whole,
    clear_secrets,
    flat_model,
    own_fields,
    secret_names,
    secrets_set,
    shown_fields,
    validated,
    with_kept_secrets,
)
from tocsin.catalog.words import Name, Tags, not_empty, one_line, plain_text, unique
from tocsin.core.decide import Policy, Quorum, Transition
from tocsin.core.heartbeat import due_ms as next_call_ms
from tocsin.core.outcome import CERTIFICATE, HEADLINE, REACHABLE, Result, StateKey, Subject
from tocsin.core.schedule import Schedule, next_due_ms
from tocsin.core.schedule import describe as describe_schedule
from tocsin.core.target import CERTIFICATE_POLICY, TARGET, Target
from tocsin.lib.expressions import ExpressionError, compile_condition
from tocsin.lib.log import get_logger
from tocsin.lib.vault import Vault, VaultError
from tocsin.pipeline import Pipeline
from tocsin.probes import PROBES
from tocsin.probes.base import ProbeKind
from tocsin.store import certificates as store_certificates
from tocsin.store import heartbeats as store_heartbeats
from tocsin.store import locations as store_locations
from tocsin.store import parents as store_parents
from tocsin.store import states as store_states
from tocsin.store import targets as store_targets
from tocsin.store.targets import FullTargetRow, TargetRow

log = get_logger("targets")

MAX_ASSERTIONS = 50
MAX_LOCATIONS = 50
MAX_PARENTS = 50
SHORTEST_INTERVAL_S = 1
LONGEST_INTERVAL_S = 86_400
DEFAULT_INTERVAL_S = 60.0
DEFAULT_TIMEOUT_S = 10.0
DEFAULT_RECHECK_S = 5.0
PAUSED = "paused"
"""The reason of a verdict that is unknown because the target is paused."""
LEFT_OUT = "not checked from here"
"""The reason of a location's verdict that is unknown because the target is no longer checked from there."""


def _without_slash(text: str) -> str:
    if "/" in text:
        raise ValueError("must not hold a slash")
    return text


def _quorum(value: object, handle: ValidatorFunctionWrapHandler) -> Quorum:
    """One sentence for all that it might have been."""
    try:
        found: Quorum = handle(value)
        return found
    except ValidationError:
        raise ValueError(f"must be any, majority, all, or a number from 1 to {MAX_LOCATIONS}") from None


LocationName = Annotated[
    str,
    Field(min_length=1, max_length=60),
    AfterValidator(one_line),
    AfterValidator(not_empty),
    AfterValidator(_without_slash),
]
Threshold = Annotated[int, Field(ge=1, le=10)]
TargetId = Annotated[int, Field(ge=1, le=2**53)]
QuorumField = Annotated[
    Literal["any", "majority", "all"] | Annotated[int, Field(ge=1, le=MAX_LOCATIONS)], WrapValidator(_quorum)
]


class TargetFields(BaseModel):
    """The fields every kind of target has."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)

    name: Name = Field(description="What people call it.", examples=["shop"])
    description: Annotated[str, Field(max_length=2000), AfterValidator(plain_text)] = Field(
        "", description="Anything worth knowing at 03:12. Plain text."
    )
    enabled: bool = Field(True, description="False: paused. Nothing is probed; history is kept.")
    interval_s: float = Field(
        DEFAULT_INTERVAL_S,
        ge=SHORTEST_INTERVAL_S,
        le=LONGEST_INTERVAL_S,
        allow_inf_nan=False,
        description="How often it is checked.",
    )
    timeout_s: float = Field(
        DEFAULT_TIMEOUT_S,
        ge=0.1,
        le=300,
        allow_inf_nan=False,
        description="How long one check may take; at most the interval. Left out: 10, or the interval if shorter.",
    )
    recheck_s: float = Field(
        DEFAULT_RECHECK_S,
        ge=SHORTEST_INTERVAL_S,
        le=LONGEST_INTERVAL_S,
        allow_inf_nan=False,
        description="How soon to look again after a first failure; at most the interval, and equal to it to switch "
        "this off. Left out: 5, or the interval if shorter.",
    )
    tags: Tags = Field(default_factory=list, description="Free labels, to filter by and to choose who is told.")
    group: Annotated[str, Field(max_length=100), AfterValidator(one_line)] = Field(
        "", description="The one heading it is listed under; empty: none."
    )
    assertions: list[str] = Field(
        default_factory=list,
        alias="assert",
        max_length=MAX_ASSERTIONS,
        description="CEL expressions that must all hold. Empty: the kind's default.",
        examples=[["status == 200", "latency_ms < 800"]],
    )
    failures_to_down: Threshold = Field(2, description="Failures in a row before it counts as down.")
    passes_to_up: Threshold = Field(1, description="Passes in a row before it counts as up again.")
    warnings_to_degraded: Threshold = Field(2, description="Slow passes in a row before it counts as degraded.")
    degraded_above_ms: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="A pass slower than this is a warning; null: never."
    )
    certificate_warning_days: int | None = Field(
        14, ge=1, le=365, description="Warn this long before a certificate expires; null: never."
    )
    depends_on: Annotated[list[TargetId], Field(max_length=MAX_PARENTS)] = Field(
        default_factory=list,
        description="Targets it cannot be up without. While one of them is down, it is down because of that one, and "
        "nobody is told of it.",
    )


class ProbedFields(TargetFields):
    """The fields every kind of target has that somebody probes."""

    locations: Annotated[list[LocationName], Field(max_length=MAX_LOCATIONS), AfterValidator(unique)] = Field(
        default_factory=list,
        description="Where it is checked from, by name. Empty: from every location. A name that is new is made.",
        examples=[["fra", "nyc"]],
    )
    quorum: QuorumField = Field(
        "majority",
        description="How many of the locations that measure it must find it down before it is down: `any` (one), "
        "`majority` (more than half), `all`, or a number. The same for degraded.",
    )


PROBED: Final = tuple(kind for kind, probe in PROBES.items() if probe.probe is not None)
"""The kinds that are checked from locations."""


def _is_probed(kind: str) -> bool:
    return kind in PROBED


def _common_fields(kind: str) -> type[TargetFields]:
    return ProbedFields if _is_probed(kind) else TargetFields


WRITE_MODELS: dict[str, type[TargetFields]] = {
    kind: flat_model(f"{kind.capitalize()}TargetWrite", _common_fields(kind), probe.settings, kind)
    for kind, probe in PROBES.items()
}
"""What may be sent for each kind of target."""


def _settings(kind: str) -> type[BaseModel]:
    """The model of the kind's own fields."""
    settings: type[BaseModel] = PROBES[kind].settings
    return settings


# Made from a table, which a type checker cannot follow.
TargetWrite: Any = Annotated[Union[tuple(WRITE_MODELS.values())], Field(discriminator="kind")]  # noqa: UP007


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────


class Ties(NamedTuple):
    """What a target has to do with others, as people write it."""

    locations: Sequence[str] = ()
    depends_on: Sequence[int] = ()


def ties(conn: Connection, rows: Collection[TargetRow]) -> dict[int, Ties]:
    """Of each of these targets. Two statements, however many there are."""
    names = store_locations.names(conn)
    above = store_parents.parents_of(conn, [row.id for row in rows])
    return {
        row.id: Ties([names[number] for number in row.location_ids if number in names], above[row.id]) for row in rows
    }


def describe(row: TargetRow, tied: Ties) -> dict[str, Any]:
    """A target as people write it, with what only the system gives it; secrets are null, and named in
    ``secrets_set``. Times and states are not here."""
    settings = _settings(row.kind)
    return {
        "id": row.id,
        "name": row.name,
        "slug": row.slug,
        "kind": row.kind,
        "description": row.description,
        "enabled": row.enabled,
        "interval_s": _seconds(row.interval_ms),
        "timeout_s": _seconds(row.timeout_ms),
        "recheck_s": _seconds(row.recheck_ms),
        "tags": list(row.tags),
        "group": row.group_name,
        "assert": list(row.assertions),
        "failures_to_down": row.failures_to_down,
        "passes_to_up": row.passes_to_up,
        "warnings_to_degraded": row.warnings_to_degraded,
        "degraded_above_ms": row.degraded_above_ms,
        "certificate_warning_days": row.certificate_warning_days,
        "locations": list(tied.locations),
        "quorum": store_targets.quorum_of(row.quorum) if _is_probed(row.kind) else None,
        "depends_on": list(tied.depends_on),
        **dict.fromkeys(secret_names(settings)),
        **_own(row),
        "secrets_set": secrets_set(settings, row.settings),
        "endpoint": row.endpoint,
    }


def document(row: FullTargetRow, tied: Ties, vault: Vault) -> dict[str, Any]:
    """What would have to be sent to make this very target, secrets in clear."""
    return _without_secrets(row, tied) | clear_secrets(row, vault)


def _without_secrets(row: TargetRow, tied: Ties) -> dict[str, Any]:
    shown = describe(row, tied)
    common = (field.alias or name for name, field in _common_fields(row.kind).model_fields.items())
    return {name: shown[name] for name in ("kind", *common)} | _own(row)


def _own(row: TargetRow) -> dict[str, Any]:
    """The kind's own fields but its secrets."""
    return shown_fields(_settings(row.kind), row.settings)


def _seconds(duration_ms: int) -> float | int:
    whole, rest = divmod(duration_ms, 1000)
    return duration_ms / 1000 if rest else whole


def reason_unchecked(enabled: bool) -> str:
    """Why the verdict of a target without a state is unknown."""
    return "not checked yet" if enabled else PAUSED


def get(conn: Connection, target_id: int) -> FullTargetRow:
    row = store_targets.get(conn, target_id)
    if row is None:
        raise no_target(target_id)
    return row


def no_target(target_id: int) -> NotFound:
    return NotFound(f"There is no target {target_id}.")


# ── checking ──────────────────────────────────────────────────────────────────────────────────────────


class Checked(NamedTuple):
    """A target that may be stored, or probed once."""

    kind: str
    fields: TargetFields
    settings: dict[str, Any]
    secrets: dict[str, str]
    endpoint: str

    @property
    def sender(self) -> SendsSecrets:
        """The kind's own settings: the flat model has everything that they have."""
        return cast(SendsSecrets, self.fields)


def check(given: Mapping[str, Any]) -> Checked:
    """``given`` as people write it, whole. Raises ``Invalid`` that names every field that is wrong."""
    kind = given.get("kind")
    if not isinstance(kind, str) or kind not in PROBES:
        message = "required" if kind is None else f"must be one of {', '.join(PROBES)}"
        raise Invalid([FieldError("kind", message)])
    # A secret that is null is one that is not given: what a reader saw can be sent as it is.
    whole = with_kept_secrets(_with_fitting_defaults(given), {}, secret_names(_settings(kind)))
    pointless = [] if _is_probed(kind) else sorted(_ONLY_PROBED & whole.keys())
    try:
        written = validated(WRITE_MODELS[kind], {name: whole[name] for name in whole if name not in pointless})
    except Invalid as refused:
        raise Invalid([*_of_no_use(kind, pointless), *refused.errors]) from None
    all_of(
        _of_no_use(kind, pointless),
        _timing(written),
        _conditions(PROBES[kind], written.assertions),
        _reachable(written),
    )
    plain, clear = own_fields(_settings(kind), written)
    # The flat model has everything that the kind's own has.
    return Checked(kind, written, plain, clear, PROBES[kind].endpoint(written))


_ONLY_PROBED: Final = ProbedFields.model_fields.keys() - TargetFields.model_fields.keys()


def _of_no_use(kind: str, names: Sequence[str]) -> list[FieldError]:
    return [FieldError(name, f"nobody probes a {kind}: its job calls in") for name in names]


def _with_fitting_defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    """What is left out fits the interval that was given."""
    interval_s = given.get("interval_s", DEFAULT_INTERVAL_S)
    if isinstance(interval_s, bool) or not isinstance(interval_s, int | float) or not interval_s >= SHORTEST_INTERVAL_S:
        return dict(given)
    fitting = {
        "timeout_s": min(DEFAULT_TIMEOUT_S, interval_s),
        "recheck_s": min(DEFAULT_RECHECK_S, interval_s),
    }
    return fitting | dict(given)


def _timing(written: TargetFields) -> list[FieldError]:
    limit = f"must not be longer than interval_s ({written.interval_s:g})"
    return [
        FieldError(name, limit) for name in ("timeout_s", "recheck_s") if getattr(written, name) > written.interval_s
    ]


def _reachable(written: TargetFields) -> list[FieldError]:
    """A quorum that the named locations can come to."""
    if isinstance(written, ProbedFields) and isinstance(written.quorum, int):
        number = len(written.locations)
        if 0 < number < written.quorum:
            named = "one location is" if number == 1 else f"{number} locations are"
            return [FieldError("quorum", f"must not be more than there are locations: {named} named")]
    return []


def _conditions(probe: ProbeKind[Any], assertions: Sequence[str]) -> list[FieldError]:
    wrong = []
    for number, source in enumerate(assertions):
        try:
            compile_condition(source, probe.variables)
        except ExpressionError as error:
            wrong.append(FieldError(f"assert.{number}", error.message, error.line, error.column))
    return wrong


def slug_of(name: str) -> str:
    """Lower-case ASCII letters, digits and single hyphens; ``target`` where nothing is left."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", ascii_name).strip("-")[:60].rstrip("-") or "target"


def _free_slug(conn: Connection, name: str) -> str:
    """The name's own, or with the first number that is free; where numbers in between were freed, with one that is.

    Found by doubling and halving: reading every slug that begins alike would make the thousandth target of a name slow.
    """
    stem = slug_of(name)
    numbers = [1 << power for power in range(_MOST_DOUBLINGS)]
    taken = store_targets.taken_slugs(conn, [_numbered(stem, number) for number in numbers])
    free = next(number for number in numbers if _numbered(stem, number) not in taken)
    last_taken = free // 2
    while free - last_taken > 1:
        middle = (last_taken + free) // 2
        if store_targets.taken_slugs(conn, [_numbered(stem, middle)]):
            last_taken = middle
        else:
            free = middle
    return _numbered(stem, free)


_MOST_DOUBLINGS: Final = 32


def _numbered(stem: str, number: int) -> str:
    return stem if number == 1 else f"{stem}-{number}"


# ── changing ──────────────────────────────────────────────────────────────────────────────────────────


class Done(NamedTuple):
    """A target as it now is, and the changes of verdict that came with it, for ``Pipeline.ring``."""

    row: FullTargetRow
    transitions: Sequence[Transition] = ()


def create(conn: Connection, given: Mapping[str, Any], *, vault: Vault, now_ms: int) -> FullTargetRow:
    checked = check(given)
    # Taken first: it makes us the only one who changes targets, so the free slug stays free.
    revision = store_targets.next_revision(conn)
    _check_parents(conn, None, checked.fields.depends_on)
    slug = _free_slug(conn, checked.fields.name)
    row = _row_of(
        checked,
        _sealed(checked, vault),
        location_ids=_location_ids(conn, checked.fields),
        slug=slug,
        created_ms=now_ms,
        now_ms=now_ms,
        revision=revision,
    )
    row = replace(row, id=store_targets.insert_target(conn, row))
    store_parents.set_parents(conn, row.id, checked.fields.depends_on)
    if PROBES[row.kind].schedule is not None:
        store_heartbeats.insert_token(conn, str(uuid.uuid4()), row.id)
    return row


def ensure_own(conn: Connection, vault: Vault, *, url: str, now_ms: int) -> FullTargetRow | None:
    """On a first start, Tocsin itself as the first target, so that there is something to see. None when there has
    been a target before, even one that was deleted since."""
    if store_targets.latest_revision(conn):
        return None
    own = {
        "name": "Tocsin",
        "kind": "http",
        "url": url,
        "interval_s": 20,
        "timeout_s": 5,
        "description": "This Tocsin's own health endpoint. Delete it when you no longer need an example.",
    }
    return create(conn, own, vault=vault, now_ms=now_ms)


def clone(conn: Connection, target_id: int, *, name: str | None, vault: Vault, now_ms: int) -> FullTargetRow:
    """A new target with the same settings, secrets, locations and parents and no history; a heartbeat gets an address
    of its own."""
    old = get(conn, target_id)
    copy = document(old, ties(conn, [old])[old.id], vault)
    copy["name"] = name if name is not None else f"{old.name[:190]} (copy)"
    return create(conn, copy, vault=vault, now_ms=now_ms)


def change(
    conn: Connection, target_id: int, given: Mapping[str, Any], *, vault: Vault, pipeline: Pipeline, now_ms: int
) -> Done:
    """Only what ``given`` names; secrets as in ``changed``."""
    revision = store_targets.next_revision(conn)
    old = get(conn, target_id)
    return _rewrite(conn, old, changed(conn, old, given, vault), vault, pipeline, now_ms=now_ms, revision=revision)


def put(
    conn: Connection, target_id: int, given: Mapping[str, Any], *, vault: Vault, pipeline: Pipeline, now_ms: int
) -> Done:
    """Everything anew: what is left out takes its default. Secrets as in ``changed``."""
    revision = store_targets.next_revision(conn)
    old = get(conn, target_id)
    anew = _becoming(old, {"kind": old.kind}, given, vault)
    return _rewrite(conn, old, anew, vault, pipeline, now_ms=now_ms, revision=revision)


def set_enabled(conn: Connection, target_id: int, enabled: bool, *, pipeline: Pipeline, now_ms: int) -> Done:
    """Pause or resume. Pausing keeps all history; the verdict is unknown until the first check after resuming."""
    revision = store_targets.next_revision(conn)
    old = get(conn, target_id)
    if old.enabled is enabled:
        return Done(old)
    row = replace(old, enabled=enabled, updated_ms=now_ms, revision=revision)
    store_targets.update_target(conn, row)
    return Done(row, _turned(conn, old, row, pipeline))


def delete(conn: Connection, target_id: int, *, pipeline: Pipeline, now_ms: int) -> Sequence[Transition]:
    """Gone from every list at once, and deaf to checks still under way; the keeper removes its history. Nothing depends
    on it any more."""
    revision = store_targets.next_revision(conn)
    if not store_targets.mark_deleted(conn, target_id, at_ms=now_ms, revision=revision):
        raise no_target(target_id)
    return pipeline.hold(conn, _every_key(conn, target_id), "deleted")


def changed(conn: Connection, old: FullTargetRow, given: Mapping[str, Any], vault: Vault) -> Checked:
    """What ``old`` becomes with the changes ``given``, as in ``fields.changed_whole``; nothing is stored."""
    return _becoming(old, _without_secrets(old, ties(conn, [old])[old.id]), given, vault)


def _becoming(old: FullTargetRow, base: Mapping[str, Any], given: Mapping[str, Any], vault: Vault) -> Checked:
    return changed_whole(old, base, given, settings=_settings(old.kind), check=check, vault=vault)


def _rewrite(
    conn: Connection,
    old: FullTargetRow,
    checked: Checked,
    vault: Vault,
    pipeline: Pipeline,
    *,
    now_ms: int,
    revision: int,
) -> Done:
    _check_parents(conn, old.id, checked.fields.depends_on)
    row = _row_of(
        checked,
        _sealed(checked, vault),
        location_ids=_location_ids(conn, checked.fields),
        slug=old.slug,
        created_ms=old.created_ms,
        now_ms=now_ms,
        revision=revision,
    )
    row = replace(row, id=old.id)
    store_targets.update_target(conn, row)
    store_parents.set_parents(conn, row.id, checked.fields.depends_on)
    store_states.read_many(conn, _known_keys(conn, row.id))  # all in the one order, before some are changed
    transitions = [*_turned(conn, old, row, pipeline)]
    if row.settings != old.settings:
        _expect_anew(conn, row, now_ms)
    if row.endpoint != old.endpoint or row.certificate_warning_days is None:
        transitions += _forget_certificates(conn, row, pipeline)
    return Done(row, transitions)


def _check_parents(conn: Connection, target_id: int | None, parent_ids: Sequence[int]) -> None:
    """Whether a target (None: a new one) may depend on these. Raises ``Invalid`` that names each that is wrong."""
    if not parent_ids:
        return
    live = {row.id: row.name for row in store_targets.get_many(conn, parent_ids)}
    unknown = [
        FieldError(f"depends_on.{number}", f"there is no target {parent_id}")
        for number, parent_id in enumerate(parent_ids)
        if parent_id not in live
    ]
    all_of(unknown)
    culprit = None if target_id is None else store_parents.would_circle(conn, target_id, parent_ids)
    if culprit is not None:
        why = (
            "a target cannot depend on itself"
            if culprit == target_id
            else f"{live[culprit]} depends on this target: they would go round in a circle"
        )
        raise Invalid([FieldError(f"depends_on.{parent_ids.index(culprit)}", why)])


def _location_ids(conn: Connection, fields: TargetFields) -> list[int]:
    """The numbers of the locations it names, in that order; those that are new are made."""
    named = fields.locations if isinstance(fields, ProbedFields) else []
    # Made in one order, so that two who name the same new ones do not wait for each other.
    numbers = {name: store_locations.ensure(conn, name) for name in sorted(named)}
    return [numbers[name] for name in named]


def _forget_certificates(conn: Connection, row: TargetRow, pipeline: Pipeline) -> Sequence[Transition]:
    """What was seen elsewhere, or is not looked at any more, says nothing about the target as it is now."""
    store_certificates.forget(conn, row.id)
    keys = [key for key in _known_keys(conn, row.id) if key.rule == CERTIFICATE]
    transitions = pipeline.hold(conn, keys, "the target was changed")
    if row.enabled:
        pipeline.release(conn, [key for key in keys if _counts(row, key)])
    return transitions


def _expect_anew(conn: Connection, row: TargetRow, now_ms: int) -> None:
    """A job is expected by its new schedule at once; what it would have missed of it until now does not count."""
    schedule = schedule_of(row)
    if schedule is None:
        return
    key = _headline(row.id)
    state = store_states.read_many(conn, [key])[key]
    if state.due_ms is None or state.held:
        return
    due_ms = next_call_ms(runs.remembered(conn, row.id, schedule), schedule)
    if due_ms is not None and due_ms <= now_ms:
        due_ms = next_due_ms(schedule, now_ms)
    store_states.write_many(conn, [(key, state._replace(due_ms=due_ms))])


def _turned(conn: Connection, old: TargetRow, row: TargetRow, pipeline: Pipeline) -> Sequence[Transition]:
    """Its states go with the switch, and with the locations that have a vote."""
    if not row.enabled:
        return pipeline.hold(conn, _every_key(conn, row.id), PAUSED) if old.enabled else ()
    if not old.enabled:
        pipeline.release(conn, [key for key in _known_keys(conn, row.id) if _counts(row, key)])
        return ()
    if (list(row.location_ids), row.quorum) != (list(old.location_ids), old.quorum):
        return _voting_anew(conn, old, row, pipeline)
    return ()


def _voting_anew(conn: Connection, old: TargetRow, row: TargetRow, pipeline: Pipeline) -> Sequence[Transition]:
    """Takes their vote from locations that are left out, so that they are deaf to what is still on its way from there,
    gives it to those that are there again, and counts."""
    known = _known_keys(conn, row.id)
    left_out = [key for key in _every_key(conn, row.id) if _counts(old, key) and not _counts(row, key)]
    there_again = [key for key in known if _counts(row, key) and not _counts(old, key)]
    # All of them are taken first, in the order in which everybody takes them.
    store_states.read_many(conn, [*left_out, *there_again])
    transitions = [*pipeline.hold(conn, left_out, LEFT_OUT)]
    pipeline.release(conn, there_again)
    store_certificates.forget(conn, row.id, [key.location_id for key in left_out])
    transitions += pipeline.recount(conn, {key.headline for key in known}, CERTIFICATE_POLICY.quorum)
    return transitions


def _counts(row: TargetRow, key: StateKey) -> bool:
    """Whether a state says something about the target: it is the headline's, or of a place it is checked from."""
    return key.location_id == HEADLINE or not row.location_ids or key.location_id in row.location_ids


def _known_keys(conn: Connection, target_id: int) -> list[StateKey]:
    return [key for key, _ in store_states.for_targets(conn, [target_id])]


def _every_key(conn: Connection, target_id: int) -> list[StateKey]:
    """Every state there is, the headline's, and one for every location even before its first check, so that checks
    under way find it held."""
    headline = _headline(target_id)
    places = [headline._replace(location_id=place) for place in store_locations.names(conn)]
    return list(dict.fromkeys([*places, headline, *_known_keys(conn, target_id)]))


def _headline(target_id: int) -> StateKey:
    return StateKey(Subject(TARGET, target_id), REACHABLE, HEADLINE)


def _sealed(checked: Checked, vault: Vault) -> bytes | None:
    return vault.seal(checked.secrets) if checked.secrets else None


def _row_of(
    checked: Checked,
    sealed: bytes | None,
    *,
    location_ids: Sequence[int] = (),
    slug: str = "",
    created_ms: int = 0,
    now_ms: int = 0,
    revision: int = 0,
) -> FullTargetRow:
    fields = checked.fields
    return FullTargetRow(
        name=fields.name,
        slug=slug,
        kind=checked.kind,
        description=fields.description,
        settings=checked.settings,
        secrets=sealed,
        endpoint=checked.endpoint,
        interval_ms=round(fields.interval_s * 1000),
        timeout_ms=round(fields.timeout_s * 1000),
        recheck_ms=round(fields.recheck_s * 1000),
        enabled=fields.enabled,
        tags=fields.tags,
        group_name=fields.group,
        assertions=fields.assertions,
        failures_to_down=fields.failures_to_down,
        passes_to_up=fields.passes_to_up,
        warnings_to_degraded=fields.warnings_to_degraded,
        degraded_above_ms=fields.degraded_above_ms,
        certificate_warning_days=fields.certificate_warning_days,
        location_ids=list(location_ids),
        quorum=str(fields.quorum) if isinstance(fields, ProbedFields) else _NO_QUORUM,
        created_ms=created_ms,
        updated_ms=now_ms,
        revision=revision,
    )


_NO_QUORUM: Final = "majority"
"""Stands in the column where nobody votes."""


# ── for whoever probes ────────────────────────────────────────────────────────────────────────────────


class Loaded(NamedTuple):
    """What changed since a revision; ``revision`` is where to ask from next. Not ``complete``: there is more."""

    changed: Sequence[Target]
    removed: Sequence[int]
    revision: int
    complete: bool = True


def load_targets(
    conn: Connection,
    vault: Vault,
    since_revision: int,
    *,
    shards: Collection[int] | None = None,
    location_id: int | None = None,
    limit: int | None = None,
) -> Loaded:
    """For workers: targets, paused ones too, that changed after ``since_revision`` (-1: all), oldest change first and
    at most ``limit`` of them. One that is gone, or is not (any more) probed from ``location_id``, is ``removed``.

    A target that this version or this key cannot read is logged and left as it was known before.
    """
    latest = store_targets.latest_revision(conn)
    if latest <= since_revision:
        return Loaded([], [], since_revision)
    changed: list[Target] = []
    removed: list[int] = []
    rows = store_targets.changed_since(conn, since_revision, shards=shards, limit=limit)
    for row in rows:
        elsewhere = location_id is not None and bool(row.location_ids) and location_id not in row.location_ids
        if row.deleted_ms is not None or elsewhere:
            removed.append(row.id)
            continue
        try:
            changed.append(to_core(row, vault))
        except (VaultError, ValueError) as error:
            log.error("a target cannot be read; edit it to repair it", target=row.name, reason=str(error))
    complete = limit is None or len(rows) < limit
    return Loaded(changed, removed, latest if complete else rows[-1].revision, complete)


def policies(conn: Connection, target_ids: Collection[int]) -> dict[int, Policy]:
    """How each of these targets that still exists is judged. Of one that cannot be read nothing is known."""
    found: dict[int, Policy] = {}
    for row in store_targets.get_many(conn, target_ids):
        try:
            found[row.id] = policy_of(row)
        except ValueError as error:
            log.error("a target cannot be read; edit it to repair it", target=row.name, reason=str(error))
            found[row.id] = Policy(silence_reason="its settings cannot be read by this version")
    return found


def policies_at(conn: Connection, location_id: int, target_ids: Collection[int]) -> dict[int, Policy]:
    """How those of these targets are judged that workers at this location probe; the others are left out."""
    found: dict[int, Policy] = {}
    for row in store_targets.get_many(conn, target_ids):
        probe = PROBES.get(row.kind)
        elsewhere = bool(row.location_ids) and location_id not in row.location_ids
        if probe is not None and probe.probe is not None and not elsewhere:
            found[row.id] = policy_of(row)
    return found


def to_core(row: FullTargetRow, vault: Vault) -> Target:
    """With secrets in clear: only ever in memory."""
    return _core(row, clear_secrets(row, vault))


def unsaved(checked: Checked) -> Target:
    """A target that is only tried out; its id is 0."""
    return _core(_row_of(checked, None), checked.secrets)


def _core(row: TargetRow, clear: Mapping[str, object]) -> Target:
    return Target(
        id=row.id,
        name=row.name,
        slug=row.slug,
        kind=row.kind,
        settings=dict(row.settings) | dict(clear),
        interval_ms=row.interval_ms,
        timeout_ms=row.timeout_ms,
        recheck_ms=row.recheck_ms,
        enabled=row.enabled,
        tags=tuple(row.tags),
        group=row.group_name,
        assertions=tuple(row.assertions),
        policy=policy_of(row),
        certificate_warning_days=row.certificate_warning_days,
        description=row.description,
        created_ms=row.created_ms,
        updated_ms=row.updated_ms,
        revision=row.revision,
    )


def policy_of(row: TargetRow) -> Policy:
    schedule = schedule_of(row)
    if schedule is None:
        return Policy(
            failures_to_down=row.failures_to_down,
            passes_to_up=row.passes_to_up,
            warnings_to_degraded=row.warnings_to_degraded,
            degraded_above_ms=row.degraded_above_ms,
            quorum=store_targets.quorum_of(row.quorum),
        )
    # Nobody looks twice: one call that fails, or one that does not come, settles it. The grace is in the schedule.
    return Policy(
        failures_to_down=1,
        passes_to_up=1,
        degraded_above_ms=row.degraded_above_ms,
        warnings_to_degraded=1,
        silence=Result.FAILED,
        silence_reason=f"no call in time; expected {describe_schedule(schedule)}",
    )


def schedule_of(row: TargetRow) -> Schedule | None:
    """When the job of a target that nobody probes must call in. ``ValueError`` for a row this version cannot read."""
    probe = PROBES.get(row.kind)
    if probe is None:
        raise ValueError(f"there is no kind {row.kind!r}")
    if probe.schedule is None:
        return None
    return probe.schedule(probe.settings.model_validate(dict(row.settings)))
