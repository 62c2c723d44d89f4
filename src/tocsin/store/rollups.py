"""Hours and days of checks: how the keeper folds them, and the summaries and charts that are read from them.

Every reading adds up the same parts: folded days, folded hours, checks that came late for an hour already folded,
and raw checks since the mark. So what is read is exact at any moment, whenever the keeper last ran.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

import numpy as np
from sqlalchemy import ColumnElement, Connection, Table, delete, func, select

from tocsin.core import rollup, sketch, uptime
from tocsin.core.decide import Verdict
from tocsin.core.rollup import DAY_MS, HOUR_MS, NOT_TIMED, PHASES, SUMS, Checks, Rollups
from tocsin.core.uptime import Availability, Interval, Timelines
from tocsin.store import checks, fast, marks, transitions
from tocsin.store.marks import DAYS, HOURS
from tocsin.store.tables import check_days, check_hours, late_checks, targets

GRACE_MS: Final = 120_000
"""How long a check may be on its way to the database before its time is folded; later ones are late, not lost."""
_MOST_RAW: Final = 20_000
"""About how many raw checks one fold takes: catching up after a pause goes by steps that others can write between."""
_MOST_LATE: Final = 5_000
"""How many late checks one fold takes."""

_TIMES: Final = ("latency_us", *(f"{phase}_us" for phase in PHASES))
_COLUMNS: Final = ("target_id", "start_ms", *SUMS, "latency_min_us", "latency_max_us", "sketch")


# ── folding: the keeper's part ────────────────────────────────────────────────────────────────────────


class Fold(NamedTuple):
    """One fold, worked out and not yet written."""

    from_ms: int
    to_ms: int
    revision: int
    seen: int
    """How many raw checks lie in [from_ms, to_ms); another number when it is written means somebody came between."""
    late_ids: list[int]
    hours: Rollups
    """Whole rows, to replace those with the same key."""
    days: Rollups


def plan_fold(conn: Connection, now_ms: int) -> Fold | None:
    """Read what the next fold would add; None when there is nothing to do. Changes nothing, locks nothing."""
    standing = marks.read(conn)
    from_ms = standing.hours_ms or _first_check_ms(conn, now_ms - GRACE_MS)
    to_ms = _fold_until(conn, from_ms, now_ms - GRACE_MS)
    raw = _raw(conn, None, from_ms, to_ms)
    late_ids, late = _late(conn, limit=_MOST_LATE)
    if to_ms == standing.hours_ms and not late_ids:
        return None
    hours = rollup.merge([rollup.fold(raw, HOUR_MS), rollup.fold(late, HOUR_MS)])
    days = rollup.fold(_before(late, standing.days_ms), DAY_MS)
    return Fold(
        from_ms,
        to_ms,
        standing.revision,
        len(raw.at_ms),
        late_ids,
        rollup.merge([hours, _existing(conn, check_hours, hours)]),
        rollup.merge([days, _existing(conn, check_days, days)]),
    )


def _fold_until(conn: Connection, from_ms: int, latest_ms: int) -> int:
    to_ms = max(from_ms, min(latest_ms, from_ms + DAY_MS))
    while to_ms - from_ms > 60_000 and _count_raw(conn, from_ms, to_ms) > _MOST_RAW:
        to_ms = from_ms + (to_ms - from_ms) // 4
    return to_ms


def write_fold(conn: Connection, fold: Fold) -> bool:
    """Write what ``plan_fold`` worked out; False, and nothing changed, when the ground has moved since: plan again.

    The whole fold is one transaction: the rows, the mark, and the late checks that are in them now.
    """
    if not marks.unmoved(conn, fold.revision) or _count_raw(conn, fold.from_ms, fold.to_ms) != fold.seen:
        return False
    replace(conn, check_hours, fold.hours)
    replace(conn, check_days, fold.days)
    if fold.late_ids:
        conn.execute(delete(late_checks).where(fast.among(conn, late_checks.c.id, fold.late_ids)))
    _move(conn, HOURS, fold.to_ms)
    return True


def day_to_seal(conn: Connection) -> int | None:
    """The start of the next day whose hours are all folded, or None."""
    standing = marks.read(conn)
    start_ms = standing.days_ms
    if not start_ms:
        first_ms = conn.execute(select(func.min(_first_of_each_target(check_hours, check_hours.c.start_ms)))).scalar()
        if first_ms is None:
            return None
        start_ms = first_ms - first_ms % DAY_MS
    return start_ms if start_ms + DAY_MS <= standing.hours_ms else None


def plan_days(conn: Connection, start_ms: int, target_ids: Collection[int]) -> Rollups:
    """The day beginning at ``start_ms``, added up from the hours of these targets."""
    return rollup.merge([_read(conn, check_hours, target_ids, start_ms, start_ms + DAY_MS)], DAY_MS)


def write_days(conn: Connection, days: Rollups, revision: int) -> bool:
    """Store days; False, and nothing changed, when any fold was written since ``revision``: start the day again."""
    if not marks.unmoved(conn, revision):
        return False
    replace(conn, check_days, days)
    return True


def seal_day(conn: Connection, start_ms: int, revision: int) -> bool:
    """Move the mark past a day whose rows have all been written; False as in ``write_days``."""
    if not marks.unmoved(conn, revision):
        return False
    _move(conn, DAYS, start_ms + DAY_MS)
    return True


def _move(conn: Connection, name: str, through_ms: int) -> None:
    marks.move(conn, name, through_ms)
    marks.count_fold(conn)


# ── reading: what every answer is added up from ───────────────────────────────────────────────────────


def all_target_ids(conn: Connection) -> list[int]:
    """Every target that is not deleted."""
    statement = select(targets.c.id).where(targets.c.deleted_ms.is_(None)).order_by(targets.c.id)
    return [target_id for (target_id,) in fast.fetch(conn, statement)]


def every_target_id(conn: Connection) -> list[int]:
    """Every target that has a row: deleted ones too, until they are purged."""
    return [target_id for (target_id,) in fast.fetch(conn, select(targets.c.id).order_by(targets.c.id))]


def _first_of_each_target(table: Table, time: ColumnElement[int]) -> ColumnElement[int]:
    # By seeking in each target's rows: the smallest of the whole table would mean reading all of it.
    return select(func.min(time)).where(table.c.target_id == targets.c.id).correlate(targets).scalar_subquery()


def _first_check_ms(conn: Connection, otherwise_ms: int) -> int:
    found = checks.first_of_all_ms(conn)
    return otherwise_ms if found is None else min(found, otherwise_ms)


def _raw(conn: Connection, target_ids: Collection[int] | None, from_ms: int, to_ms: int | None) -> Checks:
    """Raw checks in [from_ms, to_ms), of a time that is not packed; target_ids None: of every target, deleted ones
    too."""
    return _columns(checks.numbers_within(conn, target_ids, from_ms, to_ms))


def _columns(numbers: sketch.Ints) -> Checks:
    """From rows as ``store.checks`` gives them."""
    return Checks(numbers[:, 0], numbers[:, 2], numbers[:, 3], numbers[:, 4], numbers[:, 5:])


def _count_raw(conn: Connection, from_ms: int, to_ms: int) -> int:
    return int(conn.execute(select(func.count()).select_from(checks.within(conn, None, from_ms, to_ms))).scalar_one())


def _late_numbers() -> list[ColumnElement[int]]:
    times = [func.coalesce(late_checks.c[name], NOT_TIMED) for name in _TIMES]
    return [late_checks.c.target_id, late_checks.c.at_ms, late_checks.c.result, *times]


def _late(conn: Connection, *, limit: int) -> tuple[list[int], Checks]:
    numbers = fast.fetch_numbers(
        conn, select(late_checks.c.id, *_late_numbers()).order_by(late_checks.c.id).limit(limit)
    )
    return numbers[:, 0].tolist(), Checks.of(numbers[:, 1:])


def _before(some: Checks, at_ms: int) -> Checks:
    kept = some.at_ms < at_ms
    return Checks(
        some.target_id[kept], some.at_ms[kept], some.result[kept], some.latency_us[kept], some.phases_us[kept]
    )


def _existing(conn: Connection, table: Table, new: Rollups) -> Rollups:
    """At least the rows of ``table`` with the keys of ``new``."""
    if not len(new):
        return rollup.NOTHING
    return _rows(
        conn,
        table,
        fast.among(conn, table.c.target_id, np.unique(new.target_id).tolist()),
        fast.among(conn, table.c.start_ms, np.unique(new.start_ms).tolist()),
    )


def _read(conn: Connection, table: Table, target_ids: Collection[int], from_ms: int, to_ms: int) -> Rollups:
    return _rows(
        conn,
        table,
        fast.among(conn, table.c.target_id, target_ids),
        table.c.start_ms >= from_ms,
        table.c.start_ms < to_ms,
    )


def _rows(conn: Connection, table: Table, *conditions: ColumnElement[bool]) -> Rollups:
    extremes = [func.coalesce(table.c[name], NOT_TIMED) for name in ("latency_min_us", "latency_max_us")]
    statement = (
        select(*(table.c[name] for name in ("target_id", "start_ms", *SUMS)), *extremes, table.c.sketch)
        .where(*conditions)
        .order_by(table.c.target_id, table.c.start_ms)
    )
    numbers, lengths, packed = fast.fetch_numbers_and_bytes(conn, statement)
    return Rollups(
        numbers[:, 0],
        numbers[:, 1],
        numbers[:, 2:-2],
        numbers[:, -2],
        numbers[:, -1],
        sketch.decode_joined(packed, lengths),
    )


def replace(conn: Connection, table: Table, rows: Rollups) -> None:
    """Store rows of ``check_hours`` or ``check_days``; one with the same key is replaced."""
    extremes = [
        [None if value == NOT_TIMED else value for value in column.tolist()]
        for column in (rows.latency_min_us, rows.latency_max_us)
    ]
    packed = sketch.encode(rows.sketches)
    fast.upsert_many(
        conn,
        table,
        _COLUMNS,
        [
            (*key, *sums, least, most, sketch_bytes)
            for key, sums, least, most, sketch_bytes in zip(
                rows.keys, rows.sums.tolist(), *extremes, packed, strict=True
            )
        ],
    )


# ── answers ───────────────────────────────────────────────────────────────────────────────────────────

WINDOWS_MS: Final[Mapping[str, int]] = {
    "24h": DAY_MS,
    "7d": 7 * DAY_MS,
    "30d": 30 * DAY_MS,
    "90d": 90 * DAY_MS,
    "365d": 365 * DAY_MS,
}
_BAR_CELLS: Final = 24
_BY_HOUR_MS: Final = 31 * DAY_MS
"""Windows up to this length are read from hours, longer ones from days."""


class BarCell(NamedTuple):
    """One hour of the bar. ``verdict`` is the worst of the hour; None: there was none yet."""

    start_ms: int
    verdict: Verdict | None
    checks: int
    failed: int


class Summary(NamedTuple):
    """A target in a list. Ratios are 0 to 1, None where nothing was measured.

    Checks and latency are those of the bar: of the running hour and the 23 before it.
    """

    uptime_24h: float | None
    uptime_30d: float | None
    p95_us_24h: float | None
    checks_24h: int
    failed_24h: int
    bar: tuple[BarCell, ...]


class Latency(NamedTuple):
    """In microseconds; None where no check that worked was timed."""

    p50_us: float | None
    p95_us: float | None
    p99_us: float | None
    min_us: int | None
    max_us: int | None
    avg_us: float | None


class WindowSummary(NamedTuple):
    """A target over one window. Availability is exact; checks and latency begin with the first whole hour of the
    window (day, where it is longer than a month)."""

    availability: Availability
    checks: int
    passed: int
    warned: int
    failed: int
    unmeasured: int
    latency: Latency


class Point(NamedTuple):
    """One step of a chart."""

    start_ms: int
    checks: int
    failed: int
    latency: Latency
    phases_us: tuple[float | None, ...]
    """Averages, in the order of core.rollup.PHASES."""


@dataclass(frozen=True, slots=True)
class Series:
    """Steps without a check are left out."""

    from_ms: int
    to_ms: int
    step_ms: int
    points: list[Point]


class Overall(NamedTuple):
    """All targets as if they were one. ``measured_ms_30d`` is how long the one measured longest was."""

    uptime_30d: float | None
    measured_ms_30d: int
    p95_us_24h: float | None


def summaries(conn: Connection, target_ids: Collection[int] | None, now_ms: int) -> dict[int, Summary]:
    """What a list shows of each target (None: of all that are not deleted)."""
    ids = all_target_ids(conn) if target_ids is None else list(target_ids)
    from_ms = now_ms - now_ms % HOUR_MS - (_BAR_CELLS - 1) * HOUR_MS
    counts, latencies = _last_hours(conn, ids, from_ms)
    p95 = dict(zip(ids, sketch.quantiles(latencies, [0.95])[:, 0].tolist(), strict=True))
    timelines = _timelines(conn, ids, now_ms - WINDOWS_MS["30d"], now_ms)
    day, month = (
        uptime.availability(timelines, Interval(now_ms - WINDOWS_MS[name], now_ms)) for name in ("24h", "30d")
    )
    worst = uptime.worst_by_step(timelines, from_ms, HOUR_MS, _BAR_CELLS)
    starts = [from_ms + number * HOUR_MS for number in range(_BAR_CELLS)]
    nothing = [None] * _BAR_CELLS
    cell = partial(tuple.__new__, BarCell)  # 24,000 of them: BarCell() would take three times as long
    return {
        target_id: Summary(
            uptime_24h=day[target_id].ratio if target_id in day else None,
            uptime_30d=month[target_id].ratio if target_id in month else None,
            p95_us_24h=_known(p95[target_id]),
            checks_24h=sum(of_hours[0]),
            failed_24h=sum(of_hours[1]),
            bar=tuple(map(cell, zip(starts, worst.get(target_id, nothing), *of_hours, strict=True))),
        )
        for target_id, of_hours in zip(ids, counts.tolist(), strict=True)
    }


def uptimes(
    conn: Connection, target_ids: Collection[int] | None, windows: Collection[str], now_ms: int
) -> dict[int, dict[str, float | None]]:
    """Each of these targets' uptime (None: of all that are not deleted) over these of WINDOWS_MS, up to now; None where
    nothing was measured. Their changes are read once, however many windows."""
    ids = all_target_ids(conn) if target_ids is None else target_ids
    spans = [Interval(now_ms - WINDOWS_MS[name], now_ms) for name in windows]
    timelines = _timelines(conn, ids, min((span.from_ms for span in spans), default=now_ms), now_ms)
    known = dict(zip(timelines.subjects, uptime.ratios(timelines, spans).tolist(), strict=True))
    nothing = [math.nan] * len(spans)
    return {target_id: dict(zip(windows, map(_known, known.get(target_id, nothing)), strict=True)) for target_id in ids}


def windows(conn: Connection, target_id: int, now_ms: int) -> dict[str, WindowSummary]:
    """One target over each of WINDOWS_MS, up to now."""
    standing = marks.read(conn)
    longest_ms = max(WINDOWS_MS.values())
    this_hour_ms, today_ms = now_ms - now_ms % HOUR_MS, now_ms - now_ms % DAY_MS
    days = _read(conn, check_days, [target_id], today_ms - longest_ms, standing.days_ms)
    hours_from_ms = min(this_hour_ms - _BY_HOUR_MS, standing.days_ms or this_hour_ms - longest_ms)
    hours = _read(conn, check_hours, [target_id], hours_from_ms, now_ms)
    unfolded = _unfolded(conn, [target_id])
    timelines = _timelines(conn, [target_id], now_ms - longest_ms, now_ms)
    found = {}
    for name, length_ms in WINDOWS_MS.items():
        if length_ms <= _BY_HOUR_MS:
            from_ms = this_hour_ms - length_ms + HOUR_MS
            parts = [rollup.since(hours, from_ms)]
        else:
            from_ms = today_ms - length_ms + DAY_MS
            parts = [rollup.since(days, from_ms), rollup.since(hours, max(from_ms, standing.days_ms))]
        parts.append(rollup.since(unfolded, from_ms))
        window = Interval(now_ms - length_ms, now_ms)
        available = uptime.availability(timelines, window).get(target_id)
        found[name] = _window_summary(_together(parts), available or Availability(0, 0, 0, length_ms, 0, 0))
    return found


def overall(conn: Connection, now_ms: int) -> Overall:
    """All targets that are not deleted, added up: what share of their measured time they worked."""
    ids = all_target_ids(conn)
    from_ms = now_ms - now_ms % HOUR_MS - (_BAR_CELLS - 1) * HOUR_MS
    _, latencies = _last_hours(conn, ids, from_ms)
    p95 = sketch.quantiles(sketch.renumber(latencies, np.zeros(len(ids), np.int64), 1), [0.95])[0, 0]
    month = Interval(now_ms - WINDOWS_MS["30d"], now_ms)
    each = uptime.availability(_timelines(conn, ids, month.from_ms, now_ms), month).values()
    measured_ms = sum(one.measured_ms for one in each)
    worked_ms = sum(one.up_ms + one.degraded_ms for one in each)
    longest_ms = max((one.measured_ms for one in each), default=0)
    return Overall(worked_ms / measured_ms if measured_ms else None, longest_ms, _known(float(p95)))


_STEPS_MS: Final = tuple(
    1000 * seconds
    for seconds in (10, 30, 60, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 1209600)
)
MOST_POINTS: Final = 500
_RAW_MS: Final = 2 * DAY_MS
"""Charts up to this length are made from raw checks, longer ones from hours or days."""


def series(
    conn: Connection, target_id: int, *, from_ms: int, to_ms: int, step_ms: int | None = None, interval_ms: int = 0
) -> Series:
    """A target's checks in [from_ms, to_ms) step by step, in at most 500 steps.

    ``step_ms`` None: the shortest step that is round, at least ``interval_ms``, and gives few enough points. A given
    step is made longer where it would give too many, or where only hours or days are left of that time.
    """
    span_ms = to_ms - from_ms
    finest_ms = _finest_ms(conn, target_id, from_ms, span_ms)
    least_ms = max(finest_ms, math.ceil(span_ms / MOST_POINTS), interval_ms if step_ms is None else step_ms)
    longest_ms = math.ceil(least_ms / _STEPS_MS[-1]) * _STEPS_MS[-1]
    step_ms = next((step for step in _STEPS_MS if step >= least_ms), longest_ms)
    first_ms = from_ms - from_ms % step_ms
    if step_ms < HOUR_MS:
        parts = [rollup.fold(_columns(checks.all_within(conn, [target_id], first_ms, to_ms)), step_ms)]
    else:
        parts = _folded(conn, target_id, first_ms, to_ms, by_days=step_ms % DAY_MS == 0)
    found = rollup.since(rollup.merge(parts, step_ms), first_ms)
    return Series(first_ms, to_ms, step_ms, _points(found))


def _finest_ms(conn: Connection, target_id: int, from_ms: int, span_ms: int) -> int:
    """The length of what is left of a target's past since ``from_ms``: single checks (1), hours or days."""
    if span_ms > _BY_HOUR_MS * 3:
        return DAY_MS
    firsts = select(
        select(func.min(check_hours.c.start_ms)).where(check_hours.c.target_id == target_id).scalar_subquery(),
        select(func.min(check_days.c.start_ms)).where(check_days.c.target_id == target_id).scalar_subquery(),
    )
    first_hour, first_day = (math.inf if first is None else first for first in conn.execute(firsts).one())
    # Older hours than checks, or older days than hours: the finer ones have been removed by then.
    if from_ms < first_hour - DAY_MS and first_day < first_hour - DAY_MS:
        return DAY_MS
    if span_ms > _RAW_MS:
        return HOUR_MS
    first_ms = checks.first_ms(conn, target_id)
    first_raw = math.inf if first_ms is None else first_ms
    return HOUR_MS if from_ms < first_raw and first_hour < first_raw - HOUR_MS else 1


