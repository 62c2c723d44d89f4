"""Machines from the command line."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.reporting import Reporters
from tests.cli.conftest import Commands
from tests.clocks import FakeClock
from tocsin.bus.memory import MemoryBus
from tocsin.catalog import access
from tocsin.lib.clock import SYSTEM_CLOCK
from tocsin.pipeline import Pipeline
from tocsin.store.engine import Store


@pytest.fixture
def store(commands: Commands) -> Iterator[Store]:
    """The database that the commands work on."""
    opened = Store(f"sqlite:///{commands.place / 'data' / 'tocsin.db'}")
    yield opened
    opened.close()


@pytest.fixture
def reporters(store: Store) -> Reporters:
    """What they report is an hour old, so that time may go on."""
    clock, bus = FakeClock(SYSTEM_CLOCK.now_ms() - 3_600_000), MemoryBus()
    return Reporters(store, Pipeline(store, bus, clock), clock, bus)


def test_machines_are_listed(commands: Commands, reporters: Reporters) -> None:
    assert "There are no machines." in commands.ok("machine", "list").out
    one, other = reporters.add("u1", name="db-1", tags=["database"]), reporters.add("u2", name="[red]web")
    reporters.report(one, memory=0.42)
    listed = commands.ok("machine", "list", "--json").json["items"]
    assert [(item["id"], item["name"], item["verdict"]) for item in listed] == [
        (other, "[red]web", "unknown"),
        (one, "db-1", "up"),
    ]
    assert (listed[1]["current"]["memory"], listed[1]["bands"]["memory"]["warn"]) == (0.42, 0.85)
    people = commands.ok("machine", "list").out
    assert "42 %" in people
    assert "[red]web" in people, "markup in a name is text"
    for narrowed in (("--tag", "database"), ("--verdict", "up"), ("DB",)):
        assert [item["id"] for item in commands.ok("machine", "list", *narrowed, "--json").json["items"]] == [one]
    assert "no such machines" in commands.ok("machine", "list", "mail").out
    assert commands("machine", "list", "--verdict", "sideways").code == 2


def test_a_machine_is_shown(commands: Commands, reporters: Reporters, store: Store) -> None:
    with store.write() as conn:
        key, _ = access.create_key(conn, name="machines", scopes=["ingest"], now_ms=1)
        access.revoke_key(conn, key.id, now_ms=2)
    number = reporters.add("u1", name="db-1", key_id=key.id)
    processes = [{"pid": 7, "name": "postgres", "user": "pg", "cpu": 0.5, "memory_bytes": 4_000_000}]
    reporters.report(number, processes=processes)
    reporters.go_on(310, number, memory=0.99)
    shown = commands.ok("machine", "show", "db-1", "--json").json
    assert (shown["verdict"], shown["processes"], shown["key"]["revoked"]) == ("down", processes, True)
    people = commands.ok("machine", "show", "u1").out
    for word in ("db-1", "machines (revoked)", "memory", "99 % of 1 MB", "postgres", "4 MB", "changed"):
        assert word in people
    assert commands("machine", "show", "nobody").code == 1
    reporters.add("u2", name="db-1")
    assert "Give one of these ids" in commands("machine", "show", "db-1").err


def test_machines_are_removed(commands: Commands, reporters: Reporters) -> None:
    one, other = reporters.add("u1"), reporters.add("u2")
    assert commands("machine", "rm", "u1", "nobody").code == 1
    assert len(commands.ok("machine", "list", "--json").json["items"]) == 2, "all or none"
    assert commands.ok("machine", "rm", "u1", str(other), "--json").json == {"removed": [one, other]}
    assert commands.ok("machine", "list", "--json").json == {"items": []}


def test_bands_are_shown_and_changed(commands: Commands, reporters: Reporters) -> None:
    number = reporters.add("u1", tags=["t"])
    assert commands.ok("machine", "bands", "--json").json["items"] == []
    assert "95 %" in commands.ok("machine", "bands").out
    changed = commands.ok("machine", "bands", "u1", "--set", "cpu.warn=0.9", "--set", "memory=null", "--json").json
    assert changed["id"] == number
    assert changed["own_bands"] == {"cpu": {"warn": 0.9, "warn_recovery": 0.85}, "memory": None}
    assert (changed["bands"]["cpu"]["critical"], changed["bands"]["memory"]) == (0.95, None)
    again = commands.ok("machine", "bands", "u1", "--set", "cpu.warn=0.7", "--usual", "memory", "--json").json
    assert again["own_bands"] == {"cpu": {"warn": 0.7, "warn_recovery": 0.65}}
    assert "70 %" in commands.ok("machine", "bands", "u1").out

    tagged = commands.ok("machine", "bands", "--tag", "t", "--set", "forecast=null", "--json").json
    assert tagged == {"tag": "t", "bands": {"forecast": None}}
    assert commands.ok("machine", "bands", "u1", "--json").json["bands"]["forecast"] is None
    people = commands.ok("machine", "bands").out
    assert "Machines with the tag t" in people
    assert "not judged" in people
    assert commands.ok("machine", "bands", "--tag", "t", "--usual", "forecast", "--json").json["bands"] == {}
    assert commands.ok("machine", "bands", "--json").json["items"] == []
    assert "As usual." in commands.ok("machine", "bands", "--tag", "t").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--set", "cpu.warn=0.9"), "Say of what"),
        (("u1", "--tag", "t"), "not both"),
        (("u1", "--set", "cpu"), "is not RULE.FIELD=NUMBER"),
        (("u1", "--set", "cpu=0.5"), "is not RULE.FIELD=NUMBER"),
        (("u1", "--set", "cpu.=0.5"), "is not RULE.FIELD=NUMBER"),
        (("u1", "--set", "cpu.warn=much"), "bands.cpu.warn: must be a number"),
        (("u1", "--set", "gpu.warn=0.5"), "bands.gpu: is no rule"),
        (("--tag", "t", "--set", "cpu.warn=7"), "cpu.warn: must be from 0 to 1"),
    ],
)
def test_wrong_bands_are_refused(
    commands: Commands, reporters: Reporters, arguments: tuple[str, ...], said: str
) -> None:
    reporters.add("u1")
    refused = commands("machine", "bands", *arguments)
    assert (refused.code, said in refused.err) == (2, True), refused.err
