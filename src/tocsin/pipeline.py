"""The one door through which verdicts are written.

Outcomes go in; in one transaction the states they concern are read, decided and stored, together with the checks,
the evidence and the transitions. There is no second path. Knows no probe, no schedule and nobody to tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from tocsin.bus.base import Bus
from tocsin.core.decide import Policy, State, Transition, decide, hold, release
from tocsin.core.outcome import Outcome, StateKey
from tocsin.lib import metrics
from tocsin.lib.clock import Clock
from tocsin.store import certificates, checks, evidence, states, transitions
from tocsin.store.certificates import Chain
from tocsin.store.checks import CheckRow
from tocsin.store.engine import Store


class Entry(NamedTuple):
    """One outcome, and what is kept beside it. ``evidence`` is kept under the check's own key."""

    outcome: Outcome
    policy: Policy
    check: CheckRow | None = None
    evidence: Mapping[str, object] | None = None
    chain: Chain | None = None
    """The certificates that were seen, when they are others than before."""


class Settled(NamedTuple):
    """How a state stands after a write."""

    key: StateKey
    state: State


class Pipeline:
    def __init__(self, store: Store, bus: Bus, clock: Clock) -> None:
        self._store = store
        self._bus = bus
        self._clock = clock

    def write(self, entries: Sequence[Entry]) -> list[Settled]:
        """Stores a batch, all or nothing, and rings the bus. Blocks; raises the store's errors.

        Writing the same batch again changes nothing: its checks are there already and its outcomes are late.
        """
        with self._store.write() as conn:
            settled, changed = self.write_within(conn, entries)
        self.ring(changed)
        return settled

    def write_within(self, conn: Connection, entries: Sequence[Entry]) -> tuple[list[Settled], list[Transition]]:
        """The same, as part of the caller's transaction; the caller rings once it is committed."""
        now_ms = self._clock.now_ms()
        keys = {entry.outcome.key for entry in entries}
        held = states.read_many(conn, keys)
        changed: list[Transition] = []
        for entry in entries:
            key = entry.outcome.key
            state, changes = decide(held.get(key, _NEW), entry.outcome, entry.policy, now_ms)
            held[key] = state
            if changes:
                changed += changes
        settled = [Settled(key, held[key]) for key in keys]
        rows = [entry.check for entry in entries if entry.check is not None]
        if rows:
            checks.insert_many(conn, rows)
        seen = [
            ((check.target_id, check.at_ms, check.location_id), entry.evidence)
            for entry in entries
            if (check := entry.check) is not None and entry.evidence is not None
        ]
        if seen:
            evidence.insert_many(conn, seen)
        certificates.put_many(conn, [entry.chain for entry in entries if entry.chain is not None])
        self._keep(conn, settled, changed, now_ms)
        return settled, changed

    def hold(self, conn: Connection, keys: Sequence[StateKey], reason: str) -> list[Transition]:
        """Pauses subjects within the caller's transaction: unknown from now on, deaf until released."""
        now_ms = self._clock.now_ms()
        return self._turn(conn, keys, lambda key, state: hold(key, state, reason, now_ms), now_ms)

    def release(self, conn: Connection, keys: Sequence[StateKey]) -> None:
        """Resumes subjects within the caller's transaction: unknown until the next outcome."""
        self._turn(conn, keys, lambda _, state: (release(state), []), self._clock.now_ms())

    def ring(self, changed: Sequence[Transition]) -> None:
        """To be called after the commit, with what changed."""
        self._bus.ring("checks")
        if changed:
            self._bus.ring("transitions")
        for transition in changed:
            metrics.TRANSITIONS.labels(transition.after.value).inc()

    def _turn(
        self,
        conn: Connection,
        keys: Sequence[StateKey],
        turn: Callable[[StateKey, State], tuple[State, list[Transition]]],
        now_ms: int,
    ) -> list[Transition]:
        held = states.read_many(conn, keys)
        settled: list[Settled] = []
        changed: list[Transition] = []
        for key in keys:
            state, changes = turn(key, held.get(key, _NEW))
            settled.append(Settled(key, state))
            changed += changes
        self._keep(conn, settled, changed, now_ms)
        return changed

    def _keep(self, conn: Connection, settled: Sequence[Settled], changed: Sequence[Transition], now_ms: int) -> None:
        states.write_many(conn, settled)
        if changed:
            transitions.insert_many(conn, changed, now_ms)


_NEW = State()