def _folded(conn: Connection, target_id: int, from_ms: int, to_ms: int, *, by_days: bool) -> list[Rollups]:
    """A target's rows in [from_ms, to_ms): hours, or days as far as they are sealed and hours after them."""
    hours_from_ms, parts = from_ms, []
    if by_days:
        days_ms = marks.read(conn).days_ms
        hours_from_ms = max(from_ms, days_ms)
        parts.append(_read(conn, check_days, [target_id], from_ms, min(to_ms, days_ms)))
    parts.append(_read(conn, check_hours, [target_id], hours_from_ms, to_ms))
    unfolded = _unfolded(conn, [target_id])
    parts.append(rollup.only(unfolded, (unfolded.start_ms >= from_ms) & (unfolded.start_ms < to_ms)))
    return parts


def _unfolded(conn: Connection, target_ids: Collection[int]) -> Rollups:
    """These targets' checks that no hour holds yet, as hours: since the mark, and late ones."""
    tail = _raw(conn, target_ids, marks.read(conn).hours_ms, None)
    late = select(*_late_numbers()).where(fast.among(conn, late_checks.c.target_id, target_ids))
    return rollup.merge([rollup.fold(tail, HOUR_MS), rollup.fold(Checks.of(fast.fetch_numbers(conn, late)), HOUR_MS)])


