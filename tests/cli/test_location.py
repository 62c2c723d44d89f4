"""Locations, quorum and dependencies from the command line."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.cli.conftest import Commands
from tests.contract.test_workers import add_worker
from tocsin.bus.memory import MemoryBus
from tocsin.core.decide import Policy
from tocsin.core.outcome import REACHABLE, Outcome, Result, StateKey, Subject
from tocsin.core.shards import LEASE_MS
from tocsin.core.target import TARGET
from tocsin.lib.clock import SYSTEM_CLOCK
from tocsin.pipeline import Entry, Pipeline
from tocsin.store.engine import Store


@pytest.fixture
def store(commands: Commands) -> Iterator[Store]:
    """The database that the commands work on."""
    opened = Store(f"sqlite:///{commands.place / 'data' / 'tocsin.db'}")
    yield opened
    opened.close()


def fail(store: Store, *target_ids: int, location_id: int = 1) -> None:
    now_ms = SYSTEM_CLOCK.now_ms()
    policy = Policy(failures_to_down=1)
    keys = [StateKey(Subject(TARGET, target_id), REACHABLE, location_id) for target_id in target_ids]
    Pipeline(store, MemoryBus(), SYSTEM_CLOCK).write(
        [Entry(Outcome(key, now_ms, Result.FAILED, 1000, "refused", None), policy) for key in keys]
    )


def test_where_it_is_checked_from(commands: Commands) -> None:
    added = commands.ok(
        "target", "add", "tcp://db.test:5432", "--location", "fra", "--location", "nyc", "--quorum", "2", "--json"
    ).json
    assert (added["locations"], added["quorum"]) == (["fra", "nyc"], 2)
    changed = commands.ok("target", "set", "1", "--location", "nyc", "--quorum", "any", "timeout_s=3", "--json").json
    assert (changed["locations"], changed["quorum"], changed["timeout_s"]) == (["nyc"], "any", 3)
    assert commands.ok("target", "set", "1", "locations=[]", "--json").json["locations"] == []
    for quorum in ("most", "0", "9" * 12):
        said = commands("target", "set", "1", "--quorum", quorum)
        assert (said.code, said.err.partition(":")[0]) == (2, "quorum")
    assert commands("target", "set", "1").code == 2


def test_what_it_depends_on(commands: Commands) -> None:
    commands.ok("target", "add", "ping://router.test", "--name", "router")
    added = commands.ok("target", "add", "tcp://db.test:5432", "--name", "db", "--depends-on", "router", "--json").json
    assert added["depends_on"] == [1]
    assert "router" in commands.ok("target", "show", "db").out
    circle = commands("target", "set", "router", "--depends-on", "db")
    assert (circle.code, circle.err) == (
        2,
        "depends_on.0: db depends on this target: they would go round in a circle\n",
    )
    assert commands("target", "set", "db", "--depends-on", "nobody").code == 1
    assert commands.ok("target", "set", "db", "depends_on=[]", "--json").json["depends_on"] == []


def test_how_it_stands_and_because_of_what(commands: Commands, store: Store) -> None:
    commands.ok("target", "add", "ping://router.test", "--name", "router")
    commands.ok("target", "add", "tcp://db.test:5432", "--name", "db", "--depends-on", "1", "--location", "fra")
    assert "because of" not in commands.ok("target", "list").out
    fail(store, 1, 2)
    shown = commands.ok("target", "show", "db", "--json").json
    assert (shown["verdict"], shown["because_of"]) == ("down", {"id": 1, "name": "router"})
    (state,) = shown["location_states"]
    assert (state["location"], state["verdict"], state["workers"]) == ("fra", "down", 0)
    people = commands.ok("target", "show", "db").out
    assert "Because of router (target 1)." in people
    assert "fra" in people
    assert "because of" in commands.ok("target", "list").out
    (router, db) = sorted(commands.ok("target", "list", "--json").json["items"], key=lambda one: str(one["id"]))
    assert (router["because_of"], db["because_of"]) == (None, {"id": 1, "name": "router"})
    commands.ok("target", "set", "router", "--location", "nyc")
    assert [one["name"] for one in commands.ok("target", "list", "--location", "fra", "--json").json["items"]] == ["db"]
    assert commands("target", "list", "--location", "mars").code == 1


def test_locations_are_listed_and_removed(commands: Commands, store: Store) -> None:
    assert "no locations" in commands.ok("location", "list").out
    commands.ok("target", "add", "tcp://db.test:5432", "--location", "fra", "--location", "nyc")
    with store.write() as conn:
        add_worker(conn, "w-1", location_id=2, until_ms=round(time.time() * 1000) + LEASE_MS)
    fra, nyc = commands.ok("location", "list", "--json").json["items"]
    assert (fra["name"], fra["targets"], fra["workers"]) == ("fra", 1, [])
    assert [(worker["id"], worker["shards"]) for worker in nyc["workers"]] == [("w-1", 0)]
    assert "host w-1" in commands.ok("location", "list").out

    for name, why in (("fra", "1 target names fra"), ("nyc", "1 worker is at nyc"), ("mars", "There is no")):
        refused = commands("location", "rm", name)
        assert refused.code == 1
        assert refused.err.startswith(why)
    commands.ok("target", "set", "1", "--location", "nyc")
    assert commands.ok("location", "rm", "fra", "--json").json == {"removed": ["fra"]}
    assert [one["name"] for one in commands.ok("location", "list", "--json").json["items"]] == ["nyc"]
