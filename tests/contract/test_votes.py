"""Several locations and one headline, on every engine: who has a vote, who loses it, and nobody's is lost."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, delete, event, func, select, text, update

from tests.clocks import FakeClock
from tests.contract.rows import add_targets, check, key
from tocsin.bus.memory import MemoryBus
from tocsin.core.decide import Policy, Quorum, State, Transition, Verdict
from tocsin.core.outcome import CERTIFICATE, HEADLINE, REACHABLE, Outcome, Result, StateKey
from tocsin.core.quorum import Vote, combine
from tocsin.core.shards import LEASE_MS, Introduction, shard_of
from tocsin.lib import metrics
from tocsin.pipeline import Entry, Pipeline
from tocsin.services.sweep import EVERY_S, SETTLE_MS, Sweep
from tocsin.store import checks, evidence, fast, shards, states, tables, targets, transitions
from tocsin.store.engine import Store
from tocsin.store.shards import Fence

FRA, NYC, SYD = 1, 2, 3
EVERYWHERE = (FRA, NYC, SYD)
UP, DOWN, UNKNOWN = Verdict.UP, Verdict.DOWN, Verdict.UNKNOWN
PASSED, FAILED = Result.PASSED, Result.FAILED
SHOP = 7


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def pipeline(store: Store, clock: FakeClock) -> Pipeline:
    return Pipeline(store, MemoryBus(), clock)


def at(place: int, target_id: int = SHOP, rule: str = REACHABLE) -> StateKey:
    return key(target_id, rule, place)


def every_key(target_id: int = SHOP) -> list[StateKey]:
    return [at(place, target_id) for place in (*EVERYWHERE, HEADLINE)]


def entry(
    place: int,
    at_ms: int,
    result: Result = PASSED,
    *,
    quorum: Quorum = "majority",
    target_id: int = SHOP,
    due_ms: int | None = None,
    latency_us: int = 1_500,
    epoch: int = 0,
    failures_to_down: int = 1,
) -> Entry:
    reason = "" if result is PASSED else f"refused at {place}"
    return Entry(
        Outcome(at(place, target_id), at_ms, result, latency_us, reason, due_ms),
        Policy(failures_to_down=failures_to_down, quorum=quorum),
        check(target_id, at_ms, result, latency_us=latency_us, location_id=place, error=reason or None),
        None if result is PASSED else {"error": reason},
        epoch=epoch,
    )


def state_of(store: Store, one: StateKey) -> State:
    with store.read() as conn:
        return states.read_many(conn, [one])[one]


def headline(store: Store, target_id: int = SHOP) -> State:
    return state_of(store, at(HEADLINE, target_id))


def history(store: Store, place: int = HEADLINE, target_id: int = SHOP) -> list[tuple[str, int]]:
    return [(one.after.value, one.at_ms) for one in changes(store, place, target_id)]


def changes(store: Store, place: int = HEADLINE, target_id: int = SHOP) -> list[Transition]:
    with store.read() as conn:
        found = transitions.of_subject(
            conn, at(place).subject._replace(id=target_id), from_ms=0, to_ms=2**60, location_id=place
        )
    return [one.transition for one in reversed(found)]


def slots(store: Store, target_id: int = SHOP) -> list[tuple[int, int, int]]:
    with store.read() as conn:
        found = checks.of_target(conn, target_id, from_ms=0, to_ms=2**60, limit=1000)
    return [(row.at_ms, row.location_id, row.result) for row in reversed(found)]


# ── the quorum ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("quorum", "after"), [("any", 1), (1, 1), ("majority", 2), (2, 2), ("all", 3), (3, 3), (9, 3)])
def test_it_is_down_once_enough_locations_find_it_so_and_up_once_too_few_do(
    store: Store, pipeline: Pipeline, clock: FakeClock, quorum: Quorum, after: int
) -> None:
    t = clock.now_ms() - 60_000
    pipeline.write([entry(place, t, quorum=quorum) for place in EVERYWHERE])
    for number, place in enumerate(EVERYWHERE, start=1):
        pipeline.write([entry(place, t + number * 1000, FAILED, quorum=quorum)])
        assert headline(store).verdict is (DOWN if number >= after else UP)
    for number, place in enumerate(EVERYWHERE, start=1):
        pipeline.write([entry(place, t + 10_000 + number * 1000, quorum=quorum)])
        assert headline(store).verdict is (DOWN if 3 - number >= after else UP)
    recovered_ms = t + 10_000 + (4 - after) * 1000
    assert history(store) == [("up", t), ("down", t + after * 1000), ("up", recovered_ms)]
    assert history(store, NYC) == [("up", t), ("down", t + 2000), ("up", t + 12_000)]
    down = changes(store)[1]
    assert (down.check_at_ms, down.check_location_id) == (t + after * 1000, after)
    with store.read() as conn:
        assert evidence.get(conn, (SHOP, down.check_at_ms, down.check_location_id)) is not None


def test_the_quorum_is_the_targets_own_whatever_whoever_measured_knows_of_it(
    store: Store, pipeline: Pipeline, clock: FakeClock
) -> None:
    """A worker may report under a quorum that has been changed since."""
    t = clock.now_ms() - 60_000
    with store.write() as conn:
        add_targets(conn, SHOP)
        conn.execute(update(tables.targets).values(quorum="2"))
    pipeline.write([entry(place, t, quorum="any") for place in EVERYWHERE])
    pipeline.write([entry(FRA, t + 1000, FAILED, quorum="any")])
    assert headline(store).verdict is UP
    pipeline.write([entry(NYC, t + 2000, FAILED, quorum="all")])
    assert headline(store).verdict is DOWN


def test_a_quorum_of_a_later_version_counts_as_the_default(store: Store, pipeline: Pipeline, clock: FakeClock) -> None:
    t = clock.now_ms() - 60_000
    with store.write() as conn:
        add_targets(conn, SHOP)
        conn.execute(update(tables.targets).values(quorum="weighted"))
    pipeline.write([entry(place, t, FAILED if place == FRA else PASSED, quorum="any") for place in EVERYWHERE])
    assert headline(store).verdict is UP


def test_another_quorum_counts_from_now_on(store: Store, pipeline: Pipeline, clock: FakeClock) -> None:
    t = clock.now_ms() - 60_000
    with store.write() as conn:
        add_targets(conn, SHOP)
    pipeline.write([entry(place, t) for place in EVERYWHERE])
    pipeline.write([entry(FRA, t + 1000, FAILED)])
    clock.tick(30)
    with store.write() as conn:
        conn.execute(update(tables.targets).values(quorum="any"))
        told = pipeline.recount(conn, [at(HEADLINE)], "any")
        assert pipeline.recount(conn, [at(HEADLINE)], "any") == []
    assert history(store) == [("up", t), ("down", clock.now_ms())]
    assert [(change.after, change.check_location_id) for change in told] == [(DOWN, HEADLINE)]
    assert headline(store).reason == "refused at 1, from 1 of 3 locations"


def test_a_certificate_is_as_bad_as_any_location_sees_it(store: Store, pipeline: Pipeline, clock: FakeClock) -> None:
    """It has no say in whether the target can be reached, and the target's own quorum none in it."""
    with store.write() as conn:
        add_targets(conn, SHOP)
    policy = Policy(warnings_to_degraded=1, quorum="any")
    for place, result in [(FRA, PASSED), (NYC, Result.WARNED), (SYD, PASSED)]:
        pipeline.write(
            [
                entry(place, clock.now_ms() - 10),
                Entry(Outcome(at(place, rule=CERTIFICATE), clock.now_ms() - 5, result, None, "old", None), policy),
            ]
        )
    assert headline(store).verdict is UP
    assert state_of(store, at(HEADLINE, rule=CERTIFICATE)).verdict is Verdict.DEGRADED


