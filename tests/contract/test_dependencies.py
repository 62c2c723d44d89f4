"""Down because of: who is told when a parent takes its children with it, on every engine and with time injected."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from tests.alerting import AT_ONCE, DELIVERED, Stage
from tests.contract.rows import key
from tocsin.catalog import targets
from tocsin.core.decide import Verdict
from tocsin.core.outcome import CERTIFICATE, HEADLINE, Result, Subject
from tocsin.core.target import TARGET
from tocsin.services.alerts import Outbox
from tocsin.store import notifications, parents, states, tables, transitions
from tocsin.store.engine import Store

TWO_FAILURES = replace(AT_ONCE, failures_to_down=2)
PASSABLE_S = 11
"""A gateway that is well again lets looks at others pass after its timeout."""


@pytest.fixture
def stage(store: Store) -> Stage:
    return Stage(store)


class House:
    """A gateway and a shop behind it, both up a minute ago, and a channel that hears everything."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.hook = stage.channel("hook")
        self.gateway = stage.target("gateway")
        self.shop = stage.target("shop", parents=[self.gateway])
        stage.up(self.gateway, self.shop)
        self.settle(60)

    def settle(self, seconds: float = 10) -> None:
        """Everything is looked at that can be, time passes, and what is due is delivered."""
        self.stage.settle(seconds)
        while self.stage.send(self.hook, DELIVERED) is not None:
            pass

    def titles(self) -> list[str]:
        return self.stage.titles(self.hook)

    def everything(self) -> None:
        self.stage.outbox.advance(everything=True)
        self.settle()


@pytest.fixture
def house(stage: Stage) -> House:
    return House(stage)


def waits(stage: Stage) -> dict[int, int | None]:
    """What is not routed, by target: what it waits for."""
    columns = tables.transitions.c
    statement = select(columns.subject_id, columns.waits_for).where(columns.routed_ms.is_(None))
    with stage.store.read() as conn:
        # The oldest of a target is what waits; those after it wait for that.
        return dict(conn.execute(statement.order_by(columns.id.desc())).all())


# ── a parent goes down ────────────────────────────────────────────────────────────────────────────────


def test_a_child_that_is_noticed_first_is_not_told_when_its_parent_turns_out_to_be_down(house: House) -> None:
    stage = house.stage
    stage.down(house.shop)
    house.settle(30)
    assert house.titles() == []
    assert waits(stage) == {house.shop: house.gateway}
    stage.down(house.gateway)
    house.settle()
    assert house.titles() == ["gateway is down"]
    assert "1 target that depends on it is down too" in stage.messages(house.hook)[0].text
    house.settle(86_400)
    house.everything()
    assert house.titles() == ["gateway is down"]
    assert waits(stage) == {house.shop: house.gateway}


def test_a_child_that_is_noticed_second_is_not_told(house: House) -> None:
    house.stage.down(house.gateway)
    house.settle(5)
    house.stage.down(house.shop)
    house.settle()
    assert house.titles() == ["gateway is down"]


def test_a_child_alone_is_told_as_soon_as_its_parent_has_been_seen_well(house: House) -> None:
    house.stage.down(house.shop)
    house.settle()
    house.stage.up(house.gateway)
    house.settle()
    assert house.titles() == ["shop is down"]
    assert waits(house.stage) == {}


def test_a_parent_that_is_not_looked_at_delays_its_child_by_two_minutes_at_most(house: House) -> None:
    house.stage.down(house.shop)
    house.settle(119)
    assert waits(house.stage) == {house.shop: house.gateway}
    house.settle(1)
    assert waits(house.stage) == {}
    house.settle()
    assert house.titles() == ["shop is down"]


def test_a_parent_of_short_intervals_delays_its_child_by_less(stage: Stage) -> None:
    hook = stage.channel("hook")
    gateway = stage.target("gateway", interval_s=10, timeout_s=2)
    shop = stage.target("shop", parents=[gateway])
    stage.up(gateway, shop)
    stage.down(shop)
    stage.settle(21)
    assert waits(stage) == {shop: gateway}
    stage.settle(1)
    stage.settle()
    assert stage.titles(hook) == ["shop is down"]


