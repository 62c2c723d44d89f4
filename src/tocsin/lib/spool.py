"""What a process keeps on disk while it cannot hand it on: a queue of batches, oldest first, and a few notes beside it.

One file, used by one process. Batches are bytes here; only whoever put them in knows what they mean.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from tocsin.lib import metrics
from tocsin.lib.log import get_logger

_VERSION: Final = 1
_SCHEMA: Final = f"""
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
BEGIN IMMEDIATE;
CREATE TABLE batches (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    items INTEGER NOT NULL,
    size INTEGER NOT NULL,
    thinned INTEGER NOT NULL DEFAULT 0,
    body BLOB NOT NULL
);
CREATE TABLE notes (name TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
PRAGMA user_version = {_VERSION};
COMMIT;
"""
_ROW_BYTES: Final = 32
"""What a batch takes beside its body."""
_SLACK: Final = 0.05
"""When it is full, so much of it is made free at once, and not a little with every batch."""
_IN_MEMORY: Final = ":memory:"
_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

log = get_logger("spool")


class SpoolError(Exception):
    """The disk does not take it now, in plain words."""


class SpoolInUse(SpoolError):
    """Another process has this file."""


class Batch(NamedTuple):
    id: int
    items: int
    body: bytes


class Thinned(NamedTuple):
    """What is left of a batch; ``body`` None: nothing worth keeping."""

    body: bytes | None
    items: int


class Thinner(Protocol):
    """Takes from batches what can be spared, oldest batch first."""

    def thin(self, body: bytes) -> Thinned: ...

    def forget(self) -> None:
        """What was thinned before has no bearing on what comes now."""
        ...


class Spool:
    """Safe to share between threads.

    When the bodies reach ``bound_bytes``, the oldest are thinned; where that does not suffice, the oldest are given up
    altogether. A damaged file is moved aside, a new one begun, and that is logged. Without a ``path`` it is kept in
    memory. Raises SpoolError.
    """

    def __init__(self, path: Path | None, *, bound_bytes: int, thinner: Thinner) -> None:
        self._path = path
        self._bound_bytes = bound_bytes
        self._thinner = thinner
        self._lock = threading.RLock()
        self._items = self._bytes = 0
        self._last = 0
        """The newest id there ever was, as far as is known."""
        self._done = 0
        """Batches up to this id are done with, whether or not the disk has taken note of it."""
        try:
            self._conn = self._open()
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise _in_plain_words(error) from error
            self._conn = self._begin_anew(error)

    # ── the queue ─────────────────────────────────────────────────────────────────────────────────

    def append(self, body: bytes, items: int) -> int:
        """On disk when it returns; yields the batch's id. SpoolError where the disk does not take it."""
        size = len(body) + _ROW_BYTES
        with self._held() as conn:
            if self._bytes + size > self._bound_bytes:
                self._make_room(conn, size)
            found = conn.execute("INSERT INTO batches (items, size, body) VALUES (?, ?, ?)", (items, size, body))
            self._items, self._bytes = self._items + items, self._bytes + size
            self._last = int(found.lastrowid or 0)
            return self._last

    def oldest(self, *, most_items: int, most_bytes: int) -> list[Batch]:
        """The next batches in order, up to so many items and bytes, and at least one where there is any."""
        with self._held() as conn:
            found: list[Batch] = []
            items = size = 0
            for row in conn.execute("SELECT id, items, body FROM batches WHERE id > ? ORDER BY id", (self._done,)):
                batch = Batch(*row)
                items, size = items + batch.items, size + len(batch.body)
                if found and (items > most_items or size > most_bytes):
                    break
                found.append(batch)
            return found

    def done(self, through_id: int) -> None:
        """Batches up to this one are not needed any more. Where the disk does not take that, they are left out until
        the process ends, and come again after it."""
        self._done = max(self._done, through_id)
        try:
            with self._held() as conn:
                conn.execute("DELETE FROM batches WHERE id <= ?", (self._done,))
                self._count(conn)
        except SpoolError:
            with suppress(SpoolError), self._held() as conn:
                self._count(conn)
        if not self._items:
            self._thinner.forget()
        with self._lock, suppress(sqlite3.Error):  # a script, because only that runs this statement to its end
            self._conn.executescript("PRAGMA incremental_vacuum(2000)")

    def __len__(self) -> int:
        """How many items there are."""
        return self._items

    @property
    def size_bytes(self) -> int:
        return self._bytes

    def _make_room(self, conn: sqlite3.Connection, needed: int) -> None:
        goal = self._bound_bytes * (1 - _SLACK) - needed
        while self._bytes > goal:
            row = conn.execute(
                "SELECT id, items, body FROM batches WHERE id > ? AND NOT thinned ORDER BY id LIMIT 1", (self._done,)
            ).fetchone()
            if row is None:
                break
            batch = Batch(*row)
            left = self._thinner.thin(batch.body)
            if left.body is None:
                conn.execute("DELETE FROM batches WHERE id = ?", (batch.id,))
                size = 0
            else:
                size = len(left.body) + _ROW_BYTES
                conn.execute(
                    "UPDATE batches SET items = ?, size = ?, thinned = 1, body = ? WHERE id = ?",
                    (left.items, size, left.body, batch.id),
                )
            self._items += left.items - batch.items
            self._bytes += size - len(batch.body) - _ROW_BYTES
        given_up = 0
        while self._bytes > self._bound_bytes - needed:
            row = conn.execute(
                "DELETE FROM batches WHERE id = (SELECT min(id) FROM batches) RETURNING items, size"
            ).fetchone()
            if row is None:
                break
            given_up += row[0]
            self._items, self._bytes = self._items - row[0], self._bytes - row[1]
        if given_up:
            metrics.RESULTS_REFUSED.inc(given_up)
            log.error("the spool is full; its oldest results are given up", results=given_up, file=str(self._path))

    def _count(self, conn: sqlite3.Connection) -> None:
        row = conn.execute(
            "SELECT coalesce(sum(items), 0), coalesce(sum(size), 0) FROM batches WHERE id > ?", (self._done,)
        ).fetchone()
        self._items, self._bytes = row

    # ── notes ─────────────────────────────────────────────────────────────────────────────────────

    def note(self, notes: Mapping[str, bytes | None]) -> None:
        """Keeps these under their names, all or none; None forgets one."""
        with self._held() as conn:
            conn.executemany(
                "INSERT INTO notes (name, body) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET body = excluded.body",
                [(name, body) for name, body in notes.items() if body is not None],
            )
            conn.executemany(
                "DELETE FROM notes WHERE name = ?", [(name,) for name, body in notes.items() if body is None]
            )

    def noted(self, beginning: str = "") -> dict[str, bytes]:
        """What is kept under names that begin so."""
        with self._held() as conn:
            rows = conn.execute(
                "SELECT name, body FROM notes WHERE substr(name, 1, ?) = ?", (len(beginning), beginning)
            )
            return dict(rows.fetchall())

    # ── the file ──────────────────────────────────────────────────────────────────────────────────

    @property
    def identity(self) -> str:
        """Of the file itself: a copy has another."""
        if self._path is None:
            return _IN_MEMORY
        try:
            found = self._path.stat()
        except OSError:
            return "gone"
        return f"{found.st_dev}:{found.st_ino}"

    def close(self) -> None:
        with self._lock:
            self._conn.close()

    def _open(self) -> sqlite3.Connection:
        if self._path is not None:
            try:
                os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
            except OSError as error:
                raise SpoolError(f"{self._path} cannot be opened: {error.strerror}") from error
        conn = sqlite3.connect(self._path or _IN_MEMORY, timeout=1, isolation_level=None, check_same_thread=False)
        try:
            # Held for good: two processes that sent from one queue would undo each other's order. It also spares
            # the shared memory beside the log.
            conn.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
            conn.execute("PRAGMA synchronous = NORMAL")  # a power cut may lose the last batches, never the file
            conn.execute("PRAGMA journal_size_limit = 16777216").fetchall()
            version = conn.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                conn.executescript(_SCHEMA)
            elif version != _VERSION:
                raise _ForeignFile(f"it is of version {version}, and this is {_VERSION}")
            conn.execute("BEGIN IMMEDIATE")
            self._count(conn)
            last = conn.execute("SELECT seq FROM sqlite_sequence WHERE name = 'batches'").fetchone()
            conn.execute("COMMIT")
            self._last = max(self._last, last[0] if last else 0)
        except BaseException:
            conn.close()
            raise
        return conn

    def _begin_anew(self, error: sqlite3.DatabaseError) -> sqlite3.Connection:
        """What was in the old file is kept for whoever wants to look, under another name."""
        assert self._path is not None, "memory is not damaged"
        aside = self._path.with_name(f"{self._path.name}.damaged-{time.time_ns() // 1_000_000}")
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                self._path.with_name(self._path.name + suffix).rename(aside.with_name(aside.name + suffix))
        log.error(
            "the spool is damaged; it is moved aside and a new one begun. Results that waited in it are not sent",
            reason=str(error),
            file=str(self._path),
            aside=str(aside),
        )
        self._thinner.forget()
        conn = self._open()
        # Whoever is about to be done with a batch of the old file must not mean one of the new.
        conn.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('batches', ?)", (self._last,))
        return conn

    @contextmanager
    def _held(self) -> Iterator[sqlite3.Connection]:
        """A transaction. One that finds the file damaged begins a new file, and is to be tried again."""
        with self._lock:
            counts = self._items, self._bytes
            try:
                self._conn.execute("BEGIN IMMEDIATE")
                yield self._conn
                self._conn.execute("COMMIT")
            except BaseException as error:
                with suppress(sqlite3.Error):
                    self._conn.execute("ROLLBACK")
                self._items, self._bytes = counts
                self._thinner.forget()
                if not isinstance(error, sqlite3.DatabaseError):
                    raise
                if _is_damage(error):
                    self._conn.close()
                    self._conn = self._begin_anew(error)
                raise _in_plain_words(error) from error


class _ForeignFile(sqlite3.DatabaseError):
    """Written by a version that is not this one."""


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    return isinstance(error, _ForeignFile) or getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED


def _in_plain_words(error: sqlite3.DatabaseError) -> SpoolError:
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return SpoolInUse("another process uses it")
        case sqlite3.SQLITE_FULL:
            return SpoolError("the disk is full")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return SpoolError("it was damaged and has been begun anew")
    return SpoolError(f"the disk does not take it: {error}")