# ── what is written ───────────────────────────────────────────────────────────────────────────────────


def test_a_headline_is_written_when_it_changes_and_when_its_reason_does(
    store: Store, pipeline: Pipeline, clock: FakeClock
) -> None:
    t = clock.now_ms() - 60_000
    pipeline.write([entry(FRA, t)])
    first = headline(store)
    pipeline.write([entry(FRA, t + 1000), entry(FRA, t + 2000)])
    assert headline(store) == first
    assert (first.due_ms, first.last_at_ms) == (None, t)
    pipeline.write([entry(FRA, t + 3000, FAILED)])
    timed_out = entry(FRA, t + 4000, FAILED)
    pipeline.write([timed_out._replace(outcome=timed_out.outcome._replace(reason="timed out"))])
    assert headline(store) == first._replace(
        verdict=DOWN, since_ms=t + 3000, reason="timed out", last_at_ms=t + 4000, last_latency_us=1_500
    )
    assert len(history(store)) == 2


def test_what_confirms_what_is_known_does_not_even_look_at_headlines(
    store: Store, pipeline: Pipeline, clock: FakeClock
) -> None:
    t = clock.now_ms() - 60_000
    pipeline.write([entry(place, t) for place in EVERYWHERE])
    asked: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    def reads(*batch: Entry) -> int:
        asked.clear()
        pipeline.write(batch)
        return sum("FROM states" in statement for statement in asked)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        assert reads(entry(FRA, t + 1000)) == 1
        assert reads(entry(FRA, t + 2000, FAILED)) == 3, "the location, its headline, and the others"
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_only_headlines_are_told(store: Store, pipeline: Pipeline, clock: FakeClock) -> None:
    pipeline.write([entry(place, clock.now_ms() - 10) for place in EVERYWHERE])
    t = tables.transitions.c
    with store.read() as conn:
        unrouted = set(conn.execute(select(t.location_id).where(t.routed_ms.is_(None))).scalars())
        assert set(conn.execute(select(t.location_id)).scalars()) == {HEADLINE, *EVERYWHERE}
        assert {one.transition.key.location_id for one in transitions.recent(conn, limit=9)} == {HEADLINE}
        told = transitions.get_many(conn, transitions.ids_after(conn, 0))
        assert {one.transition.key.location_id for one in told.values()} == {HEADLINE}
    assert unrouted == {HEADLINE}


