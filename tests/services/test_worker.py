"""The worker with real sockets and a real database: on time, undisturbed, and honest about its own network."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import pytest

from tests.probes.authority import identity
from tests.servers import Asked, answering, closed_port, hang, reply, serving, until
from tocsin.bus.memory import MemoryBus
from tocsin.core.decide import Policy, State, Verdict
from tocsin.core.outcome import CERTIFICATE, REACHABLE, Result, StateKey, Subject
from tocsin.core.shards import SHARDS, shard_of
from tocsin.core.slots import slot_offset_ms
from tocsin.core.target import Target
from tocsin.home import DatabaseHome, Introduction, Lease, TargetChanges
from tocsin.lib.clock import SYSTEM_CLOCK, Clock, SystemClock
from tocsin.lib.net import Network
from tocsin.lib.vault import Vault
from tocsin.pipeline import Entry, Pipeline, Settled
from tocsin.services.worker import Worker, WorkerSettings
from tocsin.services.worker.agenda import Agenda, Due
from tocsin.services.worker.recorder import GATHER_S
from tocsin.store import checks, evidence, states, transitions
from tocsin.store.checks import CheckRow
from tocsin.store.engine import Store, StoreBusy
from tocsin.store.shards import Fence


def target(
    target_id: int, kind: str = "http", *, interval_ms: int = 1000, timeout_ms: int = 800, **settings: object
) -> Target:
    return Target(
        id=target_id,
        name=f"target {target_id}",
        slug=f"target-{target_id}",
        kind=kind,
        settings=settings,
        interval_ms=interval_ms,
        timeout_ms=timeout_ms,
        recheck_ms=interval_ms,
        enabled=True,
        tags=(),
        group="",
        assertions=(),
        policy=Policy(),
    )


ME = Introduction("worker", "life", "local", "host", "1.0")


class Watching:
    """A worker at work on a roster that the test changes."""

    def __init__(self, path: Path, canary: tuple[str, ...] = (), clock: Clock = SYSTEM_CLOCK) -> None:
        self.clock = clock
        self.path = path
        self.store = Store(f"sqlite:///{path}", busy_timeout_s=0.3)
        self.store.migrate()
        self.bus = MemoryBus()
        self.canary = canary
        self._roster: dict[int, tuple[int, Target]] = {}
        self._removed: dict[int, int] = {}
        self._revision = 0
        self.defects: list[Exception] = []
        """Raised one by one when targets are read."""

    def put(self, *targets: Target) -> None:
        self._revision += 1
        self._roster |= {one.id: (self._revision, one) for one in targets}
        self.bus.ring("targets")

    def remove(self, target_id: int) -> None:
        self._revision += 1
        del self._roster[target_id]
        self._removed[target_id] = self._revision
        self.bus.ring("targets")

    def load(self, shards: Collection[int], since_revision: int) -> TargetChanges:
        if self.defects:
            raise self.defects.pop()
        changed = [one for revision, one in self._roster.values() if revision > since_revision]
        return TargetChanges(
            [one for one in changed if shard_of(one.id) in shards],
            [target_id for target_id, revision in self._removed.items() if revision > since_revision],
            self._revision,
        )

    def worker(self, pipeline: Pipeline, home: type[Roster] | None = None) -> Worker:
        return Worker(
            home=(home or Roster)(self, pipeline),
            me=ME,
            bus=self.bus,
            clock=self.clock,
            open_network=Network.open,
            settings=WorkerSettings(canary=self.canary),
        )

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        worker = self.worker(Pipeline(self.store, self.bus, self.clock))
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(worker.run(stop))
            try:
                yield
            finally:
                stop.set()
                await running

    def rows(self, target_id: int) -> list[CheckRow]:
        """Its checks, oldest first."""
        with self.store.read() as conn:
            return checks.of_target(conn, target_id, from_ms=0, to_ms=2**60, limit=10_000)[::-1]

    def slots(self, target_id: int, interval_ms: int = 1000) -> list[int]:
        """Of its checks those that were not extra looks."""
        offset_ms = slot_offset_ms(target_id, interval_ms)
        return [row.at_ms for row in self.rows(target_id) if row.at_ms % interval_ms == offset_ms]

    def state(self, target_id: int) -> State:
        key = StateKey(Subject("target", target_id), REACHABLE, 1)
        with self.store.read() as conn:
            return states.read_many(conn, [key])[key]

    def verdicts(self, target_id: int) -> list[str]:
        with self.store.read() as conn:
            found = transitions.of_subject(conn, Subject("target", target_id), from_ms=0, to_ms=2**60)
        return [one.transition.after.value for one in reversed(found)]

    async def until_verdict(self, target_id: int, verdict: Verdict) -> None:
        await until(lambda: self.state(target_id).verdict is verdict)


class Roster(DatabaseHome):
    """The centre, with targets that are in no database."""

    def __init__(self, watching: Watching, pipeline: Pipeline) -> None:
        vault = Vault("a key for tests, long enough")
        super().__init__(
            store=watching.store, bus=watching.bus, pipeline=pipeline, vault=vault, clock=watching.clock, me=ME
        )
        self._watching = watching

    def load(self, shards: Collection[int], since_revision: int) -> TargetChanges:
        return self._watching.load(shards, since_revision)


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Watching]:
    made = Watching(tmp_path / "tocsin.db")
    yield made
    made.store.close()


async def test_every_target_is_checked_in_each_of_its_slots(watching: Watching) -> None:
    async with serving(answering(reply())) as server:
        watching.put(*(target(n, url=server.url) for n in range(1, 31)))
        async with watching.working():
            await asyncio.sleep(3.2)
    for n in range(1, 31):
        slots = watching.slots(n)
        assert len(slots) >= 3
        assert {later - earlier for earlier, later in pairwise(slots)} <= {1000}
        assert watching.verdicts(n) == ["up"]


async def test_hanging_targets_delay_no_other(watching: Watching) -> None:
    async with serving(hang) as silent, serving(answering(reply())) as server:
        watching.put(*(target(n, url=silent.url) for n in range(1, 201)))
        watching.put(*(target(n, url=server.url) for n in range(1001, 1021)))
        async with watching.working():
            await watching.until_verdict(1, Verdict.DOWN)
            assert "timed out" in watching.state(1).reason
            await until(lambda: all(len(watching.rows(n)) >= 5 for n in range(1001, 1021)))
    for n in range(1001, 1021):
        slots = watching.slots(n)
        assert len(slots) >= 4
        assert {later - earlier for earlier, later in pairwise(slots)} == {1000}
        assert watching.verdicts(n) == ["up"]
    # Where processor time is short as well, its next look may have been our own fault.
    assert watching.verdicts(1)[0] == "down"


async def test_a_failure_is_looked_at_again_before_its_next_slot(watching: Watching) -> None:
    slow = replace(target(1, "tcp", interval_ms=600_000, host="127.0.0.1", port=closed_port()), recheck_ms=200)
    watching.put(slow)
    async with watching.working():
        await watching.until_verdict(1, Verdict.DOWN)
    first, second, *_ = watching.rows(1)
    assert first.result == second.result == Result.FAILED
    assert second.at_ms - first.at_ms < 5_000
    assert "refused" in watching.state(1).reason
    with watching.store.read() as conn:
        seen = evidence.get(conn, (1, second.at_ms, 1))
    assert seen is not None
    assert seen["error"] == second.error


async def test_a_paused_target_is_left_alone_and_a_changed_one_is_checked_as_it_is_now(watching: Watching) -> None:
    async with serving(answering(reply())) as old, serving(answering(reply())) as new:
        watching.put(target(1, url=old.url), target(2, url=old.url), target(3, url=old.url))
        async with watching.working():
            await watching.until_verdict(3, Verdict.UP)
            watching.put(replace(target(1, url=old.url), enabled=False), target(2, url=new.url))
            watching.remove(3)
            await asyncio.sleep(2 * GATHER_S)  # what was under way is written by now
            before, asked = len(watching.rows(1)), new.connections
            await asyncio.sleep(2.5)
        assert len(watching.rows(1)) == before
        assert new.connections > asked


async def test_a_certificate_is_told_again_after_a_pause_too_short_to_be_seen(watching: Watching) -> None:
    key = StateKey(Subject("target", 1), CERTIFICATE, 1)

    def verdict() -> Verdict:
        with watching.store.read() as conn:
            return states.read_many(conn, [key])[key].verdict

    soon = identity("localhost", "localhost", days=(-1, 3))
    async with serving(answering(reply()), tls=soon.server_context()) as server:
        watched = target(1, url=server.url, verify_tls=False)
        watching.put(watched)
        async with watching.working():
            await until(lambda: verdict() is Verdict.DEGRADED)
            pipeline = Pipeline(watching.store, watching.bus, watching.clock)
            with watching.store.write() as conn:
                pipeline.hold(conn, [key], "paused")
                pipeline.release(conn, [key])
            watching.put(watched)
            await until(lambda: verdict() is Verdict.DEGRADED)


async def test_targets_are_read_again_after_a_defect(watching: Watching) -> None:
    watching.defects.append(LookupError("a defect"))
    async with serving(answering(reply())) as server, watching.working():
        await until(lambda: not watching.defects)
        watching.put(target(1, url=server.url))
        await watching.until_verdict(1, Verdict.UP)


async def test_a_worker_that_cannot_record_ends(watching: Watching) -> None:
    class Broken(Pipeline):
        def write(self, entries: Sequence[Entry], fence: Fence | None = None) -> list[Settled]:
            super().write(entries, fence)
            return [None] * len(entries)  # type: ignore[list-item]

    worker = watching.worker(Broken(watching.store, watching.bus, watching.clock))
    async with serving(answering(reply())) as server:
        watching.put(target(1, url=server.url))
        with pytest.raises(TypeError):
            await worker.run(asyncio.Event())


async def test_a_worker_that_cannot_start_checks_ends(watching: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
    def take(_: Agenda, now_ms: float) -> list[Due]:
        raise LookupError(now_ms)

    monkeypatch.setattr(Agenda, "take", take)
    worker = watching.worker(Pipeline(watching.store, watching.bus, watching.clock))
    with pytest.raises(LookupError):
        await worker.run(asyncio.Event())


async def test_stopped_while_it_hands_over_it_says_up_to_when_it_started_what_it_hands_over(watching: Watching) -> None:
    """Or nobody would start the slots between."""
    asked_ms: list[int] = []
    left: dict[int, int] = {}

    class Leaving(Roster):
        def renew(self, me: Introduction, give_back: Mapping[int, int], *, first: bool, steady: bool) -> Lease:
            lease = super().renew(me, {}, first=first, steady=steady)
            asked_ms.append(watching.clock.now_ms())
            return lease._replace(leaving=frozenset([1]))

        def leave(self, me: Introduction, give_back: Mapping[int, int]) -> None:
            left.update(give_back)

    async with serving(answering(reply())) as server:
        watching.put(target(1, url=server.url, interval_ms=60_000))
        worker = watching.worker(Pipeline(watching.store, watching.bus, watching.clock), Leaving)
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(worker.run(stop))
            await until(lambda: len(asked_ms) >= 3)
            await until(lambda: watching.clock.now_ms() > asked_ms[2])
            stop.set()
    assert left[1] <= asked_ms[2]
    assert left.keys() == set(range(SHARDS))
    assert min(left[shard] for shard in range(SHARDS) if shard != 1) > asked_ms[2]


async def test_stopped_before_its_targets_are_known_it_passes_on_what_the_last_holder_said(watching: Watching) -> None:
    asked: list[Collection[int]] = []
    left: dict[int, int] = {}

    class Unread(Roster):
        def renew(self, me: Introduction, give_back: Mapping[int, int], *, first: bool, steady: bool) -> Lease:
            return super().renew(me, {}, first=first, steady=steady)._replace(since={5: 1234})

        def load(self, shards: Collection[int], since_revision: int) -> TargetChanges:
            asked.append(shards)
            raise StoreBusy("not now")

        def leave(self, me: Introduction, give_back: Mapping[int, int]) -> None:
            left.update(give_back)

    worker = watching.worker(Pipeline(watching.store, watching.bus, watching.clock), Unread)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(worker.run(stop))
        await until(lambda: bool(asked))
        assert worker.lacks() == "The worker is loading its targets."
        stop.set()
    assert left == {5: 1234}


async def test_it_lacks_nothing_once_it_has_a_lease_and_its_targets(watching: Watching) -> None:
    worker = watching.worker(Pipeline(watching.store, watching.bus, watching.clock))
    assert worker.lacks() == "The worker has no lease yet."
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(worker.run(stop))
        await until(lambda: not worker.lacks())
        stop.set()


async def test_a_renewal_under_way_at_a_stop_is_heard_out(watching: Watching) -> None:
    """What it brings would be given back as if nothing were known of it."""
    begun, go_on = threading.Event(), threading.Event()
    left: dict[int, int] = {}

    class Late(Roster):
        def renew(self, me: Introduction, give_back: Mapping[int, int], *, first: bool, steady: bool) -> Lease:
            begun.set()
            go_on.wait()
            return super().renew(me, {}, first=first, steady=steady)._replace(since={5: 1234})

        def leave(self, me: Introduction, give_back: Mapping[int, int]) -> None:
            left.update(give_back)

    worker = watching.worker(Pipeline(watching.store, watching.bus, watching.clock), Late)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(worker.run(stop))
        await until(begun.is_set)
        stop.set()
        await asyncio.sleep(0.05)
        go_on.set()
    assert left == {5: 1234}


async def test_a_locked_database_loses_no_check_and_changes_no_verdict(watching: Watching) -> None:
    async with serving(answering(reply())) as server:
        watching.put(*(target(n, url=server.url) for n in range(1, 11)))
        async with watching.working():
            for n in range(1, 11):
                await watching.until_verdict(n, Verdict.UP)
            locking = sqlite3.connect(watching.path, isolation_level=None)
            locking.execute("BEGIN EXCLUSIVE")
            await asyncio.sleep(4)
            locking.execute("ROLLBACK")
            locking.close()
            await asyncio.sleep(1)
    for n in range(1, 11):
        slots = watching.slots(n)
        assert len(slots) >= 5
        assert {later - earlier for earlier, later in pairwise(slots)} == {1000}
        assert watching.verdicts(n) == ["up"]


async def test_stopping_loses_no_finished_check(watching: Watching) -> None:
    asked: list[Asked] = []
    async with serving(answering(reply(), asked)) as server:
        watching.put(*(target(n, url=server.url) for n in range(1, 51)))
        async with watching.working():
            await until(lambda: len(asked) >= 75)
    assert sum(len(watching.rows(n)) for n in range(1, 51)) == len(asked)


@contextmanager
def thinking(seconds: float) -> Iterator[str]:
    """A service on threads of its own that takes so long to answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(seconds)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Quiet: the test's own output matters."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 512  # with the default of 5 the system drops connections, and rightly that is a failure

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


