"""The worker: probes, on a thread and an event loop of its own, so that nothing else in the process delays a check."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from uuid import uuid4

import tocsin
from tocsin.core.shards import Introduction
from tocsin.home import DatabaseHome, Home
from tocsin.lib.identity import identity
from tocsin.lib.threads import on_its_own_thread
from tocsin.main import ROLES
from tocsin.main.ends import Ends
from tocsin.main.house import House
from tocsin.main.place import Place
from tocsin.services.worker import Worker, WorkerSettings
from tocsin.settings import Settings


@asynccontextmanager
async def start(house: House, ends: Ends) -> AsyncIterator[None]:
    with introduction(house.settings) as me:
        home = DatabaseHome(
            store=house.store, bus=house.bus, pipeline=house.pipeline, vault=house.vault, clock=house.clock, me=me
        )
        async with probing(house, home, me, ends):
            yield


@contextmanager
def introduction(settings: Settings, *, remote: bool = False) -> Iterator[Introduction]:
    """Who the worker of this process is, for as long as it is that."""
    with suppress(OSError):  # without it a restart is a new worker, and the old one's lease has to run out
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with identity(settings.data_dir / "workers") as own_id:
        yield Introduction(
            id=own_id,
            life=str(uuid4()),
            location=settings.location,
            name=socket.gethostname(),
            version=tocsin.__version__,
            remote=remote,
        )


def probing(place: Place, home: Home, me: Introduction, ends: Ends) -> AbstractAsyncContextManager[None]:
    worker = Worker(
        home=home,
        me=me,
        bus=place.bus,
        clock=place.clock,
        open_network=place.network,
        settings=WorkerSettings(
            canary=place.settings.canary,
            max_concurrent=place.settings.max_concurrent_checks,
            buffer=place.settings.result_buffer,
        ),
    )
    place.lacking.append(worker.lacks)
    return on_its_own_thread("worker", worker.run, ends.of("worker"), stop_s=ROLES["worker"].stop_s)
