"""Machines over REST: how they stand, what they sent, what they are judged by, and who may change that."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.conftest import Client, fields_of
from tests.api.reporting import Reporters
from tests.clocks import FakeClock
from tocsin.api import models
from tocsin.bus.memory import MemoryBus
from tocsin.core import bands as core_bands
from tocsin.core.machine import Summary
from tocsin.pipeline import Pipeline
from tocsin.store.engine import Store

NOTHING = Summary()._asdict()


@pytest.fixture
def reporters(store: Store, pipeline: Pipeline, clock: FakeClock, bus: MemoryBus) -> Reporters:
    return Reporters(store, pipeline, clock, bus)


async def one(client: Client, machine_id: int) -> dict[str, Any]:
    answer = await client.get(f"/v1/machines/{machine_id}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    models.MachineRead.model_validate(found)
    return found


# ── how they stand ────────────────────────────────────────────────────────────────────────────────────


async def test_a_machine_says_all_that_is_known_of_it(outsider: Client, reporters: Reporters, clock: FakeClock) -> None:
    number = reporters.add("db-1.example", name="db-1", tags=["database"])
    clock.tick(5)
    processes = [{"pid": 7, "name": "postgres", "user": "postgres", "cpu": 1.5, "memory_bytes": 4096}]
    reporters.report(number, memory=0.5, load=2, processes=processes)
    found = await one(outsider, number)
    assert found["rules"][-1] == {
        "rule": "memory",
        "verdict": "up",
        "since": "2027-01-15T08:00:05.000Z",
        "reason": "",
    }
    usual = core_bands.in_force((), every_ms=5000).as_json()
    assert found == {
        "id": number,
        "uid": "db-1.example",
        "name": "db-1",
        "verdict": "up",
        "since": "2027-01-15T08:00:05.000Z",
        "reason": "",
        "last_seen": "2027-01-15T08:00:05.000Z",
        "every_s": 5.0,
        "clock_off_ms": 0,
        "version": "0.3.0",
        "tags": ["database"],
        "facts": {"host.arch": "amd64"},
        "refused": 0,
        "key": None,
        "bands": usual,
        "own_bands": {},
        "rules": found["rules"],
        "current": NOTHING | {"memory": 0.5, "memory_bytes": 1_000_000, "load_1m": 2.0},
        "created_at": "2027-01-15T08:00:00.000Z",
        "processes": processes,
        "series": [
            {"name": "system.cpu.load_average.1m", "attributes": {}, "unit": "1"},
            {"name": "system.memory.usage", "attributes": {"system.memory.state": "free"}, "unit": "By"},
            {"name": "system.memory.usage", "attributes": {"system.memory.state": "used"}, "unit": "By"},
        ],
    }


async def test_one_that_has_only_introduced_itself_is_unknown(outsider: Client, reporters: Reporters) -> None:
    number = reporters.add("new")
    found = await one(outsider, number)
    assert (found["verdict"], found["reason"], found["since"]) == (
        "unknown",
        "nothing received yet",
        found["created_at"],
    )
    assert (found["last_seen"], found["current"], found["processes"], found["series"]) == (None, NOTHING, None, [])
    missing = await outsider.get("/v1/machines/4711")
    assert (missing.status_code, missing.json()["detail"]) == (404, "There is no machine 4711.")


async def test_the_worst_rule_is_the_verdict(outsider: Client, reporters: Reporters) -> None:
    busy, idle = reporters.add("busy"), reporters.add("idle")
    reporters.report(busy, idle)
    reporters.go_on(310, busy, memory=0.9)
    found = await one(outsider, busy)
    assert found["verdict"] == "degraded"
    assert [(rule["rule"], rule["verdict"]) for rule in found["rules"]] == [("memory", "degraded"), ("reporting", "up")]
    assert (found["since"], found["reason"]) == (found["rules"][0]["since"], found["rules"][0]["reason"])
    assert "90 %" in found["reason"]
    overview = (await outsider.get("/v1/overview")).json()
    assert overview["machines"] == {"up": 1, "degraded": 1, "down": 0, "unknown": 0}

    (change,) = (await outsider.get(f"/v1/machines/{busy}/transitions?limit=1")).json()["items"]
    assert (change["rule"], change["from"], change["to"], change["reason"]) == (
        "memory",
        "up",
        "degraded",
        found["reason"],
    )
    models.Overview.model_validate(overview)
    (newest, *_) = (await outsider.get("/v1/timeline")).json()["items"]
    assert (newest["target"], newest["machine"], newest["rule"]) == (None, {"id": busy, "name": "busy"}, "memory")


async def test_a_new_machine_that_is_busy_is_up_until_it_has_been_so_for_long(
    outsider: Client, reporters: Reporters
) -> None:
    number = reporters.add("busy")
    reporters.go_on(60, number, memory=0.99)
    found = await one(outsider, number)
    assert (found["verdict"], found["reason"]) == ("up", "")
    reporters.go_on(300, number, memory=0.99)
    assert (await one(outsider, number))["verdict"] == "down"


async def test_transitions_come_in_pages(outsider: Client, reporters: Reporters) -> None:
    number = reporters.add("m")
    reporters.report(number)
    path = f"/v1/machines/{number}/transitions"
    first = (await outsider.get(f"{path}?limit=1")).json()
    second = (await outsider.get(f"{path}?limit=1&cursor={first['next']}")).json()
    assert second["next"] is None
    assert {page["items"][0]["rule"] for page in (first, second)} == {"reporting", "memory"}
    assert (await outsider.get("/v1/machines/9/transitions")).status_code == 404
    assert fields_of(await outsider.get(f"{path}?from=yesterday")) == ["from"]


# ── the list ──────────────────────────────────────────────────────────────────────────────────────────


async def test_the_list_goes_by_name_in_pages(outsider: Client, reporters: Reporters) -> None:
    numbers = [reporters.add(f"uid-{number}", name=name) for number, name in enumerate(("b", "C", "a", "b"))]
    names: list[tuple[str, int]] = []
    cursor = ""
    while True:
        page = (await outsider.get(f"/v1/machines?limit=1{cursor}")).json()
        names += [(item["name"], item["id"]) for item in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert names == [("a", numbers[2]), ("b", numbers[0]), ("b", numbers[3]), ("C", numbers[1])]
    assert "processes" not in page["items"][0]
    assert fields_of(await outsider.get("/v1/machines?cursor=x")) == ["cursor"]
    assert fields_of(await outsider.get("/v1/machines?limit=0")) == ["limit"]


async def test_the_list_is_narrowed(outsider: Client, reporters: Reporters) -> None:
    db = reporters.add("u1", name="db-1", tags=["database", "prod"], facts={"os.description": "Debian 12"})
    web = reporters.add("u2", name="web-1", tags=["prod"], facts={})
    reporters.report(web)

    async def listed(query: str) -> list[int]:
        return [item["id"] for item in (await outsider.get(f"/v1/machines?{query}")).json()["items"]]

    assert await listed("tag=prod") == [db, web]
    assert await listed("tag=pro") == []
    assert await listed("q=DEBIAN") == [db]
    assert await listed("q=u2") == [web]
    assert await listed("verdict=up") == [web]
    assert await listed("verdict=unknown&tag=database") == [db]
    assert fields_of(await outsider.get("/v1/machines?verdict=sideways")) == ["verdict"]


async def test_a_list_that_has_not_changed_is_not_sent_again(outsider: Client, reporters: Reporters) -> None:
    number = reporters.add("m")
    first = await outsider.get("/v1/machines")
    again = {"If-None-Match": first.headers["etag"]}
    assert (await outsider.get("/v1/machines", headers=again)).status_code == 304
    reporters.report(number)
    assert (await outsider.get("/v1/machines", headers=again)).status_code == 200


async def test_the_last_half_hour_where_it_is_asked(outsider: Client, reporters: Reporters) -> None:
    reporters.report(reporters.add("m"))
    (plain,) = (await outsider.get("/v1/machines")).json()["items"]
    assert "spark" not in plain
    page = (await outsider.get("/v1/machines?expand=spark")).json()
    models.Page[models.MachineRead].model_validate(page)
    (item,) = page["items"]
    assert item["spark"] == [None] * 30
    assert fields_of(await outsider.get("/v1/machines?expand=sparks")) == ["expand"]


# ── changed by people ─────────────────────────────────────────────────────────────────────────────────


async def test_a_name_and_tags_that_people_gave_stay(member: Client, reporters: Reporters) -> None:
    number = reporters.add("u1", name="localhost", tags=["a"])
    answer = await member.patch(f"/v1/machines/{number}", json={"name": " db-1 ", "tags": ["x", "y", "x"]})
    assert (answer.status_code, answer.json()["name"], answer.json()["tags"]) == (200, "db-1", ["x", "y"])
    assert reporters.add("u1", name="localhost", tags=["b"]) == number
    found = await one(member, number)
    assert (found["name"], found["tags"], found["uid"]) == ("db-1", ["x", "y"], "u1")


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ({"name": ""}, ["name"]),
        ({"name": "x" * 201}, ["name"]),
        ({"name": "a\x1b[31m"}, ["name"]),
        ({"name": "a\u202eb"}, ["name"]),
        ({"name": None}, ["name"]),
        ({"name": 7}, ["name"]),
        ({"tags": ["a", ""]}, ["tags.1"]),
        ({"tags": ["x"] * 51}, ["tags"]),
        ({"uid": "other"}, ["uid"]),
        ({"bands": None}, ["bands"]),
        ({"bands": []}, ["bands"]),
        ({"bands": {"gpu": {"warn": 0.5}}}, ["bands.gpu"]),
        ({"bands": {"cpu": {"warn": 1.5}}}, ["bands.cpu.warn"]),
        ({"bands": {"cpu": {"warn": "0.5"}}}, ["bands.cpu.warn"]),
        ({"bands": {"cpu": {"warn": 0.9, "critical": 0.8}}}, ["bands.cpu.warn"]),
        ({"bands": {"cpu": {"warn": 0.8, "warn_recovery": 0.9}}}, ["bands.cpu.warn_recovery"]),
        ({"bands": {"cpu": {"for_s": -1}}}, ["bands.cpu.for_s"]),
        ({"bands": {"cpu": 3}}, ["bands.cpu"]),
        ({"bands": {"reporting": {"silent_after_s": 0}}}, ["bands.reporting.silent_after_s"]),
        ({"bands": {"reporting": {"warn": 1}}}, ["bands.reporting.warn"]),
        ({"name": "", "bands": {"cpu": {"odd": 1}}}, ["name", "bands.cpu.odd"]),
    ],
)
async def test_what_is_wrong_is_named(
    member: Client, reporters: Reporters, given: dict[str, Any], fields: list[str]
) -> None:
    number = reporters.add("u1")
    answer = await member.patch(f"/v1/machines/{number}", json=given)
    assert (answer.status_code, fields_of(answer)) == (422, fields)
    assert (await one(member, number))["name"] == "u1"


@pytest.mark.parametrize(
    "body", [b'{"bands": {"\\ud800": {}}}', b'{"bands": {"cpu": {"warn": NaN}}}', b'{"name": "\\ud800"}', b"[]", b"7"]
)
async def test_what_cannot_be_stored_is_refused(member: Client, reporters: Reporters, body: bytes) -> None:
    number = reporters.add("u1")
    headers = {"Content-Type": "application/json"}
    answer = await member.patch(f"/v1/machines/{number}", content=body, headers=headers)
    assert answer.status_code == 422
    fields_of(answer)


async def test_own_bands_go_before_those_of_tags(member: Client, reporters: Reporters) -> None:
    number = reporters.add("u1", tags=["database"])
    tagged = await member.put("/v1/machine-bands/database", json={"memory": {"warn": 0.96, "critical": 0.99}})
    assert (tagged.status_code, tagged.json()["tag"]) == (200, "database")
    assert (await one(member, number))["bands"]["memory"]["warn"] == 0.96
    changed = await member.patch(f"/v1/machines/{number}", json={"bands": {"memory": {"warn": 0.97}}})
    assert changed.json()["bands"]["memory"] == {
        "warn": 0.97,
        "critical": 0.99,
        "warn_recovery": 0.92,
        "critical_recovery": 0.94,
        "for_s": 300.0,
    }
    assert changed.json()["own_bands"] == {"memory": {"warn": 0.97, "warn_recovery": 0.92}}
    assert (await member.patch(f"/v1/machines/{number}", json={"bands": {}})).json()["own_bands"] == {}
    listed = (await member.get("/v1/machine-bands")).json()
    models.AllTagBands.model_validate(listed)
    assert [item["tag"] for item in listed["items"]] == ["database"]
    assert (listed["usual"]["memory"]["warn"], listed["usual"]["reporting"]) == (0.85, {"silent_after_s": None})
    assert (await member.delete("/v1/machine-bands/database")).status_code == 204
    assert (await one(member, number))["bands"]["memory"]["warn"] == 0.85
    assert (await member.delete("/v1/machine-bands/database")).status_code == 404


async def test_wrong_bands_of_a_tag_are_named(member: Client) -> None:
    answer = await member.put("/v1/machine-bands/a", json={"cpu": {"warn": 2}})
    assert (answer.status_code, fields_of(answer)) == (422, ["cpu.warn"])
    answer = await member.put("/v1/machine-bands/a%07", json={})
    assert (answer.status_code, fields_of(answer)) == (422, ["tag"])
    assert (await member.get("/v1/machine-bands")).json()["items"] == []


async def test_a_rule_that_is_switched_off_has_no_part_in_the_verdict(
    member: Client, reporters: Reporters, clock: FakeClock
) -> None:
    number = reporters.add("u1", tags=["t"])
    reporters.report(number)
    reporters.go_on(310, number, memory=0.99)
    assert (await one(member, number))["verdict"] == "down"
    changed = (await member.patch(f"/v1/machines/{number}", json={"bands": {"memory": None}})).json()
    assert (changed["verdict"], [rule["rule"] for rule in changed["rules"]]) == ("up", ["reporting"])
    assert changed["bands"]["memory"] is None
    (change, *_) = (await member.get(f"/v1/machines/{number}/transitions")).json()["items"]
    assert (change["rule"], change["to"], change["reason"]) == ("memory", "unknown", "not judged")

    again = (await member.patch(f"/v1/machines/{number}", json={"bands": {}})).json()
    assert (again["verdict"], [rule["rule"] for rule in again["rules"]]) == ("unknown", ["memory", "reporting"])
    reporters.go_on(60, number, memory=0.2)
    assert (await one(member, number))["verdict"] == "up"

    assert (await member.put("/v1/machine-bands/t", json={"memory": None})).status_code == 200
    assert [rule["rule"] for rule in (await one(member, number))["rules"]] == ["reporting"]
    assert (await member.delete("/v1/machine-bands/t")).status_code == 204
    assert len((await one(member, number))["rules"]) == 2


async def test_a_removed_machine_is_gone_and_a_new_one_when_it_reports_again(
    member: Client, reporters: Reporters, clock: FakeClock
) -> None:
    number = reporters.add("u1")
    reporters.report(number)
    assert (await member.delete(f"/v1/machines/{number}")).status_code == 204
    clock.tick(5)
    reporters.report(number)  # it was still under way
    for path in ("", "/series?name=x", "/transitions"):
        assert (await member.get(f"/v1/machines/{number}{path}")).status_code == 404
    for answer in (
        await member.delete(f"/v1/machines/{number}"),
        await member.patch(f"/v1/machines/{number}", json={"name": "x"}),
    ):
        assert answer.status_code == 404
    assert (await member.get("/v1/machines")).json()["items"] == []
    assert (await member.get("/v1/overview")).json()["machines"] == dict.fromkeys(
        ("up", "degraded", "down", "unknown"), 0
    )
    assert reporters.add("u1") != number


async def test_a_machine_shows_its_key_and_whether_it_was_revoked(
    owner: Client, reporters: Reporters, store: Store
) -> None:
    made = (await owner.post("/v1/keys", json={"name": "db-1", "scopes": ["ingest"]})).json()
    number = reporters.add("u1", key_id=made["id"])
    assert (await one(owner, number))["key"] == {"id": made["id"], "name": "db-1", "revoked": False}
    assert (await owner.delete(f"/v1/keys/{made['id']}")).status_code == 204
    assert (await one(owner, number))["key"] == {"id": made["id"], "name": "db-1", "revoked": True}


async def test_who_is_signed_in_can_make_a_key_for_a_machine(person: Client) -> None:
    made = await person.post("/v1/keys", json={"name": "machines", "scopes": ["ingest"]})
    assert (made.status_code, made.json()["scopes"]) == (201, ["ingest"])


# ── text from machines ────────────────────────────────────────────────────────────────────────────────

MARKUP = "<img src=x onerror=alert(1)>&\"'"


async def test_markup_travels_as_text(outsider: Client, reporters: Reporters) -> None:
    number = reporters.add("u1", name=MARKUP, tags=[MARKUP], facts={"host.type": MARKUP})
    processes = [{"pid": 1, "name": MARKUP, "user": MARKUP, "cpu": 0, "memory_bytes": 1}]
    reporters.report(number, processes=processes)
    answer = await outsider.get(f"/v1/machines/{number}")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    found = answer.json()
    assert (found["name"], found["tags"], found["facts"]) == (MARKUP, [MARKUP], {"host.type": MARKUP})
    assert found["processes"] == processes


async def test_control_characters_do_not_get_in(outsider: Client, reporters: Reporters) -> None:
    nasty = "db\x00-\x1b[31m1\u202e\u2028\n"
    number = reporters.add("u1", name=nasty, tags=[nasty], facts={"host.type": nasty})
    reporters.report(number)
    text = json.dumps((await one(outsider, number)), ensure_ascii=False)
    assert [character for character in "\x00\x1b\u202e\u2028\n" if character in text] == []
    assert "\\u0000" not in text
    assert "db" in text
