"""The buffer between probing and the database, with a database that stalls, fails and comes back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from tests.clocks import FakeClock
from tests.postgres import PrivateServer
from tests.servers import until
from tocsin.bus.memory import MemoryBus
from tocsin.core.decide import Policy, State, Verdict, decide
from tocsin.core.outcome import REACHABLE, Outcome, Result, StateKey, Subject
from tocsin.core.shards import SHARDS, Introduction, shard_of
from tocsin.home import DatabaseHome
from tocsin.lib.metrics import REGISTRY
from tocsin.lib.threads import Threads
from tocsin.lib.vault import Vault
from tocsin.pipeline import Entry, Pipeline, Settled
from tocsin.services.worker import recorder as buffer
from tocsin.services.worker.recorder import BATCH, Recorder
from tocsin.services.worker.runs import RUN_KEPT
from tocsin.store import checks, transitions
from tocsin.store.checks import CheckRow
from tocsin.store.engine import Store, StoreBusy


def entry(target_id: int, at_ms: int, result: Result = Result.PASSED) -> Entry:
    key = StateKey(Subject("target", target_id), REACHABLE, 1)
    row = CheckRow(at_ms, target_id, 1000, None, None, None, None, None, 1, int(result), None)
    return Entry(Outcome(key, at_ms, result, 1000, "", None), Policy(), row)


class Database:
    """Takes batches; refuses as many as ``stalls`` says, and any batch that holds a poisoned entry."""

    def __init__(self, stalls: int = 0, poisoned: Callable[[Entry], bool] = lambda _: False) -> None:
        self.stalls = stalls
        self.poisoned = poisoned
        self.stored: list[Entry] = []
        self.refused = threading.Event()

    def write(self, entries: Sequence[Entry]) -> list[Settled]:
        if self.stalls:
            self.stalls -= 1
            self.refused.set()
            raise StoreBusy("the database is locked")
        if any(self.poisoned(one) for one in entries):
            raise ValueError("cannot be stored")
        self.stored += entries
        return [Settled(one.outcome.key, State()) for one in entries]


@asynccontextmanager
async def recording(
    database: Database, *, settled: Callable[[list[Settled]], None] = lambda _: None
) -> AsyncIterator[Recorder]:
    """A recorder at work; on leaving it is drained."""
    threads = Threads("test", 1)
    try:
        recorder = Recorder(database, threads, FakeClock(), bound=10_000, settled=settled, retry_s=[0.001])
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(recorder.run())
            yield recorder
            recorder.drain()
    finally:
        threads.close()


async def test_everything_added_is_written_in_order_and_once() -> None:
    database = Database()
    told: list[Settled] = []
    async with recording(database, settled=told.extend) as recorder:
        for at in range(2500):
            recorder.add(entry(at % 7, at))
    assert [one.outcome.at_ms for one in database.stored] == list(range(2500))
    assert len(told) == 2500


async def test_a_stalled_database_loses_nothing() -> None:
    database = Database(stalls=3)
    async with recording(database) as recorder:
        for at in range(50):
            recorder.add(entry(1, at))
    assert [one.outcome.at_ms for one in database.stored] == list(range(50))


async def test_one_entry_that_cannot_be_stored_takes_no_other_with_it() -> None:
    database = Database(poisoned=lambda one: one.outcome.at_ms == 13)
    async with recording(database) as recorder:
        for at in range(40):
            recorder.add(entry(1, at))
    assert [one.outcome.at_ms for one in database.stored] == [at for at in range(40) if at != 13]


async def test_a_full_buffer_gives_up_the_oldest_latency_rows_and_no_transition() -> None:
    database = Database()
    history = [Result.PASSED] * 100 + [Result.FAILED] * 30 + [Result.PASSED] * 100 + [Result.UNMEASURED] * 100
    threads = Threads("test", 1)
    recorder = Recorder(database, threads, FakeClock(), bound=50, settled=lambda _: None)
    for at, result in enumerate(history):
        recorder.add(entry(1, at, result))
    assert len(recorder) <= 50 + 4 * RUN_KEPT
    recorder.drain()
    await recorder.run()
    threads.close()
    kept = [one.outcome for one in database.stored]
    # The newest rows are whole, and the sequence of results, however thinned, turns at the same points.
    assert [one.check is not None for one in database.stored][-50:] == [True] * 50
    assert [o.at_ms for o in kept] == sorted(o.at_ms for o in kept)
    turns = [at for at in range(len(history)) if at == 0 or history[at] is not history[at - 1]]
    assert [o.at_ms for n, o in enumerate(kept) if n == 0 or o.result is not kept[n - 1].result] == turns
    for turn in turns:
        following = [o for o in kept if o.at_ms >= turn][:10]
        assert all(o.result is history[turn] for o in following)


async def test_a_full_buffer_keeps_its_order_while_the_database_refuses() -> None:
    database = Database(stalls=1)
    threads = Threads("test", 1)
    recorder = Recorder(database, threads, FakeClock(), bound=BATCH // 2, settled=lambda _: None, retry_s=[0.001])
    for at in range(2 * BATCH):
        # Every other one fails, so nothing prolongs a run and all of it is kept.
        recorder.add(entry(1, at, Result.FAILED if at % 2 else Result.PASSED))
    recorder.drain()
    await recorder.run()
    threads.close()
    assert [one.outcome.at_ms for one in database.stored] == list(range(2 * BATCH))


async def test_a_stall_that_lasts_keeps_no_more_of_a_run_for_every_attempt() -> None:
    database = Database(stalls=10**9)
    threads = Threads("test", 1)
    recorder = Recorder(database, threads, FakeClock(), bound=50, settled=lambda _: None, retry_s=[0])
    running = asyncio.create_task(recorder.run())
    for at in range(600):
        recorder.add(entry(1, at, Result.FAILED))
        if at % 20 == 0:
            database.refused.clear()
            await asyncio.to_thread(database.refused.wait)
    assert len(recorder) <= 50 + 2 * RUN_KEPT
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    threads.close()


async def test_what_is_given_up_of_a_run_is_not_taken_for_silence() -> None:
    database = Database()
    threads = Threads("test", 1)
    recorder = Recorder(database, threads, FakeClock(), bound=50, settled=lambda _: None)
    for at in range(0, 200_000, 1000):
        one = entry(1, at, Result.FAILED)
        recorder.add(one._replace(outcome=one.outcome._replace(next_due_ms=at + 2500)))
    recorder.drain()
    await recorder.run()
    threads.close()
    state, changes = State(), []
    for one in database.stored:
        state, new = decide(state, one.outcome, one.policy, now_ms=10**9)
        changes += new
    assert [change.after for change in changes] == [Verdict.DOWN]
    assert state.due_ms == 199_000 + 2500


async def test_the_end_does_not_wait_out_a_pause() -> None:
    database = Database(stalls=2)
    threads = Threads("test", 1)
    recorder = Recorder(database, threads, FakeClock(), bound=50, settled=lambda _: None, retry_s=[0.001, 10**6])
    running = asyncio.create_task(recorder.run())
    recorder.add(entry(1, 1, Result.FAILED))
    await until(lambda: not database.stalls)
    recorder.drain()
    async with asyncio.timeout(60):
        await running
    threads.close()
    assert [one.outcome.at_ms for one in database.stored] == [1]


async def test_what_is_left_when_it_is_cancelled_is_still_there() -> None:
    database = Database(stalls=10**9)
    threads = Threads("test", 1)
    recorder = Recorder(database, threads, FakeClock(), bound=50, settled=lambda _: None)
    for at in range(10):
        recorder.add(entry(1, at))
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(recorder.run())
        await asyncio.to_thread(database.refused.wait)
        running.cancel()
    threads.close()
    assert len(recorder) == 10


def running(database: Database, **settings: int) -> tuple[Recorder, Threads]:
    threads = Threads("test", 1)
    bound = settings.get("bound", 10_000)
    return Recorder(database, threads, FakeClock(), bound=bound, settled=lambda _: None, retry_s=[0.001]), threads


async def test_what_waits_of_each_shard_is_known_until_it_is_written_or_given_up() -> None:
    database = Database(stalls=1, poisoned=lambda one: one.outcome.key.subject.id == 13)
    recorder, threads = running(database, bound=50)
    for at in range(100):
        recorder.add(entry(7, at))
        recorder.add(entry(SHARDS + 7, at))
        recorder.add(entry(8, at, Result.FAILED))
    recorder.add(entry(13, 100))
    # The newest fifty are whole; of the long runs before them only so many are left.
    assert recorder.waiting(7) == 2 * RUN_KEPT + 16 + 16
    assert recorder.waiting(8) == RUN_KEPT + 17
    assert (recorder.waiting(9), recorder.waiting(13)) == (0, 1)
    recorder.drain()
    await recorder.run()
    threads.close()
    assert [recorder.waiting(shard) for shard in range(SHARDS)] == [0] * SHARDS
    assert all(one.outcome.key.subject.id != 13 for one in database.stored)


async def test_it_is_behind_from_a_refusal_until_what_waited_is_written() -> None:
    database = Database(stalls=1)
    recorder, threads = running(database)
    recorder.add(entry(1, 1, Result.FAILED))
    assert not recorder.is_behind
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(recorder.run())
        await asyncio.to_thread(database.refused.wait)
        await until(lambda: recorder.is_behind)
        await until(lambda: not recorder.is_behind)
        assert len(database.stored) == 1
        recorder.drain()
    threads.close()


async def test_who_waits_for_a_result_need_not_wait_for_others_to_gather(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffer, "GATHER_S", 3600)
    database = Database()
    async with recording(database) as recorder:
        recorder.add(entry(1, 1))
        recorder.hurry()
        await until(lambda: bool(database.stored))


async def test_only_so_many_wait_with_what_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffer, "DOCUMENTS", 10)
    database = Database(stalls=1)
    recorder, threads = running(database, bound=20)
    for at in range(30):
        recorder.add(entry(at % 7, at, Result.FAILED)._replace(evidence={"at": at}))
    # Ten gave theirs up with their latency rows, and made room for the next ten.
    recorder.drain()
    await recorder.run()
    assert [one.outcome.at_ms for one in database.stored if one.evidence] == [*range(21, 30)]
    recorder.add(entry(1, 31, Result.FAILED)._replace(evidence={"at": 31}))
    await recorder.run()
    threads.close()
    assert database.stored[-1].evidence == {"at": 31}


async def test_turns_without_end_take_no_memory_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffer, "TURNS", 100)
    database = Database()
    recorder, threads = running(database, bound=50)
    for at in range(1000):
        recorder.add(entry(1, at, Result.FAILED if at % 2 else Result.PASSED))
    assert len(recorder) == 150
    recorder.drain()
    await recorder.run()
    threads.close()
    assert [one.outcome.at_ms for one in database.stored] == list(range(850, 1000))
    assert recorder.waiting(1) == 0


async def test_a_minute_without_postgresql_costs_old_latency_rows_and_no_transition(
    private_postgres: PrivateServer,
) -> None:
    """A hundred targets every second; half way through the minute each is down for ten seconds."""
    targets, minute, bound = range(1, 101), range(60), 2000
    store = Store(private_postgres.create_database(), connect_timeout_s=2)
    clock = FakeClock()
    began_ms = clock.now_ms()
    me = Introduction("me", "life", "here", "host", "1.0")
    bus = MemoryBus()
    home = DatabaseHome(
        store=store,
        bus=bus,
        pipeline=Pipeline(store, bus, clock),
        vault=Vault("a key for tests, long enough"),
        clock=clock,
        me=me,
    )
    lease = home.renew(me, {}, first=True, steady=False)
    threads = Threads("test", 1)
    recorder = Recorder(home, threads, clock, bound=bound, settled=lambda _: None, retry_s=[0.05])
    dropped = REGISTRY.get_sample_value("tocsin_results_dropped_total") or 0
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(recorder.run())
        await asyncio.to_thread(private_postgres.stop)
        for second in minute:
            result = Result.FAILED if 30 <= second < 40 else Result.PASSED
            for target_id in targets:
                one = entry(target_id, began_ms + second * 1000, result)
                recorder.add(one._replace(epoch=lease.epochs[shard_of(target_id)]))
            await asyncio.sleep(0)
        clock.tick(60)
        await until(lambda: recorder.is_behind)
        await asyncio.to_thread(private_postgres.start)
        recorder.drain()
    threads.close()
    assert (REGISTRY.get_sample_value("tocsin_results_dropped_total") or 0) - dropped == 6000 - bound
    with store.read() as conn:
        for target_id in targets:
            found = transitions.of_subject(conn, Subject("target", target_id), from_ms=0, to_ms=2**60)
            turns = [(one.transition.after.value, (one.transition.at_ms - began_ms) // 1000) for one in reversed(found)]
            assert turns == [("up", 0), ("down", 30), ("up", 40)]
            rows = checks.of_target(conn, target_id, from_ms=0, to_ms=2**60, limit=100)
            assert [(row.at_ms - began_ms) // 1000 for row in rows] == list(reversed(range(40, 60)))
    store.close()
