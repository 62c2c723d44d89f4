"""The real Tocsin as processes of its own, for tests and measurements that look at it from outside only.

An installation is whole (``Tocsin``: one ``tocsin up`` on SQLite) or split (``Split``: every role a process or several,
on PostgreSQL). Both are started, stopped, asked and looked at in the same way.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import cycle
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
import psycopg

PASSWORD: Final = "correct horse battery"
STARTED_WITHIN_S: Final = 60.0
"""Generous: a machine under load must not fail a test. What a start really takes is in ``ready_s``."""
SECRET_KEY: Final = "one key for all the processes of it"

ROLES: Final[Mapping[str, int]] = {"api": 2, "worker": 2, "alerts": 1, "keeper": 1, "aggregator": 1}
"""How many processes of each a split installation has."""

T = TypeVar("T")


class Process:
    """One ``tocsin …``. ``start`` and ``stop`` may be called again and again."""

    def __init__(
        self,
        command: Sequence[str],
        place: Path,
        environment: Mapping[str, str],
        *,
        name: str = "tocsin",
        port: int | None,
    ) -> None:
        """``place`` is where it runs and logs; ``port`` is where it answers ``/health/ready``."""
        self.name: Final = name
        self.log: Final = place / f"{name}.log"
        self.address: Final = f"http://127.0.0.1:{port}"
        self.ready_s = 0.0
        self._command = list(command)
        self._place = place
        self.environment = dict(environment)
        self._popen: subprocess.Popen[bytes] | None = None
        self._began_s = 0.0

    @property
    def popen(self) -> subprocess.Popen[bytes]:
        assert self._popen is not None, f"{self.name} was not started"
        return self._popen

    def start(self) -> None:
        """Without waiting for anything."""
        self._began_s = time.monotonic()
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                self._command, cwd=self._place, env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )

    def wait_ready(self) -> None:
        deadline = time.monotonic() + STARTED_WITHIN_S
        while not self.is_ready():
            assert self.is_running(), f"{self.name} ended with {self.popen.returncode}:\n{self.tail()}"
            assert time.monotonic() < deadline, f"{self.name} does not get ready:\n{self.tail()}"
            time.sleep(0.02)
        self.ready_s = time.monotonic() - self._began_s

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.address}/health/ready", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def is_running(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    def stop(self, *, within_s: float = STARTED_WITHIN_S) -> int:
        """SIGTERM; returns the exit code."""
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(within_s)

    def kill(self) -> None:
        """SIGKILL: no word of warning."""
        self.popen.kill()
        self.popen.wait()

    def suspend(self) -> None:
        """SIGSTOP: it does nothing any more, and does not know."""
        self.popen.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.popen.send_signal(signal.SIGCONT)

    def tail(self, lines: int = 40) -> str:
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-lines:])


class Installation(ABC):
    """What tests do with an installation, however it runs. Everything but ``rows`` goes over what is public."""

    address: str
    """Of the web server, or of the first."""
    grpc_port: int
    """Of the aggregator."""
    processes: Sequence[Process]
    """In the order in which they are started."""

    def __init__(self, place: Path, environment: Mapping[str, str]) -> None:
        self.place: Final = place
        self.environment: Final = dict(environment)
        self._key: str | None = None

    # ── its processes ─────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        for process in self.processes:
            process.start()
        for process in self.processes:
            process.wait_ready()

    def stop(self, *, within_s: float = STARTED_WITHIN_S) -> int:
        """SIGTERM to all at once; returns the largest exit code."""
        for process in self.processes:
            process.popen.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + within_s
        return max(process.popen.wait(max(0.1, deadline - time.monotonic())) for process in self.processes)

    def kill(self) -> None:
        """SIGKILL to all that still run."""
        for process in self.processes:
            if process.is_running():
                process.kill()

    def is_running(self) -> bool:
        return any(process.is_running() for process in self.processes)

    def tail(self, lines: int = 40) -> str:
        return "\n".join(f"── {process.name}\n{process.tail(lines)}" for process in self.processes)

    def command(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """``tocsin …`` on the same installation, whether it runs or not."""
        return subprocess.run(
            [sys.executable, "-m", "tocsin", *arguments],
            cwd=self.place,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def outpost(self, location: str) -> Process:
        """A worker there that reaches the aggregator and no database; not started yet and none of ``processes``."""
        made = self.command("keys", "create", location, "--scope", "probe")
        assert made.returncode == 0, made.stderr
        port = free_port()
        settings = {
            "TOCSIN_DATA_DIR": str(self.place / location),
            "TOCSIN_LOCATION": location,
            "TOCSIN_AGGREGATOR_URL": f"grpc://127.0.0.1:{self.grpc_port}",
            "TOCSIN_AGGREGATOR_KEY": made.stdout.strip(),
            "TOCSIN_HEALTH_PORT": str(port),
            "TOCSIN_METRICS_PUBLIC": "true",
        }
        return Process(
            [sys.executable, "-m", "tocsin", "worker"], self.place, _environment(settings), name=location, port=port
        )

    @abstractmethod
    def next_address(self) -> str:
        """Of the web server whose turn it is."""

    @abstractmethod
    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Read past the server, from the database itself."""

    # ── the API ───────────────────────────────────────────────────────────────────────────────────

    @property
    def key(self) -> str:
        """A key with every right, made by the command line."""
        if self._key is None:
            made = self.command("keys", "create", "test", "--scope", "admin")
            assert made.returncode == 0, made.stderr
            self._key = made.stdout.strip()
        return self._key

    def request(
        self, method: str, path: str, *, expect: int | None = None, at: str | None = None, **rest: Any
    ) -> httpx.Response:
        """``at`` is the address of one process; otherwise the web servers that run have their turns, as a load balancer
        would have it."""
        headers = {"Authorization": f"Bearer {self.key}"}
        answer = httpx.request(method, (at or self.next_address()) + path, headers=headers, timeout=30, **rest)
        wanted = {expect} if expect is not None else {200, 201, 202, 204}
        assert answer.status_code in wanted, f"{method} {path} answered {answer.status_code}: {answer.text}"
        return answer

    def get(self, path: str) -> dict[str, object]:
        answer: dict[str, object] = self.request("GET", path).json()
        return answer

    def post(self, path: str, body: object = None) -> dict[str, object]:
        answer: dict[str, object] = self.request("POST", path, json=body).json()
        return answer

    def items(self, path: str) -> list[dict[str, object]]:
        """Every item of a list, over all its pages."""
        found: list[dict[str, object]] = []
        cursor: object = None
        while True:
            joint = "&" if "?" in path else "?"
            page = self.get(path if cursor is None else f"{path}{joint}cursor={cursor}")
            items = page["items"]
            assert isinstance(items, list)
            found += items
            cursor = page["next"]
            if cursor is None:
                return found

    def metrics(self) -> dict[str, float]:
        """Every sample of every process's ``/metrics`` by its name with labels, as it is written there; of the same
        sample in several processes, the sum."""
        found: dict[str, float] = {}
        for process in self.processes:
            text = self.request("GET", "/metrics", at=process.address).text
            for line in text.splitlines():
                if line and not line.startswith("#"):
                    name, _, value = line.rpartition(" ")
                    found[name] = found.get(name, 0) + float(value)
        return found

    def wait_until(self, look: Callable[[], T], *, within_s: float = 60.0, what: str = "", every_s: float = 0.1) -> T:
        """What ``look`` gives once it is true. Fails with the logs' ends when it never is."""
        deadline = time.monotonic() + within_s
        while True:
            found = look()
            if found:
                return found
            assert time.monotonic() < deadline, (
                f"waited {within_s:g} s in vain {what or look.__name__}; the log ends:\n{self.tail()}"
            )
            time.sleep(every_s)


