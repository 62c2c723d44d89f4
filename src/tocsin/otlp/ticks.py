"""The numbers of an export, judged, and put into vectors.

What is sent as one is told in several moments: a Collector asks one thing of the host after another. So the points of a
machine that lie within a second of the first, each series once, are one tick, at the time of the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from tocsin.core.samples import Layout
from tocsin.otlp import refused as why
from tocsin.otlp.refused import Reason, Refused, shown
from tocsin.otlp.shape import Bundle, Floats, Int64s, Marks, Numbers, Part, Plan

MOMENT_MS: Final = 1000
AHEAD_MS: Final = 3_600_000
SHORTEST_NS: Final = 10_000_000
"""Of a delta. The first one of an SDK's observable counter is everything there ever was, over no time at all."""
LARGEST: Final = float(np.finfo(np.float32).max)
"""What is stored are numbers of four bytes."""
_NS: Final = np.uint64(1_000_000)
_ENDS: Final = (np.minimum, np.maximum)


class Tick(NamedTuple):
    """``values`` are as they came, NaN where there is none; ``starts_ms`` is 0 for what is no counter, and where it is
    not known."""

    at_ms: int
    layout: Layout
    starts_ms: Int64s
    values: Floats


def ticks(part: Part, numbers: Numbers, *, now_ms: int, kept_ms: int) -> tuple[list[Tick], Refused]:
    """What this machine said, oldest first, and what of it is not kept. Single samples are kept for ``kept_ms``."""
    if part.places is not None:
        places = part.places
        numbers = Numbers(numbers.at_ns[places], numbers.start_ns[places], numbers.values[places])
    bundle, refused = part.bundle, Refused()
    (single,) = plain_ticks(bundle, numbers.as_row, now_ms=now_ms, kept_ms=kept_ms)
    if single is not None:
        return [single], refused
    oldest_ms, newest_ms = now_ms - kept_ms, now_ms + AHEAD_MS
    at_ms = (numbers.at_ns // _NS).astype(np.int64)
    values, fit = _judged(bundle, numbers, at_ms, oldest_ms, newest_ms, refused)
    in_time = (at_ms >= oldest_ms) & (at_ms <= newest_ms)
    broken = frozenset(
        total for place in np.flatnonzero(in_time & ~fit) if (total := bundle.points[place].total) is not None
    )
    found = []
    for moment in _moments(bundle, at_ms, np.flatnonzero(fit), refused):
        plan = bundle.plan(moment, broken)
        if len(plan.layout):
            at = int(at_ms[moment].min())
            (vector,), (starts_ms,) = _vectors(plan, numbers._replace(values=values).as_row)
            found.append(Tick(at, plan.layout, starts_ms, vector))
            if plan.left_out:
                refused.add(why.TOO_MANY_SERIES, len(plan.left_out), shown(bundle.points[plan.left_out[0]].key[0]))
    return found, refused


def plain_ticks(bundle: Bundle, numbers: Numbers, *, now_ms: int, kept_ms: int) -> list[Tick | None]:
    """What several exports of these points said, where each is one tick and all of it may be kept as it is: what mostly
    comes, looked at in few steps. ``numbers`` are [export, point]. None: not this one."""
    at_ns, start_ns, values = numbers
    if bundle.any_delta or not bundle.each_once or bundle.whole.left_out:
        return [None] * len(values)
    plan = bundle.whole
    first_ms, last_ms = (end.reduce(at_ns, axis=1) // _NS for end in _ENDS)
    is_plain = (first_ms >= max(now_ms - kept_ms, 0)) & (last_ms <= now_ms + AHEAD_MS)
    is_plain &= last_ms - first_ms <= MOMENT_MS
    is_plain &= np.maximum.reduce(np.abs(values), axis=1) <= LARGEST
    growing = bundle.growing
    if len(growing):
        is_plain &= np.minimum.reduce(values[:, growing], axis=1) >= 0
        is_plain &= (start_ns[:, growing] <= at_ns[:, growing]).all(axis=1)
    vectors, starts_ms = _vectors(plan, numbers)
    return [
        Tick(at_ms, plan.layout, starts_ms[row].copy(), vectors[row]) if good else None  # the start outlives the rest
        for row, (at_ms, good) in enumerate(zip(first_ms.tolist(), is_plain.tolist(), strict=True))
    ]


def _vectors(plan: Plan, numbers: Numbers) -> tuple[Floats, Int64s]:
    """Values and starts of each export."""
    shape = len(numbers.values), len(plan.layout)
    values, starts_ms = np.zeros(shape), np.zeros(shape, dtype=np.int64)
    with np.errstate(invalid="ignore", over="ignore"):  # rows that are not plain
        values[:, plan.slots] = np.add.reduceat(numbers.values[:, plan.points], plan.begins, axis=1)
    latest_ns = np.maximum.reduceat(numbers.start_ns[:, plan.points], plan.begins, axis=1)
    starts_ms[:, plan.slots] = latest_ns // _NS
    starts_ms[:, plan.others] = 0
    if plan.cores is not None:
        values[:, plan.cores[0]] = plan.cores[1]
    return values, starts_ms


def _judged(
    bundle: Bundle, numbers: Numbers, at_ms: Int64s, oldest_ms: int, newest_ms: int, refused: Refused
) -> tuple[Floats, Marks]:
    """The values, deltas as rates, and which points are fit to be kept."""
    values = numbers.values
    late_start = (numbers.start_ns > numbers.at_ns) & bundle.grows
    short = np.zeros(len(bundle), dtype=np.bool_)
    if bundle.any_delta:
        late_start |= bundle.deltas & ((numbers.start_ns == 0) | (numbers.start_ns >= numbers.at_ns))
        spans = np.where(late_start | ~bundle.deltas, np.uint64(1_000_000_000), numbers.at_ns - numbers.start_ns)
        short = spans < SHORTEST_NS
        seconds = np.where(short, 1.0, spans.astype(np.float64) / 1e9)
        values = values / seconds
    with np.errstate(invalid="ignore"):
        wrong: tuple[tuple[Reason, Marks], ...] = (
            (why.TOO_OLD, at_ms < oldest_ms),
            (why.AHEAD, at_ms > newest_ms),
            (why.NOT_A_NUMBER, ~(np.abs(values) <= LARGEST)),
            (why.NEGATIVE, bundle.grows & (values < 0)),
            (why.START, late_start),
            (why.SHORT, short),
        )
    counted = np.zeros(len(bundle), dtype=np.bool_)
    for reason, marks in wrong:
        fresh = np.flatnonzero(marks & ~counted)
        if len(fresh):
            refused.add(reason, len(fresh), shown(bundle.points[fresh[0]].key[0]))
            counted |= marks
    return values, ~counted


def _moments(bundle: Bundle, at_ms: Int64s, chosen: Int64s, refused: Refused) -> list[Sequence[int]]:
    """The points that belong together, each moment in the order in which the points were sent."""
    found: list[list[int]] = []
    seen: dict[tuple[str, tuple[tuple[str, str], ...]], int] = {}
    first_ms = 0
    times: list[int] = at_ms.tolist()
    for place in sorted(chosen.tolist(), key=lambda one: (times[one], one)):
        at, key = times[place], bundle.points[place].key
        if seen.get(key) == at:
            refused.add(why.TWICE, 1, shown(key[0]))
            continue
        if not found or at - first_ms > MOMENT_MS or key in seen:
            found.append([])
            seen = {}
            first_ms = at
        found[-1].append(place)
        seen[key] = at
    return [sorted(moment) for moment in found]
