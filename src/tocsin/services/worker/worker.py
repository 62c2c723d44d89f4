"""The loop that probes: every active target of its shards once per slot, none waiting for another.

It decides nothing about verdicts and stores nothing itself; it starts checks on time and hands their outcomes to
the recorder. Correctness needs no message: targets are re-read on a timer, the bus only makes it sooner.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass

from tocsin.bus.base import Bus
from tocsin.core.decide import Verdict, graded, unsettled
from tocsin.core.outcome import CERTIFICATE, REACHABLE, Outcome, Result, StateKey, Subject
from tocsin.core.own_network import NetworkJudge
from tocsin.core.shards import shard_of
from tocsin.core.target import CERTIFICATE_POLICY, TARGET, Target
from tocsin.home import Home, Introduction, Lease, TargetChanges
from tocsin.lib import metrics
from tocsin.lib.canary import has_network
from tocsin.lib.clock import Clock
from tocsin.lib.log import get_logger
from tocsin.lib.net import Network
from tocsin.lib.open_files import most_open_files
from tocsin.lib.threads import TaskSet, Threads
from tocsin.pipeline import Entry, Settled
from tocsin.probes.frame import CertificateStanding, Examination, Prepared, examine, prepare
from tocsin.services.worker.agenda import Agenda, Due, SlotClock
from tocsin.services.worker.lag import LoopLag
from tocsin.services.worker.recorder import Recorder
from tocsin.services.worker.tenancy import RENEW_S, Tenancy
from tocsin.store.certificates import Chain
from tocsin.store.checks import CheckRow
from tocsin.store.engine import StoreError

RELOAD_S = 1.5
"""Targets are looked for that often, so that a change has its effect within two seconds."""
HEAR_S = 60.0
BREATH = 50
"""After so many targets taken over, about 3 ms, checks have their turn."""
CANARY_FRESH_S = 1.0
"""A canary's answer is believed this long."""
CANARY_EVERY_S = 30.0
"""The canary is asked this often while all is well, so that a later failure means something."""
AT_ONCE = 50
"""Up to this many new targets are looked at as soon as they appear, and at a start; more wait for their slots."""
RENEWED_S = 0.4
"""On stop, a renewal that is under way gets this long."""
FINISH_S = 2.3
"""On stop, checks under way get this long to end of themselves."""
WRITE_S = 1.8
"""On stop, results that wait get this long to be written."""
LEAVE_S = 0.5
"""On stop, giving back what is held gets this long."""
LINGER_MS = 1500
"""A shard that another is to have is given back after this even when a check of it hangs. What comes of that check is
kept as history; longer than that nobody would probe the shard's other targets."""
CATCH_UP_MS = 10_000
"""Of a shard that another had, slots that passed meanwhile are made up for, if they are no older than this."""
SLACK_MS = 25_000
"""A target is due two intervals after its last check and this much later: a restart is not silence, nor is the time
until another worker has taken over what a dead one held."""
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


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    canary: tuple[str, ...] = ()
    max_concurrent: int = 5000
    buffer: int = 200_000
    renew_s: float = RENEW_S


class _Shard:
    """What the worker holds of one shard, under one epoch."""

    __slots__ = ("epoch", "left_ms", "loaded", "number", "revision", "since_ms", "under_way", "watched")

    def __init__(self, number: int, epoch: int, since_ms: int | None) -> None:
        self.number = number
        self.epoch = epoch
        self.revision = -1
        self.loaded = False
        self.since_ms = since_ms
        """Until it is loaded: up to when its slots were started by whoever gave it back, if that is known."""
        self.left_ms: int | None = None
        """Later slots are for the next to start; None: we go on."""
        self.under_way = 0
        self.watched: set[int] = set()


