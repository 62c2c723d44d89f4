"""The application: every route, what is around them, and the order in which things begin and end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from typing import Any

import anyio.to_thread
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

import tocsin
from tocsin.admission import Admission
from tocsin.api import (
    deployments,
    heartbeats,
    history,
    keys,
    live,
    locations,
    machines,
    notifying,
    operations,
    otlp,
    overview,
    reference,
    session,
    targets,
    trying,
    web_app,
)
from tocsin.api.context import ApiContext
from tocsin.api.guard import SECURITY_SCHEMES
from tocsin.api.limits import BodyLimit
from tocsin.api.live import LiveView
from tocsin.api.problems import MEDIA_TYPE, answer_problems
from tocsin.api.relay import relaying
from tocsin.api.signing_in import SigningIn
from tocsin.api.trying import Bench
from tocsin.health import Readiness
from tocsin.intake.intake import Intake
from tocsin.lib.rates import RateLimit
from tocsin.lib.security_headers import SecurityHeaders
from tocsin.lib.threads import Threads
from tocsin.otlp.door import Door

TITLE = "Tocsin"
DESCRIPTION = """Is it up, how fast is it, what was it like last month, and who is told.

Send an API key as `Authorization: Bearer` or `X-API-Key`, or sign in and send the cookie. Changes by cookie need the
header `X-Tocsin-Request: 1` or a same-origin `Origin`. Everything that goes wrong is a problem document (RFC 9457)
that names the fields. Lists are `{"items": […], "next": cursor or null}`. Times are RFC 3339, UTC, with milliseconds.
"""
TAGS = {
    "session": "Signing in and out.",
    "targets": "What is watched.",
    "locations": "Where checks are made from, and who is there.",
    "machines": "Machines: how they are, what they sent, what they are judged by.",
    "history": "What was seen of one target: checks, changes, uptime, latency.",
    "overview": "How everything stands.",
    "deployments": "What was put where, and when.",
    "channels": "Ways to tell someone.",
    "rules": "Who is told what.",
    "notifications": "What was said, and whether it arrived.",
    "keys": "API keys.",
    "heartbeats": "Where jobs call in. Open: the address is the secret.",
    "operations": "For those who run Tocsin.",
}
ROUTERS = (
    session.open_router,
    session.router,
    trying.router,  # before targets: /v1/targets/test is no number
    trying.read_router,
    targets.router,
    targets.catalog_router,
    locations.router,
    machines.router,
    machines.bands_router,
    history.router,
    overview.router,
    deployments.router,
    deployments.ingest_router,
    notifying.channels_router,
    notifying.rules_router,
    notifying.notifications_router,
    keys.router,
    heartbeats.router,
    operations.router,
    reference.router,
)
THREADS = 8
"""How many requests may be at the database, or make their answer, at once. More would only take turns with the
probing for the interpreter."""


def create_app(context: ApiContext) -> FastAPI:
    """The API and the web app. What it opens, it opens when it is started, and closes when it is stopped."""
    app = _routes()
    app.router.lifespan_context = _lifespan(context)
    app.state.context = context
    app.router.default = web_app.WebApp(context.web_dir)
    app.add_middleware(BodyLimit)
    app.add_middleware(otlp.Otlp)  # it has a limit of its own
    app.add_middleware(SecurityHeaders)
    return app


def openapi_document() -> dict[str, Any]:
    """The document that /openapi.json answers, without anything running."""
    document: dict[str, Any] = _routes().openapi()
    return document


def _routes() -> FastAPI:
    app = FastAPI(
        title=TITLE,
        version=tocsin.__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        openapi_tags=[{"name": name, "description": text} for name, text in TAGS.items()],
    )
    answer_problems(app)
    for router in ROUTERS:
        app.include_router(router)
    app.add_api_websocket_route("/ws", live.serve)
    app.openapi = _documented(app)  # type: ignore[method-assign]
    return app


def _lifespan(context: ApiContext) -> Callable[[FastAPI], Any]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        async with AsyncExitStack() as running:
            app.state.calls = RateLimit(heartbeats.CALLS_PER_MINUTE)
            app.state.signing_in = running.enter_context(closing(SigningIn(context)))
            asking = running.enter_context(closing(Threads("api-keys", 4)))
            app.state.admission = Admission(context.store, context.clock, asking)
            await running.enter_async_context(app.state.admission.at_work())
            app.state.otlp = _door(context)
            await running.enter_async_context(app.state.otlp.at_work())
            app.state.readiness = running.enter_context(closing(Readiness(context.store)))
            network = await running.enter_async_context(context.network())
            app.state.bench = Bench(network, context)
            app.state.live = await running.enter_async_context(LiveView.open(context))
            if context.edge is not None:
                await running.enter_async_context(relaying(app.state.live, context.edge))
            yield

    return lifespan


def _door(context: ApiContext) -> Door:
    intake = context.intake or Intake(context.store, context.pipeline, context.bus, context.clock)
    return Door(intake=intake, store=context.store, clock=context.clock, kept_ms=context.kept.ticks_ms)


def _documented(app: FastAPI) -> Callable[[], dict[str, Any]]:
    def document() -> dict[str, Any]:
        if not app.openapi_schema:
            app.openapi_schema = _completed(
                get_openapi(
                    title=app.title,
                    version=app.version,
                    description=app.description,
                    routes=app.routes,
                    tags=app.openapi_tags,
                )
            )
        return app.openapi_schema

    return document


_REPLACED = ("HTTPValidationError", "ValidationError")
_PROBLEM = {"$ref": "#/components/schemas/Problem"}


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    """What FastAPI cannot know: how to sign in, and that problems have a media type and a shape of their own."""
    document["components"]["securitySchemes"] = SECURITY_SCHEMES
    for name in _REPLACED:
        document["components"]["schemas"].pop(name, None)
    for path in document["paths"].values():
        for operation in path.values():
            # What FastAPI assumes of wrong parameters; ours are 400, and every route says so.
            if _REPLACED[0] in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
            for response in operation["responses"].values():
                for media_type, content in list(response.get("content", {}).items()):
                    if content.get("schema") == _PROBLEM and media_type != MEDIA_TYPE:
                        response["content"][MEDIA_TYPE] = response["content"].pop(media_type)
    return document
