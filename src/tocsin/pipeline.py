"""The one door through which verdicts are written.

Outcomes go in; in one transaction the states they concern are read, decided and stored, together with the checks,
the evidence and the transitions. There is no second path. Knows no probe, no schedule and nobody to tell.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from tocsin.bus.base import Bus
from tocsin.core.decide import Policy, Quorum, State, Transition, decide, hold, release
from tocsin.core.outcome import HEADLINE, Outcome, StateKey
from tocsin.core.quorum import Vote, combine
from tocsin.core.shards import shard_of
from tocsin.lib import metrics
from tocsin.lib.clock import Clock
from tocsin.store import certificates, checks, evidence, shards, states, targets, transitions
from tocsin.store.certificates import Chain
from tocsin.store.checks import CheckRow
from tocsin.store.engine import Store
from tocsin.store.shards import Fence


class Entry(NamedTuple):
    """One outcome, and what is kept beside it. ``evidence`` is kept under the check's own key."""

    outcome: Outcome
    policy: Policy
    check: CheckRow | None = None
    evidence: Mapping[str, object] | None = None
    chain: Chain | None = None
    """The certificates that were seen, when they are others than before."""
    epoch: int = 0
    """Of the lease on the target's shard under which it was made; for those who write behind a fence."""


class Settled(NamedTuple):
    """How a state stands after a write."""

    key: StateKey
    state: State


class _Count(NamedTuple):
    """Why a headline is to be counted: a location that votes anew (None: none does), with the change of verdict that
    made it (None: it gives another reason). ``quorum`` counts where the subject itself asks for none."""

    vote: Vote | None
    cause: Transition | None
    quorum: Quorum


