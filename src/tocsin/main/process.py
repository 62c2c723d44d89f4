"""One process: it opens what its roles need, starts them in the table's order and stops them in reverse."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from functools import partial
from typing import Final, TypeAlias

import uvloop

from tocsin.lib.log import configure, get_logger
from tocsin.lib.vault import VaultError
from tocsin.main import ROLES
from tocsin.main.ends import CannotStart, Ends
from tocsin.main.garbage import settle_down
from tocsin.main.place import Place
from tocsin.settings import Settings
from tocsin.store.engine import StoreError

SWITCH_S: Final = 0.001
"""How long one thread may keep another from running Python: short, so that a page being made delays no check."""

END_S: Final = 10.0
"""After so long a stop has to be over, whatever does not come to an end."""

OUTPOST: Final = ("worker",)
"""The roles that can do without a database."""

Start: TypeAlias = Callable[[Ends], AbstractAsyncContextManager[None]]

log = get_logger("main")


def run(roles: Sequence[str], settings: Settings) -> int:
    """Runs these roles until SIGTERM or SIGINT; returns the exit code."""
    configure(settings.log_format, settings.log_level)
    sys.setswitchinterval(SWITCH_S)
    ordered = tuple(role for role in ROLES if role in roles)
    try:
        with (
            _opened(ordered, settings) as (place, starts),
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            return runner.run(_serve(ordered, place, starts))
    except (CannotStart, StoreError, VaultError) as error:
        print(f"Tocsin cannot start: {error}", file=sys.stderr)
        return 1


@contextmanager
def _opened(roles: tuple[str, ...], settings: Settings) -> Iterator[tuple[Place, Sequence[Start]]]:
    """Where these roles work, and what is to be started there, in this order.

    All is loaded before anything runs: loading keeps the loop for a second or two.
    """
    if settings.aggregator_url:
        if roles != OUTPOST:
            raise CannotStart("TOCSIN_AGGREGATOR_URL is for a worker that has no database: `tocsin worker`")
        from tocsin.main.outpost import open_outpost

        with open_outpost(settings) as outpost:
            yield outpost, [*_starts(outpost, "tocsin.main.outpost"), *_health(outpost)]
        return
    from tocsin.main.house import open_house

    with open_house(roles, settings) as house:
        starts = _starts(house, "tocsin.main.clock", *(ROLES[role].module for role in roles))
        if house.is_whole and settings.collect:
            starts += _starts(house, "tocsin.main.own_machine")
        served = any(ROLES[role].serves_web for role in roles)
        yield house, [*starts, *(() if served else _health(house))]


def _starts(place: Place, *modules: str) -> list[Start]:
    return [partial(importlib.import_module(module).start, place) for module in modules]


def _health(place: Place) -> list[Start]:
    return [] if place.listener is None else _starts(place, "tocsin.main.health")


async def _serve(roles: Sequence[str], place: Place, starts: Sequence[Start]) -> int:
    """Starts one after the other and, once it is told to end, stops in reverse, within ten seconds in all."""
    ends = Ends()

    def told_to_end() -> None:
        ends.over.set()
        _leave_after(END_S)

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_end)
    async with AsyncExitStack() as running:
        for start in starts:
            await running.enter_async_context(start(ends))
        settle_down()
        if not ends.over.is_set():
            log.info("ready", roles=list(roles))
            place.announce()
        await ends.over.wait()
        ends.stopping = True
        _leave_after(END_S)
        log.info("stopping")
        place.hurry()
    if ends.refusal is not None:
        raise ends.refusal
    return 1 if ends.failed else 0


def _leave_after(seconds: float) -> None:
    """A thread that waits for a database that says nothing cannot be ended, and Python waits for every thread. What is
    committed by then is safe, as it is when the process is killed."""
    timer = threading.Timer(seconds, _leave)
    timer.daemon = True
    timer.start()


def _leave() -> None:
    log.error("something does not come to an end, a call to the database perhaps; leaving without it")
    os._exit(1)
