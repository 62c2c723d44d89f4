"""Which targets a target cannot be up without: its parents, and theirs.

Whoever changes parents holds the revision of targets (``targets.next_revision``), so that of two changes at once the
second sees the first, and no circle comes about between them. A deleted target is nobody's parent and nobody's child.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Final

from sqlalchemy import ColumnElement, Connection, Select, delete, func, insert, select

from tocsin.core.decide import Verdict
from tocsin.core.outcome import HEADLINE, REACHABLE
from tocsin.core.target import TARGET
from tocsin.store import fast, tables
from tocsin.store.fast import Rows

P: Final = tables.target_parents.c


def set_parents(conn: Connection, target_id: int, parent_ids: Collection[int]) -> None:
    """These and no others. They exist and ``would_circle`` finds nothing against them. Two statements."""
    conn.execute(delete(tables.target_parents).where(P.target_id == target_id))
    if parent_ids:
        rows = [{"target_id": target_id, "parent_id": parent_id} for parent_id in sorted(set(parent_ids))]
        conn.execute(insert(tables.target_parents), rows)


def parents_of(conn: Connection, target_ids: Collection[int]) -> dict[int, list[int]]:
    """The parents of each of these targets, by id; an empty list where there is none."""
    return _pairs(conn, target_ids, _edges(P.target_id, P.parent_id).where(fast.among(conn, P.target_id, target_ids)))


def children_of(conn: Connection, target_ids: Collection[int]) -> dict[int, list[int]]:
    """The targets that name each of these as a parent, by id; an empty list where there is none."""
    return _pairs(conn, target_ids, _edges(P.parent_id, P.target_id).where(fast.among(conn, P.parent_id, target_ids)))


def ancestors(conn: Connection, target_ids: Collection[int]) -> dict[int, set[int]]:
    """The parents of each of these targets, their parents, and so on; an empty set where there is none."""
    found = _pairs(conn, target_ids, _reached(conn, target_ids, P.target_id, P.parent_id))
    return {target_id: set(above) for target_id, above in found.items()}


def dependents_down(conn: Connection, target_ids: Collection[int]) -> dict[int, int]:
    """How many of the targets that depend on each of these, directly or not, are down; those of none are left out."""
    below = _reached(conn, target_ids, P.parent_id, P.target_id).subquery()
    states, targets = tables.states.c, tables.targets.c
    statement = (
        select(below.c.origin, func.count())
        .join_from(below, tables.targets, targets.id == below.c.id)
        .join(tables.states, states.subject_id == below.c.id)
        .where(
            targets.enabled.is_(True),
            states.subject_kind == TARGET,
            states.rule == REACHABLE,
            states.location_id == HEADLINE,
            states.verdict == Verdict.DOWN.value,
        )
        .group_by(below.c.origin)
    )
    return dict(fast.fetch(conn, statement))


def would_circle(conn: Connection, target_id: int, parent_ids: Collection[int]) -> int | None:
    """The first of ``parent_ids`` that is the target itself or depends on it; None: they may be its parents."""
    above = ancestors(conn, parent_ids)
    return next((one for one in parent_ids if one == target_id or target_id in above[one]), None)


def _pairs(conn: Connection, target_ids: Collection[int], statement: Rows) -> dict[int, list[int]]:
    found: dict[int, list[int]] = defaultdict(list)
    for target_id, other_id in fast.fetch(conn, statement):
        found[target_id].append(other_id)
    return {target_id: sorted(found[target_id]) for target_id in target_ids}


def _edges(start: ColumnElement[int], end: ColumnElement[int]) -> Select[int, int]:
    """The dependencies between live targets, from ``start`` (``origin``) to ``end`` (``id``)."""
    parent, child = tables.targets.alias("parent").c, tables.targets.alias("child").c
    return select(start.label("origin"), end.label("id")).where(
        parent.id == P.parent_id,
        child.id == P.target_id,
        parent.deleted_ms.is_(None),
        child.deleted_ms.is_(None),
    )


def _reached(
    conn: Connection, target_ids: Collection[int], start: ColumnElement[int], end: ColumnElement[int]
) -> Select[int, int]:
    """All that is reached from each of these targets along dependencies. Each pair comes once, so that it would come to
    an end even in a circle."""
    reached = _edges(start, end).where(fast.among(conn, start, target_ids)).cte("reached", recursive=True)
    edge = _edges(start, end).subquery("edge")
    further = select(reached.c.origin, edge.c.id).join_from(reached, edge, edge.c.origin == reached.c.id)
    everything = reached.union(further)
    return select(everything.c.origin, everything.c.id)
