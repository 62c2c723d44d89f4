"""Between what Tocsin passes around inside and the messages of proto/tocsin/v1: one function each way.

Knows no network, no store and no clock. What comes from outside is refused here when it makes no sense, with the name
of the field.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from tocsin.core.decide import Policy, State, Verdict
from tocsin.core.outcome import CERTIFICATE, REACHABLE, Outcome, Result, StateKey, Subject
from tocsin.core.shards import SHARDS
from tocsin.core.target import TARGET, Target
from tocsin.home import Introduction, Lease, TargetChanges
from tocsin.lib.log import get_logger
from tocsin.pipeline import Entry, Settled
from tocsin.store.certificates import Chain
from tocsin.store.checks import CheckRow
from tocsin.v1 import probing_pb2 as pb

PUSHBACK: Final = "grpc-retry-pushback-ms"
"""In trailing metadata: how long the other side asks to be left alone."""
LARGEST_MESSAGE_BYTES: Final = 8 << 20
"""The most that either side takes in one message."""
MOST_ENTRIES: Final = 5000
LARGEST_EVIDENCE_BYTES: Final = 1 << 20
LONGEST_REASON: Final = 10_000
MOST_CERTIFICATES: Final = 100
AHEAD_MS: Final = 3_600_000
"""A result from further in the future than this was not dated by the installation's clock."""
OLDEST_MS: Final = 366 * 86_400_000
LONGEST_SILENCE_MS: Final = 366 * 86_400_000

_RULES: Final = (REACHABLE, CERTIFICATE)
_INT32: Final = 2**31 - 1
_INT63: Final = 2**63 - 1

_TO_RESULT: Final = {
    Result.FAILED: pb.RESULT_FAILED,
    Result.PASSED: pb.RESULT_PASSED,
    Result.WARNED: pb.RESULT_WARNED,
    Result.UNMEASURED: pb.RESULT_UNMEASURED,
}
_OF_RESULT: Final[dict[int, Result]] = {number: result for result, number in _TO_RESULT.items()}
_TO_VERDICT: Final = {
    Verdict.UP: pb.VERDICT_UP,
    Verdict.DEGRADED: pb.VERDICT_DEGRADED,
    Verdict.DOWN: pb.VERDICT_DOWN,
    Verdict.UNKNOWN: pb.VERDICT_UNKNOWN,
}
_OF_VERDICT: Final[dict[int, Verdict]] = {number: verdict for verdict, number in _TO_VERDICT.items()}

log = get_logger("wire")


