"""The live view: how every target stands, at once, and then what changes, at most once a second.

One reader per process, and only while somebody watches; every watcher is told the same. What the bus hands round is
shown at once; the database is asked for what changed when that is rung, and for everything now and then, so that with
any bus, or none that works, the view is right again within seconds. Nobody waits for a slow watcher: it is sent a fresh
whole when it can take more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocket, WebSocketDisconnect

from tocsin.api import history
from tocsin.api.answers import milliseconds, moment
from tocsin.api.context import ApiContext
from tocsin.api.guard import identify, key_of, same_origin
from tocsin.api.picture import Moved, Picture, Told
from tocsin.bus.base import Feed, Topic
from tocsin.catalog import targets
from tocsin.lib.log import get_logger
from tocsin.lib.threads import TaskSet
from tocsin.store import targets as store_targets
from tocsin.store import transitions as store_transitions
from tocsin.store.engine import StoreError
from tocsin.store.targets import Standing

log = get_logger("live")

AT_MOST_EVERY_S: Final = 1.0
AT_LEAST_EVERY_S: Final = 10.0
"""Without a bell: what another process wrote is seen this soon."""
WHOLE_EVERY_S: Final = 30.0
"""How often everything is read although nothing seems to be missing."""
SHARE: Final = 0.05
"""Of the time that reading everything may take up: where there are many targets it is done less often, down to
``AT_LEAST_EVERY_S``."""
MOST_NAMED: Final = 2000
"""From this many changed targets on, reading all of them is no more work."""
BACKLOG: Final = 8
"""A watcher this many messages behind is sent a fresh whole instead."""
MOST_TRANSITIONS: Final = 100
"""In one message, the newest."""
MOST_WATCHERS: Final = 1000
LOOK_AGAIN_S: Final = 60.0
"""How often it is asked again whether a watcher may."""
_TOPICS: Final[tuple[Topic, ...]] = ("checks", "transitions", "targets")
_encode = msgspec.json.Encoder().encode

# Close codes of RFC 6455; those from 4000 are an application's own.
NOBODY: Final = 4401
NOT_ALLOWED: Final = 4403
TOO_MANY: Final = 1013


class _Look(NamedTuple):
    """What the database said to a question that was put at ``began_s``. ``among`` are the targets it was about (None:
    all); ``ids`` are the transitions above what was told for good, ``transitions`` those nobody was told yet."""

    began_s: float
    standings: list[Standing]
    among: Collection[int] | None
    revision: int
    ids: list[int]
    transitions: list[dict[str, Any]]


class _Watcher:
    """One connection. ``behind``: its backlog was full, so it starts over."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[bytes] = asyncio.Queue(BACKLOG)
        self.behind = False


