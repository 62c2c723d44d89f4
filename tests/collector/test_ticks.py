"""Layouts follow what is there; counters say since when they count."""

from __future__ import annotations

import math
import struct

from tocsin.collector.panel import Look, Seen
from tocsin.collector.ticks import Composer, Moment
from tocsin.core.samples import Series
from tocsin.sensors.base import counter, gauge

BOOT_MS = 1_000
A, B = gauge("a", "1"), gauge("b", "1")
C, D = counter("c", "By"), counter("d", "By")


def numbers(moment: Moment) -> dict[str, float]:
    series = moment.form.layout.series
    values = struct.unpack(f"<{len(series)}d", moment.values)
    return {one.name: value for one, value in zip(series, values, strict=True)}


def starts(moment: Moment) -> dict[str, int]:
    return {one.name: start for one, start in zip(moment.form.layout, moment.form.starts_ms, strict=True)}


class Composed:
    def __init__(self) -> None:
        self.composer = Composer("boot", BOOT_MS)
        self.at_ms = 10_000

    def tick(self, values: dict[Series, float], *, since_ms: int | None = -1, fresh: bool = True) -> Moment:
        since_ms = (self.at_ms - 5_000 if self.at_ms > 10_000 else None) if since_ms == -1 else since_ms
        seen = Seen(values, fresh, since_ms)
        moment = self.composer.compose(Look([seen], None), seq=self.at_ms, at_ms=self.at_ms)
        self.at_ms += 5_000
        return moment


def test_the_same_series_the_same_layout() -> None:
    composed = Composed()
    first, second = composed.tick({A: 1, C: 5}), composed.tick({C: 6, A: 2})
    assert first.form is second.form
    assert numbers(second) == {"a": 2, "c": 6}
    assert (second.boot_id, second.seq, second.at_ms) == ("boot", 15_000, 15_000)


def test_what_is_new_makes_a_layout_and_what_is_absent_is_not_a_number() -> None:
    composed = Composed()
    first, second, third = composed.tick({A: 1}), composed.tick({A: 1, B: 2}), composed.tick({B: 3})
    assert first.form is not second.form
    assert second.form is third.form
    assert math.isnan(numbers(third)["a"])
    assert numbers(third)["b"] == 3


def test_one_comes_as_another_goes() -> None:
    composed = Composed()
    composed.tick({A: 1})
    assert numbers(composed.tick({B: 2}))["b"] == 2


def test_what_is_gone_for_long_is_left_out() -> None:
    composed = Composed()
    composed.tick({A: 1, C: 1})
    moments = [composed.tick({C: 2}) for _ in range(60)]
    assert list(numbers(moments[-2])) == ["a", "c"]
    assert list(numbers(moments[-1])) == ["c"]
    assert len(moments[-1].values) == 8


def test_counters_count_since_the_machine_began() -> None:
    assert starts(Composed().tick({A: 1, C: 5})) == {"a": 0, "c": BOOT_MS}


def test_one_that_came_later_counts_since_the_look_before() -> None:
    composed = Composed()
    composed.tick({C: 5})
    assert starts(composed.tick({C: 6, D: 1})) == {"c": BOOT_MS, "d": 10_000}


def test_one_whose_sensor_failed_at_first_counts_since_the_machine_began() -> None:
    composed = Composed()
    composed.tick({A: 1})
    assert starts(composed.tick({A: 1, C: 5}, since_ms=None))["c"] == BOOT_MS


def test_one_that_was_reset_counts_since_the_look_before() -> None:
    composed = Composed()
    first = composed.tick({C: 500, D: 1})
    second = composed.tick({C: 5, D: 2})
    assert second.form is not first.form
    assert starts(second) == {"c": 10_000, "d": BOOT_MS}
    assert composed.tick({C: 6, D: 3}).form is second.form
