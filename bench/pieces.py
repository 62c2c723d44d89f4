"""The measurements, each bounded in time and independent of the others. None knows what a good value would be."""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil

from bench import peer
from bench.figures import Figure
from bench.history import generate
from bench.stand import Span, cores, measured, pinned, seed, span
from tests.running import PASSWORD, Tocsin
from tocsin.core.rollup import DAY_MS
from tocsin.lib.clock import SYSTEM_CLOCK
from tocsin.store.engine import Store


class Lengths(NamedTuple):
    """How long each piece looks, seconds."""

    engine_s: float
    path_s: float
    steady_s: float
    many_s: float
    starts: int
    history_targets: int
    storage_targets: int


FULL = Lengths(engine_s=5, path_s=20, steady_s=60, many_s=40, starts=3, history_targets=1000, storage_targets=5000)
QUICK = Lengths(engine_s=1, path_s=6, steady_s=12, many_s=8, starts=1, history_targets=100, storage_targets=500)

PATH_TARGETS = 6000
"""Each every second. With far more than can be done, connections wait for each other and less is done than could be."""


def starting(place: Path, lengths: Lengths) -> Iterator[Figure]:
    """How soon ``tocsin up`` is ready, and what it holds of memory with only its own target."""
    first, again = [], []
    for number in range(lengths.starts):
        with measured(place / f"start-{number}") as tocsin:
            first.append(tocsin.ready_s)
            tocsin.stop()
            tocsin.start()
            again.append(tocsin.ready_s)
            if number == lengths.starts - 1:
                time.sleep(10)
                memory = psutil.Process(tocsin.process.pid).memory_info().rss
    yield Figure("first_ready_s", statistics.median(first), "s")
    yield Figure("ready_s", statistics.median(again), "s")
    yield Figure("idle_memory_mb", memory / 1e6, "MB")


def path(place: Path, urls: Sequence[str], lengths: Lengths, rival: peer.Peer | None) -> Iterator[Figure]:
    """From the schedule to the stored verdict: every second as many are due as one core should be able to do."""
    with measured(place / "path", urls, count=PATH_TARGETS, interval_s=1) as tocsin:
        time.sleep(6)
        before, began = _stored(tocsin), time.monotonic()
        seen = span(tocsin, lengths.path_s)
        after, took_s = _stored(tocsin), time.monotonic() - began
    theirs = None
    if rival is not None:
        probed = asyncio.run(peer.probe(rival, urls, seconds=lengths.engine_s))
        theirs = probed.checks / probed.seconds
    yield Figure(
        "http_path_checks_per_s",
        (after - before) / took_s,
        "checks/s",
        rival and peer.NAME,
        theirs,
    )
    yield Figure("path_cpu_ms_per_check", seen.cpu_s * 1000 / seen.checks, "ms")


def _stored(tocsin: Tocsin) -> int:
    uri = f"file:{tocsin.data_dir / 'tocsin.db'}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=30)) as database:
        count: int = database.execute("SELECT count(*) FROM checks").fetchone()[0]
        return count


def steady(place: Path, urls: Sequence[str], lengths: Lengths, rival: peer.Peer | None) -> Iterator[Figure]:
    """1,000 targets every 20 s: what a check costs, how late it starts, alone and while people work; a restart."""
    with measured(place / "steady", urls, count=1000, interval_s=20) as tocsin:
        time.sleep(22)
        calm = span(tocsin, lengths.steady_s)
        theirs = None
        if rival is not None:
            probed = asyncio.run(peer.probe(rival, urls, seconds=lengths.steady_s / 3, per_s=50))
            theirs = probed.cpu_s * 1000 / probed.checks
        name = rival and peer.NAME
        cost_ms = calm.cpu_s * 1000 / calm.checks
        yield Figure("cpu_ms_per_check", cost_ms, "ms", name, theirs)
        yield Figure("cpu_ms_per_1000_checks", cost_ms * 1000, "ms", name, theirs and theirs * 1000)
        yield from _lateness("start_lateness", calm)
        yield Figure("memory_1000_mb", psutil.Process(tocsin.process.pid).memory_info().rss / 1e6, "MB")
        with _in_use(tocsin) as opened:
            busy = span(tocsin, lengths.steady_s / 2)
        yield from _lateness("start_lateness_in_use", busy)
        yield Figure("pages_opened_meanwhile", opened[0] / busy.seconds, "requests/s")
        tocsin.stop()
        yield Figure("restart_coverage_s", _coverage_s(tocsin, 1000), "s")


def _lateness(name: str, seen: Span) -> Iterator[Figure]:
    yield Figure(f"{name}_p50_ms", seen.lateness_percentile_ms(0.50), "ms")
    yield Figure(f"{name}_p99_ms", seen.lateness_percentile_ms(0.99), "ms")


