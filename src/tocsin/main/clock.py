"""Keeps a process's clock at the database's time."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Final

from tocsin.lib.log import get_logger
from tocsin.lib.threads import Threads, on_this_loop
from tocsin.main.ends import Ends
from tocsin.main.house import House
from tocsin.store import server_clock
from tocsin.store.engine import StoreError

EVERY_S: Final = 10.0
STOP_S: Final = 0.1

log = get_logger("main")


def start(house: House, ends: Ends) -> AbstractAsyncContextManager[None]:
    return on_this_loop(partial(_follow, house), ends.of("clock"), stop_s=STOP_S)


async def _follow(house: House, stop: asyncio.Event) -> None:
    threads = Threads("clock", 1)
    try:
        while True:
            try:
                async with asyncio.timeout(EVERY_S):
                    await stop.wait()
                return
            except TimeoutError:
                pass
            try:
                await threads.run(server_clock.teach, house.clock, house.store)
            except StoreError as error:
                log.debug("the database's time is not to be had", reason=str(error))
    finally:
        threads.close()
