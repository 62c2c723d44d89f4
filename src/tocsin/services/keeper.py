"""Keeps the store in shape: folds checks into hours and days, removes what is too old, purges deleted targets.

One keeper at a time does the work. Every chore is a run of small transactions, so that nobody who writes waits long,
and each may be cut off anywhere: what it did is done, what it did not do is done next time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final, Self
from uuid import uuid4

from tocsin.core.rollup import DAY_MS
from tocsin.lib.clock import Clock
from tocsin.lib.log import get_logger
from tocsin.lib.threads import Threads
from tocsin.store import blocks, checks, leases, marks, partitions, retention, rollups, timescale
from tocsin.store.engine import Store, StoreError
from tocsin.store.partitions import Day

EVERY_S: Final = 60.0
TIDY_EVERY_MS: Final = 3_600_000
"""How often old rows are looked for."""
LEASE: Final = "keeper"
LEASE_MS: Final = 180_000

ROWS_AT_ONCE: Final = 500
"""Rows deleted in one transaction: some 10 ms on SQLite."""
TARGETS_AT_ONCE: Final = 200
"""Targets whose day is added up in one transaction."""
CHECKS_AT_ONCE: Final = 20_000
"""About how many checks of a partition are packed in one transaction: some 100 ms."""
DAYS_AHEAD: Final = 7
"""For so many days to come there are partitions: nobody who stores checks has to make one."""
READS_END_MS: Final = 60_000
"""By then everybody has ended who began to read before what is now packed was packed."""
PACK_FOR_MS: Final = 20_000
"""How much of a round goes into packing: folding is not kept waiting for longer."""
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
    unpacked_ms: int = DAY_MS
    """Days that have been over for so long are packed."""

    @classmethod
    def of_days(
        cls,
        *,
        checks: float = 7,
        hours: float = 400,
        days: float = 1826,
        notifications: float = 90,
        unpacked: float = 1,
    ) -> Self:
        return cls(*(round(length * DAY_MS) for length in (checks, hours, days, notifications, unpacked)))


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
            revision = marks.read(conn).revision
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


def make_partitions(store: Store, now_ms: int) -> Iterator[int]:
    """Make the partitions of the days to come, and end what was begun with those that go."""
    with store.read() as conn:
        if not partitions.used(conn):
            return
    with store.statements() as conn:
        dropped = partitions.finish_drops(conn)
    yield dropped
    today_ms = now_ms - now_ms % DAY_MS
    coming = range(today_ms, today_ms + (DAYS_AHEAD + 1) * DAY_MS, DAY_MS)
    for table in partitions.TABLES:
        with store.write() as conn:
            made = partitions.ensure(conn, table, coming)
        yield made


def pack(store: Store, kept: Retention, now: Callable[[], int], packed: dict[str, int]) -> Iterator[int]:
    """Pack the checks of days that are over, and folded, into blocks.

    From the first transaction on nobody adds to the rows of those days: what comes late goes into their blocks. A row
    that is packed is removed by the same transaction. Where days have partitions it stays until its partition is
    dropped, and beside its block it counts once. ``packed`` are the partitions all of which is in blocks, with the
    time since when: kept by the caller from one call to the next, empty at first.
    """
    with store.read() as conn:
        time_tables = partitions.time_tables(conn)
        standing = marks.read(conn)
    over_ms = min(now() - kept.unpacked_ms, standing.hours_ms)
    over_ms = max(standing.packed_ms, over_ms - over_ms % DAY_MS)
    if time_tables == "timescaledb":
        yield from _compress_chunks(store, over_ms)
        return
    if over_ms > standing.packed_ms:
        with store.write() as conn:
            marks.advance(conn, marks.PACKED, over_ms)
        yield 0
    if time_tables == "plain":
        yield from _pack_rows(store, over_ms)
        return
    with store.read() as conn:
        days = [day for day in partitions.days(conn, "checks") if day.end_ms <= over_ms]
    for day in days:
        if day.used and day.name not in packed:
            yield from _pack_day(store, day)
            packed[day.name] = now()
        elif not day.used or now() - packed[day.name] >= READS_END_MS:
            with store.statements() as conn:
                partitions.drop(conn, "checks", day.name)
            packed.pop(day.name, None)
            yield 1


def _pack_rows(store: Store, before_ms: int) -> Iterator[int]:
    """A target's oldest few hundred at a time."""
    with store.read() as conn:
        waiting = retention.targets_with(conn, "checks", before_ms)
    while waiting:
        packed = 0
        with store.write() as conn:
            while waiting and packed < ROWS_AT_ONCE:
                most = ROWS_AT_ONCE - packed
                gone = checks.pack_oldest(conn, waiting[-1], before_ms=before_ms, most=most)
                packed += gone
                if gone < most:
                    waiting.pop()
        yield packed