def test_several_changes_of_one_location_in_one_batch_all_count(
    store: Store, pipeline: Pipeline, clock: FakeClock
) -> None:
    t = clock.now_ms() - 60_000
    batch = [entry(FRA, t + n * 1000, result) for n, result in enumerate([PASSED, FAILED, FAILED, PASSED, FAILED])]
    pipeline.write(batch)
    assert history(store) == [("up", t), ("down", t + 1000), ("up", t + 3000), ("down", t + 4000)]
    assert history(store) == history(store, FRA)
    pipeline.write(batch)
    assert len(history(store)) == 4, "written again, nothing changes"


def test_changes_of_several_locations_in_one_batch_count_in_their_order(
    store: Store, pipeline: Pipeline, clock: FakeClock
) -> None:
    """As the sweep writes them, or whoever takes over what several workers report."""
    t = clock.now_ms() - 60_000
    pipeline.write([entry(place, t, quorum="all") for place in (FRA, NYC)])
    pipeline.write(
        [
            entry(FRA, t + 1000, FAILED, quorum="all"),
            entry(NYC, t + 2000, FAILED, quorum="all"),
            entry(FRA, t + 3000, quorum="all"),
            entry(NYC, t + 4000, quorum="all"),
            entry(NYC, t + 5000, FAILED, quorum="all"),
            entry(FRA, t + 6000, FAILED, quorum="all"),
        ]
    )
    assert history(store) == [("up", t), ("down", t + 2000), ("up", t + 3000), ("down", t + 6000)]
    assert [change.check_location_id for change in changes(store)[1:]] == [NYC, FRA, FRA], "whose check settled it"


def test_two_failures_make_it_down_since_the_first(store: Store, pipeline: Pipeline, clock: FakeClock) -> None:
    t = clock.now_ms() - 60_000
    pipeline.write([entry(place, t, failures_to_down=2) for place in (FRA, NYC)])
    for second in (1, 2, 3):
        pipeline.write([entry(place, t + second * 1000, FAILED, failures_to_down=2) for place in (FRA, NYC)])
    assert history(store) == [("up", t), ("down", t + 1000)]
    assert changes(store)[1].check_at_ms == t + 2000


# ── silence ───────────────────────────────────────────────────────────────────────────────────────────


class Silence:
    """A sweep whose rounds are run by hand."""

    def __init__(self, store: Store, pipeline: Pipeline, clock: FakeClock, quorum: Quorum) -> None:
        self.clock = clock
        policy = Policy(failures_to_down=1, quorum=quorum)
        self.sweep = Sweep(
            store=store, pipeline=pipeline, clock=clock, policies=lambda _, ids: dict.fromkeys(ids, policy)
        )

    def rounds(self, seconds: float) -> None:
        for _ in range(round(seconds / EVERY_S)):
            self.clock.tick(EVERY_S)
            self.sweep.sweep()


