"""The door for samples: what is stored, what goes forward, and how machines are judged, on every engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, event, func, select

from tests.clocks import FakeClock
from tests.machines import USUAL, SimulatedMachine, usual_layout
from tocsin.bus.memory import MemoryBus
from tocsin.catalog import silence
from tocsin.core.bands import CPU, DISK, FORECAST, MEMORY, REPORTING, RULES, parse
from tocsin.core.decide import State
from tocsin.core.outcome import HEADLINE, StateKey, Subject
from tocsin.core.samples import MACHINE, Layout, Series
from tocsin.core.spark import last_minutes
from tocsin.intake.arrived import Arrived, IdentityInUse, Introduced, Refused
from tocsin.intake.intake import Intake
from tocsin.intake.memory import LOOK_MS
from tocsin.intake.sense import AHEAD_MS, MOST_SERIES
from tocsin.pipeline import Pipeline
from tocsin.services import keeper
from tocsin.services.sweep import EVERY_S, NOBODY_LISTENED, SETTLE_MS, Sweep
from tocsin.store import machines, samples, states, transitions
from tocsin.store.engine import Store
from tocsin.store.machines import MachineRow, Now
from tocsin.store.sealing import Kept
from tocsin.store.tables import samples as samples_table

HOUR_MS = 3_600_000
KEPT = Kept()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1_800_000_000_000)


class House:
    """An intake, or several as copies of the aggregator would have them, and what they leave behind."""

    def __init__(self, store: Store, clock: FakeClock) -> None:
        self.store, self.clock, self.bus = store, clock, MemoryBus()
        self.pipeline = Pipeline(store, self.bus, clock)
        self.intake = self.copy()
        self.sweep = Sweep(
            store=store,
            pipeline=self.pipeline,
            clock=clock,
            policies=silence.policies,
            listeners=silence.LISTENERS,
        )

    def copy(self) -> Intake:
        return Intake(self.store, self.pipeline, self.bus, self.clock)

    def register(self, machine: SimulatedMachine) -> int:
        said = Introduced(machine.uid, machine.boot_id, machine.name, "1.0", machine.every_ms, {}, machine.tags)
        return self.intake.register(said, None).id

    def arrived(self, machine_id: int, machine: SimulatedMachine, at_ms: int | None = None, **fields: Any) -> Arrived:
        """Its next tick, made now or at that time; sent now."""
        now_ms = self.clock.now_ms()
        tick = machine.tick(now_ms if at_ms is None else at_ms)
        made = Arrived(
            machine_id,
            tick.boot_id,
            tick.seq,
            tick.at_ms,
            machine.layout,
            None,
            np.frombuffer(tick.values, dtype="<f8"),
            None,
            now_ms,
            now_ms,
        )
        return made._replace(**fields)

    def report(self, machine_id: int, machine: SimulatedMachine, *, seconds: float, every_s: float = 5) -> None:
        """It reports for so long, one tick a batch."""
        for _ in range(round(seconds / every_s)):
            self.intake.write([self.arrived(machine_id, machine)])
            self.clock.tick(every_s)

    def row(self, machine_id: int) -> MachineRow:
        with self.store.read() as conn:
            found = machines.get(conn, machine_id)
        assert found is not None
        return found

    def now(self, machine_id: int) -> list[Now]:
        with self.store.read() as conn:
            return machines.now_of(conn, [machine_id])

    def number_stored(self) -> int:
        with self.store.read() as conn:
            return conn.execute(select(func.count()).select_from(samples_table)).scalar_one()

    def rows(self, machine_id: int) -> dict[int, np.ndarray[Any, np.dtype[np.float32]]]:
        """Every stored vector by its time."""
        table = samples_table.c
        with self.store.read() as conn:
            found = conn.execute(select(table.at_ms, table.vector).where(table.machine_id == machine_id))
            return {at_ms: np.frombuffer(vector, dtype="<f4") for at_ms, vector in found}

    def state(self, machine_id: int, rule: str) -> State:
        key = StateKey(Subject(MACHINE, machine_id), rule, HEADLINE)
        with self.store.read() as conn:
            return states.read_many(conn, [key])[key]

    def changes(self, machine_id: int, rule: str) -> list[tuple[str, str]]:
        with self.store.read() as conn:
            found = transitions.of_subject(
                conn, Subject(MACHINE, machine_id), from_ms=0, to_ms=2**60, location_id=HEADLINE, rule=rule
            )
        return [(one.transition.after.value, one.transition.reason) for one in reversed(found)]

    def times(self, machine_id: int, rule: str) -> list[tuple[str, int]]:
        """The verdicts since when."""
        with self.store.read() as conn:
            found = transitions.of_subject(
                conn, Subject(MACHINE, machine_id), from_ms=0, to_ms=2**60, location_id=HEADLINE, rule=rule
            )
        return [(one.transition.after.value, one.transition.at_ms) for one in reversed(found)]

    def seal(self) -> None:
        now_ms = self.clock.now_ms()
        for chore in (
            keeper.seal_samples(self.store, now_ms),
            keeper.merge_late_samples(self.store, KEPT, now_ms, set()),
        ):
            for _ in chore:
                pass

    def number_read(self, machine_id: int, from_ms: int, to_ms: int) -> int:
        """Of the ticks, however they are stored."""
        with self.store.read() as conn:
            names = {"system.uptime"}
            now_ms = self.clock.now_ms()
            points = samples.read(conn, machine_id, names, from_ms, to_ms, step_ms=60_000, now_ms=now_ms, kept=KEPT)
        return int(points.count.sum())

    def listen_and_sweep(self, seconds: float, *, listening: bool = True) -> None:
        for _ in range(round(seconds / EVERY_S)):
            self.clock.tick(EVERY_S)
            if listening:
                self.intake.listen()
            self.sweep.sweep()


@pytest.fixture
def house(store: Store, clock: FakeClock) -> House:
    return House(store, clock)


SMALL = Layout(
    (
        Series(
            "system.network.io",
            (("network.interface.name", "eth0"), ("network.io.direction", "receive")),
            "By",
            "counter",
        ),
        Series("system.uptime", (), "s"),
    )
)


def small(house: House, machine_id: int, seq: int, at_ms: int, count: float, **fields: Any) -> Arrived:
    values = np.array([count, seq], dtype=np.float64)
    return Arrived(machine_id, "boot", seq, at_ms, SMALL, None, values, None)._replace(**fields)


# ── what is stored ────────────────────────────────────────────────────────────────────────────────────


def test_ticks_are_stored_and_acknowledged_by_boot_and_counters_become_rates(house: House, clock: FakeClock) -> None:
    one = house.register(SimulatedMachine("m-1"))
    now_ms = clock.now_ms()
    acked = house.intake.write([small(house, one, n, now_ms + 5000 * n, 1000.0 * n) for n in (1, 2, 3)])
    assert acked == {(one, "boot"): 3}
    acked = house.intake.write([small(house, one, 5, now_ms + 25_000, 8000.0)])
    assert acked == {(one, "boot"): 5}
    rates = {at_ms: float(vector[0]) for at_ms, vector in house.rows(one).items()}
    assert np.isnan(rates.pop(now_ms + 5000))
    assert rates == {now_ms + 10_000: 200, now_ms + 15_000: 200, now_ms + 25_000: 500}


def test_sent_again_in_any_cut_nothing_changes(house: House, clock: FakeClock) -> None:
    one = house.register(SimulatedMachine("m-1"))
    now_ms = clock.now_ms()
    ticks = [small(house, one, n, now_ms + 1000 * n, 10.0 * n) for n in range(1, 21)]
    for cut in (ticks[:10], ticks[:5], ticks[3:15], ticks, ticks[:1], ticks[19:]):
        acked = house.intake.write(cut)
    assert acked == {(one, "boot"): 20}
    assert house.number_stored() == 20
    assert all(vector[0] == 10 for at_ms, vector in house.rows(one).items() if at_ms != now_ms + 1000)
    (now,) = house.now(one)
    assert (now.seq, now.at_ms) == (20, now_ms + 20_000)


def test_a_machine_that_was_put_back_to_a_snapshot_goes_on(house: House, clock: FakeClock) -> None:
    """Its memory, and with it the numbers of its ticks, are as they were an hour ago; its clock is right again."""
    one = house.register(SimulatedMachine("m-1"))
    begin_ms = clock.now_ms() - HOUR_MS
    house.intake.write([small(house, one, n, begin_ms + 5000 * n, 10.0 * n) for n in range(1, 721)])
    clock.tick(300)
    now_ms = clock.now_ms()
    again = [small(house, one, n, begin_ms + 5000 * n, 10.0 * n) for n in (9, 10)]  # not acknowledged at the time
    again += [small(house, one, n, now_ms + 5000 * (n - 11), 10.0 * n) for n in (11, 12, 13)]
    assert house.intake.write(again) == {(one, "boot"): 13}
    assert house.number_stored() == 723
    assert house.copy().write([small(house, one, 14, now_ms + 15_000, 140)]) == {(one, "boot"): 14}
    assert house.intake.write(again) == {(one, "boot"): 14}, "what is sent again changes nothing as before"
    assert house.number_stored() == 724
    (now,) = house.now(one)
    assert (now.seq, now.at_ms) == (14, now_ms + 15_000)


def test_a_copy_goes_on_where_the_other_ended_and_each_hears_of_the_others_ticks(
    house: House, clock: FakeClock
) -> None:
    one = house.register(SimulatedMachine("m-1"))
    now_ms = clock.now_ms()
    copies = [house.intake, house.copy(), house.copy()]
    for n in range(1, 13):
        acked = copies[n % 3].write([small(house, one, n, now_ms + 1000 * n, 7.0 * n)])
        assert acked == {(one, "boot"): n}
    vectors = house.rows(one)
    assert [float(vectors[at_ms][0]) for at_ms in sorted(vectors)][1:] == [7.0] * 11


def test_without_a_sequence_the_time_alone_tells_what_is_sent_twice(house: House, clock: FakeClock) -> None:
    one = house.register(SimulatedMachine("m-1", boot_id=""))
    now_ms = clock.now_ms()

    def exported(at_ms: int, count: float, copy: Intake) -> None:
        copy.write([small(house, one, at_ms, at_ms, count, boot_id="")])

    other = house.copy()
    exported(now_ms, 0, house.intake)
    exported(now_ms + 1000, 100, other)
    exported(now_ms + 2000, 300, house.intake)
    exported(now_ms + 2000, 300, other)
    exported(now_ms + 500, 50, other)  # late
    vectors = house.rows(one)
    assert {at_ms - now_ms: float(vector[0]) for at_ms, vector in vectors.items() if at_ms > now_ms + 500} == {
        1000: 100,
        2000: 200,
    }
    assert np.isnan(vectors[now_ms + 500][0])
    assert house.now(one)[0].at_ms == now_ms + 2000


def test_a_batch_is_all_or_nothing_and_what_failed_may_come_again(
    house: House, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = house.register(SimulatedMachine("m-1"))
    now_ms = clock.now_ms()
    house.intake.write([small(house, one, 1, now_ms, 0)])

    def fail(*_: object) -> None:
        raise RuntimeError("in the middle of it")

    with monkeypatch.context() as patch:
        patch.setattr(machines, "write_boots", fail)
        with pytest.raises(RuntimeError):
            house.intake.write([small(house, one, 2, now_ms + 1000, 10)])
    assert house.number_stored() == 1
    assert house.intake.write([small(house, one, 2, now_ms + 1000, 10)]) == {(one, "boot"): 2}
    assert float(house.rows(one)[now_ms + 1000][0]) == 10


def test_a_layout_that_was_numbered_by_a_batch_that_failed_is_numbered_again(
    house: House, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = house.register(SimulatedMachine("m-1"))
    now_ms = clock.now_ms()

    def fail(*_: object) -> None:
        raise RuntimeError("in the middle of it")

    with monkeypatch.context() as patch:
        patch.setattr(machines, "write_boots", fail)
        with pytest.raises(RuntimeError):
            house.intake.write([small(house, one, 1, now_ms, 0)])
    other = Layout((Series("system.uptime", (), "s"), Series("system.process.count", (), "{process}")))
    values = np.array([1.0, 2.0])
    house.copy().write([Arrived(one, "another", 1, now_ms, other, None, values, None)])
    house.intake.write([small(house, one, 1, now_ms + 1000, 10)])
    (now,) = [now for now in house.now(one) if now.boot_id == "boot"]
    with house.store.read() as conn:
        assert samples.layouts(conn, {now.layout_id}) == {now.layout_id: SMALL}


def test_a_filesystem_without_a_number_keeps_nobody_out(house: House, clock: FakeClock) -> None:
    machine = SimulatedMachine("m-1")
    one = house.register(machine)
    places = [
        place for place, series in enumerate(USUAL) if ("system.filesystem.mountpoint", "/data1") in series.attributes
    ]
    for _ in range(3):
        tick = house.arrived(one, machine)
        values = tick.values.copy()
        values[places] = np.nan
        house.copy().write([tick._replace(values=values)])
        clock.tick(5)
    assert house.number_stored() == 3


def test_the_newest_state_goes_only_forward(house: House, clock: FakeClock) -> None:
    one = house.register(SimulatedMachine("m-1"))
    now_ms = clock.now_ms()
    house.intake.write([small(house, one, 1, now_ms, 0, boot_id="new boot")])
    house.intake.write([small(house, one, 900, now_ms - HOUR_MS, 0, boot_id="old boot")])
    assert [now.boot_id for now in house.now(one)] == ["new boot"]
    assert house.number_stored() == 2


def test_a_reset_counter_counts_from_its_start_and_one_whose_past_is_not_known_gives_no_number(
    house: House, clock: FakeClock
) -> None:
    one = house.register(SimulatedMachine("m-1"))
    now_ms = clock.now_ms()

    def starts(at_ms: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        return np.array([at_ms, 0], dtype=np.int64)

    first = starts(now_ms - HOUR_MS)
    house.intake.write([small(house, one, 1, now_ms, 1000, starts_ms=first)])
    house.intake.write([small(house, one, 2, now_ms + 5000, 2000, starts_ms=first)])
    again = starts(now_ms + 6000)
    house.copy().write([small(house, one, 3, now_ms + 10_000, 400, starts_ms=again)])
    house.intake.write([small(house, one, 4, now_ms + 15_000, 100, starts_ms=again)])
    house.intake.write([small(house, one, 5, now_ms + 20_000, 600, starts_ms=again)])
    rates = [float(vector[0]) for _, vector in sorted(house.rows(one).items())]
    assert np.isnan(rates[0])
    assert rates[1:3] == [200, 100]
    assert np.isnan(rates[3])
    assert rates[4] == 100


def test_a_series_more_costs_the_others_no_rate(house: House, clock: FakeClock) -> None:
    one = house.register(SimulatedMachine("m-1"))
    now_ms = clock.now_ms()
    house.intake.write([small(house, one, 1, now_ms, 0)])
    more = Layout((Series("system.process.count"), *SMALL.series))
    values = np.array([7.0, 50.0, 1.0])
    house.intake.write([Arrived(one, "boot", 2, now_ms + 5000, more, None, values, None)])
    assert list(house.rows(one)[now_ms + 5000][:2]) == [7, 10]


# ── what makes no sense ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("off_ms", [-1_800_000_000_000, 2_302_000_000_000, AHEAD_MS + 1000, -367 * 24 * HOUR_MS])
def test_a_tick_of_a_time_that_cannot_be_is_refused_counted_and_acknowledged(
    house: House, clock: FakeClock, off_ms: int
) -> None:
    one = house.register(SimulatedMachine("m-1"))
    acked = house.intake.write([small(house, one, 1, clock.now_ms() + off_ms, 0)])
    assert acked == {(one, "boot"): 1}
    assert house.number_stored() == 0
    assert house.now(one) == []
    clock.tick(LOOK_MS / 1000)
    house.intake.write([small(house, one, 2, clock.now_ms(), 0)])
    assert house.row(one).refused == 1
    assert house.number_stored() == 1


@pytest.mark.parametrize("value", [np.inf, -np.inf, -1.0, 1e39])
def test_a_value_that_cannot_be_is_left_out_and_counted_and_the_rest_is_kept(
    house: House, clock: FakeClock, value: float
) -> None:
    one = house.register(SimulatedMachine("m-1"))
    two = house.register(SimulatedMachine("m-2"))
    now_ms = clock.now_ms()
    house.intake.write([small(house, one, 1, now_ms, 0), small(house, two, 1, now_ms, 0)])
    clock.tick(LOOK_MS / 1000)
    house.intake.write([small(house, one, 2, now_ms + 5000, value), small(house, two, 2, now_ms + 5000, 10)])
    clock.tick(LOOK_MS / 1000)
    house.intake.write([small(house, one, 3, now_ms + 10_000, 20), small(house, two, 3, now_ms + 10_000, 20)])
    vector = house.rows(one)[now_ms + 5000]
    assert np.isnan(vector[0])
    assert vector[1] == 2
    assert float(house.rows(two)[now_ms + 5000][0]) == 2
    assert (house.row(one).refused, house.row(two).refused) == (1, 0)


def test_nothing_there_is_no_fault(house: House, clock: FakeClock) -> None:
    one = house.register(SimulatedMachine("m-1"))
    house.intake.write([small(house, one, 1, clock.now_ms(), np.nan)])
    clock.tick(10)
    house.intake.write([small(house, one, 2, clock.now_ms(), 0)])
    assert house.row(one).refused == 0


def test_too_many_series_are_refused_in_words(house: House) -> None:
    one = house.register(SimulatedMachine("m-1"))

    def several(number: int, mark: str) -> Layout:
        return Layout(tuple(Series("a", (("n", f"{mark}{n}"),)) for n in range(number)))

    with pytest.raises(Refused, match=r"layout\.series: must be 1 to 5,000"):
        house.intake.intern(several(MOST_SERIES + 1, "x"))
    for mark in "abcd":
        house.intake.admit(one, house.intake.intern(several(MOST_SERIES, mark)))
    house.intake.admit(one, house.intake.intern(several(100, "a")))  # known ones in another order are no new ones
    with pytest.raises(Refused, match="20,000 are the most"):
        house.intake.admit(one, house.intake.intern(several(1, "e")))


def test_another_boot_is_refused_while_the_one_before_was_just_heard_of(house: House, clock: FakeClock) -> None:
    machine = SimulatedMachine("m-1", every_ms=5000)
    one = house.register(machine)
    house.intake.write([house.arrived(one, machine)])
    copied = SimulatedMachine("m-1", boot_id="boot-2", every_ms=5000)
    with pytest.raises(IdentityInUse, match="in use"):
        house.register(copied)
    assert house.register(machine) == one
    clock.tick(16)
    assert house.register(copied) == one


# ── clocks ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("off_ms", [600_000, -600_000, 3_000])
def test_ticks_of_a_clock_that_is_off_are_put_where_they_belong(house: House, clock: FakeClock, off_ms: int) -> None:
    machine = SimulatedMachine("m-1")
    one = house.register(machine)
    for _ in range(4):
        now_ms = clock.now_ms()
        house.intake.write([house.arrived(one, machine, now_ms + off_ms, sent_at_ms=now_ms + off_ms)])
        clock.tick(5)
    assert sorted(house.rows(one)) == [1_800_000_000_000 + 5000 * n for n in range(4)]
    assert house.row(one).clock_off_ms == off_ms


def test_a_slow_way_is_no_wrong_clock(house: House, clock: FakeClock) -> None:
    machine = SimulatedMachine("m-1")
    one = house.register(machine)
    for late_ms in (20, 9000, 30, 4000):
        now_ms = clock.now_ms()
        house.intake.write([house.arrived(one, machine, now_ms - late_ms, sent_at_ms=now_ms - late_ms)])
        clock.tick(10)
    assert house.row(one).clock_off_ms == 0
    assert len(house.rows(one)) == 4


def test_a_clock_that_is_set_right_is_followed_at_once(house: House, clock: FakeClock) -> None:
    machine = SimulatedMachine("m-1")
    one = house.register(machine)
    for off_ms in (600_000, 600_000, 0, 0, 600_000, 600_000):
        now_ms = clock.now_ms()
        house.intake.write([house.arrived(one, machine, now_ms + off_ms, sent_at_ms=now_ms + off_ms)])
        clock.tick(5)
    assert sorted(house.rows(one)) == [1_800_000_000_000 + 5000 * n for n in range(6)]


def test_no_tick_is_lost_where_a_clock_seems_to_be_slow_for_a_while(house: House, clock: FakeClock) -> None:
    """What is moved by five seconds comes to lie exactly on the tick before."""
    one = house.register(SimulatedMachine("m-1"))
    begin_ms = clock.now_ms()
    for n in range(1, 50):
        at_ms = begin_ms + 5000 * n
        received_ms = at_ms + (5000 if 10 <= n < 30 else 0)
        house.intake.write([small(house, one, n, at_ms, 50.0 * n, sent_at_ms=at_ms, received_ms=received_ms)])
        clock.tick(5)
    assert house.number_stored() == 49
    rates = [float(vector[0]) for vector in house.rows(one).values()]
    assert [rate for rate in rates if not np.isnan(rate)] == pytest.approx([10.0] * 46, rel=1e-3)
    assert sum(map(np.isnan, rates)) == 3, "the first, and where the clock was judged anew"


@pytest.mark.parametrize("cut", [7, 100])
def test_no_tick_is_lost_where_a_clock_is_set_back_by_whole_intervals(house: House, clock: FakeClock, cut: int) -> None:
    """Once within the hour, and once into hours that are sealed; by aggregators that have just begun, too."""
    one = house.register(SimulatedMachine("m-1"))
    begin_ms = clock.now_ms() // HOUR_MS * HOUR_MS
    times = [begin_ms + 5000 * n for n in range(720)]
    back = [begin_ms + 3_300_000 + 5000 * n for n in range(100)]
    far_back = [begin_ms + 600_000 + 5000 * n for n in range(100)]
    clock.tick(3600)
    sent: list[int] = []

    def send(several: list[int]) -> None:
        ticks = [small(house, one, len(sent) + n, at_ms, 0.0) for n, at_ms in enumerate(several)]
        sent.extend(several)
        for begin in range(0, len(ticks), cut):
            house.intake.write(ticks[begin : begin + cut])

    send(times)
    send(back)
    house.intake = house.copy()
    send(back)
    clock.tick(5 * 3600)
    house.seal()
    send(far_back)
    send(far_back)
    house.intake = house.copy()
    send(far_back)
    house.seal()
    assert house.number_read(one, begin_ms, begin_ms + 2 * HOUR_MS) == len(sent)


@pytest.mark.parametrize(("every_ms", "back_ms"), [(5000, 5000), (1000, 1000), (5000, 4997)])
def test_a_clock_that_is_set_back_makes_no_rates_of_what_it_did_not_measure(
    house: House, clock: FakeClock, every_ms: int, back_ms: int
) -> None:
    machine = SimulatedMachine("m-1", every_ms=every_ms)
    one = house.register(machine)
    begin_ms = clock.now_ms()
    times = [begin_ms + every_ms * n - (back_ms if n >= 5 else 0) for n in range(10)]
    clock.tick(60)
    house.intake.write([small(house, one, n, at_ms, every_ms / 100 * n) for n, at_ms in enumerate(times)])
    rates = [float(vector[0]) for _, vector in sorted(house.rows(one).items())]
    assert len(rates) == 10
    assert [rate for rate in rates if not np.isnan(rate)] == pytest.approx([10.0] * 8, rel=2e-3)


def test_a_fleet_that_brings_what_it_kept_into_sealed_hours_is_looked_up_once(
    house: House, clock: FakeClock, store: Store
) -> None:
    begin_ms = clock.now_ms() // HOUR_MS * HOUR_MS
    clock.tick(3600)
    ids = [house.register(SimulatedMachine(f"m-{number}")) for number in range(20)]
    house.intake.write([small(house, one, n, begin_ms + 5000 * n, 0) for one in ids for n in range(100)])
    clock.tick(3600)
    house.seal()
    house.intake = house.copy()
    statements = 0

    def count(*_: object) -> None:
        nonlocal statements
        statements += 1

    event.listen(Engine, "before_cursor_execute", count)
    try:
        for cut in range(100, 500, 40):
            house.intake.write(
                [small(house, one, n, begin_ms + 5000 * n, 0) for one in ids for n in range(cut, cut + 40)]
            )
    finally:
        event.remove(Engine, "before_cursor_execute", count)
    assert statements < 400
    house.seal()
    assert house.number_read(ids[0], begin_ms, begin_ms + HOUR_MS) == 500


# ── judging ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_well_machine_is_up_by_every_rule(house: House) -> None:
    machine = SimulatedMachine("m-1")
    one = house.register(machine)
    house.report(one, machine, seconds=20)
    assert {rule: house.state(one, rule).verdict.value for rule in RULES} == dict.fromkeys(RULES, "up")


def test_a_busy_machine_is_degraded_and_down_after_the_duration_and_recovers_below_another_threshold(
    house: House, clock: FakeClock
) -> None:
    machine = SimulatedMachine("m-1")
    one = house.register(machine)
    house.report(one, machine, seconds=30)
    machine.load.cpu = 0.97
    house.report(one, machine, seconds=300)
    assert house.state(one, CPU).verdict.value == "up"
    house.report(one, machine, seconds=15)
    assert house.state(one, CPU).verdict.value == "down"
    assert house.state(one, CPU).reason == "CPU 97 %, critical from 95 %"
    assert clock.now_ms() - house.state(one, CPU).since_ms == pytest.approx(315_000, abs=10_000)
    machine.load.cpu = 0.92  # below critical, and above where it recovers
    house.report(one, machine, seconds=60)
    assert house.state(one, CPU).verdict.value == "down"
    machine.load.cpu = 0.85
    house.report(one, machine, seconds=15)
    assert house.state(one, CPU).verdict.value == "degraded"
    machine.load.cpu = 0.77
    house.report(one, machine, seconds=60)
    assert house.state(one, CPU).verdict.value == "degraded"
    machine.load.cpu = 0.7
    house.report(one, machine, seconds=15)
    assert house.state(one, CPU).verdict.value == "up"
    assert house.state(one, MEMORY).verdict.value == "up"


def test_a_duration_that_has_begun_survives_the_aggregator(house: House) -> None:
    machine = SimulatedMachine("m-1")
    one = house.register(machine)
    house.report(one, machine, seconds=10)
    machine.load.memory = 0.99
    house.report(one, machine, seconds=200)
    house.intake = house.copy()
    house.report(one, machine, seconds=90)
    assert house.state(one, MEMORY).verdict.value == "up"
    house.report(one, machine, seconds=20)
    assert house.state(one, MEMORY).verdict.value == "down"


def test_what_happened_while_a_machine_was_cut_off_is_judged_when_it_comes(house: House, clock: FakeClock) -> None:
    machine = SimulatedMachine("m-1")
    one = house.register(machine)
    house.report(one, machine, seconds=30)
    begin_ms = clock.now_ms()
    clock.tick(3600)
    late = []
    for n in range(720):
        machine.load.cpu = 0.99 if 100 <= n < 200 else 0.3
        late.append(house.arrived(one, machine, begin_ms + 5000 * n))
    for cut in range(0, 720, 90):
        house.intake.write(late[cut : cut + 90])
    assert [verdict for verdict, _ in house.changes(one, CPU)] == ["up", "down", "up"]
    assert [verdict for verdict, _ in house.changes(one, REPORTING)] == ["up", "down", "up"]


def test_a_machine_that_was_cut_off_while_it_was_busy_was_busy_meanwhile(house: House, clock: FakeClock) -> None:
    machine = SimulatedMachine("m-1")
    one = house.register(machine)
    house.report(one, machine, seconds=30)
    machine.load.cpu = 0.9
    hot_ms = clock.now_ms()
    house.report(one, machine, seconds=480)
    begin_ms = clock.now_ms()
    house.listen_and_sweep(900)
    assert house.state(one, CPU).verdict.value == "unknown"
    late = []
    for n in range(180):
        machine.load.cpu = 0.9 if n < 150 else 0.3
        late.append(house.arrived(one, machine, begin_ms + 5000 * n))
    house.intake.write(late)
    changes = house.times(one, CPU)
    assert [verdict for verdict, _ in changes] == ["up", "degraded", "unknown", "up", "degraded", "up"]
    assert changes[1][1] == pytest.approx(hot_ms, abs=10_000)
    back_ms, degraded_ms, cool_ms = (at_ms for _, at_ms in changes[3:])
    assert back_ms - changes[2][1] <= 10_000, "as soon as there is a tick again"
    assert degraded_ms - back_ms <= 10_000
    assert cool_ms == pytest.approx(begin_ms + 150 * 5000, abs=10_000)


def test_what_several_sensors_say_seldom_is_judged_at_their_own_pace(house: House, clock: FakeClock) -> None:
    """As an OpenTelemetry Collector does: nothing is numbered, and each receiver has an interval of its own."""
    machine = SimulatedMachine("m-1", boot_id="", every_ms=10_000)
    one = house.register(machine)
    disks = Layout(tuple(series for series in USUAL if series.name == "system.filesystem.usage"))
    seldom = SimulatedMachine("m-1", boot_id="", layout=disks)
    seldom.load.disk = 0.99
    fast = Layout(tuple(series for series in USUAL if series.name.startswith(("system.cpu", "system.memory"))))
    machine.lay_out(fast)
    house.listen_and_sweep(SETTLE_MS / 1000 + 5)
    for n in range(120):
        arrived = [house.arrived(one, machine, boot_id="", seq=clock.now_ms(), sent_at_ms=0)]
        if n % 12 == 0:
            arrived.append(house.arrived(one, seldom, boot_id="", seq=clock.now_ms(), sent_at_ms=0))
        house.intake.write(arrived)
        house.listen_and_sweep(10)
    assert [verdict for verdict, _ in house.changes(one, DISK)][-1] == "down"
    assert len(house.changes(one, DISK)) <= 4, "unknown once at most, before its pace is known"
    assert [verdict for verdict, _ in house.changes(one, CPU)] == ["up"]


def test_a_clock_ahead_that_nobody_can_put_right_keeps_nothing_from_being_judged(
    house: House, clock: FakeClock
) -> None:
    machine = SimulatedMachine("m-1", boot_id="")
    one = house.register(machine)
    machine.load.cpu = 0.99
    house.listen_and_sweep(SETTLE_MS / 1000 + 5)
    for _ in range(240):
        at_ms = clock.now_ms() + 600_000
        house.intake.write([house.arrived(one, machine, at_ms, boot_id="", seq=at_ms, sent_at_ms=0)])
        house.listen_and_sweep(5)
    assert [verdict for verdict, _ in house.changes(one, CPU)] == ["up", "down"]
    house.listen_and_sweep(120)
    assert house.state(one, CPU).verdict.value == "unknown"


def test_bands_of_a_machine_go_before_those_of_its_tags_and_null_is_not_judged(house: House, clock: FakeClock) -> None:
    machine = SimulatedMachine("m-1", tags=["db"])
    machine.load.disk = 0.85
    one = house.register(machine)
    with house.store.write() as conn:
        machines.set_tag_bands(conn, "db", parse({"disk": {"warn": 0.5, "critical": 0.84, "for_s": 0}}))
    house.report(one, machine, seconds=20)
    assert house.state(one, DISK).verdict.value == "down"
    assert house.state(one, DISK).reason.startswith("disk / 85 %")
    with house.store.write() as conn:
        machines.change(conn, one, bands=parse({"disk": {"critical": 0.99}}), now_ms=clock.now_ms())
    house.report(one, machine, seconds=40)
    assert house.state(one, DISK).verdict.value == "degraded"
    with house.store.write() as conn:
        machines.change(conn, one, bands=parse({"disk": None}), now_ms=clock.now_ms())
    house.report(one, machine, seconds=20)
    assert house.state(one, DISK).verdict.value == "unknown"


def test_a_disk_that_fills_up_is_foreseen(house: House) -> None:
    machine = SimulatedMachine("m-1")
    one = house.register(machine)
    machine.load.disk = 0.5
    for _ in range(70):  # a hundredth a minute: half an hour is left when it begins to be judged
        house.report(one, machine, seconds=60, every_s=30)
        machine.load.disk += 0.001
    (now,) = house.now(one)
    left_h = (1 - machine.load.disk) / 0.001 / 60
    assert now.summary["disk_full_in_h"] == pytest.approx(left_h, rel=0.05)
    assert house.state(one, FORECAST).verdict.value == "degraded"
    assert house.state(one, FORECAST).reason.startswith("disk / full in 7.")


def test_a_filesystem_more_changes_no_forecast(house: House) -> None:
    machine = SimulatedMachine("m-1", layout=usual_layout(filesystems=2))
    one = house.register(machine)
    machine.load.disk = 0.6
    for minute in range(110):
        if minute == 60:
            machine.lay_out(usual_layout(filesystems=3))
        if minute == 80:
            machine.lay_out(usual_layout(filesystems=2))
        house.report(one, machine, seconds=60, every_s=30)
        machine.load.disk += 0.0025
    assert [verdict for verdict, _ in house.changes(one, FORECAST)] == ["up", "down"]
    spark = max(house.now(one), key=lambda now: now.at_ms).summary["spark"]
    assert sum(value is not None for value in last_minutes(spark, house.clock.now_ms())) >= 29


def test_few_states_are_written_where_nothing_changes(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = SimulatedMachine("m-1")
    one = house.register(machine)
    house.report(one, machine, seconds=60)
    written: list[int] = []
    write = states.write_many

    def counted(conn: object, items: Sequence[tuple[StateKey, State]]) -> None:
        written.append(len(items))
        write(conn, items)  # type: ignore[arg-type]

    monkeypatch.setattr(states, "write_many", counted)
    house.report(one, machine, seconds=300, every_s=1)
    assert sum(written) <= 300 / 30 * 4 + 300 / 7 + 5


# ── silence ───────────────────────────────────────────────────────────────────────────────────────────


def test_silence_is_down_by_reporting_and_unknown_by_the_rest(house: House) -> None:
    machine = SimulatedMachine("m-1")
    one = house.register(machine)
    house.listen_and_sweep(SETTLE_MS / 1000 + 5)
    house.report(one, machine, seconds=10)
    house.listen_and_sweep(5)
    assert house.state(one, REPORTING).verdict.value == "up"
    house.listen_and_sweep(50)
    assert house.state(one, REPORTING).verdict.value == "down"
    assert house.state(one, REPORTING).reason == "no sample for 15 s"
    assert house.state(one, CPU).verdict.value == "unknown"
    house.report(one, machine, seconds=10)
    assert house.state(one, REPORTING).verdict.value == "up"
    assert house.state(one, CPU).verdict.value == "up"


def test_a_machine_that_reports_is_never_silent(house: House) -> None:
    machine = SimulatedMachine("m-1")
    one = house.register(machine)
    for _ in range(40):
        house.report(one, machine, seconds=5)
        house.intake.listen()
        house.sweep.sweep()
    for rule in RULES:
        assert [verdict for verdict, _ in house.changes(one, rule)] == ["up"]


def test_while_no_aggregator_runs_silence_says_nothing(house: House) -> None:
    machine = SimulatedMachine("m-1")
    one = house.register(machine)
    gone = SimulatedMachine("m-2")
    two = house.register(gone)
    house.listen_and_sweep(SETTLE_MS / 1000 + 5)
    house.report(one, machine, seconds=10)
    house.report(two, gone, seconds=10)
    house.listen_and_sweep(120, listening=False)
    for number in (one, two):
        assert house.state(number, REPORTING).verdict.value == "unknown"
        assert house.state(number, REPORTING).reason == NOBODY_LISTENED
    for _ in range(20):  # it is there again, and one of the two machines is not
        house.report(one, machine, seconds=5)
        house.intake.listen()
        house.sweep.sweep()
    assert house.state(one, REPORTING).verdict.value == "up"
    assert house.state(two, REPORTING).verdict.value == "down"


def test_while_one_aggregator_follows_another_silence_says_nothing(house: House) -> None:
    machine = SimulatedMachine("m-1")
    one = house.register(machine)
    house.listen_and_sweep(SETTLE_MS / 1000 + 5)
    house.report(one, machine, seconds=5)
    house.intake.listen()
    house.intake = house.copy()  # the other one is lost with its streams
    house.listen_and_sweep(40)
    assert house.state(one, REPORTING).verdict.value == "unknown"
    house.listen_and_sweep(SETTLE_MS / 1000 + 10)
    assert house.state(one, REPORTING).verdict.value == "down"


def test_silence_of_a_machine_that_is_not_judged_by_it_says_nothing(house: House, clock: FakeClock) -> None:
    machine = SimulatedMachine("m-1")
    one = house.register(machine)
    house.listen_and_sweep(SETTLE_MS / 1000 + 5)
    house.report(one, machine, seconds=10)
    with house.store.write() as conn:
        machines.change(conn, one, bands=parse({"reporting": None}), now_ms=clock.now_ms())
    house.listen_and_sweep(100)
    assert house.state(one, REPORTING).verdict.value != "down"


def test_a_deleted_machine_is_written_no_more(house: House, clock: FakeClock) -> None:
    machine = SimulatedMachine("m-1")
    one = house.register(machine)
    house.report(one, machine, seconds=10)
    with house.store.write() as conn:
        machines.delete(conn, one, clock.now_ms())
    clock.tick(LOOK_MS / 1000)
    before = house.number_stored()
    assert house.intake.write([house.arrived(one, machine)]) == {}
    assert house.number_stored() == before
    assert not house.intake.exists(one)
    assert house.register(SimulatedMachine("m-1")) != one