def _last_hours(conn: Connection, ids: Sequence[int], from_ms: int) -> tuple[sketch.Ints, sketch.Sketches]:
    """For each of ``ids``: checks and failed in each of the bar's hours (an array by target, these two, hour), and
    the latencies of all these hours together."""
    h = check_hours.c
    statement = select(h.target_id, h.start_ms, h.checks, h.checks - h.passed - h.warned - h.unmeasured, h.sketch)
    hours, lengths, packed = fast.fetch_numbers_and_bytes(
        conn, statement.where(fast.among(conn, h.target_id, ids), h.start_ms >= from_ms)
    )
    tail = rollup.since(_unfolded(conn, ids), from_ms)
    rows = np.concatenate([hours, np.column_stack([tail.target_id, tail.start_ms, tail.column("checks"), tail.failed])])
    order = np.argsort(np.array(ids, dtype=np.int64))
    owners = order[np.searchsorted(np.array(ids, dtype=np.int64), rows[:, 0], sorter=order)]
    cells = (rows[:, 1] - from_ms) // HOUR_MS
    seen = cells < _BAR_CELLS  # a check may be dated a little ahead of us
    counts = np.zeros((len(ids), 2, _BAR_CELLS), dtype=np.int64)
    for which in (0, 1):
        np.add.at(counts[:, which], (owners[seen], cells[seen]), rows[seen, 2 + which])
    latencies = sketch.merge(
        [
            sketch.decode_joined(packed, lengths, owners[: len(hours)], len(ids)),
            sketch.renumber(tail.sketches, owners[len(hours) :], len(ids)),
        ]
    )
    return counts, latencies


