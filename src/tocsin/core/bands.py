"""When a number of a machine is worth a warning, and when it is critical; and when its filesystems will be full.

Pure. Bands are written as JSON, {"cpu": {"warn": 0.8, "for_s": 300}, "disk": null}: what differs from the usual, by
rule; null: not judged. A machine's own go before those of its tags, in the order of its tags, and these before the
usual ones, number by number.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tocsin.core.decide import Policy, Verdict
from tocsin.core.outcome import Result

Floats = NDArray[np.float64]

REPORTING: Final = "reporting"
"""The rule that a machine is heard of."""
CPU: Final = "cpu"
MEMORY: Final = "memory"
DISK: Final = "disk"
FORECAST: Final = "forecast"
"""Hours until a filesystem is full."""

MEASURED: Final = (CPU, MEMORY, DISK, FORECAST)
RULES: Final = (REPORTING, *MEASURED)
"""Every rule of a machine, the weightiest first."""


class BandError(ValueError):
    """A band that makes no sense: which field, and what it must be."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Band:
    """From ``warn`` on a warning, from ``critical`` on a failure; None: never. What is degraded, or down, stays so
    until the number is on the good side of the recovery threshold. ``for_s`` is how long it must last to count.

    A ``falling`` band is about a number of which less is worse.
    """

    warn: float | None
    critical: float | None
    warn_recovery: float | None
    critical_recovery: float | None
    for_s: int
    falling: bool = False

    def thresholds(self, verdict: Verdict) -> tuple[float, float]:
        """From where on it is a warning, and a failure, for what has this verdict now; infinity: never. For a falling
        band of the number with its sign turned."""
        warn, critical = self.warn, self.critical
        return (
            _worse_from(warn, self.warn_recovery if verdict in _NOT_WELL else None, self.falling),
            _worse_from(critical, self.critical_recovery if verdict is Verdict.DOWN else None, self.falling),
        )


_NOT_WELL: Final = (Verdict.DEGRADED, Verdict.DOWN)


def _worse_from(threshold: float | None, recovery: float | None, falling: bool) -> float:
    """A recovery threshold only ever makes it harder to recover, whatever layers of bands it came out of."""
    if threshold is None:
        return math.inf
    worse = -threshold if falling else threshold
    return worse if recovery is None else min(worse, -recovery if falling else recovery)


class _Kind(NamedTuple):
    """What may be written about a rule, and how it is said."""

    usual: Band
    least: float
    most: float
    apart: float
    """How far below a threshold its recovery is where only the threshold is given; of a falling band the share of it
    that it is above."""


_RULES: Final[Mapping[str, _Kind]] = {
    CPU: _Kind(Band(0.8, 0.95, 0.75, 0.9, 300), 0, 1, 0.05),
    MEMORY: _Kind(Band(0.85, 0.95, 0.8, 0.9, 300), 0, 1, 0.05),
    DISK: _Kind(Band(0.8, 0.9, 0.78, 0.88, 300), 0, 1, 0.02),
    FORECAST: _Kind(Band(24, 4, 30, 5, 900, falling=True), 0, 8760, 0.25),
}
LONGEST_S: Final = 86_400
LEAST_SILENCE_S: Final = 10
LEAST_USUAL_SILENCE_S: Final = 15
INTERVALS_OF_SILENCE: Final = 3

_NUMBERS: Final = ("warn", "critical", "warn_recovery", "critical_recovery")


@dataclass(frozen=True, slots=True)
class Bands:
    """Those in force for one machine. A rule that is not in ``measured`` is not judged."""

    measured: Mapping[str, Band]
    silent_after_s: float | None
    """None: silence is not judged."""

    def as_json(self) -> dict[str, dict[str, float | None] | None]:
        found: dict[str, dict[str, float | None] | None] = {}
        for rule in MEASURED:
            band = self.measured.get(rule)
            found[rule] = (
                None
                if band is None
                else {name: getattr(band, name) for name in _NUMBERS} | {"for_s": float(band.for_s)}
            )
        silent = self.silent_after_s
        return found | {REPORTING: None if silent is None else {"silent_after_s": silent}}


