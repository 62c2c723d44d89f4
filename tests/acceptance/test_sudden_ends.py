"""Ends of the process under load, asked for and not: what was found out stays found out, and only once."""

from __future__ import annotations

import socket
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.servers import Served, served
from tests.running import Tocsin

TARGETS = 100


@pytest.fixture
def service() -> Iterator[Served]:
    with served() as service:
        yield service


@pytest.fixture
def tocsin(tmp_path: Path) -> Iterator[Tocsin]:
    tocsin = Tocsin(tmp_path)
    try:
        yield tocsin
    finally:
        if tocsin.is_running():
            tocsin.kill()


def watch(tocsin: Tocsin, service: Served) -> set[int]:
    """Registers many targets that all look at the one service every two seconds; gives their ids."""
    return {
        int(
            str(
                tocsin.post(
                    "/v1/targets",
                    {
                        "name": f"service {number}",
                        "kind": "http",
                        "url": service.url,
                        "interval_s": 2,
                        "timeout_s": 2,
                    },
                )["id"]
            )
        )
        for number in range(TARGETS)
    }


def rows(tocsin: Tocsin, query: str) -> list[tuple[Any, ...]]:
    """Read past the server, from the file itself."""
    with closing(sqlite3.connect(f"file:{tocsin.data_dir / 'tocsin.db'}?mode=ro", uri=True)) as database:
        return database.execute(query).fetchall()


def probed(tocsin: Tocsin, since_ms: int = 0) -> set[int]:
    return {row[0] for row in rows(tocsin, f"SELECT DISTINCT target_id FROM checks WHERE at_ms > {since_ms}")}


def test_killed_in_the_middle_of_it_nothing_is_broken_or_counted_twice(tocsin: Tocsin, service: Served) -> None:
    tocsin.start()
    ids = watch(tocsin, service)
    tocsin.wait_until(lambda: probed(tocsin) >= ids, what="for every target to be probed")
    for _ in range(3):
        tocsin.kill()
        assert rows(tocsin, "PRAGMA integrity_check") == [("ok",)]
        (newest_ms,) = rows(tocsin, "SELECT max(at_ms) FROM checks")[0]
        tocsin.start()
        tocsin.wait_until(
            lambda since_ms=newest_ms: probed(tocsin, since_ms) >= ids,  # type: ignore[misc]
            what="for every target to be probed after the restart",
        )
    tocsin.kill()

    slots = rows(tocsin, "SELECT target_id, at_ms, location_id, count(*) FROM checks GROUP BY 1, 2, 3")
    assert all(count == 1 for *_, count in slots)
    assert not rows(tocsin, "SELECT subject_id, reason FROM transitions WHERE after = 'down'"), "nothing was down"
    chains: dict[tuple[Any, ...], list[tuple[str, str]]] = defaultdict(list)
    for subject_id, location_id, rule, before, after in rows(
        tocsin, "SELECT subject_id, location_id, rule, before, after FROM transitions ORDER BY id"
    ):
        chains[subject_id, location_id, rule].append((before, after))
    for chain in chains.values():
        assert all(one[1] == other[0] for one, other in pairwise(chain))


def test_asked_to_end_it_ends_in_time_and_loses_no_finished_check(tocsin: Tocsin, service: Served) -> None:
    tocsin.start()
    ids = watch(tocsin, service)
    tocsin.wait_until(lambda: probed(tocsin) >= ids, what="for every target to be probed")

    assert tocsin.stop(within_s=10) == 0

    listed = ", ".join(map(str, ids))
    (stored,) = rows(tocsin, f"SELECT count(*) FROM checks WHERE target_id IN ({listed})")[0]
    assert stored == service.answered


def test_a_hanging_target_delays_neither_the_end_nor_anybody_else(tocsin: Tocsin, service: Served) -> None:
    with closing(_SilentPort()) as silent:
        tocsin.start()
        for number in range(50):
            tocsin.post(
                "/v1/targets",
                {
                    "name": f"hangs {number}",
                    "kind": "http",
                    "url": f"http://127.0.0.1:{silent.port}/",
                    "interval_s": 30,
                    "timeout_s": 30,
                },
            )
        tocsin.wait_until(lambda: silent.accepted() >= 50, what="for all hanging checks to be under way")
        quick = tocsin.post(
            "/v1/targets",
            {"name": "quick", "kind": "http", "url": service.url, "interval_s": 2, "timeout_s": 2},
        )["id"]
        history = f"/v1/targets/{quick}/checks"
        tocsin.wait_until(lambda: len(tocsin.items(history)) >= 5, what="for five checks of the quick target")
        assert all(check["ok"] for check in tocsin.items(history))
        first_look, *slots = sorted(
            at_ms for (at_ms,) in rows(tocsin, f"SELECT at_ms FROM checks WHERE target_id = {quick}")
        )
        assert first_look < slots[0]
        assert [other - one for one, other in pairwise(slots)] == [2000] * (len(slots) - 1), "no slot was left out"
        assert tocsin.stop(within_s=10) == 0


class _SilentPort:
    """Accepts connections and never says a word."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(256)
        self._listener.setblocking(False)
        self._open: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]

    def accepted(self) -> int:
        """How many connections there are so far."""
        try:
            while True:
                connection, _ = self._listener.accept()
                self._open.append(connection)
        except BlockingIOError:
            return len(self._open)

    def close(self) -> None:
        for connection in (*self._open, self._listener):
            connection.close()
