"""A target as every part of the system sees it: plain values, already validated.

The kind's own settings stay a mapping here; only the kind's plug-in in ``probes/`` knows their meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tocsin.core.decide import Policy

TARGET = "target"
"""``Subject.kind`` of targets."""

CERTIFICATE_POLICY = Policy(failures_to_down=1, passes_to_up=1, warnings_to_degraded=1, quorum="any")
"""How a target's certificate is judged: it does not flicker, and who sees an old one anywhere is right."""


@dataclass(frozen=True, slots=True)
class Target:
    id: int
    name: str
    slug: str
    kind: str
    settings: Mapping[str, object]
    """The kind's own fields as its pydantic model dumps them, secrets in clear (only ever in memory)."""
    interval_ms: int
    timeout_ms: int
    recheck_ms: int
    """How soon to look again after a first failure; equal to ``interval_ms`` to switch it off."""
    enabled: bool
    tags: tuple[str, ...]
    group: str
    assertions: tuple[str, ...]
    """CEL expressions; empty means the kind's default."""
    policy: Policy = field(default_factory=Policy)
    certificate_warning_days: int | None = 14
    description: str = ""
    created_ms: int = 0
    updated_ms: int = 0
    revision: int = 0
    """Grows with every change to any target; workers ask for what is newer than what they have."""
