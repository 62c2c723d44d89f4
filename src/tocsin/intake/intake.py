"""The door: one batch after the other, each in one transaction."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from sqlalchemy import Connection

from tocsin.bus.base import Bus
from tocsin.core.bands import INTERVALS_OF_SILENCE
from tocsin.core.rollup import HOUR_MS
from tocsin.core.samples import Layout
from tocsin.intake.arrived import Arrived, IdentityInUse, Introduced, Refused
from tocsin.intake.batch import Batch, Group
from tocsin.intake.memory import LOOK_MS, Machine, Memory, Plan, Plans, forget_numbers, number
from tocsin.intake.sense import AHEAD_MS, DAY_MS, MOST_SERIES_OF_MACHINE, OLDEST_MS, cleaned
from tocsin.lib import metrics
from tocsin.lib.clock import Clock
from tocsin.lib.log import get_logger
from tocsin.pipeline import Pipeline
from tocsin.store import leases, machines, samples
from tocsin.store.engine import Store
from tocsin.store.machines import MachineRow

LISTENING: Final = "intake"
"""The lease of whoever takes samples: while nobody does, silence says nothing about machines."""
LISTENING_MS: Final = 10_000
REWOUND_MS: Final = 60_000
"""A tick with an old number that is so much newer than the last one is no repetition."""

ROOM_MS: Final = 1000
"""A tick finds a time of its own within this: nobody's clock is set back so often to the same moment."""

Groups = dict[Plan, dict[int, Group]]
"""By layout and machine."""
Place = tuple[Group, int]
"""Of a tick in its group."""

log = get_logger("intake")


class Intake:
    """Safe to share between threads: one batch is written at a time."""

    def __init__(self, store: Store, pipeline: Pipeline, bus: Bus, clock: Clock) -> None:
        self._store = store
        self._pipeline = pipeline
        self._bus = bus
        self._clock = clock
        self._lock = threading.Lock()
        self._plans = Plans()
        self._memory = Memory(store, clock)
        self._holder = f"{id(self):x}-{clock.now_ms():x}"

    # ── who reports, and what ─────────────────────────────────────────────────────────────────────

    def register(self, introduced: Introduced, key_id: int | None) -> MachineRow:
        """The machine that reports, made where it is new. Blocks; raises Refused, IdentityInUse and the store's
        errors."""
        said = cleaned(introduced)
        now_ms = self._clock.now_ms()
        with self._store.write() as conn:
            known = machines.by_uid(conn, said.uid)
            if known is not None and said.boot_id:
                silent_ms = INTERVALS_OF_SILENCE * (said.every_ms or known.every_ms)
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
            self._memory.registered(row)
        return row

    def intern(self, layout: Layout) -> Layout:
        """The one object for every layout with these series, checked. Raises Refused."""
        return self._plans.of(layout).layout

    def admit(self, machine_id: int, layout: Layout) -> None:
        """To be asked before a machine uses a layout. Raises Refused when it has too many series, and the store's
        errors."""
        with self._lock:
            machine = self._memory.known([machine_id]).get(machine_id)
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
        return self._memory.exists(machine_id)

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
                self._memory.forget({tick.machine_id for tick in arrived})
                forget_numbers(self._plans.known(arrived))
                raise

    def _write(self, arrived: Sequence[Arrived]) -> Mapping[tuple[int, str], int]:
        now_ms = self._clock.now_ms()
        ids = {tick.machine_id for tick in arrived}
        known = self._memory.known(ids)
        plans = self._plans.of_all(arrived)
        batch = Batch(now_ms)
        judge = batch.judge
        with self._store.write() as conn:
            number(conn, plans.values(), now_ms)
            stored = machines.boots(conn, ids)
            unnumbered = {tick.machine_id for tick in arrived if not tick.boot_id}
            newest_seqs = machines.newest_seqs(conn, unnumbered) if unnumbered else {}
            self._memory.reread_moved(conn, known, stored, newest_seqs)
            _rewind(conn, arrived, known, stored)
            _look_closer(conn, arrived, known)
            groups, acked, doubtful = _sorted_out(arrived, plans, known, stored, batch, now_ms)
            if doubtful:
                _keep_apart(conn, known, doubtful, groups)
            for plan, of_plan in groups.items():
                batch.take(plan, list(of_plan.values()))
            heard_of = {machine_id: known[machine_id] for of_plan in groups.values() for machine_id in of_plan}
            for machine in heard_of.values():
                judge.reporting(machine)
            samples.insert_many(conn, batch.ticks)
            machines.write_now(conn, [one.row(machine.row.id, layout_id) for machine, layout_id, one in batch.newest])
            moved = {key: seq for key, seq in acked.items() if stored.get(key) != seq}
            machines.write_boots(conn, _boot_rows(moved, arrived, known))
            _note(conn, known.values(), now_ms)
            settled, changed = self._pipeline.write_within(conn, [one.entry for one in judge.cases])
        for machine, layout_id, one in batch.newest:
            machine.newest[layout_id] = one
        for (machine_id, boot_id), seq in moved.items():
            known[machine_id].boots[boot_id] = seq
        judge.settle(dict(settled))
        metrics.TICKS_TAKEN.inc(len(batch.ticks))
        for reason, values in batch.refused.items():
            metrics.VALUES_REFUSED.labels(reason).inc(values)
        if judge.cases:
            self._pipeline.ring(changed, settled)
        self._bus.ring("machines")
        return acked


