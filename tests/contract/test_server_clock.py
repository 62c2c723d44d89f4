"""The time of a whole installation is the database's, where the database is a server."""

from __future__ import annotations

import time

import pytest

from tests.clocks import FakeClock
from tocsin.lib.clock import SharedClock
from tocsin.store import server_clock
from tocsin.store.engine import Store

HOUR_MS = 3_600_000


@pytest.mark.parametrize("ahead_ms", [HOUR_MS, -HOUR_MS])
def test_a_wrong_clock_is_put_right_by_the_server(postgres_url: str, ahead_ms: int) -> None:
    store = Store(postgres_url)
    own = FakeClock(time.time_ns() // 1_000_000 + ahead_ms)
    clock = SharedClock(own)
    server_clock.teach(clock, store)
    store.close()
    assert clock.now_ms() == pytest.approx(own.now_ms() - ahead_ms, abs=HOUR_MS / 10)
    assert clock.ahead_ms == pytest.approx(ahead_ms, abs=HOUR_MS / 10)


def test_a_file_has_no_clock_of_its_own(store: Store) -> None:
    own = FakeClock(5 * HOUR_MS)
    clock = SharedClock(own)
    with store.read() as conn:
        shared_ms = server_clock.now_ms(conn)
    server_clock.teach(clock, store)
    assert (shared_ms is None) == (clock.now_ms() == own.now_ms())
