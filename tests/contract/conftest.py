"""Every engine behind the same tests: a fresh, migrated store on each."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.postgres import timescale_is_there
from tocsin.store.engine import Store


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "migrated.db"
    store = Store(f"sqlite:///{path}")
    store.migrate()
    store.close()
    return path


# One test says that TimescaleDB is missing where it is, not every test there is: tests/contract/test_engines.py.
ENGINES: Final = ("sqlite", "postgresql", *(["timescaledb"] if timescale_is_there() else []))


@pytest.fixture(params=ENGINES)
def store_url(request: pytest.FixtureRequest, migrated_file: Path, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{shutil.copy(migrated_file, tmp_path / 'tocsin.db')}"
    return str(request.getfixturevalue("postgres_url" if request.param == "postgresql" else "timescale_url"))


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    opened = Store(store_url)
    yield opened
    opened.close()
