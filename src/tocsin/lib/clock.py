"""Time, injectable. Wall time says when something happened; monotonic time says how long and when next."""

from __future__ import annotations

import time
from typing import NamedTuple, Protocol


class Clock(Protocol):
    def now_ms(self) -> int:
        """Epoch milliseconds (UTC). May jump, either way."""
        ...

    def monotonic(self) -> float:
        """Seconds that only ever grow."""
        ...


class SystemClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()


SYSTEM_CLOCK = SystemClock()


class Asked(NamedTuple):
    """When the time was asked for, in seconds of the monotonic clock, and what the machine's own clock read when that
    was 0."""

    at: float
    own_zero_ms: float


class SharedClock:
    """The time of a whole installation on one of its machines: this machine's, put right by what the others go by.

    Whoever learns how far they are apart says so; a difference within what such a look can tell is left alone. Once
    this machine's clock has been found wrong nobody follows it any more: time runs on by the monotonic clock, so that
    it does no harm when somebody sets the machine right.
    """

    def __init__(self, own: Clock = SYSTEM_CLOCK) -> None:
        self._own = own
        self._zero_ms: float | None = None
        """The shared time when the monotonic clock was 0; None while this machine's own clock is near enough."""

    def now_ms(self) -> int:
        zero_ms = self._zero_ms
        return self._own.now_ms() if zero_ms is None else int(zero_ms + self._own.monotonic() * 1000)

    def monotonic(self) -> float:
        return self._own.monotonic()

    @property
    def ahead_ms(self) -> int:
        """How far this machine's own clock is ahead (negative: behind)."""
        return self._own.now_ms() - self.now_ms()

    def ask(self) -> Asked:
        """To be called right before the shared time is asked for."""
        return Asked(self._own.monotonic(), self._own_zero_ms())

    def learn(self, *, shared_ms: int, asked: Asked, answered_at: float) -> int:
        """The shared clock read ``shared_ms`` between two moments of ``monotonic``. Returns by how many ms this clock
        was set, 0 when it was near enough.

        Nothing is learnt where this machine's clock was set, or the machine slept, in between: how old the answer is
        cannot be told then. It may even be this clock's own, from before.
        """
        if abs(self._own_zero_ms() - asked.own_zero_ms) > NEAR_MS:
            return 0
        then_zero_ms = shared_ms - (asked.at + answered_at) / 2 * 1000
        off_ms = then_zero_ms - (self.now_ms() - self.monotonic() * 1000)
        if abs(off_ms) <= NEAR_MS + (answered_at - asked.at) * 500:
            return 0
        self._zero_ms = then_zero_ms
        return round(off_ms)

    def _own_zero_ms(self) -> float:
        return self._own.now_ms() - self._own.monotonic() * 1000


NEAR_MS = 100
"""Clocks kept by NTP differ by less; following every millisecond would move slots about."""
