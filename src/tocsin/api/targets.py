"""Targets: made, read, changed, paused, copied, deleted, and tried out before they are saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request
from sqlalchemy import Connection
from starlette.responses import Response

from tocsin.api import history, models
from tocsin.api.answers import answer, listing, milliseconds, moment, moment_or_none, no_content, tagged_answer
from tocsin.api.context import ApiContext
from tocsin.api.guard import Context, GuardedRoute
from tocsin.api.paging import cursor_of, position_of
from tocsin.api.parameters import Cursor, Documents, Id, Number, Text, place_of, several
from tocsin.api.problems import bad_parameter
from tocsin.catalog import locations, targets
from tocsin.catalog.causes import Cause, causes
from tocsin.catalog.locations import Seen
from tocsin.catalog.targets import Ties
from tocsin.core.decide import Transition, Verdict
from tocsin.probes import PROBES
from tocsin.store import certificates as store_certificates
from tocsin.store import heartbeats as store_heartbeats
from tocsin.store import rollups as store_rollups
from tocsin.store import targets as store_targets
from tocsin.store.targets import Filters, Listed, Position, Sort

router = APIRouter(prefix="/v1/targets", tags=["targets"], route_class=GuardedRoute)
catalog_router = APIRouter(prefix="/v1", tags=["targets"], route_class=GuardedRoute)

MOST_PER_PAGE = 10_000
EXPANSIONS = ("summary", "locations")

Whole = Annotated[
    dict[str, Any],
    Documents(targets.TargetWrite),
    Body(
        openapi_examples={
            "web page": {"value": {"name": "shop", "kind": "http", "url": "https://shop.example/health"}},
            "port": {"value": {"name": "database", "kind": "tcp", "host": "10.0.3.7", "port": 5432}},
        }
    ),
]
Part = Annotated[
    dict[str, Any],
    Documents(models.TargetPatch),
    Body(openapi_examples={"slower": {"value": {"interval_s": 300, "tags": ["nightly"]}}}),
]


@router.get("", summary="Targets, page by page", response_model=models.Page[models.Target])
def list_targets(
    request: Request,
    context: Context,
    limit: Annotated[int, Query(ge=1, le=MOST_PER_PAGE)] = 100,
    cursor: Cursor = None,
    q: Annotated[Text | None, Query(max_length=200, description="Part of name, address, tag, group or text.")] = None,
    kind: Annotated[Text | None, Query(max_length=60)] = None,
    tag: Annotated[Text | None, Query(max_length=60)] = None,
    group: Annotated[Text | None, Query(max_length=100)] = None,
    verdict: models.VerdictName | None = None,
    enabled: bool | None = None,
    location: Annotated[Text | None, Query(max_length=60, description="Only those checked from there.")] = None,
    because_of: Annotated[Number | None, Query(description="Only those down because of this target.")] = None,
    sort: Annotated[Sort, Query(description="`verdict`: worst first.")] = "name",
    expand: Annotated[
        str | None,
        Query(
            max_length=100,
            description="What to add to each: `summary`, `locations` (their `location_states`), or both, by comma.",
            examples=["summary,locations"],
        ),
    ] = None,
) -> Response:
    """Answers with an ETag; send it as If-None-Match to learn cheaply that nothing changed."""
    added = several("expand", expand, EXPANSIONS)
    after = _position(cursor, sort)
    now_ms = context.clock.now_ms()
    with context.store.read() as conn:
        filters = Filters(
            text=q,
            kind=kind,
            tag=tag,
            group=group,
            verdict=verdict,
            enabled=enabled,
            place=None if location is None else place_of(conn, location),
            ids=None if because_of is None else down_because_of(conn, because_of),
        )
        found = store_targets.page(conn, filters, sort=sort, limit=limit + 1, after=after)
        rows = found[:limit]
        items = _views(conn, rows, context, request)
        if "summary" in added:
            summaries = store_rollups.summaries(conn, [item.row.id for item in rows], now_ms)
            for item in items:
                item["summary"] = history.summary_of(summaries[item["id"]])
        if "locations" in added:
            _add_location_states(conn, rows, items, now_ms)
    last = rows[-1] if len(found) > limit else None
    following = None if last is None else cursor_of((sort, last.sort_key, last.row.id))
    return tagged_answer(request, listing(items, following))


def _position(cursor: str | None, sort: Sort) -> Position | None:
    position = position_of(cursor, tuple[str, str | int, int])
    if position is None:
        return None
    sorted_by, sort_key, target_id = position
    if sorted_by != sort or isinstance(sort_key, str) is not (sort in ("name", "-name")):
        raise bad_parameter("cursor", "belongs to a list in another order")
    return Position(sort_key, target_id)


@router.post(
    "",
    summary="Make a target",
    status_code=201,
    response_model=models.Target,
)
def create_target(request: Request, given: Whole, context: Context) -> Response:
    with context.store.write() as conn:
        row = targets.create(conn, given, vault=context.vault, now_ms=context.clock.now_ms())
        view = _view(conn, row.id, context, request)
    context.bus.ring("targets")
    return answer(view, 201, {"Location": f"/v1/targets/{row.id}"})


@router.get("/{target_id}", summary="One target", response_model=models.Target)
def read_target(request: Request, target_id: Id, context: Context) -> Response:
    with context.store.read() as conn:
        return tagged_answer(request, _view(conn, target_id, context, request))


@router.patch("/{target_id}", summary="Change some fields of a target", response_model=models.Target)
def change_target(request: Request, target_id: Id, given: Part, context: Context) -> Response:
    with context.store.write() as conn:
        done = targets.change(
            conn,
            target_id,
            given,
            vault=context.vault,
            pipeline=context.pipeline,
            now_ms=context.clock.now_ms(),
        )
        view = _view(conn, target_id, context, request)
    _announce(context, done.transitions)
    return answer(view)


@router.put("/{target_id}", summary="Replace a target", response_model=models.Target)
def replace_target(request: Request, target_id: Id, given: Whole, context: Context) -> Response:
    """What is left out takes its default, but for secrets: those left out or null stay."""
    with context.store.write() as conn:
        done = targets.put(
            conn,
            target_id,
            given,
            vault=context.vault,
            pipeline=context.pipeline,
            now_ms=context.clock.now_ms(),
        )
        view = _view(conn, target_id, context, request)
    _announce(context, done.transitions)
    return answer(view)


@router.delete("/{target_id}", summary="Delete a target and its history", status_code=204)
def delete_target(target_id: Id, context: Context) -> Response:
    with context.store.write() as conn:
        changes = targets.delete(conn, target_id, pipeline=context.pipeline, now_ms=context.clock.now_ms())
    _announce(context, changes)
    return no_content()


@router.post("/{target_id}/pause", summary="Pause a target", response_model=models.Target)
def pause_target(request: Request, target_id: Id, context: Context) -> Response:
    """Nothing is probed until it is resumed; no history is lost. Pausing a paused target changes nothing."""
    return _switch(request, target_id, context, enabled=False)


@router.post("/{target_id}/resume", summary="Resume a target", response_model=models.Target)
def resume_target(request: Request, target_id: Id, context: Context) -> Response:
    """Its verdict is unknown until the first check."""
    return _switch(request, target_id, context, enabled=True)


def _switch(request: Request, target_id: int, context: ApiContext, *, enabled: bool) -> Response:
    now_ms = context.clock.now_ms()
    with context.store.write() as conn:
        done = targets.set_enabled(conn, target_id, enabled, pipeline=context.pipeline, now_ms=now_ms)
        view = _view(conn, target_id, context, request)
    _announce(context, done.transitions)
    return answer(view)


@router.post("/{target_id}/clone", summary="Copy a target", status_code=201, response_model=models.Target)
def clone_target(request: Request, target_id: Id, context: Context, wish: models.CloneWish | None = None) -> Response:
    """The same settings and secrets, a name and an address of its own, no history."""
    with context.store.write() as conn:
        row = targets.clone(
            conn,
            target_id,
            name=wish.name if wish else None,
            vault=context.vault,
            now_ms=context.clock.now_ms(),
        )
        view = _view(conn, row.id, context, request)
    context.bus.ring("targets")
    return answer(view, 201, {"Location": f"/v1/targets/{row.id}"})


def _announce(context: ApiContext, changes: Sequence[Transition]) -> None:
    context.bus.ring("targets")
    if changes:
        context.pipeline.ring(changes)


# ── tags, groups, kinds ───────────────────────────────────────────────────────────────────────────────


@catalog_router.get("/tags", summary="Tags in use", response_model=models.Tallies)
def list_tags(context: Context) -> Response:
    with context.store.read() as conn:
        return _tallies(store_targets.tag_counts(conn))


@catalog_router.get("/groups", summary="Groups in use", response_model=models.Tallies)
def list_groups(context: Context) -> Response:
    with context.store.read() as conn:
        return _tallies(store_targets.group_counts(conn))


def _tallies(counts: Sequence[tuple[str, int]]) -> Response:
    return answer(listing([{"name": name, "targets": number} for name, number in counts]))


@catalog_router.get("/kinds", summary="Kinds of targets, with what their forms need", response_model=models.Kinds)
def list_kinds(request: Request) -> Response:
    return tagged_answer(request, listing(_kinds()))


@cache
def _kinds() -> list[dict[str, Any]]:
    return [
        {
            "kind": probe.kind,
            "title": probe.title,
            "variables": {name: kind.value for name, kind in probe.variables.items()},
            "default_assert": list(probe.default_assertions),
            "schema": targets.WRITE_MODELS[probe.kind].model_json_schema(by_alias=True),
        }
        for probe in PROBES.values()
    ]


# ── as answered ───────────────────────────────────────────────────────────────────────────────────────


def _view(conn: Connection, target_id: int, context: ApiContext, request: Request) -> dict[str, Any]:
    found = store_targets.listed(conn, target_id)
    if found is None:
        raise targets.no_target(target_id)
    views = _views(conn, [found], context, request)
    _add_location_states(conn, [found], views, context.clock.now_ms())
    return views[0]


def _views(conn: Connection, found: Sequence[Listed], context: ApiContext, request: Request) -> list[dict[str, Any]]:
    ids = [item.row.id for item in found]
    tokens = store_heartbeats.tokens(conn, ids)
    expiries = store_certificates.expiries(conn, ids)
    ties = targets.ties(conn, [item.row for item in found])
    because = causes_of(conn, found)
    base = (context.public_url or str(request.base_url)).rstrip("/")
    return [
        _target(item, ties[item.row.id], tokens.get(item.row.id), expiries, base)
        | {"because_of": history.named(because.get(item.row.id))}
        for item in found
    ]


def _target(item: Listed, ties: Ties, token: str | None, expiries: Mapping[int, int], base: str) -> dict[str, Any]:
    row = item.row
    return (
        targets.describe(row, ties)
        | standing(item)
        | {
            "paused": not row.enabled,
            "certificate_expires_at": moment_or_none(expiries.get(row.id)),
            "created_at": moment(row.created_ms),
            "updated_at": moment(row.updated_ms),
            "ping_url": None if token is None else f"{base}/ping/{token}",
        }
    )


def _add_location_states(
    conn: Connection, found: Sequence[Listed], views: Sequence[dict[str, Any]], now_ms: int
) -> None:
    seen = locations.seen_from(conn, [item.row for item in found], now_ms=now_ms)
    for view in views:
        view["location_states"] = [_location_state(one) for one in seen[view["id"]]]


def _location_state(one: Seen) -> dict[str, Any]:
    return {
        "location": one.location,
        "verdict": one.verdict.value,
        "since": moment(one.since_ms),
        "reason": one.reason,
        "last_check_at": moment(one.last_at_ms) if one.last_at_ms else None,
        "last_latency_ms": milliseconds(one.last_latency_us),
        "workers": one.workers,
    }


def down_because_of(conn: Connection, cause_id: int) -> list[int]:
    """The targets that are down because of this one."""
    return [number for number, cause in causes(conn, store_targets.down(conn).keys()).items() if cause.id == cause_id]


def causes_of(conn: Connection, found: Sequence[Listed]) -> dict[int, Cause]:
    """Because of what each of these targets is down, where it is not by itself."""
    return causes(conn, [item.row.id for item in found if item.headline.verdict == Verdict.DOWN])


def standing(item: Listed) -> dict[str, Any]:
    """How a target stands."""
    headline = item.headline
    return {
        "verdict": headline.verdict,
        "since": moment(headline.since_ms or item.row.created_ms),
        "reason": headline.reason if headline.last_at_ms else targets.reason_unchecked(item.row.enabled),
        "last_check_at": moment(headline.last_at_ms) if headline.last_at_ms else None,
        "last_latency_ms": milliseconds(headline.last_latency_us),
    }
