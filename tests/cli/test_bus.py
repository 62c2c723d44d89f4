"""A command that changes something is heard by those who run, and works where nobody hears it."""

from __future__ import annotations

import asyncio

import pytest

from tests.bus.test_bus import hear, settle
from tests.cli.conftest import Commands
from tests.running import free_port
from tocsin.bus import open_bus
from tocsin.bus.base import TOPICS


async def test_a_change_is_heard_at_once(commands: Commands, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_BUS_URL", redis_url)
    with open_bus(redis_url, database_url="") as near, open_bus(redis_url, database_url="") as far:
        async with near.listen(TOPICS) as bell:
            await settle(bell, far)
            await asyncio.to_thread(commands.ok, "target", "add", "http://127.0.0.1:9/", "--name", "shop")
            assert "targets" in await hear(bell, "targets")


def test_a_change_needs_no_bus(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_BUS_URL", f"redis://127.0.0.1:{free_port()}")
    commands.ok("target", "add", "http://127.0.0.1:9/", "--name", "shop")
    assert "shop" in commands.ok("target", "list").out


def test_a_bus_that_cannot_be_is_named(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_BUS_URL", "redis://127.0.0.1?colour=sesame")
    said = commands("target", "add", "http://127.0.0.1:9/", "--name", "shop")
    assert said.code == 2
    assert "TOCSIN_BUS_URL" in said.err
    assert "sesame" not in said.err
