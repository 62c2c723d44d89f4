"""From the gateway that feeds it to everybody who watches. Knows keys, connections and files as little as they know it.

Several gateways (copies of the API) may be there: **the newest feeds**, the others wait, connected, and say nothing.
When it leaves, or has said nothing for ``SILENT_S``, the next newest is asked for everything. So a gateway that comes
back takes over from what is left of its own old connection at once, and nobody is told anything twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec

from tocsin.edge import messages
from tocsin.edge.messages import Body, Refused
from tocsin.edge.picture import LeftOut, Moved, Picture, bounded
from tocsin.lib.clock import Clock
from tocsin.lib.log import get_logger
from tocsin.lib.threads import TaskSet
from tocsin.lib.watchers import Watcher, Watchers

log = get_logger("edge")

MOST_WATCHERS: Final = 2000
MOST_FEEDERS: Final = 16
SILENT_S: Final = 15.0
"""A gateway that feeds says something at least every 5 s."""
TELL_EVERY_S: Final = 5.0
"""How often watchers are told how old it all is, though nothing changed."""
LOOK_EVERY_S: Final = 1.0
_encode = msgspec.json.Encoder().encode


class _Made(NamedTuple):
    entries: tuple[msgspec.Raw, msgspec.Raw]
    known: tuple[bool, int | None]
    """Whether there is a gateway, and when it last vouched."""
    at_ms: int
    raw: bytes

    def is_fresh(self, now_ms: int) -> bool:
        """Readers set their clocks by it."""
        return 0 <= now_ms - self.at_ms < 1000


class Feeder:
    """One gateway's connection. ``stirred`` is set when there is something to tell it: whether it ``feeds``, or why
    what it said last was refused."""

    def __init__(self, now_s: float) -> None:
        self.stirred = asyncio.Event()
        self.feeds = False
        self.refusal = ""
        self.heard_s = now_s
        self.pages: list[Body] = []
        """Of an ``initial`` that goes on."""

    def become(self, *, feeding: bool, now_s: float) -> None:
        self.feeds = feeding
        self.heard_s = now_s
        self.pages.clear()
        self.stirred.set()


class Relay:
    """Make it with ``Relay.open``."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._picture = Picture()
        self._watchers = Watchers(MOST_WATCHERS)
        self._feeders: list[Feeder] = []
        """In the order in which they are asked, the last first."""
        self._seen_ms: int | None = None
        """When what is here was last known to be right; None: there was never anything."""
        self._entries: tuple[msgspec.Raw, msgspec.Raw] | None = None
        """Machines and targets as a new watcher is sent them; None: they have changed since."""
        self._made: dict[str, _Made] = {}
        """Whole answers by their type, which those who come together are given alike."""
        self._news = asyncio.Event()
        """Whether there is a source has changed."""

    @classmethod
    @asynccontextmanager
    async def open(cls, clock: Clock) -> AsyncIterator[Relay]:
        relay = cls(clock)
        tasks = TaskSet(lambda error: log.error("the relay broke", exc_info=error))
        tasks.start(relay._look_after())
        try:
            yield relay
        finally:
            await tasks.close()

    # ── gateways ──────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def feeding(self) -> Iterator[Feeder | None]:
        """One more gateway, which feeds from now on; None when there are too many."""
        if len(self._feeders) >= MOST_FEEDERS:
            yield None
            return
        feeder = Feeder(_now_s())
        self._feeders.append(feeder)
        self._choose()
        try:
            yield feeder
        finally:
            self._feeders.remove(feeder)
            self._choose()

    def _choose(self) -> None:
        """The last of the list feeds, and nobody else."""
        chosen = self._feeders[-1] if self._feeders else None
        for feeder in self._feeders:
            if feeder.feeds != (feeder is chosen):
                feeder.become(feeding=feeder is chosen, now_s=_now_s())
        self._news.set()

    async def hear(self, feeder: Feeder, raw: str | bytes) -> None:
        """Takes over what a gateway said. Raises Refused, and then nothing has changed."""
        feeder.heard_s = _now_s()
        if not feeder.feeds:
            return  # it was told, and this was under way
        message = messages.message(raw)
        match message.type:
            case "initial":
                self._begin(feeder, message.body)
                if message.body.more:
                    return
                self._seen_ms = self._clock.now_ms()
                await self._watchers.give(self._whole(), self._fresh)
            case "changes":
                moved = self._picture.merge(message.body)
                self._seen_ms = self._clock.now_ms()
                if moved:
                    self._entries = None
                    await self._watchers.give(self._changes(moved), self._fresh)
            case "ping":
                if self._seen_ms is not None:
                    self._seen_ms = self._clock.now_ms()

    def _begin(self, feeder: Feeder, page: Body) -> None:
        pages = [*(feeder.pages if page.page else ()), page]
        try:
            if page.page != len(pages) - 1:
                raise Refused(f"page {page.page} of the whole came where page {len(pages) - 1} was expected")
            bounded(sum(len(each.machines) for each in pages), sum(len(each.targets) for each in pages))
            if not page.more:
                self._picture.replace(pages)
                self._entries = None
        except Refused:
            feeder.pages.clear()
            raise
        feeder.pages = pages if page.more else []

    # ── watchers ──────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def watching(self) -> Iterator[Watcher | None]:
        """A watcher whose first message is the whole; None when there are too many."""
        if self._watchers.is_full:
            yield None
            return
        watcher = self._watchers.add(self._whole())
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)

    async def next_for(self, watcher: Watcher) -> bytes:
        """The next message for it; the whole, as it is now, once it has taken all that it was behind with."""
        if watcher.behind and watcher.messages.empty():
            watcher.behind = False
            return self._whole()
        return await watcher.messages.get()

    @property
    def source(self) -> dict[str, Any]:
        """``connected``: a gateway is there; ``seen_at``: when what is shown was last known to be right."""
        if self._seen_ms is None:
            return {"connected": bool(self._feeders), "seen_at": None, "age_s": None}
        age_ms = max(0, self._clock.now_ms() - self._seen_ms)
        return {"connected": bool(self._feeders), "seen_at": moment(self._seen_ms), "age_s": age_ms / 1000}

    def snapshot(self) -> bytes:
        """How everything stands, as JSON. What was made less than a second ago is given again, if it is still so."""
        return self._as_known("")

    def _whole(self) -> bytes:
        return self._as_known("initial")

    def _as_known(self, kind: str) -> bytes:
        """With this ``type``, if any."""
        entries, now_ms, known = self._encoded(), self._clock.now_ms(), (bool(self._feeders), self._seen_ms)
        made = self._made.get(kind)
        if made is None or made.entries is not entries or made.known != known or not made.is_fresh(now_ms):
            machines, targets = entries
            message = {"at": moment(now_ms), "source": self.source, "machines": machines, "targets": targets}
            raw = _encode({**({"type": kind} if kind else {}), **message, **self._picture.left_out.words()})
            made = self._made[kind] = _Made(entries, known, now_ms, raw)
        return made.raw

    async def _fresh(self) -> bytes:
        return self._whole()

    def _encoded(self) -> tuple[msgspec.Raw, msgspec.Raw]:
        if self._entries is None:
            self._entries = (
                msgspec.Raw(_encode(list(self._picture.machines.values()))),
                msgspec.Raw(_encode(list(self._picture.targets.values()))),
            )
        return self._entries

    def _changes(self, moved: Moved) -> bytes:
        told = moved._asdict()
        left_out: LeftOut | None = told.pop("left_out")
        counts = {} if left_out is None else {f"{name}_left_out": n for name, n in left_out._asdict().items()}
        return _encode({"type": "changes", "at": self._now(), **told, **counts})

    def _now(self) -> str:
        return moment(self._clock.now_ms())

    async def _look_after(self) -> None:
        """Passes over a gateway that says nothing, and tells watchers how old what they see is."""
        told_s = _now_s()
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), LOOK_EVERY_S)
            feeder = self._feeders[-1] if self._feeders else None
            if feeder is not None and len(self._feeders) > 1 and _now_s() - feeder.heard_s > SILENT_S:
                log.warning("a gateway has fallen silent; the next one feeds")
                self._feeders.insert(0, self._feeders.pop())
                self._choose()
            if self._news.is_set() or _now_s() - told_s >= TELL_EVERY_S:
                self._news.clear()
                told_s = _now_s()
                word = _encode({"type": "source", "at": self._now(), "source": self.source})
                await self._watchers.give(word, self._fresh)


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def moment(at_ms: int) -> str:
    """Epoch ms as RFC 3339 with milliseconds and Z."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
