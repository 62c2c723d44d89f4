"""Results on their way to the database: a bounded buffer and one writer.

A database that stalls costs nothing but time until the buffer is full; then the oldest latency rows go first and
their verdicts stay, so that no transition is lost. Memory is bounded all the same (``DOCUMENTS``, ``TURNS``).
Knows no probe and no schedule.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol

from tocsin.core.outcome import Result
from tocsin.core.shards import SHARDS, shard_of
from tocsin.lib import metrics
from tocsin.lib.clock import Clock
from tocsin.lib.log import get_logger
from tocsin.lib.threads import Threads
from tocsin.pipeline import Entry, Settled
from tocsin.services.worker.runs import RUN_KEPT, Runs
from tocsin.store.engine import StoreError

GATHER_S = 1.0
"""How long results are gathered before they are written together."""
URGENT_S = 0.1
"""The same when one of them did not pass: that may change a verdict, and somebody waits for it."""
BATCH = 1000
"""The most entries of one transaction: a few milliseconds of the write lock."""
DOCUMENTS = 5000
"""So many results may wait with what was seen kept beside them, a few kB each; those that come later wait without."""
TURNS = 200_000
"""So many results may wait of which only the verdict is left, mostly those of targets that flap: with a hundred of
them that turn every 20 s it takes eleven hours to come to that."""
RETRY_S = (0.5, 1.0, 2.0, 5.0)

log = get_logger("worker")


class _Batch(NamedTuple):
    """Results on their way to the writer, oldest first; so many of them had given up their latency rows."""

    entries: list[Entry]
    stripped: int


class Writer(Protocol):
    def write(self, entries: Sequence[Entry]) -> list[Settled]: ...


class Recorder:
    """``add`` on the event loop, never blocks; ``run`` writes until ``drain`` has emptied it."""

    def __init__(
        self,
        writer: Writer,
        threads: Threads,
        clock: Clock,
        *,
        bound: int,
        settled: Callable[[list[Settled]], None],
        retry_s: Sequence[float] = RETRY_S,
    ) -> None:
        self._writer = writer
        self._threads = threads
        self._clock = clock
        self._bound = bound
        self._retry_s = retry_s
        self._settled = settled
        self._full: deque[Entry] = deque()
        # Older than everything in _full: entries stripped of their latency row when the buffer was full.
        self._stripped: deque[Entry] = deque()
        self._runs = Runs()
        self._by_shard = [0] * SHARDS
        self._documents = 0
        self._behind = False
        self._short_of: set[str] = set()
        self._fresh = asyncio.Event()
        self._urgent = asyncio.Event()
        self._draining = asyncio.Event()

    def __len__(self) -> int:
        return len(self._full) + len(self._stripped)

    @property
    def is_behind(self) -> bool:
        """The database has refused results, and some of them wait still."""
        return self._behind

    def waiting(self, shard: int) -> int:
        """How many results of this shard's targets are not written yet."""
        return self._by_shard[shard]

    def add(self, entry: Entry) -> None:
        self._by_shard[_shard(entry)] += 1
        if entry.evidence is not None:
            if self._documents < DOCUMENTS:
                self._documents += 1
            else:
                self._short("results wait without what was seen: too many wait already")
                entry = entry._replace(evidence=None)
        self._full.append(entry)
        if entry.outcome.result is not Result.PASSED:
            self._urgent.set()
        if len(self._full) > self._bound:
            self._strip(self._full.popleft())
        if not self._fresh.is_set():
            self._fresh.set()

    def hurry(self) -> None:
        """Somebody waits for what has been added."""
        self._urgent.set()

    async def run(self) -> None:
        """Ends when ``drain`` was called and nothing is left, or when cancelled."""
        failures = 0
        while True:
            if not len(self):
                if self._draining.is_set():
                    return
                self._fresh.clear()
                await self._fresh.wait()
                continue
            if len(self) < BATCH and not self._draining.is_set():
                await self._gather()
            metrics.RESULTS_BUFFERED.set(len(self))
            batch = self._take()
            try:
                await self._write(batch.entries)
            except StoreError as error:
                self._put_back(batch)
                self._behind = True
                metrics.WRITE_FAILURES.inc()
                if failures == 0:
                    log.warning("results wait: the database cannot be written", reason=str(error), waiting=len(self))
                await self._pause(self._retry_s[min(failures, len(self._retry_s) - 1)])
                failures += 1
            except asyncio.CancelledError:
                self._put_back(batch)
                raise
            else:
                if failures:
                    log.info("the database can be written again", waiting=len(self))
                failures = 0
                if len(self) < BATCH:
                    self._behind = False
                    self._short_of.clear()
                if not self._stripped:
                    self._runs.clear()
                metrics.RESULTS_BUFFERED.set(len(self))

    def drain(self) -> None:
        """Write what there is without gathering, then end ``run``."""
        self._draining.set()
        self._fresh.set()
        self._urgent.set()

    async def _gather(self) -> None:
        try:
            async with asyncio.timeout(GATHER_S):
                await self._urgent.wait()
        except TimeoutError:
            return
        self._urgent.clear()
        if not self._draining.is_set():
            await asyncio.sleep(URGENT_S)

    async def _pause(self, seconds: float) -> None:
        """Before the next attempt; the end does not wait for it, and tries as often as it has time for."""
        if self._draining.is_set():
            await asyncio.sleep(self._retry_s[0])
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._draining.wait()

    async def _write(self, batch: list[Entry]) -> None:
        began = self._clock.monotonic()
        try:
            settled = await self._threads.run(self._writer.write, batch)
        except StoreError:
            raise
        except Exception as error:
            # Not the database's fault but that of something in the batch: find it, keep the rest.
            if len(batch) == 1:
                log.error("a result cannot be stored and is given up", subject=batch[0].outcome.key, exc_info=error)
                metrics.WRITE_FAILURES.inc()
                self._gone(batch)
                self._settled([])
                return
            middle = len(batch) // 2
            await self._write(batch[:middle])
            await self._write(batch[middle:])
            return
        metrics.WRITES.observe(self._clock.monotonic() - began)
        self._gone(batch)
        self._settled(settled)

    def _take(self) -> _Batch:
        old = [self._stripped.popleft() for _ in range(min(BATCH, len(self._stripped)))]
        whole = [self._full.popleft() for _ in range(min(BATCH - len(old), len(self._full)))]
        return _Batch(old + whole, len(old))

    def _put_back(self, batch: _Batch) -> None:
        """Each to where it came from: an outcome that is written after a newer one is late and does not count."""
        self._stripped.extendleft(reversed(batch.entries[: batch.stripped]))
        self._full.extendleft(reversed(batch.entries[batch.stripped :]))
        while len(self._full) > self._bound:
            self._strip(self._full.popleft())

    def _gone(self, entries: Sequence[Entry]) -> None:
        """They wait no longer."""
        for entry in entries:
            self._by_shard[_shard(entry)] -= 1
            self._documents -= entry.evidence is not None

    def _short(self, of: str) -> None:
        """Says it once, until the database is back."""
        if of not in self._short_of:
            self._short_of.add(of)
            log.warning(of, waiting=len(self))

    def _strip(self, entry: Entry) -> None:
        """Gives up the latency row. The verdict stays, unless it only prolongs a run that is long enough.

        Should there be too many even of those, the oldest go: the newest say how things are.
        """
        metrics.RESULTS_DROPPED.inc()
        self._documents -= entry.evidence is not None
        entry = entry._replace(check=None, evidence=None)
        length = self._runs.length(entry.outcome.key, entry.outcome.result)
        if length > RUN_KEPT:
            self._gone([entry])
            return
        outcome = entry.outcome
        if length == RUN_KEPT:
            # What follows of the run is given up: until the outcome that ends it, silence means nothing.
            outcome = outcome._replace(next_due_ms=None)
        self._stripped.append(entry._replace(outcome=outcome))
        if len(self._stripped) > TURNS:
            self._short("so many turns of targets wait that the oldest are given up")
            self._gone([self._stripped.popleft()])


def _shard(entry: Entry) -> int:
    return shard_of(entry.outcome.key.subject.id)
