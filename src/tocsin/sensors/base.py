"""What a sensor is: something that is looked at again and again and gives numbers. Knows no tick, spool or server.

The frame (``collector.panel``) owns the deadline, the thread and what becomes of errors. Nothing is loaded here that a
small process would not have anyway: figures are read from /proc and /sys as text, because that takes a tenth of the
processor time psutil takes for the same (it opens, reads and parses a process's files one by one, each time anew), and
4 MB less.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from tocsin.core.samples import Series, SeriesKind

_CHUNK_BYTES = 65_536


class Absent(Exception):
    """This host has nothing of the kind. ``str()`` says what was looked for, for people."""


class Process(NamedTuple):
    """``cpu``: processors kept busy since the look before, 1 is one of them. ``name`` is as the process gave it: text
    from outside."""

    pid: int
    name: str
    user: str
    cpu: float
    memory_bytes: int


class Readings(NamedTuple):
    """``processes``: the greatest by processor time and by memory; None: not looked at."""

    values: Mapping[Series, float]
    processes: list[Process] | None = None


class Sensor(Protocol):
    """Used by one thread at a time."""

    def read(self) -> Readings:
        """Raises OSError, or ValueError for what it cannot make sense of. What is not there now is left out."""
        ...


class Host:
    """Where its files are: ``root`` is ``/``, or where the host's own root is mounted in a container."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root
        # In a container "self" would be the container's.
        own = "self" if root == Path("/") else "1"
        self.mounts = root / "proc" / own / "mounts"
        self.net_dev = root / "proc" / own / "net" / "dev"

    def proc(self, name: str) -> Path:
        return self.root / "proc" / name

    def sys(self, name: str) -> Path:
        return self.root / "sys" / name


@dataclass(frozen=True)
class SensorKind:
    """One row of ``SENSORS``. ``open`` raises Absent where there is nothing to be read, and OSError."""

    name: str
    open: Callable[[Host], Sensor]
    deadline_s: float = 1.0
    every: int = 1
    """It is looked at with every so-many-th tick; its numbers hold until then."""


class Kept:
    """A file of /proc or /sys that is read again and again, and therefore stays open. Missing ones raise
    FileNotFoundError here and not later."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self) -> bytes:
        """From its beginning to its end; the kernel hands long ones out in parts."""
        found = os.pread(self._file, _CHUNK_BYTES, 0)
        read = len(found)
        while chunk := os.pread(self._file, _CHUNK_BYTES, read):
            found += chunk
            read += len(chunk)
        return found

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)


def kept_or_absent(path: Path) -> Kept:
    try:
        return Kept(path)
    except FileNotFoundError:
        raise Absent(f"there is no {path}") from None


def gauge(name: str, unit: str, **attributes: str) -> Series:
    return _series(name, unit, "gauge", attributes)


def counter(name: str, unit: str, **attributes: str) -> Series:
    return _series(name, unit, "counter", attributes)


def _series(name: str, unit: str, kind: SeriesKind, attributes: Mapping[str, str]) -> Series:
    return Series(name, tuple(sorted(attributes.items())), unit, kind)


def text_of(path: Path) -> str | None:
    """The one line a file of /sys holds; None where it cannot be read."""
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return None
