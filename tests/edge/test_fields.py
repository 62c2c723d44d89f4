"""What leaves a gateway: what was chosen, and nothing that is not a single value."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tocsin.edge import fields, messages
from tocsin.edge.fields import Chosen, UnknownFields

SECRET = "10.9.8.7 tcs_secret /etc/shadow"
MACHINE: dict[str, Any] = {
    "id": 3,
    "name": "db-1",
    "verdict": "degraded",
    "since": "2027-01-15T07:00:00.000Z",
    "reason": SECRET,
    "last_seen": "2027-01-15T08:00:00.000Z",
    "facts": {"os": SECRET},
    "key": {"id": 1, "name": SECRET},
    "tags": [SECRET],
    "uid": SECRET,
    "processes": [{"pid": 1, "name": SECRET, "user": SECRET}],
    "current": {
        "cpu": 0.5,
        "memory": 0.25,
        "disk": 0.75,
        "disk_mount": SECRET,
        "load_1m": 1.0,
        "load_5m": 2.0,
        "load_15m": 3.0,
        "network_in": 12.5,
        "temperature": None,
        "processes": 100,
    },
}
TARGET: dict[str, Any] = {
    "id": 5,
    "slug": "shop",
    "verdict": "up",
    "since": "2027-01-15T07:00:00.000Z",
    "reason": SECRET,
    "last_check_at": None,
    "last_latency_ms": 12.5,
    "enabled": True,
    "url": SECRET,
}


def test_the_default_is_safe() -> None:
    chosen = Chosen.of(fields.SAFE)
    assert chosen.machines([MACHINE]) == [
        {
            "id": 3,
            "name": "db-1",
            "verdict": "degraded",
            "since": "2027-01-15T07:00:00.000Z",
            "last_seen": "2027-01-15T08:00:00.000Z",
            "current": {"cpu": 0.5, "memory": 0.25, "disk": 0.75, "load_1m": 1.0, "load_5m": 2.0, "load_15m": 3.0},
        }
    ]
    assert chosen.targets([TARGET]) == []


def test_only_a_reason_that_was_chosen_can_say_anything_else() -> None:
    every = [name for name in (*fields.MACHINE, *fields.TARGET) if name not in ("reason", "target.reason")]
    chosen = Chosen.of(every)
    assert SECRET not in json.dumps([chosen.machines([MACHINE]), chosen.targets([TARGET])])
    assert Chosen.of(["reason"]).machines([MACHINE]) == [{"id": 3, "reason": SECRET}]
    assert Chosen.of(["target.reason"]).targets([TARGET]) == [{"id": 5, "reason": SECRET}]


def test_a_paused_target_is_said_to_be_one() -> None:
    assert Chosen.of(["target.verdict"]).targets([TARGET | {"enabled": False}]) == [
        {"id": 5, "verdict": "up", "enabled": False}
    ]


@pytest.mark.parametrize("value", [{"a": SECRET}, [SECRET], (SECRET,)])
def test_a_place_where_there_is_more_than_one_value_hands_out_none(value: object) -> None:
    odd = {"id": 1, "name": value, "verdict": "up", "current": {"cpu": value}}
    assert Chosen.of(["name", "verdict", "cpu"]).machines([odd]) == [{"id": 1, "verdict": "up"}]


@pytest.mark.parametrize("current", [None, SECRET, [SECRET], 3])
def test_what_has_no_measurements_hands_out_none(current: object) -> None:
    assert Chosen.of(["cpu"]).machines([{"id": 1, "current": current}]) == [{"id": 1}]


def test_long_text_is_cut_to_what_a_relay_takes() -> None:
    (entry,) = Chosen.of(["name"]).machines([{"id": 1, "name": "x" * 5000}])
    assert len(entry["name"]) == fields.LONGEST_TEXT
    messages.message(json.dumps({"type": "changes", "machines": [entry]}))


@pytest.mark.parametrize("name", ["facts", "processes", "key", "endpoint", "target.url", "", "current", "Name"])
def test_what_may_never_leave_cannot_be_chosen(name: str) -> None:
    with pytest.raises(UnknownFields, match="there are name, verdict"):
        Chosen.of([*fields.SAFE, name])


def test_the_relay_knows_every_field_that_can_be_chosen() -> None:
    def known(struct: type[msgspec.Struct]) -> set[str]:
        return set(struct.__struct_fields__)

    current = {path[-1] for paths in fields.MACHINE.values() for path in paths if path[0] == "current"}
    plain = {path[0] for paths in fields.MACHINE.values() for path in paths}
    assert current == known(messages.Current)
    assert plain | {"id"} == known(messages.Machine)
    assert {path[0] for paths in fields.TARGET.values() for path in paths} | {"id"} == known(messages.Target)
