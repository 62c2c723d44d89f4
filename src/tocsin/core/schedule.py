"""When a job must be heard of: periods, cron expressions with a time zone, and the grace they are given.

Pure: times come in and go out as epoch milliseconds. Knows no call, no outcome and no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TypeAlias
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

_CRON_FIELDS = (
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of the month", "1 to 31, L (last) or LW (last weekday)"),
    ("month", "1 to 12 or JAN to DEC"),
    ("day of the week", "0 to 7 or SUN to SAT, 5L (last Friday) or 1#2 (second Monday)"),
)
_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


class ScheduleError(ValueError):
    """A schedule nobody can keep. ``str()`` says which part, and what would be accepted."""


@dataclass(frozen=True, slots=True)
class Every:
    """Heard of at least once in every ``period_ms``, counted from the last time."""

    period_ms: int
    grace_ms: int


@dataclass(frozen=True, slots=True)
class Cron:
    """Heard of after every time that ``expression`` names in ``time_zone`` (IANA).

    Five fields as in Debian's cron, or a nickname such as ``@daily``. Where clocks change, a job with a fixed
    hour that falls into the skipped hour is due when the skipped hour ends, and one in the repeated hour is due
    once, the first time; a job whose hour or minute starts with ``*`` goes by elapsed time.
    """

    expression: str
    time_zone: str
    grace_ms: int


Schedule: TypeAlias = Every | Cron


def expected_ms(schedule: Schedule, last_ms: int) -> int | None:
    """When the next call is expected after one at ``last_ms``; None when the schedule names no further time."""
    if isinstance(schedule, Every):
        return last_ms + schedule.period_ms
    last = _EPOCH + timedelta(milliseconds=last_ms)
    times = CronSim(_spelled_out(schedule.expression), last.astimezone(ZoneInfo(schedule.time_zone)))
    for time in times:
        # In the repeated hour the first pass can come up again, which is then already behind us.
        at_ms = (time - _EPOCH) // _MILLISECOND
        if at_ms > last_ms:
            return at_ms
    return None


def next_due_ms(schedule: Schedule, last_ms: int | None) -> int | None:
    """When silence becomes a failure: the next expected time plus the grace.

    ``last_ms`` is the last success or failure. None (never heard of) gives None: nothing is due before the first call.
    """
    if last_ms is None:
        return None
    at_ms = expected_ms(schedule, last_ms)
    return None if at_ms is None else at_ms + schedule.grace_ms


def describe(schedule: Schedule) -> str:
    """For people: ``every 5 minutes, with 1 minute of grace``."""
    grace = f", with {describe_duration(schedule.grace_ms)} of grace" if schedule.grace_ms else ""
    if isinstance(schedule, Every):
        return f"every {_without_one(describe_duration(schedule.period_ms))}{grace}"
    times = CronSim(_spelled_out(schedule.expression), _EPOCH).explain()
    return f"{times[0].lower()}{times[1:]} ({schedule.time_zone}){grace}"


def describe_duration(duration_ms: int) -> str:
    """The two largest units: ``1 hour 30 minutes``, ``45 seconds``, ``250 milliseconds``."""
    parts = []
    rest_ms = duration_ms
    for name, unit_ms in (("day", 86_400_000), ("hour", 3_600_000), ("minute", 60_000), ("second", 1_000)):
        count, rest_ms = divmod(rest_ms, unit_ms)
        if count:
            parts.append(f"{count} {name}{'s' if count > 1 else ''}")
    if not parts:
        return f"{duration_ms} millisecond{'' if duration_ms == 1 else 's'}"
    return " ".join(parts[:2])


@lru_cache(maxsize=4096)
def check_cron(expression: str) -> None:
    """Raises ``ScheduleError`` naming the field that is wrong."""
    if expression.startswith("@") and expression.lower() not in _NICKNAMES:
        raise ScheduleError(f"“{expression}” is not known; known are {', '.join(_NICKNAMES)}")
    fields = _spelled_out(expression).split()
    if len(fields) != len(_CRON_FIELDS):
        raise ScheduleError(
            "a cron expression has 5 fields (minute, hour, day of the month, month, day of the week), "
            f"this has {len(fields)}"
        )
    for position, (text, (name, accepted)) in enumerate(zip(fields, _CRON_FIELDS, strict=True)):
        alone = ["*"] * len(_CRON_FIELDS)
        alone[position] = text
        try:
            CronSim(" ".join(alone), _EPOCH)
        except CronSimError:
            raise ScheduleError(
                f"field {position + 1} ({name}): “{text}” is not valid; it takes {accepted}, "
                "lists (1,2), ranges (1-5) and steps (*/5)"
            ) from None
    never = ScheduleError(f"“{expression}” names a day that never comes")
    try:
        if next(CronSim(" ".join(fields), _EPOCH), None) is None:
            raise never
    except CronSimError:
        raise never from None


def check_time_zone(name: str) -> None:
    """Raises ``ScheduleError`` unless ``name`` is in the IANA database."""
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        raise ScheduleError(f"“{name}” is not an IANA time zone, such as Europe/Berlin or UTC") from None


def _spelled_out(expression: str) -> str:
    return _NICKNAMES.get(expression.lower(), expression)


def _without_one(duration: str) -> str:
    """``every minute``, not ``every 1 minute``; ``every 1 hour 30 minutes`` stays."""
    return duration.removeprefix("1 ") if duration.count(" ") == 1 else duration