async def test_a_worker_without_processor_time_lays_timeouts_to_itself(watching: Watching) -> None:
    with thinking(0.3) as url:
        watching.put(*(target(n, url=url, timeout_ms=500) for n in range(1, 21)))
        async with watching.working():
            await until(lambda: len(watching.rows(20)) > 0)
            for _ in range(3):
                time.sleep(0.9)  # noqa: ASYNC251 - nothing on this loop runs, as on a machine that is overloaded
                await asyncio.sleep(0.3)
    rows = [row for n in range(1, 21) for row in watching.rows(n)]
    assert [row for row in rows if row.result == Result.FAILED] == []
    assert any("too little processor time" in (row.error or "") for row in rows)


class UnsteadyClock(SystemClock):
    """The wall clock of a machine that somebody sets."""

    def __init__(self) -> None:
        self.off_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.off_ms


@pytest.mark.parametrize("jump_ms", [3_600_000, -3_600_000])
async def test_a_clock_that_jumps_makes_no_burst_no_pause_and_no_outage(tmp_path: Path, jump_ms: int) -> None:
    clock = UnsteadyClock()
    watching = Watching(tmp_path / "tocsin.db", clock=clock)
    async with serving(answering(reply())) as server:
        watching.put(*(target(n, url=server.url) for n in range(1, 11)))
        async with watching.working():
            await until(lambda: server.connections >= 20)
            clock.off_ms = jump_ms
            asked = server.connections
            await asyncio.sleep(3)
            assert 10 <= server.connections - asked <= 50
    for n in range(1, 11):
        assert watching.state(n).verdict is Verdict.UP
        assert "down" not in watching.verdicts(n)
        assert any(abs(row.at_ms - clock.now_ms()) < 10_000 for row in watching.rows(n))
    watching.store.close()


