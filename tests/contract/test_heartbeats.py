"""When a job is expected, on every engine: a call, an edit, a pause or our own absence never makes a false outage."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clocks import FakeClock
from tocsin.bus.memory import MemoryBus
from tocsin.catalog import heartbeats, silence, targets
from tocsin.core.decide import State
from tocsin.core.heartbeat import Call, CallKind
from tocsin.core.outcome import HEADLINE, REACHABLE, StateKey, Subject
from tocsin.core.target import TARGET
from tocsin.lib.vault import Vault
from tocsin.pipeline import Pipeline
from tocsin.services.sweep import GAP_MS, Sweep
from tocsin.store import heartbeats as store_heartbeats
from tocsin.store import states, transitions
from tocsin.store.engine import Store

VAULT = Vault("a key of the tests")
HOUR_S = 3600
GRACE_S = 300
STEP_S = 15
"""Rounds of the sweep are this far apart here: as few as it takes for it to be in touch all the time."""
assert STEP_S * 1000 < GAP_MS


class Job:
    """A job that is expected every hour, and the sweep that listens for it."""

    def __init__(self, store: Store) -> None:
        self.clock = FakeClock()
        self.store = store
        self.pipeline = Pipeline(store, MemoryBus(), self.clock)
        self.sweep = self._sweep()
        fields = {"name": "backup", "kind": "heartbeat", "period_s": HOUR_S, "grace_s": GRACE_S}
        with store.write() as conn:
            self.id = targets.create(conn, fields, vault=VAULT, now_ms=self.clock.now_ms()).id
            self.token = store_heartbeats.tokens(conn, [self.id])[self.id]
        self.key = StateKey(Subject(TARGET, self.id), REACHABLE, HEADLINE)
        self.began_ms = self.clock.now_ms()
        self.pass_time(60)

    def _sweep(self) -> Sweep:
        return Sweep(store=self.store, pipeline=self.pipeline, clock=self.clock, policies=silence.policies)

    def call(self, kind: CallKind, run_id: str | None = None) -> None:
        with self.store.write() as conn:
            call = Call(kind, self.clock.now_ms(), run_id)
            heartbeats.receive(conn, self.token, call, pipeline=self.pipeline)

    def change(self, **fields: Any) -> None:
        with self.store.write() as conn:
            targets.change(conn, self.id, fields, vault=VAULT, pipeline=self.pipeline, now_ms=self.clock.now_ms())

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            self.clock.tick(STEP_S)
            self.sweep.sweep()

    def be_away(self, seconds: float) -> None:
        self.clock.tick(seconds)
        self.sweep = self._sweep()
        self.sweep.begin()
        self.sweep.sweep()

    def now_s(self) -> int:
        return (self.clock.now_ms() - self.began_ms) // 1000

    def state(self) -> State:
        with self.store.read() as conn:
            return states.read_many(conn, [self.key])[self.key]

    def changes(self) -> list[tuple[str, int]]:
        """Verdicts and since when, in seconds of the test."""
        with self.store.read() as conn:
            found = transitions.of_subject(conn, self.key.subject, from_ms=0, to_ms=2**60)
        return [(one.transition.after.value, (one.transition.at_ms - self.began_ms) // 1000) for one in reversed(found)]


@pytest.fixture
def job(store: Store) -> Job:
    return Job(store)


def test_a_run_begun_after_our_own_absence_is_no_outage_of_the_job(job: Job) -> None:
    job.call(CallKind.SUCCESS)
    job.be_away(10 * HOUR_S)
    job.pass_time(60)
    job.call(CallKind.START)
    job.pass_time(60)
    job.call(CallKind.SUCCESS)
    job.pass_time(60)
    assert job.changes() == [("up", 60)]


def test_a_run_begun_after_our_own_absence_must_still_end(job: Job) -> None:
    job.call(CallKind.SUCCESS)
    job.be_away(10 * HOUR_S)
    job.pass_time(60)
    job.call(CallKind.START)
    due_s = job.now_s() + GRACE_S
    job.pass_time(2 * GRACE_S)
    assert job.changes() == [("up", 60), ("down", due_s)]


def test_a_run_begun_after_a_pause_is_no_outage_of_the_time_it_was_paused(job: Job) -> None:
    job.call(CallKind.SUCCESS)
    job.pass_time(60)
    job.change(enabled=False)
    job.clock.tick(10 * HOUR_S)
    job.pass_time(60)
    job.change(enabled=True)
    job.call(CallKind.START)
    job.pass_time(60)
    job.call(CallKind.SUCCESS)
    ended_s = job.now_s()
    job.pass_time(60)
    assert job.changes() == [("up", 60), ("unknown", 120), ("up", ended_s)]


def test_a_start_that_comes_too_late_hides_no_outage(job: Job) -> None:
    job.call(CallKind.SUCCESS)
    job.pass_time(HOUR_S + GRACE_S - STEP_S)
    job.clock.tick(STEP_S + 1)  # overdue, and no round has been made yet
    job.call(CallKind.START)
    job.clock.tick(1)
    job.call(CallKind.SUCCESS)
    assert job.changes() == [("up", 60), ("down", 60 + HOUR_S + GRACE_S), ("up", job.now_s())]


def test_a_run_that_never_ends_is_told_once_and_blinds_nobody(job: Job) -> None:
    job.call(CallKind.START, "stuck")
    job.pass_time(GRACE_S + 60)
    assert job.changes() == [("down", 60 + GRACE_S)]
    job.call(CallKind.SUCCESS, "other")
    passed_s = job.now_s()
    job.pass_time(HOUR_S)
    job.call(CallKind.SUCCESS, "another")
    assert job.changes() == [("down", 60 + GRACE_S), ("up", passed_s)]
    last_s = job.now_s()
    job.pass_time(HOUR_S + 2 * GRACE_S)
    assert job.changes()[2:] == [("down", last_s + HOUR_S + GRACE_S)]


def test_a_longer_period_counts_at_once(job: Job) -> None:
    job.call(CallKind.SUCCESS)
    job.pass_time(60)
    job.change(period_s=24 * HOUR_S)
    job.pass_time(3 * HOUR_S)
    assert job.changes() == [("up", 60)]
    assert job.state().due_ms == job.began_ms + 1000 * (60 + 24 * HOUR_S + GRACE_S)


def test_a_shorter_period_counts_at_once_but_not_for_the_past(job: Job) -> None:
    job.call(CallKind.SUCCESS)
    job.pass_time(1995)
    job.change(period_s=600)
    changed_s = job.now_s()
    job.pass_time(2 * 600 + GRACE_S)
    assert job.changes() == [("up", 60), ("down", changed_s + 600 + GRACE_S)]


def test_a_change_of_something_else_moves_nothing(job: Job) -> None:
    job.call(CallKind.SUCCESS)
    job.be_away(10 * HOUR_S)
    due_ms = job.state().due_ms
    job.change(name="nightly backup")
    assert job.state().due_ms == due_ms


def test_a_new_schedule_expects_nothing_of_a_paused_job_or_of_one_never_heard_of(job: Job) -> None:
    job.change(period_s=600)
    assert job.state().due_ms is None
    job.call(CallKind.SUCCESS)
    job.change(enabled=False)
    job.change(period_s=60)
    job.pass_time(HOUR_S)
    assert [verdict for verdict, _ in job.changes()] == ["up", "unknown"]
