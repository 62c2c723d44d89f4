"""The one door, on every engine: all or nothing, twice is once, and silence as the sweep sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

import pytest
from sqlalchemy import Connection

from tests.clocks import FakeClock
from tocsin.bus.memory import MemoryBus
from tocsin.core.decide import Policy, State, Verdict
from tocsin.core.outcome import REACHABLE, Outcome, Result, StateKey, Subject
from tocsin.pipeline import Entry, Pipeline
from tocsin.services.sweep import AWAY_MS, EVERY_S, GAP_MS, SETTLE_MS, Sweep
from tocsin.store import checks, evidence, states, transitions
from tocsin.store.checks import CheckRow
from tocsin.store.engine import Store

MINUTE_MS = 60_000


def key(target_id: int) -> StateKey:
    return StateKey(Subject("target", target_id), REACHABLE, 1)


def entry(target_id: int, at_ms: int, result: Result = Result.PASSED, due_ms: int | None = None) -> Entry:
    reason = "" if result is Result.PASSED else "connection refused"
    row = CheckRow(at_ms, target_id, 1500, None, 300, None, 900, None, 1, int(result), reason or None)
    seen = None if result is Result.PASSED else {"error": reason, "at": at_ms}
    return Entry(Outcome(key(target_id), at_ms, result, 1500, reason, due_ms), Policy(failures_to_down=2), row, seen)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def pipeline(store: Store, clock: FakeClock) -> Pipeline:
    return Pipeline(store, MemoryBus(), clock)


def verdicts(store: Store, target_id: int) -> list[tuple[str, int]]:
    with store.read() as conn:
        found = transitions.of_subject(conn, Subject("target", target_id), from_ms=0, to_ms=2**60)
    return [(one.transition.after.value, one.transition.at_ms) for one in reversed(found)]


def state_of(store: Store, target_id: int) -> State:
    with store.read() as conn:
        return states.read_many(conn, [key(target_id)])[key(target_id)]


def test_a_batch_stores_checks_evidence_states_and_transitions_together(
    store: Store, pipeline: Pipeline, clock: FakeClock
) -> None:
    now_ms = clock.now_ms()
    batch = [
        entry(1, now_ms - 3000),
        entry(2, now_ms - 3000, Result.FAILED),
        entry(1, now_ms - 2000, Result.FAILED),
        entry(1, now_ms - 1000, Result.FAILED),
    ]
    settled = dict(pipeline.write(batch))
    assert settled[key(1)].verdict is Verdict.DOWN
    assert settled[key(2)].verdict is Verdict.UNKNOWN
    assert verdicts(store, 1) == [("up", now_ms - 3000), ("down", now_ms - 2000)]
    with store.read() as conn:
        stored = checks.of_target(conn, 1, from_ms=0, to_ms=now_ms, limit=10)
        assert [row.result for row in stored] == [Result.FAILED, Result.FAILED, Result.PASSED]
        assert evidence.get(conn, (1, now_ms - 1000, 1)) == {"error": "connection refused", "at": now_ms - 1000}
        assert evidence.get(conn, (1, now_ms - 3000, 1)) is None
    assert state_of(store, 1) == settled[key(1)]


def test_writing_a_batch_again_changes_nothing(store: Store, pipeline: Pipeline, clock: FakeClock) -> None:
    batch = [entry(n, clock.now_ms() - at, Result.FAILED) for n in (1, 2, 3) for at in (3000, 2000, 1000)]
    first = dict(pipeline.write(batch))
    assert dict(pipeline.write(batch)) == first
    with store.read() as conn:
        assert len(checks.of_target(conn, 1, from_ms=0, to_ms=clock.now_ms(), limit=10)) == 3
    assert len(verdicts(store, 1)) == 1


def test_a_batch_that_fails_leaves_nothing_behind(store: Store, pipeline: Pipeline, clock: FakeClock) -> None:
    good = entry(1, clock.now_ms() - 1000)
    bad = entry(2, clock.now_ms() - 1000, Result.FAILED)._replace(evidence={"cannot": object()})
    with pytest.raises(TypeError):
        pipeline.write([good, bad])
    assert state_of(store, 1) == State()
    with store.read() as conn:
        assert checks.of_target(conn, 1, from_ms=0, to_ms=clock.now_ms(), limit=10) == []


async def test_what_is_committed_is_handed_round_headlines_too_and_nothing_else(store: Store, clock: FakeClock) -> None:
    bus = MemoryBus()
    pipeline = Pipeline(store, bus, clock)
    now_ms = clock.now_ms()
    async with bus.follow() as feed:
        settled = pipeline.write([entry(1, now_ms), entry(2, now_ms)])
        handed = feed.take().states
        assert {one.key for one in settled} == {key(1), key(2)}
        assert handed.keys() == {key(1), key(2), key(1).headline, key(2).headline}
        assert handed[key(1).headline].verdict is Verdict.UP
        pipeline.write([entry(1, now_ms + 1, Result.FAILED)])
        assert feed.take().states.keys() == {key(1)}  # its headline stands

        def write_and_break() -> None:
            with store.write() as conn:
                pipeline.write_within(conn, [entry(1, now_ms + 2, Result.FAILED)])
                raise Broken

        with pytest.raises(Broken):
            write_and_break()
        assert feed.take().states == {}


class Broken(Exception):
    """What the caller of a transaction raises."""


def test_a_paused_subject_is_unknown_and_deaf_until_it_is_resumed(
    store: Store, pipeline: Pipeline, clock: FakeClock
) -> None:
    pipeline.write([entry(1, clock.now_ms() - 5000)])
    with store.write() as conn:
        pipeline.ring(pipeline.hold(conn, [key(1), key(1).headline], "paused"))
    pipeline.write([entry(1, clock.now_ms() + 500, Result.FAILED), entry(1, clock.now_ms() + 900, Result.FAILED)])
    assert state_of(store, 1).verdict is Verdict.UNKNOWN
    with store.write() as conn:
        pipeline.release(conn, [key(1), key(1).headline])
    clock.tick(10)
    pipeline.write([entry(1, clock.now_ms())])
    assert [verdict for verdict, _ in verdicts(store, 1)] == ["up", "unknown", "up"]


HEARTBEAT = Policy(failures_to_down=1, silence=Result.FAILED, silence_reason="no call since it was due")


class Silence:
    """A sweep over targets of which the even ones are heartbeats; rounds are run by hand."""

    def __init__(self, store: Store, pipeline: Pipeline, clock: FakeClock) -> None:
        self.store, self.pipeline, self.clock = store, pipeline, clock
        self.sweep = self.make()

    def make(self) -> Sweep:
        def policies(_: Connection, keys: Collection[StateKey]) -> Mapping[StateKey, Policy]:
            return {one: HEARTBEAT if one.subject.id % 2 == 0 else Policy() for one in keys if one.subject.id < 100}

        return Sweep(store=self.store, pipeline=self.pipeline, clock=self.clock, policies=policies)

    def rounds(self, seconds: float) -> None:
        for _ in range(round(seconds / EVERY_S)):
            self.clock.tick(EVERY_S)
            self.sweep.sweep()


@pytest.fixture
def silence(store: Store, pipeline: Pipeline, clock: FakeClock) -> Silence:
    return Silence(store, pipeline, clock)


def test_silence_is_recorded_once_and_dated_to_when_the_subject_was_due(silence: Silence) -> None:
    now_ms = silence.clock.now_ms()
    due_ms = now_ms + MINUTE_MS
    silence.pipeline.write([entry(1, now_ms, due_ms=due_ms), entry(2, now_ms, due_ms=due_ms)])
    silence.rounds(180)
    assert verdicts(silence.store, 1) == [("up", now_ms), ("unknown", due_ms)]
    assert verdicts(silence.store, 2) == [("up", now_ms), ("down", due_ms)]


def test_a_stalled_database_is_not_silence(silence: Silence) -> None:
    """Results of the stall arrive soon after it; until then nothing is concluded."""
    now_ms = silence.clock.now_ms()
    silence.rounds(60)
    silence.pipeline.write([entry(1, now_ms, due_ms=now_ms + 70_000), entry(2, now_ms, due_ms=now_ms + 70_000)])
    silence.clock.tick(90)  # no round could be made
    silence.sweep.sweep()
    silence.rounds(SETTLE_MS / 1000 - EVERY_S)
    late = [entry(n, now_ms + at, due_ms=now_ms + at + 500_000) for at in (20_000, 40_000, 60_000) for n in (1, 2)]
    silence.pipeline.write(late)
    silence.rounds(60)
    assert verdicts(silence.store, 1) == [("up", now_ms)]
    assert verdicts(silence.store, 2) == [("up", now_ms)]


def test_a_job_that_was_due_while_nobody_listened_is_not_down(silence: Silence) -> None:
    now_ms = silence.clock.now_ms()
    silence.rounds(60)
    silence.pipeline.write([entry(2, now_ms + 60_000, due_ms=now_ms + 120_000)])
    silence.clock.tick(3600)
    silence.sweep = silence.make()
    silence.sweep.begin()
    due_ms = state_of(silence.store, 2).due_ms
    assert due_ms is not None
    assert due_ms > silence.clock.now_ms()
    silence.rounds(50)
    assert [verdict for verdict, _ in verdicts(silence.store, 2)] == ["up"]
    silence.rounds(60)
    assert verdicts(silence.store, 2)[-1] == ("down", due_ms)


def test_a_clock_set_forward_makes_no_job_silent(silence: Silence) -> None:
    silence.rounds(60)
    now_ms = silence.clock.now_ms()
    silence.pipeline.write([entry(2, now_ms, due_ms=now_ms + 600_000)])
    silence.clock.jump_ms(3_600_000)
    silence.rounds(590)
    assert [verdict for verdict, _ in verdicts(silence.store, 2)] == ["up"]
    silence.rounds(60)
    assert verdicts(silence.store, 2)[-1] == ("down", now_ms + 600_000 + 3_600_000)


def test_a_clock_set_back_makes_nothing_silent_and_nothing_deaf(silence: Silence) -> None:
    silence.rounds(60)
    now_ms = silence.clock.now_ms()
    silence.pipeline.write([entry(1, now_ms, due_ms=now_ms + 60_000)])
    silence.clock.jump_ms(-3_600_000)
    silence.rounds(60)
    assert verdicts(silence.store, 1) == [("up", now_ms)]
    later_ms = silence.clock.now_ms()
    silence.pipeline.write([entry(1, later_ms - n, Result.FAILED, due_ms=later_ms + 60_000) for n in (2, 1)])
    assert state_of(silence.store, 1).verdict is Verdict.DOWN
    silence.rounds(120)
    assert verdicts(silence.store, 1)[-1][0] == "unknown"


def test_a_quick_restart_moves_nothing(silence: Silence) -> None:
    silence.rounds(60)
    due_ms = silence.clock.now_ms() + 1000
    silence.pipeline.write([entry(2, silence.clock.now_ms(), due_ms=due_ms)])
    silence.clock.tick(AWAY_MS / 1000 - 1)
    silence.make().begin()
    assert state_of(silence.store, 2).due_ms == due_ms


def test_of_two_sweeps_one_works_until_its_lease_runs_out(silence: Silence) -> None:
    silence.rounds(60)
    silence.pipeline.write([entry(1, silence.clock.now_ms(), due_ms=silence.clock.now_ms() + 1)])
    other = silence.make()
    silence.clock.tick(1)
    assert other.sweep() == 0
    silence.clock.tick(GAP_MS / 1000)
    for _ in range(round(SETTLE_MS / 1000 / EVERY_S) + 1):
        other.sweep()
        silence.clock.tick(EVERY_S)
    assert verdicts(silence.store, 1)[-1][0] == "unknown"


def test_a_subject_that_is_gone_is_not_expected(silence: Silence) -> None:
    now_ms = silence.clock.now_ms()
    silence.pipeline.write([entry(500, now_ms, due_ms=now_ms + 1000)])
    silence.rounds(120)
    assert state_of(silence.store, 500).due_ms is None
    assert verdicts(silence.store, 500) == [("up", now_ms)]


def test_a_job_that_calls_while_the_sweep_looks_is_not_silent(
    store: Store, pipeline: Pipeline, clock: FakeClock
) -> None:
    """Where several write at once, a call can be stored between the sweep's look and its verdict."""
    now_ms = clock.now_ms()
    call = entry(2, now_ms + 58_000, due_ms=now_ms + 600_000)
    several_write = store.engine_name != "sqlite"
    calls = [call]

    def policies(_: Connection, keys: Collection[StateKey]) -> Mapping[StateKey, Policy]:
        while several_write and keys and calls:
            pipeline.write([calls.pop()])
        return dict.fromkeys(keys, HEARTBEAT)

    sweep = Sweep(store=store, pipeline=pipeline, clock=clock, policies=policies)
    sweep.sweep()
    clock.tick(SETTLE_MS / 1000)
    pipeline.write([entry(2, now_ms, due_ms=now_ms + 60_000)])
    if not several_write:
        pipeline.write([calls.pop()])
    clock.tick(60)
    for _ in range(12):
        clock.tick(EVERY_S)
        sweep.sweep()
    assert not calls
    assert verdicts(store, 2) == [("up", now_ms)]
    assert state_of(store, 2).due_ms == now_ms + 600_000


