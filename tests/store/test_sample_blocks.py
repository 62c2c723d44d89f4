"""Documents of samples: what comes out is what went in, and how large they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bench.machines import realistic
from tocsin.core import tiers
from tocsin.core.rollup import HOUR_MS
from tocsin.core.tiers import Parts
from tocsin.store.sample_blocks import (
    Damaged,
    Ticks,
    minutes_of,
    pack_parts,
    pack_ticks,
    union,
    unpack_parts,
    unpack_ticks,
)

START_MS = 480_000 * HOUR_MS


@st.composite
def some_ticks(draw: st.DrawFn) -> Ticks:
    times = draw(st.lists(st.integers(0, HOUR_MS - 1), unique=True, max_size=20))
    shape = len(times), draw(st.integers(0, 5))
    bits = draw(arrays.arrays("<u4", shape))
    return Ticks(np.array(sorted(times), np.int64) + START_MS, bits.view("<f4"))


def same(one: Parts, two: Parts) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(two, name), equal_nan=getattr(one, name).dtype.kind == "f")
        for name in Parts.__slots__
    )


@given(some_ticks())
def test_every_bit_of_every_tick_is_kept(ticks: Ticks) -> None:
    found = unpack_ticks(pack_ticks(ticks, START_MS), START_MS)
    assert found.at_ms.tolist() == ticks.at_ms.tolist()
    assert found.values.shape == ticks.values.shape
    assert found.values.tobytes() == ticks.values.tobytes()


@given(some_ticks(), st.lists(st.integers(0, 4), unique=True))
def test_some_columns_are_what_they_are_among_all(ticks: Ticks, wanted: list[int]) -> None:
    columns = [column for column in wanted if column < ticks.values.shape[1]]
    found = unpack_ticks(pack_ticks(ticks, START_MS), START_MS, columns)
    assert found.at_ms.tolist() == ticks.at_ms.tolist()
    assert found.values.tobytes() == ticks.values[:, columns].tobytes()
    with np.errstate(over="ignore", invalid="ignore"):
        minutes = minutes_of(ticks)
    few = Parts(minutes.start_ms, *(getattr(minutes, name)[:, columns] for name in Parts.__slots__[1:]))
    assert same(unpack_parts(pack_parts(minutes, START_MS), START_MS, columns), few)


@given(some_ticks())
def test_parts_are_kept_whole(ticks: Ticks) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        minutes = minutes_of(ticks)
    for parts in (minutes, tiers.merge([minutes], HOUR_MS)):
        assert same(unpack_parts(pack_parts(parts, START_MS), START_MS), parts)


def test_of_ticks_of_the_same_time_the_first_stays() -> None:
    one = Ticks(np.array([5, 9]), np.array([[1], [2]], "<f4"))
    two = Ticks(np.array([7, 5, 9, 9]), np.array([[3], [4], [5], [6]], "<f4"))
    found = union([one, two])
    assert found.at_ms.tolist() == [5, 7, 9]
    assert found.values[:, 0].tolist() == [1, 3, 2]
    assert union([two, one]).values[:, 0].tolist() == [4, 3, 5]
    assert len(union([Ticks(np.zeros(0, np.int64), np.zeros((0, 1), "<f4"))])) == 0


@pytest.mark.parametrize("seed", range(3))
def test_an_hour_of_a_server_takes_two_bytes_a_point_at_most(seed: int) -> None:
    hour = realistic(seed=seed, from_ms=START_MS)
    ticks = Ticks(hour.at_ms, hour.values)
    assert hour.values.shape == (720, 100)
    assert len(pack_ticks(ticks, START_MS)) < 2 * hour.values.size
    minutes = minutes_of(ticks)
    assert len(pack_parts(minutes, START_MS)) < hour.values.size / 2
    assert len(pack_parts(tiers.merge([minutes], HOUR_MS), START_MS)) < 2_000


def whole() -> tuple[bytes, bytes]:
    hour = realistic(ticks=20, from_ms=START_MS)
    ticks = Ticks(hour.at_ms, hour.values)
    return pack_ticks(ticks, START_MS), pack_parts(minutes_of(ticks), START_MS)


@pytest.mark.parametrize(
    "changed", ["nothing", "short", "cut off", "a bit", "format", "kind", "more rows", "fewer rows", "width"]
)
def test_what_is_damaged_is_said(changed: str) -> None:
    for document, unpack, other in zip(whole(), (unpack_ticks, unpack_parts), (2, 1), strict=True):
        broken = bytearray(document)
        match changed:
            case "nothing":
                broken.clear()
            case "short":
                del broken[5:]
            case "cut off":
                del broken[-20:]
            case "a bit":
                broken[len(broken) // 2] ^= 4
            case "format":
                broken[0] = 9
            case "kind":
                broken[0] = other
            case "more rows":
                broken[2] ^= 1
            case "fewer rows":
                broken[1] -= 1
            case "width":
                broken[6] ^= 1
        with pytest.raises(Damaged, match=r"damaged|format"):
            unpack(bytes(broken), START_MS)
