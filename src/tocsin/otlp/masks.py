"""Exports whose bytes are those of an earlier one but for numbers and times, read without taking the message apart.

A sender that sends the same series again writes the same bytes: in OTLP the times and the value of a data point are
eight bytes each, wherever they stand. So where they stand is remembered, with a digest of everything else, and the next
export is a look at those places. What is remembered has been read the long way once and found to give the same numbers.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tocsin.otlp.shape import Marks, Numbers, Places, Shape, UInt64s

MOST_KEPT: Final = 20_000
"""Exports that are remembered; one takes some kilobytes."""
MOST_POINTS: Final = 5000
"""Of an export that is remembered."""
MOST_TRIES: Final = 3
_NUMBER: Final = 8


class Spots(NamedTuple):
    """Where in an export the numbers of its data points stand. Shared by all that have them at the same places."""

    at: NDArray[np.intp]  # of each number data point sent; the end of the export: it is not told
    start: NDArray[np.intp]
    value: NDArray[np.intp]
    is_int: Marks
    changing: NDArray[np.intp]
    """All places that change from one export to the next."""


@dataclass(frozen=True, slots=True)
class Mask:
    digest: bytes
    spots: Spots
    shape: Shape

    def likeness(self) -> tuple[int, int] | None:
        """Exports of one length that have the same likeness can be read together; None: this one cannot. It holds as
        long as the mask is there."""
        if len(self.shape.parts) != 1 or len(self.shape.kept) != self.shape.sent:
            return None
        return id(self.spots), id(self.shape.parts[0].bundle)

    def numbers(self, bodies: Sequence[bytes]) -> Numbers:
        """Of exports that this mask fits, or one that is like it; columns are [export, point]."""
        apart = bytes(_NUMBER)  # what is not told stands at the end of its export, and is 0
        joined = apart.join((*bodies, b""))
        size = len(bodies[0])
        words = np.ndarray((len(bodies), size + 1), dtype="<u8", buffer=joined, strides=(size + _NUMBER, 1))
        return _numbers(words, self.spots, self.shape.kept)


class Masks:
    """May be used by several threads."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._masks: OrderedDict[tuple[int, bytes], Mask] = OrderedDict()
        """By length and what stands before the first number."""
        self._beginnings: dict[int, dict[int, int]] = {}
        """By length: how long those beginnings are, and how many masks have such a one."""
        self._spots: OrderedDict[bytes, Spots] = OrderedDict()
        self._asked: OrderedDict[tuple[str, int], int] = OrderedDict()
        """How often exports of a machine of one length were read the long way since one was remembered."""
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._masks)

    def find(self, body: bytes) -> Mask | None:
        """The one that fits; None: nothing like it is remembered."""
        for beginning in tuple(self._beginnings.get(len(body), ())):
            key = len(body), body[:beginning]
            mask = self._masks.get(key)
            if mask is None or _digest(body, mask.spots) != mask.digest:
                continue
            with self._lock:
                if key in self._masks:
                    self._masks.move_to_end(key)
            return mask
        return None

    def keep(self, body: bytes, shape: Shape, numbers: Numbers) -> None:
        """Remembers an export that was read the long way, if its machine has sent one of this length before."""
        if not shape.parts or shape.histograms or shape.sent > MOST_POINTS:
            return
        asked = shape.parts[0].who.uid, len(body)
        if not self._is_worth_it(asked):
            return
        spots = _spots(body)
        if spots is None or len(spots.at) != shape.sent:
            return
        mask = Mask(_digest(body, spots), self._shared(spots), shape)
        if not _same(mask.numbers([body]), numbers):
            return
        key = len(body), body[: int(spots.changing.min())]
        with self._lock:
            self._asked.pop(asked, None)
            self._keep(key, mask)

    def _keep(self, key: tuple[int, bytes], mask: Mask) -> None:
        if key not in self._masks:
            lengths = self._beginnings.setdefault(key[0], {})
            lengths[len(key[1])] = lengths.get(len(key[1]), 0) + 1
        self._masks[key] = mask
        self._masks.move_to_end(key)
        if len(self._masks) > self._most:
            (length, beginning), _ = self._masks.popitem(last=False)
            lengths = self._beginnings[length]
            lengths[len(beginning)] -= 1
            if not lengths[len(beginning)]:
                # Others may be reading it: it is replaced, not changed.
                self._beginnings[length] = {size: count for size, count in lengths.items() if count}
                if not self._beginnings[length]:
                    del self._beginnings[length]

    def _is_worth_it(self, asked: tuple[str, int]) -> bool:
        """From the second of its kind on, and not again and again where it was in vain."""
        with self._lock:
            times = self._asked.pop(asked, 0)
            self._asked[asked] = times + 1
            if len(self._asked) > self._most:
                self._asked.popitem(last=False)
        return 1 <= times <= MOST_TRIES

    def _shared(self, spots: Spots) -> Spots:
        key = b"".join(column.tobytes() for column in spots)
        found = self._spots.pop(key, spots)
        self._spots[key] = found
        if len(self._spots) > 1000:
            self._spots.popitem(last=False)
        return found


