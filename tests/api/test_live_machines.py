"""Machines in the live view, through a real server and real WebSockets."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import update
from websockets.asyncio.client import ClientConnection, connect

from tests.api.conftest import NOW_MS, Keys, bearing
from tests.api.reporting import Reporters
from tests.api.test_live import said, served, watching
from tests.clocks import FakeClock
from tocsin.api import live
from tocsin.api.answers import moment
from tocsin.api.context import ApiContext
from tocsin.bus.memory import MemoryBus
from tocsin.catalog import machines
from tocsin.core.bands import REPORTING
from tocsin.core.decide import Policy
from tocsin.core.outcome import HEADLINE, Outcome, Result, StateKey, Subject
from tocsin.core.samples import MACHINE
from tocsin.lib.watchers import BACKLOG
from tocsin.pipeline import Entry, Pipeline
from tocsin.store import tables
from tocsin.store import targets as store_targets
from tocsin.store.engine import Store, StoreUnavailable


@pytest.fixture
def reporters(store: Store, pipeline: Pipeline, clock: FakeClock, bus: MemoryBus) -> Reporters:
    return Reporters(store, pipeline, clock, bus)


@pytest.fixture
async def address(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(live, "AT_MOST_EVERY_S", 0.01)
    monkeypatch.setattr(live, "MACHINES_AT_MOST_EVERY_S", 0.001)
    async with served(app) as where:
        yield where


async def until(browser: ClientConnection, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first message from now on that is as wanted."""
    for _ in range(1000):
        message = await said(browser)
        if wanted(message):
            return message
    raise AssertionError("it never came")


def seen_at(clock: FakeClock) -> Callable[[dict[str, Any]], bool]:
    """Whether a message tells of machines that were heard of just now."""
    now = moment(clock.now_ms())
    return lambda message: now in [one["last_seen"] for one in message["machines"]]


async def test_the_whole_first_then_each_machine_as_it_reports(
    address: str, keys: Keys, reporters: Reporters, clock: FakeClock
) -> None:
    one, other = reporters.add("u1", name="db-1"), reporters.add("u2", name="db-2")
    reporters.report(one)
    async with watching(address, keys.read) as browser:
        first = await said(browser)
        assert [machine["id"] for machine in first["machines"]] == [one, other]
        current = first["machines"][0]["current"]
        assert first["machines"][0] == {
            "id": one,
            "name": "db-1",
            "verdict": "up",
            "since": "2027-01-15T08:00:00.000Z",
            "reason": "",
            "last_seen": "2027-01-15T08:00:00.000Z",
            "current": current,
        }
        assert (current["memory"], current["cpu"]) == (0.5, None)
        assert (first["machines"][1]["verdict"], first["machines"][1]["last_seen"]) == ("unknown", None)
        clock.tick(5)
        reporters.report(one, memory=0.6)
        change = await until(browser, seen_at(clock))
        (machine,) = change["machines"]
        assert (machine["id"], machine["current"]["memory"]) == (one, 0.6)
        assert (change["targets"], change["removed"], change["machines_removed"]) == ([], [], [])


async def test_what_people_change_is_told_too(
    address: str, keys: Keys, reporters: Reporters, store: Store, pipeline: Pipeline, bus: MemoryBus, asking: Any
) -> None:
    one, other = reporters.add("u1"), reporters.add("u2")
    member = asking(bearing(keys.write))
    async with watching(address, keys.read) as browser:
        await said(browser)
        assert (await member.patch(f"/v1/machines/{one}", json={"name": "db-1"})).status_code == 200
        change = await until(browser, lambda message: message["machines"] != [])
        assert [machine["name"] for machine in change["machines"]] == ["db-1"]
        assert (await member.delete(f"/v1/machines/{other}")).status_code == 204
        gone = await until(browser, lambda message: message["machines_removed"] != [])
        assert gone["machines_removed"] == [other]
        new = reporters.add("u2")
        bus.ring("machines")
        change = await until(browser, lambda message: message["machines"] != [])
        assert [machine["id"] for machine in change["machines"]] == [new]


async def test_bands_of_a_tag_are_told_by_what_they_change(
    address: str, keys: Keys, reporters: Reporters, asking: Any
) -> None:
    number = reporters.add("u1", tags=["t"])
    reporters.report(number)
    reporters.go_on(310, number, memory=0.99)
    async with watching(address, keys.read) as browser:
        assert (await said(browser))["machines"][0]["verdict"] == "down"
        member = asking(bearing(keys.write))
        assert (await member.put("/v1/machine-bands/t", json={"memory": None})).status_code == 200
        await until(browser, lambda message: [one["verdict"] for one in message["machines"]] == ["up"])


def silent(machine_id: int, at_ms: int) -> Entry:
    """What the sweep writes of a machine that nobody has heard of."""
    key = StateKey(Subject(MACHINE, machine_id), REPORTING, HEADLINE)
    return Entry(Outcome(key, at_ms, Result.FAILED, None, "no sample for 15 s", None), Policy(1, 1, 1))