@contextmanager
def _in_use(tocsin: Tocsin) -> Iterator[list[int]]:
    """Two people who sign in and open page after page; gives how many requests they made."""
    over = threading.Event()
    opened = [0]
    failed: list[Exception] = []
    ids = [target["id"] for target in tocsin.get("/v1/targets?limit=50")["items"]]  # type: ignore[attr-defined]

    def person(first: int) -> None:
        turn = first
        while not over.is_set():
            with httpx.Client(base_url=tocsin.address, timeout=30) as browser:
                browser.post("/v1/session", json={"name": "admin", "password": PASSWORD}).raise_for_status()
                target = ids[turn % len(ids)]
                for page in (
                    "/",
                    "/v1/overview",
                    "/v1/targets?limit=1000&expand=summary",
                    f"/v1/targets/{target}",
                    f"/v1/targets/{target}/summary",
                    f"/v1/targets/{target}/latency",
                    f"/v1/targets/{target}/checks",
                ):
                    browser.get(page).raise_for_status()
                    opened[0] += 1
                    if over.wait(0.05):
                        return
            turn += 2

    def safely(first: int) -> None:
        try:
            person(first)
        except httpx.HTTPError as error:
            failed.append(error)

    people = [threading.Thread(target=safely, args=(number,)) for number in range(2)]
    for one in people:
        one.start()
    try:
        yield opened
    finally:
        over.set()
        for one in people:
            one.join()
    if failed:
        raise failed[0]


def _coverage_s(tocsin: Tocsin, count: int) -> float:
    """How long after it was ready again every target has been probed: the last one's first slot."""
    began_ms = time.time() * 1000
    tocsin.start()
    ready_ms = time.time() * 1000
    uri = f"file:{tocsin.data_dir / 'tocsin.db'}?mode=ro"
    deadline = time.monotonic() + 60
    with closing(sqlite3.connect(uri, uri=True, timeout=30)) as database:
        while True:
            probed, last_ms = database.execute(
                "SELECT count(*), max(first_ms) FROM "
                "(SELECT min(at_ms) AS first_ms FROM checks WHERE at_ms >= ? GROUP BY target_id)",
                (began_ms,),
            ).fetchone()
            if probed >= count:
                return float(max(0.0, last_ms - ready_ms) / 1000)
            if time.monotonic() > deadline:
                raise TimeoutError(f"after a minute {count - probed} targets had not been probed again")
            time.sleep(0.5)


def many(place: Path, urls: Sequence[str], lengths: Lengths) -> Iterator[Figure]:
    """10,000 targets every 10 s."""
    with measured(place / "many", urls, count=10_000, interval_s=10) as tocsin:
        time.sleep(15)
        seen = span(tocsin, lengths.many_s)
        memory = psutil.Process(tocsin.process.pid).memory_info().rss
    yield from _lateness("start_lateness_10000", seen)
    yield Figure("checks_per_s_10000", seen.checks / seen.seconds, "checks/s")
    yield Figure("cpu_share_10000", seen.cpu_s / seen.seconds, "of one core")
    yield Figure("memory_10000_mb", memory / 1e6, "MB")


ASKED = 15
"""How often each question is asked; the median counts."""


def history(place: Path, urls: Sequence[str], lengths: Lengths) -> Iterator[Figure]:
    """With a year of history: the questions the web app asks for its list and for a target's page, over HTTP."""
    tocsin = Tocsin(place / "history", wrap=pinned(cores().measured))
    count, now_ms = lengths.history_targets, SYSTEM_CLOCK.now_ms()
    seed(tocsin, urls, count=count, interval_s=60, created_ms=now_ms - 400 * DAY_MS)
    store = Store(f"sqlite:///{tocsin.data_dir / 'tocsin.db'}")
    try:
        generate(store, count, now_ms=now_ms, raw_days=1)
    finally:
        store.close()
    try:
        tocsin.start()
        key = tocsin.key
        with httpx.Client(
            base_url=tocsin.address, timeout=60, headers={"Authorization": f"Bearer {key}", "Accept-Encoding": "gzip"}
        ) as browser:

            def answered_ms(*paths: str) -> float:
                """All of them one after the other, as the page's data takes at most."""
                taken = []
                for _ in range(ASKED):
                    began = time.perf_counter()
                    for one in paths:
                        browser.get(one).raise_for_status()
                    taken.append((time.perf_counter() - began) * 1000)
                return statistics.median(taken)

            one = f"/v1/targets/{count // 2}"
            yield Figure("list_with_summaries_ms", answered_ms(f"/v1/targets?limit={count}&expand=summary"), "ms")
            page = (one, f"{one}/summary", f"{one}/latency", f"{one}/transitions", f"{one}/checks?limit=50")
            yield Figure("target_page_ms", answered_ms(*page), "ms")
            yield Figure("overview_ms", answered_ms("/v1/overview"), "ms")
        tocsin.stop()
    finally:
        if tocsin.is_running():
            tocsin.kill()
