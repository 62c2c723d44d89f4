"""The bus of one process. Listeners may live on different event loops and threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

from tocsin.bus.base import Bell, Current, Feed, Handed, Topic
from tocsin.core.decide import State
from tocsin.core.outcome import StateKey
from tocsin.lib import metrics

MOST_STATES: Final = 200_000
"""A follower this many states behind loses the oldest, and is told so."""


class _MemoryBell:
    def __init__(self, topics: frozenset[Topic]) -> None:
        self.topics = topics
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._rung: set[Topic] = set()
        self._lock = threading.Lock()

    def ring(self, topics: frozenset[Topic]) -> None:
        with self._lock:
            first = not self._rung
            self._rung |= topics
        if first:
            with suppress(RuntimeError):  # its loop is closed: nobody listens any more
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


class _MemoryFeed:
    """Begins as one who may have missed something: what was stored before it was there."""

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus
        self._waiting: dict[StateKey, Current] = {}
        self._missed = True
        self._lock = threading.Lock()

    def hand(self, states: Iterable[tuple[StateKey, Current]]) -> None:
        with self._lock:
            for key, state in states:
                self._waiting.pop(key, None)  # so that the newest is last
                self._waiting[key] = state
            while len(self._waiting) > MOST_STATES:
                del self._waiting[next(iter(self._waiting))]
                self._missed = True

    def miss(self) -> None:
        with self._lock:
            self._missed = True

    def take(self) -> Handed:
        with self._lock:
            taken, self._waiting = self._waiting, {}
            complete = self._bus.complete and not self._missed
            self._missed = not self._bus.complete
        return Handed(taken, complete)


class MemoryBus:
    """``complete``: everything that is stored anywhere is published here."""

    def __init__(self, *, complete: bool = True) -> None:
        self.complete = complete
        self._bells: tuple[_MemoryBell, ...] = ()
        self._feeds: tuple[_MemoryFeed, ...] = ()
        self._lock = threading.Lock()

    @classmethod
    @contextmanager
    def open(cls) -> Iterator[MemoryBus]:
        metrics.BUS_UP.set(1)
        yield cls()

    def ring(self, topic: Topic) -> None:
        self.ring_all(frozenset((topic,)))

    def ring_all(self, topics: frozenset[Topic]) -> None:
        for bell in self._bells:
            if wanted := topics & bell.topics:
                bell.ring(wanted)

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

    def publish(self, settled: Iterable[tuple[StateKey, State]]) -> None:
        if self._feeds:
            self.hand([(key, Current.of(state)) for key, state in settled])

    def hand(self, states: Iterable[tuple[StateKey, Current]]) -> None:
        """To every follower; they are woken once they have it."""
        for feed in self._feeds:
            feed.hand(states)
        self.ring("checks")

    def miss(self) -> None:
        """Something may have passed the followers by."""
        for feed in self._feeds:
            feed.miss()

    @property
    def followed(self) -> bool:
        return bool(self._feeds)

    @asynccontextmanager
    async def follow(self) -> AsyncIterator[Feed]:
        feed = _MemoryFeed(self)
        with self._lock:
            self._feeds = (*self._feeds, feed)
        try:
            yield feed
        finally:
            with self._lock:
                self._feeds = tuple(other for other in self._feeds if other is not feed)
