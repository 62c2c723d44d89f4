"""Machines that report, by the one door through which samples come in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.clocks import FakeClock
from tocsin.core.samples import Layout, Series
from tocsin.intake.arrived import Arrived, Introduced
from tocsin.intake.intake import Intake
from tocsin.pipeline import Pipeline
from tocsin.store.engine import Store

BOOT = "b1"
USED = Series("system.memory.usage", (("system.memory.state", "used"),), "By")
FREE = Series("system.memory.usage", (("system.memory.state", "free"),), "By")
LOAD = Series("system.cpu.load_average.1m", (), "1")
LAYOUT = Layout((USED, FREE, LOAD))
WHOLE_BYTES = 1_000_000.0


class Reporters:
    def __init__(self, store: Store, pipeline: Pipeline, clock: FakeClock, bus: Any) -> None:
        self.intake = Intake(store, pipeline, bus, clock)
        self._clock = clock
        self._layout = self.intake.intern(LAYOUT)
        self._began_ms = clock.now_ms()

    def add(
        self,
        uid: str,
        *,
        name: str = "",
        tags: Sequence[str] = (),
        key_id: int | None = None,
        facts: dict[str, str] | None = None,
    ) -> int:
        introduced = Introduced(uid, BOOT, name or uid, "0.3.0", 5000, facts or {"host.arch": "amd64"}, tuple(tags))
        return self.intake.register(introduced, key_id).id

    def report(
        self, *machine_ids: int, memory: float = 0.5, load: float = 1.0, processes: list[dict[str, Any]] | None = None
    ) -> None:
        """One tick of each, now."""
        self.intake.write([self.tick(number, memory, load, processes) for number in machine_ids])

    def tick(
        self, machine_id: int, memory: float = 0.5, load: float = 1.0, processes: list[dict[str, Any]] | None = None
    ) -> Arrived:
        values = np.array([memory * WHOLE_BYTES, (1 - memory) * WHOLE_BYTES, load])
        now_ms = self._clock.now_ms()
        return Arrived(machine_id, BOOT, now_ms - self._began_ms + 1, now_ms, self._layout, None, values, processes)

    def go_on(self, seconds: int, *machine_ids: int, memory: float = 0.5) -> None:
        """A tick of each every five seconds."""
        for _ in range(0, seconds, 5):
            self._clock.tick(5)
            self.report(*machine_ids, memory=memory)
