"""The one door through which samples are written.

Ticks of many machines go in; in one transaction they are checked, their counters made into rates, stored, the newest
state moved forward, and the machines judged. Knows no wire and no loop; whoever has ticks calls ``write``.
"""

from __future__ import annotations

import math
import threading
import unicodedata
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from tocsin.bus.base import Bus
from tocsin.core import bands as core_bands
from tocsin.core.bands import CPU, DISK, FORECAST, MEMORY, REPORTING, RULES, Bands, Trend
from tocsin.core.decide import Policy, State, Verdict, decide
from tocsin.core.machine import Columns, View
from tocsin.core.outcome import HEADLINE, Outcome, Result, StateKey, Subject
from tocsin.core.rates import rates
from tocsin.core.samples import MACHINE, Layout, Series
from tocsin.core.spark import advanced
from tocsin.lib import metrics
from tocsin.lib.clock import Clock
from tocsin.pipeline import Entry, Pipeline
from tocsin.store import leases, machines, samples, states
from tocsin.store.engine import Store
from tocsin.store.machines import MachineRow, Now
from tocsin.store.samples import Tick

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

AHEAD_MS: Final = 3_600_000
"""A tick from further in the future than this was dated by a clock that is of no use."""
OLDEST_MS: Final = 366 * 86_400_000
MOST_SERIES: Final = 5000
"""In a layout."""
MOST_SERIES_OF_MACHINE: Final = 20_000
"""In a day, of one machine."""
DAY_MS: Final = 86_400_000
LARGEST: Final = 3.4e38
"""A gauge is stored as float32; more than this would be infinite."""
LARGEST_COUNT: Final = 1e30
FAR_OFF_MS: Final = 2000
"""A clock is put right from here on; what is less may as well be the way through the network."""
STEADY_MS: Final = 250
"""The skew in force is let stand while it is this near to what is seen."""
SIGHTS: Final = 8
"""A clock is judged by this many of its last ticks: the one that took least time on its way is nearest the truth."""
AFRESH_MS: Final = 30_000
"""An outcome that says nothing new is written this seldom."""
LOOK_MS: Final = 5000
"""Machines and their bands are read again this often."""
FORGET_MS: Final = 3_600_000
"""Of a machine that was silent for so long nothing is kept in memory, and a layout's number no longer than this."""
TREND_MS: Final = 60_000
MOST_LAYOUTS: Final = 5000
"""Kept in memory."""
LISTENING: Final = "intake"
"""The lease of whoever takes samples: while nobody does, silence says nothing about machines."""
LISTENING_MS: Final = 10_000


class Introduced(NamedTuple):
    """Who reports. ``boot_id`` empty: it tells none; ``every_ms`` 0: not known."""

    uid: str
    boot_id: str = ""
    name: str = ""
    version: str = ""
    every_ms: int = 0
    facts: Mapping[str, str] = {}
    tags: Sequence[str] = ()


class Arrived(NamedTuple):
    """One tick. ``boot_id`` empty: there is no sequence, and ``seq`` is its time; then what is sent twice is known by
    its time alone. ``starts_ms``: since when each counter counts, 0 where that is not known.

    ``sent_at_ms`` by the machine's clock and ``received_ms`` by ours tell how far they are apart; 0: not known. Times
    are by the machine's clock.
    """

    machine_id: int
    boot_id: str
    seq: int
    at_ms: int
    layout: Layout
    starts_ms: Ints | None
    values: Floats
    processes: list[dict[str, Any]] | None
    sent_at_ms: int = 0
    received_ms: int = 0


class Refused(Exception):
    """What a machine says makes no sense: which field, and what it must be."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field


class IdentityInUse(Exception):
    """Another machine with this id was heard of a moment ago: a machine was copied together with its id."""


# ── what is kept in memory ────────────────────────────────────────────────────────────────────────────


class _Plan:
    """What is known of a layout."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.view = View(layout)
        self.counters = np.array([place for place, one in enumerate(layout) if one.kind == "counter"], dtype=np.intp)
        self.least = np.array([_range_of(one)[0] for one in layout])
        self.most = np.array([_range_of(one)[1] for one in layout])
        self.id = 0
        self.id_since_ms = 0


def _range_of(one: Series) -> tuple[float, float]:
    """What a series can be at all."""
    if one.kind == "counter":
        return 0.0, LARGEST_COUNT
    if one.unit == "Cel":
        return -273.15, 10_000.0
    if (one.name.startswith("system.") and one.unit in ("By", "s", "1", "")) or one.unit.startswith("{"):
        return (0.0, LARGEST) if one.name.startswith("system.") else (-LARGEST, LARGEST)
    return -LARGEST, LARGEST