def test_a_location_that_falls_silent_loses_its_vote(store: Store, pipeline: Pipeline, clock: FakeClock) -> None:
    silence = Silence(store, pipeline, clock, "majority")
    t = clock.now_ms()
    due_ms = t + SETTLE_MS + 20_000
    pipeline.write([entry(FRA, t), entry(NYC, t, due_ms=due_ms), entry(FRA, t + 1000, FAILED)])
    assert headline(store).verdict is UP
    silence.rounds(120)
    assert state_of(store, at(NYC)).verdict is UNKNOWN
    assert history(store) == [("up", t), ("down", due_ms)]
    assert headline(store).reason == "refused at 1"


def test_when_all_fall_silent_nothing_is_known_since_the_last_of_them(
    store: Store, pipeline: Pipeline, clock: FakeClock
) -> None:
    silence = Silence(store, pipeline, clock, "any")
    t = clock.now_ms()
    due_ms = {FRA: t + SETTLE_MS + 20_000, NYC: t + SETTLE_MS + 10_000}
    pipeline.write([entry(place, t, quorum="any", due_ms=due_ms[place]) for place in due_ms])
    silence.rounds(120)
    assert history(store) == [("up", t), ("unknown", due_ms[FRA])]
    assert headline(store).reason == "not checked: no worker was running"


def test_results_kept_while_a_location_was_cut_off_become_history(
    store: Store, pipeline: Pipeline, clock: FakeClock
) -> None:
    """What it measured before it was missed changes nothing any more; what it measured after that counts."""
    silence = Silence(store, pipeline, clock, "majority")
    t = clock.now_ms()
    due_ms = t + SETTLE_MS + 20_000
    pipeline.write([entry(place, t, due_ms=due_ms if place == SYD else None) for place in EVERYWHERE])
    pipeline.write([entry(FRA, t + 1000, FAILED)])
    silence.rounds(120)
    assert history(store) == [("up", t)], "one of two is no majority"
    replayed = [entry(SYD, due_ms + shift, FAILED) for shift in (-2000, -1000, 3000, 4000)]
    pipeline.write(replayed)
    assert history(store) == [("up", t), ("down", due_ms + 3000)]
    assert history(store, SYD) == [("up", t), ("unknown", due_ms), ("down", due_ms + 3000)]
    kept = [(at_ms, result) for at_ms, place, result in slots(store) if place == SYD and at_ms > t]
    assert kept == [(one.outcome.at_ms, FAILED) for one in replayed]


# ── what an older version leaves behind ───────────────────────────────────────────────────────────────


def put(store: Store, *items: tuple[StateKey, State]) -> None:
    with store.write() as conn:
        states.write_many(conn, items)


def test_headlines_learn_of_what_an_older_version_wrote_beside_this_one(
    store: Store, pipeline: Pipeline, clock: FakeClock
) -> None:
    """Revision 0001 knows of one location and of no headline; the two may run together during an upgrade."""
    t = clock.now_ms()
    names = {1: "went down", 2: "is new", 3: "fell silent", 4: "certificate", 5: "paused", 6: "agrees", 7: "outvoted"}
    with store.write() as conn:
        add_targets(conn, *names)
    down, up = State(DOWN, t - 5000, "refused", last_at_ms=t), State(UP, t - 9000, last_at_ms=t)
    warned = State(Verdict.DEGRADED, t - 5000, "expires soon", last_at_ms=t)
    put(store, (at(HEADLINE, 1), up), (at(FRA, 1), down))
    put(store, (at(FRA, 2), up))
    put(store, (at(HEADLINE, 3), up), (at(FRA, 3), State(UNKNOWN, t - 100, "not checked", last_at_ms=t)))
    certificates = {place: at(place, 4, CERTIFICATE) for place in (HEADLINE, FRA, NYC, SYD)}
    put(store, *((one, warned if place == NYC else up) for place, one in certificates.items()))
    put(store, (at(HEADLINE, 5), State(UNKNOWN, t, "paused", held=True)), (at(FRA, 5), up))
    put(store, (at(HEADLINE, 6), down), (at(FRA, 6), down), (at(NYC, 6), up._replace(held=True)))
    put(store, (at(HEADLINE, 7), up), *((at(place, 7), down if place == FRA else up) for place in EVERYWHERE))
    silence = Silence(store, pipeline, clock, "majority")
    silence.rounds(SETTLE_MS / 1000 + EVERY_S)
    assert [(headline(store, number).verdict, headline(store, number).reason) for number in names if number != 4] == [
        (DOWN, "refused"),
        (UP, ""),
        (UNKNOWN, "not checked"),
        (UNKNOWN, "paused"),
        (DOWN, "refused"),
        (UP, ""),
    ]
    assert state_of(store, certificates[HEADLINE]).verdict is Verdict.DEGRADED
    assert [verdict for verdict, _ in history(store, target_id=1)] == ["down"]
    assert all(at_ms > t for _, at_ms in history(store, target_id=1)), "what was told until now stays as it was"
    assert history(store, target_id=6) == history(store, target_id=7) == []
    with store.read() as conn:
        assert states.in_doubt(conn).keys() == {at(HEADLINE, 7), certificates[HEADLINE]}, "for good: they are not alike"


