"""A database whose machine is cut off says nothing at all any more: no refusal, no end of a connection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.relay import Relay
from tests.running import Tocsin, started


@pytest.fixture
def relay(postgres_url: str) -> Iterator[Relay]:
    port = make_url(postgres_url).port
    assert port is not None
    relay = Relay(port)
    yield relay
    relay.close()


def test_the_process_ends_all_the_same(postgres_url: str, relay: Relay, tmp_path: Path) -> None:
    url = make_url(postgres_url).set(port=relay.port).render_as_string(hide_password=False)
    with started(Tocsin(tmp_path, {"TOCSIN_DATABASE_URL": url})) as tocsin:
        relay.hold()
        tocsin.wait_until(lambda: not tocsin.processes[0].is_ready(), what="for it to miss the database")
        assert tocsin.stop() == 1
        assert "leaving without it" in tocsin.processes[0].tail()
