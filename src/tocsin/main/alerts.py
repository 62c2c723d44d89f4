"""What people are told, and the sweep that notices silence."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

from tocsin.catalog import silence
from tocsin.lib.threads import Threads, on_this_loop
from tocsin.main import ROLES
from tocsin.main.ends import Ends
from tocsin.main.house import House
from tocsin.services.alerts import Alerts
from tocsin.services.sweep import Sweep

SWEEP_STOP_S = 0.3


@asynccontextmanager
async def start(house: House, ends: Ends) -> AsyncIterator[None]:
    alerts = Alerts(
        store=house.store,
        vault=house.vault,
        bus=house.bus,
        clock=house.clock,
        network=house.network,
        link_base=house.settings.link_base,
    )
    sweep = Sweep(
        store=house.store,
        pipeline=house.pipeline,
        clock=house.clock,
        policies=silence.policies,
        listeners=silence.LISTENERS,
    )
    with closing(Threads("sweep-begin", 1)) as threads:
        await threads.run(sweep.begin)
    async with (
        on_this_loop(alerts.run, ends.of("alerts"), stop_s=ROLES["alerts"].stop_s - SWEEP_STOP_S),
        on_this_loop(sweep.run, ends.of("sweep"), stop_s=SWEEP_STOP_S),
    ):
        yield
