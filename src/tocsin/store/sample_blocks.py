"""What is made of an hour's samples, as it is stored: every tick of one machine and layout, or the parts they were
folded into. Knows no table.

How a document is made. First come a byte for the format, and how many rows and columns there are; the rest is
compressed. Numbers stand column by column. A float32 is written as the change of its bits from the row before, without
a sign bit of its own; of a column all first bytes come together, then all second bytes, and so on. So what is constant
or moves slowly is mostly zeros, which compress to nothing. Measured with an hour of 100 series at 5 s
(bench/machines.py): 0.94 bytes a point; bits as they are 0.97, XOR with the row before 0.96; without the order by bytes
0.95 to 1.01; level 9 of zlib saves half a percent more and takes eight times as long.

Of parts ``least`` is written as above, ``greatest`` and ``last`` as the change of their bits from ``least``, ``total``
as its bits XOR those of ``count`` times ``last``, and the time of the last as its distance from that of the last of
the row: all of these are zero for what was constant.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tocsin.core import tiers
from tocsin.core.tiers import NEVER_MS, Ints, Parts

_TICKS: Final = 1
_PARTS: Final = 2
_SIZES: Final = {_TICKS: (8, 4), _PARTS: (16, 28)}
"""Bytes of a row, and of each of its columns, before they are compressed."""
_HEAD: Final = struct.Struct("<BII")
_LEVEL: Final = 6
_Floats32 = NDArray[np.float32]


class Damaged(ValueError):
    """A document that cannot be read: it was changed since, or comes from a newer version."""


class Ticks(NamedTuple):
    """Of one machine and layout. ``values`` [n, series], NaN where there is none."""

    at_ms: Ints
    values: _Floats32

    def __len__(self) -> int:
        return len(self.at_ms)


def union(several: Sequence[Ticks]) -> Ticks:
    """All ticks in the order of time; of those of the same time the first."""
    at_ms = np.concatenate([ticks.at_ms for ticks in several])
    values = np.concatenate([ticks.values for ticks in several])
    order = np.argsort(at_ms, kind="stable")
    at_ms = at_ms[order]
    first = np.flatnonzero(np.diff(at_ms, prepend=at_ms[:1] - 1))
    return Ticks(at_ms[first], values[order[first]])


def pack_ticks(ticks: Ticks, start_ms: int) -> bytes:
    """Ticks of the hour that begins at ``start_ms``, in the order of time, none of the same."""
    steps = np.diff(ticks.at_ms - start_ms, n=2, prepend=(0, 0))
    return _packed(_TICKS, ticks.values.shape, [_planes(_unsigned(steps)[:, None]), _bits(ticks.values)])


def unpack_ticks(document: bytes, start_ms: int, columns: Sequence[int] | None = None) -> Ticks:
    """What was packed, or these columns of it. Raises Damaged."""
    body = _Body(document, _TICKS, columns)
    steps = body.numbers()
    return Ticks(np.cumsum(np.cumsum(steps)) + start_ms, body.floats())


def pack_parts(parts: Parts, start_ms: int) -> bytes:
    """Parts of the hour that begins at ``start_ms``, in the order of their starts."""
    least, greatest, last = (
        np.ascontiguousarray(column, dtype="<f4").view("<i4") for column in (parts.least, parts.greatest, parts.last)
    )
    newest_ms = parts.last_ms.max(axis=1, initial=NEVER_MS)
    shown_ms = np.where(newest_ms == NEVER_MS, start_ms, newest_ms)
    behind = np.where(parts.count > 0, shown_ms[:, None] - parts.last_ms, 0)
    total = np.ascontiguousarray(parts.total, dtype="<f8").view("<u8") ^ _expected(parts.count, parts.last)
    return _packed(
        _PARTS,
        parts.count.shape,
        [
            _planes(_unsigned(np.diff(parts.start_ms - start_ms, prepend=0))[:, None]),
            _planes(_unsigned(shown_ms - parts.start_ms)[:, None]),
            _planes(parts.count.astype("<u4")),
            _planes(behind.astype("<u4")),
            _bits(least.view("<f4")),
            _planes(_unsigned(_wrapped(greatest, least))),
            _planes(_unsigned(_wrapped(last, least))),
            _planes(total),
        ],
    )


def unpack_parts(document: bytes, start_ms: int, columns: Sequence[int] | None = None) -> Parts:
    """What was packed, or these columns of it. Raises Damaged."""
    body = _Body(document, _PARTS, columns)
    starts_ms = np.cumsum(body.numbers()) + start_ms
    newest_ms = body.numbers() + starts_ms
    count = body.planes(4).view("<u4").astype(np.int64)
    behind = body.planes(4).view("<u4").astype(np.int64)
    least = body.floats()
    base = least.view("<i4").astype(np.int64)
    greatest, last = ((_signed32(body.planes(4).view("<u4")) + base).astype("<i4").view("<f4") for _ in range(2))
    shown = last.astype(np.float64)
    total = (body.planes(8).view("<u8") ^ _expected(count, shown)).view("<f8")
    return Parts(
        starts_ms,
        count,
        total,
        least.astype(np.float64),
        greatest.astype(np.float64),
        shown,
        np.where(count > 0, newest_ms[:, None] - behind, NEVER_MS),
    )


def minutes_of(ticks: Ticks) -> Parts:
    return tiers.fold(ticks.at_ms, ticks.values, tiers.MINUTE_MS)


# ── numbers as bytes ──────────────────────────────────────────────────────────────────────────────────


def _packed(kind: int, shape: tuple[int, ...], sections: Sequence[bytes]) -> bytes:
    return _HEAD.pack(kind, *shape) + zlib.compress(b"".join(sections), _LEVEL)


class _Body:
    """A document's sections, taken one after the other."""

    def __init__(self, document: bytes, kind: int, columns: Sequence[int] | None) -> None:
        try:
            found, self._rows, self._width = _HEAD.unpack_from(document)
            self._bytes = zlib.decompress(memoryview(document)[_HEAD.size :])
        except (struct.error, zlib.error) as error:
            raise Damaged(f"damaged: {error}") from error
        if found != kind:
            raise Damaged(f"in format {found} where {kind} is expected: damaged, or made by a newer version")
        of_row, of_value = _SIZES[kind]
        if len(self._bytes) != self._rows * (of_row + self._width * of_value):
            raise Damaged("damaged: it is not as long as it says")
        self._begin = 0
        self._picked: Sequence[int] | slice = slice(None) if columns is None else columns

    def planes(self, size: int) -> NDArray[np.uint8]:
        """The columns that are asked for, numbers of ``size`` bytes, to be viewed as such: [rows, width * size]."""
        return self._ordered(self._taken(self._width, size)[self._picked])

    def numbers(self) -> Ints:
        """One of each row."""
        return _signed(self._ordered(self._taken(1, 8)).view("<u8"))[:, 0]

    def _taken(self, width: int, size: int) -> NDArray[np.uint8]:
        length = self._rows * width * size
        some = np.frombuffer(self._bytes, np.uint8, length, self._begin)
        self._begin += length
        return some.reshape(width, size, self._rows)

    def _ordered(self, some: NDArray[np.uint8]) -> NDArray[np.uint8]:
        ordered = np.ascontiguousarray(some.transpose(2, 0, 1))
        return ordered.reshape(self._rows, some.shape[0] * some.shape[1])

    def floats(self) -> _Floats32:
        changes = _signed32(self.planes(4).view("<u4"))
        return np.cumsum(changes, axis=0).astype("<i4").view("<f4")


