"""The relay's web server: gateways on ``/gateway``, browsers on ``/ws``, the page, a snapshot, health.

Two doors that lead to each other nowhere: what comes in by ``/ws`` is read for a ping and for nothing else.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

import tocsin
from tocsin.edge import messages
from tocsin.edge.door import GATEWAY, Door, Entrance
from tocsin.edge.guests import Places, also_mapped, network_of
from tocsin.edge.messages import Refused
from tocsin.edge.relay import MOST_FEEDERS, MOST_WATCHERS, Feeder, Relay
from tocsin.lib.clock import SYSTEM_CLOCK, Clock
from tocsin.lib.log import get_logger
from tocsin.lib.rates import RateLimit
from tocsin.lib.security_headers import SecurityHeaders
from tocsin.lib.static_files import StaticFiles, kept_for, sent
from tocsin.lib.watchers import Watcher

log = get_logger("edge")

PAGE: Final = "edge.html"
WEB_APP: Final = Path(tocsin.__file__).parent / "web"
_FILES: Final = ("assets/", "signs/", "color-scheme.js")
"""Of the built web app, what the page asks for."""

INTRODUCE_WITHIN_S: Final = 5.0
"""By then a gateway that sent no key with its request must have said one."""
MOST_STRANGERS: Final = 64
"""Connections to ``/gateway`` that have yet to say a key."""
WRONG_KEYS_PER_MINUTE: Final = 10
"""From one address; after that no key from there is looked at for a while."""
REFUSED_PER_MINUTE: Final = 60
"""Messages that make no sense, of one gateway."""
WORDS_PER_MINUTE: Final = 30
"""Of one browser, pings and all."""
MOST_OF_A_GUEST: Final = 500
"""Browsers watching from one network: a large office is behind one address, and one host cannot take every place."""
MOST_CONNECTIONS: Final = MOST_WATCHERS + MOST_FEEDERS + MOST_STRANGERS + 512
"""All that are open. WebSockets count and are never turned away here, so these many leave 512 for who asks once."""

# Close codes of RFC 6455; those from 4000 are an application's own.
WRONG_KEY: Final = 4001
NOT_ALLOWED: Final = 4403
TOO_MUCH: Final = 1008
TOO_MANY: Final = 1013

_encode = msgspec.json.Encoder().encode


class _Refusal(Exception):
    """With a close code and a reason."""


class Lobby:
    """Who may feed. Keeps only a hash of the key."""

    def __init__(self, key: str) -> None:
        self._digest = _digest(key)
        self._wrong = RateLimit(WRONG_KEYS_PER_MINUTE)
        self._complaints = RateLimit(6)
        self._strangers = 0

    async def introduce(self, websocket: WebSocket) -> None:
        """Comes back when the other end has shown the key. Raises _Refusal."""
        if "origin" in websocket.headers:
            raise _Refusal(NOT_ALLOWED, "a page in a browser may not feed")
        address = network_of(websocket)
        wait_s = self._wrong.would_wait_s(address, now_s=_now_s())
        if wait_s:
            raise _Refusal(TOO_MANY, f"too many wrong keys from there; try again in {wait_s:.0f} s")
        key = _bearer(websocket) or await self._said_by(websocket)
        if key is None or not hmac.compare_digest(_digest(key), self._digest):
            self._wrong.wait_s(address, now_s=_now_s())
            if not self._complaints.wait_s("", now_s=_now_s()):
                log.warning("a gateway was refused: its key is missing or wrong", address=address)
            raise _Refusal(WRONG_KEY, "the key is missing or wrong")

    async def _said_by(self, websocket: WebSocket) -> str | None:
        """The key in the first message. Those who have yet to say one keep nobody out who has sent it."""
        if self._strangers >= MOST_STRANGERS:
            raise _Refusal(TOO_MANY, "too many are waiting to be let in")
        self._strangers += 1
        try:
            async with asyncio.timeout(INTRODUCE_WITHIN_S):
                return messages.key_in(await _received(websocket))
        except TimeoutError:
            return None
        finally:
            self._strangers -= 1


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _bearer(connection: HTTPConnection) -> str | None:
    scheme, _, value = connection.headers.get("authorization", "").partition(" ")
    return value.strip() or None if scheme.lower() == "bearer" else None


async def _received(websocket: WebSocket) -> str | bytes:
    """Raises WebSocketDisconnect."""
    frame = await websocket.receive()
    if frame["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(frame["code"])
    text: str | None = frame.get("text")
    return text if text is not None else frame.get("bytes") or b""


# ── gateways ──────────────────────────────────────────────────────────────────────────────────────────


async def gateway(websocket: WebSocket) -> None:
    """``/gateway``: with the key as ``Authorization: Bearer``, or as ``{"type": "auth", "key": …}`` first.

    Told ``{"type": "feed", "on": true}`` when it is to send an ``initial`` and then changes, ``false`` when another
    feeds; ``{"type": "refused", "reason": …}`` when a message made no sense. Closed with 4001 for a wrong or missing
    key.
    """
    await websocket.accept()
    lobby: Lobby = websocket.app.state.lobby
    relay: Relay = websocket.app.state.relay
    try:
        await lobby.introduce(websocket)
        with relay.feeding() as feeder:
            if feeder is None:
                raise _Refusal(TOO_MANY, "too many gateways are here")
            log.info("a gateway has come", address=network_of(websocket))
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(_listen(websocket, relay, feeder))
                    tasks.create_task(_tell(websocket, feeder))
            finally:
                log.info("a gateway has gone", address=network_of(websocket))
    except* _Refusal as refusals:
        await _close(websocket, refusals)
    except* WebSocketDisconnect:
        pass  # it went away


async def _listen(websocket: WebSocket, relay: Relay, feeder: Feeder) -> None:
    nonsense = RateLimit(REFUSED_PER_MINUTE)
    while True:
        raw = await _received(websocket)
        try:
            await relay.hear(feeder, raw)
        except Refused as refused:
            if nonsense.wait_s("", now_s=_now_s()):
                raise _Refusal(TOO_MUCH, "too much that makes no sense") from None
            feeder.refusal = str(refused)
            feeder.stirred.set()


async def _tell(websocket: WebSocket, feeder: Feeder) -> None:
    told: bool | None = None
    while True:
        await feeder.stirred.wait()
        feeder.stirred.clear()
        refusal, feeder.refusal = feeder.refusal, ""
        if refusal:
            log.warning("a gateway's message was refused", reason=refusal)
            await websocket.send_text(_encode({"type": "refused", "reason": refusal}).decode())
        if feeder.feeds != told:
            told = feeder.feeds
            await websocket.send_text(_encode({"type": "feed", "on": told}).decode())


# ── browsers ──────────────────────────────────────────────────────────────────────────────────────────


async def watch(websocket: WebSocket) -> None:
    """``/ws``: the whole first, then changes and how old it is; ``{"type": "ping"}`` is answered ``{"type": "pong"}``.

    Whatever else is said is not listened to; who says much is closed with 1008, another site's page with 4403.
    """
    await websocket.accept()
    relay: Relay = websocket.app.state.relay
    try:
        if _is_foreign(websocket):
            _complain(websocket, "foreign", "a page of another address was refused: is TOCSIN_PUBLIC_URL missing?")
            raise _Refusal(NOT_ALLOWED, "another site's page may not listen")
        places: Places = websocket.app.state.places
        with places.one_more(network_of(websocket)) as welcome:
            if not welcome:
                _complain(websocket, "many", "too many watch from one address: is it a proxy's (FORWARDED_ALLOW_IPS)?")
                raise _Refusal(TOO_MANY, "too many are watching from there")
            with relay.watching() as watcher:
                if watcher is None:
                    raise _Refusal(TOO_MANY, "too many are watching")
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(_send(websocket, relay, watcher))
                    tasks.create_task(_answer(websocket))
    except* _Refusal as refusals:
        await _close(websocket, refusals)
    except* WebSocketDisconnect:
        pass  # it went away


async def _send(websocket: WebSocket, relay: Relay, watcher: Watcher) -> None:
    while True:
        await websocket.send_text((await relay.next_for(watcher)).decode())


async def _answer(websocket: WebSocket) -> None:
    allowance = RateLimit(WORDS_PER_MINUTE)
    while True:
        raw = await _received(websocket)
        if allowance.wait_s("", now_s=_now_s()):
            raise _Refusal(TOO_MUCH, "there is nothing to say here")
        if _is_ping(raw):
            await websocket.send_text('{"type":"pong"}')


class _Word(msgspec.Struct):
    type: str


_word = msgspec.json.Decoder(_Word).decode


def _is_ping(raw: str | bytes) -> bool:
    try:
        return _word(raw).type == "ping"
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False  # nothing that is said here


def _complain(websocket: WebSocket, about: str, words: str) -> None:
    """Once a minute at most: whoever it is can come as often as he likes."""
    complaints: RateLimit = websocket.app.state.complaints
    if not complaints.wait_s(about, now_s=_now_s()):
        headers = websocket.headers
        said = {name: headers.get(name, "")[:200] for name in ("origin", "host")}
        log.warning(words, address=network_of(websocket), **said)


def _is_foreign(connection: HTTPConnection) -> bool:
    """Sent by a page of another site, by its Origin. Programs have none.

    A host that was asked for without a port is at its scheme's own, and which scheme that is only the Origin knows
    where a proxy ends TLS and does not say so.
    """
    origin = connection.headers.get("origin")
    if origin is None:
        return False
    settings_url: str = connection.app.state.public_url
    host = f"//{connection.headers.get('host', '')}"
    found = _place(origin, "")
    return found is None or found not in {_place(host, "http"), _place(host, "https"), _place(settings_url, "")}


def _place(url: str, scheme: str) -> tuple[str, int] | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname:
        return None
    return parts.hostname, port or (443 if (parts.scheme or scheme) in ("https", "wss") else 80)


async def _close(websocket: WebSocket, refusals: ExceptionGroup[_Refusal]) -> None:
    first: BaseException = refusals
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    code, reason = first.args
    await websocket.close(code, reason)


def _now_s() -> float:
    return asyncio.get_running_loop().time()


# ── what is asked for once ────────────────────────────────────────────────────────────────────────────


async def snapshot(request: Request) -> Response:
    """``/v1/snapshot``: what a browser that connects now would be sent first."""
    relay: Relay = request.app.state.relay
    return Response(relay.snapshot(), headers={"Content-Type": "application/json"})


async def live(request: Request) -> Response:
    return _answered({"status": "ok"})


async def ready(request: Request) -> Response:
    """It can show what it has, with a source or without: that there is none is for its own watch to say."""
    relay: Relay = request.app.state.relay
    return _answered({"status": "ok", "source": relay.source})


async def page(request: Request) -> Response:
    files: StaticFiles = request.app.state.files
    path = request.url.path.lstrip("/")
    return await run_in_threadpool(_file, files, path, request)


def _file(files: StaticFiles, path: str, request: Request) -> Response:
    if path == "":
        found = files.find(PAGE)
        if found is not None:
            return sent(found, request.headers, "no-cache")
        return Response("The web app is not built. Type: make web\n", 200, media_type="text/plain")
    if path.startswith(_FILES) and ".." not in path.split("/") and (found := files.find(path)) is not None:
        return sent(found, request.headers, kept_for(path))
    raise HTTPException(404, f"There is nothing at {request.url.path}.")


def _answered(content: Any, status: int = 200, media_type: str = "application/json") -> Response:
    return Response(_encode(content), status, media_type=media_type)


async def _problem(request: Request, error: Exception) -> Response:
    """RFC 9457."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    title = HTTPStatus(status).phrase
    detail = error.detail if isinstance(error, HTTPException) else "The mistake is ours."
    answer = _answered({"title": title, "status": status, "detail": detail}, status, "application/problem+json")
    answer.headers.update(getattr(error, "headers", None) or {})
    return answer


