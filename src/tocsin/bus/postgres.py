"""Rings over PostgreSQL's NOTIFY: processes that share a database need nothing else. States are not handed on: where
there is only the database, it is asked.

A line is a connection that listens and, once something is rung, one that notifies. Neither is in a transaction: a
NOTIFY inside one makes the commits of the whole server wait for each other (docs/decisions/0016-three-bells.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg
from psycopg import AsyncConnection

from tocsin.bus.base import Topic
from tocsin.bus.linked import ALIVE_S, ANSWER_S, Heard, LineLost, LinkedBus, heard_rung, rung
from tocsin.core.decide import State
from tocsin.core.outcome import StateKey

CHANNEL: Final = "tocsin"


def open_postgres_bus(url: str) -> AbstractContextManager[LinkedBus]:
    """``url`` is the database's, ``postgresql://…``, on a connection of its own: not through a pooler that gives each
    transaction another one."""
    return LinkedBus.open(partial(_line, url), server=urlsplit(url).hostname or "local", hands_on=False)


@asynccontextmanager
async def _line(url: str, name: str) -> AsyncIterator[PostgresLine]:
    line = PostgresLine(url, name)
    try:
        await line.open()
        yield line
    finally:
        await line.close()


class PostgresLine:
    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._listening: _Connection | None = None
        self._notifying: _Connection | None = None

    async def open(self) -> None:
        async with _in_time():
            self._listening = await _connected(self._url)
            await self._listening.execute(f"LISTEN {CHANNEL}")

    async def close(self) -> None:
        for connection in (self._listening, self._notifying):
            if connection is not None:
                await connection.close()

    async def ring(self, topics: frozenset[Topic]) -> None:
        async with _in_time():
            if self._notifying is None:
                self._notifying = await _connected(self._url)
            await self._notifying.execute("SELECT pg_notify(%s, %s)", (CHANNEL, rung(self._name, topics)))

    async def publish(self, states: Sequence[tuple[StateKey, State]]) -> None:
        """Never asked to: see ``hands_on``."""

    async def follow(self, wanted: bool) -> None:
        """Never asked to: see ``hands_on``."""

    async def heard(self) -> AsyncIterator[Heard]:
        connection = self._listening
        assert connection is not None, "it was not opened"
        while True:
            with _plainly():
                async for notice in connection.notifies(timeout=ALIVE_S):
                    yield Heard(heard_rung(self._name, notice.payload))
            async with _in_time():
                await connection.execute("SELECT 1")  # raises where nobody is there to answer


_Connection = AsyncConnection[tuple[Any, ...]]


async def _connected(url: str) -> _Connection:
    return await AsyncConnection.connect(url, autocommit=True, prepare_threshold=None, application_name="tocsin bus")


@contextmanager
def _plainly() -> Iterator[None]:
    try:
        yield
    except (psycopg.Error, OSError, TimeoutError) as error:
        said = str(error).strip().splitlines()
        raise LineLost(said[0] if said else "it does not answer") from error


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    with _plainly():
        async with asyncio.timeout(ANSWER_S):
            yield
