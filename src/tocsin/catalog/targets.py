"""Targets as people register them: one flat shape per kind of probe, checked in full before it is stored.

Knows no HTTP; the caller opens the transaction and, once it is committed, rings the bus ('targets').
"""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import count
from typing import Annotated, Any, NamedTuple, Union, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import to_jsonable_python
from sqlalchemy import Connection

from tocsin.catalog import runs
from tocsin.catalog.errors import FieldError, Invalid, NotFound
from tocsin.catalog.fields import (
    SendsSecrets,
    all_of,
    diverted,
    flat_model,
    kept_secrets,
    own_fields,
    secret_names,
    secrets_set,
    validated,
    with_kept_secrets,
)
from tocsin.core.decide import Policy, Transition
from tocsin.core.heartbeat import due_ms as next_call_ms
from tocsin.core.outcome import CERTIFICATE, REACHABLE, Result, StateKey, Subject
from tocsin.core.schedule import Schedule, next_due_ms
from tocsin.core.schedule import describe as describe_schedule
from tocsin.core.target import TARGET, Target
from tocsin.lib.expressions import ExpressionError, compile_condition
from tocsin.lib.log import get_logger
from tocsin.lib.vault import Vault, VaultError
from tocsin.pipeline import Pipeline
from tocsin.probes import PROBES
from tocsin.probes.base import ProbeKind
from tocsin.store import certificates as store_certificates
from tocsin.store import heartbeats as store_heartbeats
from tocsin.store import states as store_states
from tocsin.store import targets as store_targets
from tocsin.store.targets import FullTargetRow, TargetRow

log = get_logger("targets")

MAX_TAGS = 50
MAX_ASSERTIONS = 50
SHORTEST_INTERVAL_S = 1
LONGEST_INTERVAL_S = 86_400
DEFAULT_INTERVAL_S = 60.0
DEFAULT_TIMEOUT_S = 10.0
DEFAULT_RECHECK_S = 5.0
PAUSED = "paused"
"""The reason of a verdict that is unknown because the target is paused."""


def _one_line(text: str) -> str:
    """No line breaks, no control characters, nothing that reorders text on screen."""
    text = text.strip()
    for character in text:
        if unicodedata.category(character) in ("Cc", "Zl", "Zp") or character in _REORDERING:
            raise ValueError(f"must not hold the character U+{ord(character):04X}")
    return text


def _plain_text(text: str) -> str:
    for character in text:
        if unicodedata.category(character) == "Cc" and character not in "\n\t\r":
            raise ValueError(f"must not hold the character U+{ord(character):04X}")
    return text.strip()


def _not_empty(text: str) -> str:
    if not text:
        raise ValueError("must not be empty")
    return text


def _unique(tags: list[str]) -> list[str]:
    return list(dict.fromkeys(tags))


# Bidirectional overrides and isolates: a name that shows differently from what it is.
_REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_one_line), AfterValidator(_not_empty)]
Tag = Annotated[str, Field(min_length=1, max_length=60), AfterValidator(_one_line), AfterValidator(_not_empty)]
Threshold = Annotated[int, Field(ge=1, le=10)]


class TargetFields(BaseModel):
    """The fields every kind of target has."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)

    name: Name = Field(description="What people call it.", examples=["shop"])
    description: Annotated[str, Field(max_length=2000), AfterValidator(_plain_text)] = Field(
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
    tags: Annotated[list[Tag], Field(max_length=MAX_TAGS), AfterValidator(_unique)] = Field(
        default_factory=list, description="Free labels, to filter by and to choose who is told."
    )
    group: Annotated[str, Field(max_length=100), AfterValidator(_one_line)] = Field(
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


WRITE_MODELS: dict[str, type[TargetFields]] = {
    kind: flat_model(f"{kind.capitalize()}TargetWrite", TargetFields, probe.settings, kind)
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


def describe(row: TargetRow) -> dict[str, Any]:
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
        **dict.fromkeys(secret_names(settings)),
        **_own(row),
        "secrets_set": secrets_set(settings, row.settings),
        "endpoint": row.endpoint,
    }


_WRITTEN_COMMON = tuple(field.alias or name for name, field in TargetFields.model_fields.items())


def document(row: FullTargetRow, vault: Vault) -> dict[str, Any]:
    """What would have to be sent to make this very target, secrets in clear."""
    return _without_secrets(row) | _clear_secrets(row, vault)


def _without_secrets(row: TargetRow) -> dict[str, Any]:
    common = describe(row)
    return {name: common[name] for name in ("kind", *_WRITTEN_COMMON)} | _own(row)


def _own(row: TargetRow) -> dict[str, Any]:
    """The kind's own fields but its secrets."""
    return {name: row.settings.get(name, default) for name, default in _defaults(row.kind).items()}


