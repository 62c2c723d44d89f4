"""The live view, through a real server and real WebSockets."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
import websockets
from fastapi import FastAPI
from websockets.asyncio.client import ClientConnection, connect

from tests.api.conftest import NOW_MS, Keys
from tests.api.test_targets import checked
from tests.clocks import FakeClock
from tocsin.api import live
from tocsin.api.context import ApiContext
from tocsin.api.sockets import Socket
from tocsin.bus.memory import MemoryBus
from tocsin.catalog import access, targets
from tocsin.core.outcome import Result
from tocsin.lib.vault import Vault
from tocsin.lib.watchers import BACKLOG
from tocsin.pipeline import Pipeline
from tocsin.store import access as store_access
from tocsin.store import targets as store_targets
from tocsin.store.engine import Store, StoreUnavailable


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    """The address of a real server on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, ws=Socket, log_config=None, timeout_graceful_shutdown=1))
        server.capture_signals = _leave_signals_alone  # type: ignore[method-assign, assignment]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.serve([listener]))
            while not server.started:  # noqa: ASYNC110 - it has no event to wait for
                await asyncio.sleep(0.01)
            yield f"127.0.0.1:{listener.getsockname()[1]}"
            server.should_exit = True


class _leave_signals_alone:
    def __enter__(self) -> None:
        return

    def __exit__(self, *_: object) -> None:
        return


