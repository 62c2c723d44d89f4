"""What a live view makes of the database, of what is handed round, and of numbers that appear out of order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tocsin.api.picture import (
    BEFORE_THE_FIRST,
    LONGEST_TRANSACTION_S,
    MachineLook,
    MachinePicture,
    Moved,
    Picture,
    Told,
)
from tocsin.bus.base import Current
from tocsin.core.decide import State, Verdict
from tocsin.core.outcome import CERTIFICATE, HEADLINE, REACHABLE, StateKey, Subject
from tocsin.core.samples import MACHINE
from tocsin.core.target import TARGET
from tocsin.store.machines import MachineRow, Newest
from tocsin.store.targets import Standing

NOTHING = Moved(set(), set())
FRA = 1


def standing(target_id: int, verdict: str = "up", since_ms: int = 1000, last_at_ms: int = 5000) -> Standing:
    return Standing(target_id, "slug", "http", True, 0, verdict, since_ms, "", last_at_ms, 20_000)


def key(target_id: int, location_id: int = FRA, rule: str = REACHABLE, kind: str = TARGET) -> StateKey:
    return StateKey(Subject(kind, target_id), rule, location_id)


def current(verdict: Verdict = Verdict.UP, since_ms: int = 1000, last_at_ms: int = 5000, reason: str = "") -> Current:
    return Current(verdict, since_ms, reason, last_at_ms, 30_000, None)


def test_the_database_says_which_targets_there_are() -> None:
    picture = Picture([standing(1), standing(2)])
    assert picture.replace([standing(2), standing(3)]) == Moved({3}, {1})
    assert picture.standings.keys() == {2, 3}
    assert picture.replace([standing(2), standing(3, "down")]) == Moved({3}, set())
    assert picture.merge({key(9): current(last_at_ms=9000)}) == NOTHING
    assert picture.standings.keys() == {2, 3}


def test_a_look_at_some_says_nothing_of_the_others() -> None:
    picture = Picture([standing(1), standing(2), standing(3)])
    assert picture.replace([standing(2, "down")], {2, 3, 4}) == Moved({2}, {3})
    assert picture.standings.keys() == {1, 2}


def test_a_location_brings_the_newest_look_and_the_headline_the_verdict() -> None:
    picture = Picture([standing(1)])
    assert picture.merge({key(1): current(Verdict.DOWN, 6000, 6000, "refused")}) == Moved({1}, set())
    assert picture.standings[1] == standing(1, last_at_ms=6000)._replace(last_latency_us=30_000)
    assert picture.merge({key(1, HEADLINE): current(Verdict.DOWN, 6000, 0, "refused")}) == Moved({1}, set())
    assert (picture.standings[1].verdict, picture.standings[1].since_ms) == ("down", 6000)
    assert picture.standings[1].last_at_ms == 6000


def test_what_comes_late_or_twice_changes_nothing() -> None:
    picture = Picture([standing(1, "down", 6000, 6000)])
    late = {key(1): current(last_at_ms=5999), key(1, HEADLINE): current(Verdict.UP, 5999, 5999)}
    assert picture.merge(late) == NOTHING
    news = {key(1): current(last_at_ms=7000), key(1, HEADLINE): current(Verdict.UP, 7000, 7000)}
    assert picture.merge(news) == Moved({1}, set())
    assert picture.merge(news) == NOTHING
    assert picture.standings[1].verdict == "up"


def test_other_rules_and_other_subjects_are_not_a_targets_headline() -> None:
    picture = Picture([standing(1)])
    assert picture.merge({key(1, HEADLINE, CERTIFICATE): current(Verdict.DEGRADED, 9000, 9000)}) == NOTHING
    assert picture.merge({key(1, HEADLINE, kind="machine"): current(Verdict.DOWN, 9000, 9000)}) == NOTHING


def test_each_transition_is_new_once_in_whatever_order_it_appears() -> None:
    told = Told(newest_id=5000)
    told.remember([4999, 5000], now_s=0)
    assert told.new([4999, 5000, 5002]) == [5002]
    told.remember([4999, 5000, 5002], now_s=1)
    assert told.new([4998, 4999, 5000, 5001, 5002]) == [4998, 5001]  # begun before the others, committed after
    told.remember([4998, 4999, 5000, 5001, 5002], now_s=2)
    assert told.new([4998, 4999, 5000, 5001, 5002]) == []


def test_after_the_longest_transaction_nothing_new_appears_below() -> None:
    told = Told(newest_id=5000)
    assert told.floor == 5000 - BEFORE_THE_FIRST
    told.remember([4990, 5000], now_s=0)
    told.remember([4990, 5000, 5010], now_s=1)
    assert told.floor == 4000
    told.remember([4990, 5000, 5010], now_s=LONGEST_TRANSACTION_S)
    assert told.floor == 5000
    assert told.new([5005, 5010]) == [5005]
    told.remember([5005, 5010], now_s=LONGEST_TRANSACTION_S + 1)
    assert told.floor == 5010
    told.remember([], now_s=3 * LONGEST_TRANSACTION_S)
    assert told.floor == 5010
    assert Told(newest_id=3).floor == 0


# ── machines ──────────────────────────────────────────────────────────────────────────────────────────


def row(machine_id: int, name: str = "m", bands: Mapping[str, Any] | None = None) -> MachineRow:
    return MachineRow(machine_id, f"u{machine_id}", name, {}, (), bands or {}, 5000, "1", None, 0, 0, 500, 500)


def tick(machine_id: int, at_ms: int, memory: float) -> Newest:
    return Newest(machine_id, 1, at_ms, at_ms, {"memory": memory})


def look(among: set[int] | None, *rows: MachineRow, registered: set[int] | None = None, **given: Any) -> MachineLook:
    states = {number: {"memory": state} for number, state in given.get("states", {}).items()}
    return MachineLook(among, None if among is None else registered or set(), rows, {}, states, given.get("newest", ()))


def state(verdict: Verdict, last_at_ms: int) -> State:
    return State(verdict, since_ms=last_at_ms, reason="why", last_at_ms=last_at_ms)


def machine_key(machine_id: int) -> StateKey:
    return StateKey(Subject(MACHINE, machine_id), "memory", HEADLINE)


def test_the_database_says_which_machines_there_are() -> None:
    picture = MachinePicture()
    assert picture.replace(look(None, row(1), row(2))) == Moved({1, 2}, set())
    assert picture.replace(look({2, 3}, row(3), registered={2, 3})) == Moved({3}, {2})
    assert picture.standings.keys() == {1, 3}
    assert picture.replace(look(None, row(3))) == Moved(set(), {1})
    assert picture.replace(look({9}, newest=[tick(9, 1000, 0.5)])) == NOTHING, "nobody has said that it is there"


def test_a_tick_leaves_all_else_as_it_was() -> None:
    picture = MachinePicture()
    picture.replace(look(None, row(1, "db"), states={1: state(Verdict.DOWN, 1000)}, newest=[tick(1, 1000, 0.5)]))
    heard = look({1}, states={1: state(Verdict.DOWN, 1000)}, newest=[tick(1, 6000, 0.7)])
    assert picture.replace(heard) == Moved({1}, set())
    standing = picture.standings[1]
    assert (standing.name, standing.verdict, standing.reason) == ("db", Verdict.DOWN, "why")
    assert (standing.current.memory, standing.last_seen_ms) == (0.7, 6000)
    assert picture.replace(heard) == NOTHING


def test_of_a_machines_state_the_later_stays_until_everything_is_read() -> None:
    picture = MachinePicture()
    picture.replace(look(None, row(1), states={1: state(Verdict.UP, 1000)}))
    handed = {machine_key(1): current(Verdict.DOWN, last_at_ms=9000)}
    assert picture.merge(handed) == Moved({1}, set())
    assert picture.merge({machine_key(1): current(Verdict.UP, last_at_ms=8000)}) == NOTHING
    assert picture.replace(look({1}, states={1: state(Verdict.UP, 1000)})) == NOTHING, "that was asked before"
    assert picture.standings[1].verdict is Verdict.DOWN
    assert picture.replace(look(None, row(1), states={1: state(Verdict.UP, 1000)})) == Moved({1}, set())
    assert picture.merge({machine_key(2): current(), key(1): current(Verdict.DOWN)}) == NOTHING


def test_a_rule_that_is_not_judged_is_left_out() -> None:
    picture = MachinePicture()
    down = {1: state(Verdict.DOWN, 1000)}
    picture.replace(look(None, row(1), states=down))
    off = look({1}, row(1, bands={"memory": None}), registered={1}, states=down)
    assert picture.replace(off) == Moved({1}, set())
    assert picture.standings[1].verdict is Verdict.UNKNOWN


def test_moves_one_after_the_other() -> None:
    assert Moved({1, 2}, {5}).then(Moved({3}, {2})) == Moved({1, 3}, {5, 2})
