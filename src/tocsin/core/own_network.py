"""Whether failures are the targets' or our own network's. Pure bookkeeping; the worker asks the canary.

A worker that has lost its own network must record nothing-to-measure, never down. Two signs are needed: the
canary fails although it has passed before, and most of what was checked since then failed in ways that a lost
network explains. One sign alone proves nothing: a canary can be down, and so can most targets.
"""

from __future__ import annotations

from collections import deque

WINDOW = 20
"""How many outcomes since the canary began to fail are weighed."""


class NetworkJudge:
    """Fed with the canary's answers and the outcomes in their order."""

    __slots__ = ("_armed", "_failing", "_faults")

    def __init__(self) -> None:
        self._armed = False
        self._failing = False
        self._faults: deque[bool] = deque(maxlen=WINDOW)

    def canary(self, passed: bool) -> None:
        """A canary that has never passed is not believed: it may be misconfigured, or blocked for good."""
        self._armed = self._armed or passed
        self._failing = self._armed and not passed
        if passed:
            self._faults.clear()

    def outcome(self, network_fault: bool) -> None:
        """What a check found; ``network_fault`` marks a failure that a lost network would explain."""
        if self._failing:
            self._faults.append(network_fault)

    @property
    def suspicious(self) -> bool:
        return self._failing

    @property
    def lost(self) -> bool:
        """True while failures must not be held against the targets."""
        return self._failing and sum(self._faults) * 2 > len(self._faults)
