"""The database as the rest of Tocsin meets it: transactions, the fast way to write, and the schema's version.

Chooses how to speak to SQLite and to PostgreSQL; holds no query about Tocsin's own things.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from tocsin.store import installation

if TYPE_CHECKING:
    import psycopg

SchemaState = Literal["current", "behind", "newer", "ahead", "empty"]
"""``newer``: made by a newer Tocsin, which says that this code can work with it. ``ahead``: that this code cannot."""

REVISIONS: Final = ("0001", "0002", "0003", "0004", "0005")
"""Every schema revision, oldest first. Kept here so that a start need not load Alembic; a test compares."""


_MIGRATING_ATTEMPTS: Final = 5


class StoreError(Exception):
    """The store could not do it now. The transaction was rolled back; trying again later is right.

    ``str()`` is for who runs Tocsin and may name a server; ``outward`` is a sentence for anybody.
    """

    outward = "The database cannot be asked now."


class StoreBusy(StoreError):
    """Somebody else held a lock, or every connection, for too long."""

    outward = "The database is busy."


class StoreUnavailable(StoreError):
    """The database cannot be reached or cannot write: server gone, disk full, file not readable."""

    outward = "The database cannot be reached or cannot write."


class Store:
    """One database. Safe to share between threads; every transaction has a connection of its own.

    ``url`` is ``sqlite:///relative/path``, ``sqlite:////absolute/path`` or ``postgresql://user@host/name``.
    A relative SQLite path is taken from ``data_dir`` where that is given. ``busy_timeout_s`` is how long to
    wait for a lock before StoreBusy, ``connect_timeout_s`` for a server before StoreUnavailable.
    """

    def __init__(
        self,
        url: str,
        *,
        data_dir: Path | None = None,
        busy_timeout_s: float = 5.0,
        connect_timeout_s: float = 5.0,
        statement_timeout_s: float = 30.0,
        pool_size: int = 10,
    ) -> None:
        parsed = make_url(url)
        self._patience = patience = _Patience(busy_timeout_s)
        self._writers = _FairLock()
        if parsed.get_backend_name() == "sqlite":
            parsed = _sqlite_url(parsed, data_dir)
            self._reader = _sqlite_engine(parsed, patience, pool_size, begin="BEGIN", cache_kib=4_096, query_only=True)
            # One connection writes, so its page cache and its prepared statements stay warm.
            self._writer = _sqlite_engine(parsed, patience, 1, begin="BEGIN IMMEDIATE", cache_kib=16_384)
            self._loose = self._writer
        elif parsed.get_backend_name() == "postgresql":
            server = _postgresql_engine(parsed, patience, connect_timeout_s, statement_timeout_s, pool_size)
            # A read is one snapshot: what it says about a mark and about the rows behind it belongs together.
            self._reader = server.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            self._writer = server.execution_options(isolation_level="READ COMMITTED", postgresql_readonly=False)
            self._loose = server.execution_options(isolation_level="AUTOCOMMIT", postgresql_readonly=False)
        else:
            raise ValueError(f"database URL must begin with sqlite:/// or postgresql://, not {parsed.drivername!r}")
        self.url: Final = parsed.render_as_string(hide_password=True)

    @property
    def engine_name(self) -> Literal["sqlite", "postgresql"]:
        """For people to read (doctor, logs); no code may branch on it."""
        return "sqlite" if self._writer.dialect.name == "sqlite" else "postgresql"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A read-only transaction: one unchanging snapshot. Raises StoreBusy or StoreUnavailable."""
        with self._plain_errors(), self._reader.begin() as conn:
            yield conn

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A write transaction, committed on leaving, rolled back on any exception.

        On SQLite writers of this process take turns in the order they came. Raises StoreBusy or StoreUnavailable.
        """
        with self._plain_errors(writing=True):
            if self._writer.dialect.name != "sqlite":
                with self._writer.begin() as conn:
                    yield conn
                return
            with self._writers.held(self._patience.lock_s), self._writer.begin() as conn:
                yield conn

    @contextmanager
    def statements(self) -> Iterator[Connection]:
        """A connection whose every statement is a transaction of its own, for what PostgreSQL does not do in one.

        Raises StoreBusy or StoreUnavailable.
        """
        with self._plain_errors(writing=True), self._loose.connect() as conn:
            yield conn

    def hurry(self, busy_timeout_s: float) -> None:
        """From now on wait no longer than this for a lock: what is closing down has no time to."""
        self._patience.lock_s, self._patience.changed = busy_timeout_s, True

    def ping(self) -> None:
        """Return when the database answers; raises StoreBusy or StoreUnavailable."""
        with self.read() as conn:
            conn.execute(text("SELECT 1"))

    def schema_state(self) -> SchemaState:
        """How the schema in the database compares with this code's."""
        with self.read() as conn:
            if not inspect(conn).has_table("alembic_version"):
                return "empty"
            revision = conn.execute(text("SELECT version_num FROM alembic_version")).scalar()
            if revision is None:
                return "empty"
            if revision in REVISIONS:
                return "current" if revision == REVISIONS[-1] else "behind"
            oldest_served = installation.get(conn, "oldest_revision")
        return "newer" if oldest_served is not None and oldest_served <= REVISIONS[-1] else "ahead"

    def migrate(self) -> None:
        """Bring the schema to this code's revision. Safe to run again, and by several processes at once."""
        from tocsin.store.migrations import upgrade  # Alembic takes 150 ms to import; a start that is current skips it

        for left in reversed(range(_MIGRATING_ATTEMPTS)):
            try:
                with self._plain_errors(writing=True):
                    upgrade(self._writer)
                return
            except StoreBusy:  # it and somebody at work waited for each other
                if not left:
                    raise

    def tidy(self) -> None:
        """What the engine wants done now and then: move what was written from the log into the database file."""
        if self._writer.dialect.name != "sqlite":
            return
        with self._plain_errors(), closing(self._reader.raw_connection()) as raw:  # writers need not wait for it
            raw.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")

    @contextmanager
    def _plain_errors(self, *, writing: bool = False) -> Iterator[None]:
        """Turn what the driver says about locks and a lost database into StoreBusy and StoreUnavailable."""
        driver = self._writer.dialect.loaded_dbapi
        try:
            yield
        except PoolTimeout as error:
            raise StoreBusy("every connection to the database is in use") from error
        except (SQLAlchemyError, driver.Error) as error:
            plain = _in_plain_words(error, driver, writing=writing)
            if plain is None:
                raise
            raise plain from error

    def close(self) -> None:
        """Close every connection not in use. The store can be used again afterwards."""
        self._reader.dispose()
        self._writer.dispose()


