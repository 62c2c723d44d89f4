"""The gateway connects out to a real relay and hands it what was chosen."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import ServerConnection, serve

from tests.clocks import FakeClock
from tests.edge import served
from tests.edge.served import KEY, browser, gateway, heard, said
from tests.running import free_port
from tocsin.api import relay as api_relay
from tocsin.api.context import Edge
from tocsin.api.live import LiveView
from tocsin.api.relay import Relay, gateway_address, pages
from tocsin.edge import messages, picture
from tocsin.edge.fields import SAFE, Chosen
from tocsin.edge.messages import LARGEST_BYTES
from tocsin.lib.threads import TaskSet
from tocsin.lib.watchers import Watcher, Watchers
from tocsin.store.engine import StoreUnavailable

SECRET = "10.9.8.7"
EVERYTHING = (*SAFE, "target.name", "target.verdict")


def machine(number: int, **rest: Any) -> dict[str, Any]:
    return {
        "id": number,
        "name": f"machine {number}",
        "verdict": "up",
        "since": "2027-01-15T07:00:00.000Z",
        "reason": f"ssh to {SECRET} refused",
        "last_seen": "2027-01-15T08:00:00.000Z",
        "current": {"cpu": 0.25, "disk_mount": f"/mnt/{SECRET}", "network_in": 1.0},
        **rest,
    }


def target(number: int, verdict: str = "up") -> dict[str, Any]:
    return {"id": number, "verdict": verdict, "reason": f"connect to {SECRET}", "enabled": True, "since": None}


class View:
    """A live view of what a test says. Its watchers are the real ones."""

    def __init__(self) -> None:
        self.watchers = Watchers(most=10)
        self.whole: dict[str, Any] = {"type": "initial", "machines": [], "targets": []}
        self.is_stalled = False
        self.fails = False

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[Watcher | None]:
        if self.fails:
            raise StoreUnavailable
        watcher = self.watchers.add(await self.encoded())
        try:
            yield watcher
        finally:
            self.watchers.discard(watcher)

    async def encoded(self) -> bytes:
        return json.dumps(self.whole).encode()

    @property
    def only(self) -> Watcher:
        (watcher,) = self.watchers._all
        return watcher

    async def tell(self, **changes: Any) -> None:
        await self.watchers.give(json.dumps({"type": "changes", **changes}).encode(), self.encoded)

    def slug_of(self, target_id: int) -> str | None:
        return {1: "shop", 2: "mail"}.get(target_id)


@asynccontextmanager
async def relaying(view: View, address: str, fields: tuple[str, ...] = SAFE, key: str = KEY) -> AsyncIterator[None]:
    failed: list[BaseException] = []
    tasks = TaskSet(failed.append)
    tasks.start(Relay(cast(LiveView, view), Edge(f"ws://{address}", key, fields)).run())
    try:
        yield
    finally:
        await tasks.close()
    assert failed == []


@pytest.fixture
def view() -> View:
    return View()


@pytest.fixture
async def address() -> AsyncIterator[str]:
    async with served.relay(FakeClock()) as where:
        yield where


async def with_machines(guest: ClientConnection, *ids: int) -> dict[str, Any]:
    """The first whole that has just these."""
    while True:
        whole = await heard(guest, "initial")
        if tuple(entry["id"] for entry in whole["machines"]) == ids:
            return whole


async def test_what_was_chosen_arrives_and_nothing_else(address: str, view: View) -> None:
    view.whole |= {"machines": [machine(1), machine(2)], "targets": [target(1), target(2)]}
    async with browser(address) as guest, relaying(view, address, EVERYTHING):
        whole = await with_machines(guest, 1, 2)
        assert whole["machines"][0] == {
            "id": 1,
            "name": "machine 1",
            "verdict": "up",
            "since": "2027-01-15T07:00:00Z",
            "last_seen": "2027-01-15T08:00:00Z",
            "current": {"cpu": 0.25},
        }
        assert whole["targets"][0] == {"id": 1, "slug": "shop", "verdict": "up", "enabled": True}
        await view.tell(
            machines=[machine(2, verdict="down")], machines_removed=[1], targets=[target(2, "down")], removed=[1]
        )
        changes = await heard(guest, "changes")
        assert [(entry["id"], entry["verdict"]) for entry in changes["machines"]] == [(2, "down")]
        assert [(entry["slug"], entry["verdict"]) for entry in changes["targets"]] == [("mail", "down")]
        assert (changes["machines_removed"], changes["removed"]) == ([1], [1])
        assert SECRET not in json.dumps([whole, changes])


async def test_nothing_unchosen_is_ever_sent(view: View) -> None:
    """What goes over the wire, not what the relay makes of it."""
    chosen = Chosen.of(SAFE)
    whole = {"type": "initial", "machines": [machine(1)], "targets": [target(1)], "transitions": [SECRET]}
    (page,) = pages(whole, chosen, view)
    assert SECRET not in page.decode()
    assert set(json.loads(page)) == {"type", "page", "more", "machines"}
    changes = {"type": "changes", "targets": [target(1)], "removed": [1], "transitions": [{"target": SECRET}]}
    assert list(pages(changes, chosen, view)) == []
    assert list(pages({"type": "pong"}, chosen, view)) == []


@pytest.mark.parametrize("kind", ["initial", "changes"])
@pytest.mark.parametrize("count", [0, 1, 3000])
def test_messages_are_as_large_as_the_relay_takes(kind: str, count: int, view: View) -> None:
    random.seed(1)
    entries = [machine(number + 1, name="\x00\u2028é" * random.randrange(300)) for number in range(count)]
    message = {
        "type": kind,
        "machines": entries,
        "machines_removed": list(range(1, 20_000)) if kind == "changes" else [],
    }
    sent = list(pages(message, Chosen.of((*SAFE, "reason")), view))
    assert all(len(page) <= LARGEST_BYTES for page in sent)
    read = [messages.message(page).body for page in sent]
    assert [entry.id for body in read for entry in body.machines] == [entry["id"] for entry in entries]
    assert sum(len(body.machines_removed) for body in read) == len(message["machines_removed"])
    if kind == "initial":
        assert [body.page for body in read] == list(range(len(sent)))
        assert [body.more for body in read] == [True] * (len(sent) - 1) + [False]


async def test_either_side_may_be_restarted(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_relay, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(api_relay, "LONGEST_PAUSE_S", 0.02)
    port = free_port()
    for number in (1, 2):
        view.whole["machines"] = [machine(number)]
        async with relaying(view, f"127.0.0.1:{port}"):  # nobody is there yet
            for _ in range(2):
                async with served.relay(FakeClock(), port=port) as address, browser(address) as guest:
                    await with_machines(guest, number)


async def test_a_wrong_key_is_said_once_and_costs_patience(
    address: str, view: View, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_relay, "LONGEST_PAUSE_S", 0.02)
    refused = asyncio.Event()
    note = Relay._note
    notes: list[str] = []

    def noted(self: Relay, trouble: str) -> None:
        notes.append(trouble)
        note(self, trouble)
        if len(notes) >= 2:
            refused.set()

    monkeypatch.setattr(Relay, "_note", noted)
    async with relaying(view, address, key="another-key-of-some-length"):
        async with asyncio.timeout(served.WITHIN_S):
            await refused.wait()
    assert notes[0] == "the edge refuses the key: TOCSIN_EDGE_KEY must be the same at both ends"
    printed = capsys.readouterr().out
    assert printed.count("TOCSIN_EDGE_KEY") == 1
    assert "another-key" not in printed


async def test_it_says_that_nothing_has_changed_unless_nobody_knows(
    view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_relay, "ALIVE_EVERY_S", 0.01)
    clock = FakeClock()
    async with served.relay(clock) as address, browser(address) as guest, relaying(view, address):
        view.whole["machines"] = [machine(1)]
        await heard(guest, "initial")

        async def age_s() -> float | None:
            async with browser(address) as other:
                found: float | None = (await said(other))["source"]["age_s"]
            return found

        while await age_s() is None:
            pass
        clock.tick(60)
        while await age_s() == 60.0:
            pass
        assert await age_s() == 0.0
        view.is_stalled = True  # one more word may be under way
        for _ in range(60):
            clock.tick(60)
            grown_s = await age_s()
        assert grown_s is not None
        assert grown_s > 3000


async def test_a_target_that_was_removed_meanwhile_costs_no_message(address: str, view: View) -> None:
    view.whole["targets"] = [target(1), target(99)]
    async with browser(address) as guest, relaying(view, address, EVERYTHING):
        while not (whole := await heard(guest, "initial"))["targets"]:
            pass
        assert [entry["id"] for entry in whole["targets"]] == [1]
        await view.tell(targets=[target(99), target(2, "down")], machines=[machine(1)])
        changes = await heard(guest, "changes")
        assert [entry["id"] for entry in changes["targets"]] == [2]
        assert [entry["id"] for entry in changes["machines"]] == [1]


async def test_after_a_refusal_nothing_is_vouched_for_until_all_is_told_anew(
    view: View, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The edge keeps what it had, which is not how things stand any more."""
    monkeypatch.setattr(api_relay, "ALIVE_EVERY_S", 0.01)
    monkeypatch.setattr(api_relay, "AFTER_REFUSAL_S", 0.2)
    slept: list[float] = []
    sleep = asyncio.sleep

    async def noted(delay_s: float) -> None:
        slept.append(delay_s)
        await sleep(delay_s)

    said_to_it: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    edge_end: list[ServerConnection] = []

    async def edge(connection: ServerConnection) -> None:
        edge_end.append(connection)
        await connection.send(json.dumps({"type": "feed", "on": True}))
        async for raw in connection:
            said_to_it.put_nowait(json.loads(raw))

    async with serve(edge, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        view.whole["machines"] = [machine(1)]
        async with relaying(view, f"127.0.0.1:{port}"), asyncio.timeout(served.WITHIN_S):
            assert (await said_to_it.get())["type"] == "initial"
            assert (await said_to_it.get())["type"] == "ping"
            monkeypatch.setattr(asyncio, "sleep", noted)
            for _ in range(2):
                await edge_end[0].send(json.dumps({"type": "refused", "reason": "no such verdict"}))
            while not slept:
                await sleep(0)
            while not said_to_it.empty():  # what was under way
                said_to_it.get_nowait()
            view.whole["machines"] = [machine(1), machine(2)]
            await view.tell(machines=[machine(2)])
            first = await said_to_it.get()
            assert first["type"] == "initial", "neither a ping nor changes"
            assert [entry["id"] for entry in first["machines"]] == [1, 2]
            assert (await said_to_it.get())["type"] == "ping"
            await edge_end[0].send(json.dumps({"type": "refused", "reason": "again"}))
            while len(slept) < 2:
                await sleep(0)
            assert slept == [0.2, 0.4], "patience grows"
    assert capsys.readouterr().out.count("no such verdict") == 1


async def test_who_is_behind_does_not_vouch(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_relay, "ALIVE_EVERY_S", 0.01)
    clock = FakeClock()
    async with served.relay(clock) as address, relaying(view, address):

        async def age_s() -> float | None:
            async with browser(address) as other:
                found: float | None = (await said(other))["source"]["age_s"]
            return found

        while await age_s() is None:
            pass
        view.only.behind = True  # as after changes that did not fit
        grown_s = None
        for _ in range(60):  # one more word may be under way
            clock.tick(60)
            grown_s = await age_s()
        assert grown_s is not None
        assert grown_s > 3000
        await view.tell()
        while await age_s() != 0.0:
            pass


async def test_more_than_an_edge_can_show_are_left_out_and_counted(
    address: str, view: View, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(api_relay, "MOST_MACHINES", 2)
    monkeypatch.setattr(picture, "MOST_MACHINES", 2)
    view.whole["machines"] = [machine(4), machine(3), machine(1), machine(2)]
    async with browser(address) as guest, relaying(view, address):
        whole = await with_machines(guest, 1, 2)
        assert whole["machines_left_out"] == 2
        await view.tell(machines=[machine(2, verdict="down"), machine(3), machine(5)])
        changes = await heard(guest, "changes")
        assert [entry["id"] for entry in changes["machines"]] == [2]
        assert changes["machines_left_out"] == 3
        await view.tell(machines=[machine(3)], machines_removed=[1, 5])
        changes = await heard(guest, "changes")
        assert (changes["machines"], changes["machines_removed"]) == ([], [1])
        assert changes["machines_left_out"] == 2
        await view.tell(machines=[machine(4)])
        changes = await heard(guest, "changes")
        assert [entry["id"] for entry in changes["machines"]] == [4]
        assert changes["machines_left_out"] == 1
        await view.tell(machines_removed=[3])
        assert (await heard(guest, "changes"))["machines_left_out"] == 0
    printed = capsys.readouterr().out
    assert printed.count("the edge shows only a part") == 1
    assert printed.count("the edge shows everything again") == 1
    assert "refused" not in printed


async def test_while_there_is_no_database_it_waits_and_then_goes_on(
    address: str, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_relay, "AGAIN_S", 0.01)
    view.fails = True
    view.whole["machines"] = [machine(1)]
    async with browser(address) as guest, relaying(view, address):
        assert (await said(guest))["source"]["seen_at"] is None
        view.fails = False
        await with_machines(guest, 1)


async def test_of_two_copies_the_newest_feeds_and_the_other_takes_over(address: str, view: View) -> None:
    other = View()
    view.whole["machines"], other.whole["machines"] = [machine(1)], [machine(2)]
    async with browser(address) as guest, relaying(view, address):
        await with_machines(guest, 1)
        async with relaying(other, address):
            await with_machines(guest, 2)
        await with_machines(guest, 1)


async def test_a_gateway_that_is_put_off_and_asked_again_sends_the_whole_again(address: str, view: View) -> None:
    view.whole["machines"] = [machine(1)]
    async with browser(address) as guest, relaying(view, address):
        await with_machines(guest, 1)
        async with gateway(address) as newer:
            await said(newer)
            await newer.send(json.dumps({"type": "initial", "machines": []}))
            await with_machines(guest)
        await with_machines(guest, 1)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("wss://status.example.org", "wss://status.example.org/gateway"),
        ("wss://status.example.org/", "wss://status.example.org/gateway"),
        ("ws://[::1]:8080", "ws://[::1]:8080/gateway"),
        ("wss://example.org/edge", "wss://example.org/edge/gateway"),
        ("wss://example.org/gateway", "wss://example.org/gateway"),
    ],
)
def test_the_address_of_the_door(url: str, address: str) -> None:
    assert gateway_address(url) == address
