"""Due times against a slow, obvious model, above all where clocks change."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tocsin.core.schedule import (
    Cron,
    Every,
    Schedule,
    ScheduleError,
    check_cron,
    check_time_zone,
    describe,
    describe_duration,
    expected_ms,
    next_due_ms,
)

ZONES = ("Europe/Berlin", "America/New_York", "UTC", "Australia/Lord_Howe")
MINUTE = timedelta(minutes=1)


def ms(time: datetime) -> int:
    return round(time.timestamp() * 1000)


def local(zone: str, *parts: int, fold: int = 0) -> int:
    year, month, day, hour, minute = parts
    return ms(datetime(year, month, day, hour, minute, tzinfo=ZoneInfo(zone), fold=fold))


def expected(expression: str, zone: str, last_ms: int) -> datetime | None:
    at_ms = expected_ms(Cron(expression, zone, 0), last_ms)
    return None if at_ms is None else datetime.fromtimestamp(at_ms / 1000, ZoneInfo(zone))


# ── the model ─────────────────────────────────────────────────────────────────────────────────────────


def _matches(minutes: set[int] | None, hours: set[int] | None, time: datetime) -> bool:
    return (minutes is None or time.minute in minutes) and (hours is None or time.hour in hours)


def _model(minutes: set[int] | None, hours: set[int] | None, zone: ZoneInfo, last: datetime) -> datetime:
    """The first time after ``last``, found minute by minute."""
    by_elapsed_time = minutes is None or hours is None
    times = _elapsed(zone, last) if by_elapsed_time else _wall(zone, last)
    return min(at for wall, at in times if at > last and _matches(minutes, hours, wall))


def _elapsed(zone: ZoneInfo, last: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Every minute that really passes, with what the clock on the wall shows then."""
    at = last.astimezone(UTC).replace(second=0, microsecond=0)
    for _ in range(3 * 24 * 60):
        yield at.astimezone(zone), at
        at += MINUTE


