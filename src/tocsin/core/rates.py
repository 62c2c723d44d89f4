"""Rates of counters: what grew between a tick and the one before it.

Pure and for many ticks at once. Knows no machine; rows that follow each other without ``begins`` are of one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SAME_START_MS = 1000
"""Starts this near to each other are the same one: many sources count it anew from an uptime each time."""


def rates(
    values: Floats,
    at_ms: Ints,
    begins: NDArray[np.bool_],
    counters: NDArray[np.intp],
    starts_ms: Ints | None = None,
    start_of: NDArray[np.intp] | None = None,
) -> Floats:
    """``values`` [n, s] with the columns ``counters`` as growth a second; the other columns as they are.

    Each row is measured from the one before; a row that ``begins`` has none. Over a gap the rate is the mean over it,
    so nothing that was counted is lost. No number (NaN) is given

    - for the first row, and next to a value that is not there;
    - where time stood still or went back;
    - after a reset (the value fell, or the counter's start is another one), unless its new start lies between the two
      rows: then it is what was counted since that start.

    ``starts_ms`` [k, s] are starts, 0 where none is known; ``start_of`` [n] says which of them is a row's.
    """
    found = values.copy()
    if not len(values) or not len(counters):
        return found
    counts = values if len(counters) == values.shape[1] else values[:, counters]
    grown = np.empty_like(counts)
    grown[0] = np.nan
    np.subtract(counts[1:], counts[:-1], out=grown[1:])
    seconds = np.full(len(values), np.nan)
    seconds[1:] = np.diff(at_ms) / 1000
    seconds[begins] = np.nan
    seconds[~(seconds > 0)] = np.nan
    fell = grown < 0
    moved = _moved(at_ms, begins, counters, starts_ms, start_of)
    if moved is not None:
        rows, which = moved
        fell[rows] |= which
    grown /= seconds[:, None]
    again = np.nonzero(fell)
    if len(again[0]):
        grown[again] = np.nan
        if starts_ms is not None and start_of is not None:
            rows, columns = again
            start = starts_ms[start_of[rows], counters[columns]]
            between = (rows > 0) & ~begins[rows] & (start > at_ms[rows - 1]) & (start < at_ms[rows])
            between &= ~np.isnan(counts[rows - 1, columns])
            rows, columns, start = rows[between], columns[between], start[between]
            grown[rows, columns] = counts[rows, columns] / ((at_ms[rows] - start) / 1000)
    found[:, counters] = grown
    return found


def _moved(
    at_ms: Ints,
    begins: NDArray[np.bool_],
    counters: NDArray[np.intp],
    starts_ms: Ints | None,
    start_of: NDArray[np.intp] | None,
) -> tuple[NDArray[np.intp], NDArray[np.bool_]] | None:
    """Rows with other starts than the row before, and which of their counters began anew."""
    if starts_ms is None or start_of is None or len(at_ms) < 2:
        return None
    rows = np.nonzero((start_of[1:] != start_of[:-1]) & ~begins[1:])[0] + 1
    if not len(rows):
        return None
    now = starts_ms[start_of[rows]][:, counters]
    before = starts_ms[start_of[rows - 1]][:, counters]
    return rows, (np.abs(now - before) > SAME_START_MS) & (now != 0) & (before != 0)
