"""The engines of the contract suite, and that each keeps history its own way."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.conftest import ENGINES
from tests.postgres import NO_TIMESCALE
from tocsin.store import installation, partitions
from tocsin.store.engine import Store


@pytest.mark.parametrize(
    ("engine", "fixture", "kept"),
    [
        ("sqlite", "migrated_file", "plain"),
        ("postgresql", "postgres_url", "partitions"),
        ("timescaledb", "timescale_url", "timescaledb"),
    ],
)
def test_each_engine_keeps_history_its_own_way(
    engine: str, fixture: str, kept: str, request: pytest.FixtureRequest
) -> None:
    """Where one is missing, this says so for the whole suite."""
    if engine not in ENGINES:
        pytest.skip(NO_TIMESCALE)
    place = request.getfixturevalue(fixture)
    store = Store(f"sqlite:///{place}" if isinstance(place, Path) else place)
    with store.read() as conn:
        assert partitions.time_tables(conn) == kept
        assert installation.get(conn, "time_tables") == kept
    store.close()