@cache
def _defaults(kind: str) -> dict[str, Any]:
    """The kind's own fields but its secrets, with what a target saved before a field existed has for it."""
    settings = _settings(kind)
    return {
        name: None if field.is_required() else to_jsonable_python(field.get_default(call_default_factory=True))
        for name, field in settings.model_fields.items()
        if name not in secret_names(settings)
    }


def _clear_secrets(row: FullTargetRow, vault: Vault) -> dict[str, object]:
    return vault.open(row.secrets) if row.secrets is not None else {}


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
    written = validated(WRITE_MODELS[kind], whole)
    all_of(_timing(written), _conditions(PROBES[kind], written.assertions))
    plain, clear = own_fields(_settings(kind), written)
    # The flat model has everything that the kind's own has.
    return Checked(kind, written, plain, clear, PROBES[kind].endpoint(written))


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
    stem = slug_of(name)
    taken = store_targets.slugs_beginning(conn, stem)
    if stem not in taken:
        return stem
    return next(slug for number in count(2) if (slug := f"{stem}-{number}") not in taken)


# ── changing ──────────────────────────────────────────────────────────────────────────────────────────


class Done(NamedTuple):
    """A target as it now is, and the changes of verdict that came with it, for ``Pipeline.ring``."""

    row: FullTargetRow
    transitions: Sequence[Transition] = ()


def create(conn: Connection, given: Mapping[str, Any], *, vault: Vault, now_ms: int) -> FullTargetRow:
    checked = check(given)
    # Taken first: it makes us the only one who changes targets, so the free slug stays free.
    revision = store_targets.next_revision(conn)
    slug = _free_slug(conn, checked.fields.name)
    sealed = _sealed(checked, vault)
    row = _row_of(checked, sealed, slug=slug, created_ms=now_ms, now_ms=now_ms, revision=revision)
    row = replace(row, id=store_targets.insert_target(conn, row))
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
    """A new target with the same settings and secrets and no history; a heartbeat gets an address of its own."""
    old = get(conn, target_id)
    copy = document(old, vault) | {"name": name if name is not None else f"{old.name[:190]} (copy)"}
    return create(conn, copy, vault=vault, now_ms=now_ms)


def change(
    conn: Connection, target_id: int, given: Mapping[str, Any], *, vault: Vault, pipeline: Pipeline, now_ms: int
) -> Done:
    """Only what ``given`` names; secrets as in ``changed``."""
    revision = store_targets.next_revision(conn)
    old = get(conn, target_id)
    return _rewrite(conn, old, changed(old, given, vault), vault, pipeline, now_ms=now_ms, revision=revision)


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
    """Gone from every list at once, and deaf to checks still under way; the keeper removes its history."""
    revision = store_targets.next_revision(conn)
    if not store_targets.mark_deleted(conn, target_id, at_ms=now_ms, revision=revision):
        raise no_target(target_id)
    return pipeline.hold(conn, _state_keys(conn, target_id), "deleted")


def changed(old: FullTargetRow, given: Mapping[str, Any], vault: Vault) -> Checked:
    """What ``old`` becomes with the changes ``given``; nothing is stored.

    A secret that is absent or null stays, "" clears it. One that would go to somebody it was not given for does not
    stay: ``Invalid`` names it. ``VaultError`` when one that stays cannot be read.
    """
    return _becoming(old, _without_secrets(old), given, vault)


