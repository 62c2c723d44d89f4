"""A block of packed checks holds what was put in, whatever that was, in a tenth of the room."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.rollup import NOT_TIMED
from tocsin.store import blocks
from tocsin.store.blocks import BLOCK_MS, COLUMNS, Checks

START_MS = 20_000 * 4 * BLOCK_MS
TIMES = st.one_of(st.just(NOT_TIMED), st.integers(0, 2**31 - 1))
ROWS = st.lists(
    st.tuples(st.integers(0, BLOCK_MS - 1), st.integers(0, 3), TIMES, TIMES, TIMES, TIMES, TIMES, TIMES, st.text()),
    min_size=1,
    max_size=60,
    unique_by=lambda row: row[0],
)


Row = tuple[int, int, int, int, int, int, int, int, str]


def checks_of(rows: list[Row]) -> Checks:
    numbers = np.array([(7, 3, START_MS + row[0], *row[1:-1]) for row in sorted(rows)], np.int64)
    errors = np.full(len(rows), "", object)
    errors[:] = [row[-1] for row in sorted(rows)]
    return Checks(numbers, errors)


@given(ROWS)
def test_what_is_packed_comes_back(rows: list[Row]) -> None:
    some = checks_of(rows)
    found = blocks.unpack(blocks.pack(some, START_MS), 7, 3, START_MS)
    assert found.numbers.tolist() == some.numbers.tolist()
    assert found.errors.tolist() == some.errors.tolist()


@given(ROWS, st.data())
def test_parts_that_overlap_are_one_whole_and_the_first_counts(rows: list[Row], data: st.DataObject) -> None:
    some = checks_of(rows)
    picks = [data.draw(st.lists(st.integers(0, len(rows) - 1), unique=True)) for _ in range(3)]
    other = Checks(some.numbers + np.array([0, 0, 0, 1, *[0] * 6]), some.errors)
    rest = sorted(set(range(len(rows))).difference(*picks))
    parts = [some.where(np.array(part, np.int64)) for part in (*picks, rest)]
    assert blocks.union([*parts, other]).numbers.tolist() == some.numbers.tolist()


def usual_day(interval_ms: int) -> Checks:
    """A quarter of a day at a web server across the country; every latency another one."""
    rng = np.random.default_rng(1)
    count = BLOCK_MS // interval_ms
    numbers = np.ones((count, len(COLUMNS)), np.int64)
    numbers[:, 2] = START_MS + np.arange(count) * interval_ms
    for column, (median_us, sigma) in enumerate(
        [(900, 0.5), (12_000, 0.4), (25_000, 0.4), (40_000, 0.5), (1_200, 0.6)], 5
    ):
        numbers[:, column] = rng.lognormal(np.log(median_us), sigma, count)
    numbers[:, 4] = numbers[:, 5:].sum(axis=1)
    return Checks(numbers, np.full(count, "", object))


@pytest.mark.parametrize(("interval_ms", "most"), [(20_000, 10.5), (60_000, 10.7), (300_000, 12)])
def test_it_takes_few_bytes(interval_ms: int, most: float) -> None:
    some = usual_day(interval_ms)
    assert len(blocks.pack(some, START_MS)) / len(some) < most


def test_what_cannot_be_read_is_said() -> None:
    document = blocks.pack(usual_day(300_000), START_MS)
    with pytest.raises(ValueError, match="format 2"):
        blocks.unpack(b"\x02" + document[1:], 7, 3, START_MS)
    with pytest.raises(ValueError, match="damaged"):
        blocks.unpack(document[:-20], 7, 3, START_MS)
