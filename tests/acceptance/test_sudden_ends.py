"""Ends of the process under load, asked for and not: what was found out stays found out, and only once."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from tests.acceptance.conftest import Make
from tests.acceptance.load import Load
from tests.acceptance.servers import Served
from tests.running import Installation, Split, Tocsin, started

TARGETS = 100
ROLES = {"api": 1, "worker": 2, "alerts": 1, "keeper": 1}


@pytest.fixture
def tocsin(make: Make, tmp_path: Path) -> Iterator[Installation]:
    """One of each test's own."""
    with started(make(tmp_path, roles=ROLES)) as installation:
        yield installation


def test_killed_in_the_middle_of_it_nothing_is_broken_or_counted_twice(tocsin: Installation, service: Served) -> None:
    load = Load.begin(tocsin, service.url, count=TARGETS, interval_s=2)
    workers = ROLES["worker"] if isinstance(tocsin, Split) else 1
    for _ in range(2):
        tocsin.kill()
        if isinstance(tocsin, Tocsin):
            assert tocsin.rows("PRAGMA integrity_check") == [("ok",)]
        (newest_ms,) = tocsin.rows("SELECT max(at_ms) FROM checks")[0]
        tocsin.start()
        load.wait_probed_after(newest_ms, "for every target to be probed after the restart")
    load.assert_unharmed(lives=3 * workers)


def test_asked_to_end_it_ends_in_time_and_loses_no_finished_check(tocsin: Installation, service: Served) -> None:
    load = Load.begin(tocsin, service.url, count=TARGETS, interval_s=2)
    assert tocsin.stop(within_s=10) == 0
    listed = ", ".join(map(str, load.ids))
    (stored,) = tocsin.rows(f"SELECT count(*) FROM checks WHERE target_id IN ({listed})")[0]
    assert stored == service.answered


def test_a_hanging_target_delays_neither_the_end_nor_anybody_else(tocsin: Installation, service: Served) -> None:
    with closing(_SilentPort()) as silent:
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
            at_ms for (at_ms,) in tocsin.rows(f"SELECT at_ms FROM checks WHERE target_id = {quick}")
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
