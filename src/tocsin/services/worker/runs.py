"""Of a long run of equal results so many make the verdict; the rest may be given up when there is no room."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

RUN_KEPT: Final = 20
"""More than any threshold counts."""


class Runs:
    """How long the present run of each state is, counted result by result, oldest first."""

    def __init__(self) -> None:
        self._runs: dict[Hashable, tuple[int, int]] = {}

    def length(self, key: Hashable, result: int) -> int:
        """Of the run that this result begins or prolongs, with it. The one that makes it RUN_KEPT long is the last to
        be kept, and must not promise another: until the outcome that ends the run, silence means nothing."""
        before, length = self._runs.get(key, (-1, 0))
        length = length + 1 if before == result else 1
        self._runs[key] = (result, length)
        return length

    def clear(self) -> None:
        self._runs.clear()
