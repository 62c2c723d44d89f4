"""Who depends on whom, on every engine."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, update

from tests.contract.rows import add_targets, key
from tocsin.core.decide import State, Verdict
from tocsin.core.outcome import HEADLINE
from tocsin.store import parents, states, tables
from tocsin.store.engine import Store

GATEWAY, SWITCH, SHOP, BLOG, ALONE = 1, 2, 3, 4, 5


@pytest.fixture
def house(store: Store) -> Store:
    """A gateway, a switch behind it, a shop and a blog behind that; the shop also hangs on the blog."""
    with store.write() as conn:
        add_targets(conn, GATEWAY, SWITCH, SHOP, BLOG, ALONE)
        parents.set_parents(conn, SWITCH, [GATEWAY])
        parents.set_parents(conn, SHOP, [BLOG, SWITCH, BLOG])
        parents.set_parents(conn, BLOG, [SWITCH])
    return store


def test_parents_and_children(house: Store) -> None:
    with house.read() as conn:
        assert parents.parents_of(conn, [SHOP, SWITCH, GATEWAY]) == {
            SHOP: [SWITCH, BLOG],
            SWITCH: [GATEWAY],
            GATEWAY: [],
        }
        assert parents.children_of(conn, [SWITCH, SHOP]) == {SWITCH: [SHOP, BLOG], SHOP: []}
        assert parents.parents_of(conn, []) == {}


def test_ancestors_are_all_that_is_above(house: Store) -> None:
    with house.read() as conn:
        assert parents.ancestors(conn, [SHOP, BLOG, SWITCH, GATEWAY, ALONE, 99]) == {
            SHOP: {BLOG, SWITCH, GATEWAY},
            BLOG: {SWITCH, GATEWAY},
            SWITCH: {GATEWAY},
            GATEWAY: set(),
            ALONE: set(),
            99: set(),
        }


def test_setting_parents_replaces_those_before(house: Store) -> None:
    with house.write() as conn:
        parents.set_parents(conn, SHOP, [GATEWAY])
        parents.set_parents(conn, BLOG, [])
        assert parents.parents_of(conn, [SHOP, BLOG]) == {SHOP: [GATEWAY], BLOG: []}
        assert parents.children_of(conn, [SWITCH]) == {SWITCH: []}


def test_what_would_go_round_in_a_circle_is_named(house: Store) -> None:
    with house.read() as conn:
        assert parents.would_circle(conn, GATEWAY, [ALONE, SHOP]) == SHOP
        assert parents.would_circle(conn, GATEWAY, [SWITCH]) == SWITCH
        assert parents.would_circle(conn, ALONE, [ALONE]) == ALONE
        assert parents.would_circle(conn, BLOG, [GATEWAY, SWITCH]) is None
        assert parents.would_circle(conn, 99, [SHOP]) is None


def test_a_deleted_target_is_nobodys_parent_and_nobodys_child(house: Store) -> None:
    with house.write() as conn:
        conn.execute(update(tables.targets).where(tables.targets.c.id == SWITCH).values(deleted_ms=1))
        assert parents.parents_of(conn, [SHOP]) == {SHOP: [BLOG]}
        assert parents.children_of(conn, [GATEWAY]) == {GATEWAY: []}
        assert parents.ancestors(conn, [SHOP, BLOG]) == {SHOP: {BLOG}, BLOG: set()}


def test_a_removed_target_takes_its_dependencies_along(house: Store) -> None:
    with house.write() as conn:
        conn.execute(delete(tables.targets).where(tables.targets.c.id == SWITCH))
        left = conn.execute(tables.target_parents.select()).all()
    assert [tuple(row) for row in left] == [(SHOP, BLOG)]


def _turn(conn: Connection, verdict: Verdict, *target_ids: int, location_id: int = HEADLINE) -> None:
    state = State(verdict=verdict, since_ms=1)
    states.write_many(conn, [(key(number, location_id=location_id), state) for number in target_ids])


def test_how_many_are_dependents_down(house: Store) -> None:
    with house.write() as conn:
        _turn(conn, Verdict.DOWN, GATEWAY, SHOP, BLOG, ALONE)
        _turn(conn, Verdict.UP, SWITCH)
        _turn(conn, Verdict.DOWN, SWITCH, SHOP, location_id=1)
        assert parents.dependents_down(conn, [GATEWAY, SWITCH, BLOG, SHOP, ALONE]) == {GATEWAY: 2, SWITCH: 2, BLOG: 1}
        conn.execute(update(tables.targets).where(tables.targets.c.id == BLOG).values(enabled=False))
        assert parents.dependents_down(conn, [GATEWAY, BLOG]) == {GATEWAY: 1, BLOG: 1}


edges = st.sets(st.tuples(st.integers(1, 8), st.integers(1, 8)), max_size=20)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edges)
def test_ancestors_are_what_walking_finds_even_in_circles(store: Store, pairs: set[tuple[int, int]]) -> None:
    above: dict[int, set[int]] = {number: set() for number in range(1, 9)}
    for number, found in above.items():
        ahead = [number]
        while ahead:
            ahead = [up for here in ahead for low, up in pairs if low == here and up not in found]
            found.update(ahead)
    with store.write() as conn:
        conn.execute(delete(tables.targets))
        add_targets(conn, *range(1, 9))
        for number in range(1, 9):
            parents.set_parents(conn, number, [up for low, up in pairs if low == number])
        assert parents.ancestors(conn, range(1, 9)) == above


def test_a_long_chain_and_many_leaves(store: Store) -> None:
    with store.write() as conn:
        add_targets(conn, *range(1, 2001))
        for number in range(2, 301):
            parents.set_parents(conn, number, [number - 1])
        for number in range(301, 2001):
            parents.set_parents(conn, number, [1])
        assert parents.ancestors(conn, [300]) == {300: set(range(1, 300))}
        found = parents.ancestors(conn, range(301, 2001))
        assert set(map(tuple, found.values())) == {(1,)}
        _turn(conn, Verdict.DOWN, *range(1, 2001))
        assert parents.dependents_down(conn, [1]) == {1: 1999}