def parse(given: object, *, field: str = "bands") -> dict[str, Any]:
    """What is written, checked, as it is to be stored: a recovery threshold that is left out is put where it usually
    is, a little on the good side of its threshold. Raises BandError with the name of the field."""
    if not isinstance(given, Mapping):
        raise BandError(field, "must be an object with rules")
    found: dict[str, Any] = {}
    for rule, written in given.items():
        where = f"{field}.{rule}"
        if rule not in RULES:
            raise BandError(where, f"is no rule; rules are {', '.join(RULES)}")
        if written is None:
            found[rule] = None
        elif not isinstance(written, Mapping):
            raise BandError(where, "must be an object, or null where it is not to be judged")
        else:
            found[rule] = _parse_silence(written, where) if rule == REPORTING else _parse_band(rule, written, where)
    return found


def _parse_silence(written: Mapping[Any, Any], where: str) -> dict[str, Any]:
    _known(written, ("silent_after_s",), where)
    given = written.get("silent_after_s")
    if given is None:
        return {"silent_after_s": None}
    return {"silent_after_s": _number(given, f"{where}.silent_after_s", LEAST_SILENCE_S, LONGEST_S)}


def _parse_band(rule: str, written: Mapping[Any, Any], where: str) -> dict[str, Any]:
    kind = _RULES[rule]
    _known(written, (*_NUMBERS, "for_s"), where)
    found: dict[str, Any] = {}
    for name in _NUMBERS:
        if name in written:
            given = written[name]
            found[name] = None if given is None else _number(given, f"{where}.{name}", kind.least, kind.most)
    if "for_s" in written:
        found["for_s"] = int(_number(written["for_s"], f"{where}.for_s", 0, LONGEST_S))
    sign = -1 if kind.usual.falling else 1
    beyond = "below" if kind.usual.falling else "above"
    for name in ("warn", "critical"):
        threshold, recovery = found.get(name), found.get(f"{name}_recovery")
        if threshold is None:
            if name in found:
                found[f"{name}_recovery"] = None
        elif recovery is None:
            away = threshold * kind.apart if kind.usual.falling else kind.apart
            found[f"{name}_recovery"] = round(min(kind.most, max(kind.least, threshold - sign * away)), 6)
        elif sign * recovery > sign * threshold:
            raise BandError(f"{where}.{name}_recovery", f"must not be {beyond} {name}, which is {threshold:g}")
    warn, critical = found.get("warn"), found.get("critical")
    if warn is not None and critical is not None and sign * warn > sign * critical:
        raise BandError(f"{where}.warn", f"must not be {beyond} critical, which is {critical:g}")
    return found


def _known(written: Mapping[Any, Any], names: Collection[str], where: str) -> None:
    for name in written:
        if name not in names:
            raise BandError(f"{where}.{name}", f"is not known; known are {', '.join(names)}")


def _number(given: object, where: str, least: float, most: float) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
        raise BandError(where, "must be a number")
    if not least <= given <= most:
        raise BandError(where, f"must be from {least:g} to {most:g}")
    return float(given)


