"""What keeps a process from starting is said in one line, with what to do about it, and nothing is half begun."""

from __future__ import annotations

import gc
import logging
import socket
import sys
from collections.abc import Iterator

import pytest
import structlog

from tests.cli.conftest import Commands, Said
from tocsin.catalog import secret_key
from tocsin.lib.vault import Vault
from tocsin.main import ROLES
from tocsin.store.engine import Store

KEY = "one key for all processes"


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """A process that starts sets up its logs, its threads and its memory; this one is not that process."""
    handlers, level, switch_s = logging.root.handlers[:], logging.root.level, sys.getswitchinterval()
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    sys.setswitchinterval(switch_s)
    gc.enable()
    structlog.reset_defaults()


def refused(said: Said) -> str:
    assert said.code == 1
    (line,) = said.err.splitlines()
    assert line.startswith("Tocsin cannot start: ")
    return line


@pytest.fixture
def server(bare: Commands, empty_postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Beside an empty database on a server."""
    monkeypatch.setenv("TOCSIN_DATABASE_URL", empty_postgres_url)
    monkeypatch.setenv("TOCSIN_PORT", "0")
    return bare


@pytest.mark.parametrize("role", ROLES)
def test_a_role_needs_a_database_server(bare: Commands, role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_PORT", "0")
    line = refused(bare(role))
    assert "TOCSIN_DATABASE_URL=postgresql://" in line
    assert "tocsin up" in line
    assert not (bare.place / "data").exists()


@pytest.mark.parametrize("role", ROLES)
def test_a_role_never_migrates(server: Commands, role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_SECRET_KEY", KEY)
    assert "run `tocsin migrate` first" in refused(server(role))
    assert server.ok("migrate", "--json").json["before"] == "empty"


@pytest.mark.parametrize("role", ROLES)
def test_a_role_makes_no_key(server: Commands, role: str) -> None:
    server.ok("migrate")
    assert "TOCSIN_SECRET_KEY" in refused(server(role))
    assert not (server.place / "data").exists()


def test_a_taken_port_for_health_is_said(server: Commands) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = refused(server("worker", "--health-port", port))
    assert f"127.0.0.1:{port}" in line
    assert "TOCSIN_HEALTH_PORT" in line


def test_a_database_that_is_not_there_is_said(bare: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_DATABASE_URL", "postgresql://tocsin@127.0.0.1:1/tocsin")
    assert "cannot be reached" in refused(bare("keeper"))


@pytest.mark.parametrize("role", ["up", *ROLES])
def test_a_process_with_another_key_does_not_start(
    server: Commands, empty_postgres_url: str, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOCSIN_SECRET_KEY", KEY)
    server.ok("migrate")
    store = Store(empty_postgres_url)
    with store.write() as conn:
        secret_key.keep(conn, Vault("the key of another installation"))
    store.close()
    assert "the secret key here is not the one" in refused(server(role))
