"""Ticks out of what the sensors gave: one order of series, a layout, and a vector of numbers for each moment."""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from math import nan
from typing import Final, NamedTuple

from tocsin.collector.panel import Look, Seen
from tocsin.core.samples import Layout, Series
from tocsin.sensors.base import Process

_GONE: Final = 60
"""A series that gave no number for so many ticks is left out of the layout; before, it is NaN."""


class Form(NamedTuple):
    """A layout, and since when each of its counters counts; 0 for gauges. Epoch ms."""

    layout: Layout
    starts_ms: tuple[int, ...]


class Moment(NamedTuple):
    boot_id: str
    seq: int
    at_ms: int
    form: Form
    """The same object for as long as it is the same."""
    values: bytes
    """A little-endian double for each series; NaN: none now."""
    processes: list[Process] | None


class Composer:
    """Makes moments of one boot. A counter counts since the machine started; one that came later, or began anew, since
    its sensor was read before."""

    def __init__(self, boot_id: str, began_ms: int) -> None:
        self._boot_id = boot_id
        self._began_ms = began_ms
        self._form = Form(Layout(()), ())
        self._struct = struct.Struct("")
        self._starts: dict[Series, int] = {}
        self._counts: dict[Series, float] = {}
        """What each counter stood at."""
        self._absent: dict[Series, int] = {}
        """For how many ticks a series of the layout has had no number."""

    def compose(self, look: Look, *, seq: int, at_ms: int) -> Moment:
        values: dict[Series, float] = {}
        has_other_starts = False
        for seen in look.seen:
            values.update(seen.values)
            has_other_starts |= seen.is_fresh and self._count(seen)
        series = self._form.layout.series
        missing = [one for one in series if one not in values]
        has_new = len(values) > len(series) - len(missing)
        if has_other_starts or self._are_gone(missing) or has_new:
            self._lay_out(values, missing)
            series = self._form.layout.series
        packed = self._struct.pack(*(values.get(one, nan) for one in series))
        return Moment(self._boot_id, seq, at_ms, self._form, packed, look.processes)

    def _count(self, seen: Seen) -> bool:
        """Whether one of its counters began anew, or is new."""
        changed = False
        for series, value in seen.values.items():
            if series.kind != "counter":
                continue
            before = self._counts.get(series)
            if before is None or value < before:
                self._starts[series] = self._began_ms if seen.since_ms is None else seen.since_ms
                changed = True
            self._counts[series] = value
        return changed

    def _are_gone(self, missing: Collection[Series]) -> bool:
        self._absent = {series: self._absent.get(series, 0) + 1 for series in missing}
        return any(ticks >= _GONE for ticks in self._absent.values())

    def _lay_out(self, values: Mapping[Series, float], missing: Collection[Series]) -> None:
        for series in missing:
            if self._absent[series] >= _GONE:
                del self._absent[series]
                self._starts.pop(series, None)
                self._counts.pop(series, None)
        staying = [series for series in self._form.layout.series if series in values or series in self._absent]
        known = set(staying)
        layout = Layout((*staying, *(series for series in values if series not in known)))
        self._form = Form(layout, tuple(self._starts.get(series, 0) for series in layout.series))
        self._struct = struct.Struct(f"<{len(layout)}d")
