"""Locations: the vantage points that checks are made from. Targets name them and workers come from them; either makes
one, and only a person removes it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from tocsin.catalog import targets
from tocsin.catalog.errors import Conflict, NotFound
from tocsin.core.decide import State, Transition, Verdict
from tocsin.core.outcome import REACHABLE
from tocsin.core.target import CERTIFICATE_POLICY
from tocsin.pipeline import Pipeline
from tocsin.store import certificates as store_certificates
from tocsin.store import locations as store_locations
from tocsin.store import states as store_states
from tocsin.store import targets as store_targets
from tocsin.store import workers as store_workers
from tocsin.store.targets import Place, TargetRow
from tocsin.store.workers import Worker


class Location(NamedTuple):
    """``workers`` are those there now; ``naming`` is how many targets name it, ``targets`` how many are to be checked
    from it: those and the ones that name none."""

    id: int
    name: str
    workers: Sequence[Worker]
    targets: int
    naming: int


def all_locations(conn: Connection, *, now_ms: int) -> list[Location]:
    """By name."""
    there: dict[int, list[Worker]] = defaultdict(list)
    for worker in store_workers.there(conn, now_ms):
        there[worker.location_id].append(worker)
    naming = store_locations.named(conn)
    naming_none = store_locations.naming_none(conn, targets.PROBED)
    return [
        Location(number, name, there.get(number, ()), naming.get(number, 0) + naming_none, naming.get(number, 0))
        for number, name in store_locations.present(conn).items()
    ]


def place(conn: Connection, name: str) -> Place | None:
    """For narrowing a list; None where there never was such a location."""
    return next(
        (Place(number, targets.PROBED) for number, known in store_locations.names(conn).items() if known == name), None
    )


def remove(conn: Connection, name: str, *, pipeline: Pipeline, now_ms: int) -> Sequence[Transition]:
    """Takes a location off the list, with what was seen from it last; its history stays. ``Conflict`` while a worker is
    there or a target names it. Yields what changed, for ``Pipeline.ring``."""
    # Held, so that no target comes to name it meanwhile.
    store_targets.next_revision(conn)
    found = next((one for one in all_locations(conn, now_ms=now_ms) if one.name == name), None)
    if found is None:
        raise NotFound(f"There is no location {name}.")
    if found.workers:
        raise Conflict(
            f"{_counted(len(found.workers), 'worker is', 'workers are')} at {name}: it can be removed when none is."
        )
    if found.naming:
        raise Conflict(
            f"{_counted(found.naming, 'target names', 'targets name')} {name}: it can be removed when none does."
        )
    votes = [key for key, state in store_states.at(conn, found.id) if state.verdict is not Verdict.UNKNOWN]
    changes = [*pipeline.hold(conn, votes, f"{name} was removed")]
    changes += pipeline.recount(conn, {key.headline for key in votes}, CERTIFICATE_POLICY.quorum)
    store_states.forget(conn, found.id)
    store_certificates.forget_location(conn, found.id)
    store_workers.forget(conn, found.id)
    store_locations.mark_removed(conn, found.id, at_ms=now_ms)
    return changes


def _counted(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"


# ── how targets stand, seen from each ─────────────────────────────────────────────────────────────────


class Seen(NamedTuple):
    """How a target stands as one location sees it. ``last_at_ms`` is 0 before its first check from there; ``workers``
    is how many are there now."""

    location: str
    verdict: Verdict
    since_ms: int
    reason: str
    last_at_ms: int
    last_latency_us: int | None
    workers: int


def seen_from(conn: Connection, rows: Sequence[TargetRow], *, now_ms: int) -> dict[int, list[Seen]]:
    """How each of these targets stands from every location it is checked from, in the order it names them or by name.
    Three statements, however many there are."""
    names = store_locations.present(conn)
    workers = Counter(worker.location_id for worker in store_workers.there(conn, now_ms))
    states: dict[int, dict[int, State]] = defaultdict(dict)
    for key, state in store_states.for_targets(conn, [row.id for row in rows]):
        if key.rule == REACHABLE:
            states[key.subject.id][key.location_id] = state
    return {
        row.id: [
            _seen(row, names[number], states[row.id].get(number, State()), workers[number])
            for number in _places(row, names, states[row.id].keys() | workers.keys())
            if number in names
        ]
        for row in rows
    }


def _places(row: TargetRow, names: Iterable[int], known: Iterable[int]) -> Iterable[int]:
    if row.kind not in targets.PROBED:
        return ()
    known = set(known)
    return row.location_ids or [number for number in names if number in known]


def _seen(row: TargetRow, name: str, state: State, workers: int) -> Seen:
    checked = state.last_at_ms > 0
    return Seen(
        name,
        state.verdict,
        state.since_ms or row.created_ms,
        state.reason if checked else targets.reason_unchecked(row.enabled),
        state.last_at_ms,
        state.last_latency_us,
        workers,
    )
