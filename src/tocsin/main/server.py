"""Uvicorn as a service among others: one hand stops everything in a process, and it is not Uvicorn's."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn

from tocsin.lib.threads import Ended, on_this_loop


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, listener: socket.socket) -> None:
        super().__init__(config)
        self._listener = listener
        self._stop = asyncio.Event()
        self.begun = asyncio.Event()
        """It answers, or never will."""

    async def run_until(self, stop: asyncio.Event) -> None:
        self._stop = stop
        try:
            await self.serve([self._listener])
        finally:
            self.begun.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.begun.set()

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or self._stop.is_set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(
    config: uvicorn.Config, listener: socket.socket, ended: Ended, *, stop_s: float
) -> AsyncIterator[None]:
    """Answers on ``listener`` from entering to leaving."""
    server = _Server(config, listener)
    async with on_this_loop(server.run_until, ended, stop_s=stop_s):
        await server.begun.wait()
        yield