def test_a_parent_whose_first_look_fails_is_given_its_second(house: House) -> None:
    stage = house.stage
    stage.down(house.shop)
    stage.turn(Result.FAILED, house.gateway, policy=TWO_FAILURES)
    house.settle()
    assert house.titles() == []
    stage.turn(Result.FAILED, house.gateway, policy=TWO_FAILURES)
    house.settle()
    assert house.titles() == ["gateway is down"]


def test_what_is_above_the_parent_holds_too(stage: Stage) -> None:
    hook = stage.channel("hook")
    gateway = stage.target("gateway")
    switch = stage.target("switch", parents=[gateway])
    shop = stage.target("shop", parents=[switch])
    stage.up(gateway, switch, shop)
    stage.down(gateway)
    stage.up(switch)
    stage.down(shop)
    stage.settle()
    assert stage.titles(hook) == ["gateway is down"]
    assert waits(stage) == {shop: gateway}


def test_slowness_is_laid_to_a_parent_that_is_down_too(house: House) -> None:
    stage = house.stage
    stage.change_rule(stage.default_rule_id, events=["down", "degraded", "recovered"])
    stage.turn(Result.WARNED, house.shop, reason="slow")
    stage.down(house.gateway)
    house.settle()
    assert house.titles() == ["gateway is down"]


def test_a_certificate_runs_out_by_itself(house: House) -> None:
    stage = house.stage
    stage.turn(Result.PASSED, house.shop, rule=CERTIFICATE, reason="")
    stage.down(house.gateway)
    stage.turn(Result.WARNED, house.shop, rule=CERTIFICATE, reason="expires in 13 days")
    house.settle()
    assert house.titles() == ["1 target is down, 1 certificate expires soon"]


def test_a_child_of_which_nobody_would_be_told_is_not_held(house: House) -> None:
    house.stage.change_rule(house.stage.default_rule_id, events=["recovered"])
    house.stage.down(house.gateway, house.shop)
    house.settle()
    assert waits(house.stage) == {}


# ── it gets well again ────────────────────────────────────────────────────────────────────────────────


def both_down(house: House) -> None:
    house.stage.down(house.gateway, house.shop)
    house.settle()
    house.settle(600)
    assert house.titles() == ["gateway is down"]


def test_children_that_recover_with_their_parent_are_never_spoken_of(house: House) -> None:
    both_down(house)
    house.stage.up(house.gateway)
    house.settle(30)
    house.stage.up(house.shop)
    house.settle()
    house.everything()
    assert house.titles() == ["gateway is down", "gateway recovered"]
    assert waits(house.stage) == {}


def test_a_child_that_recovers_while_its_parent_is_down_is_not_spoken_of(house: House) -> None:
    both_down(house)
    house.stage.up(house.shop)
    house.settle()
    assert waits(house.stage) == {}
    house.stage.up(house.gateway)
    house.settle()
    assert house.titles() == ["gateway is down", "gateway recovered"]


def test_a_child_that_stays_down_is_told_once_it_has_been_looked_at_again(house: House) -> None:
    stage = house.stage
    both_down(house)
    stage.up(house.gateway)
    house.settle(PASSABLE_S)
    house.settle(30)
    assert house.titles() == ["gateway is down", "gateway recovered"]
    assert waits(stage) == {house.shop: house.gateway}
    stage.down(house.shop)
    house.settle()
    assert house.titles() == ["gateway is down", "gateway recovered", "shop is down"]
    assert "(11 min ago)" in stage.messages(house.hook)[2].text
    house.settle(60)
    stage.up(house.shop)
    house.settle()
    assert house.titles()[3:] == ["shop recovered"]
    assert "Was down for 12 min" in stage.messages(house.hook)[3].text


def test_a_look_that_was_under_way_when_the_parent_recovered_proves_nothing(house: House) -> None:
    both_down(house)
    house.stage.up(house.gateway)
    house.stage.down(house.shop)
    house.settle(PASSABLE_S)
    assert house.titles() == ["gateway is down", "gateway recovered"]


