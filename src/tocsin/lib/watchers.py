"""Who watches a live view, and what waits for each. Nobody waits for a slow one: it is sent a fresh whole when it can
take more. Knows nothing of what is watched, nor of the connections. For one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

BACKLOG: Final = 8
"""A watcher this many messages behind is sent a fresh whole instead."""


class Watcher:
    """One of them. ``behind``: its backlog was full, so it starts over."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[bytes] = asyncio.Queue(BACKLOG)
        self.behind = False


class Watchers:
    def __init__(self, most: int) -> None:
        self._most = most
        self._all: set[Watcher] = set()

    def __len__(self) -> int:
        return len(self._all)

    @property
    def is_full(self) -> bool:
        return len(self._all) >= self._most

    def add(self, whole: bytes) -> Watcher:
        """One whose first message is ``whole``. No message may be given between the making of that and this."""
        watcher = Watcher()
        watcher.messages.put_nowait(whole)
        self._all.add(watcher)
        return watcher

    def discard(self, watcher: Watcher) -> None:
        self._all.discard(watcher)

    async def give(self, message: bytes | None, whole: Callable[[], Awaitable[bytes]]) -> None:
        """The message (None: there is none) to everybody who keeps up, and the whole to those who were behind and have
        taken all that waited for them. ``whole`` includes what the message says."""
        for watcher in list(self._all):
            if watcher.behind:
                if watcher.messages.empty():
                    fresh = await whole()
                    watcher.behind = False
                    watcher.messages.put_nowait(fresh)
            elif message is not None:
                try:
                    watcher.messages.put_nowait(message)
                except asyncio.QueueFull:
                    watcher.behind = True
