"""The frame around every probe: its deadline, its assertions, and what is made of what it saw.

A probe only looks. The frame says whether that is a pass, a failure or nothing measured, and keeps the evidence. It
knows no kind by name, no schedule, no store and no verdict.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import NamedTuple, TypeVar

import structlog

from tocsin.core.outcome import Result
from tocsin.core.target import Target
from tocsin.lib.clock import SYSTEM_CLOCK, Clock
from tocsin.lib.expressions import Condition, EvaluationError, Value, compile_condition, fit_text
from tocsin.lib.faults import OwnFault
from tocsin.lib.net import Network
from tocsin.probes import PROBES
from tocsin.probes.base import NO_PHASES, Certificate, Phases, ProbeSettings, Reading

log = structlog.get_logger(__name__)

T = TypeVar("T")

GRACE_S = 0.5
"""How long after its timeout a probe that does not end by itself is stopped."""

LONGEST_ASSERTION_S = 1.0
"""How much processor time one assertion may take. It cannot be stopped, and everything else waits for it meanwhile."""

Probe = Callable[[ProbeSettings, float, Network], Awaitable[Reading]]


@dataclass(slots=True, eq=False)
class Prepared:
    """A target made ready to be examined any number of times. Make it with ``prepare``."""

    name: str
    settings: ProbeSettings
    timeout_s: float
    conditions: tuple[Condition, ...]
    certificate_warning_days: int | None
    probe: Probe
    defects_logged: set[str] = field(default_factory=set)
    """Defects of the probe itself, each logged once for this target."""
    too_slow: dict[Condition, str] = field(default_factory=dict)
    """Assertions that took too long once, with what to say of them: not evaluated again until the target changes."""


def prepare(target: Target) -> Prepared | None:
    """None for kinds nobody probes. Raises ``ValueError`` for settings or assertions that cannot be used."""
    kind = PROBES.get(target.kind)
    if kind is None:
        raise ValueError(f"there is no kind {target.kind!r}")
    if kind.probe is None:
        return None
    sources = target.assertions or kind.default_assertions
    return Prepared(
        name=target.name,
        settings=kind.settings.model_validate(dict(target.settings)),
        timeout_s=target.timeout_ms / 1000,
        conditions=tuple(compile_condition(source, kind.variables) for source in sources),
        certificate_warning_days=target.certificate_warning_days,
        probe=kind.probe,
    )


class AssertionResult(NamedTuple):
    """``error`` is why it could not be evaluated, None where it could. ``values`` are of the variables it names."""

    source: str
    ok: bool
    error: str | None
    values: dict[str, Value]


class CertificateStanding(NamedTuple):
    """WARNED when the first certificate to expire is nearer than the target's warning, PASSED otherwise."""

    result: Result
    reason: str
    expires_ms: int


@dataclass(slots=True)
class Examination:
    """What one check found. ``error`` is empty where it passed; ``reading`` is None where the probe gave none."""

    result: Result
    error: str
    network_fault: bool
    reading: Reading | None
    assertions: Sequence[AssertionResult]
    certificate: CertificateStanding | None

    @property
    def latency_us(self) -> int | None:
        return None if self.reading is None else self.reading.latency_us

    @property
    def phases(self) -> Phases:
        return NO_PHASES if self.reading is None else self.reading.phases

    @property
    def address(self) -> str | None:
        return None if self.reading is None else self.reading.address

    @property
    def is_loopback(self) -> bool:
        """It contacted this machine itself, which says nothing about the network."""
        return self.address is not None and ip_address(self.address).is_loopback

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        return () if self.reading is None else self.reading.certificates

    def chain(self) -> list[dict[str, object]]:
        """The certificates seen as JSON values, leaf first."""
        return [_certificate(certificate) for certificate in self.certificates]

    def evidence(self) -> dict[str, object]:
        """Everything that was seen as bounded JSON values, in the shape that the API answers a test with."""
        return {
            "result": self.result.name.lower(),
            "ok": None if self.result is Result.UNMEASURED else self.result is not Result.FAILED,
            "latency_ms": _ms(self.latency_us),
            "phases": {
                name.removesuffix("_us") + "_ms": _ms(took)
                for name, took in zip(Phases._fields, self.phases, strict=True)
            },
            "address": self.address,
            "error": self.error or None,
            "network_fault": self.network_fault,
            "assertions": [
                {
                    "source": assertion.source,
                    "ok": assertion.ok,
                    "error": assertion.error,
                    "values": jsonable(assertion.values),
                }
                for assertion in self.assertions
            ],
            "certificates": self.chain(),
            "details": {} if self.reading is None else self.reading.details(),
        }


async def examine(prepared: Prepared, network: Network, *, clock: Clock = SYSTEM_CLOCK) -> Examination:
    """Probe once and judge what was seen. Never raises but ``CancelledError``.

    1. The probe ends by itself within the timeout; one that does not is stopped ``GRACE_S`` later and has failed.
    2. A fault of ours, or a defect of the probe, leaves nothing measured.
    3. A failure the probe reports is the outcome; otherwise every assertion is evaluated and must hold.
    """
    timeout = asyncio.timeout(prepared.timeout_s + GRACE_S)
    try:
        async with timeout:
            reading = await prepared.probe(prepared.settings, prepared.timeout_s, network)
    except OwnFault as fault:
        return _unmeasured(str(fault))
    except TimeoutError as error:
        if not timeout.expired():
            return _defect(prepared, error)
        return Examination(Result.FAILED, f"timed out after {prepared.timeout_s:g} s", True, None, (), None)
    except Exception as error:
        return _defect(prepared, error)
    certificate = None
    if reading.certificates and prepared.certificate_warning_days is not None:
        certificate = _standing(reading.certificates, prepared.certificate_warning_days, clock.now_ms())
    failure = reading.failure
    if failure is not None:
        return Examination(Result.FAILED, failure.message, failure.network, reading, (), certificate)
    try:
        assertions = [_evaluated(condition, reading, prepared.too_slow) for condition in prepared.conditions]
    except Exception as error:
        return _defect(prepared, error)
    broken = next((assertion for assertion in assertions if not assertion.ok), None)
    if broken is None:
        return Examination(Result.PASSED, "", False, reading, assertions, certificate)
    return Examination(Result.FAILED, _complaint(broken), False, reading, assertions, certificate)


