"""Rings and states over Redis.

Rings and batches of states go out on two channels. Beside that every state is held under a key of its own that
expires, for programs that want to know how something stands and may ask neither the database nor the API. Redis is
only ever a cache: nothing is lost with it.

Keys are kept apart by the number of the Redis database; channels are not, so theirs have it in their name.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from typing import Any, Final

import msgspec
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from tocsin.bus.base import Current, Topic
from tocsin.bus.linked import ALIVE_S, ANSWER_S, Heard, LineLost, LinkedBus, heard_rung, rung
from tocsin.core.decide import State, Verdict
from tocsin.core.outcome import StateKey, Subject
from tocsin.lib.log import get_logger

log = get_logger("bus")

PREFIX: Final = "tocsin"
BEYOND_DUE_MS: Final = 5 * 60_000
"""A state is held until its subject should have been heard of, and this much longer."""
WITHOUT_DUE_MS: Final = 24 * 3_600_000
"""A state that says not when there will be news: a headline that is written when it changes, one of what is paused."""

# One command for a batch. A pipeline of as many SETs takes the sender six times the processor time.
# KEYS: of the states. ARGV: the channel, the sender, and for each state what it is (JSON) and for how long (ms).
# Yields why a state could not be held (no memory, a replica); it is handed round all the same.
_PUBLISH: Final = """
local said, refused = {}, false
for i, key in ipairs(KEYS) do
    said[i] = ARGV[2 * i + 1]
    local answer = redis.pcall('SET', key, said[i], 'PX', ARGV[2 * i + 2])
    refused = refused or answer.err or false
end
redis.call('PUBLISH', ARGV[1], '["' .. ARGV[2] .. '",[' .. table.concat(said, ',') .. ']]')
return refused
"""


class HeldState(msgspec.Struct):
    """What is held under a key and handed round, as JSON."""

    subject: str
    id: int
    rule: str
    location_id: int
    verdict: Verdict
    since_ms: int
    reason: str
    last_at_ms: int
    last_latency_us: int | None
    due_ms: int | None


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(tuple[str, list[HeldState]]).decode


def open_redis_bus(url: str) -> AbstractContextManager[LinkedBus]:
    """``redis://[[user]:password@]host[:port][/number]``, ``rediss://`` over TLS, ``unix://path`` of a socket; what
    redis-py understands after a question mark is passed to it. Raises ValueError, which repeats none of it,
    where it cannot be understood."""
    try:
        where = parse_url(url)
        _client(url).connection_pool.make_connection()  # type: ignore[no-untyped-call]
    except (ValueError, TypeError):
        raise ValueError("the address of Redis, or an option in it, cannot be understood") from None
    number = where.get("db", 0)
    server = where.get("path") or f"{where.get('host', 'localhost')}:{where.get('port', 6379)}/{number}"
    return LinkedBus.open(partial(_line, url, number), server=server, hands_on=True)


def _client(url: str) -> Redis:
    return Redis.from_url(
        url,
        protocol=2,
        retry=Retry(NoBackoff(), 0),  # whoever keeps the line decides when to try again
        socket_connect_timeout=ANSWER_S,
        socket_timeout=ANSWER_S,
        socket_keepalive=True,
        client_name=PREFIX,
    )


@asynccontextmanager
async def _line(url: str, number: int, name: str) -> AsyncIterator[RedisLine]:
    async with _client(url) as client, client.pubsub() as pubsub:
        line = RedisLine(client, pubsub, number, name)
        await line.open()
        yield line


class RedisLine:
    def __init__(self, client: Redis, pubsub: PubSub, number: int, name: str) -> None:
        self._client = client
        self._pubsub = pubsub
        self._name = name
        self._rings = f"{PREFIX}:{number}:rings"
        self._states = f"{PREFIX}:{number}:states"
        self._publish = client.register_script(_PUBLISH)
        self._refused = False

    async def open(self) -> None:
        async with _in_time():
            await self._pubsub.subscribe(self._rings)
            await self._pubsub.get_message(timeout=None)  # says that from here on all is heard

    async def ring(self, topics: frozenset[Topic]) -> None:
        async with _in_time():
            await self._client.publish(self._rings, rung(self._name, topics))

    async def publish(self, states: Sequence[tuple[StateKey, State]]) -> None:
        keys: list[str] = []
        arguments: list[Any] = [self._states, self._name]
        for key, state in states:
            held = _held(key, state)
            keys.append(key_of(key))
            arguments += (_encode(held), _life_ms(held))
        async with _in_time():
            refused = await self._publish(keys, arguments)
        if refused and not self._refused:
            log.warning("Redis holds no states", reason=refused.decode("utf-8", "replace"))
        self._refused = bool(refused)

    async def follow(self, wanted: bool) -> None:
        async with _in_time():
            await (self._pubsub.subscribe if wanted else self._pubsub.unsubscribe)(self._states)

    async def heard(self) -> AsyncIterator[Heard]:
        while True:
            async with _in_time(ALIVE_S + ANSWER_S):
                message = await self._pubsub.get_message(timeout=ALIVE_S)
            if message is None:
                async with _in_time():
                    await self._pubsub.ping()
                    message = await self._pubsub.get_message(timeout=ANSWER_S)
                if message is None:
                    raise LineLost("it does not answer")
            heard = self._understood(message)
            if heard is not None:
                yield heard

    def _understood(self, message: dict[str, Any]) -> Heard | None:
        """None in what is not for us, or not to be understood: a channel is open to whoever may write to Redis."""
        channel, data = message["channel"], message["data"]
        if channel == self._states.encode():
            if message["type"] != "message":
                return Heard(following=message["type"] == "subscribe")
            try:
                sender, states = _decode(data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                return None
            return None if sender == self._name else Heard(states=[_current(held) for held in states])
        if channel == self._rings.encode() and message["type"] == "message":
            return Heard(heard_rung(self._name, data.decode("utf-8", "replace")))
        return None


def key_of(key: StateKey) -> str:
    """``tocsin:state:target:17:reachable:0``: subject, its number, the rule, the location (0: the headline)."""
    (kind, subject_id), rule, location_id = key
    return f"{PREFIX}:state:{kind}:{subject_id}:{rule}:{location_id}"


def _life_ms(held: HeldState) -> int:
    return WITHOUT_DUE_MS if held.due_ms is None else max(held.due_ms - held.last_at_ms, 0) + BEYOND_DUE_MS


def _held(key: StateKey, state: State) -> HeldState:
    (kind, subject_id), rule, location_id = key
    return HeldState(
        kind,
        subject_id,
        rule,
        location_id,
        state.verdict,
        state.since_ms,
        state.reason,
        state.last_at_ms,
        state.last_latency_us,
        state.due_ms,
    )


def _current(held: HeldState) -> tuple[StateKey, Current]:
    return StateKey(Subject(held.subject, held.id), held.rule, held.location_id), Current(
        held.verdict, held.since_ms, held.reason, held.last_at_ms, held.last_latency_us, held.due_ms
    )


@asynccontextmanager
async def _in_time(seconds: float = ANSWER_S) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except (RedisError, OSError, TimeoutError) as error:
        raise LineLost(str(error) or "it does not answer") from error
