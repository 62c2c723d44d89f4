"""The last half hour of one number of a machine, minute by minute: small enough to be kept beside its newest values.

Pure. At rest it is plain JSON: ``{"minute": of the last value, since the epoch, "values": [oldest first], "count": how
many are in the last}``; a minute of which nothing is known is null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

MINUTE_MS: Final = 60_000
MINUTES: Final = 30


def advanced(spark: Mapping[str, Any] | None, at_ms: int, value: float | None) -> Mapping[str, Any] | None:
    """With a value more. ``spark`` None: nothing is known yet. What is older than the last minute changes nothing, as
    does a value there is not: half hours go forward only."""
    if value is None:
        return spark
    minute = at_ms // MINUTE_MS
    if spark is None or minute - spark["minute"] >= MINUTES:
        return {"minute": minute, "values": [_short(value)], "count": 1}
    values: Sequence[float | None] = spark["values"]
    ahead = minute - spark["minute"]
    if ahead < 0:
        return spark
    if ahead > 0:
        kept = [*values, *[None] * (ahead - 1), _short(value)]
        return {"minute": minute, "values": kept[-MINUTES:], "count": 1}
    count = spark["count"] + 1
    mean = values[-1] or 0.0
    return {"minute": minute, "values": [*values[:-1], _short(mean + (value - mean) / count)], "count": count}


def last_minutes(spark: Mapping[str, Any] | None, now_ms: int) -> list[float | None]:
    """The mean of each of the ``MINUTES`` minutes up to and with this one, oldest first; None: nothing is known."""
    shown: list[float | None] = [None] * MINUTES
    if spark is None:
        return shown
    last = MINUTES - 1 - (now_ms // MINUTE_MS - spark["minute"])
    for place, value in zip(range(last, -1, -1), reversed(spark["values"]), strict=False):
        if place < MINUTES:
            shown[place] = value
    return shown


def _short(value: float) -> float:
    """Four digits behind the point: a share to a hundredth of a percent, and a mean of a minute loses nothing more."""
    return round(value, 4)