@pytest.mark.parametrize("handed_round", [True, False])
async def test_a_machine_that_falls_silent_is_told(
    address: str,
    keys: Keys,
    reporters: Reporters,
    clock: FakeClock,
    store: Store,
    pipeline: Pipeline,
    bus: MemoryBus,
    handed_round: bool,
) -> None:
    number = reporters.add("u1")
    reporters.report(number)
    bus.complete = handed_round
    writing = pipeline if handed_round else Pipeline(store, MemoryBus(), clock)
    async with watching(address, keys.read) as browser:
        await said(browser)
        clock.tick(15)
        writing.write([silent(number, clock.now_ms())])
        bus.ring("transitions")
        change = await until(browser, lambda message: message["machines"] != [])
        assert [(one["verdict"], one["reason"]) for one in change["machines"]] == [("down", "no sample for 15 s")]
        if not change["transitions"]:
            change = await until(browser, lambda message: message["transitions"] != [])
        (transition,) = change["transitions"]
        assert (transition["target"], transition["machine"]) == (None, {"id": number, "name": "u1"})
        assert (transition["rule"], transition["to"]) == ("reporting", "down")


async def test_what_is_told_while_all_machines_are_read_is_not_taken_back(
    address: str,
    keys: Keys,
    reporters: Reporters,
    pipeline: Pipeline,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = reporters.add("u1")
    reporters.report(one)
    read, asked, told = live._read_machines, threading.Event(), threading.Event()

    def slowly(context: ApiContext, began_s: float, before: Any) -> Any:
        found = read(context, began_s, before)
        if before is None and not told.is_set():
            asked.set()
            told.wait(20)
        return found

    async with watching(address, keys.read) as browser:
        await said(browser)
        monkeypatch.setattr(live, "WHOLE_EVERY_S", 0.0)
        monkeypatch.setattr(live, "_read_machines", slowly)
        reporters.report(one)
        assert await asyncio.to_thread(asked.wait, 20)
        clock.tick(60)
        key = StateKey(Subject(MACHINE, one), REPORTING, HEADLINE)
        pipeline.write([Entry(Outcome(key, clock.now_ms(), Result.FAILED, None, "no sample", None), Policy(1))])
        await until(browser, lambda message: [each["verdict"] for each in message["machines"]] == ["down"])
        monkeypatch.setattr(live, "WHOLE_EVERY_S", 1000.0)
        told.set()
        reporters.add("u2")
        pipeline._bus.ring("machines")
        verdicts: list[str] = []
        while "u2" not in verdicts:
            told_now = (await said(browser))["machines"]
            verdicts += [each["verdict"] if each["id"] == one else "u2" for each in told_now]
        assert set(verdicts) <= {"down", "u2"}


async def test_a_transition_of_a_machine_is_none_of_a_target_with_its_number(
    context: ApiContext, reporters: Reporters, clock: FakeClock, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = reporters.add("u1")
    view = live.LiveView(context)
    async with context.bus.follow() as feed, view.watching() as watcher:
        assert watcher is not None
        watcher.messages.get_nowait()
        await view.tell((), feed)
        asked: list[Any] = []
        standings = store_targets.standings

        def noted(conn: Any, among: Any = None) -> Any:
            asked.append(among)
            return standings(conn, among)

        monkeypatch.setattr(store_targets, "standings", noted)
        pipeline.write([silent(number, clock.now_ms())])
        await view.tell({"transitions"}, feed)
        assert asked == [set()]


async def test_what_became_visible_in_another_order_is_told(
    context: ApiContext, reporters: Reporters, clock: FakeClock, store: Store
) -> None:
    late, early = reporters.add("u1"), reporters.add("u2")
    reporters.report(late, early)
    view = live.LiveView(context)
    async with view.watching() as watcher:
        assert watcher is not None
        watcher.messages.get_nowait()
        clock.tick(60)
        reporters.report(early, memory=0.7)
        await view.tell_machines()
        assert [one["id"] for one in json.loads(watcher.messages.get_nowait())["machines"]] == [early]
        # A transaction that began before that one, and is committed after it.
        with store.write() as conn:
            conn.execute(
                update(tables.machine_now)
                .where(tables.machine_now.c.machine_id == late)
                .values(at_ms=NOW_MS + 1, received_ms=NOW_MS + 1, summary={"memory": 0.1})
            )
        await view.tell_machines()
        (machine,) = json.loads(watcher.messages.get_nowait())["machines"]
        assert (machine["id"], machine["current"]["memory"]) == (late, 0.1)
        await view.tell_machines()
        assert watcher.messages.empty(), "nothing is told twice"


async def test_one_look_and_one_message_for_all_watchers(
    context: ApiContext, reporters: Reporters, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = [reporters.add(f"u{number}") for number in range(50)]
    looks: list[live._Marks | None] = []
    read = live._read_machines

    def counted(context: ApiContext, began_s: float, before: live._Marks | None) -> live._MachineLook:
        looks.append(before)
        return read(context, began_s, before)

    monkeypatch.setattr(live, "_read_machines", counted)
    view = live.LiveView(context)
    async with AsyncExitStack() as stack:
        watchers = [await stack.enter_async_context(view.watching()) for _ in range(200)]
        for watcher in watchers:
            assert watcher is not None
            watcher.messages.get_nowait()
        assert looks == [None], "the first is shown everything; the others what it was shown"
        clock.tick(5)
        reporters.report(*numbers[:20])
        await view.tell_machines()
        assert len(looks) == 2
        messages = [watcher.messages.get_nowait() for watcher in watchers if watcher is not None]
        assert all(message is messages[0] for message in messages), "it is encoded once"
        assert [one["id"] for one in json.loads(messages[0])["machines"]] == numbers[:20]


async def test_nothing_is_read_while_nobody_watches(
    address: str, keys: Keys, reporters: Reporters, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = reporters.add("u1")
    looks = 0
    read = live._read_machines

    def counted(*arguments: Any) -> Any:
        nonlocal looks
        looks += 1
        return read(*arguments)

    async with watching(address, keys.read) as browser:
        await said(browser)
        clock.tick(5)
        reporters.report(number)
        await until(browser, seen_at(clock))
    monkeypatch.setattr(live, "_read_machines", counted)
    async with connect(f"ws://{address}/ws") as nobody:  # is turned away, which takes the loop round
        await nobody.wait_closed()
    reporters.go_on(60, number)
    async with connect(f"ws://{address}/ws") as nobody:
        await nobody.wait_closed()
    assert looks == 0
    async with watching(address, keys.read) as browser:
        first = await said(browser)
        assert first["machines"][0]["last_seen"] == "2027-01-15T08:01:05.000Z"


async def test_machines_do_not_wait_for_the_pace_of_targets(
    app: FastAPI, keys: Keys, reporters: Reporters, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "AT_MOST_EVERY_S", 3600.0)
    number = reporters.add("u1")
    async with served(app) as address, watching(address, keys.read) as browser:
        await said(browser)
        for _ in range(3):
            clock.tick(5)
            reporters.report(number)
            await until(browser, seen_at(clock))


def is_stalled(view: live.LiveView) -> bool:
    return view.is_stalled


async def test_a_stalled_database_is_known_and_got_over(
    address: str, app: FastAPI, keys: Keys, reporters: Reporters, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = reporters.add("u1")
    view: live.LiveView = app.state.live
    async with watching(address, keys.read) as browser:
        await said(browser)
        assert not is_stalled(view)
        read = live._read_machines

        def lost(*_: object) -> Any:
            raise StoreUnavailable

        monkeypatch.setattr(live, "_read_machines", lost)
        clock.tick(5)
        reporters.report(number)
        async with asyncio.timeout(20):
            while not is_stalled(view):  # noqa: ASYNC110 - it has no event to wait for
                await asyncio.sleep(0.01)
        monkeypatch.setattr(live, "_read_machines", read)
        clock.tick(5)
        reporters.report(number)
        await until(browser, seen_at(clock))
        assert not is_stalled(view)


async def test_a_browser_that_does_not_read_slows_nobody_and_gets_a_fresh_whole(
    address: str, app: FastAPI, keys: Keys, reporters: Reporters, clock: FakeClock
) -> None:
    numbers = [reporters.add(f"u{number}") for number in range(1000)]
    reporters.report(*numbers)
    view: live.LiveView = app.state.live
    headers = {"X-API-Key": keys.read}
    host, port = address.split(":")
    with socket.create_connection((host, int(port))) as narrow:
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 262_144)
        async with (
            # Takes one message in and leaves the rest to the network.
            connect(
                f"ws://{address}/ws",
                sock=narrow,
                additional_headers=headers,
                max_queue=1,
                max_size=None,
                compression=None,
                ping_interval=None,
            ) as slow,
            connect(f"ws://{address}/ws", additional_headers=headers, max_size=None) as quick,
        ):
            assert len((await said(quick))["machines"]) == 1000
            for round_ in range(200):
                clock.tick(5)
                reporters.report(*numbers, memory=round_ / 1000)
                seen = moment(clock.now_ms())
                heard: set[int] = set()
                while len(heard) < len(numbers):
                    heard |= {one["id"] for one in (await said(quick))["machines"] if one["last_seen"] == seen}
                if any(one.behind for one in view._watchers._all):
                    break
            else:
                raise AssertionError("nobody ever was behind")
            latest = moment(clock.now_ms())
            message = await said(slow)
            assert message["type"] == "initial"
            for _ in range(1000):
                message = await said(slow)
                if message["type"] == "initial":
                    break
                clock.tick(1)
                reporters.report(numbers[0])  # the whole is given with the next change
            assert len(message["machines"]) == 1000
            assert {one["last_seen"] for one in message["machines"][1:]} == {latest}, "it is of now, and not of then"


def test_a_small_backlog_is_enough_for_a_second() -> None:
    assert BACKLOG * live.MACHINES_AT_MOST_EVERY_S >= 0.5


def test_headline_of_no_rule(store: Store) -> None:
    standing = machines.headline(machine_id=1, name="m", created_ms=5, states={}, judged=(), newest=())
    assert (standing.verdict, standing.since_ms, standing.reason) == ("unknown", 5, "nothing received yet")
