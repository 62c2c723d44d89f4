"""What machines sent, over REST."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest

from tests.api.conftest import NOW_MS, Client, fields_of
from tests.api.reporting import Reporters
from tests.clocks import FakeClock
from tocsin.api import machines, models
from tocsin.bus.memory import MemoryBus
from tocsin.core.samples import Layout, Series
from tocsin.intake.arrived import Arrived
from tocsin.pipeline import Pipeline
from tocsin.store.engine import Store


@pytest.fixture
def reporters(store: Store, pipeline: Pipeline, clock: FakeClock, bus: MemoryBus) -> Reporters:
    return Reporters(store, pipeline, clock, bus)


Asked = Callable[[str], Any]


@pytest.fixture
def series(outsider: Client, reporters: Reporters) -> Asked:
    async def ask(query: str) -> httpx.Response:
        return await outsider.get(f"/v1/machines/1/series?{query}")

    return ask


async def test_series_over_time(series: Asked, reporters: Reporters, clock: FakeClock) -> None:
    number = reporters.add("m")
    reporters.go_on(30, number, memory=0.25)
    clock.tick(20)
    reporters.go_on(10, number, memory=0.75)
    answer = await series("name=system.memory.usage&name=nothing&from=2027-01-15T08:00:00Z&step=5")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["from"], found["tier"], found["step_s"], found["left_out"]) == (
        "2027-01-15T08:00:00.000Z",
        "ticks",
        5.0,
        0,
    )
    assert [(one["name"], one["attributes"], one["unit"]) for one in found["series"]] == [
        ("system.memory.usage", {"system.memory.state": state}, "By") for state in ("free", "used")
    ]
    points = dict(zip(found["at"], found["series"][1]["avg"], strict=True))
    assert points[NOW_MS + 30_000] == 250_000
    assert points[NOW_MS + 60_000] == 750_000
    assert all(points[at_ms] is None for at_ms in range(NOW_MS + 35_000, NOW_MS + 55_000, 5000) if at_ms in points)
    for line in ("min", "max", "last", "avg"):
        assert len(found["series"][0][line]) == len(found["at"])
    models.MachineSeries.model_validate(found)


async def test_a_name_nobody_sent_gives_no_series(series: Asked, reporters: Reporters) -> None:
    reporters.report(reporters.add("m"))
    answer = await series("name=system.nothing")
    assert (answer.status_code, answer.json()["series"]) == (200, [])


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "name"),
        ("name=", "name.0"),
        ("name=%00", "name.0"),
        ("&".join(["name=x"] * 51), "name"),
        (f"name={'x' * 256}", "name.0"),
        ("name=x&from=2027-01-15T08:00:00Z&to=2027-01-15T08:00:00Z", "from"),
        ("name=x&from=2027-01-15T09:00:00Z&to=2027-01-15T08:00:00Z", "from"),
        ("name=x&from=then", "from"),
        ("name=x&to=2027-01-15T08:00:00", "to"),
        ("name=x&step=0", "step"),
        ("name=x&step=-5", "step"),
        ("name=x&step=NaN", "step"),
        ("name=x&step=1e300", "step"),
    ],
)
async def test_a_wrong_question_is_named(series: Asked, reporters: Reporters, query: str, field: str) -> None:
    reporters.add("m")
    answer = await series(query)
    assert (answer.status_code, fields_of(answer)) == (400, [field])


async def test_never_more_than_2000_points(series: Asked, reporters: Reporters) -> None:
    reporters.go_on(60, reporters.add("m"))
    for query in (
        "step=0.001",
        "from=2026-01-01T00:00:00Z&step=5",
        "from=1970-01-01T00:00:00Z&to=9999-12-31T23:59:59Z",
    ):
        found = (await series(f"name=system.memory.usage&{query}")).json()
        assert len(found["at"]) <= 2000


def many(name: str, attribute: str, values: list[str]) -> Layout:
    return Layout(tuple(Series(name, ((attribute, value),), "s", "counter") for value in values))


def send(reporters: Reporters, clock: FakeClock, layout: Layout) -> int:
    """Two ticks, between which every counter has grown by 10 in five seconds."""
    number, layout = reporters.add("m"), reporters.intake.intern(layout)
    for total in (0.0, 10.0):
        now_ms = clock.now_ms()
        values = np.full(len(layout), total)
        reporters.intake.write([Arrived(number, "b", now_ms, now_ms, layout, None, values, None)])
        clock.tick(5)
    return number


async def test_series_come_in_the_order_people_count(
    series: Asked, reporters: Reporters, clock: FakeClock, outsider: Client
) -> None:
    number = send(reporters, clock, many("system.cpu.time", "cpu.logical_number", ["10", "9", "0", "1"]))
    found = (await series("name=system.cpu.time")).json()["series"]
    assert [one["attributes"]["cpu.logical_number"] for one in found] == ["0", "1", "9", "10"]
    assert [one["unit"] for one in found] == ["s/s"] * 4
    assert {value for one in found for value in one["last"]} == {None, 2.0}
    listed = (await outsider.get(f"/v1/machines/{number}")).json()["series"]
    assert [one["attributes"]["cpu.logical_number"] for one in listed] == ["0", "1", "9", "10"]


async def test_series_beyond_what_fits_are_counted(series: Asked, reporters: Reporters, clock: FakeClock) -> None:
    names = [f"eth{number}" for number in range(machines.MOST_SERIES + 44)]
    send(reporters, clock, many("system.network.io", "network.interface.name", names))
    answer = await series("name=system.network.io&from=2027-01-15T00:00:00Z&step=1")
    found = answer.json()
    assert (len(found["series"]), found["left_out"]) == (256, 44)
    assert len(found["at"]) <= machines.MOST_VALUES // 256, "many series have fewer points each"
    assert [one["attributes"]["network.interface.name"] for one in found["series"]] == names[:256]


def test_numbers_are_short_and_keep_their_digits() -> None:
    given = np.array([0.0, np.nan, 1 / 3, -2 / 3e9, 123456789.0, 5e-324, 1.7e308, np.inf])
    said = msgspec.json.decode(msgspec.json.encode(machines._numbers(given)))
    assert said[:5] == [0.0, None, 0.3333333, -6.666667e-10, 123456800.0]
    assert said[5:] == [0.0, 1.7e308, None]