def _planes(numbers: NDArray[Any]) -> bytes:
    """[rows, width]: column by column, in each all first bytes, then all second bytes, and so on."""
    rows, width = numbers.shape
    each = np.ascontiguousarray(numbers).view(np.uint8).reshape(rows, width, numbers.itemsize)
    return np.ascontiguousarray(each.transpose(1, 2, 0)).tobytes()


def _bits(values: NDArray[np.floating[Any]]) -> bytes:
    bits = np.ascontiguousarray(values, dtype="<f4").view("<i4")
    before = np.zeros_like(bits)
    before[1:] = bits[:-1]
    return _planes(_unsigned(_wrapped(bits, before)))


def _wrapped(numbers: NDArray[np.int32], other: NDArray[np.int32]) -> NDArray[np.int32]:
    """The difference, as 32 bits: adding it again gives the same."""
    return (numbers.astype(np.int64) - other).astype("<i4")


def _expected(count: Ints, last: NDArray[np.float64]) -> NDArray[np.uint64]:
    """The bits of what the total is where all values are the same."""
    return np.ascontiguousarray(np.where(count > 0, count * last, 0.0), dtype="<f8").view("<u8")


def _unsigned(numbers: NDArray[Any]) -> NDArray[Any]:
    """0, -1, 1, -2, … as 0, 1, 2, 3, …: small numbers of either sign stay small."""
    width = numbers.dtype.itemsize * 8 - 1
    return ((numbers << 1) ^ (numbers >> width)).view(f"<u{numbers.dtype.itemsize}")


def _signed(numbers: NDArray[np.uint64]) -> Ints:
    halves = (numbers >> np.uint64(1)).astype(np.int64)
    return halves ^ -(numbers & np.uint64(1)).astype(np.int64)


def _signed32(numbers: NDArray[np.uint32]) -> Ints:
    wide = numbers.astype(np.int64)
    return (wide >> 1) ^ -(wide & 1)
