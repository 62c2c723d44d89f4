"""The alerts service in a process of its own, to be killed: python -m tests.services.alerts_child DATABASE_URL KEY."""

from __future__ import annotations

import asyncio
import sys

import uvloop

from tocsin.bus.memory import MemoryBus
from tocsin.core.alerting import AlertTiming
from tocsin.lib.clock import SYSTEM_CLOCK
from tocsin.lib.net import Network
from tocsin.lib.vault import Vault
from tocsin.services.alerts import Alerts
from tocsin.store.engine import Store

TIMING = AlertTiming(group_wait_ms=0, claim_ms=300)


async def main(database_url: str, key: str) -> None:
    alerts = Alerts(
        store=Store(database_url),
        vault=Vault(key),
        bus=MemoryBus(),
        clock=SYSTEM_CLOCK,
        network=Network.open,
        link_base="http://127.0.0.1:8080",
        timing=TIMING,
    )
    await alerts.run(asyncio.Event())


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(*sys.argv[1:]))
