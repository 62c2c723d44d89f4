"""How long subjects were up, from their transitions: weighted by time, to the millisecond, never rounded.

Takes many subjects at once, as arrays. Knows nothing of checks, tables or now; the end of a window is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tocsin.core.decide import Verdict

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

CODES: Final = {Verdict.UNKNOWN: 0, Verdict.UP: 1, Verdict.DEGRADED: 2, Verdict.DOWN: 3}
"""By how bad it is; the worst of several is the largest."""
_BY_CODE: Final = tuple(CODES)


class Interval(NamedTuple):
    """[from_ms, to_ms)."""

    from_ms: int
    to_ms: int


@dataclass(frozen=True, slots=True)
class Availability:
    """How one window was spent. The five add up to its length; before the first change is unknown."""

    up_ms: int
    degraded_ms: int
    down_ms: int
    unknown_ms: int
    maintenance_ms: int
    outages: int
    """How many times it was down, counting one that began earlier, not one wholly inside maintenance."""

    @property
    def measured_ms(self) -> int:
        return self.up_ms + self.degraded_ms + self.down_ms

    @property
    def ratio(self) -> float | None:
        """The share of the measured time it worked, 0 to 1; None when nothing was measured."""
        return (self.up_ms + self.degraded_ms) / self.measured_ms if self.measured_ms else None


@dataclass(frozen=True, slots=True)
class Timelines:
    """The verdicts of several subjects, as stretches of time in the order of subject and time."""

    subjects: tuple[int, ...]
    owner: Ints
    """Which of ``subjects`` a stretch belongs to, as an index."""
    begin_ms: Ints
    end_ms: Ints
    code: Ints

    @classmethod
    def of(cls, changes: Ints, until_ms: int) -> Timelines:
        """From rows of (subject, since when, code of the verdict) in the order of subject and time. A verdict lasts
        until the subject's next, the last one until ``until_ms``."""
        subjects, owner = np.unique(changes[:, 0], return_inverse=True)
        begin, code = changes[:, 1], changes[:, 2]
        end = np.full(len(begin), until_ms, dtype=np.int64)
        followed = owner[:-1] == owner[1:]
        end[:-1][followed] = begin[1:][followed]
        return cls(tuple(subjects.tolist()), owner, begin, np.maximum(end, begin), code)


def availability(
    timelines: Timelines, window: Interval, *, maintenance: Mapping[int, Sequence[Interval]] | None = None
) -> dict[int, Availability]:
    """Every subject's availability in one window.

    ``maintenance`` holds a subject's planned interruptions; they may overlap each other and the window's edges.
    """
    count = len(timelines.subjects)
    lower, upper = _clipped(timelines, window)
    length = np.maximum(upper - lower, 0)
    planned = np.zeros(count, dtype=np.int64)
    for subject, pauses in (maintenance or {}).items():
        if subject not in timelines.subjects:
            continue
        index = timelines.subjects.index(subject)
        begin, end = np.searchsorted(timelines.owner, [index, index + 1])
        for pause in _disjoint(pauses, window):
            inside = np.minimum(upper[begin:end], pause.to_ms) - np.maximum(lower[begin:end], pause.from_ms)
            length[begin:end] -= np.maximum(inside, 0)
            planned[index] += pause.to_ms - pause.from_ms
    spent = _time_by_verdict(timelines, length)
    down = (timelines.code == CODES[Verdict.DOWN]) & (length > 0)
    outages = np.bincount(timelines.owner[down], minlength=count)
    spent[:, 0] = (window.to_ms - window.from_ms) - planned - spent[:, 1:].sum(axis=1)
    return {
        subject: Availability(up, degraded, down_ms, unknown, paused, times)
        for subject, (unknown, up, degraded, down_ms), paused, times in zip(
            timelines.subjects, spent.tolist(), planned.tolist(), outages.tolist(), strict=True
        )
    }


def ratios(timelines: Timelines, windows: Sequence[Interval]) -> Floats:
    """``Availability.ratio`` of every subject, a row each, in every window; NaN where nothing was measured."""
    found = np.empty((len(timelines.subjects), len(windows)))
    for column, window in enumerate(windows):
        lower, upper = _clipped(timelines, window)
        spent = _time_by_verdict(timelines, np.maximum(upper - lower, 0))
        measured = spent[:, 1:].sum(axis=1)
        worked = measured - spent[:, CODES[Verdict.DOWN]]
        found[:, column] = np.divide(worked, measured, where=measured > 0, out=np.full(len(measured), np.nan))
    return found


def worst_by_step(timelines: Timelines, from_ms: int, step_ms: int, steps: int) -> dict[int, list[Verdict | None]]:
    """The worst verdict in each of ``steps`` equal cells from ``from_ms`` on; None where there was none yet.

    Down is worse than degraded, degraded than up, up than unknown.
    """
    lower, upper = _clipped(timelines, Interval(from_ms, from_ms + step_ms * steps))
    seen = upper > lower
    first = (lower[seen] - from_ms) // step_ms
    last = (upper[seen] - from_ms - 1) // step_ms
    owner, code = timelines.owner[seen], timelines.code[seen]
    # One more or one fewer stretch of that verdict begins to cover the cells from here on.
    edges = np.zeros((len(timelines.subjects), len(CODES), steps + 1), dtype=np.int64)
    np.add.at(edges, (owner, code, first), 1)
    np.add.at(edges, (owner, code, last + 1), -1)
    covered = edges.cumsum(axis=2)[:, :, :steps] > 0
    severity = np.where(covered, np.arange(len(CODES))[None, :, None], -1).max(axis=1)
    verdicts: tuple[Verdict | None, ...] = (*_BY_CODE, None)  # -1 picks the last
    return {
        subject: [verdicts[code] for code in row]
        for subject, row in zip(timelines.subjects, severity.tolist(), strict=True)
    }


def _clipped(timelines: Timelines, window: Interval) -> tuple[Ints, Ints]:
    return np.maximum(timelines.begin_ms, window.from_ms), np.minimum(timelines.end_ms, window.to_ms)


def _time_by_verdict(timelines: Timelines, length: Ints) -> Ints:
    """Milliseconds, one row per subject, one column per verdict's code."""
    cells = timelines.owner * len(CODES) + timelines.code
    size = len(timelines.subjects) * len(CODES)
    # bincount adds in float64, which is exact for whole numbers up to 2^53: 285,000 years of milliseconds.
    spent: Ints = np.bincount(cells, weights=length, minlength=size).astype(np.int64).reshape(-1, len(CODES))
    return spent


def _disjoint(intervals: Sequence[Interval], window: Interval) -> list[Interval]:
    """What they cover of the window, without overlaps."""
    disjoint: list[Interval] = []
    for begin, end in sorted(intervals):
        lower, upper = max(begin, window.from_ms), min(end, window.to_ms)
        if disjoint:
            lower = max(lower, disjoint[-1].to_ms)
        if lower < upper:
            disjoint.append(Interval(lower, upper))
    return disjoint
