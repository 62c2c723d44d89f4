"""The beat: at each tick the sensors are looked at, and what comes of it is handed on. A thread of its own.

Knows neither spool nor server; whoever takes the moments does not raise.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from tocsin.collector.log import Log
from tocsin.collector.machine import Boot, since_boot_ms
from tocsin.collector.panel import Panel
from tocsin.collector.ticks import Composer, Moment
from tocsin.sensors.base import Host, SensorKind


class Time(Protocol):
    def now_ms(self) -> int:
        """Epoch milliseconds of this machine's own clock."""
        ...

    def since_boot_ms(self) -> int: ...


class SystemTime:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def since_boot_ms(self) -> int:
        return since_boot_ms()


SYSTEM_TIME = SystemTime()


class Ticker:
    """``take`` is called on its thread, with one moment after another; their ``seq`` only grows."""

    def __init__(
        self,
        *,
        host: Host,
        boot: Boot,
        kinds: Sequence[SensorKind],
        every_s: float,
        take: Callable[[Moment], None],
        log: Log,
        clock: Time = SYSTEM_TIME,
    ) -> None:
        self._every_s = every_s
        self._take = take
        self._log = log
        self._clock = clock
        self._panel = Panel(host, kinds, log)
        self._composer = Composer(boot.id, boot.began_ms)
        self._seq = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)

    @property
    def present(self) -> list[str]:
        return self._panel.present

    @property
    def absent(self) -> dict[str, str]:
        return self._panel.absent

    def start(self) -> None:
        self._thread.start()

    def stop(self, within_s: float) -> None:
        """After the tick under way."""
        self._stopping.set()
        self._thread.join(within_s)

    def _run(self) -> None:
        next_s = time.monotonic()
        while not self._stopping.is_set():
            try:
                self._tick()
            except Exception as error:  # our own mistake; the next tick may do
                self._log.error("a tick is lost", reason=f"{type(error).__name__}: {error}")
            # What took longer than a tick leaves ticks out; none is made up for.
            passed = time.monotonic() - next_s
            next_s += self._every_s * max(1, -(-passed // self._every_s))
            self._stopping.wait(max(0.0, next_s - time.monotonic()))
        self._panel.close()

    def _tick(self) -> None:
        at_ms = self._clock.now_ms()
        # By the kernel's own clock: no two of one boot are equal, also across restarts of this process.
        self._seq = max(self._clock.since_boot_ms(), self._seq + 1)
        self._take(self._composer.compose(self._panel.look(at_ms), seq=self._seq, at_ms=at_ms))
