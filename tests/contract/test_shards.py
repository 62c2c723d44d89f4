"""Leases on shards, on every engine: fair, never two holders, soon even, and fenced by an epoch that only grows."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, update

from tocsin.core.shards import LEASE_MS, SHARDS, Introduction, fair_share, shard_of
from tocsin.store import shards, tables
from tocsin.store.engine import Store, StoreUnavailable
from tocsin.store.shards import FORGOTTEN_AFTER_MS, Fence, Grant

HERE = 1
ELSEWHERE = 2
RENEW_MS = 2000
START_MS = 1_800_000_000_000


def introduction(worker_id: str, life: str = "first") -> Introduction:
    return Introduction(worker_id, life, "local", f"host of {worker_id}", "1.0")


def renew(
    store: Store,
    me: Introduction,
    now_ms: int,
    *,
    give_back: Mapping[int, int] | None = None,
    first: bool = False,
    steady: bool = False,
    location_id: int = HERE,
) -> Grant | None:
    with store.write() as conn:
        return shards.renew(conn, location_id, me, give_back or {}, now_ms=now_ms, first=first, steady=steady)


def granted(grant: Grant | None) -> Grant:
    assert grant is not None
    return grant


class Workers:
    """Workers of one location that renew in turn and give back at once what they are asked for."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now_ms = START_MS
        self.held: dict[str, dict[int, int]] = {}
        self.since: dict[str, int] = {}
        self._leaving: dict[str, Iterable[int]] = {}
        self.owners: dict[tuple[int, int], str] = {}
        """Who was given a shard under an epoch."""
        self.epochs: Counter[int] = Counter()

    def join(self, worker_id: str) -> None:
        self.held[worker_id] = {}
        self.since[worker_id] = self.now_ms

    def kill(self, worker_id: str) -> dict[int, int]:
        self._leaving.pop(worker_id, None)
        return self.held.pop(worker_id)

    def leave(self, worker_id: str) -> None:
        held = self.kill(worker_id)
        with self.store.write() as conn:
            assert shards.leave(conn, HERE, introduction(worker_id), dict.fromkeys(held, self.now_ms))

    def rounds(self, number: int) -> None:
        for _ in range(number):
            self.now_ms += RENEW_MS
            for worker_id in self.held:
                self.renew(worker_id)

    def renew(self, worker_id: str) -> None:
        grant = granted(
            renew(
                self.store,
                introduction(worker_id),
                self.now_ms,
                give_back=dict.fromkeys(self._leaving.get(worker_id, ()), self.now_ms),
                first=not self.held[worker_id],
                steady=self.now_ms - self.since[worker_id] >= LEASE_MS,
            )
        )
        for shard, epoch in grant.epochs.items():
            assert self.owners.setdefault((shard, epoch), worker_id) == worker_id
            assert epoch >= self.epochs[shard]
            self.epochs[shard] = epoch
        self.held[worker_id], self._leaving[worker_id] = grant.epochs, grant.leaving

    @property
    def sizes(self) -> list[int]:
        return [len(self.held[worker_id]) for worker_id in sorted(self.held)]

    def assert_shared_out(self) -> None:
        """Every shard has one holder, and shares are fair."""
        assert sorted(shard for held in self.held.values() for shard in held) == list(range(SHARDS))
        assert self.sizes == [fair_share(len(self.held), place) for place in range(len(self.held))]


def test_fair_shares_are_all_there_is() -> None:
    for workers in range(1, 2 * SHARDS):
        shares = [fair_share(workers, place) for place in range(workers)]
        assert sum(shares) == SHARDS
        assert max(shares) - min(shares) <= 1
    assert Counter(shard_of(target_id) for target_id in range(640)) == dict.fromkeys(range(SHARDS), 10)


def test_shares_are_even_three_renewals_after_workers_come_and_go(store: Store) -> None:
    workers = Workers(store)
    for worker_id in "caebd":
        workers.join(worker_id)
        workers.rounds(3)
        workers.assert_shared_out()
    for worker_id in "bea":
        workers.leave(worker_id)
        workers.rounds(2)
        workers.assert_shared_out()
    workers.join("f")
    workers.leave("c")
    workers.rounds(3)
    workers.assert_shared_out()


