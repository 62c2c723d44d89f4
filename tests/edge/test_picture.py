"""What a relay makes of messages: whole or not at all."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tests.edge.served import machine
from tocsin.edge import messages, picture
from tocsin.edge.messages import Body, Refused
from tocsin.edge.picture import Picture


def body(**content: Any) -> Body:
    return messages.message(json.dumps({"type": "changes", **content})).body


NONSENSE: dict[str, Any] = {
    "no JSON": "{",
    "nothing": "",
    "bytes": b"\x00\xff\xfe",
    "half a letter": b'{"type": "changes", "machines": [{"id": 1, "name": "\xff"}]}',
    "a list": "[]",
    "a number": "3",
    "no type": "{}",
    "an unknown type": {"type": "delete"},
    "a type that is no word": {"type": 3},
    "very deep": "[" * 60_000,
    "deep in the data": '{"type": "changes", "data": ' + "[" * 50_000 + "]" * 50_000 + "}",
    "machines that are no list": {"type": "changes", "machines": {"id": 1}},
    "a machine without an id": {"type": "changes", "machines": [{"name": "x"}]},
    "an id that is text": {"type": "changes", "machines": [machine(1) | {"id": "1"}]},
    "an id that is true": {"type": "changes", "machines": [machine(1) | {"id": True}]},
    "an id of 0": {"type": "changes", "machines": [machine(1) | {"id": 0}]},
    "an id that JavaScript cannot count": {"type": "changes", "machines": [machine(1) | {"id": 2**53}]},
    "an unknown verdict": {"type": "changes", "machines": [machine(1, verdict="fine")]},
    "a name that is markup in a list": {"type": "changes", "machines": [machine(1, name=["<b>"])]},
    "a name without an end": {"type": "changes", "machines": [machine(1, name="x" * 1001)]},
    "a time that is none": {"type": "changes", "machines": [machine(1, since="yesterday")]},
    "a time without a zone": {"type": "changes", "machines": [machine(1, since="2027-01-15T08:00:00")]},
    "a share that is text": {"type": "changes", "machines": [machine(1, current={"cpu": "1"})]},
    "not a number": '{"type": "changes", "machines": [{"id": 1, "current": {"cpu": NaN}}]}',
    "infinity": '{"type": "changes", "machines": [{"id": 1, "current": {"cpu": 1e999}}]}',
    "one good, one bad": {"type": "changes", "machines": [machine(1, verdict="down"), {"id": -1}]},
    "removed that are no ids": {"type": "changes", "machines_removed": ["1"]},
    "flat and nested": {"type": "changes", "data": {"machines": []}, "machines": [machine(1)]},
    "nested in text": {"type": "changes", "data": "machines"},
    "a target that is no object": {"type": "changes", "targets": [1]},
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_refused_with_words(name: str) -> None:
    raw = NONSENSE[name]
    with pytest.raises(Refused, match=r"^(it|there) .{10}"):
        messages.message(json.dumps(raw) if isinstance(raw, dict) else raw)


def test_flat_and_nested_say_the_same() -> None:
    content = {"machines": [machine(1), machine(2)], "machines_removed": [3], "targets": [{"id": 4}], "removed": [5]}
    assert body(**content) == body(data=content)
    assert [entry.id for entry in body(**content).machines] == [1, 2]


def test_what_a_relay_cannot_show_is_left_out() -> None:
    (entry,) = body(machines=[machine(1, facts={"os": "x"}, key="k", current={"cpu": 1, "disk_mount": "/"})]).machines
    assert b"facts" not in msgspec.json.encode(entry)
    assert b"disk_mount" not in msgspec.json.encode(entry)


def test_changes_are_laid_over_what_is_known() -> None:
    there = Picture()
    there.replace([body(machines=[machine(1), machine(2)])])
    moved = there.merge(body(machines=[{"id": 1, "verdict": "down", "current": {"cpu": 1}}], machines_removed=[2, 9]))
    assert msgspec.to_builtins(moved.machines) == [
        machine(1, verdict="down", current={"cpu": 1, "memory": 0.5, "disk": 0.75, "load_1m": 1.5})
    ]
    assert (moved.machines_removed, list(there.machines)) == ([2], [1])
    assert not there.merge(body())


def test_null_is_a_value() -> None:
    there = Picture()
    there.replace([body(machines=[machine(1)])])
    (moved, *_) = there.merge(body(machines=[{"id": 1, "last_seen": None, "current": None}]))
    assert msgspec.to_builtins(moved)[0]["current"] is None
    (moved, *_) = there.merge(body(machines=[{"id": 1, "current": {"cpu": 0.5}}]))
    assert msgspec.to_builtins(moved)[0]["current"] == {"cpu": 0.5}


def test_a_machine_twice_in_a_message_is_told_once() -> None:
    there = Picture()
    moved = there.merge(body(machines=[machine(1), {"id": 1, "verdict": "down"}]))
    assert [(entry.id, entry.verdict) for entry in moved.machines] == [(1, "down")]


def test_more_than_can_be_shown_is_refused_and_harms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "MOST_MACHINES", 3)
    there = Picture()
    there.replace([body(machines=[machine(1), machine(2)])])
    with pytest.raises(Refused, match="3 machines"):
        there.merge(body(machines=[machine(1, verdict="down"), machine(3), machine(4)]))
    with pytest.raises(Refused, match="3 machines"):
        there.replace([body(machines=[machine(1), machine(2)]), body(machines=[machine(3), machine(4)])])
    assert [(entry.id, entry.verdict) for entry in there.machines.values()] == [(1, "up"), (2, "up")]
    there.merge(body(machines=[machine(1), machine(2), machine(3)]))
    assert len(there.machines) == 3
