"""How often somebody may do something."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final


class RateLimit:
    """A token bucket per key: ``per_minute`` on average, as many at once. Bounded: the keys heard of longest ago are
    forgotten first. For one event loop."""

    MOST_KEYS: Final = 10_000

    def __init__(self, per_minute: int) -> None:
        self._size = float(per_minute)
        self._per_s = per_minute / 60
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def would_wait_s(self, key: str, *, now_s: float) -> float:
        """What ``wait_s`` would say; nothing is counted."""
        return max(0.0, (1 - self._left(key, now_s)) / self._per_s)

    def wait_s(self, key: str, *, now_s: float) -> float:
        """0: go on, it is counted. Otherwise how long until the next. ``now_s`` is monotonic."""
        left = self._left(key, now_s)
        self._buckets.pop(key, None)
        allowed = left >= 1
        self._buckets[key] = (left - 1 if allowed else left, now_s)
        if len(self._buckets) > self.MOST_KEYS:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self._per_s

    def _left(self, key: str, now_s: float) -> float:
        left, seen_s = self._buckets.get(key, (self._size, now_s))
        return min(self._size, left + (now_s - seen_s) * self._per_s)
