"""Keeps the store in shape: folds checks into hours and days, removes what is too old, purges deleted targets.

One keeper at a time does the work. Every chore is a run of small transactions, so that nobody who writes waits long,
and each may be cut off anywhere: what it did is done, what it did not do is done next time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Final, Protocol, Self
from uuid import uuid4

from sqlalchemy import Connection

from tocsin.core.outcome import Subject
from tocsin.core.rollup import DAY_MS, HOUR_MS
from tocsin.core.samples import MACHINE
from tocsin.core.target import TARGET
from tocsin.lib.clock import Clock
from tocsin.lib.log import get_logger
from tocsin.lib.threads import Threads
from tocsin.store import (
    archiving,
    blocks,
    checks,
    leases,
    marks,
    partitions,
    retention,
    rollups,
    sealing,
    tables,
    timescale,
)
from tocsin.store.archiving import Tier
from tocsin.store.engine import Store, StoreError
from tocsin.store.partitions import Day
from tocsin.store.sealing import Kept

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
HOURS_AHEAD: Final = 6
"""The same for ticks of machines, whose partitions are hours."""
MACHINES_AT_ONCE: Final = 10
POINTS_AT_ONCE: Final = 1_000_000
"""At most so many machines' hours are sealed in one transaction, and about so many points: some 150 ms, most of it
before the transaction that writes."""
READS_END_MS: Final = 60_000
"""By then everybody has ended who began to read before what is now packed was packed."""
PACK_FOR_MS: Final = 20_000
"""How much of a round goes into packing: folding is not kept waiting for longer."""
PURGE_AFTER_MS: Final = 600_000
"""How long after a target or a machine was deleted its history goes: by then nobody writes for it any more."""

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
                gone = retention.trim_transitions(conn, Subject(TARGET, target_id), most=ROWS_AT_ONCE)
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


# ── chores for samples of machines ────────────────────────────────────────────────────────────────────


def make_sample_partitions(store: Store, now_ms: int) -> Iterator[int]:
    """Make the partitions of the hours and days to come; to be called after ``make_partitions``."""
    with store.read() as conn:
        if not partitions.used_for_samples(conn):
            return
        ending = not partitions.used(conn)
    if ending:
        with store.statements() as conn:
            dropped = partitions.finish_drops(conn)
        yield dropped
    for table in partitions.SAMPLE_TABLES:
        each_ms = partitions.length_ms(table)
        ahead = DAYS_AHEAD if each_ms == DAY_MS else HOURS_AHEAD
        first_ms = now_ms - now_ms % each_ms
        with store.write() as conn:
            made = partitions.ensure(conn, table, range(first_ms, first_ms + (ahead + 1) * each_ms, each_ms))
        yield made


def seal_samples(store: Store, now_ms: int) -> Iterator[int]:
    """Make blocks, minutes and hours of the ticks of every hour that is over, oldest first, some machines at a time."""
    through_ms = sealing.through(now_ms)
    with store.read() as conn:
        standing = marks.read_samples(conn)
    if through_ms > standing.closed_ms:
        with store.write() as conn:
            marks.close_samples(conn, through_ms)
        yield 0
    while True:
        with store.read() as conn:
            standing = marks.read_samples(conn)
            start_ms = sealing.next_hour(conn)
            machine_ids = [] if start_ms is None else sealing.machines_of(conn, start_ms)
        if start_ms is None:
            if standing.sealed_ms < standing.closed_ms:
                with store.write() as conn:
                    sealing.finish(conn, standing.closed_ms)
                yield 0
            return
        begin, at_once = 0, 1
        while begin < len(machine_ids):
            with store.read() as conn:
                ready = sealing.plan(conn, start_ms, machine_ids[begin : begin + at_once])
            with store.write() as conn:
                if not sealing.write(conn, ready):
                    return  # another keeper is at it: the hour goes on in the next round
            yield len(ready.documents.blocks)
            begin += at_once
            fitting = at_once * POINTS_AT_ONCE // max(ready.points, 1)
            at_once = max(1, min(at_once * 2, fitting, MACHINES_AT_ONCE))
        with store.write() as conn:
            sealing.finish(conn, start_ms + HOUR_MS)
        yield 0


def merge_late_samples(store: Store, kept: Kept, now_ms: int, said: set[str]) -> Iterator[int]:
    """Merge ticks that came for hours that are sealed. What cannot be merged because a document is damaged goes on
    waiting, and is said once: ``said`` is kept by the caller from one call to the next, empty at first."""
    with store.read() as conn:
        waiting = sealing.machines_with_late(conn)
    for machine_id in waiting:
        from_ms = 0
        while True:
            with store.read() as conn:
                merge = sealing.plan_merge(conn, machine_id, from_ms, kept, now_ms)
            if merge is None:
                break
            for words in merge.damaged:
                if words not in said:
                    said.add(words)
                    log.error("late samples cannot be merged", reason=words)
            if merge.late_ids:
                with store.write() as conn:
                    if not sealing.write_merge(conn, merge):
                        return  # another keeper is at it
                yield len(merge.late_ids)
            from_ms = merge.upto_ms


def drop_sealed_samples(store: Store, now: Callable[[], int], sealed: dict[str, int]) -> Iterator[int]:
    """Drop the partitions of hours that are sealed, when nobody reads them any more: with the time since when that is
    so they are in ``sealed``, which the caller keeps from one call to the next, empty at first."""
    with store.read() as conn:
        if not partitions.used_for_samples(conn):
            return
        sealed_ms = marks.read_samples(conn).sealed_ms
        over = [part for part in partitions.days(conn, tables.samples.name) if part.end_ms <= sealed_ms]
    for part in over:
        if part.used and now() - sealed.setdefault(part.name, now()) < READS_END_MS:
            continue
        with store.statements() as conn:
            partitions.drop(conn, tables.samples.name, part.name)
        sealed.pop(part.name, None)
        yield 1


class Archiver(Protocol):
    """``tocsin.archive.archive.Archive``, as far as retention needs it."""

    def writing(self, tier: Tier, day_ms: int) -> Generator[object, None, None]:
        """Writes a day of a tier, step by step; it is in the archive when this ends without raising. Raises where
        somebody else is writing."""
        ...


def trim_samples(store: Store, kept: Kept, now_ms: int, archive: Archiver | None = None) -> Iterator[int]:
    """Remove samples past their time; never a tick that no minute holds yet, nor a day that was put back and is to
    stay. With an ``archive`` whole days go, and only when they are in it.

    What is to stay is looked up right before each drop: writing a day may take minutes, in which somebody brings
    another back."""
    with store.read() as conn:
        standing = marks.read_samples(conn)
        in_partitions = partitions.used_for_samples(conn)
    unit_ms = DAY_MS if in_partitions else HOUR_MS
    before = {
        what: min(now_ms - length_ms, standing.sealed_ms)
        for what, length_ms in zip(retention.TIERS, (kept.ticks_ms, kept.minutes_ms, kept.hours_ms), strict=True)
    }
    before = {what: at_ms - at_ms % unit_ms for what, at_ms in before.items()}
    dropped_ms = now_ms
    for what, before_ms in before.items():
        tier = _TIER_OF[what]
        if archive is not None:
            before_ms -= before_ms % DAY_MS
            with store.read() as conn:
                due = archiving.days(conn, tier, before_ms)
            for day_ms in due:
                with store.read() as conn:
                    if _stays(conn, tier, day_ms, day_ms + DAY_MS, now_ms):
                        continue  # it came from there
                try:
                    with closing(archive.writing(tier, day_ms)) as writing:
                        for _ in writing:
                            yield 0
                except StoreError:
                    raise
                except Exception as error:
                    log.error("samples are kept: they cannot be archived", tier=tier, reason=str(error))
                    before_ms = day_ms
                    break
        if what == "blocks" and before_ms > standing.kept_from_ms:
            with store.write() as conn:  # what comes late for them from now on is not among the single ticks
                marks.advance_samples(conn, marks.TICKS, before_ms)
            yield 0
        dropped_ms = min(dropped_ms, before_ms)
        table = retention.SAMPLES[what][0].name
        if in_partitions:
            with store.read() as conn:
                over = [part for part in partitions.days(conn, table) if part.end_ms <= before_ms]
            for part in over:
                with store.statements() as conn:
                    if _stays(conn, tier, part.start_ms, part.end_ms, now_ms):
                        continue
                    partitions.drop(conn, table, part.name)
                yield 1
            continue
        with store.read() as conn:
            waiting = retention.machines_with(conn, what, before_ms)
        while waiting:
            with store.write() as conn:
                spare = [one.days for one in archiving.spared(conn, now_ms) if one.tier == tier]
                gone = retention.trim_samples(
                    conn, what, waiting[-1], before_ms=before_ms, most=ROWS_AT_ONCE, spare=spare
                )
            if gone < ROWS_AT_ONCE:
                waiting.pop()
            yield gone
    with store.write() as conn:
        gone = retention.trim_boots(conn, now_ms - kept.hours_ms)
        gone += retention.trim_newest(conn, now_ms - kept.ticks_ms)
        gone += retention.trim_layouts(conn, now_ms, min(now_ms - kept.hours_ms - DAY_MS, dropped_ms))
    yield gone


_TIER_OF: Final = dict(zip(retention.TIERS, archiving.TIERS, strict=True))


def _stays(conn: Connection, tier: Tier, from_ms: int, to_ms: int, now_ms: int) -> bool:
    """Whether some of it was put back, and its time is not over."""
    return any(one.touches(tier, from_ms, to_ms) for one in archiving.spared(conn, now_ms))


def purge_machines(store: Store, now_ms: int) -> Iterator[int]:
    """Remove the history, and then the row, of machines that were deleted."""
    with store.read() as conn:
        deleted = retention.deleted_machines(conn, now_ms - PURGE_AFTER_MS)
    for machine_id in deleted:
        for what in retention.SAMPLES:
            while True:
                with store.write() as conn:
                    gone = retention.trim_samples(conn, what, machine_id, before_ms=None, most=ROWS_AT_ONCE)
                yield gone
                if gone < ROWS_AT_ONCE:
                    break
        while True:
            with store.write() as conn:
                gone = retention.trim_transitions(conn, Subject(MACHINE, machine_id), most=ROWS_AT_ONCE)
            yield gone
            if gone < ROWS_AT_ONCE:
                break
        with store.write() as conn:
            retention.forget_machine(conn, machine_id)
        yield 1


# ── the loop ──────────────────────────────────────────────────────────────────────────────────────────


def _one_after_the_other(chores: Iterable[Iterator[int]]) -> Iterator[int]:
    """Every chore, also after one that fails, unless the database is what failed; the first failure at the end."""
    failed: Exception | None = None
    for chore in chores:
        try:
            yield from chore
        except StoreError:
            raise
        except Exception as error:
            failed = failed or error
    if failed is not None:
        raise failed


class Keeper:
    """Does the chores every minute, while it holds the lease."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        retention: Retention,
        samples: Kept | None = None,
        archive: Archiver | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._retention = retention
        self._samples = samples or Kept()
        self._archive = archive
        self._holder = str(uuid4())
        self._tidied_ms: int | None = None
        self._packing: Iterator[int] | None = None
        self._packed: dict[str, int] = {}
        self._sealed: dict[str, int] = {}
        self._said: set[str] = set()

    def round(self) -> Generator[int, None, None]:
        """One round of chores, transaction by transaction; ends early when another keeper has taken over.

        Blocks between yields; raises StoreError.
        """
        now_ms = self._clock.now_ms()
        chores = [
            make_partitions(self._store, now_ms),
            make_sample_partitions(self._store, now_ms),
            fold(self._store, now_ms),
            seal_days(self._store),
            seal_samples(self._store, now_ms),
            merge_late_samples(self._store, self._samples, now_ms, self._said),
            drop_sealed_samples(self._store, self._clock.now_ms, self._sealed),
        ]
        tidy = self._tidied_ms is None or not 0 <= now_ms - self._tidied_ms < TIDY_EVERY_MS
        if tidy:
            chores += [
                trim(self._store, self._retention, now_ms),
                purge(self._store, now_ms),
                trim_samples(self._store, self._samples, now_ms, self._archive),
                purge_machines(self._store, now_ms),
                expire(self._store, self._retention, now_ms),
            ]
        chores.append(self._pack_for_a_while())
        taken_ms: int | None = None
        steps = _one_after_the_other(chores)
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
                    await threads.run(steps.close)  # so that it gives back what it holds
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