def _becoming(old: FullTargetRow, base: Mapping[str, Any], given: Mapping[str, Any], vault: Vault) -> Checked:
    settings = _settings(old.kind)
    kept = kept_secrets(given, secrets_set(settings, old.settings))
    # Only opened for a secret that stays, so that whoever lost the key can give them all again.
    clear = _clear_secrets(old, vault) if kept else {}
    whole = {**base, **with_kept_secrets(given, clear, secret_names(settings))}
    if whole["kind"] != old.kind:
        raise Invalid([FieldError("kind", f"is {old.kind} for good; make a new target for another kind")])
    checked = check(whole)
    all_of(diverted(checked.sender, settings.model_construct(**_own(old)), kept))
    return checked


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
    sealed = _sealed(checked, vault)
    row = _row_of(checked, sealed, slug=old.slug, created_ms=old.created_ms, now_ms=now_ms, revision=revision)
    row = replace(row, id=old.id)
    store_targets.update_target(conn, row)
    transitions = [*_turned(conn, old, row, pipeline)]
    if row.settings != old.settings:
        _expect_anew(conn, row, now_ms)
    if row.endpoint != old.endpoint or row.certificate_warning_days is None:
        transitions += _forget_certificates(conn, row, pipeline)
    return Done(row, transitions)


def _forget_certificates(conn: Connection, row: TargetRow, pipeline: Pipeline) -> Sequence[Transition]:
    """What was seen elsewhere, or is not looked at any more, says nothing about the target as it is now."""
    store_certificates.forget(conn, row.id)
    keys = [key for key, _ in store_states.for_targets(conn, [row.id]) if key.rule == CERTIFICATE]
    transitions = pipeline.hold(conn, keys, "the target was changed")
    if row.enabled:
        pipeline.release(conn, keys)
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
    """Its states go with the switch."""
    if old.enabled and not row.enabled:
        return pipeline.hold(conn, _state_keys(conn, row.id), PAUSED)
    if row.enabled and not old.enabled:
        pipeline.release(conn, _state_keys(conn, row.id))
    return ()


def _state_keys(conn: Connection, target_id: int) -> list[StateKey]:
    """Every state there is, and the headline's even before the first check, so that checks under way find it held."""
    known = [key for key, _ in store_states.for_targets(conn, [target_id])]
    return list(dict.fromkeys([_headline(target_id), *known]))


def _headline(target_id: int) -> StateKey:
    return StateKey(Subject(TARGET, target_id), REACHABLE, store_targets.HEADLINE_LOCATION_ID)


def _sealed(checked: Checked, vault: Vault) -> bytes | None:
    return vault.seal(checked.secrets) if checked.secrets else None


def _row_of(
    checked: Checked, sealed: bytes | None, *, slug: str, created_ms: int, now_ms: int, revision: int
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
        created_ms=created_ms,
        updated_ms=now_ms,
        revision=revision,
    )


# ── for whoever probes ────────────────────────────────────────────────────────────────────────────────


class Loaded(NamedTuple):
    """What changed since a revision; ``revision`` is where to ask from next."""

    changed: Sequence[Target]
    removed: Sequence[int]
    revision: int


def load_targets(conn: Connection, vault: Vault, since_revision: int) -> Loaded:
    """For workers: every target, paused ones too, that changed after ``since_revision`` (0: all).

    A target that this version or this key cannot read is logged and left as it was known before.
    """
    changed: list[Target] = []
    removed: list[int] = []
    revision = since_revision
    for row in store_targets.changed_since(conn, since_revision):
        revision = max(revision, row.revision)
        if row.deleted_ms is not None:
            removed.append(row.id)
            continue
        try:
            changed.append(to_core(row, vault))
        except (VaultError, ValueError) as error:
            log.error("a target cannot be read; edit it to repair it", target=row.name, reason=str(error))
    return Loaded(changed, removed, revision)


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


def to_core(row: FullTargetRow, vault: Vault) -> Target:
    """With secrets in clear: only ever in memory."""
    return _core(row, _clear_secrets(row, vault))


def unsaved(checked: Checked) -> Target:
    """A target that is only tried out; its id is 0."""
    return _core(_row_of(checked, None, slug="", created_ms=0, now_ms=0, revision=0), checked.secrets)


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
