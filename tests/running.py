"""The real ``tocsin up`` as a process of its own, for tests and measurements that look at it from outside only."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import httpx

PASSWORD: Final = "correct horse battery"
STARTED_WITHIN_S: Final = 30.0
"""Generous: a machine under load must not fail a test. What a start really takes is in ``Tocsin.ready_s``."""

T = TypeVar("T")


class Tocsin:
    """One installation in a data directory of its own. ``start`` and ``stop`` may be called again and again."""

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
        self.place: Final = place
        self.data_dir: Final = place / "data"
        self.log: Final = place / "tocsin.log"
        self.port: Final = free_port()
        self.address: Final = f"http://127.0.0.1:{self.port}"
        self.ready_s = 0.0
        self._wrap = wrap
        chosen: dict[str, str | None] = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")},
            "TOCSIN_DATA_DIR": str(self.data_dir),
            "TOCSIN_PORT": str(self.port),
            "TOCSIN_ADMIN_PASSWORD": PASSWORD,
            **(settings or {}),
        }
        self._environment = {name: value for name, value in chosen.items() if value is not None}
        self._process: subprocess.Popen[bytes] | None = None
        self._key: str | None = None

    # ── the process ───────────────────────────────────────────────────────────────────────────────

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "it was not started"
        return self._process

    def start(self, *, wait: bool = True) -> None:
        began = time.monotonic()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._wrap, sys.executable, "-m", "tocsin", "up"],
                cwd=self.place,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        if wait:
            self.wait_until(self._is_ready, within_s=STARTED_WITHIN_S, what="to be ready", every_s=0.02)
            self.ready_s = time.monotonic() - began

    def _is_ready(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"it ended with {self.process.returncode} before it was ready:\n{self.tail()}")
        try:
            return httpx.get(f"{self.address}/health/ready", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def stop(self, *, within_s: float = STARTED_WITHIN_S) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within_s)

    def kill(self) -> None:
        """SIGKILL: no word of warning."""
        self.process.kill()
        self.process.wait()

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-lines:])

    def command(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """``tocsin …`` on the same installation, whether the server runs or not."""
        return subprocess.run(
            [sys.executable, "-m", "tocsin", *arguments],
            cwd=self.place,
            env=self._environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )

    # ── the API ───────────────────────────────────────────────────────────────────────────────────

    @property
    def key(self) -> str:
        """A key with every right, made by the command line."""
        if self._key is None:
            made = self.command("keys", "create", "test", "--scope", "admin")
            assert made.returncode == 0, made.stderr
            self._key = made.stdout.strip()
        return self._key

    def request(self, method: str, path: str, *, expect: int | None = None, **rest: object) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}"}
        answer = httpx.request(method, self.address + path, headers=headers, timeout=30, **rest)  # type: ignore[arg-type]
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
        """Every sample of ``/metrics`` by its name with labels, as it is written there."""
        text = self.request("GET", "/metrics").text
        lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    def wait_until(self, look: Callable[[], T], *, within_s: float = 60.0, what: str = "", every_s: float = 0.1) -> T:
        """What ``look`` gives once it is true. Fails with the log's end when it never is."""
        deadline = time.monotonic() + within_s
        while True:
            found = look()
            if found:
                return found
            assert time.monotonic() < deadline, (
                f"waited {within_s:g} s in vain {what or look.__name__}; the log ends:\n{self.tail()}"
            )
            time.sleep(every_s)


@contextmanager
def running(
    place: Path, settings: Mapping[str, str | None] | None = None, *, wrap: tuple[str, ...] = ()
) -> Iterator[Tocsin]:
    """A started installation; killed on leaving if it still runs."""
    tocsin = Tocsin(place, settings, wrap=wrap)
    try:
        tocsin.start()
        yield tocsin
    finally:
        if tocsin.is_running():
            tocsin.kill()


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
