"""Whose a key is, for those whom the same ones are shown again and again: what was found is good for a moment."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from functools import partial
from typing import Final

from tocsin.catalog import access
from tocsin.catalog.access import Identity
from tocsin.lib.clock import Clock
from tocsin.lib.log import get_logger
from tocsin.lib.threads import Threads
from tocsin.store.engine import Store, StoreError

SURE_S: Final = 2.0
"""A key that is shown all the time is looked up again this often: so long a revoked one may go on."""
WRONG_S: Final = 5.0
"""A key that was wrong is not looked up again for so long."""
KEPT_WRONG: Final = 1000
KEPT: Final = 50_000

log = get_logger("access")


class Admission:
    """For one event loop."""

    def __init__(self, store: Store, clock: Clock, threads: Threads) -> None:
        self._store = store
        self._clock = clock
        self._threads = threads
        self._wrong: OrderedDict[str, float] = OrderedDict()
        """Keys that were wrong, each with when it was looked up, oldest first."""
        self._known: OrderedDict[str, tuple[Identity, float]] = OrderedDict()
        self._asked: dict[str, asyncio.Task[Identity | None]] = {}
        """Keys that are being looked up: whoever shows one meanwhile waits for the same answer."""

    def last(self, key: str) -> Identity:
        """Whose it was when it was found last. ``KeyError`` where it never was."""
        return self._known[key][0]

    async def identity(self, key: str, *, sure_s: float = SURE_S) -> Identity | None:
        """None: the key is unknown or revoked. ``sure_s``: for how long it is not looked up again. Raises ``StoreBusy``
        and ``StoreUnavailable``."""
        now_s = self._clock.monotonic()
        if now_s - self._wrong.get(key, float("-inf")) < WRONG_S:
            return None
        known = self._known.get(key)
        if known is not None and now_s - known[1] < sure_s:
            self._known.move_to_end(key)
            return known[0]
        asked = self._asked.get(key)
        if asked is None:
            asked = self._asked[key] = asyncio.create_task(self._look_up(key))
            asked.add_done_callback(partial(self._answered, key))
        return await asyncio.shield(asked)  # of several who wait one may give up

    def _answered(self, key: str, asked: asyncio.Task[Identity | None]) -> None:
        del self._asked[key]
        if not asked.cancelled():
            asked.exception()  # all who asked may have given up

    async def _look_up(self, key: str) -> Identity | None:
        now_s = self._clock.monotonic()
        found = await self._threads.run(self._find, key)
        if found is None:
            self._wrong[key] = now_s
            self._wrong.move_to_end(key)
            if len(self._wrong) > KEPT_WRONG:
                self._wrong.popitem(last=False)
            return None
        self._known[key] = found, now_s
        self._known.move_to_end(key)
        if len(self._known) > KEPT:
            self._known.popitem(last=False)
        return found

    def _find(self, key: str) -> Identity | None:
        """On a thread."""
        now_ms = self._clock.now_ms()
        with self._store.read() as conn:
            identity = access.identify_key(conn, key, now_ms=now_ms)
        if identity is not None:
            note_use(self._store, identity, now_ms=now_ms)
        return identity


def note_use(store: Store, identity: Identity, *, now_ms: int) -> None:
    """If it is time to. Left for later when the store is busy writing."""
    if not identity.stale:
        return
    try:
        with store.write() as conn:
            access.note_use(conn, identity, now_ms=now_ms)
    except StoreError as error:
        log.info("the use of a key was not noted", name=identity.name, reason=str(error))
