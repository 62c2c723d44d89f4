"""Where jobs call in: open to whoever knows the address, compatible with Healthchecks' pinging API.

https://healthchecks.io/docs/http_api/
"""

from __future__ import annotations

import uuid
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response

from tocsin.api.context import ApiContext
from tocsin.api.guard import Context, OpenRoute, problem_answers
from tocsin.api.problems import ApiProblem, bad_parameter
from tocsin.catalog import heartbeats
from tocsin.catalog.errors import NotFound
from tocsin.catalog.heartbeats import LARGEST_BODY_BYTES, Caller
from tocsin.core.heartbeat import Call, CallKind, kind_of_exit_code
from tocsin.lib.rates import RateLimit

router = APIRouter(tags=["heartbeats"], route_class=OpenRoute)

METHODS: Final = ["HEAD", "GET", "POST"]
CALLS_PER_MINUTE: Final = 60
"""Of one job. A loop that goes wild is told to wait, and fills no table."""

_ANSWERS: Final = problem_answers(404, 429) | {
    200: {
        "description": "Kept. `Ping-Body-Limit` says how much of a body is.",
        "content": {"text/plain": {"example": "OK"}},
    }
}
_WORDS: Final = {kind.value: kind for kind in (CallKind.START, CallKind.FAIL, CallKind.LOG)}

Token = Annotated[str, Path(max_length=64, description="The heartbeat's address.")]
RunId = Annotated[str | None, Query(alias="rid", description="A UUID that pairs the start of a run with its end.")]


async def succeeded(request: Request, token: Token, context: Context, rid: RunId = None) -> Response:
    """The first 10 kB of a body are kept; a larger one is cut off, not refused. A paused heartbeat keeps the call and
    stays paused."""
    return await _receive(request, context, token, CallKind.SUCCESS, None, rid)


async def signalled(
    request: Request,
    token: Token,
    signal: Annotated[str, Path(description="`start`, `fail`, `log`, or an exit code from 0 to 255.")],
    context: Context,
    rid: RunId = None,
) -> Response:
    if signal in _WORDS:
        return await _receive(request, context, token, _WORDS[signal], None, rid)
    if not (signal.isascii() and signal.isdigit()):
        raise ApiProblem(404, f"There is nothing at {request.url.path}.")
    exit_code = int(signal[:10])
    try:
        kind = kind_of_exit_code(exit_code)
    except ValueError as error:
        raise bad_parameter("signal", str(error)) from None
    return await _receive(request, context, token, kind, exit_code, rid)


_ROUTES: Final = (
    ("/ping/{token}", succeeded, "The job succeeded"),
    ("/ping/{token}/{signal}", signalled, "The job started, failed, ended with an exit code, or has something to say"),
)
for _path, _handler, _summary in _ROUTES:
    for _method in METHODS:
        router.add_api_route(
            _path,
            _handler,
            methods=[_method],
            operation_id=f"{_handler.__name__}_{_method.lower()}",
            summary=_summary,
            response_class=PlainTextResponse,
            responses=_ANSWERS,
        )


async def _receive(
    request: Request, context: ApiContext, token: str, kind: CallKind, exit_code: int | None, run_id: str | None
) -> Response:
    limit: RateLimit = request.app.state.calls
    known = _uuid(token)
    if known is None:
        raise NotFound("No heartbeat has this address.")
    named = None
    if run_id is not None:
        named = _uuid(run_id)
        if named is None:
            raise bad_parameter("rid", "must be a UUID")
    wait_s = limit.wait_s(known, now_s=context.clock.monotonic())
    if wait_s > 0:
        raise ApiProblem(
            429, f"More than {CALLS_PER_MINUTE} calls a minute.", headers={"Retry-After": str(max(1, round(wait_s)))}
        )
    call = Call(kind, context.clock.now_ms(), named, exit_code)
    caller = Caller(request.client.host if request.client else "", request.headers.get("user-agent", ""))
    body = await _beginning(request)
    await run_in_threadpool(_keep, context, known, call, caller, body)
    return PlainTextResponse("OK", headers={"Ping-Body-Limit": str(LARGEST_BODY_BYTES)})


def _keep(context: ApiContext, token: str, call: Call, caller: Caller, body: bytes) -> None:
    # Whoever guesses addresses takes no writer's turn.
    with context.store.read() as conn:
        heartbeats.ensure_known(conn, token)
    with context.store.write() as conn:
        received = heartbeats.receive(conn, token, call, pipeline=context.pipeline, caller=caller, body=body)
    context.pipeline.ring(received.changed, received.settled)


async def _beginning(request: Request) -> bytes:
    """As much of the body as is kept. No more is read: the server throws the rest away, or the connection."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) >= LARGEST_BODY_BYTES:
            break
    return bytes(body[:LARGEST_BODY_BYTES])


def _uuid(text: str) -> str | None:
    """In its canonical form; None for anything else."""
    try:
        parsed = uuid.UUID(text)
    except ValueError:
        return None
    return str(parsed) if text.lower() in (str(parsed), parsed.hex) else None
