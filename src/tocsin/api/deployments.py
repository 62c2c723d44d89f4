"""Deployments: told of by whoever makes them, and listed for what they concern."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query
from starlette.responses import Response

from tocsin.api import models
from tocsin.api.answers import answer, listing, moment, moment_or_none
from tocsin.api.guard import Context, GuardedRoute, IngestRoute, problem_answers
from tocsin.api.paging import cursor_of, position_of
from tocsin.api.parameters import Between, Cursor, Documents, Limit, Number
from tocsin.api.problems import bad_parameter
from tocsin.catalog import deployments
from tocsin.catalog.deployments import DeploymentFields
from tocsin.store import deployments as store_deployments
from tocsin.store.deployments import DeploymentRow

ingest_router = APIRouter(prefix="/v1/ingest", tags=["deployments"], route_class=IngestRoute)
router = APIRouter(prefix="/v1/deployments", tags=["deployments"], route_class=GuardedRoute)

_EXAMPLE = {"id": "run-4711", "service": "checkout-api", "version": "v1.42.0", "by": "ada", "tags": ["checkout"]}


@ingest_router.post(
    "/deployments",
    summary="Tell of a deployment",
    response_model=models.DeploymentBrief,
    responses={201: {"model": models.DeploymentBrief, "description": "It was not known before."}},
)
def tell_deployment(
    given: Annotated[
        dict[str, Any], Documents(DeploymentFields), Body(openapi_examples={"succeeded": {"value": _EXAMPLE}})
    ],
    context: Context,
) -> Response:
    """When it begins, when it ends, or both at once. Reports of the same `source` and `id` are about the same one,
    whichever key they come with; they may come twice and in any order. What a report leaves out stays as it was."""
    with context.store.write() as conn:
        told = deployments.tell(conn, given, now_ms=context.clock.now_ms())
    return answer(_brief(told.row), 201 if told.is_new else 200)


@router.get(
    "",
    summary="Deployments, newest first",
    response_model=models.Page[models.Deployment],
    responses=problem_answers(404),
)
def list_deployments(
    context: Context,
    between: Between,
    limit: Limit = 100,
    cursor: Cursor = None,
    target: Annotated[Number | None, Query(description="Only those that concern this target.")] = None,
    machine: Annotated[Number | None, Query(description="Only those that concern this machine.")] = None,
) -> Response:
    """Those under way at some time from `from` until before `to`."""
    if target is not None and machine is not None:
        raise bad_parameter("machine", "give a target or a machine, not both")
    before = position_of(cursor, tuple[int, int])
    from_ms, to_ms = between.whole
    with context.store.read() as conn:
        concerning = None
        if target is not None:
            concerning = deployments.of_target(conn, target)
        elif machine is not None:
            concerning = deployments.of_machine(conn, machine)
        found = store_deployments.between(
            conn, from_ms=from_ms, to_ms=to_ms, limit=limit + 1, before=before, concerning=concerning
        )
    rows = found[:limit]
    following = cursor_of((rows[-1].deployment.started_ms, rows[-1].id)) if len(found) > limit else None
    return answer(listing([_deployment(row) for row in rows], following))


def _brief(row: DeploymentRow) -> dict[str, Any]:
    """No more than whoever told of it may know: a key that only pushes does not read."""
    status, started_ms, finished_ms, _ = row.deployment
    return {
        "id": row.key.outside_id,
        "source": row.key.source,
        "status": status.value,
        "started_at": moment(started_ms),
        "finished_at": moment_or_none(finished_ms),
    }


def _deployment(row: DeploymentRow) -> dict[str, Any]:
    about = row.deployment.about
    return _brief(row) | {
        "service": about.service,
        "environment": about.environment,
        "version": about.version,
        "description": about.description,
        "by": about.by,
        "url": about.url,
        "targets": about.target_names,
        "machines": about.machine_names,
        "tags": about.tags,
    }