def _environment(chosen: Mapping[str, str | None]) -> dict[str, str]:
    """This process's, with ``chosen`` in place of whatever settings it has; None takes one away."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    return mine | {name: value for name, value in chosen.items() if value is not None}


class Tocsin(Installation):
    """One process on SQLite, in a data directory of its own."""

    def __init__(
        self,
        place: Path,
        settings: Mapping[str, str | None] | None = None,
        *,
        wrap: tuple[str, ...] = (),
    ) -> None:
        """``settings`` are environment variables; None takes one away. ``wrap`` goes before the command, such as
        ``("taskset", "-c", "0")``."""
        place.mkdir(parents=True, exist_ok=True)
        self.data_dir: Final = place / "data"
        self.port: Final = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.grpc_port = free_port()
        chosen = {
            "TOCSIN_DATA_DIR": str(self.data_dir),
            "TOCSIN_PORT": str(self.port),
            "TOCSIN_GRPC_PORT": str(self.grpc_port),
            "TOCSIN_ADMIN_PASSWORD": PASSWORD,
            "TOCSIN_COLLECT": "false",  # what else this machine does is no part of a test
            **(settings or {}),
        }
        super().__init__(place, _environment(chosen))
        command = [*wrap, sys.executable, "-m", "tocsin", "up"]
        self._only = Process(command, place, self.environment, port=self.port)
        self.processes = (self._only,)
        self.log: Final = self._only.log

    @property
    def process(self) -> subprocess.Popen[bytes]:
        return self._only.popen

    @property
    def ready_s(self) -> float:
        return self._only.ready_s

    def next_address(self) -> str:
        return self.address

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self.data_dir / 'tocsin.db'}?mode=ro", uri=True)) as database:
            return database.execute(query).fetchall()


class Split(Installation):
    """Every role in processes of their own, each with a data directory of its own as on machines of their own."""

    def __init__(
        self,
        place: Path,
        database_url: str,
        settings: Mapping[str, str | None] | None = None,
        *,
        roles: Mapping[str, int] = ROLES,
    ) -> None:
        """On a database that exists; ``roles`` says how many processes of each."""
        place.mkdir(parents=True, exist_ok=True)
        first_port = free_port()
        self.address = f"http://127.0.0.1:{first_port}"
        self.grpc_port = free_port()
        chosen: dict[str, str | None] = {
            "TOCSIN_DATA_DIR": str(place / "data"),
            "TOCSIN_DATABASE_URL": database_url,
            "TOCSIN_SECRET_KEY": SECRET_KEY,
            "TOCSIN_PUBLIC_URL": self.address,
            "TOCSIN_GRPC_PORT": str(self.grpc_port),
            "TOCSIN_ADMIN_PASSWORD": PASSWORD,
            **(settings or {}),
        }
        super().__init__(place, _environment(chosen))
        self.database_url: Final = database_url
        self.processes = [
            self.make(role, f"{role}-{number}", port=first_port if (role, number) == ("api", 1) else free_port())
            for role, count in roles.items()
            for number in range(1, count + 1)
        ]
        self._turns = cycle(self.of("api"))

    def make(
        self, role: str, name: str, *, port: int, tocsin: Sequence[str] = (sys.executable, "-m", "tocsin")
    ) -> Process:
        """One more, not started yet and none of ``processes``. ``tocsin`` is what stands for the command."""
        own = {
            "TOCSIN_DATA_DIR": str(self.place / name),
            "TOCSIN_PORT" if role == "api" else "TOCSIN_HEALTH_PORT": str(port),
        }
        return Process([*tocsin, role], self.place, self.environment | own, name=name, port=port)

    def of(self, role: str) -> list[Process]:
        return [process for process in self.processes if process.name.rpartition("-")[0] == role]

    def start(self) -> None:
        migrated = self.command("migrate")
        assert migrated.returncode == 0, migrated.stderr
        super().start()

    def next_address(self) -> str:
        assert any(process.is_running() for process in self.of("api")), "no web server runs"
        return next(process.address for process in self._turns if process.is_running())

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url) as conn:
            return conn.execute(query.encode()).fetchall()


@contextmanager
def running(
    place: Path, settings: Mapping[str, str | None] | None = None, *, wrap: tuple[str, ...] = ()
) -> Iterator[Tocsin]:
    """A started whole installation; killed on leaving if it still runs."""
    with started(Tocsin(place, settings, wrap=wrap)) as tocsin:
        yield tocsin


Running = TypeVar("Running", bound=Installation)


@contextmanager
def started(installation: Running) -> Iterator[Running]:
    """Killed on leaving if it still runs."""
    try:
        installation.start()
        yield installation
    finally:
        installation.kill()


def free_port() -> int:
    """A port nobody listens on now, and that nobody's outgoing connection is given by the system: a server that is
    stopped finds it free again."""
    while True:
        with socket.socket() as listener, suppress(OSError):
            port = random.randrange(*_OWN_PORTS)
            listener.bind(("127.0.0.1", port))
            return port


_OWN_PORTS: Final = (16_384, 32_768)
"""Below those that Linux gives to outgoing connections (``net.ipv4.ip_local_port_range``)."""