@dataclass(slots=True)
class _Patience:
    """How long to wait for a lock. ``changed``: connections that are open already have been told another time."""

    lock_s: float
    changed: bool = False


class _FairLock:
    """A lock taken in the order it was asked for; a plain Lock lets a busy thread overtake for ever."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held = False
        self._waiting: deque[threading.Event] = deque()

    @contextmanager
    def held(self, timeout_s: float) -> Iterator[None]:
        self._acquire(timeout_s)
        try:
            yield
        finally:
            self._release()

    def _acquire(self, timeout_s: float) -> None:
        with self._guard:
            if not self._held:
                self._held = True
                return
            turn = threading.Event()
            self._waiting.append(turn)
        if turn.wait(timeout_s):
            return
        with self._guard:
            if turn in self._waiting:
                self._waiting.remove(turn)
                raise StoreBusy(f"another write in this process took longer than {timeout_s:g} s")
        # The turn came between the timeout and the look: it is ours.

    def _release(self) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().set()  # passed on while still held
            else:
                self._held = False


# ── engines ───────────────────────────────────────────────────────────────────────────────────────────


def _sqlite_url(url: URL, data_dir: Path | None) -> URL:
    if url.database in (None, "", ":memory:"):
        raise ValueError("a SQLite database needs a file: sqlite:///tocsin.db")
    path = Path(str(url.database))
    if data_dir is not None and not path.is_absolute():
        path = data_dir / path
    return url.set(drivername="sqlite+pysqlite", database=str(path.absolute()))


def _sqlite_engine(
    url: URL, patience: _Patience, pool_size: int, *, begin: str, cache_kib: int, query_only: bool = False
) -> Engine:
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=patience.lock_s,
        connect_args={
            "timeout": patience.lock_s,
            "check_same_thread": False,
            "isolation_level": None,
            "cached_statements": 512,
        },
    )

    def configure(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
        _write_ahead(connection, patience.lock_s)
        for pragma in (
            "synchronous = NORMAL",  # a power cut may lose the last commits, never the database
            "foreign_keys = ON",
            f"cache_size = {-cache_kib}",
            "mmap_size = 268435456",
            "temp_store = MEMORY",
            # The pages of a busy hour are written again every minute: a rarer checkpoint copies each of them once.
            "wal_autocheckpoint = 8192",
            "journal_size_limit = 67108864",
            f"query_only = {int(query_only)}",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    def open_transaction(conn: Connection) -> None:
        if patience.changed:
            conn.exec_driver_sql(f"PRAGMA busy_timeout = {round(patience.lock_s * 1000)}")
        conn.exec_driver_sql(begin)

    event.listen(engine, "connect", configure)
    event.listen(engine, "begin", open_transaction)
    return engine


def _write_ahead(connection: sqlite3.Connection, patience_s: float) -> None:
    """Turn on the write-ahead log. The file keeps that, so only the first to open a new one has anything to do; and
    there, whatever ``timeout`` says, SQLite refuses at once when somebody else is writing.
    """
    until = time.monotonic() + patience_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").close()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.005)
        else:
            return


_NOTICING: Final = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""Seconds, the last in milliseconds. A server whose machine is gone ends no connection: without these whoever waits for
its answer waits for a quarter of an hour, or for two hours where all that was asked has arrived."""