def test_a_child_that_is_not_looked_at_again_is_told_in_the_end(house: House) -> None:
    both_down(house)
    house.stage.up(house.gateway)
    house.settle(139)
    assert house.titles() == ["gateway is down", "gateway recovered"]
    house.settle()
    house.settle()
    assert house.titles()[2:] == ["shop is down"]


def test_a_parent_that_goes_down_again_goes_on_holding(house: House) -> None:
    stage = house.stage
    both_down(house)
    for _ in range(3):
        stage.up(house.gateway)
        house.settle(5)
        stage.down(house.gateway)
        house.settle(300)
        stage.down(house.shop)
        house.settle()
    stage.up(house.gateway)
    house.settle(PASSABLE_S)
    stage.up(house.shop)
    house.settle()
    assert not [title for title in house.titles() if "shop" in title]
    assert house.titles()[-1] == "gateway recovered"


def test_what_held_it_may_change(stage: Stage) -> None:
    hook = stage.channel("hook")
    one, other = stage.target("one"), stage.target("other")
    shop = stage.target("shop", parents=[one, other])
    stage.up(one, other, shop)
    stage.down(one, shop)
    stage.settle()
    stage.down(other)
    stage.settle()
    stage.up(one)
    stage.settle(60)
    assert waits(stage) == {shop: other}
    stage.up(other)
    stage.settle(PASSABLE_S)
    stage.down(shop)
    stage.settle()
    assert stage.titles(hook) == ["one is down", "other is down", "one recovered", "other recovered", "shop is down"]


def test_an_outage_across_unknown_that_was_held_is_told_as_one(house: House) -> None:
    stage = house.stage
    both_down(house)
    stage.unknown(house.shop)
    stage.down(house.shop)
    house.settle()
    stage.up(house.gateway)
    house.settle(PASSABLE_S)
    stage.down(house.shop)
    house.settle()
    assert house.titles() == ["gateway is down", "gateway recovered", "shop is down"]
    assert "(10 min ago)" in stage.messages(house.hook)[2].text


# ── told before, and reminders ────────────────────────────────────────────────────────────────────────


def told_first(house: House) -> None:
    """The shop is down and told; ten minutes later the gateway goes down too."""
    house.stage.down(house.shop)
    house.stage.up(house.gateway)
    house.settle(600)
    house.stage.down(house.gateway)
    house.settle()
    assert house.titles() == ["shop is down", "gateway is down"]


def test_a_child_that_was_told_first_stays_told_and_so_is_its_recovery(house: House) -> None:
    told_first(house)
    house.stage.up(house.shop)
    house.settle()
    assert house.titles()[2:] == ["shop recovered"]


def test_it_is_told_of_getting_better_too(house: House) -> None:
    told_first(house)
    house.stage.turn(Result.WARNED, house.shop, reason="slow")
    house.settle()
    assert house.titles()[2:] == ["shop recovered, but is degraded"]


def test_it_is_told_once_though_the_parent_came_and_went(house: House) -> None:
    told_first(house)
    house.stage.up(house.gateway)
    house.settle(PASSABLE_S)
    house.stage.down(house.shop)
    house.settle()
    assert house.titles()[2:] == ["gateway recovered"]


def test_reminders_of_a_child_pause_while_its_parent_is_down(house: House) -> None:
    stage = house.stage
    told_first(house)
    stage.clock.tick(3600)
    assert stage.outbox.remind() == 1
    house.settle()
    assert house.titles()[2:] == ["gateway is still down"]
    stage.up(house.gateway)
    house.settle(PASSABLE_S)
    assert stage.outbox.remind() == 0
    stage.down(house.shop)
    assert stage.outbox.remind() == 1
    house.settle()
    assert house.titles()[3:] == ["gateway recovered", "shop is still down"]


def test_nobody_is_reminded_of_a_child_that_is_held(house: House) -> None:
    both_down(house)
    house.stage.clock.tick(3600)
    assert house.stage.outbox.remind() == 1
    house.settle()
    assert house.titles()[1:] == ["gateway is still down"]
    assert "1 target that depends on it is down too" in house.stage.messages(house.hook)[1].text


# ── shorter than anybody looked ───────────────────────────────────────────────────────────────────────


