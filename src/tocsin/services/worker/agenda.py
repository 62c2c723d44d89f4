"""Which check is due when. A heap of slots on a clock that the wall clock steers but never jerks.

Knows no target beyond its id and interval, and starts nothing.
"""

from __future__ import annotations

import heapq
from typing import NamedTuple

from tocsin.core.slots import next_slot_ms
from tocsin.lib.clock import Clock

JUMP_MS = 1000
"""A larger difference between wall and monotonic time is a jump of the clock, not a drift."""


class SlotClock:
    """Wall time that runs evenly: it follows drift at once and reports jumps, so that slots can be laid anew."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset_ms = self._difference()

    def now_ms(self) -> float:
        return self._clock.monotonic() * 1000 + self._offset_ms

    def follow(self) -> int:
        """Takes over the wall clock; returns by how many ms it jumped since the last call, 0 for mere drift."""
        was, self._offset_ms = self._offset_ms, self._difference()
        moved = self._offset_ms - was
        return round(moved) if abs(moved) > JUMP_MS else 0

    def _difference(self) -> float:
        return self._clock.now_ms() - self._clock.monotonic() * 1000


class Due(NamedTuple):
    at_ms: int
    target_id: int
    version: int
    extra: bool
    """A look between the slots: the first of a new target, or the second after a failure."""


class Agenda:
    """Every target once by its next slot, and extra looks beside.

    Entries are not searched for when a target changes; they carry a version and are dropped when it is old.
    """

    def __init__(self) -> None:
        self._heap: list[Due] = []
        self._versions: dict[int, int] = {}
        self._intervals: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._intervals)

    def put(self, target_id: int, interval_ms: int, now_ms: int) -> None:
        """Adds a target, or lays its slots anew."""
        self._versions[target_id] = self._versions.get(target_id, 0) + 1
        self._intervals[target_id] = interval_ms
        self._push(next_slot_ms(target_id, interval_ms, now_ms), target_id, extra=False)

    def look(self, target_id: int, at_ms: int) -> None:
        """An extra look, unless the target's own slot comes no later than that anyway."""
        interval_ms = self._intervals.get(target_id)
        if interval_ms is not None and at_ms < next_slot_ms(target_id, interval_ms, at_ms - 1):
            self._push(at_ms, target_id, extra=True)

    def remove(self, target_id: int) -> None:
        if self._intervals.pop(target_id, None) is not None:
            self._versions[target_id] += 1

    def lay_anew(self, now_ms: int) -> None:
        """After a jump of the clock: every target's next slot from now on, and no burst for those skipped."""
        self._heap.clear()
        for target_id, interval_ms in self._intervals.items():
            self.put(target_id, interval_ms, now_ms)

    def next_ms(self) -> int | None:
        return self._heap[0].at_ms if self._heap else None

    def take(self, now_ms: float) -> list[Due]:
        """What is due by now, oldest first; each target's next slot is entered at once."""
        due: list[Due] = []
        while self._heap and self._heap[0].at_ms <= now_ms:
            entry = heapq.heappop(self._heap)
            interval_ms = self._intervals.get(entry.target_id)
            if interval_ms is None or entry.version != self._versions[entry.target_id]:
                continue
            if not entry.extra:
                self._push(entry.at_ms + interval_ms, entry.target_id, extra=False)
            due.append(entry)
        return due

    def _push(self, at_ms: int, target_id: int, *, extra: bool) -> None:
        heapq.heappush(self._heap, Due(at_ms, target_id, self._versions[target_id], extra))
