"""Single checks of days that are over, packed: those of one target, from one location, in a quarter of a day, are one
row of a tenth of their size.

How a block's document is made. Of n checks, oldest first, nine numbers each: the time (as the change of the distance
from the check before, 0 where checks are regular), the result, the latency (as what it exceeds its phases by), five
phases, and which error it had. Every number is 8 bytes; all first bytes come together, then all second bytes, and so
on, and what is 0 throughout is left out. Then come the texts of errors, each once, and all of it is compressed.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, func, select

from tocsin.core.rollup import HOUR_MS, NOT_TIMED, PHASES
from tocsin.core.sketch import Ints
from tocsin.store import fast, marks, partitions
from tocsin.store.tables import check_blocks

BLOCK_MS: Final = 6 * HOUR_MS
"""Long enough that compressing pays, even where a target is checked every ten minutes; short enough to read one for a
page of a list. Divides a day."""

KEY: Final = ("target_id", "location_id", "at_ms")
COLUMNS: Final = (*KEY, "result", "latency_us", *(f"{phase}_us" for phase in PHASES))

_VERSION: Final = 1
_HEAD: Final = struct.Struct("<BI")
_WIDTH: Final = len(COLUMNS) - 2 + 1  # target and location are the block's; the error's number comes last
_B = check_blocks.c


class Checks(NamedTuple):
    """Checks as they are stored, in any order."""

    numbers: Ints
    """A row for each, with COLUMNS; NOT_TIMED where there is no time."""
    errors: NDArray[np.object_]
    """A text for each, empty where there is none."""

    def __len__(self) -> int:
        return len(self.errors)

    @classmethod
    def none(cls) -> Checks:
        return cls(np.zeros((0, len(COLUMNS)), np.int64), np.zeros(0, object))

    def where(self, kept: NDArray[np.bool_] | Ints) -> Checks:
        return Checks(self.numbers[kept], self.errors[kept])


def union(parts: Sequence[Checks]) -> Checks:
    """All checks of the parts in the order of KEY; of those with the same key the first."""
    numbers = np.concatenate([part.numbers for part in parts])
    errors = np.concatenate([part.errors for part in parts])
    order = np.lexsort((numbers[:, 2], numbers[:, 1], numbers[:, 0]))
    numbers, errors = numbers[order], errors[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (np.diff(numbers[:, : len(KEY)], axis=0) != 0).any(axis=1)
    return Checks(numbers[first], errors[first])


# ── one block ─────────────────────────────────────────────────────────────────────────────────────────


def pack(some: Checks, start_ms: int) -> bytes:
    """The checks of one target and location in the block that begins at ``start_ms``, oldest first."""
    at_ms, result, latency_us = some.numbers[:, 2], some.numbers[:, 3], some.numbers[:, 4]
    phases_us = some.numbers[:, 5:]
    exceeds = latency_us - np.where(phases_us == NOT_TIMED, 0, phases_us).sum(axis=1)
    texts = sorted({error for error in some.errors if error})
    number_of = {error: number for number, error in enumerate(["", *texts])}
    columns = np.empty((len(some), _WIDTH), dtype="<u8")
    columns[:, 0] = _unsigned(np.diff(at_ms - start_ms, n=2, prepend=(0, 0)))
    columns[:, 1] = result
    columns[:, 2] = np.where(latency_us == NOT_TIMED, 0, _unsigned(exceeds) + 1)
    columns[:, 3:-1] = phases_us + 1
    columns[:, -1] = [number_of[error] for error in some.errors]
    planes = columns.view(np.uint8).reshape(len(some), -1).T
    present = planes.any(axis=1)
    body = np.packbits(present).tobytes() + planes[present].tobytes() + msgspec.json.encode(texts)
    return _HEAD.pack(_VERSION, len(some)) + zlib.compress(body, 6)


def unpack(document: bytes, target_id: int, location_id: int, start_ms: int) -> Checks:
    """What was packed. Raises ValueError when it cannot be read."""
    version, size = _HEAD.unpack_from(document)
    if version != _VERSION:
        raise ValueError(f"a block of checks in format {version}, which is newer than this code")
    try:
        body = zlib.decompress(memoryview(document)[_HEAD.size :])
    except zlib.error as error:
        raise ValueError(f"a damaged block of checks: {error}") from error
    mask_size = _WIDTH  # 8 planes a number: a byte of bits
    present = np.unpackbits(np.frombuffer(body, np.uint8, mask_size)).astype(bool)
    end = mask_size + int(present.sum()) * size
    planes = np.zeros((len(present), size), dtype=np.uint8)
    planes[present] = np.frombuffer(body, np.uint8, end - mask_size, mask_size).reshape(-1, size)
    columns = np.ascontiguousarray(planes.T).view("<u8").reshape(size, _WIDTH)
    numbers = np.empty((size, len(COLUMNS)), dtype=np.int64)
    numbers[:, 0], numbers[:, 1] = target_id, location_id
    numbers[:, 2] = np.cumsum(np.cumsum(_signed(columns[:, 0]))) + start_ms
    numbers[:, 3] = columns[:, 1]
    numbers[:, 5:] = columns[:, 3:-1].astype(np.int64) - 1
    spent = np.where(numbers[:, 5:] == NOT_TIMED, 0, numbers[:, 5:]).sum(axis=1)
    timed = columns[:, 2] > 0
    numbers[:, 4] = np.where(timed, _signed(np.where(timed, columns[:, 2] - np.uint64(1), 0)) + spent, NOT_TIMED)
    texts = np.array(["", *msgspec.json.decode(body[end:], type=list[str])], dtype=object)
    return Checks(numbers, texts[columns[:, -1].astype(np.int64)])


def _unsigned(numbers: Ints) -> NDArray[np.uint64]:
    """0, -1, 1, -2, … as 0, 1, 2, 3, …: small numbers of either sign stay small."""
    return ((numbers << 1) ^ (numbers >> 63)).astype(np.uint64)


def _signed(numbers: NDArray[np.uint64]) -> Ints:
    halves = (numbers >> np.uint64(1)).astype(np.int64)
    signs: Ints = -(numbers & np.uint64(1)).astype(np.int64)
    return halves ^ signs


# ── stored blocks ─────────────────────────────────────────────────────────────────────────────────────


def add(conn: Connection, some: Checks) -> Checks:
    """Add checks to the blocks where they belong; yields those that were not in them, in the order of KEY.

    Of two with the same key the first counts. Nobody else changes blocks until the transaction ends.
    """
    if not len(some):
        return some
    marks.hold_blocks(conn)
    coming = union([some])
    starts_ms = coming.numbers[:, 2] - coming.numbers[:, 2] % BLOCK_MS
    keys = np.column_stack([coming.numbers[:, :2], starts_ms])
    edges = [0, *(np.flatnonzero((np.diff(keys, axis=0) != 0).any(axis=1)) + 1).tolist(), len(coming)]
    there = _documents(conn, keys)
    rows: list[tuple[int, int, int, int, bytes]] = []
    new = np.ones(len(coming), dtype=bool)
    for begin, end in pairwise(edges):
        target_id, location_id, start_ms = keys[begin].tolist()
        part = coming.where(np.arange(begin, end))
        document = there.get((target_id, location_id, start_ms))
        if document is not None:
            kept = unpack(document, target_id, location_id, start_ms)
            new[begin:end] = ~np.isin(part.numbers[:, 2], kept.numbers[:, 2])
            if not new[begin:end].any():
                continue
            part = union([kept, part])
        rows.append((start_ms, target_id, len(part), location_id, pack(part, start_ms)))
    if rows and partitions.used(conn):
        partitions.ensure(conn, check_blocks.name, partitions.starts_of(start_ms for start_ms, *_ in rows))
    fast.upsert_many(conn, check_blocks, tuple(_B.keys()), rows)
    return coming.where(new)


def _documents(conn: Connection, keys: Ints) -> dict[tuple[int, int, int], bytes]:
    """At least the blocks with these keys (target, location, start)."""
    statement = select(_B.target_id, _B.location_id, _B.start_ms, _B.document).where(
        fast.among(conn, _B.target_id, np.unique(keys[:, 0]).tolist()),
        fast.among(conn, _B.start_ms, np.unique(keys[:, 2]).tolist()),
        _B.start_ms >= int(keys[:, 2].min()),
        _B.start_ms <= int(keys[:, 2].max()),
    )
    return {(block[0], block[1], block[2]): document for block, document in _fetched(conn, statement)}


def newest(conn: Connection, target_id: int, *, from_ms: int, to_ms: int, location_id: int | None) -> Iterator[Checks]:
    """A target's packed checks in [from_ms, to_ms) by blocks of time, the newest first; in each all locations, in any
    order. Reads a day's blocks at first and more and more with every step."""
    mine = [_B.target_id == target_id, _B.start_ms > from_ms - BLOCK_MS, _B.start_ms < to_ms]
    if location_id is not None:
        mine.append(_B.location_id == location_id)
    first_ms, last_ms = conn.execute(select(func.min(_B.start_ms), func.max(_B.start_ms)).where(*mine)).one()
    if first_ms is None:
        return
    end_ms, length_ms = last_ms + BLOCK_MS, 4 * BLOCK_MS
    while end_ms > first_ms:
        begin_ms = end_ms - length_ms
        part = within(conn, [target_id], max(from_ms, begin_ms), min(to_ms, end_ms), location_id=location_id)
        starts_ms = part.numbers[:, 2] // BLOCK_MS
        for start in np.unique(starts_ms)[::-1]:
            yield part.where(starts_ms == start)
        end_ms, length_ms = begin_ms, length_ms * 2


