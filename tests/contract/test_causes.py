"""Dependencies as people write them, and because of what a target is down, on every engine."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event

from tests.clocks import FakeClock
from tocsin.bus.memory import MemoryBus
from tocsin.catalog import targets
from tocsin.catalog.causes import Cause, causes
from tocsin.catalog.errors import FieldError, Invalid
from tocsin.core.decide import Policy
from tocsin.core.outcome import REACHABLE, Outcome, Result, StateKey, Subject
from tocsin.core.target import TARGET
from tocsin.lib.vault import Vault
from tocsin.pipeline import Entry, Pipeline
from tocsin.store import parents
from tocsin.store.engine import Store

VAULT = Vault("a key of the tests")


class House:
    """Targets by name; a name's number is its place among those made, from 1."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = FakeClock()
        self.pipeline = Pipeline(store, MemoryBus(), self.clock)

    def add(self, name: str, *depends_on: int, **fields: Any) -> int:
        document = {"name": name, "kind": "icmp", "host": "127.0.0.1", "depends_on": list(depends_on)} | fields
        with self.store.write() as conn:
            return targets.create(conn, document, vault=VAULT, now_ms=self.clock.now_ms()).id

    def change(self, target_id: int, **fields: Any) -> None:
        now_ms = self.clock.now_ms()
        with self.store.write() as conn:
            targets.change(conn, target_id, fields, vault=VAULT, pipeline=self.pipeline, now_ms=now_ms)

    def delete(self, target_id: int) -> None:
        with self.store.write() as conn:
            targets.delete(conn, target_id, pipeline=self.pipeline, now_ms=self.clock.now_ms())

    def fail(self, *target_ids: int, result: Result = Result.FAILED) -> None:
        self.clock.tick(1)
        now_ms = self.clock.now_ms()
        policy = Policy(failures_to_down=1)
        self.pipeline.write(
            [
                Entry(Outcome(StateKey(Subject(TARGET, one), REACHABLE, 1), now_ms, result, None, "", None), policy)
                for one in target_ids
            ]
        )

    def causes(self, *target_ids: int) -> dict[int, str]:
        with self.store.read() as conn:
            return {number: cause.name for number, cause in causes(conn, target_ids).items()}


@pytest.fixture
def house(store: Store) -> House:
    return House(store)


def refused(house: House, target_id: int, *depends_on: int) -> list[FieldError]:
    with pytest.raises(Invalid) as caught:
        house.change(target_id, depends_on=list(depends_on))
    return list(caught.value.errors)


def test_who_may_not_be_depended_on_is_named(house: House) -> None:
    gateway = house.add("gateway")
    switch = house.add("switch", gateway)
    shop = house.add("shop", switch)
    gone = house.add("gone")
    house.delete(gone)
    unknown = [
        FieldError("depends_on.1", "there is no target 99"),
        FieldError("depends_on.2", f"there is no target {gone}"),
    ]
    assert refused(house, shop, switch, 99, gone) == unknown
    with pytest.raises(Invalid) as caught:
        house.add("new", switch, 99, gone)
    assert list(caught.value.errors) == unknown
    assert refused(house, switch, gateway, switch) == [FieldError("depends_on.1", "a target cannot depend on itself")]
    assert refused(house, gateway, shop) == [
        FieldError("depends_on.0", "shop depends on this target: they would go round in a circle")
    ]
    with house.store.read() as conn:
        assert parents.parents_of(conn, [gateway, switch, shop]) == {gateway: [], switch: [gateway], shop: [switch]}


def test_the_topmost_that_is_down_is_the_cause(house: House) -> None:
    gateway = house.add("gateway")
    switch = house.add("switch", gateway)
    shop = house.add("shop", switch)
    house.fail(shop)
    assert house.causes(shop) == {}
    house.fail(switch)
    assert house.causes(shop, switch) == {shop: "switch"}
    house.fail(gateway)
    assert house.causes(shop, switch, gateway) == {shop: "gateway", switch: "gateway"}
    house.fail(switch, result=Result.PASSED)
    assert house.causes(shop) == {shop: "gateway"}, "whatever is said of what is between them"


def test_of_several_the_one_that_is_down_longest(house: House) -> None:
    first, second = house.add("first"), house.add("second")
    shop = house.add("shop", first, second)
    house.fail(second)
    house.fail(first, shop)
    assert house.causes(shop) == {shop: "second"}


def test_paused_deleted_and_well_ones_are_no_cause(house: House) -> None:
    paused, deleted, well = house.add("paused"), house.add("deleted"), house.add("well")
    shop = house.add("shop", paused, deleted, well)
    house.fail(paused, deleted, shop)
    house.fail(well, result=Result.PASSED)
    assert house.causes(shop) != {}
    house.change(paused, enabled=False)
    house.delete(deleted)
    assert house.causes(shop) == {}
    with house.store.read() as conn:
        row = targets.get(conn, shop)
        assert targets.ties(conn, [row])[shop].depends_on == [paused, well]


def test_a_copy_depends_on_the_same(house: House) -> None:
    gateway = house.add("gateway")
    shop = house.add("shop", gateway, locations=["fra", "nyc"], quorum=2)
    with house.store.write() as conn:
        copy = targets.clone(conn, shop, name=None, vault=VAULT, now_ms=1)
        old, new = (
            targets.document(row, targets.ties(conn, [row])[row.id], VAULT) for row in (targets.get(conn, shop), copy)
        )
    assert new == old | {"name": "shop (copy)"}
    assert (new["locations"], new["quorum"], new["depends_on"]) == (["fra", "nyc"], 2, [gateway])


def test_a_page_of_causes_takes_three_statements(house: House) -> None:
    gateway = house.add("gateway")
    switches = [house.add(f"switch {number}", gateway) for number in range(5)]
    shops = [house.add(f"shop {number}", switches[number % 5]) for number in range(20)]
    house.fail(gateway, *switches, *shops)
    statements: list[str] = []
    with house.store.read() as conn:
        event.listen(conn, "before_cursor_execute", lambda *given: statements.append(given[2]))
        found = causes(conn, [gateway, *switches, *shops])
    assert found == dict.fromkeys([*switches, *shops], Cause(gateway, "gateway"))
    assert len(statements) == 3
