"""What every bus keeps to, whatever it runs over: one process, PostgreSQL, Redis. With real servers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.bus.engines import NONSENSE, Engine, Memory, Postgres, Redis, Server
from tests.postgres import PrivateServer
from tocsin.bus import open_bus
from tocsin.bus.base import TOPICS, Bell, Bus, Current, Feed, Topic
from tocsin.core.decide import State, Verdict
from tocsin.core.outcome import HEADLINE, REACHABLE, StateKey, Subject
from tocsin.core.target import TARGET
from tocsin.lib import metrics

LONG_S = 60.0
"""Longer than anything here takes; a bell that stays silent fails the test."""
SHORT_S = 0.3

Ends = Callable[[], Bus]


@pytest.fixture(params=["memory", "postgres", "redis"])
def engine(request: pytest.FixtureRequest) -> Engine:
    match request.param:
        case "memory":
            return Memory()
        case "postgres":
            return Postgres(request.getfixturevalue("postgres_url"))
    request.getfixturevalue("redis_url")
    return Redis(request.getfixturevalue("redis_server"))


@pytest.fixture
def ends(engine: Engine) -> Iterator[Ends]:
    """Makes another end of the same bus, as another process would hold it."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(engine.end())


@pytest.fixture(params=["postgres", "redis"])
def server(request: pytest.FixtureRequest) -> Server:
    """One that this test alone uses."""
    if request.param == "postgres":
        private: PrivateServer = request.getfixturevalue("private_postgres")
        return Postgres(private.url, private)
    return Redis(request.getfixturevalue("private_redis"))


async def hear(bell: Bell, *topics: Topic) -> set[Topic]:
    """Everything that is rung until all of these were."""
    rung: set[Topic] = set()
    async with asyncio.timeout(LONG_S):
        while not rung.issuperset(topics):
            rung |= await bell.wait(LONG_S)
    return rung


async def linked(bell: Bell) -> None:
    """Until the only end there is has its line, and what is rung then was heard."""
    async with asyncio.timeout(LONG_S):
        while not metrics.BUS_UP._value.get():
            await bell.wait(0.02)
    await bell.wait(SHORT_S)


async def settle(bell: Bell, far: Bus) -> None:
    """Until both ends are linked and nothing is under way between them."""
    far.ring("checks")
    await hear(bell, "checks")  # perhaps only because its own line has just begun; then nothing later is missed
    far.ring("targets")
    await hear(bell, "targets")


def key(target_id: int, location_id: int = HEADLINE) -> StateKey:
    return StateKey(Subject(TARGET, target_id), REACHABLE, location_id)


def state(verdict: Verdict = Verdict.UP, at_ms: int = 1_800_000_000_000, **rest: Any) -> State:
    return State(
        verdict=verdict,
        since_ms=at_ms - 5000,
        reason=rest.pop("reason", ""),
        last_at_ms=at_ms,
        last_latency_us=20_500,
        due_ms=at_ms + 60_000,
        **rest,
    )


# ── rings ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_ring_is_heard_at_both_ends_under_its_topic_only(ends: Ends) -> None:
    near, far = ends(), ends()
    async with near.listen(TOPICS) as all_topics, near.listen(["channels"]) as channels, far.listen(TOPICS) as there:
        await settle(all_topics, far)
        await settle(there, near)
        for bell in (all_topics, channels, there):
            await bell.wait(SHORT_S)  # what was rung meanwhile is here already
        far.ring("transitions")
        assert await hear(all_topics, "transitions") == {"transitions"}
        assert await hear(there, "transitions") == {"transitions"}
        assert await channels.wait(SHORT_S) == frozenset()
        far.ring("channels")
        assert await hear(channels, "channels") == {"channels"}


async def test_every_topic_is_carried(ends: Ends) -> None:
    near, far = ends(), ends()
    async with near.listen(TOPICS) as bell:
        await settle(bell, far)
        for topic in sorted(TOPICS):
            far.ring(topic)
            assert await hear(bell, topic) == {topic}


async def test_silence_ends_with_the_timeout(ends: Ends) -> None:
    near, far = ends(), ends()
    async with near.listen(TOPICS) as bell:
        await settle(bell, far)
        assert await bell.wait(0) == frozenset()
        assert await bell.wait(SHORT_S) == frozenset()