def within(
    conn: Connection, target_ids: Collection[int], from_ms: int, to_ms: int, *, location_id: int | None = None
) -> Checks:
    """The packed checks of these targets in [from_ms, to_ms)."""
    statement = select(_B.target_id, _B.location_id, _B.start_ms, _B.document).where(
        fast.among(conn, _B.target_id, target_ids), _B.start_ms > from_ms - BLOCK_MS, _B.start_ms < to_ms
    )
    if location_id is not None:
        statement = statement.where(_B.location_id == location_id)
    parts = [
        unpack(document, target_id, place, start_ms)
        for (target_id, place, start_ms), document in _fetched(conn, statement)
    ]
    if not parts:
        return Checks.none()
    found = Checks(np.concatenate([part.numbers for part in parts]), np.concatenate([part.errors for part in parts]))
    at_ms = found.numbers[:, 2]
    return found.where((at_ms >= from_ms) & (at_ms < to_ms))


def first_ms(conn: Connection, target_id: int) -> int | None:
    """The time of a target's first packed check."""
    start_ms: int | None = conn.execute(select(func.min(_B.start_ms)).where(_B.target_id == target_id)).scalar()
    if start_ms is None:
        return None
    return int(within(conn, [target_id], start_ms, start_ms + BLOCK_MS).numbers[:, 2].min())


def _fetched(conn: Connection, statement: fast.Rows) -> Iterator[tuple[tuple[int, int, int], bytes]]:
    """Of a select of target, location, start and document: the first three, and the last."""
    numbers, lengths, joined = fast.fetch_numbers_and_bytes(conn, statement)
    ends = np.cumsum(lengths).tolist()
    for (target_id, location_id, start_ms), begin, end in zip(numbers.tolist(), [0, *ends], ends, strict=False):
        yield (target_id, location_id, start_ms), joined[begin:end]
