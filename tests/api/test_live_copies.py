"""The live view of several copies of the API that share a PostgreSQL and a bus: whichever a browser reaches, it sees
the same; and what becomes of it when Redis is gone."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from websockets.asyncio.client import ClientConnection

from tests.api.conftest import HTTP_TARGET, PASSWORD, loopback_network
from tests.api.reporting import Reporters
from tests.api.test_live import said, served, stall, watching
from tests.api.test_live_machines import until
from tests.api.test_targets import checked
from tests.clocks import FakeClock
from tests.redis import PrivateRedis
from tocsin.api import live
from tocsin.api.app import create_app
from tocsin.api.context import ApiContext
from tocsin.bus import open_bus
from tocsin.bus.base import Bus
from tocsin.catalog import access, channels, rules, targets
from tocsin.core.alerting import AlertTiming
from tocsin.core.outcome import Result
from tocsin.lib.clock import SYSTEM_CLOCK
from tocsin.lib.net import Network
from tocsin.lib.vault import Vault
from tocsin.pipeline import Pipeline
from tocsin.services import alerts
from tocsin.services.alerts import Alerts
from tocsin.store.engine import Store

LONG_S = 60.0


class Installation:
    """One database and one bus; every process has a store and an end of its own."""

    def __init__(self, database_url: str, bus_url: str, place: Path) -> None:
        self.vault = Vault("a key for tests, long enough")
        self._database_url = database_url
        self._bus_url = bus_url
        self._place = place
        self._stack = ExitStack()
        self.store, self.bus = self.process()
        self.pipeline = Pipeline(self.store, self.bus, SYSTEM_CLOCK)
        now_ms = SYSTEM_CLOCK.now_ms()
        with self.store.write() as conn:
            access.ensure_admin(conn, password=PASSWORD, now_ms=now_ms)
            rules.ensure_default_rule(conn, now_ms=now_ms)
            _, self.key = access.create_key(conn, name="admin", scopes=["admin"], now_ms=now_ms)

    def process(self) -> tuple[Store, Bus]:
        store = Store(self._database_url)
        self._stack.callback(store.close)
        return store, self._stack.enter_context(open_bus(self._bus_url, database_url=self._database_url))

    def close(self) -> None:
        self._stack.close()

    @asynccontextmanager
    async def api(self) -> AsyncIterator[str]:
        """The address of another copy."""
        store, bus = self.process()
        context = ApiContext(
            store=store,
            vault=self.vault,
            clock=SYSTEM_CLOCK,
            bus=bus,
            pipeline=Pipeline(store, bus, SYSTEM_CLOCK),
            network=loopback_network,
            started_ms=SYSTEM_CLOCK.now_ms(),
            web_dir=self._place,
        )
        async with served(create_app(context)) as address:
            yield address

    def target(self, name: str) -> int:
        given = {**HTTP_TARGET, "name": name}
        with self.store.write() as conn:
            made = targets.create(conn, given, vault=self.vault, now_ms=SYSTEM_CLOCK.now_ms())
        self.bus.ring("targets")
        return made.id


@pytest.fixture(params=["postgres", "redis"])
def installation(
    request: pytest.FixtureRequest, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Installation]:
    monkeypatch.setattr(live, "AT_MOST_EVERY_S", 0.01)
    bus_url = "postgres://" if request.param == "postgres" else request.getfixturevalue("redis_url")
    made = Installation(postgres_url, bus_url, tmp_path)
    yield made
    made.close()


class Watcher:
    """What a browser knows by now."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.verdicts: dict[int, str] = {}
        self.transitions: list[tuple[int, str]] = []

    async def until(self, true: Callable[[Watcher], bool]) -> None:
        async with asyncio.timeout(LONG_S):
            while not true(self):
                self.hear(await said(self._socket))

    async def sees_changes(self, times: int) -> None:
        """Until verdicts were other ones so many times."""
        for _ in range(times):
            before = dict(self.verdicts)
            await self.until(lambda it, before=before: it.verdicts != before)  # type: ignore[misc]

    def hear(self, message: dict[str, Any]) -> None:
        if message["type"] == "initial":
            self.verdicts.clear()
        self.verdicts |= {target["id"]: target["verdict"] for target in message["targets"]}
        for number in message.get("removed", ()):
            self.verdicts.pop(number, None)
        self.transitions += [(one["target"]["id"], one["to"]) for one in message.get("transitions", ())]


