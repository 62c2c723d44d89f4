"""Whose turn it is to write to the archive. A file is read and written again as a whole, so two who did it at once
would lose what one of them has in it; a lease in the database lets one do it at a time, whoever it is. Knows no file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final
from uuid import uuid4

from sqlalchemy import Connection

from tocsin.archive import ArchiveBusy, ArchiveError
from tocsin.lib.clock import SYSTEM_CLOCK
from tocsin.lib.log import get_logger
from tocsin.lib.threads import beside
from tocsin.store import leases, server_clock
from tocsin.store.engine import Store, StoreError

LEASE: Final = "archive"
LEASE_MS: Final = 60_000
"""After so long without a sign whoever wrote is gone, and the next one may."""
_RENEW_AFTER_S: Final = LEASE_MS / 3000

log = get_logger("archive")


class Turn:
    """Ours until it is over, as long as it is renewed in time. Raises the store's errors."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._holder = str(uuid4())
        self._renewed_s = SYSTEM_CLOCK.monotonic()

    def take(self) -> None:
        """Raises ArchiveBusy where it is somebody else's."""
        with self._store.write() as conn:
            if not leases.take(conn, LEASE, self._holder, now_ms=_now_ms(conn), for_ms=LEASE_MS):
                raise ArchiveBusy("another process is writing to the archive")
        self._renewed_s = SYSTEM_CLOCK.monotonic()

    def go_on(self) -> None:
        """Between two steps: renews it when it is time to. Raises as ``make_sure``."""
        if SYSTEM_CLOCK.monotonic() - self._renewed_s >= _RENEW_AFTER_S:
            self.make_sure()

    def make_sure(self) -> None:
        """Renews it. Raises ArchiveError where somebody else has had it meanwhile: what was read may be out of date."""
        with self._store.write() as conn:
            if not leases.renew(conn, LEASE, self._holder, now_ms=_now_ms(conn), for_ms=LEASE_MS):
                raise ArchiveError("writing took too long, and another process has written to the archive meanwhile")
        self._renewed_s = SYSTEM_CLOCK.monotonic()

    @contextmanager
    def renewed_beside(self) -> Iterator[None]:
        """Renewed by a thread, for a step that may take long. ``make_sure`` afterwards says whether that was enough."""

        async def renew(stop: asyncio.Event) -> None:
            while not stop.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(_RENEW_AFTER_S):
                        await stop.wait()
                        return
                with suppress(ArchiveError, StoreError):
                    self.make_sure()

        with beside("archive", renew, stop_s=10):
            yield

    def give_back(self) -> None:
        """So that the next one need not wait."""
        try:
            with self._store.write() as conn:
                leases.release(conn, LEASE, self._holder)
        except StoreError as error:
            log.warning("the lease for writing to the archive runs out by itself", reason=str(error))


def _now_ms(conn: Connection) -> int:
    """By the clock that everybody goes by who writes."""
    of_server_ms = server_clock.now_ms(conn)
    return SYSTEM_CLOCK.now_ms() if of_server_ms is None else of_server_ms
