"""Is this process able to do its work, and what does it measure: for every role, with and without the API.

``Health`` serves both on a port of its own, as a plain ASGI application: a process that probes needs no web framework.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from http import HTTPStatus
from typing import Any, Final, Literal, NamedTuple

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from tocsin.catalog.access import Identity
from tocsin.lib.metrics import REGISTRY
from tocsin.lib.threads import Threads
from tocsin.store.engine import SchemaState, Store, StoreError

READY_WITHIN_S: Final = 2.0

_Message = MutableMapping[str, Any]
_Send = Callable[[_Message], Awaitable[None]]
_Answer = tuple[int, bytes, bytes]
"""Status, content type, body."""


class Standing(NamedTuple):
    """How a process stands. ``detail`` says why it is not ready; empty: it is."""

    database: Literal["ok", "unavailable", "slow"]
    schema_state: SchemaState | Literal["unknown"]
    detail: str

    @property
    def is_ready(self) -> bool:
        return not self.detail

    def document(self) -> dict[str, str]:
        return {"status": _word(self.is_ready), **self._asdict()}


class LoneStanding(NamedTuple):
    """The same of a process that has no database."""

    detail: str

    @property
    def is_ready(self) -> bool:
        return not self.detail

    def document(self) -> dict[str, str]:
        return {"status": _word(self.is_ready), "detail": self.detail}


def _word(is_ready: bool) -> str:
    return "ready" if is_ready else "not ready"


_ADVICE: Final = {
    "current": "",
    "behind": "The database's schema is older than this version: run `tocsin migrate`.",
    "empty": "The database has no schema yet: run `tocsin migrate`.",
    "newer": "",
    "ahead": "The database was made by a newer version: update this one.",
}


class Readiness:
    """Asks the database on a thread of its own, so that a stalled one keeps nobody waiting.

    ``lacks`` says what else keeps this process from its work, as a sentence; empty when nothing does.
    """

    def __init__(self, store: Store, lacks: Callable[[], str] = lambda: "") -> None:
        self._store = store
        self._lacks = lacks
        self._thread = Threads("ready", 1)

    async def ask(self) -> Standing:
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                schema_state = await self._thread.run(self._store.schema_state)
        except TimeoutError:
            return Standing("slow", "unknown", "The database does not answer in time.")
        except StoreError:
            return Standing("unavailable", "unknown", "The database cannot be reached.")
        return Standing("ok", schema_state, _ADVICE[schema_state] or self._lacks())

    def close(self) -> None:
        self._thread.close()


class LoneReadiness:
    """Of a process that has no database."""

    def __init__(self, lacks: Callable[[], str]) -> None:
        self._lacks = lacks

    async def ask(self) -> LoneStanding:
        return LoneStanding(self._lacks())

    def close(self) -> None:
        """It holds nothing."""


def exposition() -> bytes:
    """What this process measures of itself, as Prometheus reads it."""
    return generate_latest(REGISTRY)


Identify = Callable[[str], Identity | None]
"""Who has this key; None for nobody known. Blocks; raises the store's errors."""


class Health:
    """``/health/live``, ``/health/ready`` and ``/metrics`` with the answers of the API; nothing else is there.

    Without ``identify`` there is nowhere to look keys up: then metrics are for everybody, or, not being
    ``metrics_public``, for nobody.
    """

    def __init__(
        self, *, readiness: Readiness | LoneReadiness, identify: Identify | None, metrics_public: bool
    ) -> None:
        self._readiness = readiness
        self._identify = identify
        self._metrics_public = metrics_public
        self._reading = Threads("health", 1)

    def close(self) -> None:
        self._reading.close()

    async def __call__(self, scope: _Message, receive: Callable[[], Awaitable[_Message]], send: _Send) -> None:
        status, content_type, body = await self._answer(scope)
        headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
        if status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _answer(self, scope: _Message) -> _Answer:
        if scope["method"] not in ("GET", "HEAD"):
            return _problem(405, "This can only be read.")
        match scope["path"]:
            case "/health/live":
                return _json(200, {"status": "ok"})
            case "/health/ready":
                standing = await self._readiness.ask()
                return _json(200 if standing.is_ready else 503, standing.document())
            case "/metrics":
                refusal = None if self._metrics_public else await self._reading.run(self._refusal, _key(scope))
                return refusal or (200, CONTENT_TYPE_LATEST.encode(), exposition())
        return _problem(404, "There is no such thing here.")

    def _refusal(self, key: str) -> _Answer | None:
        """Why whoever has this key may not read; None when they may."""
        if self._identify is None:
            return _problem(403, "Keys cannot be looked up here; TOCSIN_METRICS_PUBLIC=true opens the metrics.")
        try:
            identity = self._identify(key)
        except StoreError as error:
            return _problem(503, f"Who asks cannot be looked up: {error}.")
        if identity is None:
            return _problem(401, "Send an API key as Authorization: Bearer or X-API-Key.")
        if not identity.may("read"):
            return _problem(403, f"This needs the scope “read”; {identity.name} has {', '.join(identity.scopes)}.")
        return None


def _key(scope: _Message) -> str:
    """The API key of a request; empty when there is none."""
    headers: dict[bytes, bytes] = dict(scope["headers"])
    given = headers.get(b"x-api-key")
    if given is not None:
        return given.decode("latin-1")
    kind, _, value = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    return value.strip() if kind.lower() == "bearer" else ""


def _json(status: int, content: Mapping[str, object], content_type: bytes = b"application/json") -> _Answer:
    return status, content_type, json.dumps(content, ensure_ascii=False).encode()


def _problem(status: int, detail: str) -> _Answer:
    content = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return _json(status, content, b"application/problem+json")
