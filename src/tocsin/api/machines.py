"""Machines: listed, read, renamed, judged by other bands, removed; what each sent, and how its verdict changed.

Names, tags, facts and processes come from machines: they are data, and leave here as text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Final

import numpy as np
from fastapi import APIRouter, Body, Path, Query, Request
from numpy.typing import NDArray
from pydantic import Field
from sqlalchemy import Connection
from starlette.responses import Response

from tocsin.api import history, models
from tocsin.api.answers import answer, listing, moment, no_content, tagged_answer
from tocsin.api.context import ApiContext
from tocsin.api.guard import Context, GuardedRoute
from tocsin.api.paging import cursor_of, position_of
from tocsin.api.parameters import Between, Cursor, Documents, Id, Lasting, Limit, Text, several
from tocsin.api.problems import bad_parameter
from tocsin.catalog import machines
from tocsin.core.decide import Transition
from tocsin.core.outcome import Subject
from tocsin.core.samples import MACHINE, Series
from tocsin.store import machines as store_machines
from tocsin.store import samples as store_samples
from tocsin.store import transitions as store_transitions

router = APIRouter(prefix="/v1/machines", tags=["machines"], route_class=GuardedRoute)
bands_router = APIRouter(prefix="/v1/machine-bands", tags=["machines"], route_class=GuardedRoute)

EXPANSIONS: Final = ("spark",)
MOST_NAMES: Final = 50
"""Of series, in one question."""
MOST_SERIES: Final = 256
"""In one answer: the idle time of 128 processors, beside the other modes."""
MOST_POINTS: Final = 2000
"""Of one series."""
MOST_VALUES: Final = 200_000
"""Of all series of an answer together; more series have fewer points each. Each value is four numbers."""
HOUR_MS: Final = 3_600_000

Part = Annotated[
    dict[str, Any],
    Documents(models.MachinePatch),
    Body(openapi_examples={"renamed": {"value": {"name": "db-1", "tags": ["database"]}}}),
]
Judged = Annotated[
    dict[str, Any],
    Documents(models.OwnBands),
    Body(openapi_examples={"busy": {"value": {"cpu": {"warn": 0.9, "critical": 0.98}, "forecast": None}}}),
]
Tag = Annotated[Text, Path(min_length=1, max_length=60)]


@router.get("", summary="Machines, by name", response_model=models.Page[models.MachineRead])
def list_machines(
    request: Request,
    context: Context,
    limit: Limit = 100,
    cursor: Cursor = None,
    q: Annotated[Text | None, Query(max_length=200, description="Part of name, uid, tag or a fact.")] = None,
    tag: Annotated[Text | None, Query(max_length=60)] = None,
    verdict: models.VerdictName | None = None,
    expand: Annotated[
        str | None,
        Query(max_length=100, description="`spark`: add the last 30 minutes of `cpu` to each.", examples=["spark"]),
    ] = None,
) -> Response:
    """Answers with an ETag; send it as If-None-Match to learn cheaply that nothing changed."""
    added = several("expand", expand, EXPANSIONS)
    after = position_of(cursor, tuple[str, int])
    now_ms = context.clock.now_ms()
    with context.store.read() as conn:
        found = machines.page(conn, text=q, tag=tag, verdict=verdict, limit=limit + 1, after=after)
        shown = found[:limit]
        items = machines.documents(conn, shown, moment)
        if "spark" in added:
            for item, one in zip(items, shown, strict=True):
                item["spark"] = machines.spark(one, now_ms=now_ms)
    following = cursor_of(machines.position(shown[-1].row)) if len(found) > limit else None
    return tagged_answer(request, listing(items, following))


@router.get("/{machine_id}", summary="One machine", response_model=models.MachineRead)
def read_machine(request: Request, machine_id: Id, context: Context) -> Response:
    with context.store.read() as conn:
        return tagged_answer(request, _view(conn, machine_id))


@router.patch("/{machine_id}", summary="Rename, tag or judge a machine otherwise", response_model=models.MachineRead)
def change_machine(machine_id: Id, given: Part, context: Context) -> Response:
    """A name or tags that were given here stay, whatever the machine calls itself. Bands count from the next samples
    on."""
    with context.store.write() as conn:
        changes = machines.change(conn, machine_id, given, pipeline=context.pipeline, now_ms=context.clock.now_ms())
        view = _view(conn, machine_id)
    _announce(context, changes)
    return answer(view)


@router.delete("/{machine_id}", summary="Remove a machine and its history", status_code=204)
def delete_machine(machine_id: Id, context: Context) -> Response:
    """Should it report again it is a new one: stop its collector, or revoke its key, first."""
    with context.store.write() as conn:
        changes = machines.delete(conn, machine_id, pipeline=context.pipeline, now_ms=context.clock.now_ms())
    _announce(context, changes)
    return no_content()


def _announce(context: ApiContext, changes: Sequence[Transition]) -> None:
    context.bus.ring("machines")
    if changes:
        context.pipeline.ring(changes)


@router.get(
    "/{machine_id}/transitions",
    summary="A machine's changes of verdict, newest first",
    response_model=models.Page[models.Transition],
)
def list_machine_transitions(
    machine_id: Id,
    context: Context,
    between: Between,
    limit: Limit = 100,
    cursor: Cursor = None,
    lasting: Lasting = False,
) -> Response:
    """Of each of its rules."""
    before = position_of(cursor, tuple[int, int])
    from_ms, to_ms = between.whole
    with context.store.read() as conn:
        machines.get(conn, machine_id)
        found = store_transitions.of_subject(
            conn,
            Subject(MACHINE, machine_id),
            None,
            from_ms=from_ms,
            to_ms=to_ms,
            limit=limit + 1,
            before=before,
            lasting=lasting,
        )
        items = history.transitions(conn, found[:limit], now_ms=context.clock.now_ms())
    return answer(listing(items, history.following(found, limit)))


# ── what it sent ──────────────────────────────────────────────────────────────────────────────────────


@router.get("/{machine_id}/series", summary="What a machine sent, over time", response_model=models.MachineSeries)
def read_machine_series(
    request: Request,
    machine_id: Id,
    context: Context,
    between: Between,
    name: Annotated[
        list[Annotated[Text, Field(min_length=1, max_length=255)]],
        Query(
            min_length=1,
            max_length=MOST_NAMES,
            description="A series' name; again for more.",
            examples=[["system.cpu.time", "system.memory.usage"]],
        ),
    ],
    step: Annotated[
        float | None,
        Query(gt=0, le=31_536_000, allow_inf_nan=False, description="Seconds. Made longer where it must be."),
    ] = None,
) -> Response:
    """From the finest samples that are kept for the whole time and give at most 2,000 points each. Left out, `from` is
    one hour before `to`. A name that the machine never sent adds nothing."""
    now_ms = context.clock.now_ms()
    # Until the end of this very millisecond.
    to_ms = now_ms + 1 if between.to_ms is None else between.to_ms
    from_ms = max(0, to_ms - HOUR_MS) if between.from_ms is None else between.from_ms
    if from_ms >= to_ms:
        raise bad_parameter("from", "must be earlier than to")
    names = list(dict.fromkeys(name))
    with context.store.read() as conn:
        machines.get(conn, machine_id)
        sent = machines.series_of(conn, store_machines.newest(conn, [machine_id]))
        several = sum(series.name in names for series in sent)
        points = store_samples.read(
            conn,
            machine_id,
            names,
            from_ms,
            to_ms,
            step_ms=None if step is None else max(1, round(step * 1000)),
            now_ms=now_ms,
            kept=context.kept,
            most=min(MOST_POINTS, MOST_VALUES // min(max(1, several), MOST_SERIES)),
        )
    ranks = {name: rank for rank, name in enumerate(names)}
    order = sorted(
        range(len(points.series)),
        key=lambda place: (ranks[points.series[place].name], _natural(points.series[place])),
    )
    shown = order[:MOST_SERIES]
    return tagged_answer(
        request,
        {
            "from": moment(from_ms),
            "to": moment(to_ms),
            "step_s": points.step_ms / 1000,
            "tier": points.tier,
            "at": points.at_ms.tolist(),
            "series": [
                _series_name(points.series[place])
                | {
                    "avg": _numbers(_average(points.total[place], points.count[place])),
                    "min": _numbers(points.least[place]),
                    "max": _numbers(points.greatest[place]),
                    "last": _numbers(points.last[place]),
                }
                for place in shown
            ],
            "left_out": len(order) - len(shown),
        },
    )


_DIGITS: Final = re.compile("([0-9]+)")


def _natural(series: Series) -> list[Any]:
    """In the order people count: processor 2 before processor 10."""
    parts = _DIGITS.split("\0".join(f"{key}\0{value}" for key, value in series.attributes))
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


def _average(total: NDArray[np.float64], count: NDArray[np.float64]) -> NDArray[np.float64]:
    average = np.full(len(total), np.nan)
    np.divide(total, count, out=average, where=count > 0)
    return average


_DIGITS_KEPT: Final = 7
"""As many as single samples have: they are stored as float32."""


def _numbers(values: NDArray[np.float64]) -> list[float]:
    """To seven digits; NaN is written as null."""
    known = np.isfinite(values) & (values != 0)
    size = np.ones(len(values))
    places = _DIGITS_KEPT - 1 - np.floor(np.log10(np.abs(values[known])))
    size[known] = 10.0 ** np.clip(places, -300, 300)
    rounded: list[float] = (np.round(values * size) / size).tolist()
    return rounded


# ── bands ─────────────────────────────────────────────────────────────────────────────────────────────


@bands_router.get("", summary="What machines with a tag are judged by", response_model=models.AllTagBands)
def list_tag_bands(context: Context) -> Response:
    """By tag, on one page. Of a machine with several tags the first that says something of a rule counts."""
    with context.store.read() as conn:
        found = store_machines.tag_bands(conn)
    items = [{"tag": tag, "bands": bands} for tag, bands in sorted(found.items())]
    return answer(listing(items) | {"usual": machines.USUAL})


@bands_router.put("/{tag}", summary="Judge machines with a tag otherwise", response_model=models.TagBands)
def put_tag_bands(tag: Tag, given: Judged, context: Context) -> Response:
    with context.store.write() as conn:
        changes = machines.put_tag_bands(conn, tag, given, pipeline=context.pipeline, now_ms=context.clock.now_ms())
        bands = store_machines.tag_bands(conn)[tag]
    _announce(context, changes)
    return answer({"tag": tag, "bands": bands})


@bands_router.delete("/{tag}", summary="Judge machines with a tag as usual", status_code=204)
def delete_tag_bands(tag: Tag, context: Context) -> Response:
    with context.store.write() as conn:
        changes = machines.delete_tag_bands(conn, tag, pipeline=context.pipeline, now_ms=context.clock.now_ms())
    _announce(context, changes)
    return no_content()


# ── as answered ───────────────────────────────────────────────────────────────────────────────────────


def _view(conn: Connection, machine_id: int) -> dict[str, Any]:
    found = machines.describe(conn, machine_id)
    (view,) = machines.documents(conn, [found], moment)
    series = sorted(machines.series_of(conn, found.newest), key=lambda one: (one.name, _natural(one)))
    return view | {
        "processes": store_machines.processes(conn, machine_id),
        "series": [_series_name(one) for one in series],
    }


def _series_name(series: Series) -> dict[str, Any]:
    return {"name": series.name, "attributes": dict(series.attributes), "unit": series.stored_unit}
