"""Silence turned into outcomes: subjects that should have been heard of by now and were not.

Only for those that stay silent; where the next outcome comes first, the decision puts the silence in by itself.
Knows no kind of subject: what silence means is in the policy, when it is reached is in the state. Beside that it looks
now and then whether headlines are what their locations agree on.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Final
from uuid import uuid4

from sqlalchemy import Connection

from tocsin.core.decide import Policy, Quorum, State, silence
from tocsin.core.outcome import CERTIFICATE, Outcome, Result, StateKey
from tocsin.core.quorum import agreed
from tocsin.core.target import CERTIFICATE_POLICY
from tocsin.lib.clock import Clock
from tocsin.lib.log import get_logger
from tocsin.lib.threads import Threads
from tocsin.pipeline import Entry, Pipeline
from tocsin.store import leases, states, targets
from tocsin.store.engine import Store, StoreError

EVERY_S = 5.0
BATCH = 1000
SETTLE_MS = 30_000
"""After time in which nobody could listen (a stalled database, a suspended machine) results on their way get this
long to arrive before silence counts."""
GAP_MS = 20_000
"""Two rounds further apart than this were not in touch in between. Also how long the lease lasts."""
AWAY_MS = 10_000
"""A start this soon after the last round is a quick restart or a second process, not an absence."""
MEND_EVERY_MS = 300_000
LEASE = "sweep"
NOBODY_LISTENED: Final = "no aggregator was running"
"""The reason of a verdict that is unknown because nobody could have heard."""
_EVER = 2**62
_QUORUMS: Final = {CERTIFICATE: CERTIFICATE_POLICY.quorum}
"""Of rules whose quorum no target chooses."""

log = get_logger("sweep")


class Sweep:
    """``policies(conn, keys)`` gives the policy of each state whose subject still exists and is judged by that rule.

    ``listeners`` names, by kind, the lease of those who must be there for a subject to be heard at all. While nobody
    is, its silence is nothing to measure, and no failure.
    """

    def __init__(
        self,
        *,
        store: Store,
        pipeline: Pipeline,
        clock: Clock,
        policies: Callable[[Connection, Collection[StateKey]], Mapping[StateKey, Policy]],
        listeners: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._store = store
        self._pipeline = pipeline
        self._clock = clock
        self._policies = policies
        self._listeners = listeners
        self._heard_since_ms: dict[str, int] = {}
        self._listener: dict[str, str | None] = {}
        """Since when somebody listens without a break, by kind."""
        self._holder = str(uuid4())
        self._round: tuple[int, int] | None = None
        """When the last round was, by the wall clock and by the monotonic one."""
        self._steady_since_ms = 0
        self._mended_ms: int | None = None

    def begin(self) -> None:
        """To be called at start, before anybody listens.

        A job that called while no one listened must not be taken for silent: what was due in that time, and is a
        failure when silent, is due as much later as nobody listened.
        """
        now_ms = self._clock.now_ms()
        with self._store.write() as conn:
            until_ms = leases.until_ms(conn, LEASE)
            if until_ms is not None and now_ms - (until_ms - GAP_MS) > AWAY_MS:
                listened_ms = until_ms - GAP_MS
                self._excuse(conn, listened_ms, before_ms=now_ms + GAP_MS, by_ms=now_ms - listened_ms)

    def sweep(self) -> int:
        """One round; returns how many silences were recorded. Blocks; raises the store's errors."""
        now_ms, monotonic_ms = self._clock.now_ms(), round(self._clock.monotonic() * 1000)
        with self._store.write() as conn:
            if not leases.take(conn, LEASE, self._holder, now_ms=now_ms, for_ms=GAP_MS):
                self._round = None
                return 0
            if self._round is None:
                self._steady_since_ms = now_ms
            else:
                then_ms, passed_ms = self._round[0], monotonic_ms - self._round[1]
                jumped_ms = now_ms - then_ms - passed_ms
                if jumped_ms > GAP_MS:
                    # The clock was set forward, or the machine slept: jobs go by the time that really passed.
                    log.warning("the clock jumped; calls are expected as much later", by_ms=jumped_ms)
                    self._excuse(conn, then_ms, before_ms=_EVER, by_ms=jumped_ms)
                if passed_ms > GAP_MS or abs(jumped_ms) > GAP_MS:
                    self._steady_since_ms = now_ms
            self._look_who_listens(conn, now_ms)
        self._round = (now_ms, monotonic_ms)
        if now_ms - self._steady_since_ms < SETTLE_MS:
            return 0
        found = 0
        while True:
            with self._store.write() as conn:
                seen = [key for key, _ in states.overdue(conn, now_ms, BATCH)]
                policies = self._policies(conn, seen)
                # Read again now that they are ours: a subject may have been heard of since it was found overdue.
                overdue = [
                    (key, state)
                    for key, state in states.read_many(conn, seen).items()
                    if state.due_ms is not None and state.due_ms < now_ms
                ]
                entries = [
                    Entry(self._as_heard(missed, now_ms), policy)
                    for key, state in overdue
                    if (policy := policies.get(key)) is not None
                    and _is_expected(state)
                    and (missed := silence(key, state, policy)) is not None
                ]
                # Of those that are not expected any more none may be found again and again.
                states.write_many(
                    conn,
                    [
                        (key, state._replace(due_ms=None))
                        for key, state in overdue
                        if key not in policies or not _is_expected(state)
                    ],
                )
                settled, changed = self._pipeline.write_within(conn, entries)
            self._pipeline.ring(changed, settled)
            found += len(entries)
            if len(seen) < BATCH:
                break
        if self._mended_ms is None or monotonic_ms - self._mended_ms >= MEND_EVERY_MS:
            self._mend()
            self._mended_ms = monotonic_ms
        return found

    def _look_who_listens(self, conn: Connection, now_ms: int) -> None:
        for kind, lease in self._listeners.items():
            holder = leases.holder(conn, lease, now_ms=now_ms)
            if holder is None:
                self._heard_since_ms.pop(kind, None)
            elif self._listener.get(kind) != holder:  # between the two there may have been nobody
                self._heard_since_ms[kind] = now_ms
            else:
                self._heard_since_ms.setdefault(kind, now_ms)
            self._listener[kind] = holder

    def _as_heard(self, missed: Outcome, now_ms: int) -> Outcome:
        """Silence as it counts. Where nobody listened it is looked at again once somebody has done so for a while."""
        kind = missed.key.subject.kind
        since_ms = self._heard_since_ms.get(kind)
        deaf = kind in self._listeners and (since_ms is None or now_ms - since_ms < SETTLE_MS)
        if not deaf or missed.result is not Result.FAILED:
            return missed
        return missed._replace(result=Result.UNMEASURED, reason=NOBODY_LISTENED, next_due_ms=now_ms + SETTLE_MS)

    def _mend(self) -> None:
        """Counts headlines again that are not what their locations agree on.

        A version from before there were headlines may run beside this one during an upgrade. It writes what its
        location finds, and the headline would learn of that only with the next change.
        """
        with self._store.read() as conn:
            doubtful = states.in_doubt(conn)
            chosen = targets.quorums(conn, doubtful)
        wrong: dict[Quorum, list[StateKey]] = defaultdict(list)
        for key, stand in doubtful.items():
            otherwise = _QUORUMS.get(key.rule, Policy().quorum)
            if agreed(stand.locations, chosen.get(key, otherwise)) is not stand.headline:
                wrong[otherwise].append(key)
        for quorum, keys in wrong.items():
            log.warning("headlines did not say what their locations agree on", headlines=len(keys))
            for begin in range(0, len(keys), BATCH):
                with self._store.write() as conn:
                    changed = self._pipeline.recount(conn, keys[begin : begin + BATCH], quorum)
                self._pipeline.ring(changed)

    def _excuse(self, conn: Connection, listened_ms: int, *, before_ms: int, by_ms: int) -> None:
        """Puts off what fell due after ``listened_ms``, was due before ``before_ms`` and is a failure when silent."""
        expected = [key for key, _ in states.overdue(conn, before_ms)]
        policies = self._policies(conn, expected)
        jobs = [
            key for key in expected if (policy := policies.get(key)) is not None and policy.silence is Result.FAILED
        ]
        moved = [
            (key, state._replace(due_ms=state.due_ms + by_ms))
            for key, state in states.read_many(conn, jobs).items()
            if state.due_ms is not None and listened_ms < state.due_ms < before_ms
        ]
        states.write_many(conn, moved)

    async def run(self, stop: asyncio.Event) -> None:
        threads = Threads("sweep", 1)
        try:
            while not stop.is_set():
                try:
                    found = await threads.run(self.sweep)
                    if found:
                        log.info("subjects fell silent", subjects=found)
                except StoreError as error:
                    log.warning("the silence sweep waits for the database", reason=str(error))
                except Exception:
                    log.exception("a round of the silence sweep failed; the next one tries again")
                try:
                    async with asyncio.timeout(EVERY_S):
                        await stop.wait()
                except TimeoutError:
                    continue
        finally:
            threads.close()


def _is_expected(state: State) -> bool:
    """Not one that was due no later than it was heard of: it cannot have been silent since."""
    return state.due_ms is not None and state.due_ms > state.last_at_ms