async def test_watchers_of_two_copies_see_the_same_whoever_made_the_change(installation: Installation) -> None:
    shop = installation.target("shop")
    async with (
        installation.api() as here,
        installation.api() as there,
        watching(here, installation.key) as one,
        watching(there, installation.key) as two,
        httpx.AsyncClient(headers={"Authorization": f"Bearer {installation.key}"}, timeout=LONG_S) as client,
    ):
        watchers = [Watcher(one), Watcher(two)]
        for watcher in watchers:
            await watcher.until(lambda it: shop in it.verdicts)
        now_ms = SYSTEM_CLOCK.now_ms()
        await asyncio.to_thread(
            installation.pipeline.write, [checked(shop, now_ms, Result.FAILED, "refused", latency_us=None)]
        )
        for watcher in watchers:
            await watcher.until(lambda it: it.verdicts[shop] == "down" and it.transitions == [(shop, "down")])
        made = await client.post(f"http://{here}/v1/targets", json={**HTTP_TARGET, "name": "made here"})
        assert made.status_code == 201, made.text
        number = made.json()["id"]
        for watcher in watchers:
            await watcher.until(lambda it: it.verdicts.get(number) == "unknown")
        assert (await client.post(f"http://{there}/v1/targets/{shop}/pause")).status_code == 200
        for watcher in watchers:
            await watcher.until(lambda it: it.transitions[-1] == (shop, "unknown"))
        assert (await client.delete(f"http://{there}/v1/targets/{number}")).status_code == 204
        for watcher in watchers:
            await watcher.until(lambda it: number not in it.verdicts)
        assert watchers[0].verdicts == watchers[1].verdicts == {shop: "unknown"}
        assert watchers[0].transitions == watchers[1].transitions == [(shop, "down"), (shop, "unknown")]


async def test_a_change_that_is_committed_after_a_later_one_is_told_too(installation: Installation) -> None:
    slow, quick = installation.target("slow"), installation.target("quick")
    store, pipeline = installation.store, installation.pipeline
    now_ms = SYSTEM_CLOCK.now_ms()
    async with installation.api() as address, watching(address, installation.key) as socket:
        watcher = Watcher(socket)
        await watcher.until(lambda it: it.verdicts.keys() == {slow, quick})
        with ExitStack() as later:
            first = later.enter_context(store.write())
            _, begun = pipeline.write_within(first, [checked(slow, now_ms, Result.FAILED, "refused")])
            pipeline.write([checked(quick, now_ms, Result.FAILED, "refused")])
            await watcher.until(lambda it: it.transitions == [(quick, "down")])
            assert watcher.verdicts[slow] == "unknown"
        pipeline.ring(begun)
        await watcher.until(lambda it: it.transitions == [(quick, "down"), (slow, "down")])
        assert watcher.verdicts == {slow: "down", quick: "down"}
        numbers = "SELECT subject_id FROM transitions WHERE location_id = 0 ORDER BY id"
        with store.read() as conn:
            assert list(conn.execute(text(numbers)).scalars()) == [slow, quick]  # the numbers are the other way round


async def test_watchers_of_two_copies_see_a_machine_as_it_reports(installation: Installation) -> None:
    clock = FakeClock(SYSTEM_CLOCK.now_ms())
    pipeline = Pipeline(installation.store, installation.bus, clock)
    reporters = Reporters(installation.store, pipeline, clock, installation.bus)
    number = await asyncio.to_thread(reporters.add, "db-1")
    async with (
        installation.api() as here,
        installation.api() as there,
        watching(here, installation.key) as one,
        watching(there, installation.key) as two,
        httpx.AsyncClient(headers={"Authorization": f"Bearer {installation.key}"}, timeout=LONG_S) as client,
    ):
        for browser in (one, two):
            (machine,) = (await said(browser))["machines"]
            assert (machine["id"], machine["verdict"]) == (number, "unknown")
        for memory in (0.5, 0.25):
            clock.tick(5)
            await asyncio.to_thread(reporters.report, number, memory=memory)
            for browser in (one, two):
                await until(browser, lambda it, memory=memory: memory in memory_of(it))  # type: ignore[misc]
        assert (await client.delete(f"http://{there}/v1/machines/{number}")).status_code == 204
        for browser in (one, two):
            await until(browser, lambda it: it["machines_removed"] == [number])