def _pack_day(store: Store, day: Day) -> Iterator[int]:
    """Part of the day by part of the day: what lies together is read together."""
    with store.read() as conn:
        target_ids = rollups.every_target_id(conn)
    at_once = 20
    for start_ms in range(day.start_ms, day.end_ms, blocks.BLOCK_MS):
        begin = 0
        while begin < len(target_ids):
            some = target_ids[begin : begin + at_once]
            with store.read() as conn:
                found = checks.unpacked(conn, some, start_ms, start_ms + blocks.BLOCK_MS)
            with store.write() as conn:
                blocks.add(conn, found)
            yield len(found)
            begin += at_once
            at_once = (
                at_once * 2 if len(found) < CHECKS_AT_ONCE // 2 else max(1, at_once * CHECKS_AT_ONCE // len(found))
            )


def _compress_chunks(store: Store, before_ms: int) -> Iterator[int]:
    with store.read() as conn:
        chunks = timescale.to_compress(conn, before_ms)
    for chunk in chunks:
        with store.write() as conn:
            timescale.compress(conn, chunk)
        yield 1


def trim(store: Store, kept: Retention, now_ms: int) -> Iterator[int]:
    """Remove history past its time; never a check that no hour holds yet."""
    with store.read() as conn:
        standing = marks.read(conn)
        time_tables = partitions.time_tables(conn)
    checks_ms = now_ms - kept.checks_ms
    folded_ms = min(checks_ms, standing.hours_ms)
    before = {
        "pings": checks_ms,
        "hours": min(now_ms - kept.hours_ms, standing.days_ms),
        "days": now_ms - kept.days_ms,
    }
    if time_tables == "plain":
        before |= {"checks": folded_ms, "blocks": folded_ms, "evidence": checks_ms}
    else:
        folded_ms -= folded_ms % DAY_MS
    if folded_ms > standing.kept_from_ms:
        with store.write() as conn:
            marks.advance(conn, marks.KEPT, folded_ms)
        yield 0
    if time_tables == "partitions":
        yield from _drop_partitions(store, folded_ms)
    elif time_tables == "timescaledb":
        yield from _drop_chunks(store, folded_ms)
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


def _drop_partitions(store: Store, before_ms: int) -> Iterator[int]:
    for table in partitions.TABLES:
        with store.read() as conn:
            days = [day for day in partitions.days(conn, table) if day.end_ms <= before_ms]
        for day in days:
            with store.statements() as conn:
                partitions.drop(conn, table, day.name)
            yield 1


def _drop_chunks(store: Store, before_ms: int) -> Iterator[int]:
    for table in timescale.TABLES:
        with store.write() as conn:
            dropped = timescale.drop_before(conn, table, before_ms)
        yield dropped


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
        self._packing: Iterator[int] | None = None
        self._packed: dict[str, int] = {}

    def round(self) -> Iterator[int]:
        """One round of chores, transaction by transaction; ends early when another keeper has taken over.

        Blocks between yields; raises StoreError.
        """
        now_ms = self._clock.now_ms()
        chores = [make_partitions(self._store, now_ms), fold(self._store, now_ms), seal_days(self._store)]
        tidy = self._tidied_ms is None or not 0 <= now_ms - self._tidied_ms < TIDY_EVERY_MS
        if tidy:
            chores += [
                trim(self._store, self._retention, now_ms),
                purge(self._store, now_ms),
                expire(self._store, self._retention, now_ms),
            ]
        chores.append(self._pack_for_a_while())
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

    def _pack_for_a_while(self) -> Iterator[int]:
        """Packing goes on in the next round where this one leaves it."""
        began_ms = self._clock.now_ms()
        packing = self._packing or pack(self._store, self._retention, self._clock.now_ms, self._packed)
        self._packing = None  # should it fail, it begins anew
        for changed in packing:
            yield changed
            if not 0 <= self._clock.now_ms() - began_ms < PACK_FOR_MS:
                self._packing = packing
                return

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