class Pipeline:
    def __init__(self, store: Store, bus: Bus, clock: Clock) -> None:
        self._store = store
        self._bus = bus
        self._clock = clock

    def write(self, entries: Sequence[Entry], fence: Fence | None = None) -> list[Settled]:
        """Stores a batch, all or nothing, and rings the bus. Blocks; raises the store's errors.

        Writing the same batch again changes nothing: its checks are there already and its outcomes are late.
        Behind a ``fence``, what was measured under a lease that is lost moves no verdict. Its checks are kept as
        history, where nobody else has recorded the slot; not its evidence, which would lie beside that other's check.
        Yields the states that were decided: those of the locations, and headlines only where an outcome was for one.
        """
        with self._store.write() as conn:
            valid = entries if fence is None else _within_lease(entries, shards.epochs(conn, fence))
            settled, counted, changed = self._record(conn, valid, entries)
        if len(valid) < len(entries):
            metrics.RESULTS_FENCED.inc(len(entries) - len(valid))
        self.ring(changed, [*settled, *counted])
        return settled

    def write_within(self, conn: Connection, entries: Sequence[Entry]) -> tuple[list[Settled], list[Transition]]:
        """The same without a fence, as part of the caller's transaction; the caller rings once it is committed.
        Yields every state that was written, and what changed."""
        settled, counted, changed = self._record(conn, entries, entries)
        return [*settled, *counted], changed

    def hold(self, conn: Connection, keys: Sequence[StateKey], reason: str) -> list[Transition]:
        """Pauses subjects within the caller's transaction: unknown from now on, deaf until released. ``keys`` are
        theirs at every location, and their headlines'."""
        now_ms = self._clock.now_ms()
        return self._turn(conn, keys, lambda key, state: hold(key, state, reason, now_ms), now_ms)

    def release(self, conn: Connection, keys: Sequence[StateKey]) -> None:
        """Resumes subjects within the caller's transaction: unknown until the next outcome.

        A state that was not held, because it came into being after the pause, is forgotten too: its headline knows
        nothing of it, and would learn of it only with its next change.
        """
        now_ms = self._clock.now_ms()

        def turn(key: StateKey, state: State) -> tuple[State, list[Transition]]:
            held, changes = (state, []) if state.held else hold(key, state, "resumed", now_ms)
            return release(held), changes

        self._turn(conn, keys, turn, now_ms)

    def recount(self, conn: Connection, headlines: Collection[StateKey], quorum: Quorum) -> list[Transition]:
        """Lets locations vote again within the caller's transaction: the quorum, or who has a vote, is another.
        ``quorum`` counts for those headlines whose subject asks for none."""
        counts = {headline: [_Count(None, None, quorum)] for headline in headlines}
        _, changed = self._count(conn, counts, {}, self._clock.now_ms())
        return changed

    def ring(self, changed: Sequence[Transition], settled: Sequence[Settled] = ()) -> None:
        """To be called after the commit, with what changed and how states stand now."""
        if settled:
            self._bus.publish(settled)
        self._bus.ring("checks")
        if changed:
            self._bus.ring("transitions")
        for transition in changed:
            if transition.key.location_id == HEADLINE:
                metrics.TRANSITIONS.labels(transition.after.value).inc()

    def _record(
        self, conn: Connection, entries: Sequence[Entry], history: Sequence[Entry]
    ) -> tuple[list[Settled], list[Settled], list[Transition]]:
        """Decides and stores ``entries``, and stores the checks of all of ``history``. Yields the states that were
        decided, the headlines that were counted, and what changed.

        Rows are taken in one order everywhere (leases, locations, headlines), so that two batches never wait for each
        other.
        """
        now_ms = self._clock.now_ms()
        keys = {entry.outcome.key for entry in entries}
        before = states.read_many(conn, keys)
        held = dict(before)
        changed: list[Transition] = []
        counts: dict[StateKey, list[_Count]] = defaultdict(list)
        for entry in entries:
            key = entry.outcome.key
            was = held[key]
            state, changes = decide(was, entry.outcome, entry.policy, now_ms)
            held[key] = state
            changed += changes
            if key.location_id == HEADLINE:
                continue
            for change in changes:
                then = state._replace(verdict=change.after, since_ms=change.at_ms, reason=change.reason)
                counts[key.headline].append(_Count(Vote.of(key.location_id, then), change, entry.policy.quorum))
            if not changes and state.reason != was.reason:
                counts[key.headline].append(_Count(Vote.of(key.location_id, state), None, entry.policy.quorum))
        settled = [Settled(key, held[key]) for key in keys]
        checks.insert_many(conn, [entry.check for entry in history if entry.check is not None])
        seen = [
            ((check.target_id, check.at_ms, check.location_id), entry.evidence)
            for entry in entries
            if (check := entry.check) is not None and entry.evidence is not None
        ]
        evidence.insert_many(conn, seen)
        certificates.put_many(conn, [entry.chain for entry in entries if entry.chain is not None])
        self._keep(conn, settled, changed, now_ms)
        counted, more = self._count(conn, counts, before, now_ms)
        return settled, counted, changed + more

    def _count(
        self,
        conn: Connection,
        counts: Mapping[StateKey, Sequence[_Count]],
        before: Mapping[StateKey, State],
        now_ms: int,
    ) -> tuple[list[Settled], list[Transition]]:
        """Brings headlines to what their locations agree on, vote by vote; ``before`` is how the locations that vote
        stood until now.

        Two locations may vote at once: the headline's row is taken first, and the others' votes and the quorum are read
        after it, so the second to come sees what the first has left.
        """
        if not counts:
            return [], []
        heads = states.read_many(conn, counts.keys())
        quorums = targets.quorums(conn, counts.keys())
        votes: dict[StateKey, dict[int, Vote]] = defaultdict(dict)
        for key, state in states.of_locations(conn, counts.keys()):
            if not state.held:
                votes[key.headline][key.location_id] = Vote.of(key.location_id, before.get(key, state))
        settled: list[Settled] = []
        changed: list[Transition] = []
        for key, several in counts.items():
            head, standing = heads[key], votes[key]
            for vote, cause, quorum in several:
                if vote is not None:
                    standing[vote.location_id] = vote
                head, changes = combine(key, head, standing.values(), quorums.get(key, quorum), now_ms, cause)
                changed += changes
            settled.append(Settled(key, head))
        self._keep(conn, settled, changed, now_ms)
        return settled, changed

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
            state, changes = turn(key, held[key])
            settled.append(Settled(key, state))
            changed += changes
        self._keep(conn, settled, changed, now_ms)
        return changed

    def _keep(self, conn: Connection, settled: Sequence[Settled], changed: Sequence[Transition], now_ms: int) -> None:
        states.write_many(conn, settled)
        transitions.insert_many(conn, changed, now_ms)


def _within_lease(entries: Iterable[Entry], epochs: Mapping[int, int]) -> list[Entry]:
    """Those made under a lease that still holds."""
    return [entry for entry in entries if epochs.get(shard_of(entry.outcome.key.subject.id)) == entry.epoch]
