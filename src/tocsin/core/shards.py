"""How targets are dealt out among the workers of a location: in shards, which are leased as wholes.

Pure arithmetic; who holds which shard is in the store.
"""

from __future__ import annotations

from typing import NamedTuple

SHARDS = 64
"""Shards of every location. Many more than workers, so that shares come out nearly even; few enough that all of a
location's leases are one short read. Stored leases go by this number: changing it means a migration."""

LEASE_MS = 10_000
"""How long a worker is taken to be there after it was heard of: five renewals, so that neither a lost one nor a slow
moment of the database makes others take its shards."""


class Introduction(NamedTuple):
    """Who a worker is. ``id`` stays the same after a restart on the same data directory; ``life`` is another one every
    time the process starts, and tells its leases from those of its former self."""

    id: str
    life: str
    location: str
    name: str
    version: str
    remote: bool = False
    clock_off_ms: int = 0
    """How far its machine's clock is ahead of the installation's, as far as it knows."""


def shard_of(target_id: int) -> int:
    """Ids are given out one after the other, so the remainder spreads them evenly."""
    return target_id % SHARDS


def fair_share(workers: int, place: int) -> int:
    """How many shards the worker at ``place`` (0 is the first) of so many holds; differs by one at most."""
    whole, rest = divmod(SHARDS, workers)
    return whole + (place < rest)
