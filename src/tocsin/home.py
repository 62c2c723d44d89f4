"""What a worker needs of the centre: a share of its location's targets, the targets themselves, and somebody to take
its results. The same for a worker beside the database and for one far away.

Knows no probe and no loop; whoever holds a ``Home`` decides when to ask.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

from tocsin.bus.base import Bus
from tocsin.catalog import targets
from tocsin.core.shards import LEASE_MS, Introduction
from tocsin.core.target import Target
from tocsin.lib.clock import Clock
from tocsin.lib.vault import Vault
from tocsin.pipeline import Entry, Pipeline, Settled
from tocsin.store import locations, server_clock, shards
from tocsin.store.engine import Store
from tocsin.store.shards import Fence

__all__ = ["DatabaseHome", "Home", "IdentityInUse", "Introduction", "Lease", "TargetChanges"]

_NOTHING: Final[Mapping[int, int]] = MappingProxyType({})


class IdentityInUse(Exception):
    """Another process has registered under this worker's id since (a data directory was copied): take another id."""


class Lease(NamedTuple):
    """A worker's share from now on. ``epochs`` holds the epoch of each shard it may probe; ``leaving`` are those of
    them that another is to have: end what is under way, write it, and give them back. ``now_ms`` is the centre's clock;
    ``for_s`` is how long the lease holds without another renewal.

    ``since`` is of shards that are new with this renewal: their last holder has started their slots up to then, and
    nobody, as far as is known, those that came later. It gave them back, or its lease ended then.
    """

    location_id: int
    epochs: Mapping[int, int]
    leaving: frozenset[int]
    now_ms: int
    for_s: float
    since: Mapping[int, int] = _NOTHING


class TargetChanges(NamedTuple):
    """What changed about targets since a revision; ``revision`` is where to ask from next, at once where this is not
    ``complete``.

    ``removed`` also names targets that are no longer probed from the worker's location.
    """

    targets: Sequence[Target]
    removed: Sequence[int]
    revision: int
    complete: bool = True


class Home(Protocol):
    """Every method blocks and raises ``StoreError`` when it could not be done now; trying again later is right."""

    def renew(self, me: Introduction, give_back: Mapping[int, int], *, first: bool, steady: bool) -> Lease:
        """Renews what is held, gives back what was asked for and is done with, takes what is free.

        ``give_back`` holds, for each shard, the time up to which its slots were started.
        ``first``: no renewal of this life has succeeded yet; what its former self held is taken over at once.
        ``steady``: this worker has been in touch for a whole lease time, so a lease that ran out did so because its
        holder is gone, and not because nobody could renew. Raises IdentityInUse.
        """
        ...

    def load(self, shards: Collection[int], since_revision: int) -> TargetChanges:
        """Targets of these shards, at this location, that changed after a revision (-1: all), oldest change first;
        where they are many, the first of them."""
        ...

    def write(self, entries: Sequence[Entry]) -> list[Settled]:
        """Takes results over; when it returns, they are safe. Yields how states stand, as far as that is known yet."""
        ...

    def leave(self, me: Introduction, give_back: Mapping[int, int]) -> None:
        """Gives everything back at a stop, so that others need not wait; ``give_back`` as with a renewal. Of a shard
        that is not in it nothing is known."""
        ...


PAGE: Final = 1000
"""Targets of one load: few enough that neither reading them nor taking them over keeps anything waiting."""


class DatabaseHome:
    """The centre as one worker meets it, or whoever speaks for one, beside the database.

    Leases go by the database's clock, and by ``clock`` where it has none of its own.
    """

    def __init__(
        self,
        *,
        store: Store,
        bus: Bus,
        pipeline: Pipeline,
        vault: Vault,
        clock: Clock,
        me: Introduction,
        lease_ms: int = LEASE_MS,
    ) -> None:
        self._store = store
        self._bus = bus
        self._pipeline = pipeline
        self._vault = vault
        self._clock = clock
        self._me = me
        self._lease_ms = lease_ms
        self._location_id: int | None = None

    def renew(self, me: Introduction, give_back: Mapping[int, int], *, first: bool, steady: bool) -> Lease:
        with self._store.write() as conn:
            now_ms = server_clock.now_ms(conn) or self._clock.now_ms()
            location_id = locations.ensure(conn, me.location)
            grant = shards.renew(
                conn,
                location_id,
                me,
                give_back,
                now_ms=now_ms,
                first=first,
                steady=steady,
                lease_ms=self._lease_ms,
            )
        if grant is None:
            raise IdentityInUse(me.id)
        self._me, self._location_id = me, location_id
        if grant.news:
            self._bus.ring("workers")
        return Lease(location_id, grant.epochs, grant.leaving, now_ms, self._lease_ms / 1000, grant.since)

    def load(self, shards: Collection[int], since_revision: int) -> TargetChanges:
        location_id = self._here()
        with self._store.read() as conn:
            loaded = targets.load_targets(
                conn, self._vault, since_revision, shards=shards, location_id=location_id, limit=PAGE
            )
        removed = () if since_revision < 0 else loaded.removed  # who knows nothing yet has nothing to forget
        return TargetChanges(loaded.changed, removed, loaded.revision, loaded.complete)

    def write(self, entries: Sequence[Entry]) -> list[Settled]:
        return self._pipeline.write(entries, Fence(self._here(), self._me.id))

    def leave(self, me: Introduction, give_back: Mapping[int, int]) -> None:
        location_id = self._here()
        with self._store.write() as conn:
            left = shards.leave(conn, location_id, me, give_back)
        if left:
            self._bus.ring("workers")

    def _here(self) -> int:
        """The location's number: as of the last renewal, or, before the first through here, looked up."""
        if self._location_id is None:
            with self._store.write() as conn:
                self._location_id = locations.ensure(conn, self._me.location)
        return self._location_id