def _unmeasured(reason: str) -> Examination:
    return Examination(Result.UNMEASURED, reason, False, None, (), None)


def _defect(prepared: Prepared, error: Exception) -> Examination:
    """A probe that breaks says nothing about its target."""
    name = type(error).__name__
    if name not in prepared.defects_logged:
        prepared.defects_logged.add(name)
        log.error("a probe broke", target=prepared.name, exc_info=error)
    return _unmeasured(f"internal error: {name} (see the log)")


def _evaluated(condition: Condition, reading: Reading, too_slow: dict[Condition, str]) -> AssertionResult:
    values: dict[str, Value] = {}
    try:
        for name in condition.variables:
            values[name] = reading.values[name]
        if condition not in too_slow:
            began = time.thread_time()
            holds = condition.holds(values)
            took_s = time.thread_time() - began
            if took_s <= LONGEST_ASSERTION_S:
                return AssertionResult(condition.source, holds, None, values)
            too_slow[condition] = f"it took {took_s:.1f} s of processor time, for which every other check had to wait"
        return AssertionResult(condition.source, False, too_slow[condition], values)
    except EvaluationError as error:
        return AssertionResult(condition.source, False, str(error), values)


def _complaint(assertion: AssertionResult) -> str:
    """``status == 200 is false: status is 503``"""
    if assertion.error is not None:
        return f"{_short(assertion.source, 200)} cannot be evaluated: {_short(assertion.error, 300)}"
    seen = ", ".join(f"{name} is {_told(value)}" for name, value in assertion.values.items())
    return f"{_short(assertion.source, 200)} is false" + (f": {_short(seen, 300)}" if seen else "")


def _told(value: Value) -> str:
    """A value in an error: one line, short."""
    match value:
        case str():
            return _short(repr(fit_text(value[:200])), 80)
        case timedelta():
            return f"{value.total_seconds() / 86400:.1f} days"
        case bool() | None:
            return str(value).lower() if value is not None else "null"
        case float():
            return f"{value:.6g}"
        case dict() | list():
            return _short(repr(jsonable(value, budget=200)), 80)
        case _:
            return _short(str(value), 80)


def _standing(certificates: Iterable[Certificate], warning_days: int, now_ms: int) -> CertificateStanding:
    """A root that a server sends along is trusted, or not, by itself; when it expires means nothing."""
    leaf, *others = certificates
    first = min((leaf, *(other for other in others if other.subject != other.issuer)), key=lambda one: one.not_after_ms)
    left_days = (first.not_after_ms - now_ms) / 86_400_000
    on = datetime.fromtimestamp(first.not_after_ms / 1000, UTC).strftime("%Y-%m-%d")
    who = "the certificate" if first is leaf else f"the intermediate certificate {first.subject}"
    if left_days < 0:
        return CertificateStanding(Result.WARNED, f"{who} expired on {on}", first.not_after_ms)
    if left_days < warning_days:
        return CertificateStanding(Result.WARNED, f"{who} expires on {on}", first.not_after_ms)
    return CertificateStanding(Result.PASSED, "", first.not_after_ms)


# Evidence as JSON

_TEXT_SHOWN = 500
_VALUES_SHOWN = 4000
_LEVELS_SHOWN = 8


def jsonable(value: Value, *, budget: int = _VALUES_SHOWN) -> object:
    """``value`` as JSON values, cut off where it is long or deep: at most about ``budget`` characters in all."""
    return _Trimmer(budget).trimmed(value, _LEVELS_SHOWN)


class _Trimmer:
    def __init__(self, budget: int) -> None:
        self._left = budget

    def trimmed(self, value: Value, levels: int) -> object:
        match value:
            case None | bool():
                return value
            case int() | float():
                self._left -= 8
                return value if abs(value) < 2**53 else str(value)
            case str():
                text = _short(fit_text(value[: _TEXT_SHOWN + 1]), max(20, min(_TEXT_SHOWN, self._left)))
                self._left -= len(text)
                return text
            case bytes():
                return f"{len(value)} bytes"
            case timedelta():
                return f"{value.total_seconds():g}s"
            case datetime():
                return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            case dict() | list() if not levels:
                return "…"
            case dict():
                return {
                    _short(fit_text(str(key)), 100): self.trimmed(item, levels - 1)
                    for key, item in self._some(value.items())
                }
            case list():
                return [self.trimmed(item, levels - 1) for item in self._some(value)]
            case _:
                return self.trimmed(str(value), levels)

    def _some(self, items: Iterable[T]) -> Iterator[T]:
        for item in items:
            if self._left <= 0:
                return
            self._left -= 4
            yield item


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _ms(us: int | None) -> float | None:
    return None if us is None else us / 1000


def _certificate(certificate: Certificate) -> dict[str, object]:
    return {
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "names": list(certificate.names[:100]),
        "not_before": _moment(certificate.not_before_ms),
        "not_after": _moment(certificate.not_after_ms),
        "serial": certificate.serial,
        "fingerprint": certificate.fingerprint,
    }


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
