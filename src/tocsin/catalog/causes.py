"""Because of what a target is down: the topmost of those it depends on that is down itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from sqlalchemy import Connection

from tocsin.store import parents
from tocsin.store import targets as store_targets
from tocsin.store.targets import Down


class Cause(NamedTuple):
    id: int
    name: str


def causes(conn: Connection, down_ids: Collection[int]) -> dict[int, Cause]:
    """For each of these targets, all of them down: what it is down because of; one that is so by itself is left out.

    Where several are topmost it is the one that has been down longest. At most three statements, however many targets.
    """
    if not down_ids:
        return {}
    above = {number: found for number, found in parents.ancestors(conn, down_ids).items() if found}
    if not above:
        return {}
    down = store_targets.down(conn, set().union(*above.values()))
    if not down:
        return {}
    higher = parents.ancestors(conn, down)
    topmost = {number: one for number, one in down.items() if higher[number].isdisjoint(down)}
    return {
        number: Cause(cause, topmost[cause].name)
        for number, found in above.items()
        if (cause := _longest(found, topmost)) is not None
    }


def _longest(above: Collection[int], topmost: Mapping[int, Down]) -> int | None:
    return min(
        (number for number in above if number in topmost),
        key=lambda number: (topmost[number].since_ms, number),
        default=None,
    )
