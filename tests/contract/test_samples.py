"""Ticks and their layouts, as they are stored."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from sqlalchemy import select

from tocsin.core.rollup import HOUR_MS
from tocsin.core.samples import Layout, Series
from tocsin.store import marks, samples, tables
from tocsin.store.engine import Store
from tocsin.store.samples import Tick

HOUR = 500_000 * HOUR_MS


def layout(*names: str) -> Layout:
    return Layout(tuple(Series(name, (("mode", "user"),), "s", "counter") for name in names))


def tick(at_ms: int, *values: float, machine_id: int = 1, layout_id: int = 1) -> Tick:
    return Tick(machine_id, at_ms, layout_id, np.array(values, dtype="<f4").tobytes())


def insert(store: Store, *ticks: Tick) -> int:
    with store.write() as conn:
        return samples.insert_many(conn, ticks)


def stored(store: Store, name: str = "samples") -> list[Tick]:
    table = tables.metadata.tables[name]
    with store.read() as conn:
        return sorted(Tick(*row) for row in conn.execute(select(*(table.c[name] for name in Tick._fields))))


def test_the_same_series_have_the_same_number(store: Store) -> None:
    one, two, turned, empty = layout("a", "b"), layout("a"), layout("b", "a"), Layout(())
    other_unit = Layout((Series("a", (("mode", "user"),), "By", "counter"),))
    all_of_them = [one, two, turned, empty, other_unit]
    with store.write() as conn:
        numbers = samples.layout_ids(conn, [*all_of_them, one])
        assert len(set(numbers)) == 5
        assert numbers[-1] == numbers[0]
    with store.write() as conn:
        assert samples.layout_ids(conn, all_of_them) == numbers[:-1]
        assert samples.layout_ids(conn, []) == []
        assert samples.layouts(conn, numbers) == dict(zip(numbers, all_of_them, strict=False))
        assert samples.layouts(conn, [numbers[1], 999]) == {numbers[1]: two}


def test_two_who_make_a_layout_at_once_agree(store: Store) -> None:
    many = [layout(f"series {number}") for number in range(40)]
    found: list[list[int]] = [[], []]

    def make(which: int) -> None:
        with store.write() as conn:
            found[which] = samples.layout_ids(conn, many[:: 1 if which else -1])

    threads = [threading.Thread(target=make, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0][::-1] == found[1]
    assert len(set(found[1])) == 40


def test_a_tick_is_stored_once(store: Store) -> None:
    first = [tick(HOUR + number * 5_000, 1.5, float("nan"), number) for number in range(700)]
    assert insert(store, *first) == 700
    assert insert(store, *first[:10]) == 0
    other = [tick(HOUR, 2.0, machine_id=2), tick(HOUR, 3.0, layout_id=2), tick(HOUR + HOUR_MS, 1.0)]
    assert insert(store, *other[:1], *first[300:], *other, tick(HOUR, 9.0, 9.0, 9.0)) == 3
    assert insert(store) == 0
    assert stored(store) == sorted([*first, *other])


@pytest.mark.parametrize("width", [0, 1, 100, 700, 3_000])
def test_vectors_of_any_length(store: Store, width: int) -> None:
    values = np.random.default_rng(1).normal(size=(3, width)).astype("<f4")
    ticks = [Tick(1, HOUR + number, 1, row.tobytes()) for number, row in enumerate(values)]
    assert insert(store, *ticks, tick(HOUR + 9, 1.0)) == 4
    assert stored(store) == [*ticks, tick(HOUR + 9, 1.0)]


def test_ticks_of_any_hour_are_stored(store: Store) -> None:
    times = [0, HOUR, HOUR - 24 * HOUR_MS, HOUR + 36_525 * 24 * HOUR_MS]
    assert insert(store, *(tick(at_ms, 1.0) for at_ms in times)) == 4
    assert [one.at_ms for one in stored(store)] == sorted(times)


def test_those_of_a_closed_hour_wait(store: Store) -> None:
    insert(store, tick(HOUR, 1.0))
    with store.write() as conn:
        marks.close_samples(conn, HOUR + HOUR_MS)
        marks.close_samples(conn, HOUR)
        assert marks.read_samples(conn).closed_ms == HOUR + HOUR_MS, "never back"
    late = [tick(HOUR + number, 2.0) for number in range(3)]
    assert insert(store, *late, late[0], tick(HOUR + HOUR_MS, 1.0)) == 4
    assert insert(store, *late) == 0
    assert stored(store, "late_samples") == late
    assert stored(store) == [tick(HOUR, 1.0), tick(HOUR + HOUR_MS, 1.0)]


def test_an_hour_is_not_closed_while_somebody_writes_to_it(store: Store) -> None:
    began, order = threading.Event(), []
    with store.write() as conn:
        samples.insert_many(conn, [tick(HOUR, 1.0)])

        def close() -> None:
            began.set()
            with store.write() as other:
                marks.close_samples(other, HOUR + HOUR_MS)
                order.append("closed")

        thread = threading.Thread(target=close)
        thread.start()
        began.wait()
        samples.insert_many(conn, [tick(HOUR + 1, 1.0)])
        order.append("written")
    thread.join()
    assert order == ["written", "closed"]
    assert len(stored(store)) == 2
