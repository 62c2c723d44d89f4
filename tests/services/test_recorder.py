"""The buffer between probing and the database, with a database that stalls, fails and comes back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from tests.clocks import FakeClock
from tests.servers import until
from tocsin.core.decide import Policy, State, Verdict, decide
from tocsin.core.outcome import REACHABLE, Outcome, Result, StateKey, Subject
from tocsin.lib.threads import Threads
from tocsin.pipeline import Entry, Settled
from tocsin.services.worker.recorder import BATCH, RUN_KEPT, Recorder
from tocsin.store.checks import CheckRow
from tocsin.store.engine import StoreBusy


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
