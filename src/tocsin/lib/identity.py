"""Who this process is: an identity that outlives it, kept in a directory, and used by one process at a time.

Knows nothing of what the identity is for.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

SLOTS: Final = 1000
"""More processes on one directory than this have no lasting identity."""


@contextmanager
def identity(directory: Path) -> Iterator[str]:
    """The identity of the first slot in ``directory`` that no running process has; it is ours until the end.

    The system gives a slot free when its process ends, however it ends, so a process that was killed finds its own
    identity again. Where nothing can be kept the identity is made up for this one time. ``directory`` is made; the
    one it lies in has to be there.
    """
    slot = _take(directory)
    try:
        yield str(uuid4()) if slot is None else _read(slot)
    finally:
        if slot is not None:
            os.close(slot)


def _take(directory: Path) -> int | None:
    """The open file of a slot that is locked now; None when there is none to be had."""
    with suppress(OSError):
        directory.mkdir(exist_ok=True, mode=0o700)
        for number in range(1, SLOTS + 1):
            slot = os.open(directory / str(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return slot
            except BlockingIOError:
                os.close(slot)
            except OSError:
                os.close(slot)
                raise
    return None


def _read(slot: int) -> str:
    """What is kept in it; a new one, kept from now on, where that is nothing sensible."""
    with suppress(OSError, ValueError):
        return str(UUID(os.pread(slot, 100, 0).decode("ascii").strip()))
    made = str(uuid4())
    with suppress(OSError):  # a full disk: it is ours this one time
        os.ftruncate(slot, 0)
        os.pwrite(slot, f"{made}\n".encode(), 0)
        os.fsync(slot)
    return made
