"""What is known of layouts and machines from one batch to the next.

Machines are read when they are first heard of, forgotten when they are silent for long, and read again where another
copy of the aggregator has moved them on. Nothing here is the truth: that is in the database.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from tocsin.core import bands as core_bands
from tocsin.core.bands import RULES, Bands, Trend
from tocsin.core.decide import Policy, State, Verdict
from tocsin.core.machine import View
from tocsin.core.outcome import HEADLINE, StateKey, Subject
from tocsin.core.samples import MACHINE, Layout
from tocsin.intake.arrived import Arrived
from tocsin.intake.sense import DAY_MS, check_layout, range_of
from tocsin.lib.clock import Clock
from tocsin.store import machines, samples, states
from tocsin.store.engine import Store
from tocsin.store.machines import MachineRow, Now

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FAR_OFF_MS: Final = 2000
"""A clock is put right from here on; what is less may as well be the way through the network."""
LIVE_MS: Final = 10_000
"""A tick that was sent so soon after it was made did not wait for others."""
STEADY_MS: Final = 250
"""The skew in force is let stand while it is this near to what is seen."""
SIGHTS: Final = 8
"""A clock is judged by this many of its last ticks: the one that took least time on its way is nearest the truth."""
LOOK_MS: Final = 5000
"""Machines and their bands are read again this often."""
FORGET_MS: Final = 3_600_000
"""Of a machine that was silent for so long nothing is kept, and a layout's number no longer than this."""
MOST_LAYOUTS: Final = 5000
NOT_JUDGED: Final = Policy(1, 1, 1)