class LiveView:
    """Make it with ``LiveView.open``."""

    def __init__(self, context: ApiContext) -> None:
        self._context = context
        self._watchers: set[_Watcher] = set()
        self._wanted = asyncio.Event()
        self._lock = asyncio.Lock()
        self._picture = Picture(())
        self._told = Told(0)
        self._revision = 0
        self._encoded: msgspec.Raw | None = None
        """The picture as a new watcher is sent it; None: it has changed since."""
        # What the database has to be asked: when it was, in the loop's seconds, and what has come up since.
        self._asked_s = self._read_s = 0.0
        self._pace_s = AT_MOST_EVERY_S
        self._missing = self._stirred = self._news = False

    @classmethod
    @asynccontextmanager
    async def open(cls, context: ApiContext) -> AsyncIterator[LiveView]:
        live = cls(context)
        tasks = TaskSet(lambda error: log.error("the live view broke", exc_info=error))
        tasks.start(live._follow())
        try:
            yield live
        finally:
            await tasks.close()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[_Watcher | None]:
        """A watcher whose first message is the whole; None when there are too many."""
        if len(self._watchers) >= MOST_WATCHERS:
            yield None
            return
        watcher = _Watcher()
        async with self._lock:  # no change falls between the whole and the first change
            if not self._watchers:
                await self._begin()
            watcher.messages.put_nowait(await self._whole())
            self._watchers.add(watcher)
        self._wanted.set()
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)
            if not self._watchers:
                self._wanted.clear()

    async def _begin(self) -> None:
        """Nobody was watching until now: everything is read anew, and none of it is news."""
        self._told, look = await run_in_threadpool(_first, self._context, _now_s())
        self._picture = Picture(())
        self._encoded = None
        self._take_over(look, _now_s())

    async def _follow(self) -> None:
        stalled = False
        async with self._context.bus.listen(_TOPICS) as bell:
            while True:
                await self._wanted.wait()
                async with self._context.bus.follow() as feed:
                    while self._watchers:
                        rung = await bell.wait(self._patience_s())
                        try:
                            await self.tell(rung, feed)
                            stalled = False
                        except StoreError as error:
                            if not stalled:
                                log.warning("the live view waits for the database", reason=str(error))
                            stalled = True
                        await asyncio.sleep(AT_MOST_EVERY_S)

    async def tell(self, rung: Collection[Topic], feed: Feed) -> None:
        """Gives every watcher what changed since the last time. Raises StoreError when the database could not be asked;
        what was handed round is told all the same."""
        async with self._lock:
            if not self._watchers:
                return
            handed = feed.take()
            self._missing |= not handed.complete
            self._stirred |= "checks" in rung
            self._news |= not {"transitions", "targets"}.isdisjoint(rung)
            changed, removed = self._picture.merge(handed.states)
            transitions: list[dict[str, Any]] = []
            failed: StoreError | None = None
            try:
                look = await self._ask()
            except StoreError as error:
                failed = error
            else:
                if look is not None:
                    moved = self._take_over(look, _now_s())
                    changed, removed = changed | moved.changed, removed | moved.removed
                    transitions = look.transitions
            await self._give(changed - removed, removed, transitions)
        if failed is not None:
            raise failed

    # ── when the database is asked ────────────────────────────────────────────────────────────────

    async def _ask(self) -> _Look | None:
        """For everything, for what changed, or for nothing, as is needed now. Its answer is newer than all that was
        handed round before it was asked."""
        now_s = _now_s()
        passed_s = now_s - self._read_s
        most_s = AT_LEAST_EVERY_S if self._missing else WHOLE_EVERY_S
        if passed_s >= (self._pace_s if self._missing and self._stirred else most_s):
            return await run_in_threadpool(_read, self._context, now_s, self._told, None)
        if self._news or now_s - self._asked_s >= AT_LEAST_EVERY_S:
            return await run_in_threadpool(_read, self._context, now_s, self._told, self._revision)
        return None

    def _patience_s(self) -> float:
        """How long it need not be asked, although nobody rings."""
        if self._missing and self._stirred:
            return max(0.0, self._read_s + self._pace_s - _now_s())
        return AT_LEAST_EVERY_S

    def _take_over(self, look: _Look, now_s: float) -> Moved:
        self._asked_s = now_s
        self._news = False
        if look.among is None:
            self._read_s = now_s
            self._pace_s = min(max((now_s - look.began_s) / SHARE, AT_MOST_EVERY_S), AT_LEAST_EVERY_S)
            self._missing = self._stirred = False
        self._revision = look.revision
        self._told.remember(look.ids, look.began_s)
        return self._picture.replace(look.standings, look.among)

    # ── what watchers are given ───────────────────────────────────────────────────────────────────

    async def _give(self, changed: set[int], removed: set[int], transitions: list[dict[str, Any]]) -> None:
        message = None
        if changed or removed or transitions:
            self._encoded = None
            standings = [self._picture.standings[number] for number in sorted(changed)]
            at = moment(self._context.clock.now_ms())
            message = await run_in_threadpool(_changes, at, standings, sorted(removed), transitions)
        for watcher in list(self._watchers):
            if watcher.behind:
                if watcher.messages.empty():
                    watcher.behind = False
                    watcher.messages.put_nowait(await self._whole())
            elif message is not None:
                try:
                    watcher.messages.put_nowait(message)
                except asyncio.QueueFull:
                    watcher.behind = True

    async def _whole(self) -> bytes:
        if self._encoded is None:
            self._encoded = await run_in_threadpool(_briefs, list(self._picture.standings.values()))
        at = moment(self._context.clock.now_ms())
        return _encode({"type": "initial", "at": at, "targets": self._encoded, "machines": []})


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _first(context: ApiContext, began_s: float) -> tuple[Told, _Look]:
    """How everything stands, none of which is news."""
    with context.store.read() as conn:
        told = Told(store_transitions.newest_id(conn))
        return told, _Look(
            began_s=began_s,
            standings=store_targets.standings(conn),
            among=None,
            revision=store_targets.latest_revision(conn),
            ids=store_transitions.ids_after(conn, told.floor),
            transitions=[],
        )