def test_nothing_moves_while_nobody_comes_or_goes(store: Store) -> None:
    workers = Workers(store)
    for worker_id in "abc":
        workers.join(worker_id)
    workers.rounds(4)
    before = {worker_id: dict(held) for worker_id, held in workers.held.items()}
    workers.rounds(10)
    assert workers.held == before


def test_what_a_dead_worker_held_is_taken_when_its_lease_is_over_and_not_before(store: Store) -> None:
    workers = Workers(store)
    for worker_id in "abc":
        workers.join(worker_id)
    workers.rounds(8)
    lost = workers.kill("b")
    workers.rounds(LEASE_MS // RENEW_MS - 1)
    assert not {shard for held in workers.held.values() for shard in held} & lost.keys()
    workers.rounds(2)
    workers.assert_shared_out()
    for held in workers.held.values():
        assert all(held[shard] > lost[shard] for shard in held.keys() & lost.keys())


def test_a_lease_that_is_over_goes_on_where_nobody_has_taken_it(store: Store) -> None:
    """The database was away for everybody. Who comes back first may not take what the others only could not renew."""
    workers = Workers(store)
    for worker_id in "ab":
        workers.join(worker_id)
    workers.rounds(8)
    before = {worker_id: dict(held) for worker_id, held in workers.held.items()}
    workers.now_ms += 60_000
    workers.since = dict.fromkeys(workers.since, workers.now_ms)
    for _ in range(4):
        workers.renew("a")
        workers.now_ms += RENEW_MS
    workers.renew("b")
    workers.rounds(2)
    assert workers.held == before


def test_a_worker_that_did_not_notice_that_it_was_away_takes_nothing(store: Store) -> None:
    for worker_id in "ab":
        renew(store, introduction(worker_id), START_MS, first=True)
    woken_ms = START_MS + 3_600_000
    grant = granted(renew(store, introduction("b"), woken_ms, steady=True))
    assert not grant.epochs
    assert granted(renew(store, introduction("b"), woken_ms + RENEW_MS, steady=True)).epochs


def test_a_new_life_takes_over_at_once_and_the_old_one_is_out(store: Store) -> None:
    old, new = introduction("a", "old"), introduction("a", "new")
    before = granted(renew(store, old, START_MS, first=True)).epochs
    after = granted(renew(store, new, START_MS + 1, first=True))
    assert after.epochs == {shard: epoch + 1 for shard, epoch in before.items()}
    assert renew(store, old, START_MS + 2) is None
    again = granted(renew(store, new, START_MS + 3, first=True))
    assert again.epochs == after.epochs
    with store.write() as conn:
        assert not shards.leave(conn, HERE, old, {})
        assert shards.epochs(conn, Fence(HERE, "a")) == after.epochs


def test_who_comes_back_after_being_struck_off_goes_on_under_its_epochs(store: Store) -> None:
    one, other = introduction("a"), introduction("b")
    held = granted(renew(store, one, START_MS, first=True)).epochs
    back_ms = START_MS + FORGOTTEN_AFTER_MS + LEASE_MS + 1
    renew(store, other, back_ms, first=True)
    with store.read() as conn:
        assert conn.execute(select(tables.workers.c.id)).scalars().all() == ["b"]
    grant = granted(renew(store, one, back_ms + 1))
    assert grant.epochs == held
    assert len(grant.leaving) == SHARDS // 2


def test_a_dead_worker_is_known_for_a_while(store: Store) -> None:
    renew(store, introduction("a"), START_MS, first=True)
    renew(store, introduction("b"), START_MS + FORGOTTEN_AFTER_MS, first=True)
    with store.read() as conn:
        assert conn.execute(select(tables.workers.c.id).order_by(tables.workers.c.id)).scalars().all() == ["a", "b"]


def test_up_to_when_slots_were_started_is_told_to_the_next(store: Store) -> None:
    one, other = introduction("a"), introduction("b")
    renew(store, one, START_MS, first=True)
    assert granted(renew(store, other, START_MS, first=True)).epochs == {}
    leaving = granted(renew(store, one, START_MS + 1)).leaving
    assert len(leaving) == SHARDS // 2
    moments = {shard: START_MS + shard for shard in leaving}
    assert not granted(renew(store, one, START_MS + 500, give_back=moments)).leaving
    grant = granted(renew(store, other, START_MS + 501))
    assert grant.since == moments
    assert grant.epochs.keys() == set(leaving)
    assert not granted(renew(store, other, START_MS + 502)).since
    with store.write() as conn:
        shards.leave(conn, HERE, one, {0: START_MS + 600, 1: START_MS + 550})
    last = granted(renew(store, other, START_MS + 601))
    assert last.since == {0: START_MS + 600, 1: START_MS + 550}
    assert len(last.epochs) == SHARDS


def test_slots_nobody_gave_back_are_taken_up_from_the_end_of_the_lease(store: Store) -> None:
    first = granted(renew(store, introduction("a"), START_MS, first=True))
    assert (len(first.epochs), first.since) == (SHARDS, {})
    renew(store, introduction("b"), START_MS, first=True)
    for at_ms in range(START_MS + 1, START_MS + LEASE_MS, RENEW_MS):
        renew(store, introduction("b"), at_ms)
    taken = granted(renew(store, introduction("b"), START_MS + LEASE_MS + 7, steady=True))
    assert taken.since == dict.fromkeys(range(SHARDS), START_MS + LEASE_MS)
    assert len(taken.epochs) == SHARDS


def test_slots_of_somebody_long_gone_are_not_made_up_for(store: Store) -> None:
    renew(store, introduction("a"), START_MS, first=True)
    later_ms = START_MS + 10 * LEASE_MS
    renew(store, introduction("b"), later_ms, first=True)
    taken = granted(renew(store, introduction("b"), later_ms + 1, steady=True))
    assert (len(taken.epochs), taken.since) == (SHARDS, {})


def test_others_are_told_of_what_concerns_them(store: Store) -> None:
    assert granted(renew(store, introduction("a"), START_MS, first=True)).news
    assert not granted(renew(store, introduction("a"), START_MS + 1)).news
    assert granted(renew(store, introduction("b"), START_MS + 2, first=True)).news
    assert not granted(renew(store, introduction("a"), START_MS + 3)).news
    assert granted(renew(store, introduction("a"), START_MS + 4, give_back={63: START_MS})).news


def test_a_worker_that_moves_frees_what_it_held_where_it_was(store: Store) -> None:
    renew(store, introduction("a"), START_MS, first=True)
    moved = granted(renew(store, introduction("a", "second"), START_MS + 1, first=True, location_id=ELSEWHERE))
    assert len(moved.epochs) == SHARDS
    assert len(granted(renew(store, introduction("b"), START_MS + 2, first=True)).epochs) == SHARDS


def test_locations_share_nothing(store: Store) -> None:
    here = granted(renew(store, introduction("a"), START_MS, first=True))
    there = granted(renew(store, introduction("b"), START_MS, first=True, location_id=ELSEWHERE))
    assert len(here.epochs) == len(there.epochs) == SHARDS
    assert not granted(renew(store, introduction("a"), START_MS + 1)).leaving


def test_a_database_whose_clock_was_ahead_leaves_no_lease_for_ever(store: Store) -> None:
    renew(store, introduction("a"), START_MS + 3_600_000, first=True)
    renew(store, introduction("b"), START_MS, first=True)
    assert len(granted(renew(store, introduction("b"), START_MS + 1, steady=True)).epochs) == SHARDS


def test_the_row_says_what_people_are_shown(store: Store) -> None:
    me = introduction("a")._replace(remote=True, clock_off_ms=300_000)
    renew(store, me, START_MS, first=True)
    renew(store, me._replace(clock_off_ms=299_999), START_MS + 5, first=False)
    with store.read() as conn:
        row = conn.execute(select(tables.workers)).mappings().one()
    assert row["name"] == "host of a"
    assert (row["started_ms"], row["until_ms"]) == (START_MS, START_MS + 5 + LEASE_MS)
    assert (row["remote"], row["clock_off_ms"]) == (True, 299_999)


def test_only_the_holder_is_let_through_the_fence(store: Store) -> None:
    held = granted(renew(store, introduction("a"), START_MS, first=True)).epochs
    with store.write() as conn:
        assert shards.epochs(conn, Fence(HERE, "a")) == held
        assert shards.epochs(conn, Fence(HERE, "b")) == {}
        assert shards.epochs(conn, Fence(ELSEWHERE, "a")) == {}
        conn.execute(
            update(tables.shards).where(tables.shards.c.shard == 7).values(holder="b", epoch=tables.shards.c.epoch + 1)
        )
        assert 7 not in shards.epochs(conn, Fence(HERE, "a"))
        assert shards.epochs(conn, Fence(HERE, "b")) == {7: held[7] + 1}


@pytest.mark.parametrize("renewing", [True, False])
def test_a_worker_that_stands_still_in_a_transaction_does_not_keep_its_shards(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, renewing: bool
) -> None:
    """Its machine was suspended, or its network cut, in the middle of a renewal or of writing results."""
    store = Store(postgres_url)
    still, other = introduction("a"), introduction("b")
    renew(store, still, START_MS, first=True)
    renew(store, other, START_MS, first=True)
    monkeypatch.setattr(shards, "STILL_MS", 100)

    def stand_still() -> None:
        with store.write() as conn:
            if renewing:
                shards.renew(conn, HERE, still, {}, now_ms=START_MS, first=False, steady=True)
            else:
                shards.epochs(conn, Fence(HERE, still.id))
            monkeypatch.undo()
            now_ms = START_MS
            while len(granted(renew(store, other, now_ms, steady=True)).epochs) < SHARDS:
                now_ms += RENEW_MS

    with pytest.raises(StoreUnavailable):
        stand_still()
    store.close()


def test_a_write_under_way_keeps_its_shards_and_delays_no_renewal(postgres_url: str) -> None:
    store = Store(postgres_url, busy_timeout_s=0.5)
    one, other = introduction("a"), introduction("b")
    renew(store, one, START_MS, first=True)
    renew(store, other, START_MS, first=True)
    late_ms = START_MS + LEASE_MS
    with store.write() as writing:
        shards.epochs(writing, Fence(HERE, "a"))
        granted(renew(store, other, late_ms - 1))
        assert not granted(renew(store, other, late_ms, steady=True)).epochs
        assert len(granted(renew(store, one, late_ms + 1)).epochs) == SHARDS
    over_ms = late_ms + 1 + LEASE_MS
    granted(renew(store, other, over_ms - 1))
    assert len(granted(renew(store, other, over_ms, steady=True)).epochs) == SHARDS
    store.close()


@pytest.mark.parametrize("seed", range(3))
def test_workers_that_renew_at_once_never_share_a_shard_nor_wait_for_each_other(store: Store, seed: int) -> None:
    """Joining, leaving, restarting and writing, all at once; a deadlock would raise."""
    holders: dict[int, str] = {}
    guard = threading.Lock()

    def live(number: int) -> None:
        chance = random.Random(seed * 100 + number)
        me, first, held, leaving = introduction(f"w{number}", "0"), True, frozenset[int](), frozenset[int]()

        def let_go(numbers: Iterable[int]) -> None:
            with guard:
                for shard in numbers:
                    assert holders.pop(shard) == me.id

        for turn in range(40):
            now_ms = START_MS + turn
            let_go(leaving)
            grant = granted(renew(store, me, now_ms, give_back=dict.fromkeys(leaving, now_ms), first=first))
            with guard:
                for shard in grant.epochs:
                    assert holders.setdefault(shard, me.id) == me.id
            assert held - leaving <= grant.epochs.keys()
            first, held, leaving = False, frozenset(grant.epochs), grant.leaving
            fate = chance.random()
            if fate < 0.4:
                with store.write() as conn:
                    assert shards.epochs(conn, Fence(HERE, me.id)) == grant.epochs
            elif fate < 0.5:
                me, first, leaving = me._replace(life=str(turn)), True, frozenset()
            elif fate < 0.6:
                let_go(held)
                with store.write() as conn:
                    assert shards.leave(conn, HERE, me, {})
                me, first, held, leaving = me._replace(life=str(turn)), True, frozenset(), frozenset()

    with ThreadPoolExecutor(6) as pool:
        for ended in [pool.submit(live, number) for number in range(6)]:
            ended.result()
    workers = Workers(store)
    workers.now_ms = START_MS + 100 * LEASE_MS
    for worker_id in "xyz":
        workers.join(worker_id)
    workers.rounds(9)
    workers.assert_shared_out()
