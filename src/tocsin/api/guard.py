"""Who may call what: every route says what it needs, and is asked before anything of a request's body is read.

A route belongs to one of five classes. There is no way to add one that belongs to none.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.responses import Response

from tocsin import admission
from tocsin.api.context import ApiContext
from tocsin.api.models import Problem
from tocsin.api.problems import ApiProblem
from tocsin.catalog import access
from tocsin.catalog.access import Identity, Scope

COOKIE: Final = "tocsin_session"
REQUEST_HEADER: Final = "x-tocsin-request"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def context_of(connection: HTTPConnection) -> ApiContext:
    context: ApiContext = connection.app.state.context
    return context


def _context(request: Request) -> ApiContext:
    return context_of(request)


def _identity(request: Request) -> Identity:
    identity: Identity = request.state.identity
    return identity


Context = Annotated[ApiContext, Depends(_context)]
Asker = Annotated[Identity, Depends(_identity)]


# ── who ───────────────────────────────────────────────────────────────────────────────────────────────


def key_of(connection: HTTPConnection) -> str | None:
    given = connection.headers.get("x-api-key")
    if given is not None:
        return given
    scheme, _, value = connection.headers.get("authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else None


def identify(connection: HTTPConnection) -> Identity | None:
    """Who asks, by key or else by session cookie; None for nobody. A key that is wrong is nobody, whatever the cookie.

    Reads the store; noting the use of a key or session is left for later when the store is busy writing.
    """
    context = context_of(connection)
    now_ms = context.clock.now_ms()
    key = key_of(connection)
    token = connection.cookies.get(COOKIE)
    if key is None and token is None:
        return None
    with context.store.read() as conn:
        if key is not None:
            identity = access.identify_key(conn, key, now_ms=now_ms)
        else:
            identity = access.identify_session(conn, token or "", now_ms=now_ms)
    if identity is not None:
        admission.note_use(context.store, identity, now_ms)
    return identity


def same_origin(connection: HTTPConnection) -> bool | None:
    """Whether the page that sent this is ours, by its Origin; None when it does not say."""
    origin = connection.headers.get("origin")
    if origin is None:
        return None
    own = {_host_and_port(f"//{connection.headers.get('host', '')}", connection.url.scheme)}
    public_url = context_of(connection).public_url
    if public_url:
        own.add(_host_and_port(public_url, ""))
    return _host_and_port(origin, "") in own


def _host_and_port(url: str, scheme: str) -> tuple[str, int] | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname:
        return None
    default = 443 if (parts.scheme or scheme) in ("https", "wss") else 80
    return parts.hostname, port or default


def _refuse_forgery(request: Request) -> None:
    """A browser sends the cookie with any page's request; only our own page can add this header or this Origin."""
    if request.method in SAFE_METHODS or request.headers.get(REQUEST_HEADER) == "1" or same_origin(request):
        return
    raise ApiProblem(
        403,
        "A change by session cookie needs the header X-Tocsin-Request: 1, or to come from this server's own page.",
    )


# ── what a route needs ────────────────────────────────────────────────────────────────────────────────

_PROBLEMS: Final = {
    400: "The address, or the body as a whole, cannot be read.",
    401: "Nobody known is asking.",
    403: "Not with these scopes.",
    404: "There is no such thing.",
    409: "Not as things stand.",
    413: "The body is larger than 1 MB.",
    422: "A field of the body is wrong.",
    429: "Too many, too fast.",
    500: "Our fault.",
    503: "The database is busy or away; `Retry-After` says when to try again.",
}


def problem_answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For ``responses=``: which problems a route answers with."""
    return {status: {"model": Problem, "description": _PROBLEMS[status]} for status in statuses}


SECURITY_SCHEMES: Final = {
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "bearer": {"type": "http", "scheme": "bearer", "description": "The same API key."},
    "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
}


def needs(scope: Scope) -> dict[str, Any]:
    """For ``openapi_extra=``: how the document says what a route asks for."""
    return {"security": [{name: []} for name in SECURITY_SCHEMES], "x-scope": scope}


class GuardedRoute(APIRoute):
    """Asks for a scope before anything else happens: ``read`` to look, ``write`` to change."""

    @staticmethod
    def scope_for(methods: set[str]) -> Scope | None:
        """None: open to everybody."""
        return "read" if methods <= SAFE_METHODS else "write"

    def __init__(self, path: str, endpoint: Callable[..., Any], **kwargs: Any) -> None:
        methods = {method.upper() for method in kwargs.get("methods") or ("GET",)}
        self.scope = self.scope_for(methods)
        statuses = {400, 500, 503}
        if self.scope is not None:
            statuses |= {401, 403}
            kwargs["openapi_extra"] = needs(self.scope) | (kwargs.get("openapi_extra") or {})
        if "{" in path:
            statuses.add(404)
        if methods & {"POST", "PUT", "PATCH"}:
            statuses |= {413, 422}
        kwargs["responses"] = problem_answers(*sorted(statuses)) | (kwargs.get("responses") or {})
        super().__init__(path, endpoint, **kwargs)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        scope = self.scope
        if scope is None:
            return handle

        async def guarded(request: Request) -> Response:
            request.state.identity = await authorize(request, scope)
            return await handle(request)

        return guarded


async def authorize(request: Request, needed: Scope) -> Identity:
    identity = await run_in_threadpool(identify, request)
    if identity is None:
        raise nobody("Sign in, or send an API key as Authorization: Bearer or X-API-Key.")
    if identity.session_hash is not None:
        _refuse_forgery(request)
    return allowed(identity, needed)


def nobody(words: str) -> ApiProblem:
    """For who is not known."""
    return ApiProblem(401, words, headers={"WWW-Authenticate": "Bearer"})


def allowed(identity: Identity, needed: Scope) -> Identity:
    """The same, if it may."""
    if not identity.may(needed):
        raise ApiProblem(403, f"This needs the scope “{needed}”; {identity.name} has {', '.join(identity.scopes)}.")
    return identity


class OpenRoute(GuardedRoute):
    """For everybody."""

    @staticmethod
    def scope_for(methods: set[str]) -> Scope | None:
        return None


class ReadRoute(GuardedRoute):
    """Changes nothing that others see, whatever its method."""

    @staticmethod
    def scope_for(methods: set[str]) -> Scope | None:
        return "read"


class IngestRoute(GuardedRoute):
    """Takes in what machines and programs report."""

    @staticmethod
    def scope_for(methods: set[str]) -> Scope | None:
        return "ingest"


class AdminRoute(GuardedRoute):
    """Decides who may."""

    @staticmethod
    def scope_for(methods: set[str]) -> Scope | None:
        return "admin"
