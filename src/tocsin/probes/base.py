"""What a probe is: a function from settings to a reading. Knows no target, schedule, store or verdict.

The frame (``probes.frame``) owns the deadline, the assertions and the outcome.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Self, TypeVar

from pydantic import BaseModel, ConfigDict

from tocsin.core.schedule import Schedule
from tocsin.lib.certificates import Certificate
from tocsin.lib.expressions import Kind, Value
from tocsin.lib.faults import ContactFailure, OwnFault
from tocsin.lib.net import Network
from tocsin.lib.phases import NO_PHASES, Phases

__all__ = [
    "NO_PHASES",
    "Certificate",
    "Failure",
    "Phases",
    "ProbeError",
    "ProbeKind",
    "ProbeSettings",
    "Reading",
    "failure_of",
]


class ProbeError(OwnFault):
    """Our own fault, or our machine's: nothing was measured. ``str()`` says what to do about it."""


class Failure(NamedTuple):
    """Why the target did not pass, before any assertion.

    ``code`` is stable and for machines (``refused``, ``timeout``, ``name_not_found``, ``tls_expired`` …);
    ``message`` is for people. ``network`` marks faults that a lost network of our own would also cause.
    """

    code: str
    message: str
    network: bool


def failure_of(fault: ContactFailure) -> Failure:
    return Failure(fault.code, fault.message, fault.network)


@dataclass(slots=True)
class Reading:
    """What one probe saw.

    ``values`` binds the kind's CEL variables; only those that an assertion mentions are asked for, so a mapping may
    make them then, and may raise ``EvaluationError`` for one it has no value for, saying why. ``details`` makes the
    evidence that is kept with a failing check and shown by a test (JSON values: headers, start of the body,
    answers …); it is only called then.
    """

    latency_us: int | None
    phases: Phases = NO_PHASES
    values: Mapping[str, Value] = field(default_factory=dict)
    failure: Failure | None = None
    address: str | None = None
    certificates: tuple[Certificate, ...] = ()
    details: Callable[[], dict[str, object]] = dict


class ProbeSettings(BaseModel):
    """A kind's own fields. Unknown fields are refused by name; secrets are ``SecretStr``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def diverted(self, before: Self) -> Mapping[str, str]:
        """The secrets that these settings send where ``before`` did not, or less guarded, each with the field that
        does it. Such a secret is not kept by a change: it must be given again. A key that only signs or unlocks, and
        is sent to nobody, is none of them."""
        return {}


S = TypeVar("S", bound=ProbeSettings)


@dataclass(frozen=True, slots=True)
class ProbeKind(Generic[S]):
    """One row of ``PROBES``.

    ``variables`` names the CEL variables and their kinds. ``default_assertions`` hold where a target names none.
    ``probe(settings, timeout_s, network)`` must end within ``timeout_s`` of its own accord, with a ``Reading`` that
    says how far it came; the frame cancels it shortly after. It is None for kinds nobody probes (heartbeat).
    The same settings object is given each time until the target changes, so what is made of it can be kept on it.
    """

    kind: str
    title: str
    settings: type[S]
    variables: Mapping[str, Kind]
    default_assertions: tuple[str, ...]
    probe: Callable[[S, float, Network], Awaitable[Reading]] | None
    endpoint: Callable[[S], str]
    """The address people know it by: a URL, ``host:port`` …"""
    schedule: Callable[[S], Schedule] | None = None
    """When its job must call in. Only kinds nobody probes have one, and each of them does."""
