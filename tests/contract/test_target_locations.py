"""Where a target is checked from, and how many must agree, on every engine: a change of either counts at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.clocks import FakeClock
from tests.contract.test_workers import add_worker
from tocsin.bus.memory import MemoryBus
from tocsin.catalog import locations, targets
from tocsin.catalog.errors import Conflict, NotFound
from tocsin.catalog.targets import LEFT_OUT, PAUSED
from tocsin.core.decide import Policy, Transition, Verdict
from tocsin.core.outcome import CERTIFICATE, HEADLINE, REACHABLE, Outcome, Result, StateKey, Subject
from tocsin.core.shards import LEASE_MS
from tocsin.core.target import TARGET
from tocsin.lib.vault import Vault
from tocsin.pipeline import Entry, Pipeline
from tocsin.store import certificates, server_clock
from tocsin.store import locations as store_locations
from tocsin.store import states as store_states
from tocsin.store import targets as store_targets
from tocsin.store.certificates import Chain
from tocsin.store.engine import Store

VAULT = Vault("a key of the tests")
FRA, NYC, SYD = 1, 2, 3
UP, DOWN, UNKNOWN = Verdict.UP, Verdict.DOWN, Verdict.UNKNOWN


class Watched:
    """One target, and three places that may look at it."""

    def __init__(self, store: Store, **fields: Any) -> None:
        self.store = store
        self.clock = FakeClock()
        self.pipeline = Pipeline(store, MemoryBus(), self.clock)
        with store.write() as conn:
            assert [store_locations.ensure(conn, name) for name in ("fra", "nyc", "syd")] == [FRA, NYC, SYD]
            document = {"name": "shop", "kind": "tcp", "host": "127.0.0.1", "port": 9} | fields
            self.id = targets.create(conn, document, vault=VAULT, now_ms=self.clock.now_ms()).id

    def key(self, location_id: int, rule: str = REACHABLE) -> StateKey:
        return StateKey(Subject(TARGET, self.id), rule, location_id)

    def look(self, rule: str = REACHABLE, **seen: bool) -> None:
        """What each place finds, all in the same second: ``look(fra=True, nyc=False)``."""
        self.clock.tick(1)
        numbers = {"fra": FRA, "nyc": NYC, "syd": SYD}
        policy = Policy(failures_to_down=1, quorum="any" if rule == CERTIFICATE else "majority")
        outcomes = [
            Outcome(
                self.key(numbers[name], rule),
                self.clock.now_ms(),
                Result.PASSED if ok else Result.FAILED,
                1000,
                "" if ok else f"refused at {name}",
                None,
            )
            for name, ok in seen.items()
        ]
        self.pipeline.write([Entry(outcome, policy) for outcome in outcomes])

    def change(self, **fields: Any) -> Sequence[Transition]:
        self.clock.tick(1)
        now_ms = self.clock.now_ms()
        with self.store.write() as conn:
            return targets.change(conn, self.id, fields, vault=VAULT, pipeline=self.pipeline, now_ms=now_ms).transitions

    def verdict(self, location_id: int = HEADLINE, rule: str = REACHABLE) -> Verdict:
        with self.store.read() as conn:
            key = self.key(location_id, rule)
            return store_states.read_many(conn, [key])[key].verdict

    def seen(self) -> dict[str, tuple[Verdict, str]]:
        with self.store.read() as conn:
            row = targets.get(conn, self.id)
            found = locations.seen_from(conn, [row], now_ms=self.clock.now_ms())[self.id]
        return {one.location: (one.verdict, one.reason) for one in found}


@pytest.fixture
def watched(store: Store) -> Watched:
    return Watched(store)


def test_who_is_left_out_has_no_vote(watched: Watched) -> None:
    watched.look(fra=False, nyc=False, syd=True)
    assert watched.verdict() is DOWN
    (change,) = [one for one in watched.change(locations=["fra", "syd"]) if one.key.location_id == HEADLINE]
    assert (change.before, change.after, change.at_ms) == (DOWN, UP, watched.clock.now_ms())
    assert watched.verdict() is UP, "one of two is no majority"
    assert watched.verdict(NYC) is UNKNOWN
    assert watched.seen() == {"fra": (DOWN, "refused at fra"), "syd": (UP, "")}


def test_what_is_still_on_its_way_from_there_is_not_heard(watched: Watched) -> None:
    """Also from a place that had never looked before."""
    watched.look(fra=True)
    watched.change(locations=["fra"])
    watched.look(nyc=False, syd=False)
    assert (watched.verdict(), watched.verdict(NYC), watched.verdict(SYD)) == (UP, UNKNOWN, UNKNOWN)
    watched.change(quorum="any")
    assert watched.verdict() is UP


def test_who_is_there_again_votes_again(watched: Watched) -> None:
    watched.look(fra=True, nyc=False)
    watched.change(locations=["fra"])
    assert watched.verdict() is UP
    watched.change(locations=["nyc", "fra"])
    assert list(watched.seen()) == ["nyc", "fra"], "in the order in which they were named"
    assert watched.verdict() is UP, "what it saw before it was left out is old"
    watched.look(nyc=False, fra=False)
    assert watched.verdict() is DOWN


def test_naming_none_is_every_location(watched: Watched) -> None:
    watched.look(fra=True, nyc=True, syd=True)
    watched.change(locations=["syd"])
    watched.change(locations=[])
    watched.look(fra=False, nyc=False, syd=True)
    assert watched.verdict() is DOWN


@pytest.mark.parametrize(
    ("quorum", "verdict"), [("any", DOWN), ("majority", UP), ("all", UP), (1, DOWN), (2, UP), (50, UP)]
)
def test_a_quorum_counts_at_once(watched: Watched, quorum: str | int, verdict: Verdict) -> None:
    watched.look(fra=False, nyc=True, syd=True)
    assert watched.verdict() is UP
    changed = watched.change(quorum=quorum)
    assert watched.verdict() is verdict
    assert [(one.key.location_id, one.after) for one in changed] == ([(HEADLINE, DOWN)] if verdict is DOWN else [])


def test_a_quorum_that_stays_changes_nothing(watched: Watched) -> None:
    watched.look(fra=False, nyc=True, syd=True)
    assert watched.change(quorum="majority", name="other") == []


def test_left_out_while_paused_stays_left_out(watched: Watched) -> None:
    watched.look(fra=True, nyc=False, syd=False)
    watched.change(enabled=False)
    watched.change(locations=["fra"])
    assert watched.seen() == {"fra": (UNKNOWN, PAUSED)}
    watched.change(enabled=True)
    watched.look(fra=True, nyc=False, syd=False)
    assert watched.verdict() is UP


def test_there_again_while_paused_votes_when_resumed(watched: Watched) -> None:
    watched.change(locations=["fra"])
    watched.look(fra=True)
    watched.change(enabled=False, locations=["nyc", "syd"])
    watched.look(nyc=False, syd=False)
    assert watched.verdict() is UNKNOWN
    watched.change(enabled=True)
    watched.look(fra=True, nyc=False, syd=False)
    assert watched.verdict() is DOWN


def test_a_certificate_is_judged_by_those_who_are_left(watched: Watched) -> None:
    watched.look(CERTIFICATE, fra=True, nyc=False)
    with watched.store.write() as conn:
        certificates.put_many(conn, [Chain(watched.id, place, 1, 100 * place, []) for place in (FRA, NYC)])
    assert watched.verdict(rule=CERTIFICATE) is DOWN, "one that sees it is enough"
    watched.change(locations=["nyc"])
    assert watched.verdict(rule=CERTIFICATE) is DOWN
    watched.change(locations=["fra"])
    assert watched.verdict(rule=CERTIFICATE) is UNKNOWN
    watched.look(CERTIFICATE, fra=True, nyc=False)
    assert watched.verdict(rule=CERTIFICATE) is UP
    with watched.store.read() as conn:
        assert certificates.expiries(conn) == {}


def test_a_new_address_forgets_certificates_and_gives_nobody_a_vote_back(watched: Watched) -> None:
    watched.look(CERTIFICATE, fra=True, nyc=True)
    watched.change(locations=["fra"])
    watched.change(host="127.0.0.2")
    watched.look(CERTIFICATE, fra=True, nyc=False)
    assert watched.verdict(rule=CERTIFICATE) is UP


def test_who_sees_what(watched: Watched) -> None:
    """Of every location: those that have looked, and those that could."""
    assert watched.seen() == {}
    with watched.store.write() as conn:
        now_ms = server_clock.now_ms(conn) or watched.clock.now_ms()
        add_worker(conn, "a", location_id=SYD, until_ms=now_ms + LEASE_MS)
    watched.look(fra=False)
    assert watched.seen() == {"fra": (DOWN, "refused at fra"), "syd": (UNKNOWN, "not checked yet")}


def test_new_names_are_made(store: Store) -> None:
    watched = Watched(store, locations=["syd", "gru", "fra", "syd"])
    with store.read() as conn:
        row = targets.get(conn, watched.id)
        assert (row.location_ids, store_locations.names(conn)[4]) == ([SYD, 4, FRA], "gru")
        assert targets.ties(conn, [row])[row.id].locations == ["syd", "gru", "fra"]
        here, elsewhere = (
            [one.row.id for one in store_targets.page(conn, store_targets.Filters(place=place), limit=10)]
            for place in (locations.place(conn, "gru"), locations.place(conn, "nyc"))
        )
    assert (here, elsewhere) == ([watched.id], [])


# ── taking one off the list ───────────────────────────────────────────────────────────────────────────


def remove(watched: Watched, name: str) -> Sequence[Transition]:
    watched.clock.tick(1)
    with watched.store.write() as conn:
        return locations.remove(conn, name, pipeline=watched.pipeline, now_ms=watched.clock.now_ms())


def test_a_removed_location_has_no_say_any_more(watched: Watched) -> None:
    watched.look(fra=False, nyc=True)
    watched.change(quorum="any")
    watched.look(CERTIFICATE, fra=False, nyc=True)
    with watched.store.write() as conn:
        certificates.put_many(conn, [Chain(watched.id, FRA, 1, 100, [])])
    changed = remove(watched, "fra")
    assert {one.key.rule for one in changed if one.key.location_id == HEADLINE} == {REACHABLE, CERTIFICATE}
    assert (watched.verdict(), watched.verdict(rule=CERTIFICATE)) == (UP, UP)
    assert watched.seen() == {"nyc": (UP, "")}
    with watched.store.read() as conn:
        assert certificates.expiries(conn) == {}
        assert [one.name for one in locations.all_locations(conn, now_ms=watched.clock.now_ms())] == ["nyc", "syd"]
    with pytest.raises(NotFound):
        remove(watched, "fra")
    with watched.store.write() as conn:
        store_locations.ensure(conn, "fra")  # as a worker does that comes from there
    watched.look(fra=False)
    assert watched.verdict() is DOWN, "it has a vote as any new one"


def test_a_location_in_use_stays(watched: Watched) -> None:
    with watched.store.write() as conn:
        now_ms = server_clock.now_ms(conn) or watched.clock.now_ms()
        add_worker(conn, "a", location_id=SYD, until_ms=now_ms + 2 * LEASE_MS)
    with pytest.raises(Conflict, match="1 worker is at syd"):
        remove(watched, "syd")
    watched.change(locations=["fra", "nyc"])
    with pytest.raises(Conflict, match="1 target names nyc"):
        remove(watched, "nyc")
    watched.change(locations=["fra"])
    remove(watched, "nyc")


def test_nothing_in_the_record_says_left_out_of_who_never_looked(watched: Watched) -> None:
    watched.look(fra=True, nyc=True)
    changed = watched.change(locations=["fra"])
    assert [(one.key.location_id, one.after, one.reason) for one in changed] == [(NYC, UNKNOWN, LEFT_OUT)]
