from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.slots import GRID_MS, next_slot_ms, slot_offset_ms

ids = st.integers(1, 2**40)
intervals = st.integers(1_000, 86_400_000)


@given(ids, intervals, st.integers(0, 2**42))
def test_the_next_slot_is_later_and_at_most_one_interval_away(target_id: int, interval_ms: int, now_ms: int) -> None:
    slot = next_slot_ms(target_id, interval_ms, now_ms)
    assert now_ms < slot <= now_ms + interval_ms
    assert slot % interval_ms == slot_offset_ms(target_id, interval_ms)
    assert slot_offset_ms(target_id, interval_ms) % GRID_MS == 0


@given(ids, intervals, st.integers(0, 2**42))
def test_slots_follow_each_other_by_exactly_one_interval(target_id: int, interval_ms: int, now_ms: int) -> None:
    slot = next_slot_ms(target_id, interval_ms, now_ms)
    assert next_slot_ms(target_id, interval_ms, slot) == slot + interval_ms
    assert next_slot_ms(target_id, interval_ms, slot - 1) == slot


@given(st.integers(10, 2000), st.integers(0, 10**6), st.sampled_from([10_000, 20_000, 60_000]))
def test_targets_are_spread_without_bursts(count: int, first_id: int, interval_ms: int) -> None:
    offsets = sorted(slot_offset_ms(first_id + n, interval_ms) for n in range(count))
    gaps = [b - a for a, b in zip(offsets, [*offsets[1:], offsets[0] + interval_ms], strict=True)]
    # Three-gap theorem: for the golden ratio no gap exceeds the even one more than about 2.6 times.
    assert max(gaps) <= 2.7 * interval_ms / count + GRID_MS
