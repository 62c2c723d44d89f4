"""The machine this installation runs on: looked at by the collector's sensors, and handed to intake without a wire.

Two threads beside everything else: one looks, one writes, so that a database that stalls costs no tick.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import numpy as np

import tocsin
from tocsin.collector import machine
from tocsin.collector.ticker import SYSTEM_TIME, Ticker
from tocsin.collector.ticks import Form, Moment
from tocsin.intake.arrived import Arrived, IdentityInUse, Introduced, Refused
from tocsin.lib.log import get_logger
from tocsin.main.ends import Ends
from tocsin.main.house import House
from tocsin.sensors import SENSORS
from tocsin.sensors.base import Host
from tocsin.sensors.facts import facts
from tocsin.store.engine import StoreError

EVERY_S: Final = 5.0
KEPT: Final = 1000
"""Ticks that wait in memory while the database cannot be written; the oldest go first."""
AGAIN_S: Final = 2.0
STOP_S: Final = 0.05
"""What is being looked at, or written, may take so long then; after that it is left behind."""

log = get_logger("collector")


@asynccontextmanager
async def start(house: House, ends: Ends) -> AsyncIterator[None]:
    if sys.platform != "linux":
        log.info("this machine itself is not looked at: its sensors are those of Linux")
        yield
        return
    writer = _Writer(house)
    ticker = Ticker(
        host=writer.host,
        boot=writer.boot,
        kinds=list(SENSORS.values()),
        every_s=EVERY_S,
        take=writer.take,
        log=log,
    )
    writer.start()
    ticker.start()
    try:
        yield
    finally:
        ticker.stop(STOP_S / 2)
        writer.stop(STOP_S / 2)


class _Writer:
    def __init__(self, house: House) -> None:
        self.host = Host()
        self.boot = machine.boot(self.host)
        self._house = house
        self._waiting: deque[Arrived] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._machine_id: int | None = None
        self._form: Form | None = None
        self._starts = np.empty(0, np.int64)
        self._trouble = ""
        self._thread = threading.Thread(target=self._run, name="own-machine", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, within_s: float) -> None:
        """After what is being written."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(within_s)

    def take(self, moment: Moment) -> None:
        """On the ticker's thread."""
        if moment.form is not self._form:
            self._form, self._starts = moment.form, np.array(moment.form.starts_ms, np.int64)
        processes: list[dict[str, Any]] | None = None
        if moment.processes is not None:
            processes = [process._asdict() for process in moment.processes]
        arrived = Arrived(
            machine_id=0,
            boot_id=moment.boot_id,
            seq=moment.seq,
            at_ms=moment.at_ms,
            layout=moment.form.layout,
            starts_ms=self._starts,
            values=np.frombuffer(moment.values, "<f8"),
            processes=processes,
            sent_at_ms=SYSTEM_TIME.now_ms(),
            received_ms=self._house.clock.now_ms(),
        )
        with self._changed:
            self._waiting.append(arrived)
            if len(self._waiting) > KEPT:
                self._waiting.popleft()
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._waiting)
                waiting = list(self._waiting)
            if self._stopping:
                return
            try:
                self._write(waiting)
            except (StoreError, IdentityInUse, Refused, OSError) as error:
                self._failed(str(error))
            except Exception:
                if not self._stopping:  # the database may be closed by then
                    log.exception("this machine's figures cannot be stored; trying again")
                self._pause()

    def _write(self, waiting: list[Arrived]) -> None:
        if self._machine_id is None:
            self._machine_id = self._house.intake.register(self._introduced(), None).id
        machine_id = self._machine_id
        stored = self._house.intake.write([one._replace(machine_id=machine_id) for one in waiting])
        if (machine_id, waiting[-1].boot_id) not in stored:
            self._machine_id = None  # somebody deleted it; it is here all the same
            return
        if self._trouble:
            log.info("this machine's figures are stored again", ticks=len(waiting))
        self._trouble = ""
        newest = waiting[-1]
        with self._changed:
            while self._waiting and self._waiting[0].seq <= newest.seq:
                self._waiting.popleft()

    def _failed(self, reason: str) -> None:
        if not self._trouble and not self._stopping:
            log.warning("this machine's figures cannot be stored now; they wait in memory", reason=reason)
        self._trouble = reason
        self._pause()

    def _pause(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping, AGAIN_S)

    def _introduced(self) -> Introduced:
        settings = self._house.settings
        name = machine.host_name(self.host)
        return Introduced(
            uid=settings.machine_id or machine.machine_id(self.host, settings.data_dir),
            boot_id=self.boot.id,
            name=name,
            version=tocsin.__version__,
            every_ms=round(EVERY_S * 1000),
            facts=facts(self.host, name),
        )
