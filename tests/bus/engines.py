"""Every engine of the bus behind the same few verbs: open an end, cut the server off, bring it back, say nonsense."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Protocol

import psycopg

from tests.postgres import PrivateServer
from tests.redis import PrivateRedis
from tocsin.bus import open_bus
from tocsin.bus.base import Bus

NONSENSE = (
    "",
    " ",
    "checks",
    "somebody unheard-of",
    "somebody checkschecks",
    "[" * 5000,
    '["somebody",[{"verdict":"fine"}]]',
    '["somebody",7]',
    "\u2028\u0001 ringing",
)


class Engine(Protocol):
    hands_on: bool
    """Its ends hear of each other's states."""

    def end(self) -> AbstractContextManager[Bus]:
        """What one process holds of it."""
        ...

    def say(self, text: str) -> None:
        """Sends this on every channel, past all ends."""
        ...


class Server(Engine, Protocol):
    """An engine whose server can be lost."""

    def stop(self) -> None: ...

    def start(self) -> None: ...


class Memory:
    hands_on = True

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._bus = self._stack.enter_context(open_bus("memory://", database_url=""))

    @contextmanager
    def end(self) -> Iterator[Bus]:
        yield self._bus

    def say(self, text: str) -> None:
        """There is no channel."""


class Postgres:
    hands_on = False

    def __init__(self, url: str, server: PrivateServer | None = None) -> None:
        self._url = url
        self._server = server

    def end(self) -> AbstractContextManager[Bus]:
        return open_bus("postgres://", database_url=self._url)

    def say(self, text: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as conn:
            conn.execute("SELECT pg_notify('tocsin', %s)", (text,))

    def stop(self) -> None:
        assert self._server is not None
        self._server.stop()

    def start(self) -> None:
        assert self._server is not None
        self._server.start()


class Redis:
    hands_on = True

    def __init__(self, server: PrivateRedis) -> None:
        self._server = server

    def end(self) -> AbstractContextManager[Bus]:
        return open_bus(self._server.url, database_url="")

    def say(self, text: str) -> None:
        raw = text.encode()
        for channel in (b"tocsin:0:rings", b"tocsin:0:states"):
            self._server.send(b"PUBLISH", channel, raw)
            self._server.send(b"PUBLISH", channel, b"\x00\xff" + raw)

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        self._server.start()