class Unfit(Exception):
    """A message that makes no sense: which field, and what it must be."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field


# ── who ───────────────────────────────────────────────────────────────────────────────────────────────


def worker_message(me: Introduction) -> pb.Worker:
    return pb.Worker(
        id=me.id,
        life=me.life,
        location=me.location,
        name=me.name,
        version=me.version,
        clock_off_ms=me.clock_off_ms,
    )


def introduction_of(worker: pb.Worker) -> Introduction:
    """Whoever comes by this road is far away."""
    for name, longest in _WORKER_FIELDS.items():
        text = getattr(worker, name)
        if not 1 <= len(text) <= longest or not text.isprintable() or text != text.strip():
            raise Unfit(f"worker.{name}", f"must have 1 to {longest} printable characters and no space around them")
    return Introduction(worker.id, worker.life, worker.location, worker.name, worker.version, True, worker.clock_off_ms)


_WORKER_FIELDS: Final = {"id": 100, "life": 100, "location": 60, "name": 255, "version": 100}


# ── the lease ─────────────────────────────────────────────────────────────────────────────────────────


def lease_message(lease: Lease) -> pb.RenewResponse:
    return pb.RenewResponse(
        location_id=lease.location_id,
        epochs=lease.epochs,
        leaving=sorted(lease.leaving),
        now_ms=lease.now_ms,
        for_s=lease.for_s,
        since=lease.since,
    )


def lease_of(message: pb.RenewResponse) -> Lease:
    return Lease(
        message.location_id,
        dict(message.epochs),
        frozenset(message.leaving),
        message.now_ms,
        message.for_s,
        dict(message.since),
    )


def shards_of(field: str, numbers: Collection[int]) -> list[int]:
    if len(numbers) > SHARDS or any(number >= SHARDS for number in numbers):
        raise Unfit(field, f"must be at most {SHARDS} numbers below {SHARDS}")
    return sorted(numbers)


# ── targets ───────────────────────────────────────────────────────────────────────────────────────────


def load_messages(changes: TargetChanges, *, most_bytes: int = 1 << 20) -> Iterable[pb.LoadResponse]:
    """The changes in messages of about so many bytes each; the last one, and only that, carries the revision."""
    chunk, size = pb.LoadResponse(), 0
    for target in changes.targets:
        message = target_message(target)
        size += message.ByteSize()
        if size > most_bytes and chunk.targets:
            yield chunk
            chunk, size = pb.LoadResponse(), message.ByteSize()
        chunk.targets.append(message)
    chunk.removed.extend(changes.removed)
    chunk.revision, chunk.complete = changes.revision, changes.complete
    yield chunk


def changes_of(messages: Iterable[pb.LoadResponse]) -> TargetChanges | None:
    """None when they break off before the end. A target that this version cannot read counts as removed."""
    targets: list[Target] = []
    removed: list[int] = []
    for message in messages:
        for one in message.targets:
            try:
                targets.append(target_of(one))
            except Unfit as unfit:
                log.error("a target cannot be read and is not probed", target=one.name, reason=str(unfit))
                removed.append(one.id)
        removed += message.removed
        if message.HasField("revision"):
            return TargetChanges(targets, removed, message.revision, message.complete)
    return None


def target_message(target: Target) -> pb.Target:
    policy = target.policy
    return pb.Target(
        id=target.id,
        name=target.name,
        slug=target.slug,
        kind=target.kind,
        settings=msgspec.json.encode(target.settings),
        interval_ms=target.interval_ms,
        timeout_ms=target.timeout_ms,
        recheck_ms=target.recheck_ms,
        enabled=target.enabled,
        tags=target.tags,
        group=target.group,
        assertions=target.assertions,
        policy=pb.Policy(
            failures_to_down=policy.failures_to_down,
            passes_to_up=policy.passes_to_up,
            warnings_to_degraded=policy.warnings_to_degraded,
            degraded_above_ms=policy.degraded_above_ms,
        ),
        certificate_warning_days=target.certificate_warning_days,
        description=target.description,
        created_ms=target.created_ms,
        updated_ms=target.updated_ms,
        revision=target.revision,
    )


def target_of(message: pb.Target) -> Target:
    """Raises ``Unfit`` for settings that are no JSON object."""
    policy = message.policy
    return Target(
        id=message.id,
        name=message.name,
        slug=message.slug,
        kind=message.kind,
        settings=_object("settings", message.settings),
        interval_ms=message.interval_ms,
        timeout_ms=message.timeout_ms,
        recheck_ms=message.recheck_ms,
        enabled=message.enabled,
        tags=tuple(message.tags),
        group=message.group,
        assertions=tuple(message.assertions),
        policy=Policy(
            failures_to_down=policy.failures_to_down,
            passes_to_up=policy.passes_to_up,
            warnings_to_degraded=policy.warnings_to_degraded,
            degraded_above_ms=policy.degraded_above_ms if policy.HasField("degraded_above_ms") else None,
        ),
        certificate_warning_days=(
            message.certificate_warning_days if message.HasField("certificate_warning_days") else None
        ),
        description=message.description,
        created_ms=message.created_ms,
        updated_ms=message.updated_ms,
        revision=message.revision,
    )


# ── results ───────────────────────────────────────────────────────────────────────────────────────────


def entry_message(entry: Entry) -> pb.Entry:
    """What was seen; not the policy. Raises ``ValueError`` where outcome and row say different things."""
    outcome, check = entry.outcome, entry.check
    message = pb.Entry(
        target_id=outcome.key.subject.id,
        rule=outcome.key.rule,
        at_ms=outcome.at_ms,
        result=_TO_RESULT[outcome.result],
        latency_us=outcome.latency_us,
        reason=outcome.reason,
        next_due_ms=outcome.next_due_ms,
        epoch=entry.epoch,
        evidence=b"" if entry.evidence is None else msgspec.json.encode(entry.evidence),
    )
    if check is not None:
        if check != _row(outcome, check[3:8]):
            raise ValueError(f"{check} is not the check of {outcome}")
        message.check.CopyFrom(pb.Check(**dict(zip(_PHASES, check[3:8], strict=True))))
    if entry.chain is not None:
        chain = entry.chain
        message.chain.CopyFrom(
            pb.Chain(
                seen_ms=chain.seen_ms,
                expires_ms=chain.expires_ms,
                certificates=[pb.Certificate(**certificate) for certificate in chain.certificates],
            )
        )
    return message


def entries_of(
    messages: Sequence[pb.Entry], *, location_id: int, policy: Callable[[int, str], Policy | None], now_ms: int
) -> list[Entry]:
    """What a worker at this location saw, in the order it came. ``policy(target_id, rule)`` says how it is judged;
    None: that target is none of this location's, and what was seen of it is left out.

    ``now_ms`` is the installation's. Raises ``Unfit`` for the first that makes no sense.
    """
    if len(messages) > MOST_ENTRIES:
        raise Unfit("entries", f"must be at most {MOST_ENTRIES}")
    for number, message in enumerate(messages):
        try:
            _refuse_nonsense(message, now_ms)
        except Unfit as unfit:
            raise Unfit(f"entries[{number}].{unfit.field}", str(unfit).partition(": ")[2]) from None
    found: list[Entry] = []
    for message in messages:
        judged = policy(message.target_id, message.rule)
        if judged is not None:
            found.append(_entry(message, location_id, judged))
    return found


_PHASES: Final = ("dns_us", "connect_us", "tls_us", "first_byte_us", "transfer_us")


def _entry(message: pb.Entry, location_id: int, policy: Policy) -> Entry:
    key = StateKey(Subject(TARGET, message.target_id), message.rule, location_id)
    outcome = Outcome(
        key,
        message.at_ms,
        _OF_RESULT[message.result],
        _optional(message, "latency_us"),
        message.reason,
        _optional(message, "next_due_ms"),
    )
    check = chain = None
    if message.HasField("check"):
        check = _row(outcome, [_optional(message.check, name) for name in _PHASES])
    if message.HasField("chain"):
        seen = message.chain
        certificates = [{name: _plain(getattr(one, name)) for name in _CERTIFICATE_FIELDS} for one in seen.certificates]
        chain = Chain(message.target_id, location_id, seen.seen_ms, seen.expires_ms, certificates)
    evidence = _object("evidence", message.evidence) if message.evidence else None
    return Entry(outcome, policy, check, evidence, chain, message.epoch)


def _row(outcome: Outcome, phases: Sequence[int | None]) -> CheckRow:
    """The row of a check says what its outcome says, and the phases."""
    return CheckRow._make(
        (
            outcome.at_ms,
            outcome.key.subject.id,
            outcome.latency_us,
            *phases,
            outcome.key.location_id,
            int(outcome.result),
            outcome.reason or None,
        )
    )


_CERTIFICATE_FIELDS: Final = tuple(field.name for field in pb.Certificate.DESCRIPTOR.fields)


def _refuse_nonsense(message: pb.Entry, now_ms: int) -> None:
    _number("target_id", message.target_id, 1, _INT32)
    if message.rule not in _RULES:
        raise Unfit("rule", f"must be one of {', '.join(_RULES)}")
    if message.result not in _OF_RESULT:
        raise Unfit("result", "must be one of those known, and not unspecified")
    if not now_ms - OLDEST_MS <= message.at_ms <= now_ms + AHEAD_MS:
        raise Unfit("at_ms", "must be a time in the last year, by the clock that Renew tells")
    _number("latency_us", message.latency_us, 0, _INT32)
    _text("reason", message.reason, LONGEST_REASON)
    if message.HasField("next_due_ms"):
        _number("next_due_ms", message.next_due_ms, message.at_ms + 1, message.at_ms + LONGEST_SILENCE_MS)
    _number("epoch", message.epoch, 0, _INT63)
    for name in _PHASES:
        _number(f"check.{name}", getattr(message.check, name), 0, _INT32)
    if message.evidence:
        if not message.HasField("check"):
            raise Unfit("evidence", "must stand beside a check")
        if len(message.evidence) > LARGEST_EVIDENCE_BYTES:
            raise Unfit("evidence", f"must not be larger than {LARGEST_EVIDENCE_BYTES} bytes")
        _object("evidence", message.evidence)
    if message.HasField("chain"):
        _refuse_odd_chain(message.chain)


def _refuse_odd_chain(chain: pb.Chain) -> None:
    if not 1 <= len(chain.certificates) <= MOST_CERTIFICATES:
        raise Unfit("chain.certificates", f"must be 1 to {MOST_CERTIFICATES}")
    _number("chain.seen_ms", chain.seen_ms, 0, _INT63)
    _number("chain.expires_ms", chain.expires_ms, -_INT63, _INT63)
    for number, certificate in enumerate(chain.certificates):
        for name in _CERTIFICATE_FIELDS:
            value = getattr(certificate, name)
            for text in [value] if isinstance(value, str) else value:
                _text(f"chain.certificates[{number}].{name}", text, LONGEST_REASON)


# ── how states stand ──────────────────────────────────────────────────────────────────────────────────


def settled_message(settled: Settled) -> pb.Settled:
    key, state = settled
    values: dict[str, Any] = state._asdict() | {"verdict": _TO_VERDICT[state.verdict]}
    return pb.Settled(target_id=key.subject.id, rule=key.rule, state=pb.State(**values))


def settled_of(message: pb.Settled, *, location_id: int) -> Settled | None:
    """None for a verdict that this version does not know."""
    state = message.state
    verdict = _OF_VERDICT.get(state.verdict)
    if verdict is None:
        return None
    return Settled(
        StateKey(Subject(TARGET, message.target_id), message.rule, location_id),
        State(
            verdict,
            state.since_ms,
            state.reason,
            state.failures,
            state.passes,
            state.warnings,
            state.clean,
            state.run_since_ms,
            state.pace_since_ms,
            state.last_at_ms,
            _optional(state, "last_latency_us"),
            _optional(state, "due_ms"),
            state.held,
        ),
    )


# ── one field ─────────────────────────────────────────────────────────────────────────────────────────


def _optional(message: Any, name: str) -> int | None:
    return getattr(message, name) if message.HasField(name) else None


def _plain(value: Any) -> object:
    return value if isinstance(value, str) else list(value)


def _object(field: str, text: bytes) -> Mapping[str, object]:
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Unfit(field, "must be a JSON object") from error
    if not isinstance(found, dict):
        raise Unfit(field, "must be a JSON object")
    return found


def _number(field: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise Unfit(field, f"must be {least} to {most}")


def _text(field: str, value: str, longest: int) -> None:
    if len(value) > longest:
        raise Unfit(field, f"must not be longer than {longest} characters")
    if "\0" in value:
        raise Unfit(field, "must not contain a null character")