class _Chosen(Protocol):
    """The settings this room needs."""

    @property
    def key(self) -> str: ...
    @property
    def public_url(self) -> str: ...


def create_app(settings: _Chosen, *, clock: Clock = SYSTEM_CLOCK, web_dir: Path = WEB_APP) -> Starlette:
    app = Starlette(
        routes=[
            WebSocketRoute(GATEWAY, gateway),
            WebSocketRoute("/ws", watch),
            Route("/v1/snapshot", snapshot),
            Route("/health/live", live),
            Route("/health/ready", ready),
            Route("/{path:path}", page),
        ],
        exception_handlers={HTTPException: _problem, 500: _problem},
        lifespan=_lifespan(clock),
    )
    app.state.lobby = Lobby(settings.key)
    app.state.places = Places(MOST_OF_A_GUEST)
    app.state.complaints = RateLimit(1)
    app.state.public_url = settings.public_url
    app.state.files = StaticFiles(web_dir)
    app.add_middleware(SecurityHeaders)
    return app


def _lifespan(clock: Clock) -> Callable[[Starlette], Any]:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with Relay.open(clock) as relay:
            app.state.relay = relay
            yield

    return lifespan


def server_config(app: Starlette) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        http=Entrance,
        ws=Door,
        # A thousand browsers get the same kilobyte: to pack it for each costs more than to send it.
        ws_per_message_deflate=False,
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=1,
    )
    config.forwarded_allow_ips = also_mapped(config.forwarded_allow_ips)
    return config
