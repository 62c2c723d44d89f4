"""What a live view knows: how every target stands, and which changes its watchers were told.

Two sources meet here. The database is the truth; what is handed round by the bus is sooner and may be incomplete, late
or twice. Pure: reads no store and no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from typing import Final, NamedTuple

from tocsin.bus.base import Current
from tocsin.core.outcome import HEADLINE, REACHABLE, StateKey
from tocsin.core.target import TARGET
from tocsin.store.targets import Standing

LONGEST_TRANSACTION_S: Final = 60.0
"""A transaction that stores transitions takes milliseconds; one that hangs is cut off after 30 s."""
BEFORE_THE_FIRST: Final = 1000
"""How many numbers back transactions may be open that began before the first look."""


class Moved(NamedTuple):
    """The ids of the targets that stand otherwise than before, or are there no more."""

    changed: set[int]
    removed: set[int]


class Picture:
    """How every live target stands, by id."""

    def __init__(self, standings: Iterable[Standing]) -> None:
        self.standings = {standing.id: standing for standing in standings}

    def replace(self, standings: Iterable[Standing], among: Collection[int] | None = None) -> Moved:
        """Takes over what the database says of the targets ``among`` (None: of all); one it does not name is gone."""
        before = self.standings
        now = {standing.id: standing for standing in standings}
        looked = before.keys() if among is None else before.keys() & set(among)
        moved = Moved({key for key, standing in now.items() if before.get(key) != standing}, looked - now.keys())
        for key in moved.removed:
            del before[key]
        before.update(now)
        return moved

    def merge(self, states: Mapping[StateKey, Current]) -> Moved:
        """Puts in what was handed round, where it is newer. Targets it does not know stay unknown: only the database
        says which there are."""
        changed: set[int] = set()
        for key, state in states.items():
            if key.subject.kind != TARGET or key.rule != REACHABLE:
                continue
            before = self.standings.get(key.subject.id)
            if before is None:
                continue
            after = before
            if key.location_id == HEADLINE and state.since_ms >= before.since_ms:
                after = after._replace(verdict=state.verdict.value, since_ms=state.since_ms, reason=state.reason)
            if state.last_at_ms > before.last_at_ms:
                after = after._replace(last_at_ms=state.last_at_ms, last_latency_us=state.last_latency_us)
            if after != before:
                self.standings[before.id] = after
                changed.add(before.id)
        return Moved(changed, set())


class Told:
    """Which transitions were told, by number.

    Numbers are given out in order and become visible in any: of two transactions the later may commit first. So each
    look goes back to what was the newest number a transaction's longest life ago, and leaves out what it knows.
    """

    def __init__(self, newest_id: int) -> None:
        self.floor = max(0, newest_id - BEFORE_THE_FIRST)
        """Nothing new appears up to this number."""
        self._newest = newest_id
        self._ids: set[int] = set()
        self._marks: deque[tuple[float, int]] = deque()

    def new(self, ids: Iterable[int]) -> list[int]:
        """Those of these that were not told yet, in their order."""
        return [number for number in ids if number not in self._ids]

    def remember(self, ids: Collection[int], now_s: float) -> None:
        """``ids`` are all that were visible above the floor to a look that began at ``now_s``."""
        self._newest = max(self._newest, *ids) if ids else self._newest
        self._marks.append((now_s, self._newest))
        while self._marks[0][0] <= now_s - LONGEST_TRANSACTION_S:
            _, self.floor = self._marks.popleft()
        self._ids = {number for number in ids if number > self.floor}
