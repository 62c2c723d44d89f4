"""Ticks on disk until the aggregator has them: files of records, oldest first, within a bound.

Not ``lib.spool``, which is one for results of checks: it counts in the process's metrics, logs with structlog and keeps
its queue in SQLite, 20 MB in all, and can thin what waits. Here a tick is one ``write`` to the end of a file.

A segment is a file named by the number of its first tick: ``tocsin1\\n``, then records of length, CRC-32 and type
(``<IIB``) and a body. A tick is read with the layout last before it, and each segment begins with one. Numbers of ticks
grow by one within a segment; ``acked`` holds the last one that is not needed any more. What was written is there after
the process was killed at any moment; a record that was cut short is cut off.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from tocsin.collector.log import Log

IN_MEMORY_BYTES: Final = 2 << 20
"""What is kept in memory at most while the disk takes nothing."""
_MAGIC: Final = b"tocsin1\n"
_HEAD: Final = struct.Struct("<IIB")
_ACKED: Final = struct.Struct("<QI")
_LAYOUT: Final = 1
_TICK: Final = 2
_SEGMENTS: Final = 128
"""When it is full, one part in so many is given up at once."""
_LEAST_SEGMENT_BYTES: Final = 64 << 10
_SUFFIX: Final = ".ticks"


class SpoolInUse(Exception):
    """Another collector has this directory."""


class Waiting(NamedTuple):
    """A tick, as it was put in, and the layout it is to be read with."""

    number: int
    layout: bytes
    tick: bytes


class Spool:
    """Safe to share between threads. Once it is open nothing raises: what the disk does not take is kept in memory.

    Without a ``directory`` it is in memory only. Raises SpoolInUse.
    """

    def __init__(self, directory: Path | None, *, bound_bytes: int, log: Log) -> None:
        self._directory = directory
        self._bound_bytes = bound_bytes
        self._segment_bytes = max(min(bound_bytes // _SEGMENTS, 1 << 20), _LEAST_SEGMENT_BYTES)
        self._log = log
        self._lock = threading.Lock()
        self._segments: list[_Segment] = []
        self._file: int | None = None
        """The last segment, open to be written on."""
        self._layout_there: bytes | None = None
        """The layout that ticks at the end of that segment are read with."""
        self._next = 1
        """The number of the next tick."""
        self._acked = 0
        self._memory: deque[Waiting] = deque()
        self._memory_bytes = 0
        self._cursor = _Cursor(0, 0, 0, b"")
        self._lost_of = ""
        """Why ticks are being given up, while they are."""
        self.lost = 0
        """Ticks that were given up unsent since the start."""
        self._lock_file: int | None = None
        if directory is not None:
            try:
                self._open(directory)
            except OSError as error:
                self._directory = None
                self._segments, self._next, self._acked = [], 1, 0
                self._release()
                log.error(
                    "nothing can be kept on disk; ticks wait in memory, and a restart loses them",
                    reason=error.strerror or str(error),
                    directory=str(directory),
                )

    @property
    def is_on_disk(self) -> bool:
        return self._directory is not None and not self._memory

    @property
    def bound_bytes(self) -> int:
        return self._bound_bytes if self._directory is not None else IN_MEMORY_BYTES

    @property
    def size_bytes(self) -> int:
        with self._lock:
            return sum(segment.size for segment in self._segments) + self._memory_bytes

    def __len__(self) -> int:
        """How many ticks wait."""
        with self._lock:
            return self._count()

    def append(self, layout: bytes, tick: bytes) -> None:
        with self._lock:
            number, self._next = self._next, self._next + 1
            one = Waiting(number, layout, tick)
            if self._directory is None or (self._memory and not self._empty_memory()):
                self._remember(one)
                return
            try:
                self._write(one)
            except OSError as error:
                self._log.error(
                    "the disk takes no ticks; they wait in memory, and a restart loses them",
                    reason=error.strerror or str(error),
                )
                self._remember(one)

    def after(self, number: int, *, most: int, most_bytes: int) -> list[Waiting]:
        """Ticks that wait with greater numbers, in their order: so many, or so many bytes and one more."""
        with self._lock:
            found: list[Waiting] = []
            size = 0
            for one in self._all_after(max(number, self._acked)):
                found.append(one)
                size += len(one.tick)
                if len(found) >= most or size >= most_bytes:
                    break
            return found

    def done(self, number: int) -> None:
        """Ticks up to this one are not needed any more."""
        with self._lock:
            if number <= self._acked:
                return
            self._acked = number
            while self._memory and self._memory[0].number <= number:
                self._memory_bytes -= len(self._memory.popleft().tick)
            while self._segments:
                first = self._segments[0]
                is_last = len(self._segments) == 1
                # The last one is kept until it is worth another file.
                if first.last > number or (is_last and first.size < _LEAST_SEGMENT_BYTES):
                    break
                self._remove(first)
            self._keep_acked()
            if self._lost_of and not self._count():
                self._log.warning("ticks were given up", ticks=self.lost)
                self._lost_of = ""

    def close(self) -> None:
        with self._lock:
            self._close_file()
            self._release()

    # ── writing ───────────────────────────────────────────────────────────────────────────────────

    def _write(self, one: Waiting) -> None:
        """Raises OSError, and then nothing of it is there."""
        self._make_room(len(one.layout) + len(one.tick) + 2 * _HEAD.size)
        segment = self._segments[-1] if self._segments else None
        if (
            self._file is None
            or segment is None
            or segment.size >= self._segment_bytes
            or segment.last + 1 != one.number
        ):
            segment = self._begin(one.number)
        assert self._file is not None
        data = _record(_TICK, one.tick)
        if self._layout_there != one.layout:
            data = _record(_LAYOUT, one.layout) + data
        try:
            if os.write(self._file, data) < len(data):
                raise OSError(28, "the disk is full")
        except OSError:
            self._close_file()
            with suppress(OSError):
                os.truncate(segment.path, segment.size)
            if segment.last < segment.first:
                self._remove(segment)
            raise
        self._layout_there = one.layout
        segment.size += len(data)
        segment.last = one.number

    def _begin(self, number: int) -> _Segment:
        assert self._directory is not None
        self._close_file()
        segment = _Segment(self._directory / f"{number:020}{_SUFFIX}", number, number - 1, len(_MAGIC))
        file = os.open(segment.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            if os.write(file, _MAGIC) < len(_MAGIC):
                raise OSError(28, "the disk is full")
        except OSError:
            os.close(file)
            with suppress(OSError):
                segment.path.unlink()
            raise
        self._file = file
        self._segments.append(segment)
        return segment

    def _make_room(self, needed: int) -> None:
        size = sum(segment.size for segment in self._segments)
        while self._segments and size + needed > self._bound_bytes:
            oldest = self._segments[0]
            self._give_up(max(0, oldest.last - max(oldest.first - 1, self._acked)), "the spool is full")
            size -= oldest.size
            self._remove(oldest)

    def _remember(self, one: Waiting) -> None:
        self._memory.append(one)
        self._memory_bytes += len(one.tick)
        while self._memory_bytes > IN_MEMORY_BYTES:
            self._memory_bytes -= len(self._memory.popleft().tick)
            self._give_up(1, "the disk takes no ticks, and memory for them is full")

    def _empty_memory(self) -> bool:
        """To disk, where that takes them again."""
        while self._memory:
            try:
                self._write(self._memory[0])
            except OSError:
                return False
            self._memory_bytes -= len(self._memory.popleft().tick)
        self._log.info("the disk takes ticks again")
        return True

    def _give_up(self, ticks: int, reason: str) -> None:
        if not ticks:
            return
        if self._lost_of != reason:
            self._log.error(f"{reason}; the oldest ticks are given up")
        self._lost_of = reason
        self.lost += ticks

    # ── reading ───────────────────────────────────────────────────────────────────────────────────

    def _all_after(self, number: int) -> Iterator[Waiting]:
        for segment in list(self._segments):
            if segment.last > number:
                yield from self._of_segment(segment, number)
        for one in self._memory:
            if one.number > number:
                yield one

    def _of_segment(self, segment: _Segment, number: int) -> Iterator[Waiting]:
        cursor = self._cursor
        if cursor.first != segment.first or cursor.number > number:
            cursor = _Cursor(segment.first, len(_MAGIC), segment.first - 1, b"")
        try:
            data = _read(segment.path, cursor.offset, segment.size)
        except OSError as error:
            self._damaged(segment, error.strerror or str(error))
            return
        offset, at, layout = 0, cursor.number, cursor.layout
        for kind, body, end in _records(data):
            offset = end
            if kind == _LAYOUT:
                layout = body
                continue
            at += 1
            if at > number:
                # Where to go on, for whoever asks for what comes after this one.
                self._cursor = _Cursor(segment.first, cursor.offset + end, at, layout)
                yield Waiting(at, layout, body)
        if offset < len(data):
            self._damaged(segment, "a record is damaged")
        segment.last = min(segment.last, at)  # after one that was given up from memory there is a gap

    def _damaged(self, segment: _Segment, reason: str) -> None:
        read = self._cursor.number if self._cursor.first == segment.first else segment.first - 1
        self._log.error("ticks on disk cannot be read and are given up", file=str(segment.path), reason=reason)
        self.lost += max(0, segment.last - max(read, self._acked))
        if segment in self._segments:
            if segment is self._segments[-1]:
                self._close_file()
            segment.last = max(read, segment.first - 1)

    def _count(self) -> int:
        on_disk = sum(max(0, one.last - max(one.first - 1, self._acked)) for one in self._segments)
        return on_disk + len(self._memory)

    # ── the directory ─────────────────────────────────────────────────────────────────────────────

    def _open(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock_file = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._release()
            raise SpoolInUse(str(directory)) from None
        self._acked = _acked(directory / "acked")
        names = sorted(name for name in os.listdir(directory) if name.endswith(_SUFFIX))
        for name in names:
            path = directory / name
            first = name.removesuffix(_SUFFIX)
            if first.isdecimal():
                self._segments.append(_Segment(path, int(first), int(first) - 1, path.stat().st_size))
        for segment, following in zip(self._segments, self._segments[1:], strict=False):
            segment.last = following.first - 1
        # Only the last one may have been cut short. Of the others what is damaged is found when they are read.
        last = self._mend(self._segments[-1]) if self._segments else 0
        # Numbers are not given twice: what came after the last one that is known may have been acknowledged.
        self._next = max(last, self._acked) + 1
        for segment in [one for one in self._segments if one.last <= self._acked or one.last < one.first]:
            self._remove(segment)

    def _mend(self, segment: _Segment) -> int:
        """Leaves out what was not written to its end; yields the greatest number that a tick in it can have."""
        try:
            data = _read(segment.path, 0, segment.size)
        except OSError as error:
            self._log.error(
                "ticks on disk cannot be read and are given up",
                file=str(segment.path),
                reason=error.strerror or str(error),
            )
            return segment.last + segment.size // _HEAD.size
        size = len(_MAGIC)
        if data.startswith(_MAGIC):
            for kind, _, end in _records(data[len(_MAGIC) :]):
                size = len(_MAGIC) + end
                segment.last += kind == _TICK
        if size < segment.size:
            with suppress(OSError):  # nothing is added to it; whoever reads it on finds the rest damaged
                os.truncate(segment.path, size)
            segment.size = size
        return segment.last

    def _remove(self, segment: _Segment) -> None:
        if self._segments[-1:] == [segment]:
            self._close_file()
        self._segments.remove(segment)
        try:
            segment.path.unlink(missing_ok=True)
        except OSError as error:
            self._log.error("a file of the spool cannot be removed", file=str(segment.path), reason=str(error))

    def _keep_acked(self) -> None:
        """Where it cannot be kept, some ticks are sent again after a restart, which changes nothing."""
        if self._directory is None:
            return
        number = struct.pack("<Q", self._acked)
        with suppress(OSError):
            file = os.open(self._directory / "acked", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.pwrite(file, _ACKED.pack(self._acked, zlib.crc32(number)), 0)
            finally:
                os.close(file)

    def _close_file(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file, self._layout_there = None, None

    def _release(self) -> None:
        if self._lock_file is not None:
            os.close(self._lock_file)
        self._lock_file = None


class _Segment:
    def __init__(self, path: Path, first: int, last: int, size: int) -> None:
        self.path = path
        self.first = first
        self.last = last
        """The number of its last tick; before the first there is one less than that."""
        self.size = size


class _Cursor(NamedTuple):
    """In the segment that begins with ``first``: the tick ``number`` ends at ``offset``, and ``layout`` holds there."""

    first: int
    offset: int
    number: int
    layout: bytes


def _record(kind: int, body: bytes) -> bytes:
    return _HEAD.pack(len(body), zlib.crc32(body, kind), kind) + body


def _records(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Type, body and where it ends, up to the first that is not whole."""
    offset = 0
    while offset + _HEAD.size <= len(data):
        length, crc, kind = _HEAD.unpack_from(data, offset)
        start = offset + _HEAD.size
        offset = start + length
        body = data[start:offset]
        if kind not in (_LAYOUT, _TICK) or len(body) < length or zlib.crc32(body, kind) != crc:
            return
        yield kind, body, offset


def _read(path: Path, begin: int, end: int) -> bytes:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = b""
        while begin + len(data) < end and (part := os.pread(file, end - begin - len(data), begin + len(data))):
            data += part
        return data
    finally:
        os.close(file)


def _acked(path: Path) -> int:
    """0 where it is not known: then everything there is is sent again."""
    try:
        number, crc = _ACKED.unpack(path.read_bytes())
    except (OSError, struct.error):
        return 0
    return int(number) if zlib.crc32(struct.pack("<Q", number)) == crc else 0
