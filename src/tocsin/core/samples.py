"""What a machine's samples are made of: series in a fixed order, a layout, and beside it a vector of numbers a tick.

The wire, the store and the live view share this shape. Names, attributes and units are those of the OpenTelemetry
semantic conventions: https://opentelemetry.io/docs/specs/semconv/system/system-metrics/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

MACHINE = "machine"
"""The kind of a subject that is a machine."""

SeriesKind = Literal["gauge", "counter"]


class Series(NamedTuple):
    """One line of numbers. ``attributes`` are pairs in order of their keys. Of a counter what is stored is its rate:
    its unit is then ``unit`` per second."""

    name: str
    attributes: tuple[tuple[str, str], ...] = ()
    unit: str = ""
    kind: SeriesKind = "gauge"

    @property
    def label(self) -> str:
        """``system.cpu.time{cpu.mode=user}``; the bare name where there are no attributes."""
        if not self.attributes:
            return self.name
        return f"{self.name}{{{','.join(f'{key}={value}' for key, value in self.attributes)}}}"

    @property
    def stored_unit(self) -> str:
        return f"{self.unit}/s" if self.kind == "counter" else self.unit


@dataclass(frozen=True)
class Layout:
    """The series of a vector, in its order; no two have the same name and attributes."""

    series: tuple[Series, ...]

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(self.series)

    def __len__(self) -> int:
        return len(self.series)

    def __iter__(self) -> Iterator[Series]:
        return iter(self.series)

    @cached_property
    def places(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], int]:
        """Where in the vector a series is, by name and attributes."""
        return {(one.name, one.attributes): place for place, one in enumerate(self.series)}

    @cached_property
    def by_name(self) -> dict[str, tuple[int, ...]]:
        """Where in the vector all series of a name are."""
        found: dict[str, tuple[int, ...]] = {}
        for place, one in enumerate(self.series):
            found[one.name] = (*found.get(one.name, ()), place)
        return found
