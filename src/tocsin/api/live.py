"""The live view: how every target stands, at once, and then what changes, at most once a second.

One reader per process looks at the store, and only while somebody watches; every watcher is told the same. Nobody
waits for a slow one: it is sent a fresh whole when it can take more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocket, WebSocketDisconnect

from tocsin.api import history
from tocsin.api.answers import milliseconds, moment
from tocsin.api.context import ApiContext
from tocsin.api.guard import identify, key_of, same_origin
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
BACKLOG: Final = 8
"""A watcher this many messages behind is sent a fresh whole instead."""
MOST_TRANSITIONS: Final = 100
MOST_WATCHERS: Final = 1000
LOOK_AGAIN_S: Final = 60.0
"""How often it is asked again whether a watcher may."""
_encode = msgspec.json.Encoder().encode

# Close codes of RFC 6455; those from 4000 are an application's own.
NOBODY: Final = 4401
NOT_ALLOWED: Final = 4403
TOO_MANY: Final = 1013


class _Picture(NamedTuple):
    """What was seen last, by target id. ``newest`` is the number of the newest transition."""

    targets: Mapping[int, dict[str, Any]]
    newest: int


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
        self._picture: _Picture | None = None
        self._lock = asyncio.Lock()

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
            picture = await self._look()
            self._watchers.add(watcher)
            watcher.messages.put_nowait(self._whole(picture))
        self._wanted.set()
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)
            if not self._watchers:
                self._wanted.clear()

    async def _look(self) -> _Picture:
        """The newest picture; when nobody was watching it is taken now."""
        if self._picture is None or len(self._watchers) == 0:
            self._picture = await run_in_threadpool(_taken, self._context)
        return self._picture

    def _whole(self, picture: _Picture) -> bytes:
        at = moment(self._context.clock.now_ms())
        return _encode({"type": "initial", "at": at, "targets": list(picture.targets.values()), "machines": []})

    async def _follow(self) -> None:
        async with self._context.bus.listen(("checks", "transitions", "targets")) as bell:
            while True:
                await self._wanted.wait()
                await bell.wait(AT_LEAST_EVERY_S)
                try:
                    await self.tell()
                except StoreError as error:
                    log.warning("the live view waits for the database", reason=str(error))
                await asyncio.sleep(AT_MOST_EVERY_S)

    async def tell(self) -> None:
        """Looks once, and gives every watcher what changed since the last look."""
        async with self._lock:
            before = self._picture
            if before is None or not self._watchers:
                return
            after = await run_in_threadpool(_taken, self._context)
            transitions = []
            if after.newest > before.newest:
                transitions = await run_in_threadpool(_changes_since, self._context, before.newest)
            self._picture = after
            changed = [target for key, target in after.targets.items() if before.targets.get(key) != target]
            removed = [key for key in before.targets if key not in after.targets]
            changes = None
            if changed or removed or transitions:
                changes = _encode(
                    {
                        "type": "changes",
                        "at": moment(self._context.clock.now_ms()),
                        "targets": changed,
                        "removed": removed,
                        "transitions": transitions,
                    }
                )
            for watcher in self._watchers:
                self._give(watcher, changes, after)

    def _give(self, watcher: _Watcher, changes: bytes | None, picture: _Picture) -> None:
        if watcher.behind:
            if watcher.messages.empty():
                watcher.behind = False
                watcher.messages.put_nowait(self._whole(picture))
        elif changes is not None:
            try:
                watcher.messages.put_nowait(changes)
            except asyncio.QueueFull:
                watcher.behind = True


def _taken(context: ApiContext) -> _Picture:
    with context.store.read() as conn:
        standings = store_targets.standings(conn)
        newest = store_transitions.newest_id(conn)
    return _Picture({standing.id: _brief(standing) for standing in standings}, newest)


def _changes_since(context: ApiContext, transition_id: int) -> list[dict[str, Any]]:
    now_ms = context.clock.now_ms()
    with context.store.read() as conn:
        stored = store_transitions.stored_after(conn, transition_id, limit=MOST_TRANSITIONS)
        return history.timeline(conn, stored, now_ms=now_ms)


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
