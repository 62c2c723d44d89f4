"""Folding checks into hours, hours into days, and any of them into the points of a chart.

Everything that is kept adds up (counts, sums, sketches) or is a minimum or maximum, so that it does not matter in
which order, or in how many steps, checks were folded. Knows nothing of tables or of now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tocsin.core import sketch
from tocsin.core.outcome import Result
from tocsin.core.sketch import Floats, Ints, Sketches

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS

PHASES: Final = ("dns", "connect", "tls", "first_byte", "transfer")
NOT_TIMED: Final = -1
"""Stands for None in arrays of microseconds."""

SUMS: Final = (
    "checks",
    "passed",
    "warned",
    "unmeasured",
    "timed",
    "latency_sum_us",
    *(f"{phase}_sum_us" for phase in PHASES),
    *(f"{phase}_timed" for phase in PHASES),
)
"""The columns of ``Rollups.sums``. Checks that neither passed nor warned nor were unmeasured failed; ``timed`` and
what follows count checks that passed or warned, and were timed."""

_NEVER_LESS: Final = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Checks:
    """Raw checks as columns, in any order; NOT_TIMED where there is no time."""

    target_id: Ints
    at_ms: Ints
    result: Ints
    latency_us: Ints
    phases_us: Ints
    """One column per phase."""

    @classmethod
    def of(cls, numbers: Ints) -> Checks:
        """From rows of target_id, at_ms, result, latency_us and the phases."""
        return cls(numbers[:, 0], numbers[:, 1], numbers[:, 2], numbers[:, 3], numbers[:, 4:])


class Key(NamedTuple):
    target_id: int
    start_ms: int


@dataclass(frozen=True, slots=True)
class Rollups:
    """Folded checks, one row per (target_id, start_ms), in that order."""

    target_id: Ints
    start_ms: Ints
    sums: Ints
    """One column for each of SUMS."""
    latency_min_us: Ints
    """NOT_TIMED where ``timed`` is 0."""
    latency_max_us: Ints
    sketches: Sketches

    def __len__(self) -> int:
        return len(self.target_id)

    def column(self, name: str) -> Ints:
        column: Ints = self.sums[:, SUMS.index(name)]
        return column

    @property
    def failed(self) -> Ints:
        return self.column("checks") - self.column("passed") - self.column("warned") - self.column("unmeasured")

    @property
    def keys(self) -> list[Key]:
        return [Key(*key) for key in zip(self.target_id.tolist(), self.start_ms.tolist(), strict=True)]

    @property
    def phase_averages_us(self) -> Floats:
        """One column per phase; NaN where it never took place."""
        first = SUMS.index(f"{PHASES[0]}_sum_us")
        sums, counts = self.sums[:, first : first + len(PHASES)], self.sums[:, first + len(PHASES) :]
        averages: Floats = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
        return averages

    @property
    def latency_averages_us(self) -> Floats:
        timed = self.column("timed")
        averages: Floats = np.divide(
            self.column("latency_sum_us"), timed, out=np.full(len(self), np.nan), where=timed > 0
        )
        return averages


NOTHING: Final = Rollups(
    np.zeros(0, np.int64),
    np.zeros(0, np.int64),
    np.zeros((0, len(SUMS)), np.int64),
    np.zeros(0, np.int64),
    np.zeros(0, np.int64),
    Sketches(0, np.zeros(0, np.int64), np.zeros(0, np.int64)),
)


def fold(checks: Checks, step_ms: int, *, origin_ms: int = 0) -> Rollups:
    """One row per target and step of ``step_ms`` (counted from ``origin_ms``) in which it has a check."""
    start_ms = checks.at_ms - (checks.at_ms - origin_ms) % step_ms
    worked = (checks.result == Result.PASSED) | (checks.result == Result.WARNED)
    timed = worked & (checks.latency_us >= 0)
    phase_timed = worked[:, None] & (checks.phases_us >= 0)
    sums = np.column_stack(
        [
            np.ones(len(worked), np.int64),
            checks.result == Result.PASSED,
            checks.result == Result.WARNED,
            checks.result == Result.UNMEASURED,
            timed,
            np.where(timed, checks.latency_us, 0),
            np.where(phase_timed, checks.phases_us, 0),
            phase_timed,
        ]
    ).astype(np.int64)
    groups, target_id, starts = _grouped(checks.target_id, start_ms)
    sketches = sketch.of_values(checks.latency_us[timed], groups[timed], len(target_id))
    latency = np.where(timed, checks.latency_us, NOT_TIMED)
    return _reduced(groups, target_id, starts, sums, latency, latency, sketches)


def merge(parts: Sequence[Rollups], step_ms: int | None = None, *, origin_ms: int = 0) -> Rollups:
    """Add rows with the same key; with ``step_ms`` all rows whose start lies in the same step."""
    parts = [part for part in parts if len(part)]
    if not parts:
        return NOTHING
    start_ms = np.concatenate([part.start_ms for part in parts])
    if step_ms is not None:
        start_ms = start_ms - (start_ms - origin_ms) % step_ms
    return regroup(parts, np.concatenate([part.target_id for part in parts]), start_ms)


def regroup(parts: Sequence[Rollups], target_id: Ints, start_ms: Ints) -> Rollups:
    """Add rows under new keys: row i of all parts, one after the other, goes to (target_id[i], start_ms[i])."""
    if not len(target_id):
        return NOTHING
    groups, targets, starts = _grouped(target_id, start_ms)
    offsets = np.cumsum([0, *(len(part) for part in parts)])
    sketches = sketch.merge(
        [
            sketch.renumber(part.sketches, groups[offset : offset + len(part)], len(targets))
            for part, offset in zip(parts, offsets, strict=False)
        ]
    )
    return _reduced(
        groups,
        targets,
        starts,
        np.concatenate([part.sums for part in parts]),
        np.concatenate([part.latency_min_us for part in parts]),
        np.concatenate([part.latency_max_us for part in parts]),
        sketches,
    )


def only(rows: Rollups, kept: NDArray[np.bool_]) -> Rollups:
    """The rows for which ``kept`` is true."""
    return Rollups(
        rows.target_id[kept],
        rows.start_ms[kept],
        rows.sums[kept],
        rows.latency_min_us[kept],
        rows.latency_max_us[kept],
        sketch.only(rows.sketches, kept),
    )


def since(rows: Rollups, from_ms: int) -> Rollups:
    """The rows that begin at or after ``from_ms``."""
    return only(rows, rows.start_ms >= from_ms)


def _grouped(target_id: Ints, start_ms: Ints) -> tuple[Ints, Ints, Ints]:
    """Which group each row belongs to, and each group's target and start, in their order."""
    order = np.lexsort((start_ms, target_id))
    targets, starts = target_id[order], start_ms[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (np.diff(targets) != 0) | (np.diff(starts) != 0)
    groups = np.empty(len(order), dtype=np.int64)
    groups[order] = np.cumsum(new) - 1
    return groups, targets[new], starts[new]


def _reduced(
    groups: Ints, target_id: Ints, start_ms: Ints, sums: Ints, least: Ints, most: Ints, sketches: Sketches
) -> Rollups:
    order = np.argsort(groups, kind="stable")
    first = np.searchsorted(groups[order], np.arange(len(target_id)))
    if not len(first):
        return NOTHING
    smallest = np.minimum.reduceat(np.where(least == NOT_TIMED, _NEVER_LESS, least)[order], first)
    return Rollups(
        target_id,
        start_ms,
        np.add.reduceat(sums[order], first, axis=0),
        np.where(smallest == _NEVER_LESS, NOT_TIMED, smallest),
        np.maximum.reduceat(most[order], first),
        sketches,
    )
