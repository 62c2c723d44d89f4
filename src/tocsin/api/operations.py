"""For those who run it: is it alive, is it ready, and what does it measure of itself and of its targets."""

from __future__ import annotations

from collections.abc import Iterator

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
from tocsin.health import Readiness, exposition
from tocsin.store import certificates as store_certificates
from tocsin.store import targets as store_targets
from tocsin.store.engine import Store

router = APIRouter(tags=["operations"], route_class=OpenRoute)


@router.head("/health/live", include_in_schema=False)
@router.get("/health/live", summary="The process answers", response_model=models.Liveness)
async def live() -> Response:
    """Touches nothing but itself: a stalled database is no reason to restart this process."""
    return answer({"status": "ok"})


@router.head("/health/ready", include_in_schema=False)
@router.get(
    "/health/ready",
    summary="It can do its work",
    response_model=models.Readiness,
    responses={503: {"model": models.Readiness, "description": "Not now; `detail` says why."}},
)
async def ready(request: Request) -> Response:
    readiness: Readiness = request.app.state.readiness
    standing = await readiness.ask()
    return answer(standing.document(), 200 if standing.is_ready else 503)


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
    return exposition() + generate_latest(targets)


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
