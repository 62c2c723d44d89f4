"""Who the machines are, how they stand, and up to where what they said is stored."""

from __future__ import annotations

from typing import Any

import pytest

from tocsin.store import machines
from tocsin.store.engine import Store
from tocsin.store.machines import MachineRow, Now

NOW_MS = 1_800_000_000_000


def register(store: Store, uid: str = "a", **other: Any) -> MachineRow:
    said: dict[str, Any] = {
        "uid": uid,
        "name": f"host-{uid}",
        "facts": {"os.type": "linux"},
        "tags": ["web"],
        "every_ms": 5_000,
        "version": "1",
        "key_id": 3,
        "now_ms": NOW_MS,
    }
    with store.write() as conn:
        return machines.register(conn, **said | other)


def test_a_machine_is_made_once_and_brought_up_to_date(store: Store) -> None:
    first = register(store)
    assert (first.uid, first.name, first.tags, first.facts) == ("a", "host-a", ("web",), {"os.type": "linux"})
    assert (first.bands, first.clock_off_ms, first.refused) == ({}, 0, 0)
    assert (first.created_ms, first.updated_ms) == (NOW_MS, NOW_MS)
    assert register(store, now_ms=NOW_MS + 5) == first, "nothing is other"
    second = register(store, version="2", facts={}, key_id=None, every_ms=1_000, now_ms=NOW_MS + 9)
    assert second == first._replace(version="2", facts={}, key_id=None, every_ms=1_000, updated_ms=NOW_MS + 9)
    with store.read() as conn:
        assert machines.get(conn, first.id) == machines.by_uid(conn, "a") == second
        assert machines.get(conn, first.id + 1) is None
        assert machines.by_uid(conn, "b") is None


def test_how_often_it_reports_may_not_be_known(store: Store) -> None:
    assert register(store, every_ms=0).every_ms == 60_000
    assert register(store, every_ms=2_000).every_ms == 2_000
    assert register(store, every_ms=0).every_ms == 2_000


def test_what_a_person_has_set_stays(store: Store) -> None:
    made = register(store)
    bands = {"cpu": {"warn": 0.5}}
    with store.write() as conn:
        changed = machines.change(conn, made.id, name="The shop", bands=bands, now_ms=NOW_MS + 1)
    assert changed == made._replace(name="The shop", bands=bands, updated_ms=NOW_MS + 1)
    again = register(store, name="other", tags=["db"], now_ms=NOW_MS + 2)
    assert (again.name, again.tags, again.bands) == ("The shop", ("db",), bands), "tags were not set by a person"
    with store.write() as conn:
        machines.change(conn, made.id, tags=[], now_ms=NOW_MS + 3)
        assert machines.change(conn, made.id + 1, name="nobody", now_ms=NOW_MS) is None
    assert register(store, tags=["x"]).tags == ()


def test_all_are_listed_by_name(store: Store) -> None:
    numbers = [register(store, uid, name=name).id for uid, name in [("a", "z"), ("b", "m"), ("c", "m")]]
    with store.read() as conn:
        assert [one.id for one in machines.every(conn)] == [numbers[1], numbers[2], numbers[0]]


def test_what_is_noticed_adds_up(store: Store) -> None:
    made = register(store)
    with store.write() as conn:
        machines.note(conn, made.id, clock_off_ms=-70, refused_more=2)
        machines.note(conn, made.id, refused_more=3)
        machines.note(conn, made.id)
        assert machines.get(conn, made.id) == made._replace(clock_off_ms=-70, refused=5)


def test_one_that_was_deleted_is_gone_and_comes_back_as_another(store: Store) -> None:
    made = register(store)
    with store.write() as conn:
        machines.write_now(conn, [now(made.id)])
        assert machines.delete(conn, made.id, NOW_MS)
        assert not machines.delete(conn, made.id, NOW_MS)
        assert machines.get(conn, made.id) is None
        assert machines.by_uid(conn, "a") is None
        assert machines.every(conn) == []
        assert machines.now_of(conn) == machines.now_of(conn, [made.id]) == []
        assert machines.change(conn, made.id, name="x", now_ms=NOW_MS) is None
    assert register(store).id > made.id


def now(machine_id: int, layout_id: int = 1, **other: Any) -> Now:
    said = Now(machine_id, layout_id, "boot", 100, NOW_MS, NOW_MS + 7, b"\x00\x01", b"", {"cpu": 0.5}, None)
    return said._replace(**other)


def test_the_newest_goes_only_forward(store: Store) -> None:
    one, two = register(store, "a").id, register(store, "b").id
    steps: list[tuple[list[Now], Now]] = []
    first = now(one, processes=[{"pid": 1, "name": "ünit"}])
    steps.append(([first], first))
    steps.append(([now(one, seq=99, at_ms=NOW_MS + 99)], first))
    steps.append(([now(one, seq=100, at_ms=NOW_MS + 99)], first))
    later = now(one, seq=101, at_ms=NOW_MS - 50, raw=b"\xff" * 900, summary={"cpu": None})
    steps.append(([later], later))
    steps.append(([now(one, boot_id="other", seq=1, at_ms=NOW_MS - 50)], later))
    rebooted = now(one, boot_id="other", seq=1, at_ms=NOW_MS - 49)
    steps.append(([rebooted], rebooted))
    newest = rebooted._replace(seq=9)
    steps.append(([rebooted._replace(seq=5), newest, rebooted._replace(seq=7)], newest))
    with store.write() as conn:
        machines.write_now(conn, [])
    for given, expected in steps:
        with store.write() as conn:
            machines.write_now(conn, given)
        with store.read() as conn:
            assert machines.now_of(conn, [one]) == [expected]
    others = [now(two, layout_id, received_ms=NOW_MS + layout_id) for layout_id in (2, 1)]
    with store.write() as conn:
        machines.write_now(conn, others)
    with store.read() as conn:
        assert machines.now_of(conn) == [newest, *others[::-1]]
        assert machines.now_of(conn, []) == []
        assert machines.now_of(conn, received_after_ms=NOW_MS + 1) == [newest, others[0]]


def test_the_greatest_number_of_a_boot_stays(store: Store) -> None:
    with store.write() as conn:
        machines.write_boots(conn, [(1, "x", 5, NOW_MS), (1, "x", 9, NOW_MS), (1, "x", 7, NOW_MS), (2, "x", 1, 1)])
        machines.write_boots(conn, [(1, "x", 8, NOW_MS), (1, "y", 3, NOW_MS)])
        machines.write_boots(conn, [])
    with store.read() as conn:
        assert machines.boots(conn, [1, 2, 3]) == {(1, "x"): 9, (1, "y"): 3, (2, "x"): 1}
        assert machines.boots(conn, [2]) == {(2, "x"): 1}


@pytest.mark.parametrize("tag", ["web", "a tag, with ünicode"])
def test_bands_of_a_tag(store: Store, tag: str) -> None:
    with store.write() as conn:
        machines.set_tag_bands(conn, tag, {"cpu": None})
        machines.set_tag_bands(conn, tag, {"cpu": {"warn": 0.5}})
        machines.set_tag_bands(conn, "b", {})
        assert machines.tag_bands(conn) == {tag: {"cpu": {"warn": 0.5}}, "b": {}}
        machines.set_tag_bands(conn, tag, None)
        machines.set_tag_bands(conn, tag, None)
        assert machines.tag_bands(conn) == {"b": {}}