@pytest.fixture
async def address(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    monkeypatch.setattr(live, "AT_MOST_EVERY_S", 0.01)
    async with served(app) as where:
        yield where


def make(store: Store, vault: Vault, name: str) -> int:
    with store.write() as conn:
        row = targets.create(
            conn, {"name": name, "kind": "http", "url": "http://127.0.0.1:9/"}, vault=vault, now_ms=NOW_MS
        )
    return row.id


def watching(address: str, key: str | None = None, **headers: str) -> connect:
    given = headers | ({"X-API-Key": key} if key else {})
    return connect(f"ws://{address}/ws", additional_headers=given)


async def said(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(20):
        message: dict[str, Any] = json.loads(await socket.recv())
    return message


async def test_the_whole_first_then_what_changes(
    address: str, keys: Keys, store: Store, vault: Vault, pipeline: Pipeline, context: ApiContext, clock: FakeClock
) -> None:
    shop, other = make(store, vault, "shop"), make(store, vault, "other")
    async with watching(address, keys.read) as socket:
        first = await said(socket)
        assert first == {
            "type": "initial",
            "at": "2027-01-15T08:00:00.000Z",
            "targets": [
                {
                    "id": number,
                    "verdict": "unknown",
                    "since": "2027-01-15T08:00:00.000Z",
                    "reason": "not checked yet",
                    "last_check_at": None,
                    "last_latency_ms": None,
                    "enabled": True,
                }
                for number in (shop, other)
            ],
            "machines": [],
        }
        clock.tick(60)
        pipeline.write([checked(shop, clock.now_ms(), Result.FAILED, "refused", latency_us=None)])
        change = await said(socket)
        assert change["type"] == "changes"
        assert change["targets"] == [
            {
                "id": shop,
                "verdict": "down",
                "since": "2027-01-15T08:01:00.000Z",
                "reason": "refused",
                "last_check_at": "2027-01-15T08:01:00.000Z",
                "last_latency_ms": None,
                "enabled": True,
            }
        ]
        assert change["removed"] == []
        (transition,) = change["transitions"]
        assert (transition["to"], transition["target"]) == ("down", {"id": shop, "name": "shop"})

        with store.write() as conn:
            targets.delete(conn, other, pipeline=pipeline, now_ms=clock.now_ms())
        context.bus.ring("targets")
        gone = await said(socket)
        assert (gone["targets"], gone["removed"]) == ([], [other])


async def test_a_ping_is_answered(address: str, keys: Keys) -> None:
    async with watching(address, keys.read) as socket:
        await said(socket)
        for nonsense in ("{", "[]", '"ping"', '{"type": "pang"}', "[" * 60_000, b"\x00\xff", '{"type": "ping"}'):
            await socket.send(nonsense)
        assert await said(socket) == {"type": "pong"}


async def test_two_watchers_are_told_the_same(
    address: str, keys: Keys, store: Store, vault: Vault, pipeline: Pipeline, clock: FakeClock
) -> None:
    shop = make(store, vault, "shop")
    async with watching(address, keys.read) as one, watching(address, keys.admin) as two:
        assert await said(one) == await said(two)
        pipeline.write([checked(shop, clock.now_ms(), Result.PASSED)])
        assert await said(one) == await said(two)


async def test_who_comes_after_a_quiet_time_sees_what_is_now(
    address: str, keys: Keys, store: Store, vault: Vault, pipeline: Pipeline, clock: FakeClock
) -> None:
    shop = make(store, vault, "shop")
    async with watching(address, keys.read) as socket:
        await said(socket)
    pipeline.write([checked(shop, clock.now_ms(), Result.PASSED)])
    async with watching(address, keys.read) as socket:
        assert (await said(socket))["targets"][0]["verdict"] == "up"


async def closed_with(address: str, key: str | None = None, **headers: str) -> int | None:
    async with watching(address, key, **headers) as socket:
        with pytest.raises(websockets.ConnectionClosed):
            await said(socket)
        return socket.close_code


async def test_nobody_and_who_may_not_read_are_turned_away(address: str, keys: Keys) -> None:
    assert await closed_with(address) == 4401
    assert await closed_with(address, "tcs_nonsense") == 4401
    assert await closed_with(address, keys.ingest) == 4403


async def test_another_sites_page_may_not_listen_with_our_cookie(address: str, store: Store) -> None:
    with store.write() as conn:
        user = store_access.user_by_name(conn, "admin")
        assert user is not None
        cookie = {"Cookie": f"tocsin_session={access.open_session(conn, user, now_ms=NOW_MS)}"}
    assert await closed_with(address, None, Origin="https://evil.example", **cookie) == 4403
    async with watching(address, None, Origin=f"http://{address}", **cookie) as socket:
        assert (await said(socket))["type"] == "initial"


async def test_who_may_no_longer_look_is_sent_away(
    address: str, keys: Keys, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "LOOK_AGAIN_S", 0.01)
    async with watching(address, keys.read) as socket:
        await said(socket)
        with store.write() as conn:
            for key in access.list_keys(conn, limit=10):
                access.revoke_key(conn, key.id, now_ms=NOW_MS)
        with pytest.raises(websockets.ConnectionClosed):
            await said(socket)
        assert socket.close_code == 4401


async def test_without_a_database_it_says_to_come_again(
    address: str, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> None:
        raise StoreUnavailable

    monkeypatch.setattr(live, "_first", lost)
    assert await closed_with(address, keys.read) == 1013


async def test_one_that_is_too_slow_starts_over_with_the_whole(
    context: ApiContext, store: Store, vault: Vault, pipeline: Pipeline, clock: FakeClock
) -> None:
    shop = make(store, vault, "shop")
    view = live.LiveView(context)
    async with context.bus.follow() as feed, view.watching() as slow, view.watching() as quick:
        assert slow is not None
        assert quick is not None
        quick.messages.get_nowait()
        for number in range(BACKLOG + 3):
            clock.tick(60)
            pipeline.write([checked(shop, clock.now_ms(), Result.PASSED, latency_us=number + 1)])
            await view.tell({"checks"}, feed)
            assert json.loads(quick.messages.get_nowait())["type"] == "changes"
        held = [json.loads(slow.messages.get_nowait()) for _ in range(BACKLOG)]
        assert slow.messages.empty()
        assert [message["type"] for message in held] == ["initial"] + ["changes"] * (BACKLOG - 1)
        await view.tell({"checks"}, feed)
        fresh = json.loads(slow.messages.get_nowait())
        assert fresh["type"] == "initial"
        assert fresh["targets"][0]["last_latency_ms"] == (BACKLOG + 3) / 1000
        assert quick.messages.empty()


def stall(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """The database can be read only while the last of these is True."""
    readable = [False]
    read = live._read

    def perhaps(*arguments: Any) -> Any:
        if not readable[-1]:
            raise StoreUnavailable
        return read(*arguments)

    monkeypatch.setattr(live, "_read", perhaps)
    return readable


async def test_a_stalled_database_ends_no_live_view(
    address: str,
    keys: Keys,
    store: Store,
    vault: Vault,
    pipeline: Pipeline,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop = make(store, vault, "shop")
    async with watching(address, keys.read) as socket:
        await said(socket)
        readable = stall(monkeypatch)
        pipeline.write([checked(shop, clock.now_ms(), Result.PASSED)])
        handed = await said(socket)  # what is handed round is told all the same
        assert [target["verdict"] for target in handed["targets"]] == ["up"]
        assert handed["transitions"] == []
        readable.append(True)
        (transition,) = (await said(socket))["transitions"]
        assert transition["to"] == "up"


async def test_what_is_handed_round_is_not_read_again(
    context: ApiContext,
    store: Store,
    vault: Vault,
    pipeline: Pipeline,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop, other = make(store, vault, "shop"), make(store, vault, "other")
    view = live.LiveView(context)
    async with context.bus.follow() as feed, view.watching() as watcher:
        assert watcher is not None
        watcher.messages.get_nowait()
        monkeypatch.setattr(view, "_pace_s", 0.0)
        await view.tell({"checks"}, feed)  # a follower that has just begun has everything read
        readable = stall(monkeypatch)
        for number in range(3):
            clock.tick(60)
            pipeline.write([checked(shop, clock.now_ms(), Result.PASSED, latency_us=number + 1)])
            await view.tell({"checks"}, feed)
            (target,) = json.loads(watcher.messages.get_nowait())["targets"]
            assert (target["id"], target["verdict"], target["last_latency_ms"]) == (shop, "up", (number + 1) / 1000)
        readable.append(True)
        looks: list[set[int] | None] = []
        standings = store_targets.standings

        def noted(conn: Any, among: set[int] | None) -> Any:
            looks.append(among)
            return standings(conn, among)

        monkeypatch.setattr(store_targets, "standings", noted)
        with store.write() as conn:
            targets.change(conn, other, {"name": "Other"}, pipeline=pipeline, vault=vault, now_ms=clock.now_ms())
        await view.tell({"targets", "transitions"}, feed)
        assert looks == [{shop, other}]  # whose verdict changed, and who was changed


async def test_where_nothing_is_handed_round_everything_is_read_at_its_pace(
    context: ApiContext,
    store: Store,
    vault: Vault,
    pipeline: Pipeline,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop = make(store, vault, "shop")
    deaf = MemoryBus(complete=False)
    view = live.LiveView(context)
    async with deaf.follow() as feed, view.watching() as watcher:
        assert watcher is not None
        watcher.messages.get_nowait()
        pipeline.write([checked(shop, clock.now_ms(), Result.PASSED)])
        monkeypatch.setattr(view, "_pace_s", 1e9)
        await view.tell({"checks"}, feed)
        assert watcher.messages.empty()
        assert view._patience_s() > 1e6
        monkeypatch.setattr(view, "_pace_s", 0.0)
        assert view._patience_s() == 0
        await view.tell((), feed)
        assert json.loads(watcher.messages.get_nowait())["targets"][0]["verdict"] == "up"
        assert view._patience_s() == live.AT_LEAST_EVERY_S


async def test_without_any_bell_it_is_seen_by_the_timer(
    address: str, keys: Keys, store: Store, vault: Vault, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "AT_LEAST_EVERY_S", 0.05)
    shop = make(store, vault, "shop")
    async with watching(address, keys.read) as socket:
        await said(socket)
        unheard = Pipeline(store, MemoryBus(), clock)
        unheard.write([checked(shop, clock.now_ms(), Result.PASSED)])
        change = await said(socket)
        assert change["targets"][0]["verdict"] == "up"
        assert [one["to"] for one in change["transitions"]] == ["up"]
