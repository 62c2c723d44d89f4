"""Keeps a worker's lease on its share of the targets: renews it, tells what it has become, gives back.

Knows no target and no check. Correctness needs no message: the lease is renewed on a timer, a ring only makes it
sooner.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NamedTuple
from uuid import uuid4

from tocsin.home import Home, IdentityInUse, Introduction, Lease
from tocsin.lib import metrics
from tocsin.lib.clock import Asked, Clock, SharedClock
from tocsin.lib.log import get_logger
from tocsin.lib.threads import Threads
from tocsin.store.engine import StoreError

RENEW_S = 2.0
"""How often the lease is renewed while nothing happens."""
PAUSE_S = 0.2
"""Two renewals are at least so far apart, however often somebody rings."""
FAR_OFF_MS = 2000
"""A clock that has to be set by more than this is worth a warning."""

log = get_logger("worker")


class _Answer(NamedTuple):
    """A lease, and when it was given, in seconds of the monotonic clock. ``asked``: when it was asked for, where the
    clock is a shared one."""

    lease: Lease
    asked: Asked | None
    answered_at: float


class Tenancy:
    """``taken`` is called on the loop with every lease; ``done_with`` says which shards may be given back, each with
    the time up to which its slots were started. ``clock`` is put right by every renewal if it is a shared one.
    """

    def __init__(
        self,
        home: Home,
        me: Introduction,
        clock: Clock,
        *,
        taken: Callable[[Lease], None],
        done_with: Callable[[], Mapping[int, int]],
        renew_s: float = RENEW_S,
    ) -> None:
        self._home = home
        self._me = me
        self._clock = clock
        self._shared = clock if isinstance(clock, SharedClock) else None
        self._taken = taken
        self._done_with = done_with
        self._renew_s = renew_s
        self._first = True
        self._in_touch_since_s: float | None = None
        """Since when every renewal has succeeded, on the monotonic clock."""
        self._renewed_ms = 0
        """When the last renewal was, by the centre's clock."""
        self._for_s = 0.0
        self._lost = False
        self._soon = asyncio.Event()
        self._ending = asyncio.Event()
        self._threads = Threads("worker-lease", 1)  # of its own: a lease waits neither for targets nor for results

    async def run(self) -> None:
        """Renews until ``end``, or until it is cancelled."""
        while not self._ending.is_set():
            await self._renew()
            pause_s = min(PAUSE_S, self._renew_s / 2)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._ending.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._renew_s - pause_s):
                    await self._soon.wait()
            self._soon.clear()

    @property
    def is_out_of_touch(self) -> bool:
        """The last renewal did not succeed."""
        return self._lost

    def soon(self) -> None:
        """There is reason not to wait for the timer."""
        self._soon.set()

    def end(self) -> None:
        """Lets ``run`` end, after a renewal that is under way: what that one brings must be known to be given back."""
        self._ending.set()
        self._soon.set()

    async def leave(self, give_back: Mapping[int, int]) -> None:
        """Gives everything back; to be called when ``run`` has ended. Raises ``StoreError``."""
        await self._threads.run(self._home.leave, self._me, give_back)

    def close(self) -> None:
        self._threads.close()

    async def _renew(self) -> None:
        try:
            answer = await self._threads.run(self._ask, self._introduction(), self._done_with())
        except IdentityInUse:
            log.error(
                "another process goes by this worker's identity (was a data directory copied?); taking another",
                worker=self._me.id,
            )
            self._me = self._me._replace(id=str(uuid4()))
            self._first, self._in_touch_since_s = True, None
            self.soon()
        except StoreError as error:
            self._lose_touch(str(error))
        except Exception as error:
            log.exception("a defect in renewing the lease")
            self._lose_touch(repr(error))
        else:
            self._heed(answer)

    def _ask(self, me: Introduction, give_back: Mapping[int, int]) -> _Answer:
        """On the thread, so that what the loop is busy with does not count as time on the way."""
        began_s = self._in_touch_since_s
        steady = began_s is not None and self._clock.monotonic() - began_s >= self._for_s
        asked = None if self._shared is None else self._shared.ask()
        lease = self._home.renew(me, give_back, first=self._first, steady=steady)
        return _Answer(lease, asked, self._clock.monotonic())

    def _introduction(self) -> Introduction:
        off_ms = 0 if self._shared is None else self._shared.ahead_ms
        return self._me._replace(clock_off_ms=off_ms)

    def _heed(self, answer: _Answer) -> None:
        lease = answer.lease
        was_away = lease.now_ms - self._renewed_ms > lease.for_s * 1000
        if self._in_touch_since_s is None or was_away:  # suspended, perhaps, and did not notice
            if self._lost:
                log.info("the lease is renewed again")
            self._in_touch_since_s = answer.answered_at
        self._first = self._lost = False
        self._for_s, self._renewed_ms = lease.for_s, lease.now_ms
        if self._shared is not None and answer.asked is not None:
            self._put_right(self._shared, lease, answer.asked, answer.answered_at)
        metrics.SHARDS_HELD.set(len(lease.epochs))
        self._taken(lease)

    def _lose_touch(self, reason: str) -> None:
        metrics.LEASE_RENEWAL_FAILURES.inc()
        if not self._lost:
            log.warning("the lease cannot be renewed; going on with what is held", reason=reason)
        self._lost, self._in_touch_since_s = True, None

    def _put_right(self, shared: SharedClock, lease: Lease, asked: Asked, answered_at: float) -> None:
        by_ms = shared.learn(shared_ms=lease.now_ms, asked=asked, answered_at=answered_at)
        metrics.CLOCK_AHEAD.set(shared.ahead_ms / 1000)
        if abs(by_ms) > FAR_OFF_MS:
            log.warning(
                "this machine's clock is wrong; going by the installation's", ahead_ms=shared.ahead_ms, set_by_ms=by_ms
            )
