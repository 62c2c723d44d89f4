"""What of an export is not kept, and the words in which its sender is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

MOST_REASONS: Final = 20
LONGEST_EXAMPLE: Final = 80


class Reason(NamedTuple):
    """``label`` is for metrics, ``words`` for people; ``senseless`` counts against the machine, because its values
    made no sense, and not only because Tocsin keeps no such thing."""

    label: str
    words: str
    senseless: bool = False


HISTOGRAM: Final = Reason("histogram", "histograms and summaries are not kept")
NO_MACHINE: Final = Reason(
    "no_machine",
    "the resource has none of host.id, host.name and service.instance.id, of 1 to 200 characters; in a Collector the "
    "processor resourcedetection adds them",
)
ONE_PROCESS: Final = Reason("process", "metrics of single processes are not kept")
NAME: Final = Reason("name", "the name of a metric must have 1 to 255 printable characters", senseless=True)
ATTRIBUTES: Final = Reason(
    "attributes",
    "a data point may have 32 attributes, with keys of 1 to 100 and values of up to 255 characters",
    senseless=True,
)
TEMPORALITY: Final = Reason("temporality", "a sum must be cumulative or delta", senseless=True)
NO_VALUE: Final = Reason("no_value", "no value was recorded")
NOT_A_NUMBER: Final = Reason("not_a_number", "not a number, or beyond 3.4e38", senseless=True)
NEGATIVE: Final = Reason("negative", "a sum that only grows is below zero", senseless=True)
START: Final = Reason("start", "a sum has no start, or one that is not before its time", senseless=True)
SHORT: Final = Reason("short", "a delta over less than 10 ms says nothing of a rate")
TOO_OLD: Final = Reason("too_old", "older than single samples are kept")
AHEAD: Final = Reason("ahead", "more than an hour in the future", senseless=True)
TWICE: Final = Reason("twice", "the same series twice for one time", senseless=True)
TOO_MANY_SERIES: Final = Reason("too_many_series", "more series than are kept of one machine")
TOO_MANY_POINTS: Final = Reason("too_many_points", "more data points of one machine than are taken at once")
CHANGING: Final = Reason("changing", "its series change too often; what is new is not kept for now")
DELETED: Final = Reason("deleted", "the machine was deleted meanwhile")


class Refused:
    """Counts by reason, each with an example. Reasons are few, so it is bounded."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: dict[Reason, tuple[int, str]] = {}

    def add(self, reason: Reason, count: int = 1, example: str = "") -> None:
        if count:
            known, first = self._found.get(reason, (0, ""))
            self._found[reason] = (known + count, first or example)

    def add_all(self, other: Refused) -> None:
        for reason, (count, example) in other._found.items():
            self.add(reason, count, example)

    @property
    def counts(self) -> Mapping[Reason, int]:
        return {reason: count for reason, (count, _) in self._found.items()}

    @property
    def total(self) -> int:
        return sum(count for count, _ in self._found.values())

    @property
    def senseless(self) -> int:
        return sum(count for reason, (count, _) in self._found.items() if reason.senseless)

    @property
    def words(self) -> str:
        """``2 data points: histograms and summaries are not kept (such as http.server.duration); …``"""
        return "; ".join(
            f"{count} data point{'' if count == 1 else 's'}: {reason.words}"
            + (f" (such as {example})" if example else "")
            for reason, (count, example) in self._found.items()
        )


def shown(text: str) -> str:
    """As an example: short, and nothing that a terminal would obey."""
    text = "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text[:LONGEST_EXAMPLE])
    return text or "one without a name"
