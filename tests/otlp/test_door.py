"""Exports, on their way into a real database."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from tests.clocks import FakeClock
from tests.otlp.hostmetrics import DELTA, Host, metrics
from tests.otlp.test_ticks import AT_MS, export, gauge, merged, point, shuffled, total
from tocsin.bus.memory import MemoryBus
from tocsin.core.machine import merged as summaries
from tocsin.core.samples import Layout
from tocsin.intake.arrived import Arrived, Introduced
from tocsin.intake.intake import Intake
from tocsin.otlp import door as doors
from tocsin.otlp.door import Door, Throttled, Unreadable
from tocsin.otlp.shape import Part
from tocsin.otlp.ticks import Tick, plain_ticks, ticks
from tocsin.pipeline import Pipeline
from tocsin.store import machines, samples
from tocsin.store.engine import Store, StoreUnavailable
from tocsin.store.machines import MachineRow

DAY_MS = 86_400_000
T = TypeVar("T")


class House:
    def __init__(self, place: Path) -> None:
        self.clock = FakeClock(AT_MS)
        self.store = Store(f"sqlite:///{place / 'tocsin.db'}", busy_timeout_s=2)
        self.store.migrate()
        self.bus = MemoryBus()
        self.intake = Intake(self.store, Pipeline(self.store, self.bus, self.clock), self.bus, self.clock)
        self.door = self.another_door()

    def another_door(self) -> Door:
        return Door(intake=self.intake, store=self.store, clock=self.clock, kept_ms=DAY_MS)

    def send(self, *exports: ExportMetricsServiceRequest, at_ms: int | None = None) -> list[str]:
        """One after the other; what is said of each."""
        if at_ms is not None:
            self.clock.tick((at_ms - self.clock.now_ms()) / 1000)

        async def all_of_them() -> list[str]:
            return [said(await self.door.export(one.SerializeToString(), 1)) for one in exports]

        return self.run(all_of_them())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """With the door at work."""

        async def at_work() -> T:
            async with self.door.at_work():
                return await work

        return asyncio.run(at_work())

    def machines(self) -> dict[str, MachineRow]:
        with self.store.read() as conn:
            return {row.uid: row for row in machines.every(conn)}

    def ticks(self, uid: str = "web-1") -> list[tuple[int, dict[str, float]]]:
        """What is stored of a machine, by time; without what is NaN."""
        found: list[tuple[int, dict[str, float]]] = []
        with self.store.read() as conn:
            machine = machines.by_uid(conn, uid)
            if machine is None:
                return []
            rows = self.rows(machine.id)
            layouts = samples.layouts(conn, {layout_id for _, layout_id, _ in rows})
        for at_ms, layout_id, vector in rows:
            values = np.frombuffer(vector, dtype="<f4").tolist()
            found.append((at_ms, labelled(layouts[layout_id], values)))
        return sorted(found, key=lambda one: (one[0], sorted(one[1])))

    def rows(self, machine_id: int) -> list[tuple[int, int, bytes]]:
        with self.store.read() as conn:
            found = conn.exec_driver_sql(
                "SELECT at_ms, layout_id, vector FROM samples WHERE machine_id = ?", (machine_id,)
            )
            return [(at_ms, layout_id, vector) for at_ms, layout_id, vector in found]


def labelled(layout: Layout, values: list[float]) -> dict[str, float]:
    return {one.label: value for one, value in zip(layout, values, strict=True) if value == value}


def said(answer: bytes) -> str:
    told = ExportMetricsServiceResponse.FromString(answer)
    if not told.HasField("partial_success"):
        assert answer == b""
        return ""
    assert told.partial_success.rejected_data_points > 0
    return f"{told.partial_success.rejected_data_points}: {told.partial_success.error_message}"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    with closing(made.store):
        yield made


def test_a_host_becomes_a_machine_with_ticks_and_a_summary(house: House) -> None:
    host = Host()
    for number in range(5):
        at_ms = AT_MS + number * 10_000
        assert house.send(host.export(at_ms, 1.0 + number), at_ms=at_ms) == [""]
    machine = house.machines()["web-1"]
    assert (machine.name, machine.version, machine.key_id) == ("web-1", "OpenTelemetry Collector 0.140.0", 1)
    assert machine.facts == {"host.name": "web-1", "os.type": "linux"}
    assert machine.refused == 0
    ticks = house.ticks()
    assert [at_ms for at_ms, _ in ticks] == [AT_MS + number * 10_000 for number in range(5)]
    assert "system.cpu.time{cpu.mode=user}" not in ticks[0][1], "of a counter's first value no rate can be made"
    assert ticks[1][1]["system.cpu.time{cpu.mode=user}"] == pytest.approx(0.4)
    assert ticks[1][1]["system.disk.io{disk.io.direction=write,system.device=sda}"] == pytest.approx(0.2)
    with house.store.read() as conn:
        (now,) = machines.now_of(conn)
    summary = summaries([(now.at_ms, now.summary)])
    assert summary.cpu == pytest.approx(6 / 17, rel=1e-3)
    assert summary.memory == pytest.approx(5 / 16)
    assert (summary.cores, summary.processes) == (4, 100)


def test_how_often_a_machine_reports_is_learned(house: House) -> None:
    host = Host()
    house.send(host.export(AT_MS))
    assert house.machines()["web-1"].every_ms == 60_000
    for number in range(1, 6):
        house.send(host.export(AT_MS + 15_000 * number), at_ms=AT_MS + 15_000 * number)
    assert house.machines()["web-1"].every_ms == 15_000
    # One who is started anew knows nothing yet and leaves it as it is.
    house.door = house.another_door()
    house.send(host.export(AT_MS + 90_000), at_ms=AT_MS + 90_000)
    assert house.machines()["web-1"].every_ms == 15_000


def test_a_collector_and_a_program_that_speak_of_one_machine_do_not_contradict_each_other(house: House) -> None:
    collector = Host(attributes={"host.id": "x", "os.type": "linux"})
    for number in range(3):
        at_ms = AT_MS + 61_000 * number
        program = export(gauge("queue", point(1, at_ms)), host__id="x", service__name="shop", host__arch="arm64")
        house.send(collector.export(at_ms), program, at_ms=at_ms)
    machine = house.machines()["x"]
    assert (machine.name, machine.version) == ("web-1", "OpenTelemetry Collector 0.140.0")
    assert machine.facts == {"host.arch": "arm64", "host.id": "x", "host.name": "web-1", "os.type": "linux"}


def test_what_is_sent_twice_is_there_once(house: House) -> None:
    first = Host().export(AT_MS)
    house.send(first, first)
    house.door = house.another_door()
    house.send(first)
    assert len(house.ticks()) == 1


def test_a_late_tick_is_there_and_changes_no_rate(house: House) -> None:
    host = Host()
    in_order = [host.export(AT_MS + 10_000 * number, 1.0 + number) for number in range(4)]
    house.send(in_order[0], in_order[1], in_order[3], in_order[2], at_ms=AT_MS + 30_000)
    ticks = dict(house.ticks())
    user = "system.cpu.time{cpu.mode=user}"
    assert [ticks[AT_MS + 10_000 * number].get(user) for number in range(4)] == [
        None, pytest.approx(0.4), None, pytest.approx(0.4),
    ]  # fmt: skip
    assert all("system.memory.limit" in told for told in ticks.values())


def test_a_counter_that_was_reset_counts_from_its_new_start_and_without_one_gives_no_number(house: House) -> None:
    def counted(value: int, seconds: int, start_s: int | None) -> ExportMetricsServiceRequest:
        start_ms = 0 if start_s is None else AT_MS + 1000 * start_s
        return export(
            total("c", point(value, AT_MS + 1000 * seconds, start_ms)), total("d", point(value, AT_MS + 1000 * seconds))
        )

    house.send(counted(1000, 0, -600), counted(1010, 10, -600), counted(10, 20, 15), counted(20, 30, 15))
    assert [told for _, told in house.ticks()] == [{}, {"c": 1, "d": 1}, {"c": 2}, {"c": 1, "d": 1}]


def gauges(number: int) -> ExportMetricsServiceRequest:
    """Numbers that need no tick before them."""
    at_ms = AT_MS - 2000 * number
    return export(
        gauge("a", point(number, at_ms), point(number + 0.5, at_ms, k="v")),
        total("b", point(number * 2, at_ms, at_ms - 2000), temporality=DELTA),
    )


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.randoms(use_true_random=False), st.lists(st.integers(0, 9), min_size=1, max_size=25), st.integers(1, 4))
def test_shuffled_and_repeated_exports_give_the_same_ticks(
    tmp_path_factory: pytest.TempPathFactory, dice: random.Random, numbers: list[int], together: int
) -> None:
    """In whatever order, however often, and however many in one."""
    house = House(tmp_path_factory.mktemp("house"))
    with closing(house.store):
        for start in range(0, len(numbers), together):
            several = list(dict.fromkeys(numbers[start : start + together]))
            assert house.send(shuffled(merged(*map(gauges, several)), dice)) == [""]
        assert house.ticks() == [
            (AT_MS - 2000 * number, {"a": number, "a{k=v}": number + 0.5, "b": number})
            for number in sorted(set(numbers), reverse=True)
        ]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.randoms(use_true_random=False))
def test_of_shuffled_exports_nothing_is_counted_twice(
    tmp_path_factory: pytest.TempPathFactory, dice: random.Random
) -> None:
    """A counter of which one a second is counted has that rate in every tick, or none: never more."""
    house = House(tmp_path_factory.mktemp("house"))
    exports = [export(total("c", point(1000 - 2 * n, AT_MS - 2000 * n, AT_MS - DAY_MS))) for n in range(10)]
    dice.shuffle(exports)
    with closing(house.store):
        house.send(*exports, *dice.sample(exports, 5))
        ticks = house.ticks()
        assert [at_ms for at_ms, _ in ticks] == [AT_MS - 2000 * number for number in reversed(range(10))]
        assert {value for _, told in ticks for value in told.values()} <= {1.0}


def test_exports_that_come_while_one_is_written_are_stored_together(house: House) -> None:
    writes: list[int] = []
    write = house.intake.write
    begun = threading.Event()

    def slow(arrived: Sequence[Arrived]) -> Mapping[tuple[int, str], int]:
        begun.set()
        deadline = time.monotonic() + 30
        while not writes and len(house.door._waiting) < 29:
            assert time.monotonic() < deadline, "the others do not come"
            time.sleep(0.005)
        writes.append(len(arrived))
        return write(arrived)

    async def all_of_them() -> None:
        first, *others = [Host(f"web-{number}").export(AT_MS).SerializeToString() for number in range(30)]
        await asyncio.gather(*(house.door.export(body, 1) for body in (first, *others)))
        house.intake.write = slow  # type: ignore[method-assign]
        one = asyncio.create_task(house.door.export(first, 1))
        await asyncio.to_thread(begun.wait, 30)
        await asyncio.gather(one, *(house.door.export(body, 1) for body in others))

    house.run(all_of_them())
    assert len(house.machines()) == 30
    assert writes == [1, 29]


def test_values_that_make_no_sense_count_against_the_machine_and_histograms_do_not(house: House) -> None:
    (words,) = house.send(
        export(gauge("a", point(), point(float("nan"), k="v")), total("b", point(-1)), gauge("", point()))
    )
    assert words.startswith("3: ")
    assert house.machines()["web-1"].refused == 3
    host = Host().export(AT_MS)
    next(metrics(host)).histogram.data_points.add()
    (words,) = house.send(host)
    assert "histograms" in words
    assert house.machines()["web-1"].refused == 3


def test_a_resource_that_names_no_machine_makes_none(house: House) -> None:
    (words,) = house.send(export(gauge("a", point()), service__name="shop"))
    assert "resourcedetection" in words
    assert not house.machines()


def test_garbage_is_unreadable(house: House) -> None:
    async def send(body: bytes) -> bytes:
        return await house.door.export(body, 1)

    for body in (b"\xff\xff\xff", random.Random(3).randbytes(1000), Host().export(AT_MS).SerializeToString()[:-3]):
        with pytest.raises(Unreadable):
            house.run(send(body))
    assert house.run(send(b"")) == b""


def test_when_the_database_is_away_it_is_asked_to_come_back_later_and_nothing_is_lost(house: House) -> None:
    house.send(Host().export(AT_MS))
    write = house.intake.write

    def away(_: object) -> None:
        raise StoreUnavailable("the database cannot be reached: gone")

    house.intake.write = away  # type: ignore[method-assign, assignment]
    with pytest.raises(Throttled, match="cannot be reached") as throttled:
        house.send(Host().export(AT_MS + 10_000))
    assert throttled.value.retry_after_s > 0
    house.intake.write = write  # type: ignore[method-assign]
    house.send(Host().export(AT_MS + 10_000))
    assert len(house.ticks()) == 2


def test_after_the_database_was_away_no_rate_is_lost_whatever_came_first(house: House) -> None:
    host = Host()
    exports = [host.export(AT_MS + 10_000 * number, 1.0 + number) for number in range(4)]
    house.send(exports[0], at_ms=AT_MS + 30_000)
    write = house.intake.write

    def away(_: object) -> None:
        raise StoreUnavailable("the database cannot be reached: gone")

    house.intake.write = away  # type: ignore[method-assign, assignment]
    for one in exports[1:]:
        with pytest.raises(Throttled):
            house.send(one)
    house.intake.write = write  # type: ignore[method-assign]
    house.send(*exports[1:])
    user = "system.cpu.time{cpu.mode=user}"
    assert [told.get(user) for _, told in house.ticks()] == [None, *[pytest.approx(0.4)] * 3]


def test_an_export_of_which_one_machine_could_not_be_registered_is_not_late_when_it_comes_again(house: House) -> None:
    host = Host()
    exports = [host.export(AT_MS + 10_000 * number, 1.0 + number) for number in range(3)]
    house.send(exports[0], at_ms=AT_MS + 20_000)
    register = house.intake.register

    def away(*_: object) -> None:
        raise StoreUnavailable("the database cannot be reached: gone")

    house.intake.register = away  # type: ignore[method-assign, assignment]
    with pytest.raises(Throttled):
        house.send(merged(exports[2], Host("web-2").export(AT_MS + 20_000)))
    house.intake.register = register  # type: ignore[method-assign]
    house.send(*exports[1:])
    user = "system.cpu.time{cpu.mode=user}"
    assert [told.get(user) for _, told in house.ticks()] == [None, *[pytest.approx(0.4)] * 2]


def test_exports_that_were_given_up_while_the_database_hung_are_not_late_when_they_come_again(house: House) -> None:
    """Whoever exports waits 5 s, and a database may hang longer."""
    host = Host()
    exports = [host.export(AT_MS + 10_000 * number, 1.0 + number) for number in range(4)]
    house.send(exports[0], at_ms=AT_MS + 30_000)
    write = house.intake.write
    begun, let = threading.Event(), threading.Event()

    def hanging(_: object) -> None:
        begun.set()
        let.wait(30)
        raise StoreUnavailable("the database cannot be reached: gone")

    async def give_up() -> None:
        house.intake.write = hanging  # type: ignore[method-assign, assignment]
        under_way = [asyncio.create_task(house.door.export(one.SerializeToString(), 1)) for one in exports[1:]]
        await asyncio.to_thread(begun.wait, 30)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        house.intake.write = write  # type: ignore[method-assign]
        let.set()
        for one in exports[1:]:
            await house.door.export(one.SerializeToString(), 1)

    house.run(give_up())
    user = "system.cpu.time{cpu.mode=user}"
    assert [told.get(user) for _, told in house.ticks()] == [None, *[pytest.approx(0.4)] * 3]


def test_too_many_at_once_are_sent_away(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "MOST_WAITING", 2)

    async def at_once() -> list[object]:
        body = Host().export(AT_MS).SerializeToString()
        return list(await asyncio.gather(*(house.door.export(body, 1) for _ in range(5)), return_exceptions=True))

    answers = house.run(at_once())
    assert sum(answer == b"" for answer in answers) == 2
    assert sum(isinstance(answer, Throttled) for answer in answers) == 3


def test_so_many_new_machines_come_with_one_key(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "NEW_MACHINES_PER_MINUTE", 2)
    house.door = house.another_door()
    house.send(Host("a").export(AT_MS), Host("b").export(AT_MS))
    with pytest.raises(Throttled, match="not known yet"):
        house.send(Host("c").export(AT_MS))
    house.send(Host("a").export(AT_MS + 1000))
    house.clock.tick(31)
    house.send(Host("c").export(AT_MS))
    assert set(house.machines()) == {"a", "b", "c"}


def test_one_export_that_cannot_be_stored_harms_no_other(house: House) -> None:
    write = house.intake.write
    house.send(Host("bad").export(AT_MS))
    bad_id = house.machines()["bad"].id

    def writing(arrived: Sequence[Arrived]) -> Mapping[tuple[int, str], int]:
        if any(one.machine_id == bad_id for one in arrived):
            raise ZeroDivisionError("a defect")
        return write(arrived)

    house.intake.write = writing  # type: ignore[method-assign]

    async def at_once() -> list[object]:
        bodies = [Host(name).export(AT_MS + 5000).SerializeToString() for name in ("a", "bad", "b", "c")]
        return list(await asyncio.gather(*(house.door.export(body, 1) for body in bodies), return_exceptions=True))

    answers = house.run(at_once())
    assert [answer == b"" for answer in answers] == [True, False, True, True]
    assert isinstance(answers[1], ZeroDivisionError)


def test_a_machine_that_was_deleted_and_reports_again_is_a_new_one(house: House) -> None:
    house.send(Host().export(AT_MS))
    old = house.machines()["web-1"]
    with house.store.write() as conn:
        machines.delete(conn, old.id, AT_MS)
    house.clock.tick(10)
    house.send(Host("other").export(AT_MS + 10_000))  # the intake looks who is there
    house.send(Host().export(AT_MS + 10_000))
    assert house.machines()["web-1"].id != old.id
    assert len(house.ticks()) == 1


def test_made_up_series_are_bounded_and_told_and_the_hosts_own_stay(house: House) -> None:
    words = ""
    for number in range(100):
        made_up = total("made.up", *(point(1, AT_MS + number * 1500, n=f"{number}-{n}") for n in range(1000)))
        (words,) = house.send(merged(Host(spread_ms=0).export(AT_MS + number * 1500), export(made_up)))
    assert "change" in words
    with house.store.read() as conn:
        (layouts,) = conn.exec_driver_sql("SELECT count(*) FROM layouts").one()
    assert layouts <= 61
    ticks = house.ticks()
    assert len(ticks) == 100
    assert all("system.memory.limit" in told for _, told in ticks)


# ── when something goes wrong ─────────────────────────────────────────────────────────────────────────


def test_of_exports_that_were_given_up_nothing_is_kept_and_nobody_waits_for_them(house: House) -> None:
    """The database hangs, and 200 machines come that are not known yet."""
    host = Host("known")
    write, register = house.intake.write, house.intake.register
    begun, let = threading.Event(), threading.Event()
    registered: list[str] = []

    def hanging(arrived: Sequence[Arrived]) -> Mapping[tuple[int, str], int]:
        begun.set()
        let.wait(30)
        return write(arrived)

    def counted(introduced: Introduced, key_id: int | None) -> MachineRow:
        registered.append(introduced.uid)
        return register(introduced, key_id)

    async def give_up() -> None:
        await house.door.export(host.export(AT_MS).SerializeToString(), 1)
        house.intake.write = hanging  # type: ignore[method-assign]
        house.intake.register = counted  # type: ignore[method-assign]
        first = asyncio.create_task(house.door.export(host.export(AT_MS + 1000).SerializeToString(), 1))
        await asyncio.to_thread(begun.wait, 30)
        bodies = [Host(f"new-{number}").export(AT_MS).SerializeToString() for number in range(200)]
        under_way = [asyncio.create_task(house.door.export(body, 1)) for body in bodies]
        while len(house.door._waiting) < len(bodies):  # noqa: ASYNC110 - no event says so
            await asyncio.sleep(0.01)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        assert not house.door._waiting
        let.set()
        assert await first == b""
        await house.door.export(host.export(AT_MS + 2000).SerializeToString(), 1)

    house.run(give_up())
    assert not registered
    assert set(house.machines()) == {"known"}


def test_where_the_database_takes_its_time_to_fail_the_others_of_a_batch_do_not_try_it_too(house: House) -> None:
    tried: list[str] = []

    def away(introduced: Introduced, _: object) -> MachineRow:
        tried.append(introduced.uid)
        raise StoreUnavailable("the database cannot be reached: gone")

    house.intake.register = away  # type: ignore[method-assign, assignment]

    async def at_once() -> list[object]:
        bodies = [Host(f"new-{number}").export(AT_MS).SerializeToString() for number in range(50)]
        return list(await asyncio.gather(*(house.door.export(body, 1) for body in bodies), return_exceptions=True))

    assert all(isinstance(answer, Throttled) for answer in house.run(at_once()))
    assert len(tried) < 50


@pytest.mark.parametrize("broken", ["plain_ticks", "ticks"])
def test_one_export_that_cannot_be_read_harms_no_other(
    house: House, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """What was read together is read one by one, and the one that cannot be has a value by which it is known."""
    hosts = [Host(f"web-{number}") for number in range(10)]
    for turn in range(3):
        house.send(*(host.export(AT_MS + turn) for host in hosts))
    read_one, read_many = ticks, plain_ticks

    def one(part: Part, *given: Any, **named: Any) -> Any:
        if part.who.uid == "web-7":
            raise ZeroDivisionError("a defect")
        return read_one(part, *given, **named)

    def many(*given: Any, **named: Any) -> list[Tick | None]:
        if broken == "plain_ticks":
            raise ZeroDivisionError("a defect")
        return [None for _ in read_many(*given, **named)]

    monkeypatch.setattr(doors, "ticks", one)
    monkeypatch.setattr(doors, "plain_ticks", many)

    async def at_once() -> list[object]:
        bodies = [host.export(AT_MS + 10_000).SerializeToString() for host in hosts]
        return list(await asyncio.gather(*(house.door.export(body, 1) for body in bodies), return_exceptions=True))

    answers = house.run(at_once())
    assert [number for number, answer in enumerate(answers) if answer != b""] == [7]
    assert isinstance(answers[7], ZeroDivisionError)


def test_who_comes_when_it_stops_is_sent_away(house: House) -> None:
    async def late() -> None:
        with pytest.raises(Throttled, match="stops"):
            await asyncio.wait_for(house.door.export(Host().export(AT_MS).SerializeToString(), 1), 10)

    async def stopped() -> None:
        async with house.door.at_work():
            await house.door.export(Host().export(AT_MS).SerializeToString(), 1)
            await house.door.export(Host().export(AT_MS).SerializeToString(), 1)
        await late()

    asyncio.run(stopped())


def test_of_many_ticks_each_transaction_has_some(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "MOST_TICKS", 100)
    writes: list[int] = []
    write = house.intake.write

    def counted(arrived: Sequence[Arrived]) -> Mapping[tuple[int, str], int]:
        writes.append(len(arrived))
        return write(arrived)

    house.intake.write = counted  # type: ignore[method-assign]

    async def at_once() -> None:
        moments = [[Host(f"web-{n}", spread_ms=0).export(AT_MS - 2000 * k) for k in range(20)] for n in range(30)]
        bodies = [merged(*several).SerializeToString() for several in moments]
        await asyncio.gather(*(house.door.export(body, 1) for body in bodies))

    house.run(at_once())
    assert sum(writes) == 600
    assert max(writes) <= 120


def test_of_exports_that_overtake_each_other_no_rate_is_lost(house: House) -> None:
    host = Host()
    house.send(*(host.export(AT_MS + 10_000 * turn, 1.0 + turn) for turn in range(3)), at_ms=AT_MS + 60_000)

    async def at_once() -> None:
        bodies = [host.export(AT_MS + 10_000 * turn, 1.0 + turn).SerializeToString() for turn in (5, 3, 4)]
        await asyncio.gather(*(house.door.export(body, 1) for body in bodies))

    house.run(at_once())
    user = "system.cpu.time{cpu.mode=user}"
    assert [told.get(user) for _, told in house.ticks()] == [None, *[pytest.approx(0.4)] * 5]
