"""Latency distributions that can be stored in a few bytes and merged without loss.

Logarithmic buckets as in DDSketch (Masson, Rim, Lee: VLDB 2019): a value is known to within 1 %, and adding two
sketches is adding their counts. Works on many sketches at once; knows nothing of targets, hours or tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

RELATIVE_ACCURACY: Final = 0.01
LARGEST_US: Final = 3_600_000_000
"""Latencies are kept between 1 us and this (an hour); what lies outside counts as the nearer of the two."""

_GAMMA: Final = (1 + RELATIVE_ACCURACY) / (1 - RELATIVE_ACCURACY)
_SPAN: Final = 2048
"""More than there are buckets (1101); a power of two, so that (sketch, bucket) packs into one number."""


@dataclass(frozen=True, slots=True)
class Sketches:
    """Several sketches, numbered from 0; only buckets that hold something are kept.

    ``cells`` is ``sketch * 2048 + bucket``, ascending, each once; ``counts`` says how many values each cell holds.
    """

    size: int
    cells: Ints
    counts: Ints

    @property
    def totals(self) -> Ints:
        """How many values each sketch holds."""
        return _summed(self.cells // _SPAN, self.counts, self.size)


def of_values(values_us: ArrayLike, groups: ArrayLike, size: int) -> Sketches:
    """``size`` sketches; value i goes into sketch ``groups[i]``."""
    values = np.clip(np.asarray(values_us, dtype=np.float64), 1, LARGEST_US)
    buckets = np.ceil(np.log(values) / np.log(_GAMMA)).astype(np.int64)
    cells = np.asarray(groups, dtype=np.int64) * _SPAN + buckets
    return _collected(size, cells, np.ones(len(cells), dtype=np.int64))


def merge(parts: Sequence[Sketches]) -> Sketches:
    """Add sketches with the same number. All parts have the same size; exact, in whatever order."""
    return _collected(
        parts[0].size,
        np.concatenate([part.cells for part in parts]),
        np.concatenate([part.counts for part in parts]),
    )


def renumber(sketches: Sketches, numbers: ArrayLike, size: int) -> Sketches:
    """``size`` sketches; sketch i is added to number ``numbers[i]``."""
    cells = np.asarray(numbers, dtype=np.int64)[sketches.cells // _SPAN] * _SPAN + sketches.cells % _SPAN
    return _collected(size, cells, sketches.counts)


def only(sketches: Sketches, kept: NDArray[np.bool_]) -> Sketches:
    """The sketches for which ``kept`` is true, numbered anew."""
    owners = sketches.cells // _SPAN
    mine = kept[owners]
    numbers = np.cumsum(kept) - 1
    cells = numbers[owners[mine]] * _SPAN + sketches.cells[mine] % _SPAN
    return Sketches(int(np.count_nonzero(kept)), cells, sketches.counts[mine])


def quantiles(sketches: Sketches, fractions: Sequence[float]) -> Floats:
    """One row per sketch, one column per fraction, in microseconds; NaN where a sketch is empty.

    The value at rank ``fraction * (n - 1)``, between two ranks in proportion (as numpy.quantile), each known to 1 %.
    """
    totals = sketches.totals
    before = np.cumsum(totals) - totals
    cumulated = np.cumsum(sketches.counts)
    found = np.full((sketches.size, len(fractions)), np.nan)
    filled = np.flatnonzero(totals)
    for column, fraction in enumerate(fractions):
        rank = fraction * (totals[filled] - 1)
        low, high = np.floor(rank).astype(np.int64), np.ceil(rank).astype(np.int64)
        at_low = _value(sketches, cumulated, before[filled] + low)
        at_high = _value(sketches, cumulated, before[filled] + high)
        found[filled, column] = at_low + (rank - low) * (at_high - at_low)
    return found


# ── bytes ─────────────────────────────────────────────────────────────────────────────────────────────
#
# A sketch is a run of little-endian uint16: bucket in the upper 11 bits, a code for a count in the lower 5. Codes
# 0..15 stand for 1..16 values, 16..31 for 32, 64, … 2^20; a bucket takes as many as add up to its count. An hour of
# a target checked once a minute is 50 to 100 bytes. Equal sketches have equal bytes.

_COUNT_OF_CODE: Final[Ints] = np.array([*range(1, 17), *(1 << bit for bit in range(5, 21))], dtype=np.int64)
_LARGEST_BIT: Final = 20


def encode(sketches: Sketches) -> list[bytes]:
    """Each sketch as bytes; an empty one as none."""
    cells, counts = sketches.cells, sketches.counts
    small = counts & 31
    pieces: list[tuple[Ints, Ints]] = [
        (np.flatnonzero(small > 16), np.array(15)),
        (np.flatnonzero(small), (small[small > 0] - 1) & 15),
        *((np.flatnonzero(counts >> bit & 1), np.array(bit + 11)) for bit in range(5, _LARGEST_BIT)),
        (np.repeat(np.arange(len(counts)), counts >> _LARGEST_BIT), np.array(_LARGEST_BIT + 11)),
    ]
    where = np.concatenate([piece for piece, _ in pieces])
    codes = np.concatenate([np.broadcast_to(code, piece.shape) for piece, code in pieces])
    packed = (cells[where] << 5) | codes  # sketch, bucket and code in one number: sorted, sketches lie in a row
    packed.sort()
    ends = np.cumsum(np.bincount(packed // (_SPAN << 5), minlength=sketches.size)) * 2
    flat = (packed & 0xFFFF).astype("<u2").tobytes()
    return [flat[begin:end] for begin, end in pairwise([0, *ends.tolist()])]


def decode(packed: Sequence[bytes], groups: ArrayLike | None = None, size: int | None = None) -> Sketches:
    """Sketches from bytes. With ``groups`` the bytes at i are added to sketch ``groups[i]`` of ``size``."""
    lengths = np.fromiter((len(one) for one in packed), dtype=np.int64, count=len(packed))
    return decode_joined(b"".join(packed), lengths, groups, size)


def decode_joined(joined: bytes, lengths: Ints, groups: ArrayLike | None = None, size: int | None = None) -> Sketches:
    """As ``decode``, from the bytes of all sketches one after the other and the length of each."""
    entries = np.frombuffer(joined, dtype="<u2")
    numbers = np.arange(len(lengths)) if groups is None else np.asarray(groups, dtype=np.int64)
    cells = np.repeat(numbers * _SPAN, lengths // 2)
    cells += entries >> 5
    return _collected(len(lengths) if size is None else size, cells, _COUNT_OF_CODE[entries & 31])


# ── inside ────────────────────────────────────────────────────────────────────────────────────────────


def _collected(size: int, cells: Ints, counts: Ints) -> Sketches:
    if size * _SPAN <= 4 * len(cells):  # well filled: counting into every cell beats sorting (12 ms against 50)
        filled = np.bincount(cells, weights=counts, minlength=size * _SPAN)
        kept = np.flatnonzero(filled)
        return Sketches(size, kept, filled[kept].astype(np.int64))
    order = np.argsort(cells, kind="stable")
    ordered = cells[order]
    first = np.flatnonzero(np.diff(ordered, prepend=-1))
    summed = np.add.reduceat(counts[order], first) if len(first) else counts[:0]
    return Sketches(size, ordered[first], summed)


def _summed(groups: Ints, values: Ints, size: int) -> Ints:
    # bincount adds in float64, which is exact up to 2^53: far more checks than anyone makes.
    return np.bincount(groups, weights=values, minlength=size).astype(np.int64)


def _value(sketches: Sketches, cumulated: Ints, ranks: Ints) -> Floats:
    cell = np.searchsorted(cumulated, ranks, side="right")
    bucket = (sketches.cells[cell] % _SPAN).astype(np.float64)
    middle: Floats = 2 * _GAMMA**bucket / (_GAMMA + 1)
    return middle
