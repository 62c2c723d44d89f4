"""The loop that probes: every active target once per slot, none waiting for another.

It decides nothing about verdicts and stores nothing itself; it starts checks on time and hands their outcomes to
the recorder. Correctness needs no message: targets are re-read on a timer, the bus only makes it sooner.
"""

from __future__ import annotations

import asyncio
import math
import resource
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from tocsin.bus.base import Bus
from tocsin.core.decide import Policy, Verdict, graded, unsettled
from tocsin.core.outcome import CERTIFICATE, REACHABLE, Outcome, Result, StateKey, Subject
from tocsin.core.own_network import NetworkJudge
from tocsin.core.target import TARGET, Target
from tocsin.lib import metrics
from tocsin.lib.canary import has_network
from tocsin.lib.clock import Clock
from tocsin.lib.log import get_logger
from tocsin.lib.net import Network
from tocsin.lib.threads import TaskSet, Threads
from tocsin.pipeline import Entry, Pipeline, Settled
from tocsin.probes.frame import CertificateStanding, Examination, Prepared, examine, prepare
from tocsin.services.worker.agenda import Agenda, Due, SlotClock
from tocsin.services.worker.lag import LoopLag
from tocsin.services.worker.recorder import Recorder
from tocsin.store.certificates import Chain
from tocsin.store.checks import CheckRow
from tocsin.store.engine import StoreError

RELOAD_S = 2.0
CANARY_FRESH_S = 1.0
"""A canary's answer is believed this long."""
CANARY_EVERY_S = 30.0
"""The canary is asked this often while all is well, so that a later failure means something."""
AT_ONCE = 50
"""Up to this many new targets are looked at as soon as they appear, and at a start; more wait for their slots."""
FINISH_S = 2.5
"""On stop, checks under way get this long to end of themselves."""
WRITE_S = 2.5
"""On stop, results that wait get this long to be written."""
SLACK_MS = 10_000
"""A target is due two intervals after its last check and this much later: a quick restart is not silence."""
CLOCK_EVERY_S = 1.0
BURST = 200
"""So many checks are started in one turn of the loop; then the answers that came meanwhile have their turn."""
BUSY_S = 0.05
"""A loop this far behind gets only a few new checks at a time, so that those under way are still measured honestly.
What cannot be done then shows as lateness and missed slots, not as slow or failing targets."""
FEW = 10
BUSY_SHARE = 0.25
"""A failure that a lost network would explain is doubted when the loop was late for this share of the timeout."""
TOO_BUSY = "nothing measured: this worker got too little processor time"
LOST_NETWORK = "nothing measured: this worker has lost its own network"

log = get_logger("worker")


class TargetChanges(NamedTuple):
    """What changed about targets since a revision; ``revision`` is where to ask from next."""

    targets: Sequence[Target]
    removed: Sequence[int]
    revision: int


class LoadTargets(Protocol):
    def __call__(self, since_revision: int) -> TargetChanges: ...


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    location_id: int
    canary: tuple[str, ...] = ()
    max_concurrent: int = 5000
    buffer: int = 200_000


class _Watch:
    """What the worker holds of one target."""

    __slots__ = ("certificate", "certificate_told", "prepared", "reachable", "target", "under_way")

    def __init__(self, target: Target, prepared: Prepared, location_id: int) -> None:
        subject = Subject(TARGET, target.id)
        self.target = target
        self.prepared = prepared
        self.reachable = StateKey(subject, REACHABLE, location_id)
        self.certificate = StateKey(subject, CERTIFICATE, location_id)
        self.certificate_told: tuple[CertificateStanding, str] | None = None
        self.under_way = False


