"""The bus of several processes: bells and followers as in one process, joined to the others' by a line to a server.

Keeps the line up, on a thread and event loop of its own, so that ringing is a note on a list for whoever rings. Knows
no engine: what a line is made of is in the engine's own file.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from itertools import islice
from typing import Final, NamedTuple, Protocol

from tocsin.bus.base import TOPICS, Bell, Current, Feed, Topic
from tocsin.bus.memory import MemoryBus
from tocsin.core.decide import State
from tocsin.core.outcome import StateKey
from tocsin.lib import metrics
from tocsin.lib.log import get_logger
from tocsin.lib.threads import beside, together

log = get_logger("bus")

PAUSE_S: Final = 0.05
"""Between two sendings: rings that come meanwhile are folded into one, so no topic is sent more often."""
MOST_STATES: Final = 50_000
"""Of states that wait to be sent; the oldest go first."""
MOST_AT_ONCE: Final = 2000
"""States in one sending, so that a server that does one thing at a time is not kept from the rest for long."""
RETRY_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Before the next attempt to reach the server; the last one again and again."""
STEADY_S: Final = 5.0
"""A line that lasted this long was a good one: when it is lost, the first attempts come quickly again."""
ALIVE_S: Final = 10.0
"""After so long a silence a server is asked whether it is there."""
ANSWER_S: Final = 5.0
"""How long anything asked of a server may take."""
LAST_S: Final = 1.0
"""How long a stop waits for what was rung last to be sent, also by a process that has only just begun."""


class LineLost(Exception):
    """The server cannot be reached, does not answer, or has ended the line. The reason names no secret."""


class Heard(NamedTuple):
    """What came in. ``following``: from here on what others publish is heard, or is not; None: as before."""

    topics: frozenset[Topic] = frozenset()
    states: Sequence[tuple[StateKey, Current]] = ()
    following: bool | None = None


class Line(Protocol):
    """One line to a server, both ways. Every method raises LineLost; none is called again after that."""

    async def ring(self, topics: frozenset[Topic]) -> None: ...

    async def publish(self, states: Sequence[tuple[StateKey, State]]) -> None: ...

    async def follow(self, wanted: bool) -> None:
        """Asks that what others publish be heard, or no longer. ``heard`` says from when on it is so."""
        ...

    def heard(self) -> AsyncIterator[Heard]:
        """What others send, without end. Asks after ALIVE_S of silence whether the server is there."""
        ...


Connect = Callable[[str], AbstractAsyncContextManager[Line]]
"""Opens a line, given the name under which this end sends: what comes back under it is our own."""


