"""How far this event loop is behind its work. A worker that gets no processor sees timeouts everywhere; they are its
own.

Knows no check; the worker asks before it believes a failure and before it starts more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

EVERY_S = 0.2
KEPT_S = 120.0
"""Longer than any check may take."""
NOTED_S = 0.05


class LoopLag:
    """Watches until ``stop`` with one timer; all times are of the loop's own clock, in seconds.

    ``behind_s`` says for how long work that is ready has not all been done, where the loop itself cannot see it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, behind_s: Callable[[], float]) -> None:
        self._loop = loop
        self._behind_s = behind_s
        self._noted: deque[tuple[float, float]] = deque()
        self._due_s = loop.time() + EVERY_S
        self._timer = loop.call_at(self._due_s, self._look)

    def now_s(self) -> float:
        """How late the loop is at this moment; 0 when it is on time."""
        return max(0.0, self._loop.time() - self._due_s, self._behind_s())

    def worst_since(self, began_s: float) -> float:
        """The longest the loop was late since then, now included."""
        worst = self.now_s()
        for at_s, late_s in reversed(self._noted):
            if at_s < began_s:
                break
            worst = max(worst, late_s)
        return worst

    def stop(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        now_s, late_s = self._loop.time(), self.now_s()
        if late_s > NOTED_S:
            self._noted.append((now_s, late_s))
        while self._noted and self._noted[0][0] < now_s - KEPT_S:
            self._noted.popleft()
        self._due_s = now_s + EVERY_S
        self._timer = self._loop.call_at(self._due_s, self._look)