class Plan:
    """What is known of a layout."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.view = View(layout)
        self.counters = np.array([place for place, one in enumerate(layout) if one.kind == "counter"], dtype=np.intp)
        self.least = np.array([range_of(one)[0] for one in layout])
        self.most = np.array([range_of(one)[1] for one in layout])
        self.id = 0
        self.id_since_ms = 0


@dataclass(slots=True)
class Newest:
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
    moved_ms: int
    """By how much its time is earlier than the machine said."""

    def is_before(self, boot_id: str, seq: int, at_ms: int) -> bool:
        return seq > self.seq if boot_id == self.boot_id else at_ms > self.at_ms

    def row(self, machine_id: int, layout_id: int) -> Now:
        return Now(
            machine_id,
            layout_id,
            self.boot_id,
            self.seq,
            self.at_ms,
            self.received_ms,
            self.raw.astype("<f8").tobytes(),
            b"" if self.starts_ms is None else self.starts_ms.astype("<i8").tobytes(),
            self.summary,
            self.processes,
        )

    def told_in(self, plan: Plan) -> Newest:
        """The same in another layout; what is not in both is not known."""
        raw = np.full(len(plan.layout), np.nan)
        starts = None if self.starts_ms is None else np.zeros(len(plan.layout), dtype=np.int64)
        for name, place in self.layout.places.items():
            there = plan.layout.places.get(name)
            if there is not None and plan.layout.series[there].kind == self.layout.series[place].kind:
                raw[there] = self.raw[place]
                if starts is not None and self.starts_ms is not None:
                    starts[there] = self.starts_ms[place]
        trend = self.trend
        if trend is not None:
            mounts = [one.mount for one in View(self.layout).filesystems]
            trend = trend.among(mounts, [one.mount for one in plan.view.filesystems])
        return replace(self, layout=plan.layout, raw=raw, starts_ms=starts, trend=trend)

    @classmethod
    def of(cls, row: Now, layout: Layout, moved_ms: int) -> Newest:
        summary = dict(row.summary)
        trend = Trend.of(summary.get("trend"), len(View(layout).filesystems))
        starts = np.frombuffer(row.starts_ms, dtype="<i8").astype(np.int64) if row.starts_ms else None
        return cls(
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
            moved_ms,
        )


@dataclass(slots=True)
class Watch:
    """How a rule of a machine stands, as far as this process knows."""

    state: State
    result: int = -1
    """Of the last outcome."""
    wake_ms: float = math.inf
    """A duration is over with the first tick from then on."""
    afresh_ms: int = 0
    """When an outcome is to be written even if it says nothing new."""

    def stand(self, state: State, policy: Policy) -> None:
        self.state = state
        # What comes after it was due is preceded by a silence, whether it says anything new or not.
        self.wake_ms = math.inf if state.due_ms is None else state.due_ms + 1
        if state.failures and state.verdict is not Verdict.DOWN:
            self.wake_ms = min(self.wake_ms, state.run_since_ms + policy.lasting_ms)
        if state.warnings and state.verdict is Verdict.UP:
            self.wake_ms = min(self.wake_ms, state.pace_since_ms + policy.lasting_ms)


@dataclass(slots=True)
class Machine:
    row: MachineRow
    bands: Bands
    policies: Mapping[str, Policy]
    newest: dict[int, Newest] = field(default_factory=dict)
    """By the number of the layout."""
    boots: dict[str, int] = field(default_factory=dict)
    watches: dict[str, Watch] = field(default_factory=dict)
    layouts: dict[int, tuple[Layout, int]] = field(default_factory=dict)
    """Those it uses, by their identity, with when it did last."""
    latest_ms: int = 0
    """No tick of it is stored with a time after this."""
    sure_ms: int | None = None
    """Where that is the end of a sealed hour, whose last tick may be earlier: of the last one outside of it."""
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
        if tick.sent_at_ms - tick.at_ms > LIVE_MS:
            return  # one of many that waited, and may have waited longer on the way
        self.sights.append(tick.received_ms - tick.sent_at_ms)
        off_ms = -min(self.sights)
        if abs(off_ms - self.off_ms) > STEADY_MS:
            self.off_ms = off_ms

    @property
    def correction_ms(self) -> int:
        return self.off_ms if abs(self.off_ms) > FAR_OFF_MS else 0

    def forget_before(self, long_ago_ms: int) -> None:
        """Layouts that it has not used since."""
        last = self._last()
        if len(self.layouts) > 1:
            self.layouts = {one: used for one, used in self.layouts.items() if used[1] >= long_ago_ms}
        if len(self.newest) > 1:
            self.newest = {
                one: newest
                for one, newest in self.newest.items()
                if newest.received_ms >= long_ago_ms or newest is last
            }

    def policy(self, rule: str) -> Policy:
        return self.policies.get(rule, NOT_JUDGED)

    def standing(self, plan: Plan) -> Newest | None:
        """What a tick of this layout has to be newer than. Where ticks are numbered there is one layout after the
        other; where they are not, several stand beside each other."""
        own = self.newest.get(plan.id)
        if own is not None and not own.boot_id:
            return own
        last = self._last()
        return own if last is None or not last.boot_id else last

    def before(self, plan: Plan) -> Newest | None:
        """What a tick of this layout goes on from. Where series have come or gone it is made of what was said in
        another layout, so that a disk that was put in costs the others no rate and no trend."""
        found = self.standing(plan) or self._last()
        return found if found is None or found.layout is plan.layout else found.told_in(plan)

    def _last(self) -> Newest | None:
        return max(self.newest.values(), key=lambda one: one.at_ms, default=None)


class Plans:
    """Layouts, each the one object for all that are equal. Safe to share between threads."""

    def __init__(self) -> None:
        self._plans: OrderedDict[Layout, Plan] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, layout: Layout) -> Plan:
        """Raises Refused."""
        with self._lock:
            plan = self._plans.get(layout)
            if plan is not None:
                self._plans.move_to_end(layout)
                return plan
        check_layout(layout)
        made = Plan(layout)
        with self._lock:
            plan = self._plans.setdefault(layout, made)
            while len(self._plans) > MOST_LAYOUTS:
                self._plans.popitem(last=False)
        return plan

    def known(self, arrived: Sequence[Arrived]) -> list[Plan]:
        """Of their layouts, without those nobody asked for before."""
        with self._lock:
            found = (self._plans.get(layout) for layout in {id(tick.layout): tick.layout for tick in arrived}.values())
            return [plan for plan in found if plan is not None]

    def of_all(self, arrived: Sequence[Arrived]) -> dict[int, Plan]:
        """By the identity of the layout as it came: equal ones are compared once."""
        distinct = {id(tick.layout): tick.layout for tick in arrived}
        return {identity: self.of(layout) for identity, layout in distinct.items()}


def forget_numbers(plans: Iterable[Plan]) -> None:
    """Of a transaction that came to nothing: what it numbered may not be there."""
    for plan in plans:
        plan.id = plan.id_since_ms = 0


def number(conn: Connection, plans: Iterable[Plan], now_ms: int) -> None:
    """The numbers of layouts; the keeper removes those nothing names, so they are not kept for ever."""
    fresh = [plan for plan in dict.fromkeys(plans) if not plan.id or now_ms - plan.id_since_ms >= FORGET_MS // 2]
    if fresh:
        for plan, given in zip(fresh, samples.layout_ids(conn, [one.layout for one in fresh]), strict=True):
            plan.id, plan.id_since_ms = given, now_ms


class Memory:
    """Machines. Its user sees to it that one thread is in it at a time."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._machines: dict[int, Machine] = {}
        self._rows: dict[int, MachineRow] = {}
        self._tag_bands: Mapping[str, Mapping[str, Any]] = {}
        self._looked_at = -math.inf
        self._look_s = LOOK_MS / 1000

    def exists(self, machine_id: int) -> bool:
        """Whether the machine was there when it was looked for last."""
        return machine_id in self._rows

    def registered(self, row: MachineRow) -> None:
        if self._rows.get(row.id) != row:
            self._rows[row.id] = row
            if (machine := self._machines.get(row.id)) is not None:
                self._set_row(machine, row)

    def forget(self, machine_ids: Iterable[int]) -> None:
        for machine_id in machine_ids:
            self._machines.pop(machine_id, None)

    def known(self, ids: Collection[int]) -> dict[int, Machine]:
        """These machines, without those that are deleted. Raises the store's errors."""
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
                continue
            machine.forget_before(self._clock.now_ms() - DAY_MS)
            if retagged or row != machine.row:
                self._set_row(machine, row)
        self._rows = rows
        # However many there are, looking takes a small part of the time.
        self._look_s = max(LOOK_MS / 1000, 20 * (self._clock.monotonic() - now_s))
        self._looked_at = self._clock.monotonic()

    def _set_row(self, machine: Machine, row: MachineRow) -> None:
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
            machine = Machine(row, bands, core_bands.policies(bands), off_ms=row.clock_off_ms, heard_ms=now_ms)
            machine.off_noted_ms = row.clock_off_ms
            for rule in RULES:
                watch = machine.watches[rule] = Watch(State())
                watch.stand(held[StateKey(Subject(MACHINE, one), rule, HEADLINE)], machine.policy(rule))
            self._machines[one] = machine
        self._load_newest(conn, ids)
        for (machine_id, boot_id), seq in machines.boots(conn, ids).items():
            self._machines[machine_id].boots[boot_id] = seq

    def _load_newest(self, conn: Connection, ids: Collection[int]) -> None:
        rows = machines.now_of(conn, ids)
        layouts = samples.layouts(conn, {row.layout_id for row in rows})
        for one in ids:
            self._machines[one].newest = {}
        for one, latest in samples.latest(conn, ids).items():
            self._machines[one].latest_ms, self._machines[one].sure_ms = latest
        for row in rows:
            layout = layouts.get(row.layout_id)
            if layout is None or len(row.raw) != 8 * len(layout):
                continue
            machine = self._machines[row.machine_id]
            found = Newest.of(row, layout, machine.correction_ms)
            machine.newest[row.layout_id] = found
            machine.layouts[id(layout)] = layout, row.received_ms

    def reread_moved(
        self,
        conn: Connection,
        known: Mapping[int, Machine],
        stored: Mapping[tuple[int, str], int],
        newest: Mapping[tuple[int, int], int],
    ) -> None:
        """Machines that another copy of the aggregator has heard of since. ``newest`` tells it of those that number
        nothing."""
        forgotten_ms = self._clock.now_ms() - DAY_MS
        moved = {
            machine_id
            for (machine_id, boot_id), seq in stored.items()
            if machine_id in known and known[machine_id].boots.get(boot_id) != seq
        }
        for (machine_id, layout_id), seq in newest.items():
            if machine_id in known:
                held = known[machine_id].newest.get(layout_id)
                if held is None and seq < forgotten_ms:  # their numbers are their times
                    continue
                if held is None or held.seq != seq:
                    moved.add(machine_id)
        if moved:
            self._load_newest(conn, moved)
            for (machine_id, boot_id), seq in stored.items():
                if machine_id in moved:
                    known[machine_id].boots[boot_id] = seq