def test_a_blip_is_told_when_the_parent_was_well(house: House) -> None:
    house.stage.down(house.shop)
    house.settle(20)
    house.stage.up(house.shop)
    house.settle(20)
    assert house.titles() == []
    house.stage.up(house.gateway)
    house.settle()
    assert house.titles() == ["shop was down for 20 s, recovered"]


@pytest.mark.parametrize("over", [True, False])
def test_a_blip_is_not_told_when_the_parent_was_down_meanwhile(house: House, over: bool) -> None:
    stage = house.stage
    stage.down(house.shop)
    stage.settle(2)
    stage.turn(Result.FAILED, house.gateway, policy=TWO_FAILURES)
    stage.settle(2)
    stage.up(house.shop)
    stage.settle(2)
    stage.turn(Result.FAILED, house.gateway, policy=TWO_FAILURES)
    if over:
        stage.up(house.gateway)
    house.settle(60)
    house.settle()
    assert house.titles() == ["gateway was down for 4 s, recovered" if over else "gateway is down"]
    assert waits(stage) == {}


def test_what_happened_while_nobody_routed_is_told_as_if_somebody_had(house: House) -> None:
    """The shop went down with the gateway and came back with it; later it went down by itself, for a minute."""
    stage = house.stage
    stage.down(house.gateway, house.shop)
    stage.clock.tick(300)
    stage.up(house.gateway, house.shop)
    stage.clock.tick(300)
    stage.down(house.shop)
    stage.clock.tick(60)
    stage.up(house.gateway, house.shop)
    stage.clock.tick(60)
    house.settle()
    assert house.titles() == ["2 targets were down briefly"]
    items = stage.messages(house.hook)[0].text
    assert "shop recovered, was down for 1 min" in items
    assert "gateway recovered, was down for 5 min" in items


# ── parents that cannot be asked ──────────────────────────────────────────────────────────────────────


def pause(stage: Stage, number: int) -> None:
    with stage.store.write() as conn:
        targets.set_enabled(conn, number, False, pipeline=stage.pipeline, now_ms=stage.clock.now_ms())


def test_a_paused_parent_holds_nothing(house: House) -> None:
    pause(house.stage, house.gateway)
    house.stage.down(house.shop)
    house.settle()
    assert house.titles() == ["shop is down"]


def test_a_parent_that_is_unknown_holds_nothing(house: House) -> None:
    house.stage.unknown(house.gateway)
    house.stage.down(house.shop)
    house.settle()
    assert house.titles() == ["shop is down"]


def test_when_a_parent_is_paused_while_down_its_child_is_looked_at_first(house: House) -> None:
    both_down(house)
    pause(house.stage, house.gateway)
    house.settle(PASSABLE_S)
    assert house.titles() == ["gateway is down"]
    house.stage.down(house.shop)
    house.settle()
    assert house.titles()[1:] == ["shop is down"]


def test_a_worker_that_dies_while_a_parent_is_down_lets_nobody_loose(house: House) -> None:
    """The parent falls silent before its child does: neither is known to be in trouble then."""
    both_down(house)
    house.stage.unknown(house.gateway)
    house.settle(60)
    house.stage.unknown(house.shop)
    house.settle(600)
    house.everything()
    assert house.titles() == ["gateway is down"]


def test_after_a_start_a_child_waits_for_its_parents_first_verdict(stage: Stage) -> None:
    hook = stage.channel("hook")
    gateway = stage.target("gateway")
    shop = stage.target("shop", parents=[gateway])
    stage.down(shop)
    stage.settle()
    assert stage.titles(hook) == []
    stage.down(gateway)
    stage.settle()
    assert stage.titles(hook) == ["gateway is down"]


def test_a_deleted_parent_holds_nothing(house: House) -> None:
    both_down(house)
    with house.stage.store.write() as conn:
        targets.delete(conn, house.gateway, pipeline=house.stage.pipeline, now_ms=house.stage.clock.now_ms())
    house.settle()
    assert house.titles() == ["gateway is down", "shop is down"]


def test_a_child_that_no_longer_depends_is_told_at_the_next_look_at_everything(house: House) -> None:
    both_down(house)
    with house.stage.store.write() as conn:
        parents.set_parents(conn, house.shop, [])
    house.settle()
    assert house.titles() == ["gateway is down"]
    house.everything()
    assert house.titles() == ["gateway is down", "shop is down"]


