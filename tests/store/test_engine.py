"""Transactions, and what can happen to them: locks held by others, full disks, sudden ends, lost servers."""

from __future__ import annotations

import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, func, make_url, select, text
from sqlalchemy.exc import IntegrityError

from tests.contract.rows import check, key
from tests.postgres import PrivateServer, start_private_server
from tocsin.core.decide import State
from tocsin.store import checks, fast, locations, states
from tocsin.store.engine import Store, StoreBusy, StoreUnavailable
from tocsin.store.tables import checks as check_rows
from tocsin.store.tables import late_checks
from tocsin.store.tables import states as state_rows


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tocsin.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{path}", busy_timeout_s=0.1)
    opened.migrate()
    yield opened
    opened.close()


def names(store: Store) -> set[str]:
    with store.read() as conn:
        return set(locations.names(conn).values())


def add(store: Store, name: str) -> None:
    with store.write() as conn:
        locations.ensure(conn, name)


# ── addresses ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("url", ["mysql://localhost/x", "sqlite://", "sqlite:///:memory:"])
def test_an_address_that_cannot_be_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="sqlite:///"):
        Store(url)


def test_a_relative_file_lies_in_the_data_directory(tmp_path: Path) -> None:
    store = Store("sqlite:///tocsin.db", data_dir=tmp_path)
    store.migrate()
    store.close()
    assert (tmp_path / "tocsin.db").exists()


def test_a_password_is_never_shown() -> None:
    store = Store("postgresql://me:secret@127.0.0.1:1/tocsin")
    assert "secret" not in store.url
    assert store.engine_name == "postgresql"


# ── transactions ──────────────────────────────────────────────────────────────────────────────────────


def test_an_exception_undoes_the_transaction_and_is_passed_on(store: Store) -> None:
    def fail() -> None:
        with store.write() as conn:
            locations.ensure(conn, "lost")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert names(store) == set()


def test_a_mistake_in_the_data_is_not_called_an_outage(store: Store) -> None:
    with pytest.raises(IntegrityError), store.write() as conn:
        conn.execute(text("INSERT INTO locations (id, name) VALUES (1, 'a'), (1, 'b')"))


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest) -> Iterator[Store]:
    if request.param == "sqlite":
        yield request.getfixturevalue("store")
        return
    opened = Store(request.getfixturevalue("postgres_url"), busy_timeout_s=0.1)
    yield opened
    opened.close()


def test_a_read_sees_one_moment(either: Store) -> None:
    with either.read() as conn:
        assert locations.names(conn) == {}
        add(either, "later")
        assert locations.names(conn) == {}
    assert names(either) == {"later"}


def test_a_read_may_not_write(either: Store) -> None:
    with pytest.raises(Exception, match=r"(?i)read-?only|may not be written"), either.read() as conn:
        conn.execute(text("INSERT INTO locations (id, name) VALUES (1, 'a')"))
    assert names(either) == set()


def test_in_a_hurry_nobody_waits_out_the_time_that_was_set(either: Store, request: pytest.FixtureRequest) -> None:
    """Its connections are open already, and told to wait for longer than any test may take."""
    url = request.getfixturevalue("postgres_url") if either.engine_name == "postgresql" else either.url
    patient = Store(url, busy_timeout_s=100_000)
    add(patient, "here")
    patient.hurry(0.05)
    change = text("UPDATE locations SET name = 'there' WHERE id = 1")
    with either.write() as conn:
        conn.execute(change)
        with pytest.raises(StoreBusy), patient.write() as other:
            other.execute(change)
    patient.close()


def test_when_every_connection_is_taken_the_next_is_told_so(path: Path) -> None:
    store = Store(f"sqlite:///{path}", busy_timeout_s=0.05, pool_size=1)
    with (
        store.read(),
        pytest.raises(StoreBusy, match="every connection"),
        store.read(),
    ):
        pass
    store.close()


# ── writers in one process ────────────────────────────────────────────────────────────────────────────


def test_a_second_writer_waits_its_time_and_is_told_why(store: Store) -> None:
    with store.write(), pytest.raises(StoreBusy, match="in this process"), store.write():
        pass
    add(store, "next")
    assert names(store) == {"next"}


def test_writers_take_turns_in_the_order_they_came(path: Path) -> None:
    store = Store(f"sqlite:///{path}", busy_timeout_s=30)
    store.migrate()
    order: list[int] = []

    def write(number: int) -> None:
        with store.write():
            order.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    with store.write():
        for number, thread in enumerate(threads, start=1):
            thread.start()
            while len(store._writers._waiting) < number:
                pass
    for thread in threads:
        thread.join()
    store.close()
    assert order == list(range(8))


