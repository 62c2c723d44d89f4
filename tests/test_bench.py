"""The arithmetic of the measurements. How fast anything is, is not tested."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import httpx
import pytest

from bench.farm import SLOW_S, Manner, Shares, farm
from bench.figures import Figure, Goal, write
from bench.stand import Span, cores

INFINITE = float("inf")


def span(**counts: float) -> Span:
    """``span(ms_5=50, inf=100)``: 50 starts at most 5 ms late, 100 in all."""
    bounds = {INFINITE if name == "inf" else float(name.removeprefix("ms_")): count for name, count in counts.items()}
    return Span(seconds=1.0, cpu_s=0.5, checks=100, lateness_ms=bounds)


@pytest.mark.parametrize(
    ("counts", "share", "lateness_ms"),
    [
        ({"ms_1": 100, "ms_5": 100, "inf": 100}, 0.99, 0.99),
        ({"ms_1": 0, "ms_5": 100, "inf": 100}, 0.50, 3.0),
        ({"ms_1": 98, "ms_5": 100, "inf": 100}, 0.99, 3.0),
        ({"ms_1": 50, "ms_5": 50, "inf": 100}, 0.99, 5.0),
        ({"ms_1": 0, "inf": 0}, 0.99, 0.0),
    ],
)
def test_a_percentile_is_read_from_the_histogram(counts: dict[str, float], share: float, lateness_ms: float) -> None:
    assert span(**counts).lateness_percentile_ms(share) == pytest.approx(lateness_ms)


def test_the_cores_are_the_same_when_this_process_is_kept_to_one_of_them() -> None:
    before = os.sched_getaffinity(0)
    there = cores()
    try:
        os.sched_setaffinity(0, {there.others})
        assert cores() == there
    finally:
        os.sched_setaffinity(0, before)


def test_a_goal_knows_its_direction() -> None:
    assert Goal(10_000, at_least=True).met_by(10_000)
    assert not Goal(10_000, at_least=True).met_by(9_999)
    assert Goal(5, at_least=False).met_by(5)
    assert not Goal(5, at_least=False).met_by(5.1)


def test_results_are_written_in_the_shape_that_is_promised(tmp_path: Path) -> None:
    path = tmp_path / "out" / "results.json"
    write([Figure("a_ms", 2.0, "ms"), Figure("b_per_s", 6000.0, "checks/s", "peer", 2000.0)], path)
    assert json.loads(path.read_text()) == {
        "figures": [
            {"name": "a_ms", "value": 2.0, "unit": "ms", "peer": None, "peer_value": None, "ratio": None},
            {
                "name": "b_per_s",
                "value": 6000.0,
                "unit": "checks/s",
                "peer": "peer",
                "peer_value": 2000.0,
                "ratio": 3.0,
            },
        ]
    }


def test_a_farm_has_the_shares_that_were_asked_for() -> None:
    shares = Shares(slow=0.02, refused=0.01, hanging=0.01, flapping=0.05)
    found = Counter(shares.manner_of(number) for number in range(10_000))
    assert {manner.value: pytest.approx(found[manner] / 10_000, abs=0.001) for manner in Manner} == {
        **shares._asdict(),
        "well": pytest.approx(0.91, abs=0.001),
    }


def test_a_farm_answers_on_every_address_in_each_manner() -> None:
    with farm() as running:
        for number in (1, 300, 70_000):
            assert httpx.get(running.url(number, Manner.WELL), timeout=10).text == "ok"
        assert httpx.get(running.url(2, Manner.SLOW), timeout=10).elapsed.total_seconds() > SLOW_S * 0.9
        assert httpx.get(running.url(2, Manner.FLAPPING), timeout=10).status_code in (200, 503)
        with pytest.raises(httpx.ConnectError):
            httpx.get(running.url(2, Manner.REFUSED), timeout=10)
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(running.url(2, Manner.HANGING), timeout=0.2)
    assert not running.process.is_running()