def _postgresql_engine(
    url: URL, patience: _Patience, connect_timeout_s: float, statement_timeout_s: float, pool_size: int
) -> Engine:
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=patience.lock_s,
        pool_pre_ping=True,
        pool_recycle=3600,
        connect_args={
            "connect_timeout": max(2, round(connect_timeout_s)),
            "application_name": "tocsin",
            **{name: value for name, value in _NOTICING.items() if name not in url.query},
        },
    )
    settings = (
        f"SET lock_timeout = {round(patience.lock_s * 1000)}; "
        f"SET statement_timeout = {round(statement_timeout_s * 1000)}; "
        "SET jit = off; "  # takes longer to compile than any statement here takes to run
        "SET idle_in_transaction_session_timeout = 60000; SET timezone = 'UTC'"
    )

    def configure(connection: psycopg.Connection, _: ConnectionPoolEntry) -> None:
        before, connection.autocommit = connection.autocommit, True
        connection.execute(settings)
        connection.autocommit = before

    def open_transaction(conn: Connection) -> None:
        if patience.changed:
            conn.exec_driver_sql(f"SET LOCAL lock_timeout = {round(patience.lock_s * 1000)}")

    event.listen(engine, "connect", configure)
    event.listen(engine, "begin", open_transaction)
    return engine


# ── errors ────────────────────────────────────────────────────────────────────────────────────────────

_SQLITE_BUSY: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_SQLITE_UNAVAILABLE: Final = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk reports an error",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened",
    sqlite3.SQLITE_READONLY: "the file may not be written",
    sqlite3.SQLITE_PERM: "the file may not be opened",
    sqlite3.SQLITE_CORRUPT: "the file is damaged",
    sqlite3.SQLITE_NOTADB: "the file is not a SQLite database",
}
_POSTGRESQL_BUSY: Final = {
    "55P03": "a lock was held too long",
    "57014": "a statement took too long",
    "40P01": "two transactions waited for each other",
    "40001": "two transactions changed the same rows",
}
_POSTGRESQL_UNAVAILABLE: Final = ("08", "53", "57", "58", "28", "3D", "25P03")
"""Classes of errors, and one: the server ended a connection that stood still in the middle of a transaction."""
_POSTGRESQL_ONLY_READS: Final = "25006"


def _in_plain_words(error: BaseException, driver: Any, *, writing: bool) -> StoreError | None:
    """The StoreError that says the same, or None for a mistake in a statement or its data.

    ``driver`` is the DBAPI module in use: only that one is ever loaded.
    """
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
        if code in _SQLITE_BUSY:
            return StoreBusy("the database is locked by another process")
        if code in _SQLITE_UNAVAILABLE:
            return StoreUnavailable(f"the database cannot be used: {_SQLITE_UNAVAILABLE[code]}")
        return None
    if isinstance(cause, driver.Error):
        state: str | None = cause.sqlstate
        if state in _POSTGRESQL_BUSY:
            return StoreBusy(f"the database is busy: {_POSTGRESQL_BUSY[state]}")
        if state == _POSTGRESQL_ONLY_READS and writing:  # a standby: the server that takes writes is another
            return StoreUnavailable("the database takes no writes: this server only reads")
        lost = state is None and isinstance(cause, (driver.OperationalError, driver.InterfaceError))
        if lost or (state is not None and state.startswith(_POSTGRESQL_UNAVAILABLE)):
            said = str(cause).strip().splitlines()
            return StoreUnavailable(f"the database cannot be reached: {said[0] if said else 'connection lost'}")
    return None
