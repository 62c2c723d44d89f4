"""From a gateway to browsers, over real sockets."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from tests.clocks import FakeClock
from tests.edge import served
from tests.edge.served import browser, gateway, heard, machine, said, snapshot, tell
from tests.running import free_port
from tocsin.edge import app as edge_app
from tocsin.edge import relay as relay_module
from tocsin.lib.watchers import BACKLOG, Watchers


async def test_the_whole_first_then_what_changes(address: str) -> None:
    async with gateway(address) as source, browser(address) as guest:
        first = await said(guest)
        assert (first["type"], first["machines"], first["targets"]) == ("initial", [], [])
        assert first["source"] | {"connected": True} == {"connected": True, "seen_at": None, "age_s": None}
        assert await said(source) == {"type": "feed", "on": True}
        await tell(source, type="initial", machines=[machine(1), machine(2)])
        assert await heard(guest, "initial") == {
            "type": "initial",
            "at": "2027-01-15T08:00:00.000Z",
            "source": {"connected": True, "seen_at": "2027-01-15T08:00:00.000Z", "age_s": 0.0},
            "machines": [machine(1), machine(2)],
            "targets": [],
        }
        await tell(source, type="changes", machines=[{"id": 1, "verdict": "down"}], machines_removed=[2])
        assert await heard(guest, "changes") == {
            "type": "changes",
            "at": "2027-01-15T08:00:00.000Z",
            "machines": [machine(1, verdict="down")],
            "machines_removed": [2],
            "targets": [],
            "removed": [],
        }
    assert (await snapshot(address))["machines"] == [machine(1, verdict="down")]


@pytest.mark.parametrize("nested", [False, True])
async def test_flat_and_nested_messages_are_both_taken(address: str, nested: bool) -> None:
    async with gateway(address) as source, browser(address) as guest:
        for kind, content in (
            ("initial", {"machines": [machine(1)], "targets": [{"id": 7, "slug": "shop", "verdict": "up"}]}),
            ("changes", {"machines": [machine(2)], "targets": [{"id": 7, "verdict": "down"}]}),
        ):
            await tell(source, type=kind, **({"data": content} if nested else content))
        changes = await heard(guest, "changes")
        assert (changes["machines"], changes["targets"]) == (
            [machine(2)],
            [{"id": 7, "slug": "shop", "verdict": "down"}],
        )


async def test_changes_alone_are_taken_too(address: str) -> None:
    async with gateway(address) as source, browser(address) as guest:
        await tell(source, type="changes", machines=[machine(1)])
        assert (await heard(guest, "changes"))["machines"] == [machine(1)]


@pytest.mark.parametrize(
    "nonsense",
    [
        "{",
        b"\x00\xff\x80",
        '{"type": "changes", "machines": [{"id": 1, "verdict": "down"}, {"id": "2"}]}',
        '{"type": "initial", "machines": [{"id": 9}, {}]}',
        '{"type": "delete everything"}',
        "[" * 60_000,
    ],
    ids=["no JSON", "bytes", "half wrong", "wrong whole", "unknown", "deep"],
)
async def test_nonsense_is_refused_with_words_and_harms_nothing(address: str, nonsense: str | bytes) -> None:
    async with gateway(address) as source, browser(address) as guest:
        await tell(source, type="initial", machines=[machine(1)])
        await source.send(nonsense)
        refusal = await heard(source, "refused")
        assert len(refusal["reason"]) > 10
        await tell(source, type="changes", machines=[{"id": 2}])
        assert (await heard(guest, "changes"))["machines"] == [{"id": 2}], "it goes on listening"
    assert (await snapshot(address))["machines"] == [machine(1), {"id": 2}]


async def test_who_says_nothing_but_nonsense_is_sent_away(address: str) -> None:
    async with gateway(address) as source:
        await served.attempt(source, *["{"] * (edge_app.REFUSED_PER_MINUTE + 1))
        assert await served.closed(source) == 1008


async def test_a_whole_in_pages_is_shown_when_it_is_complete(address: str) -> None:
    async with gateway(address) as source, browser(address) as guest:
        await tell(source, type="initial", machines=[machine(9)])
        assert (await heard(guest, "initial"))["machines"] == []
        assert (await heard(guest, "initial"))["machines"] == [machine(9)]
        await tell(source, type="initial", machines=[machine(1)], page=0, more=True)
        assert (await snapshot(address))["machines"] == [machine(9)]
        await tell(source, type="initial", machines=[machine(2)], page=1, more=False)
        assert (await heard(guest, "initial"))["machines"] == [machine(1), machine(2)]


async def test_a_page_that_is_missing_costs_the_whole(address: str) -> None:
    async with gateway(address) as source:
        await tell(source, type="initial", machines=[machine(9)])
        await tell(source, type="initial", machines=[{"id": "wrong"}], page=0, more=True)
        assert "id" in (await heard(source, "refused"))["reason"]
        await tell(source, type="initial", machines=[machine(2)], page=1, more=False)
        assert "page 1" in (await heard(source, "refused"))["reason"]
        assert (await snapshot(address))["machines"] == [machine(9)]


async def test_what_is_left_out_is_handed_on(address: str) -> None:
    async with gateway(address) as source, browser(address) as guest:
        await tell(source, type="initial", machines=[machine(1)], machines_left_out=3)
        while (whole := await heard(guest, "initial"))["machines"] != [machine(1)]:
            pass
        assert (whole["machines_left_out"], "targets_left_out" in whole) == (3, False)
        await tell(source, type="changes", machines=[machine(2)])
        assert "machines_left_out" not in await heard(guest, "changes"), "as many as before"
        await tell(source, type="changes", machines_left_out=2)
        changes = await heard(guest, "changes")
        assert (changes["machines"], changes["machines_left_out"]) == ([], 2)
        assert (await snapshot(address))["machines_left_out"] == 2
        await tell(source, type="initial", machines=[machine(1)])
        assert "machines_left_out" not in await heard(guest, "initial")
        await tell(source, type="changes", machines_left_out=-1)
        assert "machines_left_out" in (await heard(source, "refused"))["reason"]


# ── the source ────────────────────────────────────────────────────────────────────────────────────────


async def source_that(guest: ClientConnection, **wanted: Any) -> dict[str, Any]:
    """The next word on the source that says this."""
    while True:
        found: dict[str, Any] = (await heard(guest, "source"))["source"]
        if wanted.items() <= found.items():
            return found


async def test_browsers_are_told_when_the_source_is_gone_and_how_old_it_all_is(
    address: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(relay_module, "TELL_EVERY_S", 0.02)
    async with browser(address) as guest:
        assert (await said(guest))["source"] == {"connected": False, "seen_at": None, "age_s": None}
        async with gateway(address) as source:
            assert await source_that(guest, connected=True, seen_at=None)
            await tell(source, type="initial", machines=[machine(1)])
            assert await source_that(guest, connected=True, age_s=0.0, seen_at="2027-01-15T08:00:00.000Z")
            clock.tick(10)
            assert await source_that(guest, connected=True, age_s=10.0)
            await tell(source, type="ping")  # nothing has changed, and that is known
            assert await source_that(guest, connected=True, age_s=0.0, seen_at="2027-01-15T08:00:10.000Z")
        assert await source_that(guest, connected=False, age_s=0.0)
        clock.tick(3600)
        assert await source_that(guest, connected=False, age_s=3600.0, seen_at="2027-01-15T08:00:10.000Z")
        async with gateway(address):
            assert await source_that(guest, connected=True, age_s=3600.0)
    whole = await snapshot(address)
    assert (whole["machines"], whole["source"]["age_s"]) == ([machine(1)], 3600.0)


async def test_a_ping_makes_nothing_out_of_nothing(address: str) -> None:
    async with gateway(address) as source:
        await tell(source, type="ping")
        await source.send("{")
        await heard(source, "refused")  # so the ping has been heard
        assert (await snapshot(address))["source"]["seen_at"] is None


async def test_the_newest_gateway_feeds_and_the_next_takes_over(address: str) -> None:
    async with gateway(address) as older:
        assert await said(older) == {"type": "feed", "on": True}
        await tell(older, type="initial", machines=[machine(1)])
        async with gateway(address) as newer:
            assert await said(newer) == {"type": "feed", "on": True}
            assert await said(older) == {"type": "feed", "on": False}
            await tell(older, type="changes", machines=[machine(1, verdict="down")])  # was under way
            await tell(newer, type="initial", machines=[machine(2)])
            async with browser(address) as guest:
                while (await said(guest)).get("machines") != [machine(2)]:
                    pass
        assert await said(older) == {"type": "feed", "on": True}
        await tell(older, type="initial", machines=[machine(3)])
        async with browser(address) as guest:
            while (await said(guest)).get("machines") != [machine(3)]:
                pass


async def test_one_that_falls_silent_is_passed_over(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "LOOK_EVERY_S", 0.01)
    async with gateway(address) as alive, gateway(address) as hung:
        assert await said(alive) == {"type": "feed", "on": True}
        assert await said(alive) == {"type": "feed", "on": False}
        assert await said(hung) == {"type": "feed", "on": True}
        monkeypatch.setattr(relay_module, "SILENT_S", 0.0)
        assert await said(alive) == {"type": "feed", "on": True}
        assert await said(hung) == {"type": "feed", "on": False}


async def test_more_gateways_than_there_can_be_are_sent_away(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "MOST_FEEDERS", 1)
    async with gateway(address) as first:
        await said(first)
        async with gateway(address) as second:
            assert await served.closed(second) == 1013
        await tell(first, type="initial", machines=[machine(1)])
        async with browser(address) as guest:
            while (await said(guest)).get("machines") != [machine(1)]:
                pass


async def test_a_relay_that_was_restarted_has_nothing_until_it_is_told(clock: FakeClock) -> None:
    port = free_port()
    for number in (1, 2):
        async with served.relay(clock, port=port) as address:
            assert (await snapshot(address))["source"] == {"connected": False, "seen_at": None, "age_s": None}
            async with gateway(address) as source, browser(address) as guest:
                await tell(source, type="initial", machines=[machine(number)])
                while (await said(guest)).get("machines") != [machine(number)]:
                    pass


# ── many browsers ─────────────────────────────────────────────────────────────────────────────────────


async def test_a_slow_browser_slows_no_one_and_gets_a_fresh_whole(address: str) -> None:
    wide = "x" * 900
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    host, port = address.split(":")
    narrow.connect((host, int(port)))
    async with (
        gateway(address) as source,
        browser(address) as quick,
        browser(address, max_queue=1, sock=narrow) as slow,
    ):
        await tell(source, type="initial", machines=[])
        # The slow one takes nothing, until what the sockets between can hold is full many times over.
        rounds = 200
        for number in range(rounds):
            await tell(
                source,
                type="changes",
                machines=[machine(one, name=f"{number} {wide}") for one in range(1, 51)],
            )
            while (changes := await heard(quick, "changes"))["machines"][0]["name"] != f"{number} {wide}":
                pass
            assert len(changes["machines"]) == 50
        kinds: list[str] = []
        while True:
            message = await said(slow)
            if message["type"] == "source":
                continue
            kinds.append(message["type"])
            if message["machines"] and message["machines"][0]["name"] == f"{rounds - 1} {wide}":
                break
            if not slow.state.name == "OPEN":
                raise AssertionError("it was closed")
        assert kinds.count("initial") >= 2, "it started over"
        assert kinds.count("changes") < rounds, "and was spared what it could not take"
        assert message["type"] == "initial" or len(kinds) > BACKLOG


async def test_more_than_can_watch_are_told_to_come_again(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Watchers, "is_full", property(lambda _: True))
    async with browser(address) as guest:
        assert await served.closed(guest) == 1013


async def test_a_ping_is_answered(address: str) -> None:
    async with browser(address) as guest:
        await guest.send('{"type": "ping"}')
        assert (await heard(guest, "pong")) == {"type": "pong"}
        await guest.send(json.dumps({"type": "ping"}).encode())
        assert (await heard(guest, "pong")) == {"type": "pong"}
