"""Which layouts a machine uses, so that they stay few whatever it sends.

A library that tells only what has changed sends other series with every export: those go into one layout, with gaps. A
gap is harmless for gauges and rates. It would cost a counter its next rate, so counters are never left open. And who
makes up series has them refused.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from statistics import median
from typing import Final, NamedTuple

import numpy as np

from tocsin.core.samples import Layout, Series
from tocsin.otlp.shape import MOST_SERIES, Floats, Int64s
from tocsin.otlp.ticks import Tick

REMEMBERED: Final = 8
"""Layouts, the ones used last."""
SPARSEST: Final = 4
"""A tick fills at least one of so many places, if it is no smaller than:"""
ROOMY: Final = 64
NEW_AT_ONCE: Final = 60
NEW_PER_S: Final = 1 / 60
"""New layouts of one machine."""
GAPS: Final = 9
"""Distances between ticks of one layout that are remembered, to know how often they come."""
FEWEST_GAPS: Final = 3
LONGEST_GAP_MS: Final = 3_600_000


@dataclass(slots=True)
class Used:
    """A layout, and how often ticks of it come."""

    layout: Layout
    stored_ms: int | None = None
    """The time of the last tick that is stored; None: none is known of."""
    under_way: list[int] = field(default_factory=list)
    """Times of ticks that are being written."""
    gaps: deque[int] = field(default_factory=lambda: deque(maxlen=GAPS))

    def beat(self, at_ms: int) -> bool:
        """Whether this tick is later than all before it. It is under way then, until it is ``settled``."""
        if at_ms < max(self.under_way, default=at_ms) or (self.stored_ms is not None and at_ms < self.stored_ms):
            return False
        self.under_way.append(at_ms)
        return True

    def settled(self, at_ms: int, *, is_stored: bool) -> None:
        """What was not stored may come again, and is not late then."""
        if at_ms in self.under_way:
            self.under_way.remove(at_ms)
        if not is_stored:
            return
        if self.stored_ms is not None and 0 < at_ms - self.stored_ms <= LONGEST_GAP_MS:
            self.gaps.append(at_ms - self.stored_ms)
        self.stored_ms = at_ms if self.stored_ms is None else max(self.stored_ms, at_ms)


class Fitted(NamedTuple):
    """A tick in a layout of its machine; ``left_out`` are names of series that have no place in it."""

    layout: Layout
    starts_ms: Int64s
    values: Floats
    left_out: tuple[str, ...] = ()


class Layouts:
    """Of one machine."""

    def __init__(self) -> None:
        self._used: OrderedDict[int, Used] = OrderedDict()
        """By identity of the layout; the one used last comes last."""
        self._left = float(NEW_AT_ONCE)
        self._seen_s: float | None = None

    def __len__(self) -> int:
        return len(self._used)

    def uses(self, layout: Layout) -> bool:
        return id(layout) in self._used

    def used(self, layout: Layout) -> Used:
        """Notes it."""
        found = self._used.pop(id(layout), None) or Used(layout)
        self._used[id(layout)] = found
        if len(self._used) > REMEMBERED:
            self._used.popitem(last=False)
        return found

    def every_ms(self) -> int:
        """How often the machine reports: as often as what comes most often of it. 0: not known yet."""
        found = [median(one.gaps) for one in self._used.values() if len(one.gaps) >= FEWEST_GAPS]
        return round(min(found)) if found else 0

    def fit(self, tick: Tick, now_s: float) -> Fitted | None:
        """A tick in a layout that is not its own, or in its own where that is used already or may be new; None: there
        is no room for it. ``now_s`` is monotonic."""
        if self.uses(tick.layout):
            return Fitted(tick.layout, tick.starts_ms, tick.values)
        own = set(tick.layout.series)
        for used in reversed(self._used.values()):
            both = own.union(used.layout.series)
            if len(both) > max(ROOMY, SPARSEST * len(own)) or any(one.kind == "counter" for one in both - own):
                continue
            if len(both) == len(used.layout):
                return _put(tick, used.layout)
            if len(both) == len(own):
                continue
            if len(both) <= MOST_SERIES and len({one[:2] for one in both}) == len(both) and self._may(now_s):
                return _put(tick, Layout(tuple(sorted(both, key=_name))))
        if self._may(now_s):
            return Fitted(tick.layout, tick.starts_ms, tick.values)
        return self.nearest(tick)

    def nearest(self, tick: Tick) -> Fitted | None:
        """In the layout that has most of its series; the others are left out. None: none has any."""
        own = set(tick.layout.series)
        layouts = [used.layout for used in self._used.values()]
        best = max(layouts, key=lambda layout: len(own.intersection(layout.series)), default=None)
        fitted = None if best is None else _put(tick, best)
        return fitted if fitted is not None and len(fitted.left_out) < len(tick.layout) else None

    def _may(self, now_s: float) -> bool:
        """Whether there may be a new layout; if so it is counted."""
        if self._seen_s is not None:
            self._left = min(float(NEW_AT_ONCE), self._left + (now_s - self._seen_s) * NEW_PER_S)
        self._seen_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True


def _put(tick: Tick, layout: Layout) -> Fitted:
    values = np.full(len(layout), np.nan)
    starts_ms = np.zeros(len(layout), dtype=np.int64)
    left_out = []
    for place, one in enumerate(tick.layout):
        there = layout.places.get((one.name, one.attributes))
        if there is None or layout.series[there] != one:
            left_out.append(one.name)
        else:
            values[there], starts_ms[there] = tick.values[place], tick.starts_ms[place]
    return Fitted(layout, starts_ms, values, tuple(left_out))


def _name(one: Series) -> tuple[str, tuple[tuple[str, str], ...]]:
    return one.name, one.attributes