def test_a_deleted_child_waits_for_nothing(house: House) -> None:
    both_down(house)
    with house.stage.store.write() as conn:
        targets.delete(conn, house.shop, pipeline=house.stage.pipeline, now_ms=house.stage.clock.now_ms())
    house.settle()
    assert waits(house.stage) == {}
    assert house.titles() == ["gateway is down"]


def test_a_clock_that_was_set_back_waits_for_nothing(house: House) -> None:
    house.stage.down(house.shop)
    house.settle()
    assert waits(house.stage) == {house.shop: house.gateway}
    house.stage.clock.jump_ms(-86_400_000)
    house.settle()
    assert house.titles() == ["shop is down"]


# ── storms ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_parent_with_a_thousand_children_is_one_message_and_holds_up_nobody_else(stage: Stage) -> None:
    hook = stage.channel("hook")
    gateway, blog = stage.target("gateway"), stage.target("blog")
    children = stage.targets(*(f"child {number}" for number in range(1000)), parents=[gateway])
    everybody = [gateway, blog, *children]
    stage.up(*everybody)
    stage.clock.tick(60)
    for start in range(0, 500, 100):  # half of them are noticed before the gateway
        stage.down(*children[start : start + 100])
        stage.outbox.advance()
        stage.clock.tick(5)
    stage.down(gateway)
    for start in range(500, 1000, 100):
        stage.down(*children[start : start + 100])
        stage.outbox.advance()
        stage.clock.tick(1)
    stage.settle()
    (message,) = stage.messages(hook)
    assert message.title == "gateway is down"
    assert "1000 targets that depend on it are down too" in message.text
    stage.send(hook)
    stage.clock.tick(300)
    stage.down(blog)
    stage.settle()
    assert stage.titles(hook)[1:] == ["blog is down"]
    stage.send(hook)
    stage.up(gateway)
    stage.settle(PASSABLE_S)
    stage.up(*children[:990])
    stage.down(*children[990:])
    stage.settle()
    stage.send(hook)
    assert stage.titles(hook)[2:] == ["gateway recovered", "10 targets are down"]
    assert waits(stage) == {}


def test_what_is_held_is_left_alone_until_something_changes(stage: Stage) -> None:
    """Only what is over, or whose cause is no longer down, is in line again."""
    stage.channel("hook")
    gateway = stage.target("gateway")
    children = stage.targets(*(f"child {number}" for number in range(300)), parents=[gateway])
    stage.up(gateway, *children)
    stage.down(gateway, *children)
    stage.settle()
    assert len(waits(stage)) == 300
    with stage.store.read() as conn:
        assert notifications.in_line(conn) == []
        assert len(notifications.in_line(conn, everything=True)) == 300
    assert stage.outbox.route(everything=True) == 0
    stage.up(children[7])
    with stage.store.read() as conn:
        assert len(notifications.in_line(conn)) == 1
    stage.unknown(gateway)
    with stage.store.read() as conn:
        assert sum(one.held for one in notifications.in_line(conn)) == 300


def test_many_processes_at_once_hold_and_tell_everything_once(stage: Stage) -> None:
    """Several route at the same time what others write at the same time: two storms, one of them laid to a parent."""
    hook = stage.channel("hook")
    gateway = stage.target("gateway")
    children = stage.targets(*(f"child {number}" for number in range(40)), parents=[gateway])
    others = stage.targets(*(f"other {number}" for number in range(40)))
    stage.up(gateway, *children, *others)
    stage.clock.tick(60)
    stage.down(gateway, *children[:20])
    done = Event()

    def route(process: Outbox) -> int:
        routed = 0
        while not done.is_set():
            routed += process.route(everything=True)
        return routed + process.route()

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(3) as threads:
        patch.setattr("tocsin.services.alerts.BATCH", 7)
        routers = [threads.submit(route, stage.another_process()) for _ in range(3)]
        for number in range(40):
            stage.down(others[number])
            if number < 20:
                stage.down(children[20 + number])
            else:
                stage.up(children[number])
        done.set()
        routed = sum(router.result() for router in routers)
    routed += stage.outbox.route()
    # The first "up" of all, the gateway, the others, and what is over of the children: their down and their up.
    assert routed == 81 + 1 + 40 + 2 * 20
    assert waits(stage) == dict.fromkeys(children[:20], gateway)
    stage.settle()
    (message,) = stage.messages(hook)
    assert message.title == "41 targets are down"


