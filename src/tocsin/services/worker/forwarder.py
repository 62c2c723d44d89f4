"""Sends what is in the spool to the aggregator: strictly in the order it came, one batch at a time, until it is taken.

Verdicts need that order, for an outcome older than the state does not count. So after an hour's cut the newest
results go last; a batch of a thousand takes the centre some tens of milliseconds, and there is never more than one
under way, so that whoever else writes there is not kept waiting. Knows no probe and no lease.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from google.protobuf.message import DecodeError

from tocsin.lib import metrics
from tocsin.lib.log import get_logger
from tocsin.lib.spool import Batch, Spool, SpoolError, Thinned
from tocsin.services.worker.link import Rejected, Unreachable
from tocsin.services.worker.runs import RUN_KEPT, Runs
from tocsin.v1 import probing_pb2 as pb

MOST_RESULTS: Final = 2000
MOST_BYTES: Final = 1 << 20
"""Of one call; with what a single batch may be beyond it, far below what the aggregator takes."""
RETRY_S: Final = (0.5, 1.0, 2.0, 5.0)
DOUBTS_S: Final = (1.0, 2.0, 5.0)
"""A single result that the aggregator stumbles over is tried again after these pauses, and then given up."""
MANY: Final = 1000
"""When so many have waited, that they are through is worth a line."""

log = get_logger("worker")


class Thinner:
    """What a full spool can spare: the rows of checks and their evidence, and of a long run of equal results all but
    the first. Verdicts come out the same."""

    def __init__(self) -> None:
        self._runs = Runs()

    def thin(self, body: bytes) -> Thinned:
        try:
            request = pb.WriteRequest.FromString(body)
        except DecodeError:
            return Thinned(None, 0)
        left = pb.WriteRequest(worker=request.worker)
        for entry in request.entries:
            metrics.RESULTS_DROPPED.inc()
            length = self._runs.length((entry.target_id, entry.rule), entry.result)
            if length > RUN_KEPT:
                continue
            entry.ClearField("check")
            entry.ClearField("evidence")
            if length == RUN_KEPT:
                entry.ClearField("next_due_ms")
            left.entries.append(entry)
        return Thinned(left.SerializeToString() if left.entries else None, len(left.entries))

    def forget(self) -> None:
        self._runs.clear()


class Forwarder:
    """A thread of its own. ``send`` raises Unreachable, or Rejected for what the aggregator does not take."""

    def __init__(self, spool: Spool, send: Callable[[pb.WriteRequest], pb.WriteResponse]) -> None:
        self._spool = spool
        self._send = send
        self._changed = threading.Condition()
        self._stopping = self._has_news = self._is_in_touch = self._is_failing = False
        self._sent = 0
        """Batches up to this id have been taken over."""
        self._settled: list[pb.Settled] = []
        self._waited = 0
        """The most that has waited since nothing did."""
        self._thread = threading.Thread(target=self._run, name="worker-forward", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, within_s: float) -> None:
        """Ends after the call under way; whoever closes ends that too."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(within_s)

    def news(self) -> None:
        """There is something to send."""
        with self._changed:
            self._has_news = True
            self._changed.notify_all()

    def in_touch(self) -> None:
        """The aggregator has just been heard of: no need to wait for the next attempt."""
        with self._changed:
            self._is_in_touch = True
            self._changed.notify_all()

    def wait_until_sent(self, batch_id: int, within_s: float) -> None:
        """Or until it is known that this may take longer."""
        with self._changed:
            self._changed.wait_for(lambda: self._sent >= batch_id or self._is_failing or self._stopping, within_s)

    def is_drained(self, within_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not len(self._spool), within_s)

    def take_settled(self) -> list[pb.Settled]:
        """How states stood after what was sent since the last time this was asked."""
        with self._changed:
            settled, self._settled = self._settled, []
        return settled

    def deliver(self, request: pb.WriteRequest) -> list[pb.Settled]:
        """Until the aggregator has it. What it refuses for good is searched for, logged and given up, so that the rest
        gets through. Raises Unreachable."""
        try:
            return list(self._send(request).settled)
        except Rejected as rejected:
            if len(request.entries) <= 1:
                return self._insist(request, rejected)
        middle = len(request.entries) // 2
        first = pb.WriteRequest(worker=request.worker, entries=request.entries[:middle])
        second = pb.WriteRequest(worker=request.worker, entries=request.entries[middle:])
        return self.deliver(first) + self.deliver(second)

    def _insist(self, request: pb.WriteRequest, rejected: Rejected) -> list[pb.Settled]:
        for pause_s in DOUBTS_S:
            if rejected.certain:
                break
            with self._changed:
                self._changed.wait_for(lambda: self._stopping, pause_s)
            if self._stopping:
                raise Unreachable("this worker is stopping")
            try:
                return list(self._send(request).settled)
            except Rejected as again:
                rejected = again
        for entry in request.entries:
            log.error(
                "the aggregator refuses a result; it is given up",
                reason=str(rejected),
                target_id=entry.target_id,
                at_ms=entry.at_ms,
            )
            metrics.RESULTS_REFUSED.inc()
        return []

    def _run(self) -> None:
        failures = 0
        while not self._stopping:
            try:
                self._send_oldest()
                failures = 0
            except Unreachable as error:
                self._await_touch(max(RETRY_S[min(failures, len(RETRY_S) - 1)], error.pause_s or 0))
                failures += 1
            except SpoolError as error:
                log.warning("the spool cannot be read", reason=str(error))
                self._await_touch(RETRY_S[-1])
            except Exception:
                log.exception("results cannot be sent; trying again")
                self._await_touch(RETRY_S[-1])

    def _send_oldest(self) -> None:
        batches = self._spool.oldest(most_items=MOST_RESULTS, most_bytes=MOST_BYTES)
        if not batches:
            if self._waited >= MANY:
                log.info("all that waited on disk has been sent", results=self._waited)
            self._waited = 0
            self._await_news()
            return
        self._waited = max(self._waited, len(self._spool))
        settled = [one for request in _requests(batches) for one in self.deliver(request)]
        self._spool.done(batches[-1].id)
        metrics.SPOOLED.set(len(self._spool))
        metrics.SPOOL_BYTES.set(self._spool.size_bytes)
        with self._changed:
            self._sent, self._is_failing = batches[-1].id, False
            # How things stood long ago asks for no second look now.
            self._settled = [] if len(self._spool) else (self._settled + settled)[-MOST_RESULTS:]
            self._changed.notify_all()

    def _await_news(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._has_news)
            self._has_news = False

    def _await_touch(self, seconds: float) -> None:
        with self._changed:
            self._is_in_touch, self._is_failing = False, True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._stopping or self._is_in_touch, seconds)


def _requests(batches: Iterable[Batch]) -> Iterator[pb.WriteRequest]:
    """As few as can be: what the same worker saw at the same place goes together."""
    gathered: pb.WriteRequest | None = None
    for batch in batches:
        try:
            one = pb.WriteRequest.FromString(batch.body)
        except DecodeError:
            log.error("results on disk cannot be read and are given up", results=batch.items)
            metrics.RESULTS_REFUSED.inc(batch.items)
            continue
        if gathered is not None and gathered.worker == one.worker:
            gathered.entries.extend(one.entries)
            continue
        if gathered is not None:
            yield gathered
        gathered = one
    if gathered is not None:
        yield gathered