def test_a_sweep_comes_to_an_end_whatever_it_finds(
    store: Store, pipeline: Pipeline, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state that was due when it was last heard of, not later, cannot be silent since."""
    monkeypatch.setattr("tocsin.services.sweep.BATCH", 2)
    silence = Silence(store, pipeline, clock)
    silence.rounds(SETTLE_MS / 1000)
    now_ms = clock.now_ms()
    pipeline.write([entry(n, now_ms, due_ms=now_ms) for n in (1, 2, 3, 5)])
    silence.rounds(60)
    assert [state_of(store, n).due_ms for n in (1, 2, 3, 5)] == [None] * 4


async def test_a_sweep_that_fails_is_tried_again(
    store: Store, pipeline: Pipeline, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tocsin.services.sweep.EVERY_S", 0)
    stop = asyncio.Event()
    asked: list[int] = []

    def policies(_: Connection, keys: Collection[StateKey]) -> Mapping[StateKey, Policy]:
        asked.extend(one.subject.id for one in keys)
        if len(asked) == 1:
            raise LookupError("a defect")
        asyncio.run_coroutine_threadsafe(_set(stop), loop)
        return dict.fromkeys(keys, HEARTBEAT)

    loop = asyncio.get_running_loop()
    sweep = Sweep(store=store, pipeline=pipeline, clock=clock, policies=policies)
    pipeline.write([entry(2, clock.now_ms(), due_ms=clock.now_ms() + 1)])
    sweep.sweep()
    clock.tick(SETTLE_MS / 1000 - GAP_MS / 1000)
    sweep.sweep()
    clock.tick(GAP_MS / 1000)
    async with asyncio.timeout(60):
        await sweep.run(stop)
    assert asked == [2, 2]
    assert [verdict for verdict, _ in verdicts(store, 2)] == ["up", "down"]


async def _set(event: asyncio.Event) -> None:
    event.set()
