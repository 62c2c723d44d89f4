"""How everything stands: the first page, and the timeline of all changes."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

import tocsin
from tocsin.api import history, models
from tocsin.api.answers import answer, listing, milliseconds, moment, tagged_answer
from tocsin.api.guard import Context, GuardedRoute
from tocsin.api.paging import position_of
from tocsin.api.parameters import Between, Cursor, Limit, Text, numbers, several
from tocsin.api.targets import standing
from tocsin.catalog import machines
from tocsin.catalog.causes import causes
from tocsin.catalog.targets import PROBED
from tocsin.core.decide import Verdict
from tocsin.store import rollups as store_rollups
from tocsin.store import targets as store_targets
from tocsin.store import transitions as store_transitions
from tocsin.store.rollups import WINDOWS_MS
from tocsin.store.targets import Filters, Listed

router = APIRouter(prefix="/v1", tags=["overview"], route_class=GuardedRoute)

MOST_WORST: Final = 50
NEWEST_CHANGES: Final = 100
"""Enough that many changes of one minute can be told in one line."""
_COUNTED: Final = ("up", "degraded", "down", "unknown", "paused")


@router.get("/overview", summary="How everything stands", response_model=models.Overview)
def read_overview(request: Request, context: Context) -> Response:
    now_ms = context.clock.now_ms()
    with context.store.read() as conn:
        counts = store_targets.counts(conn)
        worst = store_targets.worst(conn, limit=MOST_WORST)
        because = causes(conn, store_targets.down(conn).keys()) if counts.get(Verdict.DOWN.value) else {}
        changes = store_transitions.news(conn, limit=NEWEST_CHANGES)
        together = store_rollups.overall(conn, now_ms)
        of_machines = machines.overall(conn, most=MOST_WORST)
        content = {
            "counts": {word: counts.get(word, 0) for word in _COUNTED} | {"down_because_of": len(because)},
            "machines": of_machines.counts,
            "worst": [_brief(item) | {"because_of": history.named(because.get(item.row.id))} for item in worst],
            "worst_machines": [_machine_brief(one) for one in of_machines.worst],
            "uptime_30d": together.uptime_30d,
            "measured_s_30d": together.measured_ms_30d / 1000,
            "p95_ms_24h": milliseconds(together.p95_us_24h),
            "timeline": history.timeline(conn, changes, now_ms=now_ms),
            "checks_per_minute": round(store_targets.checks_per_minute(conn, PROBED), 2),
            "aggregator": None if context.door is None else context.door._asdict(),
            "version": tocsin.__version__,
            "started_at": moment(context.started_ms),
        }
    return tagged_answer(request, content)


@router.get(
    "/timeline", summary="Changes of every target, newest first", response_model=models.Page[models.TimelineEntry]
)
def read_timeline(context: Context, between: Between, limit: Limit = 100, cursor: Cursor = None) -> Response:
    before = position_of(cursor, tuple[int, int])
    from_ms, to_ms = between.whole
    with context.store.read() as conn:
        found = store_transitions.recent(conn, from_ms=from_ms, to_ms=to_ms, limit=limit + 1, before=before)
        items = history.timeline(conn, found[:limit], now_ms=context.clock.now_ms())
    return answer(listing(items, history.following(found, limit)))


@router.get("/uptime", summary="Uptime of many targets at once", response_model=models.Page[models.Uptime])
def read_uptime(
    request: Request,
    context: Context,
    windows: Annotated[
        str,
        Query(max_length=100, description=f"Some of {', '.join(WINDOWS_MS)}, by comma; each ends now."),
    ] = "24h,7d,30d,90d",
    ids: Annotated[
        str | None, Query(max_length=100_000, description="Only these targets, by comma.", examples=["1,2"])
    ] = None,
    tag: Annotated[Text | None, Query(max_length=60)] = None,
) -> Response:
    """Of every target, or of those asked for, on one page, by id. Time-weighted, as in a target's `summary`."""
    asked = several("windows", windows, WINDOWS_MS)
    filters = Filters(tag=tag, ids=numbers("ids", ids))
    with context.store.read() as conn:
        found = store_rollups.uptimes(conn, store_targets.matching(conn, filters), asked, context.clock.now_ms())
    return tagged_answer(request, listing([{"id": number, "uptime": ratios} for number, ratios in found.items()]))


def _brief(item: Listed) -> dict[str, Any]:
    shown = standing(item)
    return {
        "id": item.row.id,
        "name": item.row.name,
        "kind": item.row.kind,
        "verdict": shown["verdict"],
        "since": shown["since"],
        "reason": shown["reason"],
        "last_latency_ms": shown["last_latency_ms"],
    }


def _machine_brief(one: machines.Standing) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "verdict": one.verdict.value,
        "since": moment(one.since_ms),
        "reason": one.reason,
    }
