"""The centre as a worker meets it beside the database, on every engine."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from tests.clocks import FakeClock
from tests.contract.rows import add_targets, check, key
from tocsin import home
from tocsin.bus.memory import MemoryBus
from tocsin.core.decide import Policy, State, Verdict
from tocsin.core.outcome import Outcome, Result
from tocsin.core.shards import SHARDS, Introduction, shard_of
from tocsin.home import DatabaseHome, IdentityInUse, TargetChanges
from tocsin.lib.clock import SYSTEM_CLOCK
from tocsin.lib.vault import Vault
from tocsin.pipeline import Entry, Pipeline
from tocsin.store import checks, locations, states, tables
from tocsin.store.engine import Store
from tocsin.store.targets import next_revision

ME = Introduction("me", "life", "here", "host", "1.0")
YOU = Introduction("you", "life", "here", "host", "1.0")
ALL = range(SHARDS)


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def at_home(store: Store, bus: MemoryBus, clock: FakeClock) -> DatabaseHome:
    return made(store, bus, clock)


def made(store: Store, bus: MemoryBus, clock: FakeClock, me: Introduction = ME) -> DatabaseHome:
    pipeline = Pipeline(store, bus, clock)
    return DatabaseHome(
        store=store, bus=bus, pipeline=pipeline, vault=Vault("a key for tests, long enough"), clock=clock, me=me
    )


def change(store: Store, target_id: int, **values: object) -> None:
    with store.write() as conn:
        changed = {"revision": next_revision(conn), **values}
        conn.execute(update(tables.targets).where(tables.targets.c.id == target_id).values(changed))


def fill(store: Store, *ids: int) -> None:
    with store.write() as conn:
        add_targets(conn, *ids)
        conn.execute(update(tables.revisions).values(value=max(ids)))


def ids(changes: TargetChanges) -> list[int]:
    return [target.id for target in changes.targets]


def test_a_worker_is_given_the_targets_of_its_shards(store: Store, at_home: DatabaseHome) -> None:
    fill(store, *range(1, 200))
    assert ids(at_home.load([1, 63], -1)) == [1, 63, 65, 127, 129, 191, 193]
    assert ids(at_home.load(ALL, -1)) == list(range(1, 200))
    assert ids(at_home.load([], -1)) == []


def test_what_is_probed_from_elsewhere_is_no_business_of_ours(store: Store, at_home: DatabaseHome) -> None:
    fill(store, 1, 2, 3)
    with store.write() as conn:
        here, there = locations.ensure(conn, "here"), locations.ensure(conn, "there")
    change(store, 1, location_ids=[there])
    change(store, 2, location_ids=[there, here])
    first = at_home.load(ALL, -1)
    assert (ids(first), first.removed) == ([3, 2], ())
    change(store, 2, location_ids=[there])
    change(store, 1, location_ids=[])
    later = at_home.load(ALL, first.revision)
    assert (ids(later), later.removed) == ([1], [2])


def test_what_is_deleted_is_named_to_those_who_may_know_it(store: Store, at_home: DatabaseHome) -> None:
    fill(store, 1, 2)
    first = at_home.load(ALL, -1)
    change(store, 1, deleted_ms=1)
    assert at_home.load(ALL, first.revision) == TargetChanges([], [1], first.revision + 1)
    again = at_home.load(ALL, -1)
    assert (ids(again), again.removed) == ([2], ())


def test_many_targets_come_in_pages(store: Store, at_home: DatabaseHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "PAGE", 10)
    fill(store, *range(1, 100))
    shards = [shard for shard in ALL if shard % 2]
    pages: list[TargetChanges] = []
    revision = -1
    while not pages or not pages[-1].complete:
        pages.append(at_home.load(shards, revision))
        revision = pages[-1].revision
    assert [len(page.targets) for page in pages] == [10, 10, 10, 10, 10, 0]
    assert [target_id for page in pages for target_id in ids(page)] == list(range(1, 100, 2))
    assert revision == 99
    assert at_home.load(shards, revision) == TargetChanges([], [], 99)


def test_leases_go_by_the_clock_that_everybody_shares(store: Store, at_home: DatabaseHome, clock: FakeClock) -> None:
    """The clock of this test's machine reads 2027."""
    lease = at_home.renew(ME, {}, first=True, steady=False)
    if store.engine_name == "sqlite":  # a file has no clock of its own
        assert lease.now_ms == clock.now_ms()
    else:
        assert abs(lease.now_ms - SYSTEM_CLOCK.now_ms()) < 60_000
    assert (lease.for_s, len(lease.epochs)) == (10, SHARDS)


def test_a_worker_whose_identity_another_took_is_told(at_home: DatabaseHome) -> None:
    at_home.renew(ME, {}, first=True, steady=False)
    at_home.renew(ME._replace(life="of a copy"), {}, first=True, steady=False)
    with pytest.raises(IdentityInUse):
        at_home.renew(ME, {}, first=False, steady=False)


async def test_others_are_woken_when_there_is_something_for_them(at_home: DatabaseHome, bus: MemoryBus) -> None:
    async with bus.listen(["workers"]) as bell:
        at_home.renew(ME, {}, first=True, steady=False)
        assert await bell.wait(60) == {"workers"}
        at_home.renew(ME, {}, first=False, steady=False)
        assert not await bell.wait(0)
        at_home.renew(YOU, {}, first=True, steady=False)
        assert await bell.wait(60) == {"workers"}
        at_home.renew(ME, {63: 1}, first=False, steady=False)
        assert await bell.wait(60) == {"workers"}
        at_home.leave(ME, {})
        assert await bell.wait(60) == {"workers"}
        at_home.leave(ME, {})
        assert not await bell.wait(0)


def failed(at_ms: int, epoch: int, location_id: int) -> Entry:
    place = key(1, location_id=location_id)
    row = check(1, at_ms, Result.FAILED, location_id=location_id, error="refused")
    outcome = Outcome(place, at_ms, Result.FAILED, None, "refused", None)
    return Entry(outcome, Policy(failures_to_down=1), row, epoch=epoch)


def test_only_results_under_the_lease_that_holds_move_a_verdict(
    store: Store, at_home: DatabaseHome, bus: MemoryBus, clock: FakeClock
) -> None:
    lease = at_home.renew(ME, {}, first=True, steady=False)
    now_ms, epoch = clock.now_ms(), lease.epochs[shard_of(1)]

    def state() -> State:
        place = key(1, location_id=lease.location_id)
        with store.read() as conn:
            return states.read_many(conn, [place])[place]

    assert at_home.write([failed(now_ms - 3000, epoch - 1, lease.location_id)]) == []
    assert state().verdict is Verdict.UNKNOWN
    # Somebody who speaks for the same worker and has not renewed its lease.
    elsewhere = made(store, bus, clock)
    ((_, settled),) = elsewhere.write([failed(now_ms - 2000, epoch, lease.location_id)])
    assert settled.verdict is Verdict.DOWN
    stranger = made(store, bus, clock, YOU)
    assert stranger.write([failed(now_ms - 1000, epoch, lease.location_id)]) == []
    assert state().last_at_ms == now_ms - 2000
    with store.read() as conn:
        rows = checks.of_target(conn, 1, from_ms=0, to_ms=now_ms, limit=10)
    assert [row.at_ms for row in rows] == [now_ms - 1000, now_ms - 2000, now_ms - 3000]
