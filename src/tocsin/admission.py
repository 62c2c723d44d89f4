"""Whose a key is, for those whom the same ones are shown again and again: what was found is good for a moment."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from tocsin.catalog import access
from tocsin.catalog.access import Identity
from tocsin.lib.clock import Clock
from tocsin.lib.log import get_logger
from tocsin.lib.threads import TaskSet, Threads
from tocsin.store.engine import Store, StoreBusy, StoreError

SURE_S: Final = 2.0
"""A key that is shown all the time is looked up again this often: so long a revoked one may go on."""
WRONG_S: Final = 5.0
"""A key that was wrong is not looked up again for so long."""
KEPT_WRONG: Final = 1000
KEPT: Final = 50_000
MOST_ASKED: Final = 1000
"""Keys that are being looked up; who shows one more is to come again."""

log = get_logger("access")


class Admission:
    """For one event loop; asks while it is ``at_work``."""

    def __init__(self, store: Store, clock: Clock, threads: Threads) -> None:
        self._store = store
        self._clock = clock
        self._threads = threads
        self._tasks = TaskSet(lambda error: log.error("a key cannot be looked up", exc_info=error))
        self._wrong: OrderedDict[str, float] = OrderedDict()
        """Keys that were wrong, each with when it was looked up, oldest first."""
        self._known: OrderedDict[str, tuple[Identity, float]] = OrderedDict()
        self._asked: dict[str, asyncio.Future[Identity | None]] = {}
        """Keys that are being looked up: whoever shows one meanwhile waits for the same answer."""

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await self._tasks.close()

    def last(self, key: str) -> Identity:
        """Whose it was when it was found last. ``KeyError`` where it never was."""
        return self._known[key][0]

    async def identity(self, key: str, *, sure_s: float = SURE_S) -> Identity | None:
        """None: the key is unknown or revoked. ``sure_s``: for how long it is not looked up again; 0: it is looked up
        now. Raises ``StoreBusy`` and ``StoreUnavailable``."""
        if not access.may_be_key(key):  # nothing that anybody sends is kept here, of any length
            return None
        now_s = self._clock.monotonic()
        if now_s - self._wrong.get(key, float("-inf")) < WRONG_S:
            return None
        known = self._known.get(key)
        if known is not None and now_s - known[1] < sure_s:
            self._known.move_to_end(key)
            return known[0]
        asked = self._asked.get(key) if sure_s > 0 else None
        if asked is None:
            if len(self._asked) >= MOST_ASKED:
                raise StoreBusy("too many keys are being looked up")
            asked = self._asked[key] = asyncio.get_running_loop().create_future()
            self._tasks.start(self._look_up(key, asked))
        return await asyncio.shield(asked)  # of several who wait one may give up

    async def _look_up(self, key: str, asked: asyncio.Future[Identity | None]) -> None:
        now_s = self._clock.monotonic()
        try:
            found = await self._threads.run(self._find, key)
        except Exception as error:
            asked.set_exception(error)
            asked.exception()  # all who asked may have given up
            return
        except asyncio.CancelledError:
            asked.cancel()  # nobody looks any more
            raise
        finally:
            if self._asked.get(key) is asked:
                del self._asked[key]
        if found is None:
            self._wrong[key] = now_s
            self._wrong.move_to_end(key)
            if len(self._wrong) > KEPT_WRONG:
                self._wrong.popitem(last=False)
        else:
            self._known[key] = found, now_s
            self._known.move_to_end(key)
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
        asked.set_result(found)
        if found is not None and found.stale:
            await self._threads.run(note_use, self._store, found, self._clock.now_ms())

    def _find(self, key: str) -> Identity | None:
        """On a thread."""
        with self._store.read() as conn:
            return access.identify_key(conn, key, now_ms=self._clock.now_ms())


def note_use(store: Store, identity: Identity, now_ms: int) -> None:
    """If it is time to. Blocks; left for later when the store is busy writing."""
    if not identity.stale:
        return
    try:
        with store.write() as conn:
            access.note_use(conn, identity, now_ms=now_ms)
    except StoreError as error:
        log.info("the use of a key was not noted", name=identity.name, reason=str(error))
