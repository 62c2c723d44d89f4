"""Locations: where checks are made from, who is there, and taking one off the list."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.responses import Response

from tocsin.api import models
from tocsin.api.answers import answer, listing, moment, no_content
from tocsin.api.guard import Context, GuardedRoute, problem_answers
from tocsin.api.parameters import Text
from tocsin.catalog import locations
from tocsin.catalog.locations import Location
from tocsin.store.workers import Worker

router = APIRouter(prefix="/v1/locations", tags=["locations"], route_class=GuardedRoute)


@router.get("", summary="Locations, by name", response_model=models.Page[models.Location])
def list_locations(context: Context) -> Response:
    """All of them, on one page, with the workers that are there now."""
    with context.store.read() as conn:
        found = locations.all_locations(conn, now_ms=context.clock.now_ms())
    return answer(listing([_location(one) for one in found]))


@router.delete("/{name}", summary="Remove a location", status_code=204, responses=problem_answers(409))
def remove_location(name: Annotated[Text, Path(max_length=60)], context: Context) -> Response:
    """One that has no worker and that no target names. Its history stays, and so does its name in it. It is there again
    as soon as a worker comes from it or a target names it."""
    with context.store.write() as conn:
        changes = locations.remove(conn, name, pipeline=context.pipeline, now_ms=context.clock.now_ms())
    context.bus.ring("targets")
    context.pipeline.ring(changes)
    return no_content()


def _location(one: Location) -> dict[str, Any]:
    return {"name": one.name, "workers": [_worker(worker) for worker in one.workers], "targets": one.targets}


def _worker(one: Worker) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "version": one.version,
        "remote": one.remote,
        "started_at": moment(one.started_ms),
        "seen_at": moment(one.seen_ms),
        "shards": one.shards,
        "clock_off_ms": one.clock_off_ms,
    }
