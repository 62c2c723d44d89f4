"""Bands: what may be written, what is in force, how numbers are classed; and when a disk will be full."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.bands import (
    CPU,
    DISK,
    FORECAST,
    MEMORY,
    REPORTING,
    SEEN_MS,
    Band,
    BandError,
    Trend,
    classify,
    classify_many,
    follow,
    hours_left,
    in_force,
    layers_of,
    parse,
    policies,
    words,
)
from tocsin.core.decide import Verdict
from tocsin.core.outcome import Result

MINUTE_MS = 60_000


def test_the_usual_ones() -> None:
    bands = in_force([], every_ms=5000)
    assert bands.measured[CPU] == Band(0.8, 0.95, 0.75, 0.9, 300)
    assert (bands.measured[MEMORY].warn, bands.measured[MEMORY].critical) == (0.85, 0.95)
    assert (bands.measured[DISK].warn, bands.measured[DISK].critical) == (0.8, 0.9)
    assert (bands.measured[FORECAST].warn, bands.measured[FORECAST].critical) == (24, 4)
    assert bands.silent_after_s == 15
    assert in_force([], every_ms=60_000).silent_after_s == 180


def test_own_bands_go_before_tags_and_these_before_the_usual_number_by_number() -> None:
    of_tags = {"db": parse({"cpu": {"warn": 0.5, "for_s": 60}, "disk": None}), "web": parse({"cpu": {"for_s": 10}})}
    own = parse({"cpu": {"warn": 0.6}, "reporting": {"silent_after_s": 40}})
    band = in_force(layers_of(own, ["db", "web"], of_tags), every_ms=5000)
    assert band.measured[CPU] == Band(0.6, 0.95, 0.55, 0.9, 60)
    assert DISK not in band.measured
    assert band.silent_after_s == 40
    back = in_force(layers_of(parse({"disk": {"warn": 0.7}}), ["db"], of_tags), every_ms=5000)
    assert back.measured[DISK].critical == 0.9


def test_what_is_not_judged_is_not_there() -> None:
    bands = in_force([parse({"cpu": None, "reporting": None})], every_ms=5000)
    assert CPU not in bands.measured
    assert bands.silent_after_s is None
    assert {CPU, REPORTING}.isdisjoint(policies(bands))
    assert bands.as_json()["cpu"] is None


@pytest.mark.parametrize(
    ("given", "field", "words_"),
    [
        ([], "bands", "must be an object"),
        ({"gpu": {}}, "bands.gpu", "is no rule; rules are reporting, cpu"),
        ({"cpu": 5}, "bands.cpu", "must be an object, or null"),
        ({"cpu": {"warm": 0.5}}, "bands.cpu.warm", "is not known"),
        ({"cpu": {"warn": 80}}, "bands.cpu.warn", "must be from 0 to 1"),
        ({"cpu": {"warn": "0.8"}}, "bands.cpu.warn", "must be a number"),
        ({"cpu": {"warn": True}}, "bands.cpu.warn", "must be a number"),
        ({"cpu": {"warn": math.nan}}, "bands.cpu.warn", "must be a number"),
        ({"cpu": {"for_s": -1}}, "bands.cpu.for_s", "must be from 0 to 86400"),
        ({"cpu": {"warn": 0.9, "critical": 0.5}}, "bands.cpu.warn", "must not be above critical"),
        ({"cpu": {"warn": 0.5, "warn_recovery": 0.6}}, "bands.cpu.warn_recovery", "must not be above warn"),
        ({"forecast": {"warn": 2, "critical": 4}}, "bands.forecast.warn", "must not be below critical"),
        ({"forecast": {"warn": 24, "warn_recovery": 20}}, "bands.forecast.warn_recovery", "must not be below warn"),
        ({"reporting": {"silent_after_s": 1}}, "bands.reporting.silent_after_s", "must be from 10"),
        ({"reporting": {"warn": 1}}, "bands.reporting.warn", "is not known"),
    ],
)
def test_what_makes_no_sense_is_refused_by_the_name_of_the_field(given: object, field: str, words_: str) -> None:
    with pytest.raises(BandError) as error:
        parse(given)
    assert error.value.field == field
    assert error.value.reason.startswith(words_)


def test_a_recovery_that_is_left_out_is_put_on_the_good_side() -> None:
    assert parse({"cpu": {"warn": 0.6}})["cpu"]["warn_recovery"] == 0.55
    assert parse({"forecast": {"critical": 8}})["forecast"]["critical_recovery"] == 10
    assert parse({"cpu": {"warn": 0.01}})["cpu"]["warn_recovery"] == 0
    assert parse({"cpu": {"warn": None}})["cpu"] == {"warn": None, "warn_recovery": None}


def test_what_is_degraded_stays_so_until_it_is_below_the_recovery_threshold() -> None:
    band = in_force([], every_ms=5000).measured[CPU]
    assert classify(0.79, band, Verdict.UP) is Result.PASSED
    assert classify(0.8, band, Verdict.UP) is Result.WARNED
    assert classify(0.76, band, Verdict.DEGRADED) is Result.WARNED
    assert classify(0.74, band, Verdict.DEGRADED) is Result.PASSED
    assert classify(0.92, band, Verdict.DEGRADED) is Result.WARNED
    assert classify(0.92, band, Verdict.DOWN) is Result.FAILED
    assert classify(0.78, band, Verdict.DOWN) is Result.WARNED
    assert classify(math.nan, band, Verdict.DOWN) is Result.UNMEASURED


def test_of_a_forecast_less_is_worse() -> None:
    band = in_force([], every_ms=5000).measured[FORECAST]
    assert [classify(hours, band, Verdict.UP) for hours in (math.inf, 25, 24, 4)] == [
        Result.PASSED,
        Result.PASSED,
        Result.WARNED,
        Result.FAILED,
    ]
    assert classify(27, band, Verdict.DEGRADED) is Result.WARNED
    assert classify(4.5, band, Verdict.DOWN) is Result.FAILED


def test_a_recovery_from_another_layer_never_makes_it_worse_to_be_below_the_threshold() -> None:
    band = Band(0.5, 0.84, 0.6, 0.88, 0)
    assert classify(0.85, band, Verdict.DOWN) is Result.FAILED
    assert classify(0.55, band, Verdict.DEGRADED) is Result.WARNED


@given(st.floats(0, 1) | st.just(math.nan), st.sampled_from(list(Verdict)))
def test_many_at_once_are_classed_as_one(value: float, verdict: Verdict) -> None:
    band = in_force([], every_ms=5000).measured[CPU]
    warn, critical = band.thresholds(verdict)
    (found,) = classify_many(np.array([value]), np.array([warn]), np.array([critical]))
    assert found == classify(value, band, verdict)


def test_why_is_said_so_that_it_stands_alone() -> None:
    bands = in_force([], every_ms=5000).measured
    assert words(CPU, 0.971, bands[CPU], Result.FAILED) == "CPU 97.1 %, critical from 95 %"
    assert words(DISK, 0.85, bands[DISK], Result.WARNED, where="/var") == "disk /var 85 %, warned of from 80 %"
    said = words(FORECAST, 3.2, bands[FORECAST], Result.FAILED, where="/var")
    assert said == "disk /var full in 3.2 h at the present rate, critical below 4 h"
    assert words(CPU, 0.1, bands[CPU], Result.PASSED) == ""


# ── forecasts ─────────────────────────────────────────────────────────────────────────────────────────


def followed(shares: list[float]) -> Trend | None:
    """Seen minute by minute."""
    trend: Trend | None = None
    for minute, share in enumerate(shares):
        trend = follow(trend, minute * MINUTE_MS, np.array([share]))
    return trend


def left(shares: list[float]) -> float:
    (found,) = hours_left(followed(shares), np.array(shares[-1:])).tolist()
    return float(found)


@given(st.floats(0.0005, 0.01), st.floats(0, 0.3))
def test_a_steady_rate_is_foreseen_exactly(rate: float, first: float) -> None:
    shares = [first + rate * minute for minute in range(60)]
    assert left(shares) == pytest.approx((1 - shares[-1]) / rate / 60, rel=1e-6)


def test_it_is_the_weighted_line_of_least_squares() -> None:
    random = np.random.default_rng(3)
    shares = (0.4 + 0.001 * np.arange(90) + 0.002 * random.random(90)).tolist()
    ages = np.arange(89, -1, -1)
    weights = np.sqrt(0.5 ** (ages / 30))
    slope = np.polyfit(np.arange(90), shares, 1, w=weights)[0]
    assert left(shares) == pytest.approx((1 - shares[-1]) / slope / 60, rel=1e-6)


def test_what_stands_still_or_empties_is_never_full() -> None:
    assert math.isnan(left([0.5] * 60))
    assert math.isnan(left([0.5 - 0.001 * minute for minute in range(60)]))


def test_files_that_come_and_go_are_no_rate() -> None:
    assert math.isnan(left([0.5 + 0.1 * (minute % 10) / 10 for minute in range(120)]))


def test_nothing_is_said_from_too_little() -> None:
    assert math.isnan(left([0.5 + 0.01 * minute for minute in range(SEEN_MS // MINUTE_MS)]))
    assert math.isnan(hours_left(None, np.array([0.5]))[0])


def test_a_filesystem_that_is_not_there_for_a_while_begins_anew_and_the_others_go_on() -> None:
    trend: Trend | None = None
    for minute in range(60):
        other = math.nan if minute == 20 else 0.2 + 0.002 * minute
        trend = follow(trend, minute * MINUTE_MS, np.array([0.3 + 0.001 * minute, other]))
    found = hours_left(trend, np.array([0.359, 0.318]))
    assert found[0] == pytest.approx((1 - 0.359) / 0.001 / 60)
    assert found[1] == pytest.approx((1 - 0.318) / 0.002 / 60)


def test_a_filesystem_that_was_mounted_later_has_no_rate_until_it_was_seen_for_long_enough() -> None:
    trend: Trend | None = None
    for minute in range(60):
        trend = follow(trend, minute * MINUTE_MS, np.array([0.9, 0.3 + 0.001 * minute]))
    assert trend is not None
    trend = trend.among(["/gone", "/"], ["/", "/new"])
    known: list[bool] = []
    for minute in range(60, 90):
        shares = np.array([0.3 + 0.001 * minute, 0.1 + 0.02 * (minute - 60)])
        trend = follow(trend, minute * MINUTE_MS, shares)
        found = hours_left(trend, shares)
        assert found[0] == pytest.approx((1 - shares[0]) / 0.001 / 60)
        known.append(not math.isnan(found[1]))
    first = known.index(True)
    assert 10 <= first <= 20
    assert all(known[first:])


def test_one_without_a_share_at_first_is_kept_and_read_again() -> None:
    trend = follow(None, 0, np.array([math.nan, 0.5]))
    stored = msgspec.json.decode(msgspec.json.encode(trend))
    read = Trend.of(stored, 2)
    assert repr(read) == repr(trend), "NaN is no equal of itself"
    for minute in range(1, 20):
        read = follow(read, minute * MINUTE_MS, np.array([0.3 + 0.001 * minute, 0.5]))
    assert hours_left(read, np.array([0.319, 0.5]))[0] == pytest.approx((1 - 0.319) / 0.001 / 60)
    assert Trend.of([0, 0, 1.0, ["?"], [0], [0], [0], [0]], 1) is None


def test_it_is_the_same_after_it_was_stored() -> None:
    trend = followed([0.3 + 0.001 * minute for minute in range(60)])
    assert trend is not None
    assert Trend.of([trend[0], trend[1], trend[2], *map(list, trend[3:])], 1) == trend
    assert Trend.of([trend[0], trend[1], trend[2], *map(list, trend[3:])], 2) is None
    assert Trend.of({"something": "else"}, 1) is None
