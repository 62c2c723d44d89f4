"""The bus of one process. Listeners may live on different event loops and threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from tocsin.bus.base import Bell, Topic


class _MemoryBell:
    def __init__(self, topics: frozenset[Topic]) -> None:
        self.topics = topics
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._rung: set[Topic] = set()
        self._lock = threading.Lock()

    def ring(self, topic: Topic) -> None:
        with self._lock:
            first = not self._rung
            self._rung.add(topic)
        if first and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self, timeout_s: float) -> frozenset[Topic]:
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return frozenset()
        with self._lock:
            self._event.clear()
            rung = frozenset(self._rung)
            self._rung.clear()
        return rung


class MemoryBus:
    def __init__(self) -> None:
        self._bells: tuple[_MemoryBell, ...] = ()
        self._lock = threading.Lock()

    def ring(self, topic: Topic) -> None:
        for bell in self._bells:
            if topic in bell.topics:
                bell.ring(topic)

    @asynccontextmanager
    async def listen(self, topics: Iterable[Topic]) -> AsyncIterator[Bell]:
        bell = _MemoryBell(frozenset(topics))
        with self._lock:
            self._bells = (*self._bells, bell)
        try:
            yield bell
        finally:
            with self._lock:
                self._bells = tuple(other for other in self._bells if other is not bell)
