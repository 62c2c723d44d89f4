"""What a live view knows: how every target and every machine stands, and which changes its watchers were told.

Two sources meet here. The database is the truth; what is handed round by the bus is sooner and may be incomplete, late
or twice. Pure: reads no store and no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from tocsin.bus.base import Current
from tocsin.catalog import machines
from tocsin.core.decide import State
from tocsin.core.outcome import HEADLINE, REACHABLE, StateKey
from tocsin.core.samples import MACHINE
from tocsin.core.target import TARGET
from tocsin.store.machines import MachineRow, Newest
from tocsin.store.targets import Standing

LONGEST_TRANSACTION_S: Final = 60.0
"""A transaction that stores transitions takes milliseconds; one that hangs is cut off after 30 s."""
BEFORE_THE_FIRST: Final = 1000
"""How many numbers back transactions may be open that began before the first look."""


class Moved(NamedTuple):
    """The ids of the targets, or of the machines, that stand otherwise than before, or are there no more."""

    changed: set[int]
    removed: set[int]

    def then(self, later: Moved) -> Moved:
        """Both, one after the other."""
        return Moved((self.changed | later.changed) - later.removed, self.removed | later.removed)


NOT_MOVED: Final = Moved(set(), set())


class Picture:
    """How every live target stands, by id."""

    def __init__(self, standings: Iterable[Standing]) -> None:
        self.standings = {standing.id: standing for standing in standings}

    def replace(self, standings: Iterable[Standing], among: Collection[int] | None = None) -> Moved:
        """Takes over what the database says of the targets ``among`` (None: of all); one it does not name is gone."""
        before = self.standings
        now = {standing.id: standing for standing in standings}
        looked = before.keys() if among is None else before.keys() & set(among)
        moved = Moved({key for key, standing in now.items() if before.get(key) != standing}, looked - now.keys())
        for key in moved.removed:
            del before[key]
        before.update(now)
        return moved

    def merge(self, states: Mapping[StateKey, Current]) -> Moved:
        """Puts in what was handed round, where it is newer. Targets it does not know stay unknown: only the database
        says which there are."""
        changed: set[int] = set()
        for key, state in states.items():
            if key.subject.kind != TARGET or key.rule != REACHABLE:
                continue
            before = self.standings.get(key.subject.id)
            if before is None:
                continue
            after = before
            if key.location_id == HEADLINE and state.since_ms >= before.since_ms:
                after = after._replace(verdict=state.verdict.value, since_ms=state.since_ms, reason=state.reason)
            if state.last_at_ms > before.last_at_ms:
                after = after._replace(last_at_ms=state.last_at_ms, last_latency_us=state.last_latency_us)
            if after != before:
                self.standings[before.id] = after
                changed.add(before.id)
        return Moved(changed, set())


class MachineLook(NamedTuple):
    """What the database says of the machines ``among`` (None: of all): their states and their newest ticks.

    ``rows`` are those of them that were ``registered`` or changed by somebody; one that was and has no row is there no
    more.
    """

    among: Collection[int] | None
    registered: Collection[int] | None
    rows: Sequence[MachineRow]
    tag_bands: Mapping[str, Mapping[str, Any]]
    states: Mapping[int, Mapping[str, State]]
    newest: Sequence[Newest]


class _Machine(NamedTuple):
    name: str
    created_ms: int
    judged: frozenset[str]
    states: Mapping[str, State]
    newest: Sequence[Newest]

    def standing(self, machine_id: int) -> machines.Standing:
        return machines.headline(
            machine_id=machine_id,
            name=self.name,
            created_ms=self.created_ms,
            states=self.states,
            judged=self.judged,
            newest=self.newest,
        )


class MachinePicture:
    """How every machine stands, by id."""

    def __init__(self) -> None:
        self.standings: dict[int, machines.Standing] = {}
        self._known: dict[int, _Machine] = {}

    def replace(self, look: MachineLook) -> Moved:
        """Takes over what the database says.

        A look at states may be overtaken by what was handed round: of a state the one with the later outcome stays, but
        in a look at all machines.
        """
        rows = {row.id: row for row in look.rows}
        looked = self._known.keys() if look.registered is None else self._known.keys() & set(look.registered)
        removed = looked - rows.keys()
        for key in removed:
            del self._known[key], self.standings[key]
        newest: dict[int, list[Newest]] = {}
        for one in look.newest:
            newest.setdefault(one.machine_id, []).append(one)
        judge = machines.Judge(look.tag_bands)
        changed = set()
        for key in rows.keys() | (self._known.keys() if look.among is None else self._known.keys() & set(look.among)):
            before = self._known.get(key)
            states = look.states.get(key, {})
            if before is not None and look.among is not None:
                states = {rule: _later(before.states.get(rule), state) for rule, state in states.items()}
            row = rows.get(key)
            if row is not None:
                after = _Machine(row.name, row.created_ms, judge.of(row).rules, states, newest.get(key, ()))
            else:
                assert before is not None
                after = before._replace(states=states, newest=newest.get(key, ()))
            if self._put(key, after):
                changed.add(key)
        return Moved(changed, removed)

    def merge(self, states: Mapping[StateKey, Current]) -> Moved:
        """Puts in what was handed round, where it is newer. Machines it does not know stay unknown."""
        changed: set[int] = set()
        for key, current in states.items():
            if key.subject.kind != MACHINE or key.location_id != HEADLINE:
                continue
            before = self._known.get(key.subject.id)
            if before is None:
                continue
            state = State(current.verdict, current.since_ms, current.reason, last_at_ms=current.last_at_ms)
            after = before._replace(states={**before.states, key.rule: _later(before.states.get(key.rule), state)})
            if self._put(key.subject.id, after):
                changed.add(key.subject.id)
        return Moved(changed, set())

    def _put(self, machine_id: int, machine: _Machine) -> bool:
        """Whether it stands otherwise than before."""
        self._known[machine_id] = machine
        standing = machine.standing(machine_id)
        if self.standings.get(machine_id) == standing:
            return False
        self.standings[machine_id] = standing
        return True


def _later(one: State | None, other: State) -> State:
    return other if one is None or other.last_at_ms >= one.last_at_ms else one


class Told:
    """Which transitions were told, by number.

    Numbers are given out in order and become visible in any: of two transactions the later may commit first. So each
    look goes back to what was the newest number a transaction's longest life ago, and leaves out what it knows.
    """

    def __init__(self, newest_id: int) -> None:
        self.floor = max(0, newest_id - BEFORE_THE_FIRST)
        """Nothing new appears up to this number."""
        self._newest = newest_id
        self._ids: set[int] = set()
        self._marks: deque[tuple[float, int]] = deque()

    def new(self, ids: Iterable[int]) -> list[int]:
        """Those of these that were not told yet, in their order."""
        return [number for number in ids if number not in self._ids]

    def remember(self, ids: Collection[int], now_s: float) -> None:
        """``ids`` are all that were visible above the floor to a look that began at ``now_s``."""
        self._newest = max(self._newest, *ids) if ids else self._newest
        self._marks.append((now_s, self._newest))
        while self._marks[0][0] <= now_s - LONGEST_TRANSACTION_S:
            _, self.floor = self._marks.popleft()
        self._ids = {number for number in ids if number > self.floor}
