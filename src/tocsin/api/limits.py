"""Around every request: how large it may be. Plain ASGI, no framework."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tocsin.api.problems import problem

LARGEST_BODY_BYTES: Final = 1_000_000
_UNLIMITED: Final = "/ping/"
"""Heartbeats limit what they read themselves: they keep the beginning."""
_DETAIL: Final = "The body is larger than 1 MB."


class BodyLimit:
    """Refuses a body that is too large: at once where its length is announced, otherwise as soon as it is exceeded."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(_UNLIMITED):
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdigit() and int(announced) > LARGEST_BODY_BYTES:
            # The rest is not read; the connection cannot be used again.
            await problem(413, _DETAIL, headers={"Connection": "close"})(scope, receive, send)
            return
        received = 0

        async def bounded() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > LARGEST_BODY_BYTES:
                    raise HTTPException(413, _DETAIL, headers={"Connection": "close"})
            return message

        await self._app(scope, bounded, send)
