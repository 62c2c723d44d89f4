"""What every answer of ours says to the browser. Plain ASGI, no framework."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Styles are inline because the component library writes its variables that way; scripts never are.
CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
_ALL: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


_HEADERS: Final = [(name.lower().encode(), value.encode()) for name, value in _ALL.items()]
_OURS: Final = frozenset(name for name, _ in _HEADERS)
_NOT_KEPT: Final = (b"cache-control", b"no-store")


class SecurityHeaders:
    """The same on every answer. What a browser may keep is for each answer to say; what says nothing is not kept."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [one for one in message.get("headers", ()) if one[0] not in _OURS]
                says_what_is_kept = any(name == _NOT_KEPT[0] for name, _ in headers)
                message["headers"] = [*headers, *_HEADERS, *(() if says_what_is_kept else (_NOT_KEPT,))]
            await send(message)

        await self._app(scope, receive, with_headers)
