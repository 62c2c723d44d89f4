"""The time an installation goes by, on machines whose own clocks are wrong."""

from __future__ import annotations

import pytest

from tests.clocks import FakeClock
from tocsin.lib.clock import NEAR_MS, SharedClock

MINUTES_MS = 300_000


def learned(clock: SharedClock, own: FakeClock, shared_ms: int, *, took_s: float = 0.0) -> int:
    """The shared clock is asked, reads so much at once, and its answer is on the way for the rest of the time."""
    asked = clock.ask()
    own.tick(took_s)
    return clock.learn(shared_ms=shared_ms, asked=asked, answered_at=clock.monotonic())


@pytest.mark.parametrize("ahead_ms", [MINUTES_MS, -MINUTES_MS])
def test_a_clock_that_is_wrong_is_put_right(ahead_ms: int) -> None:
    own = FakeClock()
    truth_ms = own.now_ms() - ahead_ms
    clock = SharedClock(own)
    assert learned(clock, own, truth_ms) == -ahead_ms
    assert (clock.now_ms(), clock.ahead_ms) == (truth_ms, ahead_ms)
    own.tick(10)
    assert clock.now_ms() == truth_ms + 10_000
    assert learned(clock, own, truth_ms + 10_000) == 0


def test_what_such_a_look_cannot_tell_is_left_alone() -> None:
    own = FakeClock()
    clock = SharedClock(own)
    assert learned(clock, own, own.now_ms() + NEAR_MS) == 0
    assert learned(clock, own, own.now_ms(), took_s=60) == 0
    assert clock.ahead_ms == 0
    assert learned(clock, own, own.now_ms() + MINUTES_MS, took_s=2) == pytest.approx(MINUTES_MS, abs=1000)


def test_a_machine_that_is_right_follows_its_own_clock() -> None:
    own = FakeClock()
    clock = SharedClock(own)
    learned(clock, own, own.now_ms())
    own.jump_ms(5000)
    assert clock.now_ms() == own.now_ms()


def test_setting_a_wrong_machine_right_moves_nothing() -> None:
    own = FakeClock()
    truth_ms = own.now_ms() - MINUTES_MS
    clock = SharedClock(own)
    learned(clock, own, truth_ms)
    own.jump_ms(-MINUTES_MS)
    assert (clock.now_ms(), clock.ahead_ms) == (truth_ms, 0)
    assert learned(clock, own, truth_ms) == 0


def test_an_answer_during_which_the_machine_slept_teaches_nothing() -> None:
    own = FakeClock()
    clock = SharedClock(own)
    truth_ms = own.now_ms()
    asked = clock.ask()
    own.jump_ms(8 * 3_600_000)  # no monotonic clock ran: the answer, hours old by now, seems to have come at once
    assert clock.learn(shared_ms=truth_ms, asked=asked, answered_at=clock.monotonic()) == 0
    assert clock.now_ms() == own.now_ms()
    assert learned(clock, own, own.now_ms()) == 0
