"""The gateway's side of the public relay: it connects out to the edge and hands it what was chosen, and nothing else.

It watches the live view like a browser, so it slows nobody and is sent a fresh whole when it has fallen behind. What
may leave is picked here, before anything is sent (``edge.fields``).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import msgspec
from starlette.concurrency import run_in_threadpool
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, WebSocketException

from tocsin.api.context import Edge
from tocsin.api.live import LiveView
from tocsin.edge.fields import Chosen
from tocsin.edge.picture import MOST_MACHINES, MOST_TARGETS
from tocsin.lib.log import get_logger
from tocsin.lib.threads import TaskSet, together
from tocsin.lib.watchers import Watcher
from tocsin.store.engine import StoreError

log = get_logger("relay")

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
ALIVE_EVERY_S: Final = 5.0
"""So often it says that what the edge has is still right, when nothing has changed."""
PAGE_BYTES: Final = 48_000
"""A message ends after the entry that reaches this; the edge takes 64 kB."""
LONG_BYTES: Final = 100_000
"""From here on a message is taken apart on another thread."""
AGAIN_S: Final = 5.0
"""After so long the live view is asked again, when it could not be watched."""
AFTER_REFUSAL_S: Final = 10.0
"""So long it says nothing after the edge has refused a message, which twice that long may be called live. Doubled while
it goes on refusing."""
LONGEST_AFTER_REFUSAL_S: Final = 300.0
OPEN_WITHIN_S: Final = 10.0
CLOSE_WITHIN_S: Final = 0.5
WRONG_KEY: Final = 4001
_PING: Final = b'{"type":"ping"}'

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Names(Protocol):
    """Whoever knows what targets are called."""

    def slug_of(self, target_id: int) -> str | None:
        """None for one that is not there."""
        ...


@asynccontextmanager
async def relaying(live: LiveView, edge: Edge) -> AsyncIterator[None]:
    """The edge is fed from entering to leaving, whenever it is there."""
    tasks = TaskSet(lambda error: log.error("what feeds the edge broke", exc_info=error))
    tasks.start(Relay(live, edge).run())
    try:
        yield
    finally:
        await tasks.close()


class Relay:
    def __init__(self, live: LiveView, edge: Edge) -> None:
        self._live = live
        self._address = gateway_address(edge.url)
        self._headers = {"Authorization": f"Bearer {edge.key}"}
        self._chosen = Chosen.of(edge.fields)
        self._wanted = False
        """The edge has no newer gateway than this."""
        self._told = asyncio.Event()
        """It has said so, or the contrary, or refused: whatever was under way begins anew."""
        self._refusal = ""
        """Why the edge refused what it was told last; until a fresh whole its picture cannot be vouched for."""
        self._left_out: tuple[int, int] = (0, 0)
        """Machines and targets that were logged last to be too many for the edge."""
        self._said = ""
        """What was logged last of the connection: the same is not said again."""

    async def run(self) -> None:
        """For ever. The edge may come and go."""
        pause_s = FIRST_PAUSE_S
        while True:
            began_s = _now_s()
            self._wanted = False
            self._told.clear()
            self._refusal = ""
            try:
                async with connect(
                    self._address,
                    additional_headers=self._headers,
                    compression=None,
                    open_timeout=OPEN_WITHIN_S,
                    close_timeout=CLOSE_WITHIN_S,
                    max_size=16_384,
                ) as connection:
                    await together(self._listen(connection), self._feed(connection))
                words = "the edge has closed the connection"
            except (OSError, TimeoutError, WebSocketException) as error:
                words = in_words(error)
                if _code(error) == WRONG_KEY:
                    pause_s = LONGEST_PAUSE_S
            self._note(words)
            if _now_s() - began_s > LONGEST_PAUSE_S:
                pause_s = FIRST_PAUSE_S
            await asyncio.sleep(pause_s * random.uniform(0.75, 1.25))  # noqa: S311 - so that copies do not come at once
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    def _note(self, trouble: str) -> None:
        """``trouble`` is empty when there is none."""
        if trouble == self._said:
            return
        self._said = trouble
        if trouble:
            log.warning("the edge is not fed", reason=trouble)
        else:
            log.info("the edge is fed")

    async def _listen(self, connection: ClientConnection) -> None:
        """Takes what the edge says; comes back when it has closed."""
        async for raw in connection:
            try:
                message = _decode(raw)
            except (msgspec.MsgspecError, UnicodeError, RecursionError):
                continue
            match message:
                case {"type": "feed", "on": bool(wanted)}:
                    self._note("")
                    self._wanted = wanted
                    self._told.set()
                case {"type": "refused", "reason": str(reason)}:
                    self._refusal = self._refusal or reason[:300] or "without a reason"
                    self._told.set()

    async def _feed(self, connection: ClientConnection) -> None:
        """After a refusal it says nothing for a while, and then everything anew."""
        pause_s = AFTER_REFUSAL_S
        while True:
            await self._until_told()
            self._told.clear()
            if self._refusal:
                log.warning("the edge refused a message and is told all anew", reason=self._refusal, in_s=pause_s)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_AFTER_REFUSAL_S)
                self._told.clear()
                self._refusal = ""
            if self._wanted:
                began_s = _now_s()
                await together(self._hand_out_what_there_is(connection), self._until_told())
                if _now_s() - began_s > LONGEST_AFTER_REFUSAL_S:
                    pause_s = AFTER_REFUSAL_S

    async def _until_told(self) -> None:
        await self._told.wait()

    async def _hand_out_what_there_is(self, connection: ClientConnection) -> None:
        """Until it is cancelled."""
        while True:
            try:
                async with self._live.watching() as watcher:
                    if watcher is not None:
                        await self._hand_out(connection, watcher)
                    log.warning("the edge is not fed: too many are watching")
            except StoreError as error:
                log.warning("the edge waits for the database", reason=str(error))
            await asyncio.sleep(AGAIN_S)

    async def _hand_out(self, connection: ClientConnection, watcher: Watcher) -> None:
        """Until it is cancelled. When nothing has changed it says so, unless nobody knows."""
        looked_s = _now_s()
        shown = Shown()
        while True:
            raw: bytes | None = None
            with suppress(TimeoutError):
                async with asyncio.timeout_at(looked_s + ALIVE_EVERY_S):
                    raw = await watcher.messages.get()
            found: list[bytes] = []
            if raw is not None:
                inline = len(raw) < LONG_BYTES
                found = self._pages(raw, shown) if inline else await run_in_threadpool(self._pages, raw, shown)
                self._note_left_out(shown)
            late = _now_s() >= looked_s + ALIVE_EVERY_S
            is_known = not (self._live.is_stalled or watcher.behind) and watcher.messages.empty()
            if not found and late and is_known:
                found = [_PING]
            for page in found:
                await connection.send(page, text=True)
            if found or late:
                looked_s = _now_s()

    def _pages(self, raw: bytes, shown: Shown) -> list[bytes]:
        return list(pages(_decode(raw), self._chosen, self._live, shown))

    def _note_left_out(self, shown: Shown) -> None:
        left_out = len(shown.machines.left_out), len(shown.targets.left_out)
        if left_out == self._left_out:
            return
        before, self._left_out = self._left_out, left_out
        if any(left_out) != any(before):
            log.warning(
                "the edge shows only a part: there are too many"
                if any(left_out)
                else "the edge shows everything again",
                machines_left_out=left_out[0],
                targets_left_out=left_out[1],
            )


class Few:
    """Which of a kind the edge is told of: all, or as many as it can show, those with the lowest numbers."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._told: set[int] = set()
        self.left_out: set[int] = set()

    def begin(self, entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """Of everything there is."""
        there = list(entries)
        if len(there) > self._most:
            there.sort(key=_id_of)
        self._told = {_id_of(entry) for entry in there[: self._most]}
        self.left_out = {_id_of(entry) for entry in there[self._most :]}
        return there[: self._most]

    def go_on(self, entries: Iterable[dict[str, Any]], gone: Iterable[int]) -> list[dict[str, Any]]:
        """Of what has changed. A place that becomes free is taken by whoever is told of next: the edge lays what has
        changed over what it knows before it takes away what is gone."""
        told = [entry for entry in entries if self._takes(_id_of(entry))]
        self._told.difference_update(gone)
        self.left_out.difference_update(gone)
        return told

    def _takes(self, number: int) -> bool:
        if number not in self._told:
            if len(self._told) >= self._most:
                self.left_out.add(number)
                return False
            self.left_out.discard(number)
            self._told.add(number)
        return True


def _id_of(entry: Mapping[str, Any]) -> int:
    number: int = entry["id"]
    return number


class Shown:
    """What one edge was told since the last whole."""

    def __init__(self) -> None:
        self.machines = Few(MOST_MACHINES)
        self.targets = Few(MOST_TARGETS)

    def counts(self) -> dict[str, int]:
        """How many it was not told of, as a message says it."""
        return {
            "machines_left_out": len(self.machines.left_out),
            "targets_left_out": len(self.targets.left_out),
        }


def pages(message: Mapping[str, Any], chosen: Chosen, names: Names, shown: Shown | None = None) -> Iterator[bytes]:
    """What the edge is sent for a message of the live view: nothing, or as many messages as its size takes.

    ``shown`` (None: nothing yet) is kept up.
    """
    kind = message["type"]
    if kind not in ("initial", "changes"):
        return
    shown = shown or Shown()
    before = shown.counts()
    machines = chosen.machines(message.get("machines", ()))
    targets = chosen.targets(_named(message.get("targets", ()), names))
    parts: list[tuple[str, Any]] = []
    if kind == "initial":
        parts += (("machines", entry) for entry in shown.machines.begin(machines))
        parts += (("targets", entry) for entry in shown.targets.begin(targets))
        counts = {name: count for name, count in shown.counts().items() if count}
        filled = list(_filled(parts)) or [{}]
        for number, page in enumerate(filled):
            yield _encode({"type": kind, "page": number, "more": number < len(filled) - 1, **counts, **page})
        return
    machines_gone = message.get("machines_removed", ()) if chosen.machine else ()
    targets_gone = message.get("removed", ()) if chosen.target else ()
    parts += (("machines", entry) for entry in shown.machines.go_on(machines, machines_gone))
    parts += (("targets", entry) for entry in shown.targets.go_on(targets, targets_gone))
    parts += (("machines_removed", number) for number in machines_gone)
    parts += (("removed", number) for number in targets_gone)
    counts = {name: count for name, count in shown.counts().items() if count != before[name]}
    filled = list(_filled(parts)) or ([{}] if counts else [])
    for page in filled:
        yield _encode({"type": kind, **counts, **page})


def _named(targets: Iterable[Mapping[str, Any]], names: Names) -> Iterator[dict[str, Any]]:
    """With what they are called; without those that were removed meanwhile, of which the next message says so."""
    for entry in targets:
        slug = names.slug_of(entry["id"])
        if slug is not None:
            yield {**entry, "slug": slug}


def _filled(parts: Iterable[tuple[str, Any]]) -> Iterator[dict[str, list[msgspec.Raw]]]:
    """The parts by their names, in messages of the size that is taken."""
    page: dict[str, list[msgspec.Raw]] = {}
    size = 0
    for name, part in parts:
        encoded = _encode(part)
        page.setdefault(name, []).append(msgspec.Raw(encoded))
        size += len(encoded) + 1
        if size >= PAGE_BYTES:
            yield page
            page, size = {}, 0
    if page:
        yield page


def gateway_address(url: str) -> str:
    """Where a relay at ``url`` takes gateways."""
    url = url.rstrip("/")
    return url if urlsplit(url).path.endswith("/gateway") else f"{url}/gateway"


def _code(error: BaseException) -> int | None:
    """Of the close frame."""
    return error.rcvd.code if isinstance(error, ConnectionClosed) and error.rcvd else None


def in_words(error: BaseException) -> str:
    """What keeps the edge from being fed; never with the key."""
    if isinstance(error, ConnectionClosed):
        if _code(error) == WRONG_KEY:
            return "the edge refuses the key: TOCSIN_EDGE_KEY must be the same at both ends"
        if error.rcvd:
            return f"the edge has closed the connection: {error.rcvd.code} {error.rcvd.reason}".strip()
        return "the connection to the edge broke"
    if isinstance(error, InvalidHandshake):
        return f"what is there is no relay: {error}"
    if isinstance(error, TimeoutError):
        return f"the edge did not answer within {OPEN_WITHIN_S:g} s"
    return f"the edge cannot be reached: {error}"


def _now_s() -> float:
    return asyncio.get_running_loop().time()
