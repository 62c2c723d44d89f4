"""The door for workers that do not reach the database, and for collectors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING

from tocsin.catalog import targets
from tocsin.core.shards import Introduction
from tocsin.home import DatabaseHome
from tocsin.lib.log import get_logger
from tocsin.lib.threads import Threads, on_this_loop
from tocsin.main import ROLES
from tocsin.main.ends import CannotStart, Ends
from tocsin.main.house import House

if TYPE_CHECKING:
    from tocsin.services.aggregator import Aggregator

log = get_logger("main")


@asynccontextmanager
async def start(house: House, ends: Ends) -> AsyncIterator[None]:
    """In a whole installation a door that cannot be opened is worth a warning, and everything else goes on."""
    if house.settings.grpc_port == 0:
        if not house.is_whole:
            raise CannotStart("TOCSIN_GRPC_PORT is 0: an aggregator is of no use without a port")
        yield
        return
    with closing(Threads("aggregator-begin", 1)) as threads:
        aggregator = await threads.run(_aggregator, house)

    async def run(stop: asyncio.Event) -> None:
        from tocsin.services.aggregator import CannotListen

        try:
            await aggregator.run(stop)
        except CannotListen as error:
            if not house.is_whole:
                raise CannotStart(str(error)) from error
            log.warning("workers far away and collectors cannot report", reason=str(error))
            await stop.wait()

    async with on_this_loop(run, ends.of("aggregator"), stop_s=ROLES["aggregator"].stop_s):
        await aggregator.begun.wait()
        if not (aggregator.port or house.is_whole):
            await ends.over.wait()
        yield


def _aggregator(house: House) -> Aggregator:
    """On a thread, beside what is at work by now: gRPC takes a while to load, and not everybody needs it."""
    from tocsin.services.aggregator import Aggregator, AggregatorSettings

    def home(me: Introduction) -> DatabaseHome:
        return DatabaseHome(
            store=house.store, bus=house.bus, pipeline=house.pipeline, vault=house.vault, clock=house.clock, me=me
        )

    settings = house.settings
    return Aggregator(
        store=house.store,
        clock=house.clock,
        homes=home,
        policies=targets.policies_at,
        intake=house.intake,
        ticks_kept_ms=house.kept.ticks_ms,
        settings=AggregatorSettings(settings.host, settings.grpc_port, settings.grpc_cert, settings.grpc_key),
    )
