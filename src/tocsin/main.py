"""Chooses engines, starts services in a written order, and stops them in reverse. Nothing else does either.

Everything runs in one process: probing on a thread and event loop of its own, so that no page and no sign-in delays
a check; the web server and the other loops on the main one.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial

import uvicorn
import uvloop

from tocsin.api.app import create_app
from tocsin.api.context import ApiContext
from tocsin.bus.memory import MemoryBus
from tocsin.catalog import access, rules, targets
from tocsin.lib.clock import SYSTEM_CLOCK
from tocsin.lib.log import configure, get_logger
from tocsin.lib.net import Network
from tocsin.lib.threads import on_its_own_thread, on_this_loop
from tocsin.lib.vault import Vault
from tocsin.pipeline import Pipeline
from tocsin.services.alerts import Alerts
from tocsin.services.keeper import Keeper, Retention
from tocsin.services.sweep import Sweep
from tocsin.services.worker import TargetChanges, Worker, WorkerSettings
from tocsin.settings import Settings
from tocsin.store import locations
from tocsin.store.engine import Store, StoreError

SWITCH_S = 0.001
"""How long one thread may keep another from running Python: short, so that a page being made delays no check."""

LAST_WAIT_S = 0.5
"""How long anybody waits for a lock of the database once all is stopping."""

log = get_logger("main")


class CannotStart(Exception):
    """What keeps Tocsin from starting, and what to do about it, in one line."""


def run(settings: Settings) -> int:
    """Runs everything until SIGTERM or SIGINT; returns the exit code."""
    configure(settings.log_format, settings.log_level)
    sys.setswitchinterval(SWITCH_S)
    try:
        with _prepared(settings) as house, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(house))
    except (CannotStart, StoreError) as error:
        print(f"Tocsin cannot start: {error}", file=sys.stderr)
        return 1


@dataclass(frozen=True, slots=True)
class _House:
    """What every service is given a part of."""

    settings: Settings
    store: Store
    vault: Vault
    bus: MemoryBus
    pipeline: Pipeline
    listener: socket.socket
    location_id: int
    first_password: str | None
    """Of ``admin``, when it was made just now."""

    def network(self) -> AbstractAsyncContextManager[Network]:
        return Network.open(
            allowed_networks=self.settings.allowed_networks,
            blocked_networks=self.settings.blocked_networks,
            resolvers=self.settings.resolvers,
        )


@contextmanager
def _prepared(settings: Settings) -> Iterator[_House]:
    """Before anything runs: the port, the database at this version's schema, and what a first start needs."""
    with ExitStack() as closing:
        listener = closing.enter_context(_listen(settings.host, settings.port))
        settings = settings.model_copy(update={"port": listener.getsockname()[1]})
        try:
            settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise CannotStart(f"the data directory {settings.data_dir} cannot be made: {error.strerror}") from error
        store = Store(settings.database, data_dir=settings.data_dir)
        closing.callback(store.close)
        match store.schema_state():
            case "ahead":
                raise CannotStart("the database was made by a newer version of Tocsin; update this one")
            case "empty" | "behind":
                store.migrate()
        key = settings.secret_key.get_secret_value() if settings.secret_key else None
        vault = Vault.in_directory(settings.data_dir, key=key)
        chosen = settings.admin_password.get_secret_value() if settings.admin_password else None
        now_ms = SYSTEM_CLOCK.now_ms()
        with store.write() as conn:
            made = access.ensure_admin(conn, password=chosen, now_ms=now_ms)
            location_id = locations.ensure(conn, settings.location)
            rules.ensure_default_rule(conn, now_ms=now_ms)
            targets.ensure_own(conn, vault, url=f"{settings.address}/health/live", now_ms=now_ms)
        bus = MemoryBus()
        pipeline = Pipeline(store, bus, SYSTEM_CLOCK)
        yield _House(settings, store, vault, bus, pipeline, listener, location_id, made)


