"""A clock that tests turn by hand."""

from __future__ import annotations


class FakeClock:
    """``tick`` lets both clocks run; ``jump_ms`` moves only the wall clock."""

    def __init__(self, now_ms: int = 1_800_000_000_000) -> None:
        self._wall_ms = float(now_ms)
        self._monotonic_s = 1000.0

    def now_ms(self) -> int:
        return int(self._wall_ms)

    def monotonic(self) -> float:
        return self._monotonic_s

    def tick(self, seconds: float) -> None:
        self._wall_ms += seconds * 1000
        self._monotonic_s += seconds

    def jump_ms(self, by_ms: int) -> None:
        self._wall_ms += by_ms
