"""How everything stands: the first page, and the timeline of all changes."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

import tocsin
from tocsin.api import history, models
from tocsin.api.answers import answer, listing, milliseconds, moment, tagged_answer
from tocsin.api.guard import Context, GuardedRoute
from tocsin.api.paging import position_of
from tocsin.api.parameters import Between, Cursor, Limit
from tocsin.api.targets import standing
from tocsin.probes import PROBES
from tocsin.store import rollups as store_rollups
from tocsin.store import targets as store_targets
from tocsin.store import transitions as store_transitions
from tocsin.store.targets import Listed

router = APIRouter(prefix="/v1", tags=["overview"], route_class=GuardedRoute)

MOST_WORST: Final = 50
NEWEST_CHANGES: Final = 100
"""Enough that many changes of one minute can be told in one line."""
_PROBED: Final = tuple(kind for kind, probe in PROBES.items() if probe.probe is not None)
_COUNTED: Final = ("up", "degraded", "down", "unknown", "paused")


@router.get("/overview", summary="How everything stands", response_model=models.Overview)
def read_overview(request: Request, context: Context) -> Response:
    now_ms = context.clock.now_ms()
    with context.store.read() as conn:
        counts = store_targets.counts(conn)
        worst = store_targets.worst(conn, limit=MOST_WORST)
        changes = store_transitions.news(conn, limit=NEWEST_CHANGES)
        together = store_rollups.overall(conn, now_ms)
        content = {
            "counts": {word: counts.get(word, 0) for word in _COUNTED},
            "worst": [_brief(item) for item in worst],
            "uptime_30d": together.uptime_30d,
            "measured_s_30d": together.measured_ms_30d / 1000,
            "p95_ms_24h": milliseconds(together.p95_us_24h),
            "timeline": history.timeline(conn, changes, now_ms=now_ms),
            "checks_per_minute": round(store_targets.checks_per_minute(conn, _PROBED), 2),
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
