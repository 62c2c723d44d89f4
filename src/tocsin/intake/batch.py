"""What one batch brings: rows, the newest state of each machine, and outcomes.

All ticks of one layout are taken at once: each machine's vectors lie below each other, the one before them first.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tocsin.core import bands as core_bands
from tocsin.core.bands import CPU, DISK, FORECAST, MEMORY, Trend
from tocsin.core.machine import Columns
from tocsin.core.rates import rates
from tocsin.core.samples import Layout
from tocsin.core.spark import advanced
from tocsin.intake.arrived import Arrived
from tocsin.intake.judging import Judge, News
from tocsin.intake.memory import STEADY_MS, Floats, Ints, Machine, Newest, Plan
from tocsin.store.samples import Tick

TREND_MS: Final = 60_000
SOONEST: Final = 10
"""Of numbered ticks that come within this part of their interval, one is from before the clock was set."""


class Group(NamedTuple):
    """Ticks of one machine in one layout, in the order they came, with their times by our clock."""

    machine: Machine
    ticks: list[Arrived]
    at_ms: list[int]


class Batch:
    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms
        self.ticks: list[Tick] = []
        self.newest: list[tuple[Machine, int, Newest]] = []
        """With the number of the layout."""
        self.judge = Judge(now_ms)
        self.refused: Counter[str] = Counter()
        """Values and ticks, by why."""

    def take(self, plan: Plan, groups: Sequence[Group]) -> None:
        """Ticks of one layout, of each machine in one group."""
        stack = _Stack(plan, groups)
        raw = self._sensible(plan, stack, groups)
        table, which = stack.starts.table()
        found = rates(raw, np.array(stack.at_ms), stack.begins, plan.counters, table, which)[stack.is_tick]
        self._pack(plan, groups, found)
        columns = plan.view.columns(found)
        sizes = [len(group.ticks) for group in groups]
        news = News(columns, [group.machine for group in groups], sizes)
        rows = np.nonzero(stack.is_tick)[0]
        first = 0
        for number, group in enumerate(groups):
            end = first + sizes[number]
            standing = group.machine.standing(plan)
            tick = group.ticks[-1]
            if standing is None or standing.is_before(tick.boot_id, tick.seq, group.at_ms[-1]):
                part = _part(group, columns, first, end, stack.before[number])
                place = rows[end - 1]
                made = part.newest(plan.layout, self._now_ms, raw[place].copy(), stack.starts.of(place))
                self.newest.append((group.machine, plan.id, made))
                self._judge(part, news, number)
            first = end  # what is late is history, and no news

    def _sensible(self, plan: Plan, stack: _Stack, groups: Sequence[Group]) -> Floats:
        """Without what cannot be, counted by why."""
        raw = stack.raw
        wrong = (raw < plan.least) | (raw > plan.most)
        if not wrong.any():
            return raw
        infinite = np.isinf(raw) & wrong
        negative = np.zeros_like(wrong)
        negative[:, plan.counters] = (raw[:, plan.counters] < 0) & ~infinite[:, plan.counters]
        for reason, those in (("infinite", infinite), ("negative", negative), ("range", wrong & ~infinite & ~negative)):
            if number := int(those.sum()):
                self.refused[reason] += number
        of_row = wrong[stack.is_tick].sum(axis=1)
        ends = np.cumsum([len(group.ticks) for group in groups])
        for group, number in zip(groups, np.add.reduceat(of_row, [0, *ends[:-1]]).tolist(), strict=True):
            group.machine.refused += number
        raw = raw.copy()
        raw[wrong] = np.nan
        return raw

    def _pack(self, plan: Plan, groups: Sequence[Group], found: Floats) -> None:
        packed, step = found.astype("<f4").tobytes(), 4 * len(plan.layout)
        place = 0
        for machine, _, times in groups:
            machine_id = machine.row.id
            for at_ms in times:
                self.ticks.append(Tick(machine_id, at_ms, plan.id, packed[place : place + step]))
                place += step

    def _judge(self, part: _Part, news: News, number: int) -> None:
        machine, _, times = part.group
        pace_ms = part.pace_ms
        for rule in (CPU, MEMORY, DISK):
            if news.is_of(rule, number, times[-1], self._now_ms):
                self.judge.measured(
                    machine,
                    rule,
                    times,
                    part.of(rule),
                    columns=part.columns,
                    first=part.first,
                    pace_ms=pace_ms,
                )
        if part.columns.mounts:
            mount, hours = (None, math.inf) if part.next_full is None else part.next_full
            self.judge.measured(machine, FORECAST, times[-1:], [hours], where=mount, pace_ms=pace_ms)


class _Part(NamedTuple):
    """A group's part of its layout's columns."""

    group: Group
    columns: Columns
    first: int
    end: int
    before: Newest | None
    """What it goes on from."""
    trend: Trend | None
    """How filesystems fill up; None where there are none."""
    next_full: tuple[str, float] | None
    """The filesystem that will be full first, and the hours left."""

    @property
    def pace_ms(self) -> int:
        """How far its ticks are apart, where nothing else tells: ticks that are not numbered come from several
        sensors, each with a pace of its own."""
        _, several, times = self.group
        if several[-1].boot_id:
            return 0
        known = [self.before.at_ms, *times] if self.before is not None else times
        return known[-1] - known[-2] if len(known) > 1 else 0

    def of(self, number: str) -> list[float]:
        values: list[float] = self.columns.numbers[number][self.first : self.end].tolist()
        return values

    def newest(self, layout: Layout, received_ms: int, raw: Floats, starts_ms: Ints | None) -> Newest:
        """``raw`` and ``starts_ms`` are of the last tick."""
        _, several, times = self.group
        before, last = self.before, several[-1]
        summary = self.columns.summary(self.end - 1).known()
        if self.next_full is not None:
            summary["disk_full_in_h"] = round(self.next_full[1], 2)
        if self.trend is not None:
            summary["trend"] = self.trend
        if CPU in self.columns.numbers:
            spark = None if before is None else before.summary.get("spark")
            for at_ms, value in zip(times, self.of(CPU), strict=True):
                spark = advanced(spark, at_ms, None if value != value else value)
            summary["spark"] = spark
        processes = next((tick.processes for tick in reversed(several) if tick.processes is not None), None)
        if processes is None and before is not None:
            processes = before.processes
        return Newest(
            layout,
            last.boot_id,
            last.seq,
            times[-1],
            received_ms,
            raw,
            starts_ms,
            summary,
            processes,
            self.trend,
            last.at_ms - times[-1],
        )


def _part(group: Group, columns: Columns, first: int, end: int, before: Newest | None) -> _Part:
    if not columns.mounts:
        return _Part(group, columns, first, end, before, None, None)
    trend = None if before is None else before.trend
    for index, at_ms in enumerate(group.at_ms):
        if trend is None or at_ms - trend.last_ms >= TREND_MS:
            trend = core_bands.follow(trend, at_ms, columns.shares[first + index])
    hours = core_bands.hours_left(trend, columns.shares[end - 1])
    next_full = None
    if not np.isnan(hours).all():
        place = int(np.nanargmin(hours))
        next_full = columns.mounts[place], float(hours[place])
    return _Part(group, columns, first, end, before, trend, next_full)


class _Stack:
    """The vectors of a layout's groups below each other."""

    def __init__(self, plan: Plan, groups: Sequence[Group]) -> None:
        width = len(plan.layout)
        vectors: list[memoryview] = []
        firsts: list[int] = []
        is_tick: list[bool] = []
        moved_ms: list[int] = []
        soonest_ms: list[int] = []
        self.at_ms: list[int] = []
        self.before: list[Newest | None] = []
        """Of each group, what it goes on from."""
        self.starts = _Starts(width)
        for machine, several, times in groups:
            firsts.append(len(vectors))
            before = machine.before(plan)
            self.before.append(before)
            if before is not None:
                vectors.append(before.raw.data)
                is_tick.append(False)
                self.at_ms.append(before.at_ms)
                moved_ms.append(before.moved_ms)
                soonest_ms.append(0)
                self.starts.add(before.starts_ms, 0)
            correction_ms = machine.correction_ms
            soonest = machine.row.every_ms // SOONEST if several[-1].boot_id else 0
            for tick, at_ms in zip(several, times, strict=True):
                vectors.append(tick.values.data)
                is_tick.append(True)
                moved_ms.append(tick.at_ms - at_ms)
                soonest_ms.append(soonest)
                self.starts.add(tick.starts_ms, correction_ms)
            self.at_ms += times
        raw = np.frombuffer(b"".join(vectors), dtype=np.float64)
        if raw.size != width * len(vectors):
            raise ValueError(f"vectors of a layout of {width} series have not {width} values each")
        self.raw: Floats = raw.reshape(-1, width)
        self.is_tick: NDArray[np.bool_] = np.array(is_tick)
        """The others are what a machine's first one is measured from."""
        self.begins: NDArray[np.bool_] = np.zeros(len(vectors), dtype=bool)
        self.begins[firsts] = True
        # Where the clock was set, or is judged anew, nobody knows how much time has passed since the tick before.
        self.begins[1:] |= np.abs(np.diff(moved_ms)) > STEADY_MS
        self.begins[1:] |= np.diff(self.at_ms) < np.array(soonest_ms[1:])


class _Starts:
    """Since when counters count: few different rows, and which of them is a vector's."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._numbers: dict[tuple[int, int], int] = {}
        self._rows: list[Ints] = []
        self._given: list[Ints | None] = []
        self._which: list[int] = []

    def add(self, starts_ms: Ints | None, correction_ms: int) -> None:
        key = id(starts_ms), correction_ms
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._rows)
            self._given.append(starts_ms)  # also keeps it alive, and so its id its own
            if starts_ms is None:
                self._rows.append(np.zeros(self._width, dtype=np.int64))
            elif correction_ms:
                self._rows.append(np.where(starts_ms == 0, 0, starts_ms - correction_ms))
            else:
                self._rows.append(starts_ms)
        self._which.append(number)

    def table(self) -> tuple[Ints | None, NDArray[np.intp] | None]:
        if all(one is None for one in self._given):
            return None, None
        return np.stack(self._rows), np.array(self._which, dtype=np.intp)

    def of(self, row: int) -> Ints | None:
        number = self._which[row]
        return None if self._given[number] is None else self._rows[number]
