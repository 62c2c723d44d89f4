"""Commands on an installation that runs: whoever waits there is woken, and goes by the same key and the same clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.cli.conftest import Commands
from tocsin.bus import open_bus
from tocsin.bus.base import Bell
from tocsin.catalog import secret_key
from tocsin.lib.vault import Vault
from tocsin.store.engine import Store

KEY = "one key for all processes"


@pytest.fixture
def beside(bare: Commands, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Commands:
    monkeypatch.setenv("TOCSIN_DATABASE_URL", postgres_url)
    monkeypatch.setenv("TOCSIN_SECRET_KEY", KEY)
    return bare


@pytest.fixture
async def bell(beside: Commands, postgres_url: str) -> AsyncIterator[Bell]:
    """Of a process that runs, and is linked."""
    with open_bus("postgres://", database_url=postgres_url) as bus:
        async with bus.listen(["targets", "transitions", "channels"]) as bell:
            assert await bell.wait(60), "it says so once it is linked"
            yield bell


@pytest.mark.parametrize(
    ("arguments", "topic"),
    [
        (("target", "add", "tcp://db.test:5432"), "targets"),
        (("target", "pause", "before"), "transitions"),
        (("target", "rm", "before", "--yes"), "targets"),
        (("channel", "add", "hook", "https://hooks.test/"), "channels"),
    ],
)
async def test_what_a_command_changes_is_rung(
    beside: Commands, bell: Bell, arguments: tuple[str, ...], topic: str
) -> None:
    await asyncio.to_thread(beside.ok, "target", "add", "https://before.test", "--name", "before")
    heard: set[str] = set()
    while "targets" not in heard:
        heard |= await bell.wait(60)
    await asyncio.to_thread(beside.ok, *arguments)
    heard = set()
    async with asyncio.timeout(60):
        while topic not in heard:
            heard |= await bell.wait(60)


def test_a_command_with_another_key_seals_nothing(
    beside: Commands, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(postgres_url)
    with store.write() as conn:
        secret_key.keep(conn, Vault(KEY))
    store.close()
    beside.ok("channel", "add", "hook", "https://hooks.test/")

    monkeypatch.setenv("TOCSIN_SECRET_KEY", "the key of another installation")
    refused = beside("channel", "add", "other", "https://hooks.test/")
    assert refused.code == 1
    assert "TOCSIN_SECRET_KEY" in refused.err
    findings = {one["subject"]: one for one in beside("doctor", "--json").json["findings"]}
    assert findings["secret key of the installation"]["status"] == "fail"

    monkeypatch.delenv("TOCSIN_SECRET_KEY")
    refused = beside("channel", "add", "other", "https://hooks.test/")
    assert refused.code == 1
    assert not (beside.place / "data").exists(), "no key is made beside one there is"
