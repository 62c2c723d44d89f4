"""What a bus is: a bell. Nothing may depend on a message arriving; everything is in the database."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

Topic = Literal["checks", "transitions", "targets", "notifications", "channels"]


class Bus(Protocol):
    def ring(self, topic: Topic) -> None:
        """Says that something under ``topic`` is new. Never blocks; callable from any thread."""
        ...

    def listen(self, topics: Iterable[Topic]) -> AbstractAsyncContextManager[Bell]:
        """A bell that wakes its one listener. Rings that come while it works are folded into one."""
        ...


class Bell(Protocol):
    async def wait(self, timeout_s: float) -> frozenset[Topic]:
        """The topics rung since the last call; empty when ``timeout_s`` passed in silence."""
        ...