@dataclass(slots=True)
class _Newest:
    """The newest vector of a machine in a layout."""

    layout: Layout
    boot_id: str
    seq: int
    at_ms: int
    received_ms: int
    raw: Floats
    starts_ms: Ints | None
    summary: dict[str, Any]
    processes: list[dict[str, Any]] | None
    trend: Trend | None

    def is_before(self, boot_id: str, seq: int, at_ms: int) -> bool:
        return seq > self.seq if boot_id == self.boot_id else at_ms > self.at_ms


@dataclass(slots=True)
class _Watch:
    """How a rule of a machine stands, as far as this process knows."""

    state: State
    result: int = -1
    """Of the last outcome."""
    wake_ms: float = math.inf
    """A duration is over with the first tick from then on."""
    afresh_ms: int = 0
    """When an outcome is to be written even if it says nothing new."""


@dataclass(slots=True)
class _Machine:
    row: MachineRow
    bands: Bands
    policies: Mapping[str, Policy]
    newest: dict[int, _Newest] = field(default_factory=dict)
    """By the number of the layout."""
    boots: dict[str, int] = field(default_factory=dict)
    watches: dict[str, _Watch] = field(default_factory=dict)
    layouts: dict[int, tuple[Layout, int]] = field(default_factory=dict)
    """Those it uses, by their identity, with when it did last."""
    sights: deque[int] = field(default_factory=lambda: deque(maxlen=SIGHTS))
    last_raw_at_ms: int = 0
    off_ms: int = 0
    refused: int = 0
    """Values and ticks that are not noted yet."""
    off_noted_ms: int = 0
    noted_ms: int = 0
    heard_ms: int = 0

    def see_clock(self, tick: Arrived) -> None:
        if not (tick.sent_at_ms and tick.received_ms):
            return
        if tick.sent_at_ms < self.last_raw_at_ms:  # it was set back: what was seen before says nothing any more
            self.sights.clear()
        self.last_raw_at_ms = tick.sent_at_ms
        self.sights.append(tick.received_ms - tick.sent_at_ms)
        off_ms = -min(self.sights)
        if abs(off_ms - self.off_ms) > STEADY_MS:
            self.off_ms = off_ms

    @property
    def correction_ms(self) -> int:
        return self.off_ms if abs(self.off_ms) > FAR_OFF_MS else 0


class _Group(NamedTuple):
    """Ticks of one machine in one layout, in the order they came, with their times by our clock."""

    machine: _Machine
    ticks: list[Arrived]
    at_ms: list[int]


class _Judged(NamedTuple):
    machine: _Machine
    rule: str
    entry: Entry