# ── several locations ─────────────────────────────────────────────────────────────────────────────────


def test_several_locations_and_a_quorum_are_one_message_for_one_outage(stage: Stage) -> None:
    hook, shop = stage.channel("hook"), stage.target("shop")
    for place in (1, 2, 3):
        stage.turn(Result.PASSED, shop, reason="", location_id=place)
    stage.turn(Result.FAILED, shop, location_id=2)
    stage.settle()
    assert stage.messages(hook) == []
    for place in (1, 3):
        stage.turn(Result.FAILED, shop, location_id=place)
    stage.settle()
    stage.send(hook)
    stage.clock.tick(3600)
    assert stage.outbox.remind() == 1
    stage.settle()
    stage.send(hook)
    for place in (3, 2, 1):
        stage.turn(Result.PASSED, shop, reason="", location_id=place)
    stage.settle()
    assert stage.titles(hook) == ["shop is down", "shop is still down", "shop recovered"]
    assert "from 2 of 3 locations" in stage.messages(hook)[0].text


def test_one_location_that_finds_it_down_is_not_reminded_of(stage: Stage) -> None:
    """Its headline is up: nobody has been told, so nobody is told again."""
    stage.channel("hook")
    shop = stage.target("shop")
    for place in (1, 2, 3):
        stage.turn(Result.PASSED, shop, reason="", location_id=place)
    stage.turn(Result.FAILED, shop, location_id=1)
    with stage.store.read() as conn:
        assert notifications.last_of_those_down(conn) == []
    stage.turn(Result.FAILED, shop, location_id=2)
    with stage.store.read() as conn:
        assert len(notifications.last_of_those_down(conn)) == 1


def test_what_one_location_found_is_told_to_nobody_even_if_a_version_without_headlines_left_it_to_be(
    stage: Stage,
) -> None:
    hook, shop = stage.channel("hook"), stage.target("shop")
    stage.turn(Result.FAILED, shop, location_id=1)
    changes = tables.transitions
    with stage.store.write() as conn:
        conn.execute(update(changes).where(changes.c.location_id == 1).values(routed_ms=None))
    stage.settle()
    assert waits(stage) == {}
    assert stage.titles(hook) == ["shop is down"]
    assert "Went down" not in stage.messages(hook)[0].text


def test_a_parent_has_been_looked_at_when_all_its_locations_have(stage: Stage) -> None:
    hook, gateway = stage.channel("hook"), stage.target("gateway")
    shop = stage.target("shop", parents=[gateway])
    for place in (1, 2, 3):
        stage.turn(Result.PASSED, gateway, shop, reason="", location_id=place)
    stage.clock.tick(60)
    for place in (1, 2):
        stage.turn(Result.FAILED, shop, location_id=place)
    stage.turn(Result.PASSED, gateway, reason="", location_id=1)
    stage.turn(Result.FAILED, gateway, location_id=2)
    stage.settle()
    assert stage.messages(hook) == []
    stage.turn(Result.FAILED, gateway, location_id=3)
    stage.settle()
    assert stage.titles(hook) == ["gateway is down"]


# ── whatever happens ──────────────────────────────────────────────────────────────────────────────────

happenings = st.lists(
    st.tuples(
        st.sampled_from(["down", "down", "up", "up", "unknown", "warned", "fails once"]),
        st.sets(st.integers(0, 3), min_size=1),
        st.sampled_from([0, 1, 5, 20, 70, 150]),
    ),
    max_size=12,
)


def happen(stage: Stage, what: str, target_ids: Sequence[int]) -> None:
    match what:
        case "down":
            stage.down(*target_ids)
        case "up":
            stage.up(*target_ids)
        case "unknown":
            stage.unknown(*target_ids)
        case "warned":
            stage.turn(Result.WARNED, *target_ids, reason="slow")
        case "fails once":
            stage.turn(Result.FAILED, *target_ids, policy=TWO_FAILURES)