def _timelines(conn: Connection, ids: Collection[int], from_ms: int, now_ms: int) -> Timelines:
    return Timelines.of(transitions.for_uptime(conn, ids, from_ms), now_ms)


def _together(parts: Sequence[Rollups]) -> Rollups:
    """One row, or none."""
    zeros = np.zeros(sum(len(part) for part in parts), dtype=np.int64)
    return rollup.regroup(parts, zeros, zeros)


def _window_summary(row: Rollups, availability: Availability) -> WindowSummary:
    if not len(row):
        return WindowSummary(availability, 0, 0, 0, 0, 0, _NO_LATENCY)
    checked, passed, warned, unmeasured = (
        int(row.column(name)[0]) for name in ("checks", "passed", "warned", "unmeasured")
    )
    return WindowSummary(availability, checked, passed, warned, int(row.failed[0]), unmeasured, _latencies(row)[0])


def _points(rows: Rollups) -> list[Point]:
    return [
        Point(start_ms, checked, failed, latency, tuple(map(_known, phases)))
        for start_ms, checked, failed, latency, phases in zip(
            rows.start_ms.tolist(),
            rows.column("checks").tolist(),
            rows.failed.tolist(),
            _latencies(rows),
            rows.phase_averages_us.tolist(),
            strict=True,
        )
    ]


_NO_LATENCY: Final = Latency(None, None, None, None, None, None)


def _latencies(rows: Rollups) -> list[Latency]:
    least, most = rows.latency_min_us, rows.latency_max_us
    # A percentile read from buckets may lie just outside of what was measured.
    percentiles = np.clip(sketch.quantiles(rows.sketches, [0.5, 0.95, 0.99]), least[:, None], most[:, None])
    return [
        Latency(p50, p95, p99, low, high, average) if low != NOT_TIMED else _NO_LATENCY
        for (p50, p95, p99), low, high, average in zip(
            percentiles.tolist(), least.tolist(), most.tolist(), rows.latency_averages_us.tolist(), strict=True
        )
    ]


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