# ── another process holds the database ────────────────────────────────────────────────────────────────

_HOLD = """
import select, sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute(sys.argv[2])
print("held", flush=True)
select.select([sys.stdin], [], [], float(sys.argv[3]))
held.execute("COMMIT")
held.close()
"""


@contextmanager
def locked_by_another_process(path: Path, begin: str = "BEGIN EXCLUSIVE", at_most_s: float = 60) -> Iterator[None]:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, path, begin, str(at_most_s)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield
        process.communicate()


def test_a_database_locked_by_another_process_is_busy_and_then_is_not(store: Store, path: Path) -> None:
    add(store, "before")
    with locked_by_another_process(path):
        for _ in range(3):
            with pytest.raises(StoreBusy, match="locked by another process") as caught, store.write() as conn:
                locations.ensure(conn, "meanwhile")
            assert isinstance(caught.value.__cause__.__cause__, sqlite3.OperationalError)  # type: ignore[union-attr]
        assert names(store) == {"before"}, "reading goes on"
    add(store, "after")
    assert names(store) == {"before", "after"}


@pytest.mark.parametrize("begin", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_who_opens_a_new_file_waits_for_another_who_is_at_it(path: Path, begin: str) -> None:
    """As when several processes are started at once, and none of them has been here before."""
    opened = Store(f"sqlite:///{path}")
    with locked_by_another_process(path, begin, at_most_s=0.3):
        opened.migrate()
    assert opened.schema_state() == "current"
    opened.close()


def test_who_opens_a_new_file_waits_no_longer_than_it_is_told_to(path: Path) -> None:
    opened = Store(f"sqlite:///{path}", busy_timeout_s=0.05)
    with locked_by_another_process(path, "BEGIN IMMEDIATE"), pytest.raises(StoreBusy, match="locked by another"):
        opened.migrate()
    opened.close()


def test_a_write_begins_by_taking_the_lock(store: Store, path: Path) -> None:
    """Reading first and taking it later would fail in the middle when somebody else wrote in between."""
    other = Store(f"sqlite:///{path}", busy_timeout_s=0.05)
    with other.write(), pytest.raises(StoreBusy), store.write():
        pytest.fail("two writers at once")
    other.close()


# ── a full disk ───────────────────────────────────────────────────────────────────────────────────────


def limit_pages(store: Store, pages: int) -> None:
    with store.write() as conn:
        conn.exec_driver_sql(f"PRAGMA max_page_count = {pages}")


def test_a_full_disk_is_said_plainly_and_loses_nothing_that_was_stored(store: Store) -> None:
    add(store, "before")
    with store.read() as conn:
        pages = int(conn.exec_driver_sql("PRAGMA page_count").scalar_one())
    limit_pages(store, pages + 5)
    batch = [check(number, 5, error="x" * 200) for number in range(1, 1_001)]

    def write() -> int:
        with store.write() as conn:
            locations.ensure(conn, "meanwhile")
            return checks.insert_many(conn, batch)

    with pytest.raises(StoreUnavailable, match="disk is full"):
        write()
    assert names(store) == {"before"}
    limit_pages(store, 1_000_000)
    assert write() == 1_000
    with store.read() as conn:
        assert conn.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"


def test_what_is_not_a_database_is_said_plainly(path: Path) -> None:
    path.write_bytes(b"Dear diary, " * 1_000)
    store = Store(f"sqlite:///{path}")
    with pytest.raises(StoreUnavailable, match="not a SQLite database"):
        store.ping()
    store.close()


def test_a_directory_that_does_not_exist_is_said_plainly(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/nowhere/tocsin.db")
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        store.ping()
    store.close()


# ── a sudden end ──────────────────────────────────────────────────────────────────────────────────────

_WRITE_FOR_EVER = """
import itertools, sys
from tests.contract.rows import check, key
from tocsin.core.decide import State
from tocsin.store import checks, states
from tocsin.store.engine import Store
store = Store(sys.argv[1])
for number in itertools.count(1):
    with store.write() as conn:
        checks.insert_many(conn, [check(target_id, number) for target_id in range(1, 701)])
        states.write_many(conn, [(key(target_id), State(last_at_ms=number)) for target_id in range(1, 701)])
    print(number, flush=True)
"""


@pytest.mark.parametrize("seed", range(3))
def test_a_writer_killed_in_the_middle_leaves_whole_batches_only(store: Store, path: Path, seed: int) -> None:
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", _WRITE_FOR_EVER, f"sqlite:///{path}"], stdout=subprocess.PIPE, cwd=root
    ) as process:
        assert process.stdout is not None
        for _ in range(random.Random(seed).randrange(3, 12)):
            said = int(process.stdout.readline())
        threading.Event().wait(random.Random(seed).random() / 50)  # somewhere inside the next batches
        process.send_signal(signal.SIGKILL)
        said = max([said, *map(int, process.stdout.read().split())])
    with store.read() as conn:
        batches = conn.execute(select(check_rows.c.at_ms, func.count()).group_by(check_rows.c.at_ms)).all()
        newest = set(conn.execute(select(state_rows.c.last_at_ms)).scalars())
        assert conn.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
    assert {count for _, count in batches} == {700}
    assert sorted(at_ms for at_ms, _ in batches) == list(range(1, len(batches) + 1))
    assert newest == {len(batches)}
    assert len(batches) >= said, "what was reported as stored is there"


# ── a server that goes away ───────────────────────────────────────────────────────────────────────────


def attempts(store: Store) -> list[Callable[[], None]]:
    return [lambda: add(store, "x"), lambda: store.ping(), lambda: store.migrate()]


def test_a_server_stopped_and_started_is_an_outage_and_then_is_not(private_postgres: PrivateServer) -> None:
    store = Store(private_postgres.create_database())
    add(store, "before")

    def interrupted() -> None:
        with store.write() as conn:
            locations.ensure(conn, "meanwhile")
            private_postgres.stop()
            locations.ensure(conn, "meanwhile again")

    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        interrupted()
    for attempt in attempts(store):
        with pytest.raises(StoreUnavailable, match="cannot be reached") as caught:
            attempt()
        assert caught.value.__cause__ is not None
    private_postgres.start()
    assert names(store) == {"before"}
    add(store, "after")
    assert names(store) == {"before", "after"}
    store.close()


def test_who_stood_still_in_a_transaction_is_told_to_try_again(postgres_url: str) -> None:
    store = Store(postgres_url)

    def stand_still() -> None:
        with store.write() as conn, psycopg.connect(postgres_url, autocommit=True) as other:
            conn.execute(text("SET LOCAL idle_in_transaction_session_timeout = 1"))
            pid = _driven(conn).info.backend_pid
            while other.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone():
                pass

    with pytest.raises(StoreUnavailable, match="idle-in-transaction"):
        stand_still()
    store.ping()
    store.close()


def test_a_server_whose_machine_is_gone_is_not_waited_for(postgres_url: str) -> None:
    for url, silent_s in ((postgres_url, 10), (f"{postgres_url}?keepalives_idle=77", 77)):
        store = Store(url)
        with store.read() as conn, socket.socket(fileno=os.dup(_driven(conn).fileno())) as line:
            assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == silent_s
            assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 20_000
        store.close()


def _driven(conn: Connection) -> psycopg.Connection[tuple[object, ...]]:
    connection = conn.connection.driver_connection
    assert isinstance(connection, psycopg.Connection)
    return connection


@pytest.fixture(scope="module")
def fragile() -> Iterator[PrivateServer]:
    """A server that is ended again and again."""
    server = start_private_server()
    yield server
    server.remove()


def terminate(server: PrivateServer) -> None:
    """Every connection is ended by an administrator; the server goes on."""
    with psycopg.connect(server.url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )


class Ending(list[tuple[object, ...]]):
    """Rows that end the server's connections, or the server, when half of them have been sent."""

    def __init__(self, rows: list[tuple[object, ...]], end: Callable[[], None]) -> None:
        super().__init__(rows)
        self._end = end

    def __iter__(self) -> Iterator[tuple[object, ...]]:
        for number, row in enumerate(super().__iter__()):
            if number == len(self) // 2:
                self._end()
            yield row


def between_statements(store: Store, end: Callable[[], None]) -> None:
    with store.write() as conn:
        checks.insert_many(conn, [check(1, 5)])
        end()
        states.write_many(conn, [(key(1), State())])


def between_writing_and_committing(store: Store, end: Callable[[], None]) -> None:
    with store.write() as conn:
        checks.insert_many(conn, [check(1, 5)])
        end()


def within_a_copy(store: Store, end: Callable[[], None]) -> None:
    columns = ("target_id", "at_ms", "result")
    with store.write() as conn:
        fast.insert_many(conn, late_checks, columns, Ending([(1, number, 1) for number in range(100_000)], end))


def within_a_savepoint(store: Store, end: Callable[[], None]) -> None:
    with store.write() as conn, conn.begin_nested():
        end()
        checks.insert_many(conn, [check(1, 5)])


def within_a_read(store: Store, end: Callable[[], None]) -> None:
    with store.read() as conn:
        locations.names(conn)
        end()
        locations.names(conn)


def outside_a_transaction(store: Store, end: Callable[[], None]) -> None:
    with store.statements() as conn:
        conn.execute(text("SELECT 1"))
        end()
        conn.execute(text("SELECT 1"))


MOMENTS = [
    between_statements,
    between_writing_and_committing,
    within_a_copy,
    within_a_savepoint,
    within_a_read,
    outside_a_transaction,
]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("how", ["terminated", "stopped", "crashed"])
def test_a_server_lost_at_any_moment_is_an_outage_until_it_is_back(
    fragile: PrivateServer, moment: Callable[[Store, Callable[[], None]], None], how: str
) -> None:
    """The same store goes on by itself, with every connection of its pool; of what was cut off nothing is there."""
    store = Store(fragile.create_database(), pool_size=3)
    with store.read(), store.read(), store.read():  # all of them are open
        pass
    end = {"terminated": lambda: terminate(fragile), "stopped": fragile.stop, "crashed": fragile.crash}[how]
    try:
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            moment(store, end)
        if how != "terminated":
            with pytest.raises(StoreUnavailable, match="cannot be reached"):
                store.ping()
    finally:
        if fragile.process is None:
            fragile.start()
    with store.read() as first, store.read() as second, store.read() as third:
        for conn in (first, second, third):
            assert checks.of_target(conn, 1, from_ms=0, to_ms=9, limit=9) == []
            assert conn.execute(select(func.count()).select_from(late_checks)).scalar() == 0
    with store.write() as conn:
        assert checks.insert_many(conn, [check(1, 5)]) == 1
    store.close()


def test_a_server_that_starts_is_an_outage_until_it_has_started(fragile: PrivateServer) -> None:
    """It refuses connections, then says that it is starting up, and then answers."""
    store = Store(fragile.create_database(), connect_timeout_s=2)
    store.ping()
    fragile.crash()
    answers: list[str] = []
    starting = threading.Thread(target=fragile.start)
    starting.start()
    while not answers or answers[-1]:
        try:
            store.ping()
            answers.append("")
        except StoreUnavailable as error:
            answers.append(str(error))
    starting.join()
    assert all("cannot be reached" in answer for answer in answers[:-1])
    store.close()


def test_a_server_with_no_room_for_another_connection_is_an_outage(fragile: PrivateServer) -> None:
    url = make_url(fragile.create_database())
    with psycopg.connect(fragile.url, autocommit=True) as other:
        other.execute(f"ALTER DATABASE {url.database} CONNECTION LIMIT 0".encode())
        other.execute("CREATE ROLE guest LOGIN")  # an owner would be let in
    guest = Store(url.set(username="guest").render_as_string())
    with pytest.raises(StoreUnavailable, match="too many connections"):
        guest.ping()
    guest.close()


def test_a_standby_takes_no_writes_and_says_so(postgres_url: str) -> None:
    store = Store(postgres_url)

    def write() -> None:
        with store.write() as conn:
            conn.execute(text("SET TRANSACTION READ ONLY"))  # as every transaction of a standby is
            locations.ensure(conn, "x")

    with pytest.raises(StoreUnavailable, match="takes no writes"):
        write()
    store.close()


def test_a_row_held_by_another_is_busy(postgres_url: str) -> None:
    store = Store(postgres_url, busy_timeout_s=0.1)
    with store.write() as conn:
        states.write_many(conn, [(key(1), State())])
    with psycopg.connect(postgres_url) as other:
        other.execute("SELECT * FROM states FOR UPDATE")
        with pytest.raises(StoreBusy, match="lock was held too long"), store.write() as conn:
            states.read_many(conn, [key(1)])
    with store.write() as conn:
        assert states.read_many(conn, [key(1)]) == {key(1): State()}
    store.close()


def test_a_statement_that_never_ends_is_ended(postgres_url: str) -> None:
    store = Store(postgres_url, statement_timeout_s=0.1)
    with pytest.raises(StoreBusy, match="too long"), store.read() as conn:
        conn.execute(text("SELECT pg_sleep(60)"))
    store.close()


def test_two_new_writers_of_one_state_wait_for_each_other(postgres_url: str) -> None:
    """Neither finds a row to lock: the first makes it, the second waits for that and reads what it wrote."""
    store = Store(postgres_url)
    begun = threading.Event()
    seen: list[State] = []

    def second() -> None:
        begun.set()
        with store.write() as conn:
            seen.append(states.read_many(conn, [key(1)])[key(1)])

    thread = threading.Thread(target=second)
    with store.write() as conn:
        states.read_many(conn, [key(1)])
        thread.start()
        begun.wait()
        states.write_many(conn, [(key(1), State(failures=7))])
    thread.join()
    assert seen == [State(failures=7)]
    store.close()
