"""Targets as workers load them and as pages find them, on every engine."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import update

from tests.clocks import FakeClock
from tocsin.bus.memory import MemoryBus
from tocsin.catalog import heartbeats, targets
from tocsin.catalog.errors import NotFound
from tocsin.core.decide import Policy, State, Verdict
from tocsin.core.heartbeat import Call, CallKind
from tocsin.core.outcome import CERTIFICATE, HEADLINE, REACHABLE, Outcome, Result, StateKey, Subject
from tocsin.core.target import TARGET
from tocsin.lib.vault import Vault
from tocsin.pipeline import Entry, Pipeline
from tocsin.store import certificates, locations, states, tables
from tocsin.store import heartbeats as store_heartbeats
from tocsin.store import targets as store_targets
from tocsin.store.certificates import Chain
from tocsin.store.engine import Store
from tocsin.store.heartbeats import KEPT_PER_TARGET, PingRow
from tocsin.store.targets import Filters, Position, Sort

NOW_MS = 1_800_000_000_000
VAULT = Vault("a key for tests, long enough")
HTTP: dict[str, Any] = {"name": "shop", "kind": "http", "url": "http://127.0.0.1/"}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW_MS)


@pytest.fixture
def pipeline(store: Store, clock: FakeClock) -> Pipeline:
    return Pipeline(store, MemoryBus(), clock)


def make(store: Store, **fields: Any) -> int:
    with store.write() as conn:
        return targets.create(conn, HTTP | fields, vault=VAULT, now_ms=NOW_MS).id


def make_job(store: Store, **fields: Any) -> int:
    job = {"name": "backup", "kind": "heartbeat"} | (fields or {"period_s": 60, "grace_s": 30})
    with store.write() as conn:
        return targets.create(conn, job, vault=VAULT, now_ms=NOW_MS).id


class Broken(Exception):
    """What ends a transaction in the middle."""


def load(store: Store, since: int, vault: Vault = VAULT) -> targets.Loaded:
    with store.read() as conn:
        return targets.load_targets(conn, vault, since)


def test_workers_are_told_what_changed_and_nothing_twice(store: Store, pipeline: Pipeline) -> None:
    assert load(store, 0) == targets.Loaded([], [], 0)
    first, second = make(store, password="hush", username="me", **{"assert": ["status == 200"]}), make(store)
    whole = load(store, 0)
    assert [target.id for target in whole.changed] == [first, second]
    target = whole.changed[0]
    assert target.settings["password"] == "hush"
    assert target.settings["url"] == "http://127.0.0.1/"
    assert (target.interval_ms, target.timeout_ms, target.recheck_ms) == (60_000, 10_000, 5_000)
    assert target.assertions == ("status == 200",)
    assert target.policy == Policy(failures_to_down=2)
    assert load(store, whole.revision) == targets.Loaded([], [], whole.revision)

    with store.write() as conn:
        targets.set_enabled(conn, first, False, pipeline=pipeline, now_ms=NOW_MS)
        targets.delete(conn, second, pipeline=pipeline, now_ms=NOW_MS)
    after = load(store, whole.revision)
    assert [(one.id, one.enabled) for one in after.changed] == [(first, False)]
    assert after.removed == [second]
    assert after.revision > whole.revision


def test_a_secret_of_another_key_stops_no_other_target(store: Store) -> None:
    make(store, password="hush", username="me")
    plain = make(store, name="plain")
    loaded = load(store, 0, Vault("another key, just as long"))
    assert [target.id for target in loaded.changed] == [plain]
    assert loaded.revision == load(store, 0).revision


def test_a_roll_back_gives_the_revision_back(store: Store) -> None:
    make(store)
    before = load(store, 0).revision
    with suppress(Broken), store.write() as conn:
        targets.create(conn, HTTP, vault=VAULT, now_ms=NOW_MS)
        raise Broken
    assert load(store, 0).revision == before
    with store.read() as conn:
        assert len(store_targets.page(conn, Filters(), limit=10)) == 1


def test_policies_are_those_of_targets_that_exist(store: Store, pipeline: Pipeline) -> None:
    slow = make(store, failures_to_down=3, degraded_above_ms=250.5)
    gone = make(store)
    job = make_job(store, cron="@daily", tz="Europe/Berlin")
    with store.write() as conn:
        targets.delete(conn, gone, pipeline=pipeline, now_ms=NOW_MS)
    with store.read() as conn:
        found = targets.policies(conn, [slow, gone, job, 999])
    assert found.keys() == {slow, job}
    assert (found[slow].failures_to_down, found[slow].degraded_above_ms) == (3, 250.5)
    assert (found[job].failures_to_down, found[job].silence) == (1, Result.FAILED)
    assert found[job].silence_reason.startswith("no call in time; expected ")


def test_a_target_this_version_cannot_read_stops_no_other(store: Store) -> None:
    """One that a newer version made, and a job in a time zone that this machine has never heard of."""
    newer, elsewhere, plain = make(store), make_job(store, cron="@daily", tz="Europe/Berlin"), make(store)
    with store.write() as conn:
        conn.execute(update(tables.targets).where(tables.targets.c.id == newer).values(kind="telepathy"))
        nowhere = {"period_s": None, "cron": "@daily", "tz": "Europe/Atlantis", "grace_s": 300}
        conn.execute(update(tables.targets).where(tables.targets.c.id == elsewhere).values(settings=nowhere))
    loaded = load(store, 0)
    assert [target.id for target in loaded.changed] == [plain]
    assert not load(store, loaded.revision).changed
    with store.read() as conn:
        found = targets.policies(conn, [newer, elsewhere, plain])
    assert found.keys() == {newer, elsewhere, plain}
    assert {found[one].silence for one in (newer, elsewhere)} == {Result.UNMEASURED}


@pytest.mark.parametrize(
    ("change", "stays"),
    [
        ({"url": "http://127.0.0.1/"}, False),
        ({"certificate_warning_days": None}, False),
        ({"url": "http://127.0.0.1/", "enabled": False}, False),
        ({"name": "store", "headers": {"X-Who": "us"}}, True),
    ],
)
def test_a_certificate_that_is_not_there_any_more_expires_no_more(
    store: Store, pipeline: Pipeline, change: dict[str, Any], stays: bool
) -> None:
    shop = make(store, url="https://127.0.0.1/")
    key = StateKey(Subject(TARGET, shop), CERTIFICATE, 1)
    soon = Outcome(key, NOW_MS - 1, Result.WARNED, None, "the certificate expires on 2027-01-16", None)
    chain = Chain(shop, 1, NOW_MS - 1, NOW_MS + 86_400_000, [{"subject": "CN=shop"}])
    pipeline.write([Entry(soon, Policy(warnings_to_degraded=1), chain=chain)])
    with store.write() as conn:
        done = targets.change(conn, shop, change, vault=VAULT, pipeline=pipeline, now_ms=NOW_MS)
    with store.read() as conn:
        state = states.read_many(conn, [key])[key]
        seen = certificates.expiries(conn, [shop])
    assert (state.verdict, bool(seen)) == ((Verdict.DEGRADED, True) if stays else (Verdict.UNKNOWN, False))
    forgotten = [(one.key, one.after) for one in done.transitions]
    assert forgotten == ([] if stays else [(key.headline, Verdict.UNKNOWN), (key, Verdict.UNKNOWN)])
    assert state.held is (change.get("enabled") is False)


def test_the_first_start_makes_one_target_and_never_again(store: Store, pipeline: Pipeline) -> None:
    with store.write() as conn:
        own = targets.ensure_own(conn, VAULT, url="http://127.0.0.1:8080/health/live", now_ms=NOW_MS)
        assert own is not None
        targets.delete(conn, own.id, pipeline=pipeline, now_ms=NOW_MS)
        assert targets.ensure_own(conn, VAULT, url="http://127.0.0.1:8080/health/live", now_ms=NOW_MS) is None


@pytest.mark.parametrize("sort", ["name", "-name", "created", "-created", "verdict", "latency", "-latency"])
def test_pages_by_key(store: Store, pipeline: Pipeline, sort: Sort) -> None:
    ids = [make(store, name=name) for name in ("b", "a", "Ä", "B", "_", "a", "c")]
    pipeline.write(
        [
            Entry(
                Outcome(
                    StateKey(Subject(TARGET, target_id), REACHABLE, 1),
                    NOW_MS,
                    Result(number % 2),
                    number * 1000,
                    "",
                    None,
                ),
                Policy(failures_to_down=1),
            )
            for number, target_id in enumerate(ids[:5])
        ]
    )
    with store.read() as conn:
        whole = store_targets.page(conn, Filters(), sort=sort, limit=100)
        paged = []
        after: Position | None = None
        while page := store_targets.page(conn, Filters(), sort=sort, limit=2, after=after):
            paged += page
            after = Position(page[-1].sort_key, page[-1].row.id)
    assert paged == whole
    assert {item.row.id for item in whole} == set(ids)
    assert len(whole) == len(ids)


def test_what_was_seen_last_comes_from_whichever_location_saw_it(store: Store) -> None:
    """A headline is written when it changes; looks that change nothing are found where they were made."""
    shop, idle, left, paused = (make(store, name=name) for name in ("shop", "idle", "left", "paused"))

    def state(target_id: int, place: int, at_ms: int, latency_us: int | None, *, held: bool = False) -> None:
        known = State(Verdict.UP, NOW_MS - 9000, last_at_ms=at_ms, last_latency_us=latency_us, held=held)
        with store.write() as conn:
            states.write_many(conn, [(StateKey(Subject(TARGET, target_id), REACHABLE, place), known)])

    state(shop, HEADLINE, NOW_MS - 9000, 1)
    state(shop, 1, NOW_MS - 20, 2000)
    state(shop, 2, NOW_MS - 10, 3000)
    state(shop, 3, NOW_MS - 30, 4000)
    state(left, HEADLINE, NOW_MS - 9000, 1)
    state(left, 1, NOW_MS - 40, 500)
    state(left, 2, NOW_MS, 9000, held=True)  # it is not probed from there any more
    state(paused, HEADLINE, NOW_MS - 50, None, held=True)
    state(paused, 1, NOW_MS - 50, None, held=True)
    expected = {
        shop: (NOW_MS - 10, 3000),
        idle: (0, None),
        left: (NOW_MS - 40, 500),
        paused: (NOW_MS - 50, None),
    }
    with store.read() as conn:
        page = store_targets.page(conn, Filters(), sort="latency", limit=10)
        one = store_targets.listed(conn, shop)
        standings = store_targets.standings(conn)
    assert {item.row.id: item.headline[3:] for item in page} == expected
    assert [item.row.id for item in page] == [idle, paused, left, shop]
    assert one is not None
    assert one.headline == ("up", NOW_MS - 9000, "", NOW_MS - 10, 3000)
    assert {standing.id: standing[-2:] for standing in standings} == expected


def test_who_changed_since_a_revision_and_how_only_they_stand(store: Store, pipeline: Pipeline) -> None:
    shop, gone, other = make(store), make(store), make(store)
    with store.read() as conn:
        revision = store_targets.latest_revision(conn)
        assert store_targets.touched_since(conn, revision) == []
        assert [one.id for one in store_targets.standings(conn, [other, shop, 999])] == [shop, other]
        assert store_targets.standings(conn, [shop, gone, other]) == store_targets.standings(conn)
        assert store_targets.standings(conn, []) == []
    with store.write() as conn:
        targets.delete(conn, gone, pipeline=pipeline, now_ms=NOW_MS)
        targets.set_enabled(conn, shop, False, pipeline=pipeline, now_ms=NOW_MS)
    with store.read() as conn:
        assert sorted(store_targets.touched_since(conn, revision)) == [shop, gone]
        assert [one.id for one in store_targets.standings(conn, [shop, gone])] == [shop]


def test_a_check_under_way_finds_its_target_paused_wherever_it_comes_from(
    store: Store, pipeline: Pipeline, clock: FakeClock
) -> None:
    """Nothing was known of either location when it was paused; after that the first result is news."""
    with store.write() as conn:
        places = [locations.ensure(conn, name) for name in ("fra", "nyc")]
    shop = make(store)
    keys = [StateKey(Subject(TARGET, shop), REACHABLE, place) for place in places]
    passed = [Outcome(key, NOW_MS - 10, Result.PASSED, 1000, "", None) for key in keys]
    with store.write() as conn:
        targets.set_enabled(conn, shop, False, pipeline=pipeline, now_ms=NOW_MS)
    pipeline.write([Entry(one, Policy()) for one in passed])
    clock.tick(1)
    pipeline.write([Entry(one._replace(at_ms=clock.now_ms()), Policy()) for one in passed])
    with store.read() as conn:
        found = store_targets.listed(conn, shop)
        assert found is not None
        assert (found.headline.verdict, found.headline.reason) == ("unknown", "paused")
        assert {state.verdict for state in states.read_many(conn, keys).values()} == {Verdict.UNKNOWN}
    with store.write() as conn:
        targets.set_enabled(conn, shop, True, pipeline=pipeline, now_ms=clock.now_ms())
    clock.tick(1)
    pipeline.write([Entry(passed[1]._replace(at_ms=clock.now_ms()), Policy())])
    with store.read() as conn:
        found = store_targets.listed(conn, shop)
    assert found is not None
    assert found.headline[:2] == ("up", clock.now_ms())


def test_filters(store: Store) -> None:
    make(store, name="Shop", tags=["prod", "é 100%"], group="web", description="sells_things")
    make(store, name="db", tags=["prod", "prod2"], url="http://127.0.0.1/deep", enabled=False)

    def names(**filters: Any) -> list[str]:
        with store.read() as conn:
            return [item.row.name for item in store_targets.page(conn, Filters(**filters), limit=10)]

    assert names() == ["db", "Shop"]
    assert names(tag="prod") == ["db", "Shop"]
    assert names(tag="é 100%") == ["Shop"]
    assert names(tag="prod%") == []
    assert names(text="PROD2") == ["db"]
    assert names(text="s_t") == ["Shop"]
    assert names(text="/deep") == ["db"]
    assert names(text="\\") == []
    assert names(group="web", enabled=True) == ["Shop"]
    assert names(verdict="unknown", kind="http") == ["db", "Shop"]
    with store.read() as conn:
        assert store_targets.tag_counts(conn) == [("prod", 2), ("prod2", 1), ("é 100%", 1)]
        assert store_targets.group_counts(conn) == [("web", 1)]
        assert store_targets.counts(conn) == {"unknown": 1, "paused": 1}
        assert store_targets.checks_per_minute(conn, ["http"]) == 1.0
        assert store_targets.names(conn, [1, 2, 3]) == {1: "Shop", 2: "db"}
        assert [standing.enabled for standing in store_targets.standings(conn)] == [True, False]


def test_a_call_is_one_transaction(store: Store, pipeline: Pipeline) -> None:
    job = make_job(store)
    with store.write() as conn:
        token = store_heartbeats.tokens(conn, [job])[job]
        received = heartbeats.receive(conn, token, Call(CallKind.SUCCESS, NOW_MS), pipeline=pipeline)
    assert [change.after.value for change in received.changed] == ["up"]
    assert [(one.key.subject.id, one.state.verdict.value) for one in received.settled] == [(job, "up")]
    with suppress(Broken), store.write() as conn:
        heartbeats.receive(conn, token, Call(CallKind.FAIL, NOW_MS + 1), pipeline=pipeline, body=b"x")
        raise Broken
    key = StateKey(Subject(TARGET, job), REACHABLE, HEADLINE)
    with store.read() as conn:
        assert states.read_many(conn, [key])[key].due_ms == NOW_MS + 90_000
        assert len(store_heartbeats.pings(conn, job, limit=10)) == 1
    with pytest.raises(NotFound), store.write() as conn:
        heartbeats.receive(conn, "nobody's", Call(CallKind.SUCCESS, NOW_MS), pipeline=pipeline)


def test_two_calls_in_one_millisecond_are_two(store: Store, pipeline: Pipeline) -> None:
    job = make_job(store)
    with store.write() as conn:
        token = store_heartbeats.tokens(conn, [job])[job]
        for kind in (CallKind.SUCCESS, CallKind.FAIL):
            heartbeats.receive(conn, token, Call(kind, NOW_MS), pipeline=pipeline)
    key = StateKey(Subject(TARGET, job), REACHABLE, HEADLINE)
    with store.read() as conn:
        assert states.read_many(conn, [key])[key].verdict.value == "down"


def test_only_the_newest_calls_are_kept(store: Store) -> None:
    job, other = make_job(store), make_job(store)

    def ping(target_id: int, at_ms: int) -> PingRow:
        return PingRow(0, target_id, at_ms, "log", None, None, None, "127.0.0.1", "", None)

    with store.write() as conn:
        store_heartbeats.insert_ping(conn, ping(other, 1))
        for number in range(KEPT_PER_TARGET + 7):
            store_heartbeats.insert_ping(conn, ping(job, number))
        kept = store_heartbeats.pings(conn, job, limit=1000)
        assert [row.at_ms for row in (kept[0], kept[-1])] == [KEPT_PER_TARGET + 6, 7]
        assert len(kept) == KEPT_PER_TARGET
        assert len(store_heartbeats.pings(conn, other, limit=10)) == 1
