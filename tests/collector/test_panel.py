"""A sensor that hangs, raises or is not there keeps none of the others from being read."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from tests.collector.conftest import Said
from tocsin.collector.panel import Look, Panel
from tocsin.sensors.base import Absent, Host, Readings, Sensor, SensorKind, gauge

HOST = Host(Path("/"))


class Reading:
    def __init__(self, name: str, read: Callable[[], float]) -> None:
        self._series = gauge(name, "1")
        self._read = read

    def read(self) -> Readings:
        return Readings({self._series: self._read()})


def kind(name: str, read: Callable[[], float], *, every: int = 1, deadline_s: float = 30.0) -> SensorKind:
    return SensorKind(name, lambda _: Reading(name, read), deadline_s=deadline_s, every=every)


def values(look: Look) -> dict[str, float]:
    return {series.label: value for seen in look.seen for series, value in seen.values.items()}


def test_one_that_blocks_in_the_kernel_stops_none_of_the_others(tmp_path: Path, said: Said) -> None:
    """Opening a FIFO nobody writes to never returns, as statvfs of a mount whose server is gone."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    def blocks() -> float:
        os.close(os.open(fifo, os.O_RDONLY))
        return 1.0

    ticks = iter(range(100))
    panel = Panel(
        HOST, [kind("stuck", blocks, deadline_s=0.1), kind("other", lambda: next(ticks), deadline_s=30)], said
    )
    assert [values(panel.look(at)) for at in range(3)] == [{"other": 0}, {"other": 1}, {"other": 2}]
    assert panel.absent == {"stuck": "it does not come back"}
    assert said.events == ["a sensor hangs; the others go on without it"]
    threads = threading.active_count()
    for at in range(20):
        panel.look(at)
    assert threading.active_count() == threads
    # It comes back as soon as somebody opens the other end, and is asked again.
    writer = os.open(fifo, os.O_WRONLY)
    stop = threading.Event()
    while "stuck" not in values(panel.look(30)):
        assert not stop.wait(0.01)
    os.close(writer)
    assert "a sensor that hung has come back" in said.events
    assert panel.absent == {}
    panel.close()


def test_one_that_raises_is_said_once_and_tried_again(said: Said) -> None:
    answers: list[float | Exception] = [OSError(5, "broken"), ValueError("odd"), 3.0, 4.0]

    def read() -> float:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    panel = Panel(HOST, [kind("shaky", read), kind("other", lambda: 1.0)], said)
    assert [values(panel.look(at)) for at in range(4)] == [
        {"other": 1},
        {"other": 1},
        {"other": 1, "shaky": 3},
        {"other": 1, "shaky": 4},
    ]
    assert said.events == ["a sensor gives nothing; the others go on", "a sensor gives figures now"]
    panel.close()


def test_what_is_absent_is_looked_for_again_later(said: Said) -> None:
    asked = []

    def open_it(_: Host) -> Sensor:
        asked.append(1)
        if len(asked) < 2:
            raise Absent("there is none")
        return Reading("late", lambda: 1.0)

    panel = Panel(HOST, [SensorKind("late", open_it)], said)
    looks = [values(panel.look(at)) for at in range(62)]
    assert panel.absent == {}
    assert looks[0] == looks[59] == {}
    assert looks[60] == {"late": 1}
    assert len(asked) == 2
    assert said.events == ["a sensor gives figures now"]
    panel.close()


def test_a_slow_one_holds_between_its_looks(said: Said) -> None:
    count = iter(range(100))
    panel = Panel(HOST, [kind("third", lambda: next(count), every=3)], said)
    looks = [panel.look(at) for at in range(8)]
    assert [values(look)["third"] for look in looks] == [0, 1, 1, 2, 2, 2, 3, 3]
    assert [look.seen[0].is_fresh for look in looks] == [True, True, False, True, False, False, True, False]
    assert [look.seen[0].since_ms for look in looks if look.seen[0].is_fresh] == [None, 0, 1, 3]
    panel.close()
