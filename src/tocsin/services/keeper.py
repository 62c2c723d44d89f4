"""Keeps the store in shape: folds checks into hours and days, removes what is too old, purges deleted targets.

One keeper at a time does the work. Every chore is a run of small transactions, so that nobody who writes waits long,
and each may be cut off anywhere: what it did is done, what it did not do is done next time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final, Self
from uuid import uuid4

from tocsin.core.rollup import DAY_MS
from tocsin.lib.clock import Clock
from tocsin.lib.log import get_logger
from tocsin.lib.threads import Threads
from tocsin.store import leases, retention, rollups
from tocsin.store.engine import Store, StoreError

EVERY_S: Final = 60.0
TIDY_EVERY_MS: Final = 3_600_000
"""How often old rows are looked for."""
LEASE: Final = "keeper"
LEASE_MS: Final = 180_000

ROWS_AT_ONCE: Final = 500
"""Rows deleted in one transaction: some 10 ms on SQLite."""
TARGETS_AT_ONCE: Final = 200
"""Targets whose day is added up in one transaction."""
PURGE_AFTER_MS: Final = 600_000
"""How long after a target was deleted its history goes: by then no worker writes for it any more."""

log = get_logger("keeper")


@dataclass(frozen=True, slots=True)
class Retention:
    """How long things are kept."""

    checks_ms: int = 7 * DAY_MS
    """Single checks, their evidence, and the calls of heartbeats."""
    hours_ms: int = 400 * DAY_MS
    days_ms: int = 1826 * DAY_MS
    notifications_ms: int = 90 * DAY_MS

    @classmethod
    def of_days(cls, *, checks: float = 7, hours: float = 400, days: float = 1826, notifications: float = 90) -> Self:
        return cls(*(round(length * DAY_MS) for length in (checks, hours, days, notifications)))


# ── chores: each yields, after every transaction, how many rows it changed ────────────────────────────


def fold(store: Store, now_ms: int) -> Iterator[int]:
    """Fold checks into hours, oldest first, and late ones where they belong."""
    while True:
        with store.read() as conn:
            plan = rollups.plan_fold(conn, now_ms)
        if plan is None:
            return
        with store.write() as conn:
            written = rollups.write_fold(conn, plan)
        yield len(plan.hours) if written else 0


def seal_days(store: Store) -> Iterator[int]:
    """Add up the hours of each day that is complete."""
    while True:
        with store.read() as conn:
            start_ms = rollups.day_to_seal(conn)
            revision = rollups.marks(conn).revision
            target_ids = rollups.every_target_id(conn)
        if start_ms is None:
            return
        for begin in range(0, len(target_ids), TARGETS_AT_ONCE):
            with store.read() as conn:
                days = rollups.plan_days(conn, start_ms, target_ids[begin : begin + TARGETS_AT_ONCE])
            with store.write() as conn:
                if not rollups.write_days(conn, days, revision):
                    return  # another keeper folds: the day begins anew in the next round
            yield len(days)
        with store.write() as conn:
            if not rollups.seal_day(conn, start_ms, revision):
                return
        yield 0


def trim(store: Store, kept: Retention, now_ms: int) -> Iterator[int]:
    """Remove history past its time; never a check that no hour holds yet."""
    with store.read() as conn:
        marks = rollups.marks(conn)
    checks_ms = now_ms - kept.checks_ms
    before = {
        "checks": min(checks_ms, marks.hours_ms),
        "evidence": checks_ms,
        "pings": checks_ms,
        "hours": min(now_ms - kept.hours_ms, marks.days_ms),
        "days": now_ms - kept.days_ms,
    }
    for what, before_ms in before.items():
        with store.read() as conn:
            waiting = retention.targets_with(conn, what, before_ms)
        while waiting:
            removed = 0
            with store.write() as conn:
                while waiting and removed < ROWS_AT_ONCE:
                    most = ROWS_AT_ONCE - removed
                    gone = retention.trim(conn, what, waiting[-1], before_ms=before_ms, most=most)
                    removed += gone
                    if gone < most:
                        waiting.pop()
            yield removed


def purge(store: Store, now_ms: int) -> Iterator[int]:
    """Remove the history, and then the row, of targets that were deleted."""
    with store.read() as conn:
        deleted = retention.deleted_targets(conn, now_ms - PURGE_AFTER_MS)
    for target_id in deleted:
        for what in retention.HISTORY:
            while True:
                with store.write() as conn:
                    gone = retention.trim(conn, what, target_id, before_ms=None, most=ROWS_AT_ONCE)
                yield gone
                if gone < ROWS_AT_ONCE:
                    break
        while True:
            with store.write() as conn:
                gone = retention.trim_transitions(conn, target_id, most=ROWS_AT_ONCE)
            yield gone
            if gone < ROWS_AT_ONCE:
                break
        with store.write() as conn:
            retention.forget_target(conn, target_id)
        yield 1


def expire(store: Store, kept: Retention, now_ms: int) -> Iterator[int]:
    """Remove sessions that have run out and messages delivered long ago."""
    with store.write() as conn:
        gone = retention.expire_sessions(conn, now_ms)
    yield gone
    before_ms = now_ms - kept.notifications_ms
    while gone := _trim_notifications(store, before_ms):
        yield gone


def _trim_notifications(store: Store, before_ms: int) -> int:
    with store.write() as conn:
        return retention.trim_notifications(conn, before_ms=before_ms, most=ROWS_AT_ONCE)


# ── the loop ──────────────────────────────────────────────────────────────────────────────────────────


class Keeper:
    """Does the chores every minute, while it holds the lease."""

    def __init__(self, *, store: Store, clock: Clock, retention: Retention) -> None:
        self._store = store
        self._clock = clock
        self._retention = retention
        self._holder = str(uuid4())
        self._tidied_ms: int | None = None

    def round(self) -> Iterator[int]:
        """One round of chores, transaction by transaction; ends early when another keeper has taken over.

        Blocks between yields; raises StoreError.
        """
        now_ms = self._clock.now_ms()
        chores = [fold(self._store, now_ms), seal_days(self._store)]
        tidy = self._tidied_ms is None or not 0 <= now_ms - self._tidied_ms < TIDY_EVERY_MS
        if tidy:
            chores += [
                trim(self._store, self._retention, now_ms),
                purge(self._store, now_ms),
                expire(self._store, self._retention, now_ms),
            ]
        taken_ms: int | None = None
        steps = chain.from_iterable(chores)
        while True:
            now_ms = self._clock.now_ms()
            if taken_ms is None or not 0 <= now_ms - taken_ms < LEASE_MS // 3:
                with self._store.write() as conn:
                    if not leases.take(conn, LEASE, self._holder, now_ms=now_ms, for_ms=LEASE_MS):
                        return
                taken_ms = now_ms
            changed = next(steps, None)
            if changed is None:
                break
            yield changed
        self._store.tidy()
        if tidy:
            self._tidied_ms = now_ms

    async def run(self, stop: asyncio.Event) -> None:
        """Rounds until ``stop`` is set; a round is left between two transactions."""
        threads = Threads("keeper", 1)
        try:
            while not stop.is_set():
                try:
                    steps = self.round()
                    while not stop.is_set() and await threads.run(next, steps, None) is not None:
                        pass
                except StoreError as error:
                    log.warning("the keeper waits for the database", reason=str(error))
                except Exception:
                    log.exception("a round of the keeper failed; the next one tries again")
                try:
                    async with asyncio.timeout(EVERY_S):
                        await stop.wait()
                except TimeoutError:
                    continue
            await threads.run(self._release)
        finally:
            threads.close()

    def _release(self) -> None:
        try:
            with self._store.write() as conn:
                leases.release(conn, LEASE, self._holder)
        except StoreError as error:
            log.warning("the keeper's lease runs out by itself", reason=str(error))
