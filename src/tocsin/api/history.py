"""What was seen of one target: its checks and their evidence, its changes, its uptime and its latency."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Path, Query, Request
from sqlalchemy import Connection
from starlette.responses import Response

from tocsin.api import models
from tocsin.api.answers import LATEST_MS, answer, listing, milliseconds, moment, moment_or_none, phases, tagged_answer
from tocsin.api.guard import Context, GuardedRoute
from tocsin.api.paging import cursor_of, position_of
from tocsin.api.parameters import Between, Cursor, Id, Lasting, Limit, Location, place_of
from tocsin.api.problems import ApiProblem, bad_parameter
from tocsin.catalog import targets
from tocsin.catalog.causes import Cause, causes
from tocsin.core.decide import Verdict
from tocsin.core.outcome import HEADLINE, REACHABLE, Result, Subject
from tocsin.core.samples import MACHINE
from tocsin.core.target import TARGET
from tocsin.store import checks as store_checks
from tocsin.store import evidence as store_evidence
from tocsin.store import heartbeats as store_heartbeats
from tocsin.store import locations as store_locations
from tocsin.store import rollups as store_rollups
from tocsin.store import transitions as store_transitions
from tocsin.store.checks import CheckRow
from tocsin.store.heartbeats import PingRow
from tocsin.store.rollups import Point, Summary, WindowSummary
from tocsin.store.transitions import StoredTransition

router = APIRouter(prefix="/v1/targets/{target_id}", tags=["history"], route_class=GuardedRoute)

_OK: Final = {
    True: (Result.PASSED, Result.WARNED),
    False: (Result.FAILED,),
    None: (Result.UNMEASURED,),
}
_RESULTS: Final = {result.value: result.name.lower() for result in Result}


# ── checks ────────────────────────────────────────────────────────────────────────────────────────────


@router.get("/checks", summary="Checks, newest first", response_model=models.Page[models.Check])
def list_checks(
    target_id: Id,
    context: Context,
    between: Between,
    limit: Limit = 100,
    cursor: Cursor = None,
    ok: Annotated[bool | None, Query(description="Only those that passed, or only those that failed.")] = None,
    location: Location = None,
) -> Response:
    """Single checks are kept for days, their hours and days for years: see `latency`."""
    before = position_of(cursor, tuple[int, int])
    from_ms, to_ms = between.whole
    with context.store.read() as conn:
        targets.get(conn, target_id)
        place = None if location is None else place_of(conn, location)
        found = store_checks.of_target(
            conn,
            target_id,
            from_ms=from_ms,
            to_ms=to_ms,
            limit=limit + 1,
            before=before,
            results=None if ok is None else _OK[ok],
            location_id=None if place is None else place.location_id,
        )
        rows = found[:limit]
        names = store_locations.names(conn)
        kept: set[tuple[int, int]] = set()
        if rows:
            kept = store_evidence.kept(conn, target_id, from_ms=rows[-1].at_ms, to_ms=rows[0].at_ms + 1)
    following = cursor_of((rows[-1].at_ms, rows[-1].location_id)) if len(found) > limit else None
    items = [_check(row, names, (row.at_ms, row.location_id) in kept) for row in rows]
    return answer(listing(items, following))


def _check(row: CheckRow, names: dict[int, str], has_evidence: bool) -> dict[str, Any]:
    return {
        "at": moment(row.at_ms),
        "ok": None if row.result == Result.UNMEASURED else row.result != Result.FAILED,
        "result": _RESULTS[row.result],
        "latency_ms": milliseconds(row.latency_us),
        "phases": phases(row.dns_us, row.connect_us, row.tls_us, row.first_byte_us, row.transfer_us),
        "location": names.get(row.location_id),
        "error": row.error,
        "has_evidence": has_evidence,
    }


@router.get("/checks/{at_ms}/evidence", summary="Everything one check saw", response_model=models.Evidence)
def read_evidence(
    target_id: Id,
    at_ms: Annotated[int, Path(ge=0, le=LATEST_MS, description="The check's time, epoch milliseconds.")],
    context: Context,
    location: Annotated[str | None, Query(max_length=60, description="Left out: wherever there is some.")] = None,
) -> Response:
    """Kept for checks that failed, and for the first that passed again."""
    with context.store.read() as conn:
        targets.get(conn, target_id)
        names = store_locations.names(conn)
        kept = sorted(store_evidence.kept(conn, target_id, from_ms=at_ms, to_ms=at_ms + 1))
        wanted = [place for _, place in kept if location is None or names.get(place) == location]
        document = store_evidence.get(conn, (target_id, at_ms, wanted[0])) if wanted else None
    if document is None:
        raise ApiProblem(404, "No evidence was kept for this check.")
    return answer(document | {"at": moment(at_ms), "location": names.get(wanted[0])})


# ── changes ───────────────────────────────────────────────────────────────────────────────────────────


@router.get("/transitions", summary="Changes of verdict, newest first", response_model=models.Page[models.Transition])
def list_transitions(
    target_id: Id,
    context: Context,
    between: Between,
    limit: Limit = 100,
    cursor: Cursor = None,
    location: Location = None,
    lasting: Lasting = False,
) -> Response:
    """Those of its verdict; with `location`, those of the verdict from there, which has a part in it."""
    before = position_of(cursor, tuple[int, int])
    from_ms, to_ms = between.whole
    with context.store.read() as conn:
        targets.get(conn, target_id)
        place = None if location is None else place_of(conn, location)
        found = store_transitions.of_subject(
            conn,
            Subject(TARGET, target_id),
            None,
            from_ms=from_ms,
            to_ms=to_ms,
            limit=limit + 1,
            before=before,
            location_id=HEADLINE if place is None else place.location_id,
            lasting=lasting,
        )
        items = transitions(conn, found[:limit], now_ms=context.clock.now_ms())
    return answer(listing(items, following(found, limit)))


def following(found: Sequence[StoredTransition], limit: int) -> str | None:
    """The cursor for what comes after the first ``limit`` of ``found``."""
    return cursor_of((found[limit - 1].transition.at_ms, found[limit - 1].id)) if len(found) > limit else None


def transitions(conn: Connection, stored: Sequence[StoredTransition], *, now_ms: int) -> list[dict[str, Any]]:
    """As answered, in the order given."""
    if not stored:
        return []
    names = store_locations.names(conn)
    keys = [
        (one.transition.key.subject.id, one.transition.check_at_ms, one.transition.check_location_id)
        for one in stored
        if one.transition.key.subject.kind == TARGET
    ]
    kept = store_evidence.known(conn, keys)
    return [_transition(one, names, kept, now_ms) for one in stored]


def _transition(
    one: StoredTransition, names: dict[int, str], kept: set[tuple[int, int, int]], now_ms: int
) -> dict[str, Any]:
    change = one.transition
    kind, number = change.key.subject
    place = change.check_location_id
    ended_ms = now_ms if one.ended_ms is None else one.ended_ms
    return {
        "id": one.id,
        "rule": change.key.rule,
        "from": change.before.value,
        "to": change.after.value,
        "at": moment(change.at_ms),
        "ended_at": moment_or_none(one.ended_ms),
        "duration_s": max(0, ended_ms - change.at_ms) / 1000,
        "reason": change.reason,
        "location": names.get(place),
        "check_at": moment(change.check_at_ms),
        "has_evidence": kind == TARGET and (number, change.check_at_ms, place) in kept,
    }


def timeline(conn: Connection, stored: Sequence[StoredTransition], *, now_ms: int) -> list[dict[str, Any]]:
    """Transitions with the target or the machine each is about, and because of which other target it is down, where it
    is so still."""
    names = store_transitions.names(conn, {one.transition.key.subject for one in stored})
    lasting = {one.id: one.transition.key.subject.id for one in stored if _is_down(one)}
    because = causes(conn, set(lasting.values()))
    items = transitions(conn, stored, now_ms=now_ms)
    for one, item in zip(stored, items, strict=True):
        subject = one.transition.key.subject
        item |= {TARGET: None, MACHINE: None, subject.kind: {"id": subject.id, "name": names.get(subject, "")}}
        item["because_of"] = named(because.get(lasting.get(one.id, 0)))
    return items


def _is_down(one: StoredTransition) -> bool:
    """Of a target, and it lasts."""
    key = one.transition.key
    is_down = key.subject.kind == TARGET and key.rule == REACHABLE and one.transition.after is Verdict.DOWN
    return is_down and one.ended_ms is None


def named(cause: Cause | None) -> dict[str, Any] | None:
    """The target because of which another is down, as answered."""
    return None if cause is None else cause._asdict()


# ── uptime and latency ────────────────────────────────────────────────────────────────────────────────


@router.get("/summary", summary="Uptime and latency over five windows", response_model=models.Summary)
def read_summary(request: Request, target_id: Id, context: Context) -> Response:
    """The windows end now. Checks and latency count from the first whole hour of the window, or day in long ones."""
    with context.store.read() as conn:
        targets.get(conn, target_id)
        found = store_rollups.windows(conn, target_id, context.clock.now_ms())
    return tagged_answer(request, {"windows": {name: _window(one) for name, one in found.items()}})


def _window(one: WindowSummary) -> dict[str, Any]:
    spent = one.availability
    return {
        "uptime": spent.ratio,
        "up_s": spent.up_ms / 1000,
        "degraded_s": spent.degraded_ms / 1000,
        "down_s": spent.down_ms / 1000,
        "unknown_s": spent.unknown_ms / 1000,
        "maintenance_s": spent.maintenance_ms / 1000,
        "outages": spent.outages,
        "p50_ms": milliseconds(one.latency.p50_us),
        "p95_ms": milliseconds(one.latency.p95_us),
        "p99_ms": milliseconds(one.latency.p99_us),
        "checks": one.checks,
        "failed": one.failed,
        "counts": {
            "passed": one.passed,
            "warned": one.warned,
            "failed": one.failed,
            "unmeasured": one.unmeasured,
        },
    }


DAY_MS: Final = 86_400_000


@router.get("/latency", summary="Latency over time", response_model=models.Latency)
def read_latency(
    request: Request,
    target_id: Id,
    context: Context,
    between: Between,
    step: Annotated[
        float | None,
        Query(gt=0, le=31_536_000, allow_inf_nan=False, description="Seconds. Made longer where it must be."),
    ] = None,
) -> Response:
    """At most 500 points; a step without a check has none. Left out, `from` is 24 hours before `to`."""
    # Until the end of this very millisecond.
    to_ms = context.clock.now_ms() + 1 if between.to_ms is None else between.to_ms
    from_ms = max(0, to_ms - DAY_MS) if between.from_ms is None else between.from_ms
    if from_ms >= to_ms:
        raise bad_parameter("from", "must be earlier than to")
    with context.store.read() as conn:
        row = targets.get(conn, target_id)
        found = store_rollups.series(
            conn,
            target_id,
            from_ms=from_ms,
            to_ms=to_ms,
            step_ms=None if step is None else max(1, round(step * 1000)),
            interval_ms=row.interval_ms,
        )
    return tagged_answer(
        request,
        {
            "step_s": found.step_ms / 1000,
            "from": moment(found.from_ms),
            "to": moment(found.to_ms),
            "points": [_point(point) for point in found.points],
        },
    )


def _point(point: Point) -> dict[str, Any]:
    latency = point.latency
    return {
        "at": moment(point.start_ms),
        "checks": point.checks,
        "failed": point.failed,
        "p50_ms": milliseconds(latency.p50_us),
        "p95_ms": milliseconds(latency.p95_us),
        "p99_ms": milliseconds(latency.p99_us),
        "min_ms": milliseconds(latency.min_us),
        "max_ms": milliseconds(latency.max_us),
        "avg_ms": milliseconds(latency.avg_us),
        "phases": phases(*point.phases_us),
    }


class _BarCell(msgspec.Struct, gc=False):
    """A list of a thousand targets has 24,000 of them: too many for dicts that the collector looks through."""

    start: str
    verdict: str | None
    checks: int
    failed: int


# The same 24 for every target.
_hour = lru_cache(maxsize=64)(moment)


def summary_of(found: Summary) -> dict[str, Any]:
    """What a list shows beside a target."""
    return {
        "uptime_24h": found.uptime_24h,
        "uptime_30d": found.uptime_30d,
        "p95_ms_24h": milliseconds(found.p95_us_24h),
        "checks_24h": found.checks_24h,
        "failed_24h": found.failed_24h,
        "bar": [
            _BarCell(
                _hour(cell.start_ms), None if cell.verdict is None else cell.verdict.value, cell.checks, cell.failed
            )
            for cell in found.bar
        ],
    }


# ── calls of a job ────────────────────────────────────────────────────────────────────────────────────


@router.get("/pings", summary="Calls of a heartbeat's job, newest first", response_model=models.Page[models.Ping])
def list_pings(target_id: Id, context: Context, limit: Limit = 100, cursor: Cursor = None) -> Response:
    before = position_of(cursor, tuple[int, int])
    with context.store.read() as conn:
        targets.get(conn, target_id)
        found = store_heartbeats.pings(conn, target_id, limit=limit + 1, before=before)
    rows = found[:limit]
    after = cursor_of((rows[-1].at_ms, rows[-1].id)) if len(found) > limit else None
    return answer(listing([_ping(row) for row in rows], after))


def _ping(row: PingRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "at": moment(row.at_ms),
        "kind": row.kind,
        "exit_code": row.exit_code,
        "run_id": row.run_id,
        "duration_ms": row.duration_ms,
        "remote": row.remote,
        "user_agent": row.user_agent,
        "body": None if row.body is None else row.body.decode("utf-8", "replace"),
    }
