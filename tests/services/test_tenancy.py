"""The lease's own loop: when a worker is new, when it is in touch, what it says of its clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import select

from tests.clocks import FakeClock
from tests.servers import until
from tocsin.bus.memory import MemoryBus
from tocsin.core.shards import LEASE_MS, SHARDS, Introduction
from tocsin.home import DatabaseHome, Lease
from tocsin.lib.clock import Clock, SharedClock
from tocsin.lib.metrics import REGISTRY
from tocsin.lib.vault import Vault
from tocsin.pipeline import Pipeline
from tocsin.services.worker.tenancy import Tenancy
from tocsin.store import tables
from tocsin.store.engine import Store, StoreUnavailable

ME = Introduction("me", "life", "here", "host", "1.0")


class Asked(NamedTuple):
    me: Introduction
    give_back: Mapping[int, int]
    first: bool
    steady: bool


class Home(DatabaseHome):
    """Notes what it was asked, and is away as often as it is told to be."""

    def __init__(self, store: Store, clock: Clock) -> None:
        bus = MemoryBus()
        pipeline = Pipeline(store, bus, clock)
        vault = Vault("a key for tests, long enough")
        super().__init__(store=store, bus=bus, pipeline=pipeline, vault=vault, clock=clock, me=ME)
        self.asked: list[Asked] = []
        self.away = 0
        self.store = store

    def renew(self, me: Introduction, give_back: Mapping[int, int], *, first: bool, steady: bool) -> Lease:
        self.asked.append(Asked(me, give_back, first, steady))
        if self.away:
            self.away -= 1
            raise StoreUnavailable("the database cannot be reached")
        return super().renew(me, give_back, first=first, steady=steady)

    async def answered(self, times: int = 2) -> Asked:
        """What was asked last, after so many more renewals."""
        before = len(self.asked)
        await until(lambda: len(self.asked) >= before + times)
        return self.asked[-1]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def home(tmp_path: Path, clock: FakeClock) -> Iterator[Home]:
    store = Store(f"sqlite:///{tmp_path / 'tocsin.db'}")
    store.migrate()
    yield Home(store, clock)
    store.close()


@asynccontextmanager
async def renewing(
    home: Home, clock: Clock, taken: list[Lease], done_with: Mapping[int, int] | None = None
) -> AsyncIterator[Tenancy]:
    tenancy = Tenancy(home, ME, clock, taken=taken.append, done_with=lambda: done_with or {}, renew_s=0.01)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(tenancy.run())
        yield tenancy
        running.cancel()
    tenancy.close()


def failures() -> float:
    return REGISTRY.get_sample_value("tocsin_lease_renewal_failures_total") or 0


async def test_a_worker_is_new_until_it_has_a_lease_and_steady_after_a_whole_one(home: Home, clock: FakeClock) -> None:
    home.away = 2
    before, taken = failures(), list[Lease]()
    async with renewing(home, clock, taken) as tenancy:
        await until(lambda: bool(taken))
        assert [asked.first for asked in home.asked[:3]] == [True, True, True]
        assert failures() == before + 2
        last = await home.answered()
        assert (last.first, last.steady) == (False, False)
        clock.tick(LEASE_MS / 2000)
        assert not (await home.answered()).steady
        clock.tick(LEASE_MS / 2000)
        assert (await home.answered()).steady
        assert not tenancy.is_out_of_touch
        home.away = 10**6
        await until(lambda: tenancy.is_out_of_touch)
        home.away = 0
        last = await home.answered()
        assert (last.first, last.steady) == (False, False)
    assert len(taken[-1].epochs) == SHARDS
    assert REGISTRY.get_sample_value("tocsin_shards_held") == SHARDS


async def test_a_worker_that_slept_for_a_lease_time_begins_anew_to_be_in_touch(home: Home, clock: FakeClock) -> None:
    async with renewing(home, clock, []):
        await home.answered()
        clock.tick(LEASE_MS / 1000)
        assert (await home.answered()).steady
        clock.jump_ms(10 * LEASE_MS)  # suspended: no monotonic clock ran
        assert not (await home.answered()).steady


async def test_what_is_done_with_is_given_back(home: Home, clock: FakeClock) -> None:
    async with renewing(home, clock, [], {7: 123}):
        assert (await home.answered()).give_back == {7: 123}


async def test_everything_is_given_back_at_the_end(home: Home, clock: FakeClock) -> None:
    you = ME._replace(id="you")
    home.renew(you, {}, first=True, steady=False)
    async with renewing(home, clock, []):
        await home.answered()
    with home.store.read() as conn:
        assert conn.execute(select(tables.workers.c.id).order_by(tables.workers.c.id)).scalars().all() == ["me", "you"]
    tenancy = Tenancy(home, ME, clock, taken=lambda _: None, done_with=dict)
    await tenancy.leave({1: 456})
    tenancy.close()
    with home.store.read() as conn:
        assert conn.execute(select(tables.workers.c.id)).scalars().all() == ["you"]


async def test_a_ring_makes_it_sooner(home: Home, clock: FakeClock) -> None:
    tenancy = Tenancy(home, ME, clock, taken=lambda _: None, done_with=dict, renew_s=3600)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(tenancy.run())
        await until(lambda: len(home.asked) == 1)
        tenancy.soon()
        await until(lambda: len(home.asked) == 2)
        running.cancel()
    tenancy.close()


async def test_a_wrong_clock_is_put_right_and_told(home: Home, clock: FakeClock) -> None:
    own = FakeClock(clock.now_ms() + 300_000)
    shared = SharedClock(own)
    async with renewing(home, shared, []):
        await until(lambda: bool(shared.ahead_ms))
        assert shared.now_ms() == clock.now_ms()
        assert (await home.answered()).me.clock_off_ms == 300_000
        assert REGISTRY.get_sample_value("tocsin_clock_ahead_seconds") == 300
    assert home.asked[0].me.clock_off_ms == 0


async def test_a_clock_that_is_the_centres_own_is_left_alone(home: Home, clock: FakeClock) -> None:
    shared = SharedClock(clock)
    home = Home(home.store, shared)
    async with renewing(home, shared, []):
        await home.answered()
        clock.jump_ms(3_600_000)
        await home.answered()
    assert shared.now_ms() == clock.now_ms()


async def test_it_is_so_also_when_the_machine_sleeps_during_a_renewal(home: Home, clock: FakeClock) -> None:
    class Sleeping(Home):
        def renew(self, me: Introduction, give_back: Mapping[int, int], *, first: bool, steady: bool) -> Lease:
            lease = super().renew(me, give_back, first=first, steady=steady)
            clock.jump_ms(3_600_000)
            return lease

    shared = SharedClock(clock)
    sleeping = Sleeping(home.store, shared)
    async with renewing(sleeping, shared, []):
        await sleeping.answered()
    assert shared.now_ms() == clock.now_ms()
