"""All sensors of a machine, looked at one after another, each within a deadline of its own.

They take turns on one thread. A sensor that does not come back within its deadline keeps that thread to itself until
it does, and the others go on with a new one; it is not asked again before. So one that hangs costs the others its
deadline, once. A thread for each would cost a dozen times the memory and the wake-ups for the same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from queue import SimpleQueue
from typing import Final, NamedTuple

from tocsin.collector.log import Log
from tocsin.core.samples import Series
from tocsin.sensors.base import Absent, Host, Process, Readings, Sensor, SensorKind

_LOOK_AGAIN: Final = 60
"""What was absent is looked for again after so many ticks: swap may be added, a driver loaded."""
_FIRST: Final = 2
"""Every sensor is read with so many of the first ticks, so that shares of time are there at once."""


class Seen(NamedTuple):
    """What one sensor gave. ``is_fresh``: read just now; otherwise what it gave before still holds. ``since_ms``: when
    it was read successfully before; None: never."""

    values: Mapping[Series, float]
    is_fresh: bool
    since_ms: int | None


class Look(NamedTuple):
    seen: Sequence[Seen]
    processes: list[Process] | None


class Panel:
    """Used by one thread."""

    def __init__(
        self,
        host: Host,
        kinds: Sequence[SensorKind],
        log: Log,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gauges = [_Gauge(kind, host) for kind in kinds]
        self._log = log
        self._monotonic = monotonic
        self._runner = _Runner()
        self._number = 0

    @property
    def present(self) -> list[str]:
        return [gauge.kind.name for gauge in self._gauges if not gauge.lacks]

    @property
    def absent(self) -> dict[str, str]:
        """What is not there, or gives nothing, and why."""
        return {gauge.kind.name: gauge.lacks for gauge in self._gauges if gauge.lacks}

    def look(self, now_ms: int) -> Look:
        """Ends within the deadlines of those that are not stuck already."""
        number, self._number = self._number, self._number + 1
        seen: list[Seen] = []
        processes: list[Process] | None = None
        for gauge in self._gauges:
            readings = self._read(gauge, number)
            if readings is None:
                if gauge.values:
                    seen.append(Seen(gauge.values, False, gauge.read_ms))
                continue
            seen.append(Seen(readings.values, True, gauge.read_ms))
            processes = readings.processes if readings.processes is not None else processes
            gauge.values, gauge.read_ms = readings.values, now_ms
        return Look(seen, processes)

    def close(self) -> None:
        """A thread that a sensor keeps is left behind; it ends with the process."""
        self._runner.leave()

    def _read(self, gauge: _Gauge, number: int) -> Readings | None:
        """None: not due, or nothing was read; ``gauge.values`` is what holds meanwhile."""
        if gauge.stuck is not None:
            if not gauge.stuck.done.is_set():
                return None
            self._came_back(gauge)
        is_due = number < _FIRST or number % gauge.kind.every == 0
        if not is_due or (gauge.sensor is None and number < gauge.look_again):
            return None
        job = _Job(gauge)
        self._runner.jobs.put(job)
        if not job.done.wait(gauge.kind.deadline_s):
            gauge.stuck, gauge.stuck_s, gauge.values = job, self._monotonic(), {}
            gauge.lacks = "it does not come back"
            self._runner.leave()
            self._runner = _Runner()
            self._log.warning(
                "a sensor hangs; the others go on without it", sensor=gauge.kind.name, after_s=gauge.kind.deadline_s
            )
            return None
        return self._settle(gauge, job, number)

    def _settle(self, gauge: _Gauge, job: _Job, number: int) -> Readings | None:
        error = job.error
        if error is None:
            if gauge.lacks:
                self._log.info("a sensor gives figures now", sensor=gauge.kind.name)
            gauge.lacks, gauge.is_failing = "", False
            return job.readings
        # From its beginning the next time: what it had open may be why.
        gauge.values, gauge.sensor = {}, None
        if isinstance(error, Absent):
            gauge.lacks, gauge.is_failing, gauge.look_again = str(error), False, number + _LOOK_AGAIN
            return None
        gauge.lacks = f"{type(error).__name__}: {error}"
        if not gauge.is_failing:
            self._log.warning("a sensor gives nothing; the others go on", sensor=gauge.kind.name, reason=gauge.lacks)
        gauge.is_failing = True
        return None

    def _came_back(self, gauge: _Gauge) -> None:
        assert gauge.stuck is not None
        self._log.info(
            "a sensor that hung has come back",
            sensor=gauge.kind.name,
            after_s=round(self._monotonic() - gauge.stuck_s, 1),
        )
        gauge.stuck, gauge.lacks = None, ""


class _Gauge:
    """One sensor and how it fares."""

    def __init__(self, kind: SensorKind, host: Host) -> None:
        self.kind = kind
        self.host = host
        self.sensor: Sensor | None = None
        self.values: Mapping[Series, float] = {}
        """What it gave last, while that holds."""
        self.read_ms: int | None = None
        self.lacks = ""
        """Why it gives nothing, where it gives nothing."""
        self.is_failing = False
        self.look_again = 0
        self.stuck: _Job | None = None
        self.stuck_s = 0.0


class _Job:
    def __init__(self, gauge: _Gauge) -> None:
        self.gauge = gauge
        self.done = threading.Event()
        self.readings: Readings | None = None
        self.error: Exception | None = None

    def run(self) -> None:
        gauge = self.gauge
        try:
            if gauge.sensor is None:
                gauge.sensor = gauge.kind.open(gauge.host)
            self.readings = gauge.sensor.read()
        except Exception as error:
            self.error = error
        self.done.set()


class _Runner:
    """A thread that runs jobs until it is left. Daemonic: a job that never ends holds nobody up at the end."""

    def __init__(self) -> None:
        self.jobs: SimpleQueue[_Job | None] = SimpleQueue()
        threading.Thread(target=self._run, name="sensors", daemon=True).start()

    def leave(self) -> None:
        """After the job under way."""
        self.jobs.put(None)

    def _run(self) -> None:
        while (job := self.jobs.get()) is not None:
            job.run()
