"""Trying a target out, and an expression, before either is saved: probed once, on the API's own loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from tocsin.api import models
from tocsin.api.answers import answer
from tocsin.api.context import ApiContext
from tocsin.api.guard import Context, GuardedRoute, ReadRoute, problem_answers
from tocsin.api.parameters import Documents, numbered
from tocsin.api.problems import ApiProblem
from tocsin.catalog import targets
from tocsin.catalog.channels import Destination, send_test
from tocsin.catalog.errors import FieldError, Invalid
from tocsin.channels.base import Carrier
from tocsin.channels.frame import Delivery
from tocsin.core.target import Target
from tocsin.lib.expressions import ExpressionError, compile_condition
from tocsin.lib.net import Network
from tocsin.probes import PROBES
from tocsin.probes.frame import examine, prepare

router = APIRouter(prefix="/v1/targets", tags=["targets"], route_class=GuardedRoute)
read_router = APIRouter(prefix="/v1", tags=["targets"], route_class=ReadRoute)


class Bench:
    """Where targets and channels are tried out: a network of the API's own, and room for a few at a time."""

    AT_ONCE: Final = 8
    MOST_WAITING: Final = 32

    def __init__(self, network: Network, context: ApiContext) -> None:
        self._network = network
        self._context = context
        self._room = asyncio.Semaphore(self.AT_ONCE)
        self._waiting = 0

    async def examine(self, target: Target) -> dict[str, object]:
        """Probes it once: the evidence."""
        try:
            prepared = prepare(target)
        except ValueError as error:
            raise Invalid([FieldError("", str(error))]) from None
        if prepared is None:
            raise Invalid([FieldError("kind", f"nobody probes a {target.kind}: its job calls in")])
        async with self._place():
            found = await examine(prepared, self._network, clock=self._context.clock)
        return found.evidence()

    async def send_test(self, where: Destination) -> Delivery:
        async with self._place():
            return await send_test(where, Carrier(network=self._network, clock=self._context.clock))

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        if self._waiting >= self.MOST_WAITING:
            raise ApiProblem(429, "Too much is being tried out at once.", headers={"Retry-After": "5"})
        self._waiting += 1
        try:
            async with self._room:
                yield
        finally:
            self._waiting -= 1


def _given(given: Mapping[str, Any], context: ApiContext) -> Target:
    """The target as it would be saved. With an id, a saved one and what differs from it, its secrets included."""
    target_id, rest = numbered(given)
    if target_id is None:
        return targets.unsaved(targets.check({"name": "tried out"} | dict(rest)))
    with context.store.read() as conn:
        checked = targets.changed(conn, targets.get(conn, target_id), rest, context.vault)
    return targets.unsaved(checked)


@router.post(
    "/test",
    summary="Probe once, save nothing, and say everything",
    response_model=models.Examination,
    responses=problem_answers(404, 429),
)
async def try_target(
    request: Request,
    given: Annotated[
        dict[str, Any],
        Documents(models.TargetTrial),
        Body(
            openapi_examples={
                "unsaved": {"value": {"name": "shop", "kind": "http", "url": "https://shop.example/health"}},
                "saved, changed": {"value": {"id": 17, "timeout_s": 5}},
            }
        ),
    ],
    context: Context,
) -> Response:
    """Send a whole target (its name may be left out), or the `id` of a saved one and what should differ; secrets left
    out are those saved."""
    bench: Bench = request.app.state.bench
    target = await run_in_threadpool(_given, given, context)
    return answer(await bench.examine(target))


@read_router.post(
    "/expressions/check", summary="Check an assertion while it is typed", response_model=models.ExpressionAnswer
)
def check_expression(wish: models.ExpressionWish) -> Response:
    probe = PROBES.get(wish.kind)
    if probe is None:
        raise Invalid([FieldError("kind", f"must be one of {', '.join(PROBES)}")])
    try:
        compile_condition(wish.expression, probe.variables)
    except ExpressionError as error:
        return answer({"ok": False, "message": error.message, "line": error.line, "column": error.column})
    return answer({"ok": True, "message": None, "line": None, "column": None})
