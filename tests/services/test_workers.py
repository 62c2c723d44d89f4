"""Several real workers on one PostgreSQL: shares, hand-over, ends of every kind, and clocks that are wrong."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from sqlalchemy import select, update

from tests.postgres import PrivateServer
from tests.servers import Asked, answering, hang, reply, serving, until
from tocsin.bus.memory import MemoryBus
from tocsin.catalog import targets
from tocsin.core.outcome import REACHABLE, Result, StateKey, Subject
from tocsin.core.shards import LEASE_MS, SHARDS, Introduction, shard_of
from tocsin.core.slots import slot_offset_ms
from tocsin.core.target import TARGET
from tocsin.home import DatabaseHome, Lease, TargetChanges
from tocsin.lib.clock import SYSTEM_CLOCK, Clock, SharedClock, SystemClock
from tocsin.lib.metrics import REGISTRY
from tocsin.lib.net import Network
from tocsin.lib.vault import Vault
from tocsin.pipeline import Entry, Pipeline, Settled
from tocsin.services.worker import Worker, WorkerSettings
from tocsin.store import checks, states, tables, transitions
from tocsin.store.checks import CheckRow
from tocsin.store.engine import Store

VAULT = Vault("a key for tests, long enough")
SHORT_LEASE_MS = 2000
TARGETS = SHARDS + SHARDS // 2
"""Every shard has one, and some have two."""
INTERVAL_MS = 6000


class Home(DatabaseHome):
    """Counts what it grants."""

    def __init__(self, crew: Crew, store: Store, clock: Clock, me: Introduction) -> None:
        pipeline = Pipeline(store, crew.bus, clock)
        super().__init__(
            store=store, bus=crew.bus, pipeline=pipeline, vault=VAULT, clock=clock, me=me, lease_ms=crew.lease_ms
        )
        self.lease: Lease | None = None

    def renew(self, me: Introduction, give_back: Mapping[int, int], *, first: bool, steady: bool) -> Lease:
        self.lease = super().renew(me, give_back, first=first, steady=steady)
        return self.lease

    @property
    def held(self) -> Mapping[int, int]:
        return {} if self.lease is None else self.lease.epochs


class Member:
    """One worker of the crew."""

    def __init__(
        self, crew: Crew, me: Introduction, *, clock: Clock, renew_s: float, home: type[Home], deaf: bool
    ) -> None:
        self.store = Store(crew.url, busy_timeout_s=1.0, connect_timeout_s=2.0)
        self.home = home(crew, self.store, clock, me)
        self._worker = Worker(
            home=self.home,
            me=me,
            bus=MemoryBus() if deaf else crew.bus,
            clock=clock,
            open_network=Network.open,
            settings=WorkerSettings(renew_s=renew_s),
        )
        self._stop = asyncio.Event()
        self._running = crew.tasks.create_task(self._worker.run(self._stop))

    async def stop(self) -> None:
        self._stop.set()
        await asyncio.wait([self._running])
        self.store.close()

    def kill(self) -> None:
        """As a process that is killed: nothing is written any more, nothing given back."""
        self._running.cancel()


class Crew:
    """Workers of one location, and what they have recorded."""

    def __init__(self, url: str, tasks: asyncio.TaskGroup, *, lease_ms: int) -> None:
        self.url = url
        self.tasks = tasks
        self.lease_ms = lease_ms
        self.bus = MemoryBus()
        self.store = Store(url)
        self.members: list[Member] = []

    def watch(self, number: int, url: str, *, interval_s: float, **fields: object) -> list[int]:
        """Registers so many targets; gives their ids."""
        fields = {"kind": "http", "url": url, "interval_s": interval_s, "timeout_s": interval_s} | fields
        with self.store.write() as conn:
            return [
                targets.create(conn, {"name": f"{n}", **fields}, vault=VAULT, now_ms=SYSTEM_CLOCK.now_ms()).id
                for n in range(number)
            ]

    def join(
        self,
        name: str,
        *,
        life: str = "first",
        clock: Clock = SYSTEM_CLOCK,
        renew_s: float = 0.3,
        home: type[Home] = Home,
        deaf: bool = False,
    ) -> Member:
        """``deaf``: it hears no bell."""
        me = Introduction(name, life, "here", "host", "1.0")
        member = Member(self, me, clock=clock, renew_s=renew_s, home=home, deaf=deaf)
        self.members.append(member)
        return member

    def holders(self) -> Counter[str]:
        """How many shards each worker has a lease on, as the database sees it."""
        with self.store.read() as conn:
            found = conn.execute(select(tables.shards.c.holder)).scalars().all()
        return Counter(holder for holder in found if holder is not None)

    def rows(self, target_id: int) -> list[CheckRow]:
        """Its checks, oldest first."""
        with self.store.read() as conn:
            return checks.of_target(conn, target_id, from_ms=0, to_ms=2**60, limit=100_000)[::-1]

    def slots(self, target_id: int, interval_ms: int) -> list[int]:
        """Of its checks those that were not extra looks."""
        offset_ms = slot_offset_ms(target_id, interval_ms)
        return [row.at_ms for row in self.rows(target_id) if row.at_ms % interval_ms == offset_ms]

    def recorded(self) -> int:
        with self.store.read() as conn:
            return len(conn.execute(select(tables.checks.c.at_ms)).all())

    def verdicts(self, target_id: int) -> list[str]:
        """Every headline verdict it has had, oldest first."""
        with self.store.read() as conn:
            found = transitions.of_subject(conn, Subject(TARGET, target_id), from_ms=0, to_ms=2**60)
        return [one.transition.after.value for one in reversed(found)]

    async def end(self) -> None:
        """Everybody stops in order."""
        for member in self.members:
            await member.stop()

    async def shared(self, *sizes: int) -> None:
        """Until shares are like that."""
        await until(lambda: sorted(self.holders().values()) == sorted(sizes))


@asynccontextmanager
async def crew_at(url: str, *, lease_ms: int = LEASE_MS) -> AsyncIterator[Crew]:
    async with asyncio.TaskGroup() as tasks:
        crew = Crew(url, tasks, lease_ms=lease_ms)
        try:
            yield crew
        finally:
            await crew.end()
            crew.store.close()


def fenced() -> float:
    return REGISTRY.get_sample_value("tocsin_results_fenced_total") or 0


def assert_one_check_for_every_slot(crew: Crew, ids: Collection[int]) -> None:
    for target_id in ids:
        slots = crew.slots(target_id, INTERVAL_MS)
        assert {later - earlier for earlier, later in pairwise(slots)} == {INTERVAL_MS}, f"target {target_id}"


@pytest.mark.slow
async def test_workers_share_and_hand_over_without_a_gap_and_without_a_check_too_many(postgres_url: str) -> None:
    asked: list[Asked] = []
    async with serving(answering(reply(), asked)) as server, crew_at(postgres_url) as crew:
        ids = crew.watch(TARGETS, server.url, interval_s=INTERVAL_MS / 1000)
        crew.join("a")
        await crew.shared(64)
        await until(lambda: len(asked) > TARGETS)
        second = crew.join("b")
        await crew.shared(32, 32)
        third = crew.join("c")
        await crew.shared(22, 21, 21)
        await asyncio.sleep(INTERVAL_MS / 1000)
        await second.stop()
        await crew.shared(32, 32)
        await third.stop()
        await crew.shared(64)
        await asyncio.sleep(INTERVAL_MS / 1000)
        await crew.end()
        assert_one_check_for_every_slot(crew, ids)
        assert crew.recorded() == len(asked)
        assert {tuple(crew.verdicts(target_id)) for target_id in ids} == {("up",)}


async def test_what_a_killed_worker_held_is_probed_by_another(postgres_url: str) -> None:
    async with serving(answering(reply())) as server, crew_at(postgres_url, lease_ms=SHORT_LEASE_MS) as crew:
        ids = crew.watch(TARGETS, server.url, interval_s=2)
        one, other = crew.join("a"), crew.join("b")
        await crew.shared(32, 32)
        await until(lambda: all(crew.slots(target_id, 2000) for target_id in ids))
        lost = dict(other.home.held)
        other.kill()
        await crew.shared(64)
        assert all(one.home.held[shard] > epoch for shard, epoch in lost.items())
        orphans = [target_id for target_id in ids if shard_of(target_id) in lost]
        newest = {target_id: crew.slots(target_id, 2000)[-1] for target_id in orphans}
        await until(lambda: all(crew.slots(target_id, 2000)[-1] > newest[target_id] for target_id in orphans))
        # Where the machine is short of time a target may be unknown for a moment, which is the truth.
        assert {verdict for target_id in ids for verdict in crew.verdicts(target_id)} <= {"up", "unknown"}


async def test_a_restarted_worker_goes_on_at_once_and_its_former_self_is_out(postgres_url: str) -> None:
    """The lease is an hour long: nobody waits for it."""
    async with serving(answering(reply())) as server, crew_at(postgres_url, lease_ms=3_600_000) as crew:
        crew.watch(1, server.url, interval_s=1)
        before = crew.join("a")
        await until(lambda: len(before.home.held) == SHARDS)
        held = dict(before.home.held)
        before.kill()
        after = crew.join("a", life="second")
        await until(lambda: len(after.home.held) == SHARDS)
        assert after.home.held == {shard: epoch + 1 for shard, epoch in held.items()}
        probed = crew.recorded()
        await until(lambda: crew.recorded() > probed)


async def test_two_processes_of_one_identity_become_two_workers(postgres_url: str) -> None:
    async with crew_at(postgres_url) as crew:
        original = crew.join("a")
        await until(lambda: len(original.home.held) == SHARDS)
        copy = crew.join("a", life="of a copied directory")
        await until(lambda: (len(original.home.held), len(copy.home.held)) == (32, 32))
        assert len(crew.holders()) == 2


class Liar(Home):
    """Reports failures from a moment on."""

    lies = False

    def write(self, entries: Sequence[Entry]) -> list[Settled]:
        return super().write([self._worse(entry) for entry in entries] if self.lies else entries)

    def _worse(self, entry: Entry) -> Entry:
        row = entry.check
        outcome = entry.outcome._replace(result=Result.FAILED, reason="a lie")
        return entry._replace(outcome=outcome, check=row and row._replace(result=int(Result.FAILED), error="a lie"))


async def test_of_two_that_hold_the_same_shard_only_the_rightful_one_moves_verdicts(postgres_url: str) -> None:
    async with serving(answering(reply())) as server, crew_at(postgres_url) as crew:
        ids = crew.watch(TARGETS, server.url, interval_s=1)
        loser = crew.join("a", home=Liar, renew_s=5, deaf=True)
        await until(lambda: all("up" in crew.verdicts(target_id) for target_id in ids))
        winner = crew.join("b", renew_s=0.2)
        await until(lambda: winner.home.lease is not None)
        assert isinstance(loser.home, Liar)
        before = fenced()
        with crew.store.write() as conn:
            stolen = update(tables.shards).values(holder="b", epoch=tables.shards.c.epoch + 1)
            conn.execute(stolen.where(tables.shards.c.holder == "a"))
        loser.home.lies = True
        await until(lambda: len(winner.home.held) == SHARDS)
        # Both probe all of them now: the loser finds out with its next renewal.
        await until(lambda: fenced() - before >= TARGETS)
        await crew.shared(32, 32)
        loser.home.lies = False
        probed = crew.recorded()
        await until(lambda: crew.recorded() > probed + TARGETS)
        assert not any("down" in crew.verdicts(target_id) for target_id in ids)
        for target_id in ids:
            times = [row.at_ms for row in crew.rows(target_id)]
            assert len(times) == len(set(times))


async def test_a_check_that_hangs_keeps_no_shard_and_is_kept_as_history(postgres_url: str) -> None:
    async with serving(hang) as silent, crew_at(postgres_url) as crew:
        ids = crew.watch(SHARDS, silent.url, interval_s=60, timeout_s=8)
        crew.join("a")
        await until(lambda: silent.open > SHARDS // 2)
        newcomer = crew.join("b")
        await crew.shared(32, 32)
        assert not any(crew.rows(target_id) for target_id in ids)
        moved = [target_id for target_id in ids if shard_of(target_id) in newcomer.home.held]
        before = fenced()
        await until(lambda: fenced() > before)
        await until(lambda: any(crew.rows(target_id) for target_id in moved))
        late = [target_id for target_id in moved if crew.rows(target_id)]
        keys = [StateKey(Subject(TARGET, target_id), REACHABLE, 1) for target_id in late]
        with crew.store.read() as conn:
            assert not any(state.last_at_ms for state in states.read_many(conn, keys).values())


class Gated(Home):
    """Loads nothing new while its gate is shut."""

    def __init__(self, crew: Crew, store: Store, clock: Clock, me: Introduction) -> None:
        super().__init__(crew, store, clock, me)
        self.open = threading.Event()
        self.open.set()
        self.waits = False

    def load(self, shards: Collection[int], since_revision: int) -> TargetChanges:
        if since_revision < 0 and not self.open.is_set():
            self.waits = True
            self.open.wait(60)
        return super().load(shards, since_revision)


async def test_loading_what_is_new_stops_no_probing(postgres_url: str) -> None:
    async with serving(answering(reply())) as server, crew_at(postgres_url) as crew:
        ids = crew.watch(SHARDS, server.url, interval_s=1)
        leaver = crew.join("a")
        await crew.shared(64)
        stayer = crew.join("b", home=Gated)
        await crew.shared(32, 32)
        home = stayer.home
        assert isinstance(home, Gated)
        own = [target_id for target_id in ids if shard_of(target_id) in stayer.home.held]
        await until(lambda: all(crew.slots(target_id, 1000) for target_id in own))
        home.open.clear()
        await leaver.stop()
        await until(lambda: home.waits)
        newest = {target_id: crew.slots(target_id, 1000)[-1] for target_id in ids}
        await until(lambda: all(crew.slots(target_id, 1000)[-1] > newest[target_id] + 2000 for target_id in own))
        assert all(crew.slots(target_id, 1000)[-1] == newest[target_id] for target_id in set(ids) - set(own))
        home.open.set()
        await until(lambda: all(crew.slots(target_id, 1000)[-1] > newest[target_id] for target_id in ids))


@pytest.mark.slow
async def test_a_database_that_was_away_for_everybody_moves_no_shard_and_loses_no_result(
    private_postgres: PrivateServer,
) -> None:
    url = private_postgres.create_database()
    async with serving(answering(reply())) as server, crew_at(url, lease_ms=SHORT_LEASE_MS) as crew:
        ids = crew.watch(TARGETS, server.url, interval_s=INTERVAL_MS / 1000)
        members = [crew.join("a"), crew.join("b")]
        await crew.shared(32, 32)
        await until(lambda: all(crew.slots(target_id, INTERVAL_MS) for target_id in ids))
        await asyncio.sleep(SHORT_LEASE_MS / 1000)  # all of them are steady now
        before = [dict(member.home.held) for member in members]
        await asyncio.to_thread(private_postgres.stop)
        probed = server.connections
        await until(lambda: server.connections > probed + 2 * TARGETS)
        await asyncio.to_thread(private_postgres.start)
        probed = server.connections
        await until(lambda: server.connections > probed + TARGETS)
        assert [dict(member.home.held) for member in members] == before
        await crew.end()
        assert_one_check_for_every_slot(crew, ids)
        assert crew.recorded() == server.connections
        assert {tuple(crew.verdicts(target_id)) for target_id in ids} == {("up",)}


class WrongClock(SystemClock):
    """Of a machine nobody has set right."""

    def __init__(self, off_ms: int) -> None:
        self.off_ms = off_ms

    def now_ms(self) -> int:
        return super().now_ms() + self.off_ms


@pytest.mark.slow
async def test_a_worker_whose_clock_is_wrong_goes_by_the_databases(postgres_url: str) -> None:
    began_ms = SYSTEM_CLOCK.now_ms()
    fast, slow = WrongClock(300_000), WrongClock(-300_000)
    async with serving(answering(reply())) as server, crew_at(postgres_url) as crew:
        ids = crew.watch(TARGETS, server.url, interval_s=INTERVAL_MS / 1000)
        crew.join("fast", clock=SharedClock(fast))
        crew.join("slow", clock=SharedClock(slow))
        await crew.shared(32, 32)
        await until(lambda: all(crew.slots(target_id, INTERVAL_MS) for target_id in ids))

        def off_ms() -> dict[str, int]:
            with crew.store.read() as conn:
                found = conn.execute(select(tables.workers.c.id, tables.workers.c.clock_off_ms))
                return {worker_id: off for worker_id, off in found}  # noqa: C416 - a row is no tuple to mypy

        await until(lambda: abs(off_ms()["fast"] - 300_000) < 1000 and abs(off_ms()["slow"] + 300_000) < 1000)
        asked = server.connections
        fast.off_ms = slow.off_ms = 0  # somebody sets the machines right
        await until(lambda: abs(off_ms()["fast"]) < 1000)
        await asyncio.sleep(INTERVAL_MS / 2000)
        assert server.connections - asked < 2 * TARGETS
        await until(lambda: all(len(crew.slots(target_id, INTERVAL_MS)) >= 3 for target_id in ids))
        await crew.end()
        times = [row.at_ms for target_id in ids for row in crew.rows(target_id)]
        assert began_ms - INTERVAL_MS <= min(times) <= max(times) <= SYSTEM_CLOCK.now_ms()
        assert_one_check_for_every_slot(crew, ids)
        assert {tuple(crew.verdicts(target_id)) for target_id in ids} == {("up",)}
