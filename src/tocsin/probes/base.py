"""What a probe is: a function from settings to a reading. Knows no target, schedule, store or verdict.

The frame (``probes.frame``) owns the deadline, the assertions and the outcome.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict

from tocsin.lib.expressions import Kind, Value
from tocsin.lib.net import Network


class ProbeError(Exception):
    """Our own fault, or our machine's: nothing was measured. ``str()`` says what to do about it."""


class Phases(NamedTuple):
    """Where the time went, microseconds; None for a phase that did not happen."""

    dns_us: int | None = None
    connect_us: int | None = None
    tls_us: int | None = None
    first_byte_us: int | None = None
    transfer_us: int | None = None


NO_PHASES = Phases()


class Failure(NamedTuple):
    """Why the target did not pass, before any assertion.

    ``code`` is stable and for machines (``refused``, ``timeout``, ``name_not_found``, ``tls_expired`` …);
    ``message`` is for people. ``network`` marks faults that a lost network of our own would also cause.
    """

    code: str
    message: str
    network: bool


class Certificate(NamedTuple):
    """One certificate of a chain, leaf first. Times are epoch ms; fingerprint is SHA-256 in hex."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before_ms: int
    not_after_ms: int
    serial: str
    fingerprint: str


@dataclass(slots=True)
class Reading:
    """What one probe saw.

    ``values`` binds the kind's CEL variables. ``details`` makes the evidence that is kept with a failing check
    and shown by a test (JSON values: address, headers, start of the body, answers …); it is only called then.
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


S = TypeVar("S", bound=ProbeSettings)


@dataclass(frozen=True, slots=True)
class ProbeKind(Generic[S]):
    """One row of ``PROBES``.

    ``variables`` names the CEL variables and their kinds. ``default_assertions`` hold where a target names none.
    ``probe(settings, timeout_s, network)`` must end within ``timeout_s`` of its own accord, with a ``Reading`` that
    says how far it came; the frame cancels it shortly after. It is None for kinds nobody probes (heartbeat).
    ``prepare`` turns settings into what ``probe`` is given each time, once per change of the target.
    """

    kind: str
    title: str
    settings: type[S]
    variables: Mapping[str, Kind]
    default_assertions: tuple[str, ...]
    probe: Callable[[S, float, Network], Awaitable[Reading]] | None
    endpoint: Callable[[S], str]
    """The address people know it by: a URL, ``host:port`` …"""