class Cable:
    """A TCP server whose cable can be pulled: the system then drops attempts to connect without a word."""

    def __init__(self) -> None:
        self._listening = socket.socket()
        self._listening.bind(("127.0.0.1", 0))
        self._listening.listen(0)
        self._listening.setblocking(False)
        self._filling: list[socket.socket] = []
        self._accepting: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        port: int = self._listening.getsockname()[1]
        return port

    def plug(self) -> None:
        for one in self._filling:
            one.close()
        self._filling.clear()
        self._accepting = asyncio.get_running_loop().create_task(self._accept())

    async def pull(self) -> None:
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
            self._accepting = None
        for _ in range(3):
            one = socket.socket()
            one.setblocking(False)
            with suppress(BlockingIOError):
                one.connect(self._listening.getsockname())
            self._filling.append(one)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            accepted, _ = await loop.sock_accept(self._listening)
            accepted.close()

    async def close(self) -> None:
        await self.pull()
        for one in self._filling:
            one.close()
        self._listening.close()


@pytest.fixture
async def cables() -> AsyncIterator[list[Cable]]:
    made = [Cable() for _ in range(4)]
    for cable in made:
        cable.plug()
    yield made
    for cable in made:
        await cable.close()


async def test_a_worker_that_loses_its_own_network_records_nothing_as_down(tmp_path: Path, cables: list[Cable]) -> None:
    canary, *others = cables
    watching = Watching(tmp_path / "tocsin.db", canary=(f"127.0.0.1:{canary.port}",))
    watching.put(*(target(n, "tcp", host="127.0.0.1", port=cable.port) for n, cable in enumerate(others, 1)))
    async with watching.working():
        for n in range(1, 4):
            await watching.until_verdict(n, Verdict.UP)
        for cable in cables:
            await cable.pull()
        for n in range(1, 4):
            await watching.until_verdict(n, Verdict.UNKNOWN)
        assert "lost its own network" in watching.state(1).reason
        await asyncio.sleep(2)
        for cable in cables:
            cable.plug()
        for n in range(1, 4):
            await watching.until_verdict(n, Verdict.UP)
    for n in range(1, 4):
        assert watching.verdicts(n) == ["up", "unknown", "up"]
        counted = Counter(Result(row.result) for row in watching.rows(n))
        assert counted[Result.UNMEASURED] >= 1
        assert counted[Result.FAILED] <= 1
    watching.store.close()


async def test_targets_that_fail_while_the_canary_answers_are_down(tmp_path: Path, cables: list[Cable]) -> None:
    canary, *others = cables
    watching = Watching(tmp_path / "tocsin.db", canary=(f"127.0.0.1:{canary.port}",))
    watching.put(*(target(n, "tcp", host="127.0.0.1", port=cable.port) for n, cable in enumerate(others, 1)))
    async with watching.working():
        await watching.until_verdict(3, Verdict.UP)
        for cable in others:
            await cable.pull()
        for n in range(1, 4):
            await watching.until_verdict(n, Verdict.DOWN)
    watching.store.close()