@given(
    st.dictionaries(
        st.tuples(st.integers(1, 4), st.sampled_from([REACHABLE, CERTIFICATE]), st.integers(0, 3)),
        st.tuples(st.sampled_from(Verdict), st.booleans()),
        max_size=24,
    )
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_in_doubt_is_whoever_is_not_of_one_mind_with_all_that_have_a_say(
    store: Store, held: dict[tuple[int, str, int], tuple[Verdict, bool]]
) -> None:
    expected: dict[StateKey, tuple[Verdict, list[Verdict]]] = {}
    for target_id, rule in {name[:2] for name in held}:
        head, is_held = held.get((target_id, rule, HEADLINE), (UNKNOWN, False))
        places = [held[target_id, rule, place] for place in EVERYWHERE if (target_id, rule, place) in held]
        say = [verdict for verdict, deaf in places if not deaf and verdict is not UNKNOWN]
        if places and not is_held and set(say or [UNKNOWN]) != {head}:
            expected[key(target_id, rule)] = (head, sorted(say))
    with store.write() as conn:
        conn.execute(delete(tables.states))
        rows = [(key(*name), State(verdict, held=deaf)) for name, (verdict, deaf) in held.items()]
        states.write_many(conn, rows)
        found = states.in_doubt(conn)
    assert {one: (stand.headline, sorted(stand.locations)) for one, stand in found.items()} == expected


# ── held ──────────────────────────────────────────────────────────────────────────────────────────────


def hold(store: Store, pipeline: Pipeline, *keys: StateKey) -> list[Transition]:
    with store.write() as conn:
        return pipeline.hold(conn, keys, "paused")


def release(store: Store, pipeline: Pipeline, *keys: StateKey) -> None:
    with store.write() as conn:
        pipeline.release(conn, keys)


def test_a_paused_target_is_deaf_to_every_location_and_wakes_with_the_first(
    store: Store, pipeline: Pipeline, clock: FakeClock
) -> None:
    """SYD had not reported before the pause: its first result comes into it."""
    pipeline.write([entry(place, clock.now_ms() - 5000) for place in (FRA, NYC)])
    told = hold(store, pipeline, *every_key())
    assert {change.key.location_id for change in told} == {FRA, NYC, HEADLINE}
    paused_ms = clock.now_ms()
    clock.tick(10)
    pipeline.write([entry(place, clock.now_ms(), FAILED) for place in EVERYWHERE])
    assert headline(store)[:3] == (UNKNOWN, paused_ms, "paused")
    release(store, pipeline, *every_key())
    assert headline(store).verdict is UNKNOWN
    clock.tick(10)
    pipeline.write([entry(SYD, clock.now_ms())])
    assert history(store)[1:] == [("unknown", paused_ms), ("up", clock.now_ms())]
    assert len(slots(store)) == 6


def test_a_location_that_came_into_being_during_a_pause_does_not_keep_its_headline_asleep(
    store: Store, pipeline: Pipeline, clock: FakeClock
) -> None:
    hold(store, pipeline, at(FRA), at(HEADLINE))
    clock.tick(1)
    pipeline.write([entry(NYC, clock.now_ms())])
    assert state_of(store, at(NYC)).verdict is UP
    assert headline(store).verdict is UNKNOWN
    clock.tick(1)
    release(store, pipeline, *every_key())
    clock.tick(1)
    pipeline.write([entry(NYC, clock.now_ms())])
    assert headline(store).verdict is UP


def test_a_location_that_is_left_out_loses_its_vote_and_has_it_back_when_it_returns(
    store: Store, pipeline: Pipeline, clock: FakeClock
) -> None:
    t = clock.now_ms()
    pipeline.write([entry(place, t, FAILED if place == FRA else PASSED, quorum="any") for place in EVERYWHERE])
    assert headline(store).verdict is DOWN
    clock.tick(60)
    hold(store, pipeline, at(FRA))
    with store.write() as conn:
        pipeline.recount(conn, [at(HEADLINE)], "any")
    assert history(store) == [("down", t), ("up", clock.now_ms())]
    clock.tick(1)
    pipeline.write([entry(FRA, clock.now_ms(), FAILED, quorum="any"), entry(NYC, clock.now_ms(), FAILED, quorum="all")])
    assert headline(store).verdict is UP, "what comes from it still does not count"
    clock.tick(1)
    pipeline.write([entry(SYD, clock.now_ms(), FAILED, quorum="all")])
    assert headline(store).reason == "refused at 2, from 2 of 2 locations"
    release(store, pipeline, at(FRA))
    clock.tick(1)
    pipeline.write([entry(FRA, clock.now_ms(), quorum="all")])
    assert headline(store).verdict is UP


def test_with_every_location_left_out_nothing_is_known(store: Store, pipeline: Pipeline, clock: FakeClock) -> None:
    pipeline.write([entry(FRA, clock.now_ms())])
    clock.tick(5)
    hold(store, pipeline, at(FRA))
    with store.write() as conn:
        pipeline.recount(conn, [at(HEADLINE)], "any")
    assert headline(store)[:3] == (UNKNOWN, clock.now_ms(), "no location measures it")


# ── behind a fence ────────────────────────────────────────────────────────────────────────────────────


def renew(store: Store, worker_id: str, now_ms: int, *, first: bool = False, steady: bool = False) -> dict[int, int]:
    me = Introduction(worker_id, "first", "fra", "host", "1.0")
    with store.write() as conn:
        grant = shards.renew(conn, FRA, me, {}, now_ms=now_ms, first=first, steady=steady)
    assert grant is not None
    return grant.epochs


def fenced() -> float:
    return float(metrics.RESULTS_FENCED._value.get())


def test_results_of_a_lost_lease_are_history_only(store: Store, pipeline: Pipeline, clock: FakeClock) -> None:
    t = clock.now_ms()
    fence = Fence(FRA, "one")
    epoch = renew(store, "one", t, first=True)[shard_of(SHOP)]
    assert [one.state.verdict for one in pipeline.write([entry(FRA, t - 5000, epoch=epoch)], fence)] == [UP]
    before = fenced()
    lost = [
        entry(FRA, t - 4000, FAILED, epoch=epoch - 1),
        entry(FRA, t - 3000, FAILED, epoch=epoch + 1),
        entry(FRA, t - 2000, FAILED, epoch=epoch),
    ]
    assert pipeline.write(lost[:2], fence) == []
    assert pipeline.write(lost[2:], Fence(FRA, "another")) == []
    assert pipeline.write(lost[2:], Fence(NYC, "one")) == []
    assert fenced() - before == 4
    assert history(store) == history(store, FRA) == [("up", t - 5000)]
    assert [(at_ms, result) for at_ms, _, result in slots(store)][1:] == [(t - n, FAILED) for n in (4000, 3000, 2000)]
    with store.read() as conn:
        assert evidence.kept(conn, SHOP, from_ms=0, to_ms=2**60) == set()
    pipeline.write([entry(FRA, t - 1000, FAILED, epoch=epoch)], fence)
    assert history(store)[1:] == [("down", t - 1000)]


def test_of_two_who_are_made_to_share_a_shard_one_decides_and_each_slot_is_recorded_once(
    store: Store, pipeline: Pipeline, clock: FakeClock
) -> None:
    t = clock.now_ms()
    old = renew(store, "old", t, first=True)[shard_of(SHOP)]
    renew(store, "new", t, first=True)
    renew(store, "new", t + LEASE_MS - 1)
    new = renew(store, "new", t + LEASE_MS + 1, steady=True)[shard_of(SHOP)]
    assert new > old
    for second in range(5):
        at_ms = t - 10_000 + second * 1000
        pipeline.write([entry(FRA, at_ms, FAILED, epoch=old)], Fence(FRA, "old"))
        pipeline.write([entry(FRA, at_ms, epoch=new)], Fence(FRA, "new"))
    assert history(store) == [("up", t - 10_000)]
    assert [at_ms for at_ms, _, _ in slots(store)] == [t - 10_000 + second * 1000 for second in range(5)]


def test_nobody_takes_a_shard_over_while_its_holder_writes(store: Store, pipeline: Pipeline, clock: FakeClock) -> None:
    """Its lease has run out meanwhile; until the write ends its results count, and afterwards they do not."""
    t = clock.now_ms()
    epoch = renew(store, "old", t, first=True)[shard_of(SHOP)]
    renew(store, "new", t, first=True)
    renew(store, "new", t + LEASE_MS - 1)
    taken: list[dict[int, int]] = []

    def take() -> None:
        taken.append(renew(store, "new", t + LEASE_MS + 1, steady=True))

    class Meanwhile(FakeClock):
        """Somebody tries while the pipeline looks at the clock, in the middle of its transaction."""

        def now_ms(self) -> int:
            if store.engine_name == "postgresql":  # on SQLite nobody else writes meanwhile
                take()
            return super().now_ms()

    writing = Pipeline(store, MemoryBus(), Meanwhile())
    writing.write([entry(FRA, t - 2000, FAILED, epoch=epoch)], Fence(FRA, "old"))
    assert all(shard_of(SHOP) not in found for found in taken)
    take()
    assert taken[-1][shard_of(SHOP)] == epoch + 1
    pipeline.write([entry(FRA, t - 1000, epoch=epoch)], Fence(FRA, "old"))
    assert history(store) == [("down", t - 2000)]


# ── at the same time ──────────────────────────────────────────────────────────────────────────────────


def one_behind_the_other(store: Store, first: Callable[[Connection], object], second: Callable[[], object]) -> None:
    """``first`` in a transaction that ends when ``second``, on another thread, waits for it."""
    with ThreadPoolExecutor(1) as threads:
        with store.write() as conn:
            first(conn)
            ending = threads.submit(second)
            # On SQLite nobody else writes before this ends anyway, and whoever waits cannot be seen.
            while store.engine_name == "postgresql" and not waiting(store):
                assert not ending.done(), "it should have waited"
                time.sleep(0.005)
        ending.result()


def waiting(store: Store) -> bool:
    with store.read() as conn:
        statement = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(conn.execute(text(statement)).scalar_one())


@pytest.mark.parametrize("known", [True, False], ids=["known", "new"])
def test_of_two_locations_that_vote_at_once_the_second_sees_the_first(
    store: Store, pipeline: Pipeline, clock: FakeClock, known: bool
) -> None:
    """Each alone is no majority of two: only who counts both finds the target down."""
    t = clock.now_ms() - 60_000
    if known:
        pipeline.write([entry(place, t) for place in (FRA, NYC)])
    one_behind_the_other(
        store,
        lambda conn: pipeline.write_within(conn, [entry(FRA, t + 1000, FAILED, quorum=2)]),
        lambda: pipeline.write([entry(NYC, t + 2000, FAILED, quorum=2)]),
    )
    first_down_ms = t + 2000 if known else t + 1000
    assert history(store)[-1] == ("down", first_down_ms)
    assert headline(store).reason == "refused at 1, from 2 of 2 locations"


def test_a_pause_waits_for_a_vote_under_way_and_has_the_last_word(
    store: Store, pipeline: Pipeline, clock: FakeClock
) -> None:
    t = clock.now_ms()
    one_behind_the_other(
        store,
        lambda conn: pipeline.write_within(conn, [entry(FRA, t - 1000, FAILED)]),
        lambda: hold(store, pipeline, *every_key()),
    )
    assert history(store) == [("down", t - 1000), ("unknown", t)]
    assert all(state_of(store, one).held for one in every_key())


def test_a_vote_waits_for_a_pause_under_way_and_is_not_heard(
    store: Store, pipeline: Pipeline, clock: FakeClock
) -> None:
    pipeline.write([entry(FRA, clock.now_ms() - 5000)])
    one_behind_the_other(
        store,
        lambda conn: pipeline.hold(conn, every_key(), "paused"),
        lambda: pipeline.write([entry(FRA, clock.now_ms() + 1, FAILED), entry(NYC, clock.now_ms() + 1, FAILED)]),
    )
    assert [verdict for verdict, _ in history(store)] == ["up", "unknown"]
    assert state_of(store, at(FRA)).verdict is UNKNOWN


def test_a_changed_quorum_and_a_vote_agree_on_who_comes_first(
    store: Store, pipeline: Pipeline, clock: FakeClock
) -> None:
    """The vote was made under the old quorum, and waits while the new one is counted."""
    t = clock.now_ms() - 60_000
    with store.write() as conn:
        add_targets(conn, SHOP)
    pipeline.write([entry(place, t) for place in EVERYWHERE])

    def change(conn: Connection) -> None:
        conn.execute(update(tables.targets).values(quorum="any"))
        pipeline.recount(conn, [at(HEADLINE)], "any")

    one_behind_the_other(store, change, lambda: pipeline.write([entry(SYD, t + 1000, FAILED, quorum="majority")]))
    assert history(store) == [("up", t), ("down", t + 1000)]


def test_many_at_once_lose_no_vote(store: Store, clock: FakeClock) -> None:
    """Three locations, somebody who pauses and resumes, and somebody who changes quorums, all at the same targets."""
    ids = range(1, 9)
    with store.write() as conn:
        add_targets(conn, *ids)
    now_ms = clock.now_ms()
    started = now_ms - 600_000

    def locate(place: int) -> None:
        dice = random.Random(place)
        mine = Pipeline(store, MemoryBus(), clock)
        for turn in range(25):
            batch = [
                entry(place, started + turn * 1000 + place, dice.choice([PASSED, FAILED]), target_id=target_id)
                for target_id in dice.sample(ids, 6)
            ]
            mine.write(batch)

    def pause() -> None:
        dice = random.Random(99)
        mine = Pipeline(store, MemoryBus(), FakeClock(started))
        for _ in range(25):
            keys = every_key(dice.choice(ids))
            hold(store, mine, *keys)
            release(store, mine, *keys)

    def requorum() -> None:
        dice = random.Random(7)
        mine = Pipeline(store, MemoryBus(), clock)
        for _ in range(25):
            target_id, quorum = dice.choice(ids), dice.choice(["any", "majority", "all", "2"])
            with store.write() as conn:
                conn.execute(update(tables.targets).where(tables.targets.c.id == target_id).values(quorum=quorum))
                mine.recount(conn, [at(HEADLINE, target_id)], "any")

    with ThreadPoolExecutor(5) as threads:
        ends = [threads.submit(locate, place) for place in EVERYWHERE]
        ends += [threads.submit(pause), threads.submit(requorum)]
        for ending in ends:
            ending.result()

    with store.read() as conn:
        quorums = dict(fast.fetch(conn, select(tables.targets.c.id, tables.targets.c.quorum)))
        standing: dict[int, dict[int, State]] = defaultdict(dict)
        for one, state in states.for_targets(conn):
            standing[one.subject.id][one.location_id] = state
    for target_id in ids:
        votes = [Vote.of(place, standing[target_id][place]) for place in EVERYWHERE if place in standing[target_id]]
        quorum = quorums[target_id]
        counted, _ = combine(at(HEADLINE), State(), votes, targets.quorum_of(quorum), now_ms)
        assert standing[target_id][HEADLINE].verdict is counted.verdict
        for place in (*EVERYWHERE, HEADLINE):
            told = changes(store, place, target_id)
            assert [one.before for one in told[1:]] == [one.after for one in told[:-1]]
            assert [one.at_ms for one in told] == sorted(one.at_ms for one in told)
    with store.read() as conn:
        assert conn.execute(select(func.count()).select_from(tables.checks)).scalar_one() == 3 * 25 * 6
