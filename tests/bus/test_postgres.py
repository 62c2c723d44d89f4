"""What only PostgreSQL does: a server that hangs, addresses with secrets, connections of which there are few."""

from __future__ import annotations

import asyncio
import os
import signal

import psycopg
import pytest
from structlog.testing import capture_logs

from tests.bus.test_bus import LONG_S, hear, linked, settle
from tests.postgres import PrivateServer
from tests.running import free_port
from tocsin.bus import open_bus, postgres
from tocsin.bus.base import TOPICS
from tocsin.lib import metrics


def connections(url: str) -> int:
    with psycopg.connect(url) as conn:
        found = conn.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tocsin bus'").fetchone()
    assert found is not None
    return int(found[0])


async def test_who_only_listens_needs_one_connection(postgres_url: str) -> None:
    with open_bus("postgres://", database_url=postgres_url) as near:
        async with near.listen(TOPICS) as bell:
            await linked(bell)
            assert connections(postgres_url) == 1
            with open_bus("postgres://", database_url=postgres_url) as far:
                await settle(bell, far)
                far.ring("checks")
                await hear(bell, "checks")
                assert connections(postgres_url) == 3
    async with asyncio.timeout(LONG_S):
        while connections(postgres_url):  # noqa: ASYNC110 - the server says nothing when it has closed one
            await asyncio.sleep(0.02)


@pytest.mark.slow
async def test_a_server_that_hangs_is_noticed(private_postgres: PrivateServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "ALIVE_S", 0.1)
    monkeypatch.setattr(postgres, "ANSWER_S", 0.5)
    assert private_postgres.process is not None
    with open_bus("postgres://", database_url=private_postgres.url) as near:
        async with near.listen(TOPICS) as bell:
            await linked(bell)
            os.killpg(private_postgres.process.pid, signal.SIGSTOP)
            try:
                async with asyncio.timeout(LONG_S):
                    while metrics.BUS_UP._value.get():
                        near.ring("checks")
                        await bell.wait(0.05)
            finally:
                os.killpg(private_postgres.process.pid, signal.SIGCONT)
            await hear(bell, *TOPICS)


async def test_a_password_is_never_logged() -> None:
    address = f"127.0.0.1:{free_port()}"
    with capture_logs() as said, open_bus(f"postgres://me:sesame@{address}/tocsin", database_url="") as near:
        async with near.listen(TOPICS) as bell:
            assert await bell.wait(0.5) == frozenset()
    assert [entry["event"] for entry in said] == ["the bus is cut off, timers go on"]
    assert said[0]["server"] == "127.0.0.1"
    assert "sesame" not in str(said)
