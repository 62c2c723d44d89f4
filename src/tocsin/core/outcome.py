"""Outcomes: one verdict about one subject, at one time, from one place.

Pure data. Knows nothing of probes, stores or clocks; times are epoch milliseconds (UTC).
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Subject(NamedTuple):
    """Anything that can be well or unwell: ``Subject("target", 17)``, later a machine, a backup, a service."""

    kind: str
    id: int


class Result(IntEnum):
    """What one check found. The numbers are stored in ``checks.result``; do not renumber."""

    FAILED = 0
    PASSED = 1
    WARNED = 2
    """Passed, but worth a warning: too slow, or a certificate about to expire."""
    UNMEASURED = 3
    """Nothing could be measured; says nothing about the subject."""


HEADLINE = 0
"""In place of a location: the one state of a subject that people are shown and told about. Where locations probe, it
is what they agree on (``core.quorum``); where none does, as for a heartbeat, it is decided directly."""


class StateKey(NamedTuple):
    """What a state belongs to. ``location_id`` is that of a vantage point, from 1, or HEADLINE."""

    subject: Subject
    rule: str
    location_id: int

    @property
    def headline(self) -> StateKey:
        """The state that this one has a part in."""
        return StateKey(self.subject, self.rule, HEADLINE)


REACHABLE = "reachable"
"""The rule whose state is a target's headline verdict."""
CERTIFICATE = "certificate"
"""The rule that watches the expiry of a target's certificate."""


class Outcome(NamedTuple):
    """One verdict. ``latency_us`` is None where nothing was timed.

    ``next_due_ms`` is the time by which the subject must be heard of again, or None when silence means
    nothing; whoever makes the outcome knows the schedule, so the sweep needs only this number.
    """

    key: StateKey
    at_ms: int
    result: Result
    latency_us: int | None
    reason: str
    next_due_ms: int | None