def _read(context: ApiContext, began_s: float, told: Told, since: int | None) -> _Look:
    """What nobody was told yet, and how the targets stand that it is about or that changed after the revision ``since``
    (None: how everything stands)."""
    with context.store.read() as conn:
        ids = store_transitions.ids_after(conn, told.floor)
        fresh = told.new(ids)
        if len(fresh) > MOST_NAMED:
            since, fresh = None, fresh[-MOST_TRANSITIONS:]
        stored = store_transitions.get_many(conn, fresh)
        among = None
        if since is not None:
            among = {one.transition.key.subject.id for one in stored.values()}
            among.update(store_targets.touched_since(conn, since))
            among = None if len(among) > MOST_NAMED else among
        newest = [stored[number] for number in fresh[-MOST_TRANSITIONS:]]
        return _Look(
            began_s=began_s,
            standings=store_targets.standings(conn, among),
            among=among,
            revision=store_targets.latest_revision(conn),
            ids=ids,
            transitions=history.timeline(conn, newest, now_ms=context.clock.now_ms()) if newest else [],
        )


def _changes(at: str, changed: Iterable[Standing], removed: list[int], transitions: list[dict[str, Any]]) -> bytes:
    briefs = [_brief(standing) for standing in changed]
    return _encode({"type": "changes", "at": at, "targets": briefs, "removed": removed, "transitions": transitions})


def _briefs(standings: Iterable[Standing]) -> msgspec.Raw:
    return msgspec.Raw(_encode([_brief(standing) for standing in standings]))


def _brief(standing: Standing) -> dict[str, Any]:
    checked = standing.last_at_ms > 0
    return {
        "id": standing.id,
        "verdict": standing.verdict,
        "since": moment(standing.since_ms or standing.created_ms),
        "reason": standing.reason if checked else targets.reason_unchecked(standing.enabled),
        "last_check_at": moment(standing.last_at_ms) if checked else None,
        "last_latency_ms": milliseconds(standing.last_latency_us),
        "enabled": standing.enabled,
    }


# ── one connection ────────────────────────────────────────────────────────────────────────────────────


async def serve(websocket: WebSocket) -> None:
    """``/ws``: the whole first, then changes; ``{"type": "ping"}`` is answered ``{"type": "pong"}``.

    Closed with 4401 for nobody, 4403 for another page's script or a key that may not read; also later, when the
    session ends or the key is revoked.
    """
    await websocket.accept()
    refusal = await _refusal(websocket)
    if refusal is not None:
        await websocket.close(*refusal)
        return
    live: LiveView = websocket.app.state.live
    try:
        async with live.watching() as watcher:
            if watcher is None:
                await websocket.close(TOO_MANY, "too many are watching")
                return
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_send(websocket, watcher))
                tasks.create_task(_answer(websocket))
                tasks.create_task(_look_again(websocket))
    except* _Refused as refused:
        await websocket.close(*refused.exceptions[0].args)
    except* StoreError:
        await websocket.close(TOO_MANY, "the database is busy or away")
    except* WebSocketDisconnect:
        pass  # it went away


class _Refused(Exception):
    """With a close code and a reason."""


async def _look_again(websocket: WebSocket) -> None:
    """Nobody goes on listening with what no longer lets in."""
    while True:
        await asyncio.sleep(LOOK_AGAIN_S)
        refusal = await _refusal(websocket)
        if refusal is not None and refusal[0] != TOO_MANY:
            raise _Refused(*refusal)


async def _refusal(websocket: WebSocket) -> tuple[int, str] | None:
    try:
        identity = await run_in_threadpool(identify, websocket)
    except StoreError:
        return TOO_MANY, "the database is busy or away"
    if identity is None:
        return NOBODY, "sign in first"
    if key_of(websocket) is None and same_origin(websocket) is False:
        return NOT_ALLOWED, "another site's page may not listen"
    if not identity.may("read"):
        return NOT_ALLOWED, "this key may not read"
    return None


async def _send(websocket: WebSocket, watcher: _Watcher) -> None:
    while True:
        await websocket.send_text((await watcher.messages.get()).decode())


async def _answer(websocket: WebSocket) -> None:
    while True:
        frame = await websocket.receive()
        if frame["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(frame["code"])
        try:
            message = msgspec.json.decode(frame.get("text") or frame.get("bytes") or b"")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue  # nothing that is said here
        if isinstance(message, dict) and message.get("type") == "ping":
            await websocket.send_text('{"type":"pong"}')
