"""What machines sent, over REST."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.api.conftest import NOW_MS, Client, fields_of
from tests.api.reporting import Reporters
from tests.clocks import FakeClock
from tocsin.bus.memory import MemoryBus
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
    again = {"If-None-Match": answer.headers["etag"]}
    assert again


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