def _sorted_out(
    arrived: Sequence[Arrived],
    plans: Mapping[int, Plan],
    known: Mapping[int, Machine],
    stored: Mapping[tuple[int, str], int],
    batch: Batch,
    now_ms: int,
) -> tuple[Groups, dict[tuple[int, str], int], dict[int, list[Place]]]:
    """What is new and of a time that makes sense; what will be known of each boot; and of each machine those ticks that
    may be of the time of another one."""
    latest_ms, oldest_ms = now_ms + AHEAD_MS, now_ms - OLDEST_MS
    acked: dict[tuple[int, str], int] = {}
    groups: Groups = defaultdict(dict)
    doubtful: dict[int, list[Place]] = defaultdict(list)
    for tick in arrived:
        machine = known.get(tick.machine_id)
        if machine is None:
            batch.refused["deleted"] += 1
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
            batch.refused["time"] += 1
            machine.refused += 1
            continue
        machine.heard_ms = now_ms
        plan = plans[id(tick.layout)]
        of_plan = groups[plan]
        group = of_plan.get(tick.machine_id)
        if group is None:
            group = of_plan[tick.machine_id] = Group(machine, [], [])
            machine.layouts[id(plan.layout)] = plan.layout, now_ms
        at_ms -= machine.correction_ms
        if at_ms > machine.latest_ms:
            machine.latest_ms, machine.sure_ms = at_ms, None
        elif tick.boot_id:
            doubtful[tick.machine_id].append((group, len(group.ticks)))
        group.ticks.append(tick)
        group.at_ms.append(at_ms)
    return groups, acked, doubtful


def _look_closer(conn: Connection, arrived: Sequence[Arrived], known: Mapping[int, Machine]) -> None:
    """Where ticks come for an hour that is sealed, finds out when its last one was."""
    rough = {one: machine for one, machine in known.items() if machine.sure_ms is not None}
    if not rough:
        return
    ends_ms = {
        tick.machine_id: machine.latest_ms
        for tick in arrived
        if (machine := rough.get(tick.machine_id)) and tick.at_ms - machine.correction_ms <= machine.latest_ms
    }
    if ends_ms:
        lasts_ms = samples.last_sealed(conn, ends_ms)
        for machine_id in ends_ms:
            machine = rough[machine_id]
            machine.latest_ms = max(lasts_ms.get(machine_id, 0), machine.sure_ms or 0)
            machine.sure_ms = None


def _keep_apart(
    conn: Connection, known: Mapping[int, Machine], doubtful: Mapping[int, Sequence[Place]], groups: Groups
) -> None:
    """Gives each tick a time of its own, later by as many milliseconds as it takes. By its number it is a new one; one
    of the same time is another, from before the clock was set back or judged to be so much ahead."""
    alike: dict[tuple[int, int], list[int]] = defaultdict(list)
    for machine_id, places in doubtful.items():
        times = [group.at_ms[index] for group, index in places]
        alike[min(times) // HOUR_MS, (max(times) + ROOM_MS) // HOUR_MS].append(machine_id)
    for (first, last), machine_ids in alike.items():
        stored = samples.times(conn, machine_ids, first * HOUR_MS, (last + 1) * HOUR_MS)
        for machine_id, taken in stored.items():
            places = doubtful[machine_id]
            own = {(id(group), index) for group, index in places}
            for of_plan in groups.values():
                group = of_plan.get(machine_id)
                if group is not None:
                    taken.update(at_ms for index, at_ms in enumerate(group.at_ms) if (id(group), index) not in own)
            for group, index in places:
                while group.at_ms[index] in taken:
                    group.at_ms[index] += 1
                taken.add(group.at_ms[index])
                known[machine_id].latest_ms = max(known[machine_id].latest_ms, group.at_ms[index])


def _rewind(
    conn: Connection,
    arrived: Sequence[Arrived],
    known: Mapping[int, Machine],
    stored: dict[tuple[int, str], int],
) -> None:
    """A boot whose numbers went back while its clock went on: a virtual machine that was put back to a snapshot of its
    memory. Its numbers begin anew with the first of those ticks."""
    doubtful: dict[tuple[int, str], list[Arrived]] = defaultdict(list)
    for tick in arrived:
        key = tick.machine_id, tick.boot_id
        if tick.boot_id and tick.seq <= stored.get(key, -1) and tick.machine_id in known:
            doubtful[key].append(tick)
    for (machine_id, boot_id), ticks in doubtful.items():
        machine = known[machine_id]
        for tick in ticks:
            before_ms = tick.at_ms - machine.correction_ms - REWOUND_MS
            if machines.rewind(conn, machine_id, boot_id, before_ms=before_ms):
                stored[machine_id, boot_id] = tick.seq - 1
                for newest in machine.newest.values():
                    if newest.boot_id == boot_id:
                        newest.seq = -1
                log.warning("a machine was put back to a snapshot", machine=machine.row.name, boot_id=boot_id)
                break


def _boot_rows(
    moved: Mapping[tuple[int, str], int], arrived: Sequence[Arrived], known: Mapping[int, Machine]
) -> list[tuple[int, str, int, int]]:
    last = {(tick.machine_id, tick.boot_id): tick.at_ms for tick in arrived}
    return [
        (machine_id, boot_id, seq, last[machine_id, boot_id] - known[machine_id].correction_ms)
        for (machine_id, boot_id), seq in moved.items()
    ]


def _note(conn: Connection, several: Iterable[Machine], now_ms: int) -> None:
    """In one order, so that nobody waits for another in a circle."""
    for machine in sorted(several, key=lambda one: one.row.id):
        off = machine.off_ms != machine.off_noted_ms
        if (off or machine.refused) and now_ms - machine.noted_ms >= LOOK_MS:
            machines.note(
                conn,
                machine.row.id,
                clock_off_ms=machine.off_ms if off else None,
                refused_more=machine.refused,
            )
            machine.off_noted_ms, machine.refused, machine.noted_ms = machine.off_ms, 0, now_ms
