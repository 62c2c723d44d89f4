"""Machines as the API and the live view read them, and what people change, on every engine."""

from __future__ import annotations

import pytest

from tests.api.reporting import Reporters
from tests.clocks import FakeClock
from tocsin.api.live import _Marks
from tocsin.bus.memory import MemoryBus
from tocsin.catalog import access, machines
from tocsin.catalog.errors import Invalid, NotFound
from tocsin.core.decide import Verdict
from tocsin.core.outcome import Subject
from tocsin.core.samples import MACHINE
from tocsin.pipeline import Pipeline
from tocsin.store import access as store_access
from tocsin.store import machines as store_machines
from tocsin.store import transitions as store_transitions
from tocsin.store.engine import Store


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def pipeline(store: Store, clock: FakeClock) -> Pipeline:
    return Pipeline(store, MemoryBus(), clock)


@pytest.fixture
def reporters(store: Store, pipeline: Pipeline, clock: FakeClock) -> Reporters:
    return Reporters(store, pipeline, clock, MemoryBus())


def marks(store: Store) -> _Marks:
    with store.read() as conn:
        return _Marks(*store_machines.marks(conn))


def changed(now: _Marks, before: _Marks) -> set[int]:
    return now.registered_since(before) | now.heard_since(before)


def test_marks_tell_which_machines_have_changed(
    store: Store, reporters: Reporters, pipeline: Pipeline, clock: FakeClock
) -> None:
    nobody = marks(store)
    one, other = reporters.add("a", tags=["t"]), reporters.add("b")
    first = marks(store)
    assert changed(first, nobody) == {one, other}
    assert changed(marks(store), first) == set()
    reporters.report(other)
    second = marks(store)
    assert changed(second, first) == {other}
    # Within the same millisecond.
    for name in ("x", "y"):
        with store.write() as conn:
            machines.change(conn, one, {"name": name}, pipeline=pipeline, now_ms=clock.now_ms())
        third = marks(store)
        assert changed(third, second) == {one}
        second = third
    with store.write() as conn:
        machines.put_tag_bands(conn, "t", {"cpu": None}, pipeline=pipeline, now_ms=clock.now_ms())
    assert changed(marks(store), second) == {one}
    with store.write() as conn:
        machines.delete(conn, other, pipeline=pipeline, now_ms=clock.now_ms())
    assert changed(marks(store), second) == {one, other}


def test_how_machines_stand(store: Store, reporters: Reporters, clock: FakeClock) -> None:
    one, other = reporters.add("a", name="b"), reporters.add("b", name="A")
    processes = [{"pid": 1, "name": "init", "user": "root", "cpu": 0.5, "memory_bytes": 4096}]
    reporters.report(one, memory=0.4, processes=processes)
    with store.read() as conn:
        assert [found.row.id for found in machines.page(conn)] == [other, one]
        assert [found.row.id for found in machines.page(conn, after=("a", other))] == [one]
        standing = machines.describe(conn, one).standing
        assert (standing.verdict, standing.current.memory, standing.last_seen_ms) == (
            Verdict.UP,
            0.4,
            clock.now_ms(),
        )
        assert machines.overall(conn, most=1).counts == {"up": 1, "degraded": 0, "down": 0, "unknown": 1}
        assert store_machines.processes(conn, one) == processes
        assert store_machines.processes(conn, other) is None
        assert {series.name for series in machines.series_of(conn, store_machines.newest(conn, [one]))} == {
            "system.memory.usage",
            "system.cpu.load_average.1m",
        }


def test_a_machine_is_found_by_what_people_call_it(store: Store, reporters: Reporters) -> None:
    one, other, third = reporters.add("u1", name="db"), reporters.add("u2", name="db"), reporters.add("u3", name="Web")
    with store.read() as conn:
        assert [machines.find(conn, said).id for said in (str(one), "u2", "Web", "web")] == [one, other, third, third]
        with pytest.raises(Invalid, match=f"{one}, {other}"):
            machines.find(conn, "db")
        with pytest.raises(NotFound):
            machines.find(conn, "mail")


def test_a_rule_that_is_switched_off_is_deaf_until_it_is_judged_again(
    store: Store, reporters: Reporters, pipeline: Pipeline, clock: FakeClock
) -> None:
    number = reporters.add("a")
    reporters.go_on(310, number, memory=0.99)

    def change(bands: object) -> list[str]:
        with store.write() as conn:
            changes = machines.change(conn, number, {"bands": bands}, pipeline=pipeline, now_ms=clock.now_ms())
        return [f"{change.key.rule} {change.after}" for change in changes]

    assert change({"memory": None}) == ["memory unknown"]
    assert change({"memory": None, "cpu": None}) == [], "nothing was known of it"
    reporters.go_on(10, number, memory=0.99)
    with store.read() as conn:
        assert [rule.rule for rule in machines.describe(conn, number).standing.rules] == ["reporting"]
    assert change({}) == []
    reporters.go_on(360, number, memory=0.99)
    with store.read() as conn:
        assert machines.describe(conn, number).standing.verdict is Verdict.DOWN


def test_a_removed_machine_leaves_its_last_changes(
    store: Store, reporters: Reporters, pipeline: Pipeline, clock: FakeClock
) -> None:
    number = reporters.add("a")
    reporters.report(number)
    clock.tick(5)
    with store.write() as conn:
        changes = machines.delete(conn, number, pipeline=pipeline, now_ms=clock.now_ms())
    assert {change.key.rule for change in changes} == {"reporting", "memory"}
    clock.tick(5)
    reporters.report(number)
    with store.write() as conn:
        found = store_transitions.of_subject(conn, Subject(MACHINE, number), None, from_ms=0, to_ms=clock.now_ms() + 1)
        assert {one.transition.after for one in found[:2]} == {Verdict.UNKNOWN}
        with pytest.raises(NotFound):
            machines.delete(conn, number, pipeline=pipeline, now_ms=clock.now_ms())
        assert machines.page(conn) == []


def test_which_keys_were_revoked(store: Store) -> None:
    with store.write() as conn:
        one, _ = access.create_key(conn, name="one", scopes=["ingest"], now_ms=1)
        other, _ = access.create_key(conn, name="other", scopes=["ingest"], now_ms=1)
        access.revoke_key(conn, other.id, now_ms=2)
        assert store_access.briefs(conn, [one.id, other.id, 4711]) == {
            one.id: (one.id, "one", False),
            other.id: (other.id, "other", True),
        }
        assert store_access.briefs(conn, []) == {}
