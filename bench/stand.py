"""What the measurements stand on: a target to probe, the peer, and Tocsin, each on a core of its own where it can be.

Everything here is a process that is started, pinned and ended again; nothing looks inside Tocsin.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Final, NamedTuple

import httpx
import psutil

from tests.running import Tocsin, free_port
from tocsin.catalog import targets
from tocsin.lib.clock import SYSTEM_CLOCK
from tocsin.lib.vault import Vault
from tocsin.store.engine import Store

PORTS: Final = 8
"""The target listens on several, so that closed connections do not run out of local ports."""


class Cores(NamedTuple):
    """Where the measured process runs, and where everything else does. The same one where there is only one."""

    measured: int
    others: int


@cache
def cores() -> Cores:
    """Asked once: later this process may be kept to one of them."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(allowed[0], allowed[-1])


def pinned(core: int) -> tuple[str, ...]:
    return ("taskset", "-c", str(core)) if shutil.which("taskset") else ()


@contextmanager
def process(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    output: IO[bytes] | int = subprocess.DEVNULL,
) -> Iterator[psutil.Process]:
    """Runs it until the end of the block."""
    started = subprocess.Popen(command, env={**os.environ, **(environment or {})}, stdout=output, stderr=output)
    try:
        yield psutil.Process(started.pid)
    finally:
        started.terminate()
        try:
            started.wait(10)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def answers(url: str, *, within_s: float = 10.0) -> None:
    """Returns once ``url`` is answered."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            httpx.get(url, timeout=1)
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


@contextmanager
def nginx(place: Path) -> Iterator[list[str]]:
    """A web server that answers every request with two bytes; gives its addresses. Needs the system's nginx."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        raise FileNotFoundError("the measurements probe nginx, which is not installed (apt-get install nginx-light)")
    ports = [free_port() for _ in range(PORTS)]
    place = place / "nginx"
    place.mkdir(parents=True, exist_ok=True)
    temporary = "\n".join(
        f"{kind}_temp_path {place}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    listen = "\n".join(f"listen 127.0.0.1:{port} backlog=4096;" for port in ports)
    config = place / "nginx.conf"
    config.write_text(
        f"""
        daemon off; worker_processes 1; pid {place}/pid; error_log {place}/error.log crit;
        worker_rlimit_nofile 65536;
        events {{ worker_connections 16384; }}
        http {{
            access_log off; keepalive_requests 1000000; {temporary}
            server {{ {listen} location / {{ default_type text/plain; return 200 "ok"; }} }}
        }}
        """
    )
    with process([*pinned(cores().others), program, "-p", str(place), "-c", str(config)]):
        urls = [f"http://127.0.0.1:{port}/" for port in ports]
        answers(urls[-1])
        yield urls


def seed(tocsin: Tocsin, urls: Sequence[str], *, count: int, interval_s: float, created_ms: int | None = None) -> None:
    """Registers ``count`` targets in a stopped installation: the first through the catalog, the others as its copies,
    because one at a time 10,000 take half a minute."""
    tocsin.data_dir.mkdir(parents=True, exist_ok=True)
    path = tocsin.data_dir / "tocsin.db"
    store = Store(f"sqlite:///{path}")
    try:
        store.migrate()
        first = {
            "name": "target 0",
            "kind": "http",
            "url": f"{urls[0]}0",
            "interval_s": interval_s,
            "tags": ["seeded"],
            "assert": ["status == 200"],
        }
        vault = Vault.in_directory(tocsin.data_dir)
        with store.write() as conn:
            targets.create(conn, first, vault=vault, now_ms=created_ms or SYSTEM_CLOCK.now_ms())
    finally:
        store.close()
    with closing(sqlite3.connect(path)) as database, database:
        database.row_factory = sqlite3.Row
        row = dict(database.execute("SELECT * FROM targets").fetchone())
        copies = (
            row
            | {
                "endpoint": f"{urls[number % len(urls)]}{number}",
                "id": row["id"] + number,
                "name": f"target {number}",
                "slug": f"target-{number}",
                "settings": json.dumps(json.loads(row["settings"]) | {"url": f"{urls[number % len(urls)]}{number}"}),
                "revision": row["revision"] + number,
            }
            for number in range(1, count)
        )
        columns = ", ".join(row)
        values = ", ".join(f":{column}" for column in row)
        database.executemany(f"INSERT INTO targets ({columns}) VALUES ({values})", copies)
        database.execute("UPDATE revisions SET value = ? WHERE name = 'targets'", (row["revision"] + count,))


@contextmanager
def measured(place: Path, urls: Sequence[str] = (), *, count: int = 0, interval_s: float = 20.0) -> Iterator[Tocsin]:
    """``tocsin up`` on the measured core, with ``count`` targets beside its own."""
    tocsin = Tocsin(place, wrap=pinned(cores().measured))
    if count:
        seed(tocsin, urls, count=count, interval_s=interval_s)
    try:
        tocsin.start()
        yield tocsin
        tocsin.stop()
    finally:
        if tocsin.is_running():
            tocsin.kill()


class Span(NamedTuple):
    """What one stretch of time cost and brought."""

    seconds: float
    cpu_s: float
    checks: float
    lateness_ms: Mapping[float, float]
    """Checks whose start was at most so many milliseconds late, cumulated; as the histogram counts them."""

    def lateness_percentile_ms(self, share: float) -> float:
        """Within a bucket of the histogram the starts are taken to be spread evenly; 0 when nothing started."""
        wanted = share * max(self.lateness_ms.values(), default=0.0)
        if not wanted:
            return 0.0
        below_ms, below = 0.0, 0.0
        for bound_ms, count in sorted(self.lateness_ms.items()):
            if count >= wanted:
                inside = (wanted - below) / (count - below) if count > below else 1.0
                return below_ms if bound_ms == float("inf") else below_ms + inside * (bound_ms - below_ms)
            below_ms, below = bound_ms, count
        return below_ms


_BUCKET: Final = 'tocsin_check_start_lateness_seconds_bucket{le="'


def span(tocsin: Tocsin, seconds: float) -> Span:
    """Watches it for so long."""
    watched = psutil.Process(tocsin.process.pid)

    def cpu_s() -> float:
        times = watched.cpu_times()
        return float(times.user + times.system)

    before, cpu_before, began = tocsin.metrics(), cpu_s(), time.monotonic()
    time.sleep(seconds)
    cpu_after, after, took_s = cpu_s(), tocsin.metrics(), time.monotonic() - began
    return Span(
        seconds=took_s,
        cpu_s=cpu_after - cpu_before,
        checks=sum(
            value - before.get(name, 0) for name, value in after.items() if name.startswith("tocsin_checks_total{")
        ),
        lateness_ms={bound: count - lateness_of(before).get(bound, 0) for bound, count in lateness_of(after).items()},
    )


def lateness_of(metrics: Mapping[str, float]) -> dict[float, float]:
    """Checks whose start was at most so many milliseconds late, cumulated, from the samples of ``/metrics``."""
    return {
        float(name.removeprefix(_BUCKET).rstrip('"}')) * 1000: value
        for name, value in metrics.items()
        if name.startswith(_BUCKET)
    }
