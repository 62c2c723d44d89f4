"""Ticks made into minutes and hours: count, sum, least, greatest and last of every series. Pure; knows no machine.

Averages are never kept: over any time the average is a sum over a count, so all of this adds up exactly, in any order.
A value that is no finite number counts as none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

MINUTE_MS: Final = 60_000
NEVER_MS: Final = -(2**62)
"""Where there is no last value: the time of it."""

_SECONDS: Final = (1, 2, 5, 10, 15, 20, 30)
_MINUTES: Final = (1, 2, 5, 10, 15, 20, 30)
_HOURS: Final = (1, 2, 3, 4, 6, 8, 12)
_DAYS: Final = (1, 2, 5, 10, 30, 100, 365)
STEPS_MS: Final = tuple(
    number * unit_ms
    for numbers, unit_ms in ((_SECONDS, 1_000), (_MINUTES, 60_000), (_HOURS, 3_600_000), (_DAYS, 86_400_000))
    for number in numbers
)
"""Lengths of steps that people like to read."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Stretches of time, of the same series each. All but ``start_ms`` [n] are [n, series].

    Where ``count`` is 0 ``total`` is 0, ``least``, ``greatest`` and ``last`` are NaN, and ``last_ms`` is NEVER_MS.
    """

    start_ms: Ints
    count: Ints
    total: Floats
    least: Floats
    greatest: Floats
    last: Floats
    last_ms: Ints

    def __len__(self) -> int:
        return len(self.start_ms)

    @property
    def width(self) -> int:
        return int(self.count.shape[1])

    def where(self, kept: NDArray[np.bool_] | Ints | slice) -> Parts:
        return Parts(*(column[kept] for column in _columns(self)))

    def beginning(self, start_ms: Ints) -> Parts:
        """The same at other times."""
        return Parts(start_ms, *_columns(self)[1:])

    def placed(self, places: Sequence[int], width: int) -> Parts:
        """The same among ``width`` series: the series that is k-th here is ``places[k]``-th there, or nowhere (-1)."""
        from_places = [number for number, place in enumerate(places) if place >= 0]
        to_places = [place for place in places if place >= 0]
        wide = nothing(len(self), width)
        for target, source in zip(_columns(wide)[1:], _columns(self)[1:], strict=True):
            target[:, to_places] = source[:, from_places]
        return wide.beginning(self.start_ms)


def nothing(size: int, width: int) -> Parts:
    """Stretches without a value, that begin at 0."""
    shape = (size, width)
    return Parts(
        np.zeros(size, np.int64),
        np.zeros(shape, np.int64),
        np.zeros(shape),
        np.full(shape, np.nan),
        np.full(shape, np.nan),
        np.full(shape, np.nan),
        np.full(shape, NEVER_MS, np.int64),
    )


def _columns(parts: Parts) -> tuple[NDArray[Any], ...]:
    return (
        parts.start_ms,
        parts.count,
        parts.total,
        parts.least,
        parts.greatest,
        parts.last,
        parts.last_ms,
    )


def of_ticks(at_ms: Ints, values: NDArray[np.floating[Any]]) -> Parts:
    """Every tick a stretch of its own, as it is."""
    numbers = values.astype(np.float64)
    known = np.isfinite(numbers)
    shown = np.where(known, numbers, np.nan)
    when = np.where(known, at_ms[:, None], NEVER_MS)
    return Parts(at_ms, known.astype(np.int64), np.where(known, numbers, 0.0), shown, shown, shown, when)


def fold(at_ms: Ints, values: NDArray[np.floating[Any]], step_ms: int) -> Parts:
    """Ticks (``values`` [n, series], in any order) by steps, in order; steps without a tick are left out."""
    order = np.argsort(at_ms, kind="stable")
    return merge([of_ticks(at_ms[order], values[order])], step_ms)


def merge(parts: Sequence[Parts], step_ms: int = 1) -> Parts:
    """All parts, of the same series, added up by steps, in order. Of two last values of one time the greater counts."""
    everything = [np.concatenate(columns) for columns in zip(*map(_columns, parts), strict=True)]
    start_ms = everything[0] // step_ms * step_ms
    if not len(start_ms):
        return Parts(*everything)
    if (np.diff(start_ms) < 0).any():
        order = np.argsort(start_ms, kind="stable")
        everything = [column[order] for column in everything]
        start_ms = start_ms[order]
    _, count, total, least, greatest, last, last_ms = everything
    first = np.flatnonzero(np.diff(start_ms, prepend=start_ms[0] - 1))
    when = np.maximum.reduceat(last_ms, first)
    newest = last_ms == np.repeat(when, np.diff(first, append=len(start_ms)), axis=0)
    return Parts(
        start_ms[first],
        np.add.reduceat(count, first),
        np.add.reduceat(total, first),
        np.fmin.reduceat(least, first),
        np.fmax.reduceat(greatest, first),
        np.fmax.reduceat(np.where(newest, last, np.nan), first),
        when,
    )


def step_for(length_ms: int, most: int, least_ms: int = 1) -> int:
    """The shortest of STEPS_MS, not below ``least_ms``, by which a time of this length takes ``most`` steps or fewer;
    for a very long time whole multiples of the longest. A step begun counts, so one is kept spare."""
    needed_ms = max(least_ms, -(-length_ms // max(most - 1, 1)))
    for step_ms in STEPS_MS:
        if step_ms >= needed_ms:
            return step_ms
    return -(-needed_ms // STEPS_MS[-1]) * STEPS_MS[-1]