def _digest(body: bytes, spots: Spots) -> bytes:
    """Of what does not change."""
    rest = bytearray(body)
    np.ndarray((len(body) - _NUMBER + 1,), dtype="<u8", buffer=rest, strides=(1,))[spots.changing] = 0
    return hashlib.sha256(rest).digest()


def _numbers(words: UInt64s, spots: Spots, kept: Places) -> Numbers:
    """``words`` [export, place]: the eight bytes from every place on."""
    value = words[:, spots.value[kept]]
    is_int = spots.is_int[kept]
    values = value.view(np.float64)
    if is_int.any():
        values = np.where(is_int, value.view(np.int64).astype(np.float64), values)
    return Numbers(words[:, spots.at[kept]], words[:, spots.start[kept]], values)


def _same(one: Numbers, other: Numbers) -> bool:
    """``one`` is the single row of it."""
    return all(
        left.size == right.size and left.tobytes() == right.tobytes() for left, right in zip(one, other, strict=True)
    )


# ── where numbers stand ───────────────────────────────────────────────────────────────────────────────
#
# https://protobuf.dev/programming-guides/encoding/ and opentelemetry/proto/metrics/v1/metrics.proto

_EIGHT_BYTES: Final = 1
_LENGTH: Final = 2


class _Torn(Exception):
    """These bytes are none that we have a mask for."""


def _varint(body: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if place >= len(body) or shift > 63:
            raise _Torn
        byte = body[place]
        value |= (byte & 0x7F) << shift
        place += 1
        if byte < 0x80:
            return value, place
        shift += 7


def _fields(body: bytes, place: int, end: int) -> list[tuple[int, int, int, int]]:
    """Number, kind, begin and end of the content of every field from ``place`` to ``end``."""
    found: list[tuple[int, int, int, int]] = []
    while place < end:
        tag, place = _varint(body, place)
        number, kind = tag >> 3, tag & 7
        match kind:
            case 0:
                begin = place
                _, place = _varint(body, place)
            case 1:
                begin, place = place, place + 8
            case 2:
                length, begin = _varint(body, place)
                place = begin + length
            case 5:
                begin, place = place, place + 4
            case _:
                raise _Torn
        if place > end:
            raise _Torn
        found.append((number, kind, begin, place))
    return found


_PATH: Final = (frozenset({1}), frozenset({2}), frozenset({2}), frozenset({5, 7}), frozenset({1}))
"""From an export to its number data points: resource_metrics, scope_metrics, metrics, gauge or sum, data_points."""
_START: Final = 2
_AT: Final = 3
_DOUBLE: Final = 4
_EXEMPLARS: Final = 5
_INT: Final = 6


def _spots(body: bytes) -> Spots | None:
    """Of every number data point, in the order in which they are sent; None: they are told in an unusual way."""
    size = len(body)
    at: list[int] = []
    start: list[int] = []
    value: list[int] = []
    is_int: list[bool] = []

    def walk(begin: int, end: int, depth: int) -> None:
        fields = _fields(body, begin, end)
        if depth == len(_PATH):
            told = {number: place for number, kind, place, _ in fields if kind == _EIGHT_BYTES}
            if sum(kind == _EIGHT_BYTES for _, kind, _, _ in fields) != len(told):
                raise _Torn
            if any(number == _EXEMPLARS for number, _, _, _ in fields):
                raise _Torn
            at.append(told.get(_AT, size))
            start.append(told.get(_START, size))
            value.append(told.get(_DOUBLE, told.get(_INT, size)))
            is_int.append(_INT in told)
            return
        for number, kind, place, after in fields:
            if number in _PATH[depth] and kind == _LENGTH:
                walk(place, after, depth + 1)

    try:
        walk(0, size, 0)
    except _Torn:
        return None
    every = np.array([*at, *start, *value], dtype=np.intp)
    changing = np.unique(every[every < size])
    if not len(changing):
        return None
    first, second = len(at), 2 * len(at)
    return Spots(every[:first], every[first:second], every[second:], np.array(is_int, dtype=np.bool_), changing)