class _Watch:
    """What the worker holds of one target."""

    __slots__ = ("certificate", "certificate_told", "prepared", "reachable", "shard", "target", "under_way", "void")

    def __init__(self, target: Target, prepared: Prepared, shard: _Shard, location_id: int) -> None:
        subject = Subject(TARGET, target.id)
        self.target = target
        self.prepared = prepared
        self.shard = shard
        self.reachable = StateKey(subject, REACHABLE, location_id)
        self.certificate = StateKey(subject, CERTIFICATE, location_id)
        self.certificate_told: tuple[CertificateStanding, str] | None = None
        self.under_way = False
        self.void = False
        """The target is another now, paused or gone: what a check under way still finds out is of no use."""


class Worker:
    """``home`` is called on threads; ``open_network`` is entered on the worker's own loop. A ``clock`` that is a
    ``SharedClock`` is put right by what home says."""

    def __init__(
        self,
        *,
        home: Home,
        me: Introduction,
        bus: Bus,
        clock: Clock,
        open_network: Callable[[], AbstractAsyncContextManager[Network]],
        settings: WorkerSettings,
    ) -> None:
        self._home = home
        self._me = me
        self._bus = bus
        self._clock = clock
        self._open_network = open_network
        self._settings = settings
        self._slots = SlotClock(clock)
        self._agenda = Agenda()
        self._location_id = 0
        self._shards: dict[int, _Shard] = {}
        self._watches: dict[int, _Watch] = {}
        self._looks = AT_ONCE
        self._waiting: deque[Due] = deque()
        self._judge = NetworkJudge()
        self._canary_asked_s = float("-inf")
        self._stopping = False

    def lacks(self) -> str:
        """What keeps it from probing its whole share, as a sentence; empty when nothing does. From any thread."""
        if not self._location_id:
            return "The worker has no lease yet."
        if self._tenancy.is_out_of_touch:
            return "The worker's lease cannot be renewed; it goes on with what it holds."
        if any(not shard.loaded for shard in tuple(self._shards.values())):
            return "The worker is loading its targets."
        return ""

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until ``stop`` is set; then ends checks under way, writes what is left, gives back what it holds and
        returns.

        Start: recorder, lease, targets, canary, checks. Stop: the reverse. Raises when a loop of it has ended by
        itself: a worker that looks and does not record is none.
        """
        broken: list[BaseException] = []

        def end(error: BaseException) -> None:
            broken.append(error)
            stop.set()

        self._end = end
        self._limit = max(10, min(self._settings.max_concurrent, most_open_files() - 200))
        self._canary_lock = asyncio.Lock()
        self._checks = TaskSet(_report)
        reading = Threads("worker-read", 1)
        writing = Threads("worker-write", 1)
        self._recorder = Recorder(
            self._home, writing, self._clock, bound=self._settings.buffer, settled=self._on_settled
        )
        self._tenancy = Tenancy(
            self._home,
            self._me,
            self._clock,
            taken=self._take_share,
            done_with=self._done_with,
            renew_s=self._settings.renew_s,
        )
        self._read_soon = asyncio.Event()
        loops = TaskSet(end)
        try:
            async with self._open_network() as network:
                self._network = network
                self._lag = LoopLag(asyncio.get_running_loop(), network.http.behind_s)
                self._timer: asyncio.Handle = asyncio.get_running_loop().call_soon(self._tick)
                try:
                    recording = loops.start(self._recorder.run())
                    renewing = loops.start(self._tenancy.run())
                    loading = loops.start(self._follow_targets(reading))
                    loops.start(self._hear())
                    loops.start(self._follow_canary())
                    loops.start(self._follow_clock())
                    await stop.wait()
                    self._tenancy.end()
                    await asyncio.wait([renewing], timeout=RENEWED_S)
                    renewing.cancel()
                    loading.cancel()
                    await self._wind_up(recording)
                finally:
                    self._stop_starting()
                    await self._checks.close()
                    await loops.close()
                    self._lag.stop()
        finally:
            reading.close()
            writing.close()
            self._tenancy.close()
        if broken:
            raise broken[0]

    def _stop_starting(self) -> None:
        self._stopping = True
        self._timer.cancel()

    async def _wind_up(self, recording: asyncio.Task[None]) -> None:
        self._stop_starting()
        give_back = self._all_started()
        if not await self._checks.wait(FINISH_S):
            log.info("checks under way are given up at stop", checks=len(self._checks))
        await self._checks.close()
        self._recorder.drain()
        await asyncio.wait([recording], timeout=WRITE_S)
        if len(self._recorder):
            log.error("results could not be written before the end", results=len(self._recorder))
        await self._leave(give_back)

    async def _leave(self, give_back: Mapping[int, int]) -> None:
        try:
            async with asyncio.timeout(LEAVE_S):
                await self._tenancy.leave(give_back)
        except (StoreError, TimeoutError) as error:
            log.warning("what was held could not be given back; others wait until the lease ends", reason=repr(error))

    async def _hear(self) -> None:
        async with self._bus.listen(["targets", "workers"]) as bell:
            while True:
                rung = await bell.wait(HEAR_S)
                if "workers" in rung:
                    self._tenancy.soon()
                if "targets" in rung:
                    self._read_soon.set()

    # ── our share ─────────────────────────────────────────────────────────────────────────────────

    def _take_share(self, lease: Lease) -> None:
        """Begins with what is new, goes on with what is held, winds up what another is to have, drops what is lost."""
        self._look_at_clock()
        moved = lease.location_id != self._location_id
        self._location_id = lease.location_id
        for shard in list(self._shards.values()):
            if moved or lease.epochs.get(shard.number) != shard.epoch:
                self._drop(shard)
        for number, epoch in lease.epochs.items():
            if number not in self._shards:
                self._shards[number] = _Shard(number, epoch, lease.since.get(number))
                self._read_soon.set()
        # Results that wait for a database that was away must be written while the shard is ours.
        leaving: Collection[int] = () if self._recorder.is_behind else lease.leaving
        for number, shard in self._shards.items():
            if number in leaving and shard.left_ms is None:
                self._begin_leaving(shard)
            elif number not in leaving and shard.left_ms is not None:
                self._resume(shard, shard.left_ms)
        self._give_back_soon()
        metrics.TARGETS_WATCHED.set(len(self._watches))

    def _drop(self, shard: _Shard) -> None:
        """Checks under way end and are recorded under the epoch they were started in."""
        del self._shards[shard.number]
        for target_id in shard.watched:
            del self._watches[target_id]
            self._agenda.remove(target_id)

    def _begin_leaving(self, shard: _Shard) -> None:
        if shard.since_ms is not None:
            if shard.watched:
                return  # half of it is loaded; in a moment it can be said up to when its slots were started
            shard.left_ms = shard.since_ms
            return
        shard.left_ms = int(self._slots.now_ms())
        self._waiting.extend(self._agenda.take(shard.left_ms))
        self._tick_soon()

    def _resume(self, shard: _Shard, left_ms: int) -> None:
        shard.left_ms = None
        for target_id in shard.watched:
            self._agenda.put(target_id, self._watches[target_id].target.interval_ms, left_ms)
        self._tick_soon()

    def _done_with(self) -> dict[int, int]:
        """The shards that can be given back now: nothing of them is under way or waits, or not for much longer."""
        done: dict[int, int] = {}
        now_ms = self._slots.now_ms()
        for shard in self._shards.values():
            if shard.left_ms is None:
                continue
            idle = not shard.under_way and not self._recorder.waiting(shard.number) and not self._has_due(shard)
            if idle or now_ms - shard.left_ms > LINGER_MS:
                done[shard.number] = shard.left_ms
        return done

    def _has_due(self, shard: _Shard) -> bool:
        """A slot that is still ours waits to be started."""
        left_ms = shard.left_ms or 0
        return any(due.at_ms <= left_ms and due.target_id in shard.watched for due in self._waiting)

    def _give_back_soon(self) -> None:
        if any(shard.left_ms is not None for shard in self._shards.values()) and self._done_with():
            self._tenancy.soon()

    def _all_started(self) -> dict[int, int]:
        """Up to when every slot of each shard has been started, as far as that is known."""
        now_ms = int(self._slots.now_ms())
        self._waiting.extend(self._agenda.take(now_ms))
        started: dict[int, int] = {}
        for number, shard in self._shards.items():
            if shard.left_ms is not None:
                started[number] = shard.left_ms
            elif shard.loaded:
                started[number] = now_ms
            elif shard.since_ms is not None:
                started[number] = shard.since_ms
        for due in self._waiting:
            number = shard_of(due.target_id)
            if number in started:
                started[number] = min(started[number], due.at_ms - 1)
        return started

    # ── what to watch ─────────────────────────────────────────────────────────────────────────────

    async def _follow_targets(self, reading: Threads) -> None:
        unread = False
        while True:
            complete = True
            try:
                complete = await self._read_changes(reading)
                if unread:
                    log.info("targets are read again")
                unread = False
            except StoreError as error:
                if not unread:
                    log.warning("targets cannot be read; going on with those known", reason=str(error))
                unread = True
            except Exception:
                log.exception("changes of targets cannot be taken over; going on with those known")
            if complete:
                with suppress(TimeoutError):
                    async with asyncio.timeout(RELOAD_S):
                        await self._read_soon.wait()
                self._read_soon.clear()

    async def _read_changes(self, reading: Threads) -> bool:
        """What changed about the targets of each shard since it was read last, or the first of it. False: there is
        more.

        Those known already come first, so that loading many new ones does not delay a change of theirs.
        """
        by_revision: defaultdict[int, list[_Shard]] = defaultdict(list)
        for shard in self._shards.values():
            by_revision[shard.revision].append(shard)
        complete = True
        for revision, shards in sorted(by_revision.items(), reverse=True):
            changes = await reading.run(self._home.load, [shard.number for shard in shards], revision)
            await self._take_over(changes, shards)
            for shard in shards:
                shard.revision = changes.revision
                if changes.complete:
                    shard.loaded, shard.since_ms = True, None
            complete = complete and changes.complete
        if complete:
            self._looks = AT_ONCE
        return complete

    async def _take_over(self, changes: TargetChanges, shards: Iterable[_Shard]) -> None:
        """``shards`` are those that were asked for; one that is lost meanwhile is left alone."""
        asked = {shard.number: shard for shard in shards}

        def held(target_id: int) -> _Shard | None:
            shard = asked.get(shard_of(target_id))
            return shard if shard is not None and self._shards.get(shard.number) is shard else None

        for target_id in changes.removed:
            if held(target_id) is not None:
                self._forget(target_id)
        for number, target in enumerate(changes.targets, 1):
            shard = held(target.id)
            if shard is not None:
                self._watch(target, shard)
            if number % BREATH == 0:
                self._tick_soon()
                await asyncio.sleep(0)
        metrics.TARGETS_WATCHED.set(len(self._watches))
        if changes.targets:
            self._tick_soon()

    def _watch(self, target: Target, shard: _Shard) -> None:
        prepared = self._prepare(target) if target.enabled else None
        if prepared is None:
            self._forget(target.id)
            return
        known = self._watches.get(target.id)
        if known is not None and _probed_alike(known.target, target):
            known.target, known.prepared = target, prepared
            known.certificate_told = None  # it may have been paused and resumed since
            return
        if known is not None:
            known.void = True
        self._watches[target.id] = _Watch(target, prepared, shard, self._location_id)
        shard.watched.add(target.id)
        now_ms = int(self._slots.now_ms())
        if shard.since_ms is not None:
            self._agenda.put(target.id, target.interval_ms, max(shard.since_ms, now_ms - CATCH_UP_MS))
            return
        self._agenda.put(target.id, target.interval_ms, now_ms)
        if self._looks > 0:
            self._looks -= 1
            self._agenda.look(target.id, now_ms)

    def _prepare(self, target: Target) -> Prepared | None:
        """None for kinds that nobody probes, and for a target that an older version stored and this one refuses."""
        try:
            return prepare(target)
        except ValueError as error:
            log.error("a stored target cannot be probed; edit it to repair it", target=target.name, reason=str(error))
            return None

    def _forget(self, target_id: int) -> None:
        watch = self._watches.pop(target_id, None)
        if watch is not None:
            watch.void = True
            watch.shard.watched.discard(target_id)
            self._agenda.remove(target_id)

    # ── when to look ──────────────────────────────────────────────────────────────────────────────

    async def _follow_clock(self) -> None:
        while True:
            await asyncio.sleep(CLOCK_EVERY_S)
            if self._look_at_clock():
                self._tenancy.soon()  # home knows what time it is

    def _look_at_clock(self) -> bool:
        """Whether it jumped."""
        jumped_ms = self._slots.follow()
        if not jumped_ms:
            return False
        if self._watches:
            metrics.CLOCK_JUMPS.inc()
            log.warning("the clock jumped; slots are laid anew", by_ms=jumped_ms)
            self._agenda.lay_anew(int(self._slots.now_ms()))
            self._waiting.clear()
            self._tick_soon()
        return True

    def _tick(self) -> None:
        """A callback rather than a task: it runs for every slot, and waking a task costs a turn of the loop more. What
        a callback raises is only logged, and nothing would be started any more."""
        try:
            self._start_due()
        except Exception as error:
            self._end(error)

    def _start_due(self) -> None:
        """Starts what is due and sets the timer for what is due next."""
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
        left_ms = watch.shard.left_ms
        if left_ms is not None and due.at_ms > left_ms:
            return
        late_s = (self._slots.now_ms() - due.at_ms) / 1000
        if watch.under_way or late_s * 1000 > watch.target.interval_ms:
            if not due.extra:
                metrics.SLOTS_MISSED.inc()
            return
        if not due.extra:
            metrics.START_LATENESS.observe(late_s)
        watch.under_way = True
        watch.shard.under_way += 1
        self._checks.start(self._check(watch, due.at_ms))

    def _on_settled(self, settled: list[Settled]) -> None:
        """A result that speaks against the verdict is looked at again soon, not a whole interval later."""
        for key, state in settled:
            watch = self._watches.get(key.subject.id)
            if watch is None or key.location_id != self._location_id:
                continue
            if key.rule == CERTIFICATE:
                if state.verdict is Verdict.UNKNOWN:
                    watch.certificate_told = None  # it was told while the target was paused, and not heard
            elif unsettled(state) and watch.target.recheck_ms < watch.target.interval_ms:
                now_ms = int(self._slots.now_ms())
                self._agenda.look(key.subject.id, max(state.last_at_ms + watch.target.recheck_ms, now_ms))
                self._tick_soon()
        self._give_back_soon()

    # ── one check ─────────────────────────────────────────────────────────────────────────────────

    async def _check(self, watch: _Watch, at_ms: int) -> None:
        began_s = asyncio.get_running_loop().time()
        try:
            seen = await examine(watch.prepared, self._network)
            doubt = await self._doubt(seen, began_s, watch.prepared.timeout_s)
            if not watch.void:
                for entry in self._entries(watch, at_ms, seen, doubt):
                    self._recorder.add(entry)
        finally:
            watch.under_way = False
            watch.shard.under_way -= 1
            if self._waiting:
                self._tick_soon()
        if watch.shard.left_ms is not None:
            self._recorder.hurry()
            self._give_back_soon()

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
            at_ms, target.id, seen.latency_us, *seen.phases, watch.reachable.location_id, int(result), error or None
        )
        due_ms = at_ms + 2 * target.interval_ms + target.timeout_ms + SLACK_MS
        outcome = Outcome(watch.reachable, at_ms, result, seen.latency_us, error or "", due_ms)
        passed = result in (Result.PASSED, Result.WARNED)
        epoch = watch.shard.epoch
        entries = [Entry(outcome, target.policy, row, None if passed else seen.evidence(), epoch=epoch)]
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
        chain = Chain(watch.target.id, watch.certificate.location_id, at_ms, standing.expires_ms, seen.chain())
        return [Entry(outcome, CERTIFICATE_POLICY, chain=chain, epoch=watch.shard.epoch)]


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


def _report(error: BaseException) -> None:
    log.error("a task of the worker failed", exc_info=error)
