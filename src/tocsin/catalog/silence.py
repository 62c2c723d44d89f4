"""What silence means to whatever is judged: for the sweep, which knows no kind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from typing import Final

from sqlalchemy import Connection

from tocsin.catalog import targets
from tocsin.core.decide import Policy
from tocsin.core.outcome import StateKey
from tocsin.core.samples import MACHINE
from tocsin.core.target import TARGET
from tocsin.intake.intake import LISTENING
from tocsin.intake.judging import policies_of

LISTENERS: Final[Mapping[str, str]] = {MACHINE: LISTENING}
"""By the kind of a subject that can only be heard while somebody listens: the lease of who does."""


def policies(conn: Connection, keys: Collection[StateKey]) -> dict[StateKey, Policy]:
    """How each of these states is judged whose subject still exists, and is judged by that rule."""
    kinds: dict[str, list[StateKey]] = defaultdict(list)
    for key in keys:
        kinds[key.subject.kind].append(key)
    found: dict[StateKey, Policy] = {}
    for kind, several in kinds.items():
        if (judge := _KINDS.get(kind)) is not None:
            found |= judge(conn, several)
    return found


def _of_targets(conn: Connection, keys: Collection[StateKey]) -> dict[StateKey, Policy]:
    known = targets.policies(conn, {key.subject.id for key in keys})
    return {key: known[key.subject.id] for key in keys if key.subject.id in known}


def _of_machines(conn: Connection, keys: Collection[StateKey]) -> dict[StateKey, Policy]:
    known = policies_of(conn, {key.subject.id for key in keys})
    return {key: policy for key in keys if (policy := known.get(key.subject.id, {}).get(key.rule)) is not None}


_KINDS: Final[Mapping[str, Callable[[Connection, Collection[StateKey]], dict[StateKey, Policy]]]] = {
    TARGET: _of_targets,
    MACHINE: _of_machines,
}
