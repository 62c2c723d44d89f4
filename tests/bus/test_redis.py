"""What only Redis does: states under keys that expire, a server that hangs, addresses with secrets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from tests.bus.test_bus import LONG_S, complete, hear, key, linked, settle, state
from tests.redis import PrivateRedis, start_private_redis
from tocsin.bus import linked as joined
from tocsin.bus import open_bus, redis
from tocsin.bus.base import TOPICS, Bell, Bus, Current
from tocsin.core.decide import Verdict
from tocsin.core.outcome import StateKey
from tocsin.lib import metrics


async def published(bell: Bell, far: Bus) -> None:
    """Until everything that ``far`` published before has reached Redis: rings go after states."""
    far.ring("channels")
    await hear(bell, "channels")


async def test_a_state_is_held_as_long_as_it_is_due_and_five_minutes_more(
    redis_url: str, redis_server: PrivateRedis
) -> None:
    with open_bus(redis_url, database_url="") as near, open_bus(redis_url, database_url="") as far:
        async with near.listen(TOPICS) as bell:
            await settle(bell, far)
            far.publish([(key(17), state(Verdict.DOWN, 1_800_000_000_000, reason="refused"))])
            far.publish([(key(17, 3), state()._replace(due_ms=None)), (key(18), state()), (key(18), state(at_ms=1))])
            await published(bell, far)
    held = redis_server.ask("GET tocsin:state:target:17:reachable:0").split(b"\r\n")[1]
    assert json.loads(held) == {
        "subject": "target",
        "id": 17,
        "rule": "reachable",
        "location_id": 0,
        "verdict": "down",
        "since_ms": 1_799_999_995_000,
        "reason": "refused",
        "last_at_ms": 1_800_000_000_000,
        "last_latency_us": 20_500,
        "due_ms": 1_800_000_060_000,
    }
    assert 300_000 < lives_ms(redis_server, "tocsin:state:target:17:reachable:0") <= 360_000
    assert 86_000_000 < lives_ms(redis_server, "tocsin:state:target:17:reachable:3") <= 86_400_000
    assert b'"last_at_ms":1,' in redis_server.ask("GET tocsin:state:target:18:reachable:0")


def lives_ms(server: PrivateRedis, name: str) -> int:
    return int(server.ask(f"PTTL {name}")[1:])


async def test_more_states_than_go_at_once_all_arrive(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joined, "MOST_AT_ONCE", 7)
    with open_bus(redis_url, database_url="") as near, open_bus(redis_url, database_url="") as far:
        async with near.listen(TOPICS) as bell, near.follow() as feed:
            await settle(bell, far)
            await complete(feed, bell, hands_on=True)
            far.publish([(key(number), state()) for number in range(50)])
            seen: set[StateKey] = set()
            async with asyncio.timeout(LONG_S):
                while len(seen) < 50:
                    await bell.wait(LONG_S)
                    handed = feed.take()
                    assert handed.complete
                    seen |= handed.states.keys()


async def test_of_too_many_that_wait_to_be_sent_the_oldest_go(
    redis_url: str, redis_server: PrivateRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joined, "MOST_STATES", 3)
    with open_bus(redis_url, database_url="") as near, open_bus(redis_url, database_url="") as far:
        async with near.listen(TOPICS) as bell:
            await settle(bell, far)
            far.publish([(key(number), state()) for number in range(5)])
            await published(bell, far)
    assert redis_server.ask("DBSIZE") == b":3\r\n"


async def test_who_nobody_follows_is_told_nothing(redis_url: str, redis_server: PrivateRedis) -> None:
    def following() -> bytes:
        return redis_server.ask("PUBSUB NUMSUB tocsin:0:states").split(b"\r\n")[-2]

    with open_bus(redis_url, database_url="") as near:
        async with near.listen(TOPICS) as bell:
            await linked(bell)
            for _ in range(3):
                assert following() == b":0"
                async with near.follow() as feed:
                    await complete(feed, bell, hands_on=True)
                    assert following() == b":1"
                async with asyncio.timeout(LONG_S):
                    while following() != b":0":
                        await bell.wait(0.02)


async def test_installations_in_other_databases_do_not_hear_each_other(redis_url: str) -> None:
    with (
        open_bus(redis_url, database_url="") as near,
        open_bus(redis_url, database_url="") as far,
        open_bus(f"{redis_url}/1", database_url="") as other,
    ):
        async with near.listen(TOPICS) as bell, other.listen(TOPICS) as elsewhere, other.follow() as feed:
            await settle(bell, far)
            await settle(elsewhere, other)
            await complete(feed, elsewhere, hands_on=True)
            await elsewhere.wait(0)
            far.publish([(key(17), state())])
            await published(bell, far)
            other.ring("channels")
            assert "notifications" not in await hear(elsewhere, "channels")
            assert feed.take() == ({}, True)


async def test_a_server_that_hangs_is_noticed(private_redis: PrivateRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis, "ALIVE_S", 0.1)
    monkeypatch.setattr(redis, "ANSWER_S", 0.2)
    with open_bus(private_redis.url, database_url="") as near:
        async with near.listen(TOPICS) as bell:
            await linked(bell)
            private_redis.freeze()
            try:
                async with asyncio.timeout(LONG_S):
                    while metrics.BUS_UP._value.get():
                        near.ring("checks")
                        await bell.wait(0.05)
            finally:
                private_redis.thaw()
            await hear(bell, *TOPICS)


@pytest.fixture
def guarded() -> Iterator[PrivateRedis]:
    server = start_private_redis({"requirepass": "sesame"})
    yield server
    server.remove()


async def test_a_password_is_sent_and_never_logged(guarded: PrivateRedis) -> None:
    with open_bus(guarded.url, database_url="") as near:
        async with near.listen(TOPICS) as bell:
            await linked(bell)
    wrong = guarded.url.replace("sesame", "abracadabra")
    with capture_logs() as said, open_bus(wrong, database_url="") as near:
        async with near.listen(TOPICS) as bell:
            assert await bell.wait(0.5) == frozenset()
    assert [entry["event"] for entry in said] == ["the bus is cut off, timers go on"]
    assert said[0]["server"] == f"127.0.0.1:{guarded.port}/0"
    assert "sesame" not in str(said)
    assert "abracadabra" not in str(said)


async def test_a_server_that_has_no_room_hands_round_all_the_same(private_redis: PrivateRedis) -> None:
    private_redis.ask("CONFIG SET maxmemory 1")
    with (
        capture_logs() as said,
        open_bus(private_redis.url, database_url="") as near,
        open_bus(private_redis.url, database_url="") as far,
    ):
        async with near.listen(TOPICS) as bell, near.follow() as feed:
            await settle(bell, far)
            await complete(feed, bell, hands_on=True)
            for number in (17, 18):
                far.publish([(key(number), state())])
                await published(bell, far)
                assert feed.take() == ({key(number): Current.of(state())}, True)
            assert private_redis.ask("DBSIZE") == b":0\r\n"
    assert [entry["event"] for entry in said] == ["Redis holds no states"]