def in_force(layers: Sequence[Mapping[str, Any]], *, every_ms: int) -> Bands:
    """Of what ``parse`` gave, the weightiest layer first: a machine's own, then those of its tags."""
    measured: dict[str, Band] = {}
    for rule, kind in _RULES.items():
        numbers: dict[str, Any] | None = {
            "warn": kind.usual.warn,
            "critical": kind.usual.critical,
            "warn_recovery": kind.usual.warn_recovery,
            "critical_recovery": kind.usual.critical_recovery,
            "for_s": kind.usual.for_s,
        }
        usual = numbers
        for layer in reversed(layers):
            if rule in layer:
                written = layer[rule]
                numbers = None if written is None else {**(numbers or usual or {}), **written}
        if numbers is not None:
            measured[rule] = Band(**numbers, falling=kind.usual.falling)
    silent: float | None = max(LEAST_USUAL_SILENCE_S, INTERVALS_OF_SILENCE * every_ms / 1000)
    usual_silence = silent
    for layer in reversed(layers):
        if REPORTING in layer:
            written = layer[REPORTING]
            silent = None if written is None else (written.get("silent_after_s") or usual_silence)
    return Bands(measured, silent)


def layers_of(
    own: Mapping[str, Any], tags: Sequence[str], tag_bands: Mapping[str, Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    return [own, *(tag_bands[tag] for tag in tags if tag in tag_bands)]


def policies(bands: Bands) -> dict[str, Policy]:
    """How each rule that is judged is decided."""
    found = {
        rule: Policy(1, 1, 1, lasting_ms=band.for_s * 1000, silence_reason="no sample of it came")
        for rule, band in bands.measured.items()
    }
    silent = bands.silent_after_s
    if silent is not None:
        found[REPORTING] = Policy(1, 1, 1, silence=Result.FAILED, silence_reason=f"no sample for {silent:g} s")
    return found


def classify(value: float, band: Band, verdict: Verdict) -> Result:
    """What a number is to something with this verdict. NaN: nothing was measured."""
    if math.isnan(value):
        return Result.UNMEASURED
    worse = -value if band.falling else value
    warn, critical = band.thresholds(verdict)
    if worse >= critical:
        return Result.FAILED
    return Result.WARNED if worse >= warn else Result.PASSED


def classify_many(values: Floats, warn: Floats, critical: Floats) -> NDArray[np.int8]:
    """The same for many at once, with ``Band.thresholds`` of each, and the sign of what falls turned."""
    found = np.full(len(values), Result.PASSED, dtype=np.int8)
    found[values >= warn] = Result.WARNED
    found[values >= critical] = Result.FAILED
    found[np.isnan(values)] = Result.UNMEASURED
    return found


def words(rule: str, value: float, band: Band, result: Result, *, where: str | None = None) -> str:
    """Why, for people: ``CPU 97 %, critical from 95 %``. Nothing of what is as it should be."""
    if result is Result.PASSED or math.isnan(value):
        return ""
    name, threshold = ("critical", band.critical) if result is Result.FAILED else ("warned of", band.warn)
    if rule == FORECAST:
        what = f"disk {where or ''} full in {_hours(value)} at the present rate".replace("  ", " ")
        return what if threshold is None else f"{what}, {name} below {_hours(threshold)}"
    what = {CPU: "CPU", MEMORY: "memory", DISK: f"disk {where}" if where else "disk"}[rule]
    said = f"{what} {value * 100:.3g} %"
    return said if threshold is None else f"{said}, {name} from {threshold * 100:.3g} %"


def _hours(value: float) -> str:
    return f"{value:.3g} h" if value >= 1 else f"{value * 60:.0f} min"


# ── when is it full? ──────────────────────────────────────────────────────────────────────────────────

HALF_LIFE_MS: Final = 1_800_000
"""An observation counts half as much after half an hour."""
SEEN_MS: Final = 900_000
"""Nothing is said from less than a quarter of an hour."""
FARTHEST_H: Final = 8760.0
"""What is farther away is no forecast."""
STEADY: Final = 0.5
"""How much of its movement a straight line must explain (r²) to be called a rate: where files come and go there is
none."""

_SPREAD_MS2: Final = SEEN_MS**2 / 16
"""A little less than the variance of moments spread evenly over that time: a filesystem may be newer than the rest."""


class Trend(NamedTuple):
    """How the filled shares of some filesystems move: a least-squares line through what was seen, older sights counting
    less (by half every HALF_LIFE_MS). It is kept as sums, so that nothing has to be read again and a copy of the
    aggregator that was started a moment ago goes on from what is stored.

    A line through everything recent, because the difference of two moments swings with every log file that is rotated;
    weighted by age, because a window with an end jumps when a great step leaves it. Steps make a bad line, which is not
    called a rate.
    """

    since_ms: int
    last_ms: int
    weight: float
    time: tuple[float, ...]
    """Per filesystem, as all after it. The mean time, in ms from ``last_ms``."""
    share: tuple[float, ...]
    """NaN: not seen lately."""
    time_time: tuple[float, ...]
    time_share: tuple[float, ...]
    share_share: tuple[float, ...]

    @classmethod
    def of(cls, found: object, size: int) -> Trend | None:
        """From what ``list`` made of one; None where it is none, or of other filesystems."""
        if not isinstance(found, Sequence) or len(found) != len(cls._fields):
            return None
        try:
            sums = (tuple(map(_number_of, one)) for one in found[3:])
            made = cls(int(found[0]), int(found[1]), float(found[2]), *sums)
        except (TypeError, ValueError):
            return None
        return made if all(len(one) == size for one in made[3:]) else None

    def among(self, before: Sequence[str], after: Sequence[str]) -> Trend:
        """Of the filesystems ``after``, of those that it was ``before``; one that is new begins with its next sight."""
        places = {mount: place for place, mount in enumerate(before)}
        sums = ([values[places[one]] if one in places else math.nan for one in after] for values in self[3:])
        return Trend(self.since_ms, self.last_ms, self.weight, *map(tuple, sums))


def _number_of(stored: float | None) -> float:
    """JSON has no NaN."""
    return math.nan if stored is None else float(stored)


def follow(trend: Trend | None, at_ms: int, shares: Floats) -> Trend:
    """With one more sight. A filesystem without a share now (NaN) begins anew."""
    nothing = np.zeros(len(shares))
    if trend is None or at_ms <= trend.last_ms:
        if trend is not None:
            return trend
        zero = tuple(nothing.tolist())
        return Trend(at_ms, at_ms, 1.0, zero, tuple(shares.tolist()), zero, zero, zero)
    passed = float(at_ms - trend.last_ms)
    kept = 0.5 ** (passed / HALF_LIFE_MS)
    weight = trend.weight * kept + 1
    time = np.array(trend.time) - passed
    share = np.array(trend.share)
    by_time, by_share = -time, shares - share
    time = time + by_time / weight
    share = share + by_share / weight
    time_time = np.array(trend.time_time) * kept + by_time * (0 - time)
    time_share = np.array(trend.time_share) * kept + by_time * (shares - share)
    share_share = np.array(trend.share_share) * kept + by_share * (shares - share)
    sums = [time, share, time_time, time_share, share_share]
    anew = ~np.isfinite(sums[1])
    if anew.any():
        for one in sums:
            one[anew] = 0
        share[anew] = shares[anew]
    return Trend(trend.since_ms, at_ms, weight, *(tuple(one.tolist()) for one in sums))


def hours_left(trend: Trend | None, shares: Floats) -> Floats:
    """Until each is full at the present rate; NaN: not known, or it does not fill up."""
    found = np.full(len(shares), np.nan)
    if trend is None or trend.last_ms - trend.since_ms < SEEN_MS or len(trend.share) != len(shares):
        return found
    time_time, time_share = np.array(trend.time_time), np.array(trend.time_share)
    seen = time_time / trend.weight >= _SPREAD_MS2
    share_share = np.array(trend.share_share)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = time_share / time_time
        steady = time_share * time_share / (time_time * share_share)
        hours = (1 - shares) / slope / 3_600_000
    right = seen & (slope > 0) & (steady >= STEADY) & (hours <= FARTHEST_H)
    found[right] = np.maximum(hours[right], 0)
    return found
