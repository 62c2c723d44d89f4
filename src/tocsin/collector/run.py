"""The collector as a process: starts its parts in a written order, says what it reaches, and stops them in reverse."""

from __future__ import annotations

import asyncio
import gc
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import tocsin
from tocsin.collector import machine, messages
from tocsin.collector.link import Address, Link
from tocsin.collector.log import Log
from tocsin.collector.spool import Spool
from tocsin.collector.ticker import Ticker
from tocsin.collector.ticks import Form, Moment
from tocsin.sensors import SENSORS
from tocsin.sensors.base import Host
from tocsin.sensors.facts import facts

STOP_S: Final = 5.0
"""From the signal to the end of the process."""
LAST_TICK_S: Final = 1.0
"""How long a tick under way may take then."""
FIRST_S: Final = 3.0
"""How long is waited to hear of the aggregator before it is said what can be reached."""


@dataclass(frozen=True)
class Options:
    address: Address
    key: str
    every_s: float
    machine_id: str
    name: str
    tags: tuple[str, ...]
    data_dir: Path
    spool_bytes: int
    root: Path = Path("/")


def run(options: Options, log: Log) -> int:
    """Until SIGTERM or SIGINT; the exit code. Raises SpoolInUse and OSError for what keeps it from starting."""
    return asyncio.run(_run(options, log))


async def _run(options: Options, log: Log) -> int:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    host = Host(options.root)
    boot = machine.boot(host)
    known = facts(host, machine.host_name(host))
    spool = Spool(_directory(options), bound_bytes=options.spool_bytes, log=log)
    try:
        link = Link(
            options.address,
            key=options.key,
            hello=lambda: messages.hello(
                machine_id=options.machine_id,
                boot_id=boot.id,
                name=options.name,
                version=tocsin.__version__,
                every_s=options.every_s,
                facts=known,
                tags=options.tags,
                now_ms=time.time_ns() // 1_000_000,
            ),
            spool=spool,
            log=log,
        )
        begun = asyncio.Event()
        take = _Taker(spool, lambda: loop.call_soon_threadsafe(begun.set), link.news)
        ticker = Ticker(host=host, boot=boot, kinds=list(SENSORS.values()), every_s=options.every_s, take=take, log=log)
        ticker.start()
        async with asyncio.TaskGroup() as group:
            group.create_task(link.run())
            saying = group.create_task(_say(options, begun, ticker, link, spool, take, log))
            gc.collect()
            gc.freeze()  # what is there now stays; looking it through again and again costs and finds nothing
            await stopping.wait()
            saying.cancel()
            await asyncio.to_thread(ticker.stop, LAST_TICK_S)
            link.stop()
        log.info("stopped", waiting=len(spool))
    finally:
        spool.close()
    return 0


class _Taker:
    """Puts what the ticker makes into the spool."""

    def __init__(self, spool: Spool, *tell: Callable[[], object]) -> None:
        self._spool = spool
        self._tell = tell
        self._form: Form | None = None
        self._layout = b""
        self.mean_bytes = 0.0

    def __call__(self, moment: Moment) -> None:
        if moment.form is not self._form:
            self._form, self._layout = moment.form, messages.layout_bytes(moment.form)
        tick = messages.tick_bytes(moment)
        self.mean_bytes += (len(tick) - self.mean_bytes) * (0.1 if self.mean_bytes else 1.0)
        self._spool.append(self._layout, tick)
        for tell in self._tell:
            tell()


def _directory(options: Options) -> Path:
    """What waits is this machine's: with another id it would be sent as another's."""
    return options.data_dir / "collector" / machine.as_file_name(options.machine_id)


async def _say(
    options: Options, begun: asyncio.Event, ticker: Ticker, link: Link, spool: Spool, take: _Taker, log: Log
) -> None:
    """One line on what can and cannot be reached, as soon as that is known."""
    waiting = len(spool)
    await begun.wait()
    try:
        async with asyncio.timeout(FIRST_S):
            await link.known.wait()
    except TimeoutError:
        pass
    where = options.address.host_and_port
    hours = spool.bound_bytes / max(take.mean_bytes, 1.0) * options.every_s / 3600
    place = str(_directory(options)) if spool.is_on_disk else "memory"
    log.info(
        f"collecting every {options.every_s:g} s",
        aggregator=f"{where} takes ticks" if link.is_up else f"{where}: {link.trouble} ({link.reason or 'no answer'})",
        machine=options.name,
        id=options.machine_id,
        sensors=", ".join(ticker.present),
        not_here="; ".join(f"{name}: {why}" for name, why in ticker.absent.items()),
        spool=f"{spool.bound_bytes / 1e6:.0f} MB in {place} hold {hours:.0f} h; {waiting} ticks wait there",
    )
