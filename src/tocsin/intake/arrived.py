"""What comes in at the door, and how it is turned away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tocsin.core.samples import Layout


class Introduced(NamedTuple):
    """Who reports. ``boot_id`` empty: it tells none; ``every_ms`` 0: not known."""

    uid: str
    boot_id: str = ""
    name: str = ""
    version: str = ""
    every_ms: int = 0
    facts: Mapping[str, str] = {}
    tags: Sequence[str] = ()


class Arrived(NamedTuple):
    """One tick. ``boot_id`` empty: there is no sequence, and ``seq`` is its time; then what is sent twice is known by
    its time alone. ``starts_ms``: since when each counter counts, 0 where that is not known.

    ``sent_at_ms`` by the machine's clock and ``received_ms`` by ours tell how far they are apart; 0: not known. Times
    are by the machine's clock.
    """

    machine_id: int
    boot_id: str
    seq: int
    at_ms: int
    layout: Layout
    starts_ms: NDArray[np.int64] | None
    values: NDArray[np.float64]
    processes: list[dict[str, Any]] | None
    sent_at_ms: int = 0
    received_ms: int = 0


class Refused(Exception):
    """What a machine says makes no sense: which field, and what it must be."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field


class IdentityInUse(Exception):
    """Another machine with this id was heard of a moment ago: a machine was copied together with its id."""