class Intake:
    """Safe to share between threads: one batch is written at a time."""

    def __init__(self, store: Store, pipeline: Pipeline, bus: Bus, clock: Clock) -> None:
        self._store = store
        self._pipeline = pipeline
        self._bus = bus
        self._clock = clock
        self._lock = threading.Lock()
        self._plans: OrderedDict[Layout, _Plan] = OrderedDict()
        self._plan_lock = threading.Lock()
        self._machines: dict[int, _Machine] = {}
        self._rows: dict[int, MachineRow] = {}
        self._tag_bands: Mapping[str, Mapping[str, Any]] = {}
        self._looked_at = -math.inf
        self._look_s = LOOK_MS / 1000
        self._holder = f"{id(self):x}-{clock.now_ms():x}"

    # ── who reports, and what ─────────────────────────────────────────────────────────────────────

    def register(self, introduced: Introduced, key_id: int | None) -> MachineRow:
        """The machine that reports, made where it is new. Blocks; raises Refused, IdentityInUse and the store's
        errors."""
        said = _cleaned(introduced)
        now_ms = self._clock.now_ms()
        with self._store.write() as conn:
            known = machines.by_uid(conn, said.uid)
            if known is not None and said.boot_id:
                silent_ms = core_bands.INTERVALS_OF_SILENCE * (said.every_ms or known.every_ms)
                for now in machines.now_of(conn, [known.id], received_after_ms=now_ms - silent_ms):
                    if now.boot_id not in ("", said.boot_id) and now.at_ms > now_ms - silent_ms:
                        raise IdentityInUse(
                            f"the machine id {said.uid} is in use: another machine, or this one before it was "
                            f"started again, was heard of {max(0, now_ms - now.received_ms) / 1000:.0f} s ago. "
                            "A copied machine needs an id of its own"
                        )
            row = machines.register(
                conn,
                uid=said.uid,
                name=said.name,
                facts=said.facts,
                tags=said.tags,
                every_ms=said.every_ms,
                version=said.version,
                key_id=key_id,
                now_ms=now_ms,
            )
        with self._lock:
            if self._rows.get(row.id) != row:
                self._rows[row.id] = row
                if (machine := self._machines.get(row.id)) is not None:
                    self._set_row(machine, row)
        return row

    def intern(self, layout: Layout) -> Layout:
        """The one object for every layout with these series, checked. Raises Refused."""
        return self._plan(layout).layout

    def _plan(self, layout: Layout) -> _Plan:
        with self._plan_lock:
            plan = self._plans.get(layout)
            if plan is not None:
                self._plans.move_to_end(layout)
                return plan
        _check_layout(layout)
        made = _Plan(layout)
        with self._plan_lock:
            plan = self._plans.setdefault(layout, made)
            while len(self._plans) > MOST_LAYOUTS:
                self._plans.popitem(last=False)
        return plan

    def admit(self, machine_id: int, layout: Layout) -> None:
        """To be asked before a machine uses a layout. Raises Refused when it has too many series, and the store's
        errors."""
        with self._lock:
            machine = self._known([machine_id]).get(machine_id)
            if machine is None:
                return
            day_ago_ms = self._clock.now_ms() - DAY_MS
            used = [one for one, last_ms in machine.layouts.values() if last_ms > day_ago_ms and one is not layout]
            if sum(map(len, used)) + len(layout) > MOST_SERIES_OF_MACHINE:
                several: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
                for one in (*used, layout):
                    several |= one.places.keys()
                if len(several) > MOST_SERIES_OF_MACHINE:
                    raise Refused(
                        "layout.series",
                        f"this machine would have {len(several):,} series in a day, and {MOST_SERIES_OF_MACHINE:,} are "
                        "the most: something in their attributes changes all the time",
                    )
            machine.layouts[id(layout)] = layout, self._clock.now_ms()

    def exists(self, machine_id: int) -> bool:
        """Whether the machine was there when it was looked for last; people may have deleted it."""
        return machine_id in self._rows

    def listen(self) -> None:
        """To be called every few seconds by whoever takes samples. Blocks; raises the store's errors."""
        with self._store.write() as conn:
            leases.take(conn, LISTENING, self._holder, now_ms=self._clock.now_ms(), for_ms=LISTENING_MS)

    # ── writing ───────────────────────────────────────────────────────────────────────────────────

    def write(self, arrived: Sequence[Arrived]) -> Mapping[tuple[int, str], int]:
        """Stores ticks, all or nothing, and judges their machines. Blocks; raises the store's errors.

        Yields, by machine and boot, up to which ``seq`` everything is stored or was refused and counted. A machine that
        was deleted is not among them. Ticks of one machine and boot come in the order of their numbers; what is there
        already changes nothing.
        """
        with self._lock:
            try:
                return self._write(arrived)
            except BaseException:
                # Nobody knows what was stored; what is in memory may be ahead of it.
                for machine_id in {tick.machine_id for tick in arrived}:
                    self._machines.pop(machine_id, None)
                raise

    def _write(self, arrived: Sequence[Arrived]) -> Mapping[tuple[int, str], int]:
        now_ms = self._clock.now_ms()
        ids = {tick.machine_id for tick in arrived}
        known = self._known(ids)
        plans = self._plans_of(arrived)
        refused: Counter[str] = Counter()
        with self._store.write() as conn:
            self._number(conn, plans.values(), now_ms)
            stored = machines.boots(conn, ids)
            unnumbered = {tick.machine_id for tick in arrived if not tick.boot_id}
            self._reread_moved(conn, known, stored, machines.newest_seqs(conn, unnumbered) if unnumbered else {})
            groups, acked = self._sorted_out(arrived, plans, known, stored, now_ms, refused)
            ticks: list[Tick] = []
            newest: list[tuple[_Machine, int, _Newest]] = []
            judged: list[_Judged] = []
            for plan, several in groups.items():
                self._take(plan, several, now_ms, ticks, newest, judged, refused)
            for machine in {
                id(group.machine): group.machine for several in groups.values() for group in several
            }.values():
                self._judge_reporting(machine, now_ms, judged)
            samples.insert_many(conn, ticks)
            machines.write_now(conn, [_now_row(machine, layout_id, one) for machine, layout_id, one in newest])
            moved = {key: seq for key, seq in acked.items() if stored.get(key) != seq}
            machines.write_boots(conn, self._boot_rows(moved, arrived, known))
            self._note(conn, known.values(), now_ms)
            settled, changed = self._pipeline.write_within(conn, [one.entry for one in judged])
        for machine, layout_id, one in newest:
            machine.newest[layout_id] = one
        for (machine_id, boot_id), seq in moved.items():
            known[machine_id].boots[boot_id] = seq
        by_key = dict(settled)
        for case in judged:
            self._settle(case.machine, case.rule, by_key.get(case.entry.outcome.key))
        metrics.TICKS_TAKEN.inc(len(ticks))
        for reason, number in refused.items():
            metrics.VALUES_REFUSED.labels(reason).inc(number)
        if judged:
            self._pipeline.ring(changed, settled)
        self._bus.ring("machines")
        return acked

    def _sorted_out(
        self,
        arrived: Sequence[Arrived],
        plans: Mapping[int, _Plan],
        known: Mapping[int, _Machine],
        stored: Mapping[tuple[int, str], int],
        now_ms: int,
        refused: Counter[str],
    ) -> tuple[dict[_Plan, list[_Group]], dict[tuple[int, str], int]]:
        """What is new and of a time that makes sense, by layout and machine; and what will be known of each boot."""
        latest_ms, oldest_ms = now_ms + AHEAD_MS, now_ms - OLDEST_MS
        acked: dict[tuple[int, str], int] = {}
        groups: dict[_Plan, dict[int, _Group]] = defaultdict(dict)
        for tick in arrived:
            machine = known.get(tick.machine_id)
            if machine is None:
                refused["deleted"] += 1
                continue
            if tick.boot_id:
                key = tick.machine_id, tick.boot_id
                top = acked.get(key)
                if top is None:
                    acked[key] = top = stored.get(key, -1)
                if tick.seq <= top:
                    metrics.TICKS_REPEATED.inc()
                    continue
                acked[key] = tick.seq
            machine.see_clock(tick)
            at_ms = tick.at_ms
            if not oldest_ms <= at_ms <= latest_ms:
                refused["time"] += 1
                machine.refused += 1
                continue
            machine.heard_ms = now_ms
            plan = plans[id(tick.layout)]
            of_plan = groups[plan]
            group = of_plan.get(tick.machine_id)
            if group is None:
                group = of_plan[tick.machine_id] = _Group(machine, [], [])
                machine.layouts[id(plan.layout)] = plan.layout, now_ms
            group.ticks.append(tick)
            group.at_ms.append(at_ms - machine.correction_ms)
        return {plan: list(several.values()) for plan, several in groups.items()}, acked

    def _take(
        self,
        plan: _Plan,
        groups: Sequence[_Group],
        now_ms: int,
        ticks: list[Tick],
        newest: list[tuple[_Machine, int, _Newest]],
        judged: list[_Judged],
        refused: Counter[str],
    ) -> None:
        """All ticks of one layout at once: each machine's rows lie below each other, the vector before them first."""
        width = len(plan.layout)
        vectors: list[memoryview] = []
        at_ms: list[int] = []
        firsts: list[int] = []
        is_tick: list[bool] = []
        starts = _Starts(width)
        for machine, several, times in groups:
            firsts.append(len(vectors))
            before = self._before(machine, plan)
            if before is not None:
                vectors.append(before.raw.data)
                at_ms.append(before.at_ms)
                is_tick.append(False)
                starts.add(before.starts_ms, 0)
            correction_ms = machine.correction_ms
            for tick in several:
                vectors.append(tick.values.data)
                is_tick.append(True)
                starts.add(tick.starts_ms, correction_ms)
            at_ms += times
        raw = np.frombuffer(b"".join(vectors), dtype=np.float64)
        if raw.size != width * len(vectors):
            raise ValueError(f"vectors of a layout of {width} series have not {width} values each")
        raw = raw.reshape(-1, width)
        rows = np.array(is_tick)
        raw = self._sensible(plan, raw, groups, rows, refused)
        begins = np.zeros(len(raw), dtype=bool)
        begins[firsts] = True
        table, which = starts.table()
        found = rates(raw, np.array(at_ms, dtype=np.int64), begins, plan.counters, table, which)[rows]
        packed, step = found.astype("<f4").tobytes(), 4 * width
        columns = plan.view.columns(found)
        numbers = _Numbers(columns, groups)
        place, row = 0, -1
        raw_rows = np.nonzero(rows)[0]
        for number, (machine, several, times) in enumerate(groups):
            machine_id, first = machine.row.id, place
            for time in times:
                ticks.append(Tick(machine_id, time, plan.id, packed[place * step : (place + 1) * step]))
                place += 1
            row = place - 1
            last, last_ms = several[-1], times[-1]
            standing = machine.newest.get(plan.id)
            if standing is not None and not standing.is_before(last.boot_id, last.seq, last_ms):
                continue  # late: history, and no news
            trend, hours = _forecast(standing, columns, first, times)
            summary = columns.summary(row).known()
            full = int(np.nanargmin(hours)) if len(hours) and not np.isnan(hours).all() else None
            if full is not None:
                summary["disk_full_in_h"] = round(float(hours[full]), 2)
            if trend is not None:
                summary["trend"] = trend
            cpu = columns.numbers.get(CPU)
            spark = None if standing is None else standing.summary.get("spark")
            if cpu is not None:
                for time, value in zip(times, cpu[first:place].tolist(), strict=True):
                    spark = advanced(spark, time, None if value != value else value)
                summary["spark"] = spark
            processes = next((tick.processes for tick in reversed(several) if tick.processes is not None), None)
            if processes is None and standing is not None:
                processes = standing.processes
            made = _Newest(
                plan.layout,
                last.boot_id,
                last.seq,
                last_ms,
                now_ms,
                raw[raw_rows[row]].copy(),
                starts.of(raw_rows[row]),
                summary,
                processes,
                trend,
            )
            newest.append((machine, plan.id, made))
            for rule in (CPU, MEMORY, DISK):
                if numbers.is_news(rule, number, last_ms, now_ms):
                    values = columns.numbers[rule][first:place].tolist()
                    self._judge(machine, rule, times, values, now_ms, judged, columns, first)
            if columns.mounts:
                left = math.inf if full is None else float(hours[full])
                where = None if full is None else columns.mounts[full]
                self._judge(machine, FORECAST, times[-1:], [left], now_ms, judged, None, 0, where)

    def _sensible(
        self,
        plan: _Plan,
        raw: Floats,
        groups: Sequence[_Group],
        rows: NDArray[np.bool_],
        refused: Counter[str],
    ) -> Floats:
        """Without what cannot be, counted by why."""
        wrong = (raw < plan.least) | (raw > plan.most)
        if not wrong.any():
            return raw
        infinite = np.isinf(raw) & wrong
        negative = np.zeros_like(wrong)
        negative[:, plan.counters] = (raw[:, plan.counters] < 0) & ~infinite[:, plan.counters]
        for reason, those in (("infinite", infinite), ("negative", negative), ("range", wrong & ~infinite & ~negative)):
            if number := int(those.sum()):
                refused[reason] += number
        of_row = wrong[rows].sum(axis=1)
        ends = np.cumsum([len(group.ticks) for group in groups])
        for group, number in zip(groups, np.add.reduceat(of_row, [0, *ends[:-1]]).tolist(), strict=True):
            group.machine.refused += number
        raw = raw.copy()
        raw[wrong] = np.nan
        return raw

    def _before(self, machine: _Machine, plan: _Plan) -> _Newest | None:
        """The vector that the next one of this layout is measured from. Where series have come or gone it is made of
        the last one in another layout, so that a disk that was put in costs no rate."""
        found = machine.newest.get(plan.id)
        if found is not None or not machine.newest:
            return found
        other = max(machine.newest.values(), key=lambda one: one.at_ms)
        raw = np.full(len(plan.layout), np.nan)
        starts = None if other.starts_ms is None else np.zeros(len(plan.layout), dtype=np.int64)
        for name, place in other.layout.places.items():
            there = plan.layout.places.get(name)
            if there is not None and plan.layout.series[there].kind == other.layout.series[place].kind:
                raw[there] = other.raw[place]
                if starts is not None and other.starts_ms is not None:
                    starts[there] = other.starts_ms[place]
        return _Newest(plan.layout, "", 0, other.at_ms, 0, raw, starts, {}, None, None)

    # ── judging ───────────────────────────────────────────────────────────────────────────────────

    def _judge(
        self,
        machine: _Machine,
        rule: str,
        times: Sequence[int],
        values: Sequence[float],
        now_ms: int,
        judged: list[_Judged],
        columns: Columns | None,
        first: int,
        where: str | None = None,
    ) -> None:
        """Ticks in their order; an outcome where the class changes, where a duration is over, and once in a while."""
        watch = machine.watches.setdefault(rule, _Watch(State()))
        band = machine.bands.measured.get(rule)
        key = StateKey(Subject(MACHINE, machine.row.id), rule, HEADLINE)
        if band is None:
            if watch.state.verdict is not Verdict.UNKNOWN:
                self._decided(machine, rule, Outcome(key, now_ms, Result.UNMEASURED, None, "not judged", None), judged)
            return
        due_ms = now_ms + AFRESH_MS + self._silent_ms(machine)
        last = len(values) - 1
        for index, (at_ms, value) in enumerate(zip(times, values, strict=True)):
            result = core_bands.classify(value, band, watch.state.verdict)
            if result is Result.UNMEASURED:
                continue
            afresh = index == last and now_ms >= watch.afresh_ms
            if result == watch.result and at_ms < watch.wake_ms and not afresh:
                continue
            if rule == DISK and columns is not None:
                where = columns.mounts[int(np.nanargmax(columns.shares[first + index]))]
            why = core_bands.words(rule, value, band, result, where=where)
            self._decided(machine, rule, Outcome(key, at_ms, result, None, why, due_ms), judged)

    def _judge_reporting(self, machine: _Machine, now_ms: int, judged: list[_Judged]) -> None:
        watch = machine.watches.setdefault(REPORTING, _Watch(State()))
        silent_s = machine.bands.silent_after_s
        key = StateKey(Subject(MACHINE, machine.row.id), REPORTING, HEADLINE)
        if silent_s is None:
            if watch.state.verdict is not Verdict.UNKNOWN:
                outcome = Outcome(key, now_ms, Result.UNMEASURED, None, "not judged", None)
                self._decided(machine, REPORTING, outcome, judged)
        elif now_ms >= watch.afresh_ms or watch.state.verdict is not Verdict.UP:
            silent_ms = round(silent_s * 1000)
            pace_ms = min(AFRESH_MS, silent_ms // 2)
            self._decided(
                machine, REPORTING, Outcome(key, now_ms, Result.PASSED, None, "", now_ms + silent_ms + pace_ms), judged
            )
            watch.afresh_ms = now_ms + pace_ms

    def _decided(self, machine: _Machine, rule: str, outcome: Outcome, judged: list[_Judged]) -> None:
        """Puts an outcome in line; how it will be decided is foreseen, because the next tick is classed by it."""
        watch = machine.watches[rule]
        policy = machine.policies.get(rule, _NOT_JUDGED)
        state, _ = decide(watch.state, outcome, policy, self._clock.now_ms())
        watch.state, watch.result = state, outcome.result
        watch.wake_ms = _wake_ms(state, policy)
        watch.afresh_ms = self._clock.now_ms() + AFRESH_MS
        judged.append(_Judged(machine, rule, Entry(outcome, policy)))

    def _settle(self, machine: _Machine, rule: str, state: State | None) -> None:
        if state is not None:
            watch = machine.watches[rule]
            watch.state = state
            watch.wake_ms = _wake_ms(state, machine.policies.get(rule, _NOT_JUDGED))

    def _silent_ms(self, machine: _Machine) -> int:
        silent_s = machine.bands.silent_after_s
        usual_s = core_bands.INTERVALS_OF_SILENCE * machine.row.every_ms / 1000
        return round(1000 * (usual_s if silent_s is None else silent_s))

    # ── what is kept in memory ────────────────────────────────────────────────────────────────────

    def _known(self, ids: Collection[int]) -> dict[int, _Machine]:
        """These machines, without those that are deleted."""
        now_s = self._clock.monotonic()
        if now_s - self._looked_at >= self._look_s or any(one not in self._rows for one in ids):
            self._look(now_s)
        missing = [one for one in ids if one in self._rows and one not in self._machines]
        if missing:
            with self._store.read() as conn:
                self._load(conn, missing)
        return {one: self._machines[one] for one in ids if one in self._machines}

    def _look(self, now_s: float) -> None:
        with self._store.read() as conn:
            rows = {row.id: row for row in machines.every(conn)}
            tag_bands = machines.tag_bands(conn)
        retagged = tag_bands != self._tag_bands
        self._tag_bands = tag_bands
        long_ago_ms = self._clock.now_ms() - FORGET_MS
        for machine_id, machine in list(self._machines.items()):
            row = rows.get(machine_id)
            if row is None or machine.heard_ms < long_ago_ms:
                del self._machines[machine_id]
            elif retagged or row != machine.row:
                self._set_row(machine, row)
        self._rows = rows
        # However many there are, looking takes a small part of the time.
        self._look_s = max(LOOK_MS / 1000, 20 * (self._clock.monotonic() - now_s))
        self._looked_at = self._clock.monotonic()

    def _set_row(self, machine: _Machine, row: MachineRow) -> None:
        machine.row = row
        machine.bands = self._bands(row)
        machine.policies = core_bands.policies(machine.bands)
        for watch in machine.watches.values():
            watch.afresh_ms = 0

    def _bands(self, row: MachineRow) -> Bands:
        layers = core_bands.layers_of(row.bands, row.tags, self._tag_bands)
        return core_bands.in_force(layers, every_ms=row.every_ms)

    def _load(self, conn: Connection, ids: Collection[int]) -> None:
        keys = [StateKey(Subject(MACHINE, one), rule, HEADLINE) for one in ids for rule in RULES]
        held = states.read_many(conn, keys)
        now_ms = self._clock.now_ms()
        for one in ids:
            row = self._rows[one]
            bands = self._bands(row)
            machine = _Machine(row, bands, core_bands.policies(bands), off_ms=row.clock_off_ms, heard_ms=now_ms)
            machine.off_noted_ms = row.clock_off_ms
            for rule in RULES:
                state = held[StateKey(Subject(MACHINE, one), rule, HEADLINE)]
                watch = _Watch(state, wake_ms=_wake_ms(state, machine.policies.get(rule, _NOT_JUDGED)))
                machine.watches[rule] = watch
            self._machines[one] = machine
        self._load_newest(conn, ids)
        for (machine_id, boot_id), seq in machines.boots(conn, ids).items():
            self._machines[machine_id].boots[boot_id] = seq

    def _load_newest(self, conn: Connection, ids: Collection[int]) -> None:
        rows = machines.now_of(conn, ids)
        layouts = samples.layouts(conn, {row.layout_id for row in rows})
        for one in ids:
            self._machines[one].newest = {}
        for row in rows:
            layout = layouts.get(row.layout_id)
            if layout is None or len(row.raw) != 8 * len(layout):
                continue
            found = _newest_of(row, layout)
            machine = self._machines[row.machine_id]
            machine.newest[row.layout_id] = found
            machine.layouts[id(layout)] = layout, row.received_ms

    def _reread_moved(
        self,
        conn: Connection,
        known: Mapping[int, _Machine],
        stored: Mapping[tuple[int, str], int],
        newest: Mapping[tuple[int, int], int],
    ) -> None:
        """Machines that another copy of the aggregator has heard of since. ``newest`` tells it of those that number
        nothing."""
        moved = {
            machine_id
            for (machine_id, boot_id), seq in stored.items()
            if machine_id in known and known[machine_id].boots.get(boot_id) != seq
        }
        for (machine_id, layout_id), seq in newest.items():
            if machine_id in known:
                held = known[machine_id].newest.get(layout_id)
                if held is None or held.seq != seq:
                    moved.add(machine_id)
        if moved:
            self._load_newest(conn, moved)
            for (machine_id, boot_id), seq in stored.items():
                if machine_id in moved:
                    known[machine_id].boots[boot_id] = seq

    def _plans_of(self, arrived: Sequence[Arrived]) -> dict[int, _Plan]:
        """By the identity of the layout as it came: equal ones are compared once."""
        distinct = {id(tick.layout): tick.layout for tick in arrived}
        found: dict[int, _Plan] = {}
        for identity, layout in distinct.items():
            found[identity] = self._plan(layout)
        return found

    def _number(self, conn: Connection, plans: Iterable[_Plan], now_ms: int) -> None:
        """The numbers of layouts; the keeper removes those nothing names, so they are not kept for ever."""
        fresh = [plan for plan in dict.fromkeys(plans) if not plan.id or now_ms - plan.id_since_ms >= FORGET_MS // 2]
        if fresh:
            for plan, number in zip(fresh, samples.layout_ids(conn, [one.layout for one in fresh]), strict=True):
                plan.id, plan.id_since_ms = number, now_ms

    def _boot_rows(
        self, moved: Mapping[tuple[int, str], int], arrived: Sequence[Arrived], known: Mapping[int, _Machine]
    ) -> list[tuple[int, str, int, int]]:
        last = {(tick.machine_id, tick.boot_id): tick.at_ms for tick in arrived}
        return [
            (machine_id, boot_id, seq, last[machine_id, boot_id] - known[machine_id].correction_ms)
            for (machine_id, boot_id), seq in moved.items()
        ]

    def _note(self, conn: Connection, several: Iterable[_Machine], now_ms: int) -> None:
        for machine in several:
            off = machine.off_ms != machine.off_noted_ms
            if (off or machine.refused) and now_ms - machine.noted_ms >= LOOK_MS:
                machines.note(
                    conn,
                    machine.row.id,
                    clock_off_ms=machine.off_ms if off else None,
                    refused_more=machine.refused,
                )
                machine.off_noted_ms, machine.refused, machine.noted_ms = machine.off_ms, 0, now_ms


_NOT_JUDGED: Final = Policy(1, 1, 1)


def _wake_ms(state: State, policy: Policy) -> float:
    """When a run will have lasted long enough to change the verdict."""
    wake_ms = math.inf
    if state.failures and state.verdict is not Verdict.DOWN:
        wake_ms = state.run_since_ms + policy.lasting_ms
    if state.warnings and state.verdict is Verdict.UP:
        wake_ms = min(wake_ms, state.pace_since_ms + policy.lasting_ms)
    return wake_ms


class _Numbers:
    """Which machines have something new to be judged by, found for all of a layout at once."""

    def __init__(self, columns: Columns, groups: Sequence[_Group]) -> None:
        self._groups = groups
        self._constant: dict[str, list[bool]] = {}
        sizes = [len(group.ticks) for group in groups]
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        for rule in (CPU, MEMORY, DISK):
            column = columns.numbers.get(rule)
            if column is None:
                continue
            limits = [_limits(group.machine, rule) for group in groups]
            warn, critical, result = (np.repeat(np.array(one), sizes) for one in zip(*limits, strict=True))
            classes = core_bands.classify_many(column, warn, critical)
            same = (classes == result) | np.isnan(column)
            self._constant[rule] = np.logical_and.reduceat(same, starts).tolist()

    def is_news(self, rule: str, number: int, last_ms: int, now_ms: int) -> bool:
        constant = self._constant.get(rule)
        if constant is None:
            return False
        watch = self._groups[number].machine.watches.get(rule)
        return not constant[number] or watch is None or last_ms >= watch.wake_ms or now_ms >= watch.afresh_ms


def _limits(machine: _Machine, rule: str) -> tuple[float, float, int]:
    """Thresholds, and the class that would be nothing new."""
    watch, band = machine.watches.get(rule), machine.bands.measured.get(rule)
    if watch is None or band is None:
        return math.inf, math.inf, -1
    return *band.thresholds(watch.state.verdict), int(watch.result)


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


def _forecast(
    standing: _Newest | None, columns: Columns, first: int, times: Sequence[int]
) -> tuple[Trend | None, Floats]:
    """How filesystems fill up, and the hours left."""
    size = len(columns.mounts)
    if not size:
        return None, np.empty(0)
    trend = None if standing is None else standing.trend
    for index, at_ms in enumerate(times):
        if trend is None or at_ms - trend.last_ms >= TREND_MS:
            trend = core_bands.follow(trend, at_ms, columns.shares[first + index])
    return trend, core_bands.hours_left(trend, columns.shares[first + len(times) - 1])


def _now_row(machine: _Machine, layout_id: int, one: _Newest) -> Now:
    return Now(
        machine.row.id,
        layout_id,
        one.boot_id,
        one.seq,
        one.at_ms,
        one.received_ms,
        one.raw.astype("<f8").tobytes(),
        b"" if one.starts_ms is None else one.starts_ms.astype("<i8").tobytes(),
        one.summary,
        one.processes,
    )


def _newest_of(row: Now, layout: Layout) -> _Newest:
    summary = dict(row.summary)
    trend = Trend.of(summary.get("trend"), len(View(layout).filesystems))
    starts = np.frombuffer(row.starts_ms, dtype="<i8").astype(np.int64) if row.starts_ms else None
    return _Newest(
        layout,
        row.boot_id,
        row.seq,
        row.at_ms,
        row.received_ms,
        np.frombuffer(row.raw, dtype="<f8").astype(np.float64),
        starts if starts is not None and len(starts) == len(layout) else None,
        summary,
        row.processes,
        trend,
    )


# ── what makes sense at all ───────────────────────────────────────────────────────────────────────────

LONGEST_NAME: Final = 200
LONGEST_TAG: Final = 60
MOST_TAGS: Final = 50
MOST_FACTS: Final = 100
LONGEST_FACT: Final = 1000
MOST_ATTRIBUTES: Final = 32
LONGEST_EVERY_MS: Final = DAY_MS
_HIDDEN: Final = frozenset({"Cc", "Zl", "Zp", "Cs"})
_REORDERING: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def plain(text: str, longest: int) -> str:
    """One line, without what cannot be seen or turns round what is beside it; cut to ``longest``."""
    if not text.isascii() or not text.isprintable():
        text = "".join(one for one in text if unicodedata.category(one) not in _HIDDEN and one not in _REORDERING)
    return text.strip()[:longest]


def _cleaned(said: Introduced) -> Introduced:
    """Who reports, as it is kept. Raises Refused where there is no way to tell who."""
    uid = plain(said.uid, LONGEST_NAME + 1)
    if not 1 <= len(uid) <= LONGEST_NAME or uid != said.uid:
        raise Refused("hello.machine_id", f"must have 1 to {LONGEST_NAME} visible characters and no space around them")
    if not 0 <= said.every_ms <= LONGEST_EVERY_MS:
        raise Refused("hello.every_ms", f"must be at most {LONGEST_EVERY_MS}")
    facts = {
        name: plain(value, LONGEST_FACT)
        for given, value in list(said.facts.items())[:MOST_FACTS]
        if (name := plain(given, 100))
    }
    tags = dict.fromkeys(tag for given in said.tags if (tag := plain(given, LONGEST_TAG)))
    return Introduced(
        uid,
        said.boot_id,
        plain(said.name, LONGEST_NAME) or uid,
        plain(said.version, 100),
        said.every_ms,
        facts,
        list(tags)[:MOST_TAGS],
    )


def _check_layout(layout: Layout) -> None:
    if not 1 <= len(layout) <= MOST_SERIES:
        raise Refused("layout.series", f"must be 1 to {MOST_SERIES:,}; these are {len(layout):,}")
    seen: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
    for place, one in enumerate(layout):
        where = f"layout.series[{place}]"
        if not 1 <= len(one.name) <= 255 or plain(one.name, 255) != one.name:
            raise Refused(f"{where}.name", "must have 1 to 255 visible characters")
        if len(one.attributes) > MOST_ATTRIBUTES:
            raise Refused(f"{where}.attributes", f"must be at most {MOST_ATTRIBUTES}")
        for name, value in one.attributes:
            if not name or len(name) > 255 or len(value) > 1024:
                raise Refused(
                    f"{where}.attributes", "must have names of up to 255 and values of up to 1,024 characters"
                )
        if len(one.unit) > 63:
            raise Refused(f"{where}.unit", "must have at most 63 characters")
        if (one.name, one.attributes) in seen:
            raise Refused(where, f"{one.label} comes twice")
        seen.add((one.name, one.attributes))


def policies_of(conn: Connection, machine_ids: Collection[int]) -> dict[int, Mapping[str, Policy]]:
    """How each of these machines that still exists is judged, by rule."""
    tag_bands = machines.tag_bands(conn)
    found: dict[int, Mapping[str, Policy]] = {}
    for row in machines.every(conn):
        if row.id in machine_ids:
            layers = core_bands.layers_of(row.bands, row.tags, tag_bands)
            found[row.id] = core_bands.policies(core_bands.in_force(layers, every_ms=row.every_ms))
    return found