def heard_since(stage: Stage, notice_id: int) -> list[tuple[int, int, int, str]]:
    """The notices made after one, as (notice, transition, target, event)."""
    notices, changes = tables.notices.c, tables.transitions.c
    statement = (
        select(notices.id, notices.transition_id, changes.subject_id, notices.event)
        .join_from(tables.notices, tables.transitions, changes.id == notices.transition_id)
        .where(notices.id > notice_id)
        .order_by(notices.id)
    )
    with stage.store.read() as conn:
        return [(number, change, target_id, event) for number, change, target_id, event in conn.execute(statement)]


def down_now(stage: Stage, target_ids: Sequence[int]) -> set[int]:
    with stage.store.read() as conn:
        found = states.read_many(conn, [key(number, location_id=HEADLINE) for number in target_ids])
    return {one.subject.id for one, state in found.items() if state.verdict is Verdict.DOWN}


def newest(stage: Stage, target_id: int) -> int:
    """Its last change: those before it are over."""
    with stage.store.read() as conn:
        return transitions.of_subject(conn, Subject(TARGET, target_id), from_ms=0, to_ms=2**62, limit=1)[0].id


@pytest.fixture
def loud(stage: Stage) -> Stage:
    """Everything is told there."""
    stage.channel("hook")
    stage.change_rule(stage.default_rule_id, events=["down", "degraded", "recovered"])
    return stage


@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a shorter example would take minutes to find
)
@given(happenings)
def test_whatever_happens(loud: Stage, happenings: list[tuple[str, set[int], int]]) -> None:
    """1. Nothing is told of a target while one above it is down. 2. An outage that none above explains is told.
    3. Once all is well nothing waits, and whoever heard of trouble has heard of its end."""
    stage = loud
    gateway = stage.target("gateway")
    switch, blog = stage.targets("switch", "blog", parents=[gateway])
    shop = stage.target("shop", parents=[switch])
    everybody = [gateway, switch, blog, shop]
    above = {gateway: set[int](), switch: {gateway}, blog: {gateway}, shop: {switch, gateway}}
    stage.clock.tick(60)
    stage.up(*everybody)
    first = max((row[0] for row in heard_since(stage, 0)), default=0)
    seen = first

    def look() -> None:
        nonlocal seen
        stage.outbox.advance(everything=True)
        fresh = heard_since(stage, seen)
        ended = {change for _, change, _, event in fresh if event == "recovered"}
        for number, change, target_id, event in fresh:
            seen = max(seen, number)
            if event != "recovered" and change not in ended and change == newest(stage, target_id):
                assert down_now(stage, everybody).isdisjoint(above[target_id])

    for what, indexes, pause_s in happenings:
        happen(stage, what, [everybody[index] for index in sorted(indexes)])
        look()
        stage.clock.tick(pause_s)
        look()
    for number in everybody:
        stage.up(number)
        stage.clock.tick(PASSABLE_S)
        look()
    stage.clock.tick(150)
    look()

    assert waits(stage) == {}
    heard = heard_since(stage, first)
    with stage.store.read() as conn:
        changes = {
            number: transitions.of_subject(conn, Subject(TARGET, number), from_ms=0, to_ms=2**62)[::-1]
            for number in everybody
        }
    for number in everybody:
        words = [event for _, _, target_id, event in heard if target_id == number]
        assert not words or words[-1] == "recovered"
        outages = [
            (one.transition.at_ms, one.ended_ms or 2**62)
            for other in above[number]
            for one in changes[other]
            if one.transition.after is Verdict.DOWN
        ]
        is_told = False
        for stored in changes[number]:
            began_ms, ended_ms = stored.transition.at_ms, stored.ended_ms or 2**62
            if stored.transition.after is Verdict.UP:
                is_told = False
            elif stored.transition.after is Verdict.DOWN:
                is_told = is_told or any(change == stored.id and event == "down" for _, change, _, event in heard)
                explained = any(from_ms <= ended_ms and began_ms < until_ms + 10_000 for from_ms, until_ms in outages)
                assert is_told or explained
