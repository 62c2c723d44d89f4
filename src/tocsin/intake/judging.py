"""From the numbers of a batch to outcomes: where a class changes, where a duration is over, and once in a while."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from sqlalchemy import Connection

from tocsin.core import bands as core_bands
from tocsin.core.bands import CPU, DISK, MEMORY, REPORTING
from tocsin.core.decide import Policy, State, Verdict, decide
from tocsin.core.machine import Columns
from tocsin.core.outcome import HEADLINE, Outcome, Result, StateKey, Subject
from tocsin.core.samples import MACHINE
from tocsin.intake.memory import Machine, Watch
from tocsin.pipeline import Entry
from tocsin.store import machines

AFRESH_MS: Final = 30_000
"""An outcome that says nothing new is written this seldom."""
LONGEST_PACE_MS: Final = 3_600_000
"""What comes more seldom than this is taken for a pause and not for a pace."""


class Case(NamedTuple):
    machine: Machine
    rule: str
    entry: Entry


class Judge:
    """Of one batch. What it finds lies in ``cases``."""

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms
        self.cases: list[Case] = []

    def measured(
        self,
        machine: Machine,
        rule: str,
        times: Sequence[int],
        values: Sequence[float],
        *,
        columns: Columns | None = None,
        first: int = 0,
        where: str | None = None,
        pace_ms: int = 0,
    ) -> None:
        """Ticks in their order, each with its number; ``columns`` from their row ``first`` on, or ``where``, tell which
        filesystem it is about. ``pace_ms``: so far apart they are. What a clock that is ahead dates into the future is
        judged as of now."""
        watch = machine.watches.setdefault(rule, Watch(State()))
        band = machine.bands.measured.get(rule)
        if band is None:
            self._not_judged(machine, rule, watch)
            return
        usual_ms = core_bands.INTERVALS_OF_SILENCE * min(pace_ms, LONGEST_PACE_MS)
        due_ms = self._now_ms + AFRESH_MS + max(_silent_ms(machine), usual_ms)
        last = len(values) - 1
        for index, (dated_ms, value) in enumerate(zip(times, values, strict=True)):
            at_ms = min(dated_ms, self._now_ms)
            result = core_bands.classify(value, band, watch.state.verdict)
            if result is Result.UNMEASURED:
                continue
            afresh = index == last and self._now_ms >= watch.afresh_ms
            if result == watch.result and at_ms < watch.wake_ms and not afresh:
                continue
            if rule == DISK and columns is not None:
                where = columns.mounts[int(np.nanargmax(columns.shares[first + index]))]
            why = core_bands.words(rule, value, band, result, where=where)
            self._decided(machine, rule, Outcome(_key(machine, rule), at_ms, result, None, why, due_ms))

    def reporting(self, machine: Machine) -> None:
        """It was heard of."""
        watch = machine.watches.setdefault(REPORTING, Watch(State()))
        silent_s = machine.bands.silent_after_s
        if silent_s is None:
            self._not_judged(machine, REPORTING, watch)
        elif self._now_ms >= watch.afresh_ms or watch.state.verdict is not Verdict.UP:
            silent_ms = round(silent_s * 1000)
            pace_ms = min(AFRESH_MS, silent_ms // 2)
            due_ms = self._now_ms + silent_ms + pace_ms
            outcome = Outcome(_key(machine, REPORTING), self._now_ms, Result.PASSED, None, "", due_ms)
            self._decided(machine, REPORTING, outcome)
            watch.afresh_ms = self._now_ms + pace_ms

    def settle(self, settled: Mapping[StateKey, State]) -> None:
        """Takes over how the cases were decided."""
        for case in self.cases:
            state = settled.get(case.entry.outcome.key)
            if state is not None:
                case.machine.watches[case.rule].stand(state, case.machine.policy(case.rule))

    def _not_judged(self, machine: Machine, rule: str, watch: Watch) -> None:
        if watch.state.verdict is not Verdict.UNKNOWN:
            outcome = Outcome(_key(machine, rule), self._now_ms, Result.UNMEASURED, None, "not judged", None)
            self._decided(machine, rule, outcome)

    def _decided(self, machine: Machine, rule: str, outcome: Outcome) -> None:
        """Puts an outcome in line; how it will be decided is foreseen, because the next tick is classed by it."""
        watch, policy = machine.watches[rule], machine.policy(rule)
        state, _ = decide(watch.state, outcome, policy, self._now_ms)
        watch.stand(state, policy)
        watch.result = outcome.result
        watch.afresh_ms = self._now_ms + AFRESH_MS
        self.cases.append(Case(machine, rule, Entry(outcome, policy)))


class News:
    """Which machines have something new to be judged by, found for all of a layout at once. ``sizes``: how many rows of
    the columns belong to each machine."""

    def __init__(self, columns: Columns, several: Sequence[Machine], sizes: Sequence[int]) -> None:
        self._machines = several
        self._constant: dict[str, list[bool]] = {}
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        for rule in (CPU, MEMORY, DISK):
            column = columns.numbers.get(rule)
            if column is None:
                continue
            limits = [_limits(machine, rule) for machine in several]
            warn, critical, result = (np.repeat(np.array(one), sizes) for one in zip(*limits, strict=True))
            classes = core_bands.classify_many(column, warn, critical)
            same = (classes == result) | np.isnan(column)
            self._constant[rule] = np.logical_and.reduceat(same, starts).tolist()

    def is_of(self, rule: str, number: int, last_ms: int, now_ms: int) -> bool:
        """Whether the machine with this place among ``several`` is to be judged by the rule."""
        constant = self._constant.get(rule)
        if constant is None:
            return False
        watch = self._machines[number].watches.get(rule)
        at_ms = min(last_ms, now_ms)
        return not constant[number] or watch is None or at_ms >= watch.wake_ms or now_ms >= watch.afresh_ms


def _limits(machine: Machine, rule: str) -> tuple[float, float, int]:
    """Thresholds, and the class that would be nothing new."""
    watch, band = machine.watches.get(rule), machine.bands.measured.get(rule)
    if watch is None or band is None:
        return math.inf, math.inf, -1
    return *band.thresholds(watch.state.verdict), int(watch.result)


def _key(machine: Machine, rule: str) -> StateKey:
    return StateKey(Subject(MACHINE, machine.row.id), rule, HEADLINE)


def _silent_ms(machine: Machine) -> int:
    silent_s = machine.bands.silent_after_s
    usual_s = core_bands.INTERVALS_OF_SILENCE * machine.row.every_ms / 1000
    return round(1000 * (usual_s if silent_s is None else silent_s))


def policies_of(conn: Connection, machine_ids: Collection[int]) -> dict[int, Mapping[str, Policy]]:
    """How each of these machines that still exists is judged, by rule."""
    tag_bands = machines.tag_bands(conn)
    found: dict[int, Mapping[str, Policy]] = {}
    for row in machines.every(conn):
        if row.id in machine_ids:
            layers = core_bands.layers_of(row.bands, row.tags, tag_bands)
            found[row.id] = core_bands.policies(core_bands.in_force(layers, every_ms=row.every_ms))
    return found