def memory_of(message: dict[str, Any]) -> list[float | None]:
    return [machine["current"]["memory"] for machine in message["machines"]]


# ── Redis is gone ─────────────────────────────────────────────────────────────────────────────────────

TARGETS = 50


class Load:
    """A process that goes on storing checks of many targets, one of which changes its verdict again and again."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self.ids = [installation.target(f"target {number}") for number in range(TARGETS)]
        self.stored = 0
        self.failed: list[BaseException] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        store, bus = self._installation.process()
        pipeline = Pipeline(store, bus, SYSTEM_CLOCK)
        try:
            while not self._stop.is_set():
                turning = self.ids[self.stored // TARGETS % TARGETS]
                batch = [
                    checked(number, SYSTEM_CLOCK.now_ms(), Result.FAILED if number == turning else Result.PASSED)
                    for number in self.ids
                ]
                pipeline.write(batch)
                self.stored += len(batch)
                time.sleep(0.02)
        except BaseException as error:
            self.failed.append(error)


@asynccontextmanager
async def telling(installation: Installation) -> AsyncIterator[None]:
    """What routes alerts."""
    store, bus = installation.process()
    with store.write() as conn:
        given = {"kind": "webhook", "name": "hook", "url": "http://127.0.0.1:9/"}
        channels.create(conn, given, vault=installation.vault, now_ms=SYSTEM_CLOCK.now_ms())
    service = Alerts(
        store=store,
        vault=installation.vault,
        bus=bus,
        clock=SYSTEM_CLOCK,
        network=Network.open,
        link_base="http://127.0.0.1:8080",
        timing=AlertTiming(group_wait_ms=0),
    )
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(service.run(stop))
        yield
        stop.set()
        await asyncio.wait([task], timeout=5)
        task.cancel()


def routed(store: Store) -> int:
    with store.read() as conn:
        statement = "SELECT count(*) FROM transitions WHERE location_id = 0 AND routed_ms IS NOT NULL"
        return int(conn.execute(text(statement)).scalar_one())


async def test_without_redis_everything_goes_on_and_with_it_the_live_view_is_quick_again(
    private_redis: PrivateRedis, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "AT_MOST_EVERY_S", 0.05)
    monkeypatch.setattr(live, "AT_LEAST_EVERY_S", 0.2)
    monkeypatch.setattr(alerts, "EVERY_S", 0.2)
    installation = Installation(postgres_url, private_redis.url, tmp_path)
    try:
        async with (
            telling(installation),
            installation.api() as address,
            watching(address, installation.key) as socket,
        ):
            with Load(installation) as load:
                watcher = Watcher(socket)

                async def goes_on() -> None:
                    """Checks are stored, verdicts change and are routed and told: all of it after now."""
                    stored, told = load.stored, len(watcher.transitions)
                    done = await asyncio.to_thread(routed, installation.store)
                    await watcher.until(lambda it: len(it.transitions) > told + 5 and load.stored > stored + 500)
                    async with asyncio.timeout(LONG_S):
                        while await asyncio.to_thread(routed, installation.store) <= done + 5:
                            watcher.hear(await said(socket))

                await goes_on()
                private_redis.stop()
                await goes_on()
                private_redis.start()
                await goes_on()
                # Verdicts change before any watcher's eyes although nobody can read the database for it.
                readable = stall(monkeypatch)
                await watcher.sees_changes(30)  # the first of them may have been on their way
                told = len(watcher.transitions)
                await watcher.sees_changes(30)
                assert len(watcher.transitions) == told
                readable.append(True)
                await watcher.until(lambda it: len(it.transitions) > told)
                assert not load.failed
    finally:
        installation.close()