async def test_rings_that_come_while_one_works_are_folded(ends: Ends) -> None:
    near, far = ends(), ends()
    async with near.listen(TOPICS) as bell:
        await settle(bell, far)
        for _ in range(10_000):
            far.ring("checks")
            far.ring("transitions")
        far.ring("targets")
        woken, rung = 0, set[Topic]()
        while "targets" not in rung:
            rung |= await bell.wait(LONG_S)
            woken += 1
        assert rung == {"checks", "transitions", "targets"}
        assert woken < 1000


async def test_anybody_may_ring_from_any_thread(ends: Ends) -> None:
    near, far = ends(), ends()
    async with near.listen(TOPICS) as bell:
        await settle(bell, far)
        threads = [threading.Thread(target=far.ring, args=(topic,)) for topic in sorted(TOPICS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert await hear(bell, *TOPICS) == TOPICS


async def test_a_listener_may_live_on_another_loop(ends: Ends) -> None:
    near, far = ends(), ends()
    listening = threading.Event()
    heard: list[set[Topic]] = []

    async def elsewhere() -> None:
        async with near.listen(["channels"]) as bell:
            listening.set()
            heard.append(await hear(bell, "channels"))

    thread = threading.Thread(target=lambda: asyncio.run(elsewhere()))
    thread.start()
    await asyncio.to_thread(listening.wait)
    async with near.listen(TOPICS) as bell:
        await settle(bell, far)
        far.ring("channels")
        await hear(bell, "channels")
    await asyncio.to_thread(thread.join)
    assert heard == [{"channels"}]


async def test_who_has_stopped_listening_is_rung_no_more(ends: Ends) -> None:
    near = ends()

    async def once() -> None:
        async with near.listen(TOPICS):
            pass

    await asyncio.to_thread(lambda: asyncio.run(once()))
    near.ring("checks")  # its loop is closed
    async with near.listen(TOPICS) as bell:
        near.ring("checks")
        assert "checks" in await hear(bell, "checks")


async def test_nonsense_on_the_channel_is_nothing(engine: Engine, ends: Ends) -> None:
    near, far = ends(), ends()
    async with near.listen(TOPICS) as bell, near.follow() as feed:
        await settle(bell, far)
        await complete(feed, bell, hands_on=engine.hands_on)
        await settle(bell, far)
        for text in NONSENSE:
            engine.say(text)
        far.ring("channels")
        assert await hear(bell, "channels") == {"channels"}
        assert feed.take().states == {}


RINGER = """
import sys, time
from tocsin.bus import open_bus
with open_bus(sys.argv[1], database_url=sys.argv[1]) as bus:
    bus.ring("notifications")
"""


@pytest.mark.parametrize("kind", ["postgres_url", "redis_url"])
async def test_another_process_is_heard_also_one_that_rings_and_ends(kind: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue(kind)
    with open_bus(url, database_url=url) as near, open_bus(url, database_url=url) as far:
        async with near.listen(TOPICS) as bell:
            await settle(bell, far)
            await asyncio.to_thread(subprocess.run, [sys.executable, "-c", RINGER, url], check=True)
            assert await hear(bell, "notifications") == {"notifications"}


# ── states ────────────────────────────────────────────────────────────────────────────────────────────


async def complete(feed: Feed, bell: Bell, *, hands_on: bool) -> None:
    """Until the feed says that it misses nothing, where it ever does."""
    feed.take()
    async with asyncio.timeout(LONG_S):
        while hands_on and not feed.take().complete:
            await bell.wait(SHORT_S)


async def test_states_are_handed_to_who_follows(engine: Engine, ends: Ends) -> None:
    near, far = ends(), ends()
    async with near.listen(TOPICS) as bell, near.follow() as feed, far.follow() as own:
        await settle(bell, far)
        await complete(feed, bell, hands_on=engine.hands_on)
        down = state(Verdict.DOWN, reason='refused: "no" – ✗')
        far.publish([(key(17), down), (key(17, 3), state())])
        assert own.take().states == {key(17): Current.of(down), key(17, 3): Current.of(state())}
        if engine.hands_on:
            await hear(bell, "checks")
            handed = feed.take()
            assert handed.states == {key(17): Current.of(down), key(17, 3): Current.of(state())}
            assert handed.complete
        far.ring("channels")
        await hear(bell, "channels")
        assert feed.take() == ({}, engine.hands_on)


async def test_of_a_state_the_newest_is_handed_over(engine: Engine, ends: Ends) -> None:
    near = ends()
    async with near.follow() as feed:
        for number in range(10):
            near.publish([(key(1), state(at_ms=number)), (key(2), state(at_ms=number))])
        assert feed.take().states == {key(1): Current.of(state(at_ms=9)), key(2): Current.of(state(at_ms=9))}
        assert feed.take().states == {}


async def test_whoever_begins_to_follow_may_have_missed_something(engine: Engine, ends: Ends) -> None:
    near = ends()
    async with near.listen(TOPICS) as bell:
        for _ in range(2):
            async with near.follow() as first, near.follow() as second:
                assert not first.take().complete
                await complete(first, bell, hands_on=engine.hands_on)
                assert not second.take().complete


async def test_a_follower_too_far_behind_loses_the_oldest_and_knows(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tocsin.bus.memory.MOST_STATES", 3)
    near = ends()
    async with near.follow() as feed:
        feed.take()
        near.publish([(key(number), state()) for number in range(5)])
        handed = feed.take()
        assert handed.states.keys() == {key(2), key(3), key(4)}
        assert not handed.complete


# ── the server is lost ────────────────────────────────────────────────────────────────────────────────


async def test_a_server_that_is_away_holds_nobody_up_and_is_heard_again(server: Server) -> None:
    with server.end() as near, server.end() as far:
        async with near.listen(TOPICS) as bell, near.follow() as feed:
            await settle(bell, far)
            await complete(feed, bell, hands_on=server.hands_on)
            server.stop()
            for _ in range(1000):
                far.ring("checks")
                far.publish([(key(1), state())])
            assert await bell.wait(SHORT_S) == frozenset()
            near.ring("targets")
            assert await hear(bell, "targets") == {"targets"}  # here it is heard all the same
            assert not feed.take().complete
            server.start()
            assert await hear(bell, *TOPICS) == TOPICS  # something may have been missed
            await settle(bell, far)
            await complete(feed, bell, hands_on=server.hands_on)
            far.ring("channels")
            assert await hear(bell, "channels") == {"channels"}


async def test_a_server_may_come_later(server: Server) -> None:
    server.stop()
    with server.end() as near, server.end() as far:
        far.ring("channels")
        async with near.listen(TOPICS) as bell:
            assert await bell.wait(SHORT_S) == frozenset()
            server.start()
            await settle(bell, far)


async def test_it_says_whether_it_is_linked(server: Server) -> None:
    again = metrics.BUS_RECONNECTS._value.get()
    with server.end() as near:
        async with near.listen(TOPICS) as bell:
            await linked(bell)
            assert metrics.BUS_RECONNECTS._value.get() == again
            server.stop()
            async with asyncio.timeout(LONG_S):
                while metrics.BUS_UP._value.get():
                    await bell.wait(0.02)
            server.start()
            await hear(bell, *TOPICS)
            assert metrics.BUS_UP._value.get() == 1
            assert metrics.BUS_RECONNECTS._value.get() == again + 1
    assert metrics.BUS_UP._value.get() == 0


def test_with_the_bus_its_thread_ends_whether_there_is_a_server_or_not(server: Server) -> None:
    for there in (True, False):
        before = set(threading.enumerate())
        with server.end() as bus:
            bus.ring("checks")
            (thread,) = set(threading.enumerate()) - before
        thread.join(LONG_S)
        assert not thread.is_alive()
        if there:
            server.stop()


def test_an_address_that_names_no_bus_is_refused() -> None:
    for url in ("", "sesame://", "redis://127.0.0.1?colour=sesame", "redis://:sesame/@127.0.0.1"):
        with pytest.raises(ValueError) as refused:
            open_bus(url, database_url="")
        assert "sesame" not in str(refused.value)