class Worker:
    """``load`` blocks and is called on a thread; ``open_network`` is entered on the worker's own loop."""

    def __init__(
        self,
        *,
        pipeline: Pipeline,
        bus: Bus,
        clock: Clock,
        load: LoadTargets,
        open_network: Callable[[], AbstractAsyncContextManager[Network]],
        settings: WorkerSettings,
    ) -> None:
        self._pipeline = pipeline
        self._bus = bus
        self._clock = clock
        self._load = load
        self._open_network = open_network
        self._settings = settings
        self._slots = SlotClock(clock)
        self._agenda = Agenda()
        self._watches: dict[int, _Watch] = {}
        self._revision = -1
        self._loaded = False
        self._waiting: deque[Due] = deque()
        self._judge = NetworkJudge()
        self._canary_asked_s = float("-inf")
        self._stopping = False

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until ``stop`` is set; then ends checks under way, writes what is left and returns.

        Start: targets, canary, recorder, checks. Stop: the reverse. Raises when a loop of it has ended by itself: a
        worker that looks and does not record is none.
        """
        broken: list[BaseException] = []

        def end(error: BaseException) -> None:
            broken.append(error)
            stop.set()

        self._limit = max(10, min(self._settings.max_concurrent, _open_files() - 200))
        self._canary_lock = asyncio.Lock()
        self._checks = TaskSet(_report)
        reading = Threads("worker-read", 1)
        writing = Threads("worker-write", 1)
        self._recorder = Recorder(
            self._pipeline, writing, self._clock, bound=self._settings.buffer, settled=self._on_settled
        )
        try:
            async with self._open_network() as network:
                self._network = network
                self._lag = LoopLag(asyncio.get_running_loop(), network.http.behind_s)
                self._timer: asyncio.Handle = asyncio.get_running_loop().call_soon(self._tick)
                loops = TaskSet(end)
                recording = loops.start(self._recorder.run())
                loops.start(self._follow_targets(reading))
                loops.start(self._follow_canary())
                loops.start(self._follow_clock())
                await stop.wait()
                self._stopping = True
                self._timer.cancel()
                if not await self._checks.wait(FINISH_S):
                    log.info("checks under way are given up at stop", checks=len(self._checks))
                await self._checks.close()
                self._recorder.drain()
                await asyncio.wait([recording], timeout=WRITE_S)
                if len(self._recorder):
                    log.error("results could not be written before the end", results=len(self._recorder))
                await loops.close()
                self._lag.stop()
                if broken:
                    raise broken[0]
        finally:
            reading.close()
            writing.close()

    # ── what to watch ─────────────────────────────────────────────────────────────────────────────

    async def _follow_targets(self, reading: Threads) -> None:
        async with self._bus.listen(["targets"]) as bell:
            while True:
                try:
                    self._take_over(await reading.run(self._load, self._revision))
                except StoreError as error:
                    log.warning("targets cannot be read; going on with those known", reason=str(error))
                except Exception:
                    log.exception("changes of targets cannot be taken over; going on with those known")
                await bell.wait(RELOAD_S)

    def _take_over(self, changes: TargetChanges) -> None:
        if not changes.targets and not changes.removed and self._loaded:
            return
        now_ms = int(self._slots.now_ms())
        for target_id in changes.removed:
            self._forget(target_id)
        new = 0
        for target in changes.targets:
            prepared = self._prepare(target) if target.enabled else None
            if prepared is None:
                self._forget(target.id)
                continue
            known = self._watches.get(target.id)
            if known is not None and _probed_alike(known.target, target):
                known.target, known.prepared = target, prepared
                known.certificate_told = None  # it may have been paused and resumed since
                continue
            self._watches[target.id] = _Watch(target, prepared, self._settings.location_id)
            self._agenda.put(target.id, target.interval_ms, now_ms)
            new += 1
            if new <= AT_ONCE:
                self._agenda.look(target.id, now_ms)
        self._revision, self._loaded = changes.revision, True
        metrics.TARGETS_WATCHED.set(len(self._watches))
        self._tick_soon()

    def _prepare(self, target: Target) -> Prepared | None:
        """None for kinds that nobody probes, and for a target that an older version stored and this one refuses."""
        try:
            return prepare(target)
        except ValueError as error:
            log.error("a stored target cannot be probed; edit it to repair it", target=target.name, reason=str(error))
            return None

    def _forget(self, target_id: int) -> None:
        if self._watches.pop(target_id, None) is not None:
            self._agenda.remove(target_id)

    # ── when to look ──────────────────────────────────────────────────────────────────────────────

    async def _follow_clock(self) -> None:
        while True:
            await asyncio.sleep(CLOCK_EVERY_S)
            jumped_ms = self._slots.follow()
            if jumped_ms:
                metrics.CLOCK_JUMPS.inc()
                log.warning("the clock jumped; slots are laid anew", by_ms=jumped_ms)
                self._agenda.lay_anew(int(self._slots.now_ms()))
                self._waiting.clear()
                self._tick_soon()

    def _tick(self) -> None:
        """Starts what is due and sets the timer for what is due next. A callback rather than a task: it runs for
        every slot, and waking a task costs a turn of the loop more."""
        self._waiting.extend(self._agenda.take(self._slots.now_ms()))
        busy = self._lag.now_s() > BUSY_S
        for _ in range(min(len(self._waiting), self._limit - len(self._checks), FEW if busy else BURST)):
            self._start(self._waiting.popleft())
        metrics.CHECKS_UNDER_WAY.set(len(self._checks))
        self._timer.cancel()
        if self._stopping:
            return
        loop = asyncio.get_running_loop()
        next_ms = self._agenda.next_ms()
        if self._waiting and len(self._checks) < self._limit:
            self._timer = loop.call_soon(self._tick)
        elif next_ms is not None:
            # Whole milliseconds, rounded up: the loop cuts the rest off, and a timer that is early is set again.
            wait_ms = max(0, math.ceil(next_ms - self._slots.now_ms()))
            self._timer = loop.call_later(wait_ms / 1000, self._tick)

    def _tick_soon(self) -> None:
        """Something changed what is due."""
        self._timer.cancel()
        if not self._stopping:
            self._timer = asyncio.get_running_loop().call_soon(self._tick)

    def _start(self, due: Due) -> None:
        watch = self._watches.get(due.target_id)
        if watch is None:
            return
        late_s = (self._slots.now_ms() - due.at_ms) / 1000
        if watch.under_way or late_s * 1000 > watch.target.interval_ms:
            if not due.extra:
                metrics.SLOTS_MISSED.inc()
            return
        if not due.extra:
            metrics.START_LATENESS.observe(late_s)
        watch.under_way = True
        self._checks.start(self._check(watch, due.at_ms))

    def _on_settled(self, settled: list[Settled]) -> None:
        """A result that speaks against the verdict is looked at again soon, not a whole interval later."""
        for key, state in settled:
            watch = self._watches.get(key.subject.id)
            if watch is None:
                continue
            if key.rule == CERTIFICATE:
                if state.verdict is Verdict.UNKNOWN:
                    watch.certificate_told = None  # it was told while the target was paused, and not heard
            elif unsettled(state) and watch.target.recheck_ms < watch.target.interval_ms:
                now_ms = int(self._slots.now_ms())
                self._agenda.look(key.subject.id, max(state.last_at_ms + watch.target.recheck_ms, now_ms))
                self._tick_soon()

    # ── one check ─────────────────────────────────────────────────────────────────────────────────

    async def _check(self, watch: _Watch, at_ms: int) -> None:
        began_s = asyncio.get_running_loop().time()
        try:
            seen = await examine(watch.prepared, self._network)
            doubt = await self._doubt(seen, began_s, watch.prepared.timeout_s)
        finally:
            watch.under_way = False
            if self._waiting:
                self._tick_soon()
        if self._watches.get(watch.target.id) is not watch:
            return  # changed, paused or deleted meanwhile
        for entry in self._entries(watch, at_ms, seen, doubt):
            self._recorder.add(entry)

    async def _doubt(self, seen: Examination, began_s: float, timeout_s: float) -> str | None:
        """Why what was seen must be laid to us. Only a failure that a lost network would explain is doubted."""
        judge = self._judge
        if seen.network_fault:
            if self._lag.worst_since(began_s) > BUSY_SHARE * timeout_s:
                return TOO_BUSY
            await self._ask_canary()
            judge.outcome(True)
            return LOST_NETWORK if judge.lost else None
        # Our own endpoints on the loopback answer without any network, so they say nothing about it.
        if judge.suspicious and not (seen.is_loopback and not self._settings.canary):
            judge.outcome(False)
        return None

    async def _ask_canary(self) -> None:
        async with self._canary_lock:
            if self._clock.monotonic() - self._canary_asked_s < CANARY_FRESH_S:
                return
            passed = await has_network(self._settings.canary)
            was_lost = self._judge.suspicious
            self._judge.canary(passed)
            self._canary_asked_s = self._clock.monotonic()
            metrics.OWN_NETWORK.set(0 if self._judge.suspicious else 1)
            if self._judge.suspicious != was_lost:
                log.warning(
                    "the canary fails: this worker may have lost its network" if not was_lost else "network is back"
                )

    async def _follow_canary(self) -> None:
        while True:
            await self._ask_canary()
            await asyncio.sleep(CANARY_FRESH_S * 2 if self._judge.suspicious else CANARY_EVERY_S)

    def _entries(self, watch: _Watch, at_ms: int, seen: Examination, doubt: str | None) -> list[Entry]:
        target = watch.target
        result = Result.UNMEASURED if doubt else graded(seen.result, seen.latency_us, target.policy)
        error = f"{doubt} ({seen.error})" if doubt else seen.error
        _COUNTED[result].inc()
        row = CheckRow(
            at_ms, target.id, seen.latency_us, *seen.phases, self._settings.location_id, int(result), error or None
        )
        due_ms = at_ms + 2 * target.interval_ms + target.timeout_ms + SLACK_MS
        outcome = Outcome(watch.reachable, at_ms, result, seen.latency_us, error or "", due_ms)
        passed = result in (Result.PASSED, Result.WARNED)
        entries = [Entry(outcome, target.policy, row, None if passed else seen.evidence())]
        if seen.certificate is not None:
            entries += self._certificate_entries(watch, at_ms, seen, seen.certificate)
        return entries

    def _certificate_entries(
        self, watch: _Watch, at_ms: int, seen: Examination, standing: CertificateStanding
    ) -> list[Entry]:
        """Nothing while all is as told before: a certificate changes once in months, a check comes every minute."""
        told = (standing, seen.certificates[0].fingerprint)
        if told == watch.certificate_told:
            return []
        watch.certificate_told = told
        outcome = Outcome(watch.certificate, at_ms, standing.result, None, standing.reason, None)
        chain = Chain(watch.target.id, self._settings.location_id, at_ms, standing.expires_ms, seen.chain())
        return [Entry(outcome, CERTIFICATE_POLICY, chain=chain)]


CERTIFICATE_POLICY = Policy(failures_to_down=1, passes_to_up=1, warnings_to_degraded=1)
_COUNTED = {result: metrics.CHECKS.labels(result.name.lower()) for result in Result}


def _probed_alike(one: Target, other: Target) -> bool:
    """Whether a change leaves the probing itself as it was (a new name, tag or threshold)."""
    return (one.kind, one.settings, one.assertions, one.interval_ms, one.timeout_ms) == (
        other.kind,
        other.settings,
        other.assertions,
        other.interval_ms,
        other.timeout_ms,
    )


def _open_files() -> int:
    """How many files may be open; raised to what the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 1_048_576 if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def _report(error: BaseException) -> None:
    log.error("a task of the worker failed", exc_info=error)