class LinkedBus:
    """Make it with ``LinkedBus.open``. ``hands_on``: the engine carries states, and not rings only."""

    def __init__(self, connect: Connect, *, server: str, hands_on: bool) -> None:
        self._connect = connect
        self._server = server
        self._hands_on = hands_on
        self._name = secrets.token_hex(8)
        self._here = MemoryBus(complete=False)
        self._lock = threading.Lock()
        self._topics: set[Topic] = set()
        self._states: dict[StateKey, State] = {}
        self._wake: Callable[[], None] = _nobody_to_wake
        # Those below belong to the thread of the line.
        self._linked = False
        self._asked = self._following = False
        self._waiting = asyncio.Event()
        self._all_sent = asyncio.Event()

    @classmethod
    @contextmanager
    def open(cls, connect: Connect, *, server: str, hands_on: bool) -> Iterator[LinkedBus]:
        """Does not wait for the server. ``server`` is what people know it by, without any secret."""
        bus = cls(connect, server=server, hands_on=hands_on)
        metrics.BUS_UP.set(0)
        with beside("bus", bus._run, stop_s=LAST_S + 1):
            yield bus

    # ── from any thread ───────────────────────────────────────────────────────────────────────────

    def ring(self, topic: Topic) -> None:
        self._here.ring(topic)
        with self._lock:
            if topic in self._topics:
                return
            self._topics.add(topic)
        self._wake()

    def listen(self, topics: Iterable[Topic]) -> AbstractAsyncContextManager[Bell]:
        return self._here.listen(topics)

    def publish(self, settled: Iterable[tuple[StateKey, State]]) -> None:
        states = list(settled)
        self._here.publish(states)
        if not (self._hands_on and self._linked):
            return  # by the time the server is back it would be old
        with self._lock:
            for key, state in states:
                self._states.pop(key, None)  # so that the newest is last
                self._states[key] = state
            while len(self._states) > MOST_STATES:
                del self._states[next(iter(self._states))]
        self._wake()

    @asynccontextmanager
    async def follow(self) -> AsyncIterator[Feed]:
        try:
            async with self._here.follow() as feed:
                self._wake()
                yield feed
        finally:
            self._wake()

    # ── on the thread of the line ─────────────────────────────────────────────────────────────────

    async def _run(self, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop is closed: nothing is sent any more
                loop.call_soon_threadsafe(self._waiting.set)

        self._wake = wake
        self._waiting.set()  # what was rung before there was anybody to wake
        await together(self._stay_linked(), self._until_sent(stop))

    async def _until_sent(self, stop: asyncio.Event) -> None:
        """Until all is to end and what was rung last is sent."""
        await stop.wait()
        if self._linked or self._topics:
            self._all_sent.clear()
            self._waiting.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_S):
                    await self._all_sent.wait()

    async def _stay_linked(self) -> None:
        failures = 0
        cut = False
        while True:
            began_s = time.monotonic()
            try:
                async with self._connect(self._name) as line:
                    if cut:
                        metrics.BUS_RECONNECTS.inc()
                        log.info("the bus is linked again", server=self._server)
                        cut = False
                    self._begin()
                    await together(self._send(line), self._hear(line))
            except LineLost as lost:
                if not cut:
                    log.warning("the bus is cut off, timers go on", server=self._server, reason=str(lost))
            except Exception:
                if not cut:
                    log.exception("the line of the bus broke", server=self._server)
            finally:
                self._end()
            cut = True
            if time.monotonic() - began_s > STEADY_S:
                failures = 0
            await asyncio.sleep(RETRY_S[min(failures, len(RETRY_S) - 1)])
            failures += 1

    def _begin(self) -> None:
        """Others may have rung while there was no line; the first one may have come late, too."""
        with self._lock:
            self._states.clear()
        self._linked = True
        metrics.BUS_UP.set(1)
        self._waiting.set()
        self._here.ring_all(TOPICS)

    def _end(self) -> None:
        self._linked = self._asked = self._following = False
        metrics.BUS_UP.set(0)
        self._here.complete = False
        self._here.miss()

    async def _send(self, line: Line) -> None:
        while True:
            await self._waiting.wait()
            self._waiting.clear()
            await self._follow_as_wanted(line)
            topics, states = self._taken()
            try:
                if states:
                    await line.publish(states)
                if topics:
                    await line.ring(topics)
            except LineLost:
                with self._lock:
                    self._topics |= topics
                raise
            if not self._waiting.is_set():
                self._all_sent.set()
            if states or topics:
                await asyncio.sleep(PAUSE_S)

    async def _follow_as_wanted(self, line: Line) -> None:
        """Only the engine that hands on can be followed; one wish is granted before the next is made."""
        wanted = self._here.followed
        if self._hands_on and wanted is not self._asked and self._asked is self._following:
            self._asked = wanted
            if not wanted:
                self._here.complete = False
            await line.follow(wanted)

    def _taken(self) -> tuple[frozenset[Topic], Sequence[tuple[StateKey, State]]]:
        with self._lock:
            topics = frozenset(self._topics)
            self._topics.clear()
            if len(self._states) <= MOST_AT_ONCE:
                states, self._states = list(self._states.items()), {}
            else:
                states = list(islice(self._states.items(), MOST_AT_ONCE))
                for key, _ in states:
                    del self._states[key]
                self._waiting.set()
        return topics, states

    async def _hear(self, line: Line) -> None:
        async for heard in line.heard():
            if heard.following is not None:
                self._following = heard.following
                self._here.complete = heard.following and self._asked
                self._waiting.set()
                self._here.ring("checks")
            if heard.states:
                self._here.hand(heard.states)
            if heard.topics:
                self._here.ring_all(heard.topics)
        raise LineLost("the line ended")


def rung(name: str, topics: frozenset[Topic]) -> str:
    """A ring as it is sent: under which name, and the topics."""
    return " ".join((name, *sorted(topics)))


def heard_rung(name: str, text: str) -> frozenset[Topic]:
    """The topics of a ring that another sent; none in one of our own, or in what is no ring."""
    sender, *words = text.split(" ")
    return frozenset() if sender == name else TOPICS.intersection(words)


def _nobody_to_wake() -> None:
    """Before the line's thread runs: it looks what waits when it begins."""
