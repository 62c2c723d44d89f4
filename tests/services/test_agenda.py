from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.clocks import FakeClock
from tocsin.services.worker.agenda import Agenda, SlotClock

START = 1_800_000_000_000


def taken(agenda: Agenda, now_ms: float) -> list[tuple[int, int]]:
    return [(due.target_id, due.at_ms) for due in agenda.take(now_ms)]


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=50, unique=True), st.sampled_from([1_000, 20_000, 60_000]))
def test_after_a_start_every_target_is_due_once_within_one_interval(ids: list[int], interval_ms: int) -> None:
    agenda = Agenda()
    for target_id in ids:
        agenda.put(target_id, interval_ms, START)
    assert sorted(target_id for target_id, _ in taken(agenda, START + interval_ms)) == sorted(ids)


def test_slots_follow_at_exactly_the_interval() -> None:
    agenda = Agenda()
    agenda.put(7, 10_000, START)
    slots = [at for _, at in taken(agenda, START + 100_000)]
    assert len(slots) == 10
    assert {b - a for a, b in pairwise(slots)} == {10_000}


def test_what_is_due_comes_oldest_first() -> None:
    agenda = Agenda()
    for target_id in range(1, 200):
        agenda.put(target_id, 20_000, START)
    times = [at for _, at in taken(agenda, START + 60_000)]
    assert times == sorted(times)


def test_a_removed_target_is_not_due_and_a_changed_one_only_by_its_new_interval() -> None:
    agenda = Agenda()
    agenda.put(1, 10_000, START)
    agenda.put(2, 10_000, START)
    agenda.remove(1)
    agenda.put(2, 60_000, START)
    assert len(taken(agenda, START + 60_000)) == 1
    assert len(agenda) == 1
    agenda.put(1, 10_000, START + 60_000)
    assert len(taken(agenda, START + 70_000)) == 1


def test_an_extra_look_leaves_the_slots_alone() -> None:
    agenda = Agenda()
    agenda.put(1, 60_000, START)
    slot = agenda.next_ms()
    assert slot is not None
    agenda.take(slot)
    agenda.look(1, slot + 5_000)
    assert taken(agenda, slot + 60_000) == [(1, slot + 5_000), (1, slot + 60_000)]


def test_an_extra_look_at_the_time_of_a_slot_is_that_slot() -> None:
    agenda = Agenda()
    agenda.put(1, 60_000, START)
    slot = agenda.next_ms()
    assert slot is not None
    agenda.look(1, slot)
    assert len(taken(agenda, slot)) == 1


def test_a_look_at_an_unknown_target_is_nothing() -> None:
    agenda = Agenda()
    agenda.look(1, START)
    assert agenda.next_ms() is None


def test_the_slot_clock_follows_drift_and_reports_jumps() -> None:
    clock = FakeClock(START)
    slots = SlotClock(clock)
    clock.tick(10)
    clock.jump_ms(30)
    assert slots.now_ms() == START + 10_000
    assert slots.follow() == 0
    assert slots.now_ms() == START + 10_030
    clock.jump_ms(-3_600_000)
    assert slots.now_ms() == START + 10_030  # runs on evenly until it is asked to follow
    assert slots.follow() == -3_600_000
    assert slots.now_ms() == START + 10_030 - 3_600_000


@given(st.sampled_from([-86_400_000, -5_000, 5_000, 3_600_000, 10**10]))
def test_a_jump_of_the_clock_makes_no_burst_and_no_pause(jump_ms: int) -> None:
    agenda = Agenda()
    for target_id in range(1, 101):
        agenda.put(target_id, 20_000, START)
    now_ms = START + 7_000 + jump_ms
    agenda.take(START + 7_000)
    agenda.lay_anew(now_ms)
    assert taken(agenda, now_ms) == []
    assert sorted(target_id for target_id, _ in taken(agenda, now_ms + 20_000)) == list(range(1, 101))