def _listen(host: str, port: int) -> socket.socket:
    """Bound before anything else starts, so that a taken port is said at once and nothing is half begun."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise CannotStart(
            f"{host}:{port} cannot be listened on ({error.strerror}); --port or TOCSIN_PORT names another"
        ) from error
    return listener


async def _serve(house: _House) -> int:
    """Start: keeper, alerts, sweep, web server, worker. Stop: the reverse, within ten seconds in all.

    The worker comes last and goes first, so that it never finds this Tocsin's own address dead.
    A service that ends by itself ends everything: half a Tocsin would look healthy and not be.
    """
    over = asyncio.Event()
    stopping = False
    failed: list[str] = []

    def ended(name: str, error: BaseException | None) -> None:
        if not stopping or error is not None:
            failed.append(name)
            log.error("a service ended by itself", failed=name, exc_info=error)
        over.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    sweep = Sweep(store=house.store, pipeline=house.pipeline, clock=SYSTEM_CLOCK, policies=targets.policies)
    sweep.begin()
    async with AsyncExitStack() as running:
        start = running.enter_async_context
        await start(on_this_loop(_keeper(house).run, partial(ended, "keeper"), stop_s=0.5))
        await start(on_this_loop(_alerts(house).run, partial(ended, "alerts"), stop_s=2.5))
        await start(on_this_loop(sweep.run, partial(ended, "sweep"), stop_s=0.5))
        await start(_web(house, partial(ended, "web")))
        await start(on_its_own_thread("worker", _worker(house).run, partial(ended, "worker"), stop_s=5.5))
        settle_down()
        _announce(house)
        await over.wait()
        stopping = True
        log.info("stopping")
        house.store.hurry(LAST_WAIT_S)
    return 1 if failed else 0


def _keeper(house: _House) -> Keeper:
    days = house.settings
    return Keeper(
        store=house.store,
        clock=SYSTEM_CLOCK,
        retention=Retention.of_days(
            checks=days.keep_checks_days,
            hours=days.keep_hours_days,
            days=days.keep_days_days,
            notifications=days.keep_notifications_days,
        ),
    )


def _alerts(house: _House) -> Alerts:
    return Alerts(
        store=house.store,
        vault=house.vault,
        bus=house.bus,
        clock=SYSTEM_CLOCK,
        network=house.network,
        link_base=house.settings.link_base,
    )


def _worker(house: _House) -> Worker:
    def load(since_revision: int) -> TargetChanges:
        with house.store.read() as conn:
            return TargetChanges(*targets.load_targets(conn, house.vault, since_revision))

    return Worker(
        pipeline=house.pipeline,
        bus=house.bus,
        clock=SYSTEM_CLOCK,
        load=load,
        open_network=house.network,
        settings=WorkerSettings(
            location_id=house.location_id,
            canary=house.settings.canary,
            max_concurrent=house.settings.max_concurrent_checks,
            buffer=house.settings.result_buffer,
        ),
    )


class _Server(uvicorn.Server):
    """Uvicorn without its own hand on the signals: this process has one place that stops things."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket) -> None:
        super().__init__(config)
        self._listener = listener
        self._stop = asyncio.Event()
        self.begun = asyncio.Event()
        """It answers, or never will."""

    async def run_until(self, stop: asyncio.Event) -> None:
        self._stop = stop
        try:
            await self.serve([self._listener])
        finally:
            self.begun.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.begun.set()

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or self._stop.is_set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def _web(house: _House, ended: partial[None]) -> AsyncIterator[None]:
    app = create_app(
        ApiContext(
            store=house.store,
            vault=house.vault,
            clock=SYSTEM_CLOCK,
            bus=house.bus,
            pipeline=house.pipeline,
            network=house.network,
            started_ms=SYSTEM_CLOCK.now_ms(),
            public_url=house.settings.public_url,
            metrics_public=house.settings.metrics_public,
        )
    )
    server = _Server(
        uvicorn.Config(
            app,
            ws="websockets-sansio",
            ws_max_size=65_536,  # a browser says "ping" and nothing longer
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        ),
        house.listener,
    )
    async with on_this_loop(server.run_until, ended, stop_s=2):
        await server.begun.wait()
        yield


def settle_down() -> None:
    """What was made at the start lives to the end: the collector need not walk it again and again, nor look for
    cycles after every few hundred objects."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    gc.enable()


def _announce(house: _House) -> None:
    """Where to go and how to get in, on standard output, once everything answers."""
    print(f"Tocsin is ready at {house.settings.link_base}", flush=True)
    if house.first_password is not None:
        print(
            f"Sign in as admin with the password {house.first_password}\n"
            "It is shown this once; change it under Settings, or with `tocsin user password admin`.",
            flush=True,
        )