def _wall(zone: ZoneInfo, last: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Every minute a calendar names, with when it happens: once if it repeats, when the gap ends if skipped."""
    named = last.astimezone(zone).replace(second=0, microsecond=0, tzinfo=None) - timedelta(days=1)
    for _ in range(4 * 24 * 60):
        happens = named
        while happens.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None) != happens:
            happens += MINUTE
        yield named, happens.replace(tzinfo=zone).astimezone(UTC)
        named += MINUTE


def _field(values: set[int] | None) -> str:
    return "*" if values is None else ",".join(str(value) for value in sorted(values))


near_a_change = st.sampled_from(
    [
        datetime(2026, 3, 29, 1, 0, tzinfo=UTC),  # Berlin springs forward
        datetime(2026, 10, 25, 1, 0, tzinfo=UTC),  # Berlin falls back
        datetime(2026, 3, 8, 7, 0, tzinfo=UTC),  # New York springs forward
        datetime(2026, 11, 1, 6, 0, tzinfo=UTC),  # New York falls back
        datetime(2026, 4, 4, 15, 0, tzinfo=UTC),  # Lord Howe falls back by half an hour
        datetime(2026, 6, 15, 0, 0, tzinfo=UTC),  # nothing happens
    ]
)


@given(
    minutes=st.none() | st.sets(st.integers(0, 59), min_size=1, max_size=3),
    hours=st.none() | st.sets(st.integers(0, 4), min_size=1, max_size=3),
    zone=st.sampled_from(ZONES),
    change=near_a_change,
    offset_s=st.integers(-6 * 3600, 6 * 3600),
)
@example({30}, {2}, "Europe/Berlin", datetime(2026, 10, 25, 1, 0, tzinfo=UTC), 600)  # inside the second 02:xx
@example({30}, {2}, "Europe/Berlin", datetime(2026, 3, 29, 1, 0, tzinfo=UTC), -60)
def test_cron_agrees_with_the_model(
    minutes: set[int] | None, hours: set[int] | None, zone: str, change: datetime, offset_s: int
) -> None:
    last = change + timedelta(seconds=offset_s)
    found = expected(f"{_field(minutes)} {_field(hours)} * * *", zone, ms(last))
    assert found is not None
    assert found.astimezone(UTC) == _model(minutes, hours, ZoneInfo(zone), last)


# ── what people expect ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("zone", "expression", "last", "then"),
    [
        # the skipped hour: due when it ends
        ("Europe/Berlin", "30 2 * * *", (2026, 3, 28, 2, 30), (2026, 3, 29, 3, 0)),
        ("America/New_York", "30 2 * * *", (2026, 3, 7, 2, 30), (2026, 3, 8, 3, 0)),
        # the day after a change is an ordinary day again
        ("Europe/Berlin", "30 2 * * *", (2026, 3, 29, 3, 0), (2026, 3, 30, 2, 30)),
        # 29 February
        ("Europe/Berlin", "0 6 29 2 *", (2024, 2, 29, 6, 0), (2028, 2, 29, 6, 0)),
        ("America/New_York", "0 6 29 2 *", (2096, 2, 29, 6, 0), (2104, 2, 29, 6, 0)),
        # the last Friday, the last day
        ("UTC", "0 12 * * 5L", (2026, 1, 30, 12, 0), (2026, 2, 27, 12, 0)),
        ("UTC", "0 12 L * *", (2026, 2, 27, 0, 0), (2026, 2, 28, 12, 0)),
        ("UTC", "@weekly", (2026, 1, 1, 0, 0), (2026, 1, 4, 0, 0)),
    ],
)
def test_cron_on_the_calendar(zone: str, expression: str, last: tuple[int, ...], then: tuple[int, ...]) -> None:
    assert expected_ms(Cron(expression, zone, 0), local(zone, *last)) == local(zone, *then)


@pytest.mark.parametrize(("zone", "day"), [("Europe/Berlin", (2026, 10, 25)), ("America/New_York", (2026, 11, 1))])
def test_a_time_in_the_repeated_hour_comes_once(zone: str, day: tuple[int, int, int]) -> None:
    hour = 2 if zone == "Europe/Berlin" else 1
    first = local(zone, *day, hour, 30)
    again = local(zone, *day, hour, 30, fold=1)
    assert again - first == 3_600_000
    next_day = local(zone, day[0], day[1], day[2] + 1, hour, 30)
    schedule = Cron(f"30 {hour} * * *", zone, 0)
    assert expected_ms(schedule, first - 86_400_000) == first
    assert expected_ms(schedule, first) == next_day
    assert expected_ms(schedule, again - 1) == next_day


def test_every_five_minutes_goes_by_elapsed_time_through_a_change() -> None:
    schedule = Cron("*/5 * * * *", "Europe/Berlin", 0)
    at_ms = local("Europe/Berlin", 2026, 10, 25, 1, 55)
    for _ in range(30):
        following = expected_ms(schedule, at_ms)
        assert following == at_ms + 300_000
        at_ms = following


@given(
    schedule=st.one_of(
        st.builds(Every, st.integers(1, 10**10), st.integers(0, 10**9)),
        st.builds(
            Cron,
            st.sampled_from(["*/7 * * * *", "30 2 * * *", "0 0 29 2 *", "15 1,2,3 * * 0", "@hourly"]),
            st.sampled_from(ZONES),
            st.integers(0, 10**9),
        ),
    ),
    last_ms=st.integers(0, 4_000_000_000_000),
)
def test_due_is_later_than_the_last_call_by_at_least_the_grace(schedule: Schedule, last_ms: int) -> None:
    at_ms, due_ms = expected_ms(schedule, last_ms), next_due_ms(schedule, last_ms)
    assert at_ms is not None
    assert at_ms > last_ms
    assert due_ms == at_ms + schedule.grace_ms


def test_nothing_is_due_before_the_first_call() -> None:
    assert next_due_ms(Every(60_000, 0), None) is None
    assert next_due_ms(Cron("@daily", "UTC", 0), None) is None


# ── what is refused ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "has 5 fields .* this has 0"),
        ("* * * *", "has 5 fields .* this has 4"),
        ("0 * * * * *", "has 5 fields .* this has 6"),
        ("60 * * * *", r"field 1 \(minute\): “60” is not valid; it takes 0 to 59"),
        ("0 24 * * *", r"field 2 \(hour\): “24”"),
        ("0 0 32 * *", r"field 3 \(day of the month\): “32”"),
        ("0 0 * FOO *", r"field 4 \(month\): “FOO”"),
        ("0 0 * * 9", r"field 5 \(day of the week\): “9”"),
        ("*/0 * * * *", r"field 1 \(minute\)"),
        ("5-1 * * * *", r"field 1 \(minute\)"),
        ("0 0 31 2 *", "names a day that never comes"),
        ("0 0 30 2 *", "names a day that never comes"),
        ("@reboot", "“@reboot” is not known; known are @hourly, @daily"),
    ],
)
def test_a_bad_cron_expression_is_refused_by_field(expression: str, message: str) -> None:
    with pytest.raises(ScheduleError, match=message):
        check_cron(expression)


@pytest.mark.parametrize("expression", ["@Daily", "0 0 29 2 *", "*/15 8-18 * * MON-FRI", "0 0 * 2 1#5"])
def test_a_good_cron_expression_is_accepted(expression: str) -> None:
    check_cron(expression)


@pytest.mark.parametrize("name", ["", "Berlin", "../etc/passwd", "Europe", "Europe/Berlin\0", "/etc/localtime"])
def test_a_time_zone_must_be_in_the_database(name: str) -> None:
    with pytest.raises(ScheduleError, match="IANA"):
        check_time_zone(name)


# ── words ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (Every(60_000, 0), "every minute"),
        (Every(300_000, 60_000), "every 5 minutes, with 1 minute of grace"),
        (Every(5_400_000, 30_000), "every 1 hour 30 minutes, with 30 seconds of grace"),
        (Cron("30 2 * * *", "Europe/Berlin", 600_000), "at 02:30 every day (Europe/Berlin), with 10 minutes of grace"),
        (Cron("@daily", "UTC", 0), "at 00:00 every day (UTC)"),
    ],
)
def test_a_schedule_in_words(schedule: Schedule, words: str) -> None:
    assert describe(schedule) == words


@pytest.mark.parametrize(
    ("duration_ms", "words"),
    [
        (0, "0 milliseconds"),
        (1, "1 millisecond"),
        (999, "999 milliseconds"),
        (45_000, "45 seconds"),
        (90_061_001, "1 day 1 hour"),
        (172_800_000, "2 days"),
    ],
)
def test_a_duration_in_words(duration_ms: int, words: str) -> None:
    assert describe_duration(duration_ms) == words
