"""A centre with an aggregator, and workers' homes far from it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tocsin.bus.memory import MemoryBus
from tocsin.catalog import access, targets
from tocsin.core.decide import Policy, State
from tocsin.core.outcome import REACHABLE, Outcome, Result, StateKey, Subject
from tocsin.core.target import TARGET
from tocsin.home import DatabaseHome, Introduction
from tocsin.intake.intake import Intake
from tocsin.lib.clock import SYSTEM_CLOCK, Clock
from tocsin.lib.vault import Vault
from tocsin.pipeline import Entry, Pipeline
from tocsin.services.aggregator import Aggregator, AggregatorSettings
from tocsin.services.worker.remote import RemoteHome
from tocsin.store import checks, states, transitions
from tocsin.store.checks import CheckRow
from tocsin.store.engine import Store

ME = Introduction("worker-1", "life-1", "oslo", "far.example.org", "1.0", remote=True)
SECRET_KEY = "a key for tests, long enough"


class Centre:
    """A database of its own, and, while ``serving``, an aggregator before it on a thread of its own."""

    def __init__(self, url: str, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self.clock = clock
        self.store = Store(url, busy_timeout_s=2)
        self.store.migrate()
        self.vault = Vault(SECRET_KEY)
        self.bus = MemoryBus()
        self.pipeline = Pipeline(self.store, self.bus, clock)
        self.intake = Intake(self.store, self.pipeline, self.bus, clock)
        self.port = 0
        self.key = self.make_key("probe")

    def make_key(self, *scopes: str) -> str:
        with self.store.write() as conn:
            return access.create_key(conn, name="a key", scopes=scopes, now_ms=self.clock.now_ms())[1]

    def revoke_keys(self) -> None:
        with self.store.write() as conn:
            for row in access.list_keys(conn, limit=100):
                access.revoke_key(conn, row.id, now_ms=self.clock.now_ms())

    def add(self, **fields: object) -> int:
        """A target; what is left out does not matter."""
        given = {"name": "a target", "kind": "http", "url": "http://127.0.0.1:9", "interval_s": 60, **fields}
        with self.store.write() as conn:
            return targets.create(conn, given, vault=self.vault, now_ms=self.clock.now_ms()).id

    def add_heartbeat(self) -> int:
        given = {"name": "a job", "kind": "heartbeat", "period_s": 3600, "grace_s": 60}
        with self.store.write() as conn:
            return targets.create(conn, given, vault=self.vault, now_ms=self.clock.now_ms()).id

    def home(self, me: Introduction) -> DatabaseHome:
        return DatabaseHome(
            store=self.store, bus=self.bus, pipeline=self.pipeline, vault=self.vault, clock=self.clock, me=me
        )

    @contextmanager
    def serving(
        self, *, certificate_file: Path | None = None, key_file: Path | None = None, homes: object = None
    ) -> Iterator[None]:
        """On the same port whenever it is started again."""
        aggregator = Aggregator(
            store=self.store,
            clock=self.clock,
            homes=self.home if homes is None else homes,  # type: ignore[arg-type]
            policies=targets.policies_at,
            intake=self.intake,
            settings=AggregatorSettings("127.0.0.1", self.port, certificate_file, key_file),
        )
        begun = threading.Event()
        ending: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        failed: list[BaseException] = []

        async def body() -> None:
            stop = asyncio.Event()
            ending.append((asyncio.get_running_loop(), stop))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(aggregator.run(stop))
                await aggregator.begun.wait()
                if aggregator.port:
                    begun.set()

        def thread() -> None:
            try:
                asyncio.run(body())
            except* Exception as error:
                failed.extend(error.exceptions)
            begun.set()

        running = threading.Thread(target=thread, name="aggregator")
        running.start()
        begun.wait()
        try:
            if failed:
                raise failed[0]
            self.port = aggregator.port
            yield
        finally:
            (loop, stop) = ending[0]
            with suppress(RuntimeError):  # it has ended by itself
                loop.call_soon_threadsafe(stop.set)
            running.join()

    def close(self) -> None:
        self.store.close()

    # ── what it knows ─────────────────────────────────────────────────────────────────────────────

    def rows(self, target_id: int) -> list[CheckRow]:
        """Its checks, oldest first."""
        with self.store.read() as conn:
            return checks.of_target(conn, target_id, from_ms=0, to_ms=2**60, limit=100_000)[::-1]

    def state(self, target_id: int, location_id: int = 1, rule: str = REACHABLE) -> State:
        key = StateKey(Subject(TARGET, target_id), rule, location_id)
        with self.store.read() as conn:
            return states.read_many(conn, [key])[key]

    def verdicts(self, target_id: int, location_id: int = 0) -> list[str]:
        """Every verdict it ever had, oldest first."""
        with self.store.read() as conn:
            found = transitions.of_subject(
                conn, Subject(TARGET, target_id), from_ms=0, to_ms=2**60, location_id=location_id
            )
        return [one.transition.after.value for one in reversed(found)]


@contextmanager
def far_home(
    place: Path,
    *,
    port: int,
    key: str,
    scheme: str = "grpc",
    host: str = "127.0.0.1",
    authority_file: Path | None = None,
    spool_bytes: int = 1 << 30,
    clock: Clock = SYSTEM_CLOCK,
) -> Iterator[RemoteHome]:
    """The home of a worker with its data in ``place``."""
    with RemoteHome.open(
        url=f"{scheme}://{host}:{port}",
        key=key,
        authority_file=authority_file,
        spool_file=place / "spool.db",
        spool_bytes=spool_bytes,
        vault=Vault.in_directory(place),
        clock=clock,
    ) as home:
        yield home


def seen(
    target_id: int,
    at_ms: int,
    result: Result = Result.PASSED,
    *,
    location_id: int = 1,
    epoch: int = 1,
    reason: str = "",
    due_ms: int | None = None,
    latency_us: int | None = 1000,
) -> Entry:
    """What a worker there found at that time, with a row and, where it did not pass, with evidence."""
    outcome = Outcome(
        StateKey(Subject(TARGET, target_id), REACHABLE, location_id), at_ms, result, latency_us, reason, due_ms
    )
    row = CheckRow(at_ms, target_id, latency_us, None, 10, None, 20, None, location_id, int(result), reason or None)
    evidence = {"error": reason} if result is Result.FAILED else None
    return Entry(outcome, Policy(), row, evidence, epoch=epoch)


def slots(first_ms: int, number: int, every_ms: int = 1000) -> Sequence[int]:
    return range(first_ms, first_ms + number * every_ms, every_ms)
