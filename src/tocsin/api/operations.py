"""For those who run it: is it alive, is it ready, and what does it measure of itself and of its targets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from tocsin.api import models
from tocsin.api.answers import answer
from tocsin.api.context import ApiContext
from tocsin.api.guard import Context, OpenRoute, authorize, needs, problem_answers
from tocsin.core.decide import Verdict
from tocsin.lib.metrics import REGISTRY
from tocsin.lib.threads import Threads
from tocsin.store import certificates as store_certificates
from tocsin.store import targets as store_targets
from tocsin.store.engine import Store, StoreError

router = APIRouter(tags=["operations"], route_class=OpenRoute)

READY_WITHIN_S: Final = 2.0


@router.head("/health/live", include_in_schema=False)
@router.get("/health/live", summary="The process answers", response_model=models.Liveness)
async def live() -> Response:
    """Touches nothing but itself: a stalled database is no reason to restart this process."""
    return answer({"status": "ok"})


class _Standing(NamedTuple):
    database: Literal["ok", "unavailable", "slow"]
    schema_state: Literal["current", "behind", "ahead", "empty", "unknown"]


_ADVICE: Final = {
    "current": "",
    "behind": "The database's schema is older than this version: run `tocsin migrate`.",
    "empty": "The database has no schema yet: run `tocsin migrate`.",
    "ahead": "The database was made by a newer version: update this one.",
}


class Readiness:
    """Asks the database on a thread of its own, so that a stalled one keeps no page waiting."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._thread = Threads("ready", 1)

    async def ask(self) -> _Standing:
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                return _Standing("ok", await self._thread.run(self._store.schema_state))
        except TimeoutError:
            return _Standing("slow", "unknown")
        except StoreError:
            return _Standing("unavailable", "unknown")

    def close(self) -> None:
        self._thread.close()


@router.head("/health/ready", include_in_schema=False)
@router.get(
    "/health/ready",
    summary="It can do its work",
    response_model=models.Readiness,
    responses={503: {"model": models.Readiness, "description": "Not now; `detail` says why."}},
)
async def ready(request: Request) -> Response:
    readiness: Readiness = request.app.state.readiness
    database, schema_state = await readiness.ask()
    detail = _ADVICE.get(schema_state) or (
        {"slow": "The database does not answer in time.", "unavailable": "The database cannot be reached."}
    ).get(database, "")
    content = {
        "status": "not ready" if detail else "ready",
        "database": database,
        "schema_state": schema_state,
        "detail": detail,
    }
    return answer(content, 503 if detail else 200)


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=Response,
    responses=problem_answers(401, 403) | {200: {"content": {"text/plain": {}}}},
    openapi_extra=needs("read"),
)
async def metrics(request: Request, context: Context) -> Response:
    """Needs the scope `read`, unless the setting `metrics_public` opens it."""
    if not context.metrics_public:
        await authorize(request, "read")
    return Response(await run_in_threadpool(_exposition, context), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _exposition(context: ApiContext) -> bytes:
    targets = CollectorRegistry(auto_describe=False)
    targets.register(_TargetGauges(context.store))
    return generate_latest(REGISTRY) + generate_latest(targets)


class _TargetGauges(Collector):
    """How every target stands, read when asked."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterator[GaugeMetricFamily]:
        labels = ("target", "kind")
        up = GaugeMetricFamily("tocsin_target_up", "1 up or degraded, 0 down; absent: unknown.", labels=labels)
        latency = GaugeMetricFamily("tocsin_target_latency_seconds", "Of the newest check.", labels=labels)
        expiry = GaugeMetricFamily(
            "tocsin_certificate_expiry_timestamp_seconds", "When the first certificate expires.", labels=labels
        )
        with self._store.read() as conn:
            standings = store_targets.standings(conn)
            expiries = store_certificates.expiries(conn)
        for standing in standings:
            of_target = (standing.slug, standing.kind)
            if standing.enabled and standing.verdict != Verdict.UNKNOWN:
                up.add_metric(of_target, 0 if standing.verdict == Verdict.DOWN else 1)
                if standing.last_latency_us is not None:
                    latency.add_metric(of_target, standing.last_latency_us / 1_000_000)
            if standing.id in expiries:
                expiry.add_metric(of_target, expiries[standing.id] / 1000)
        yield from (up, latency, expiry)
