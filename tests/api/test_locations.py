"""Where targets are checked from, over REST: named, seen, counted, and taken off the list."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert

from tests.api.conftest import HTTP_TARGET, NOW_MS, Client, fields_of, make_target
from tests.api.test_history import seen
from tests.clocks import FakeClock
from tests.contract.test_workers import add_worker
from tocsin.core.outcome import Result
from tocsin.core.shards import LEASE_MS
from tocsin.pipeline import Entry, Pipeline
from tocsin.store import tables
from tocsin.store.engine import Store

NUMBERS = {"local": 1, "fra": 2, "nyc": 3}


def looked(target_id: int, location: str, at_ms: int, result: Result) -> Entry:
    """One check, as a worker of that location writes it."""
    entry = seen(target_id, at_ms, result)
    number = NUMBERS[location]
    assert entry.check is not None
    return entry._replace(
        outcome=entry.outcome._replace(key=entry.outcome.key._replace(location_id=number)),
        check=entry.check._replace(location_id=number),
    )


@pytest.fixture
async def target(member: Client, pipeline: Pipeline, clock: FakeClock) -> dict[str, Any]:
    """Checked from two places: down from one, up from the other. All must agree."""
    made = await make_target(member, locations=["fra", "nyc"], quorum="all")
    pipeline.write(
        [
            looked(made["id"], "fra", NOW_MS, Result.PASSED),
            looked(made["id"], "nyc", NOW_MS, Result.PASSED),
            looked(made["id"], "fra", NOW_MS + 60_000, Result.FAILED),
        ]
    )
    clock.tick(60)
    found: dict[str, Any] = (await member.get(f"/v1/targets/{made['id']}")).json()
    return found


async def test_a_target_says_where_it_is_checked_from(member: Client) -> None:
    plain = await make_target(member)
    assert (plain["locations"], plain["quorum"], plain["location_states"]) == ([], "majority", [])
    made = await make_target(member, locations=[" nyc ", "fra", "nyc"], quorum=2)
    assert (made["locations"], made["quorum"]) == (["nyc", "fra"], 2)
    path = f"/v1/targets/{made['id']}"
    changed = (await member.patch(path, json={"locations": ["fra"], "quorum": "any"})).json()
    assert (changed["locations"], changed["quorum"]) == (["fra"], "any")
    replaced = (await member.put(path, json=HTTP_TARGET)).json()
    assert (replaced["locations"], replaced["quorum"]) == ([], "majority")
    too_many = await member.patch(path, json={"locations": ["fra"], "quorum": 2})
    assert (too_many.status_code, fields_of(too_many)) == (422, ["quorum"])


async def test_a_job_is_checked_from_nowhere(member: Client) -> None:
    job = (await member.post("/v1/targets", json={"name": "backup", "kind": "heartbeat", "period_s": 60})).json()
    assert (job["locations"], job["quorum"], job["location_states"]) == ([], None, [])
    path = f"/v1/targets/{job['id']}"
    changes: list[dict[str, Any]] = [{"locations": []}, {"quorum": "any"}]
    for change in changes:
        refused = await member.patch(path, json=change)
        assert (refused.status_code, fields_of(refused)) == (422, list(change))
    assert (await member.patch(path, json={"interval_s": 30})).status_code == 200
    assert (await member.post(f"{path}/clone")).status_code == 201


async def test_how_it_stands_from_each(target: dict[str, Any]) -> None:
    assert (target["verdict"], target["last_check_at"]) == ("up", "2027-01-15T08:01:00.000Z")
    assert target["location_states"] == [
        {
            "location": "fra",
            "verdict": "down",
            "since": "2027-01-15T08:01:00.000Z",
            "reason": "status == 200 is false: status is 503",
            "last_check_at": "2027-01-15T08:01:00.000Z",
            "last_latency_ms": 20.0,
            "workers": 0,
        },
        {
            "location": "nyc",
            "verdict": "up",
            "since": "2027-01-15T08:00:00.000Z",
            "reason": "",
            "last_check_at": "2027-01-15T08:00:00.000Z",
            "last_latency_ms": 20.0,
            "workers": 0,
        },
    ]


async def test_a_list_says_it_where_it_is_asked(member: Client, target: dict[str, Any]) -> None:
    (plain,) = (await member.get("/v1/targets")).json()["items"]
    assert "location_states" not in plain
    (listed,) = (await member.get("/v1/targets?expand=locations")).json()["items"]
    assert listed == target
    (both,) = (await member.get("/v1/targets?expand=locations,summary")).json()["items"]
    assert both["location_states"] == target["location_states"]
    assert both["summary"]["checks_24h"] == 3


async def test_a_changed_quorum_is_a_change_at_once(member: Client, target: dict[str, Any]) -> None:
    path = f"/v1/targets/{target['id']}"
    changed = (await member.patch(path, json={"quorum": "any"})).json()
    assert (changed["verdict"], changed["reason"]) == (
        "down",
        "status == 200 is false: status is 503, from 1 of 2 locations",
    )
    (newest, *_) = (await member.get(f"{path}/transitions")).json()["items"]
    assert (newest["to"], newest["location"], newest["has_evidence"]) == ("down", None, False)


async def test_history_of_one_location(outsider: Client, target: dict[str, Any]) -> None:
    path = f"/v1/targets/{target['id']}"
    here = (await outsider.get(f"{path}/checks?location=fra")).json()["items"]
    assert [(check["location"], check["ok"]) for check in here] == [("fra", False), ("fra", True)]
    everywhere = (await outsider.get(f"{path}/checks")).json()["items"]
    assert [check["location"] for check in everywhere] == ["fra", "nyc", "fra"]

    changes = (await outsider.get(f"{path}/transitions?location=fra")).json()["items"]
    assert [(change["from"], change["to"], change["location"]) for change in changes] == [
        ("up", "down", "fra"),
        ("unknown", "up", "fra"),
    ]
    assert changes[0]["has_evidence"]
    (verdict,) = (await outsider.get(f"{path}/transitions")).json()["items"]
    assert (verdict["to"], verdict["location"]) == ("up", "fra"), "whose check settled it"
    for wrong in ("checks", "transitions"):
        answer = await outsider.get(f"{path}/{wrong}?location=mars")
        assert (answer.status_code, fields_of(answer)) == (400, ["location"])


async def test_targets_of_one_location(member: Client) -> None:
    await make_target(member, name="here", locations=["fra"])
    await make_target(member, name="there", locations=["nyc"])
    await make_target(member, name="everywhere")
    await member.post("/v1/targets", json={"name": "job", "kind": "heartbeat", "period_s": 60})
    listed = (await member.get("/v1/targets?location=fra")).json()["items"]
    assert [target["name"] for target in listed] == ["everywhere", "here"]


async def test_locations_and_who_is_there(outsider: Client, member: Client, store: Store) -> None:
    await make_target(member, locations=["fra"])
    await make_target(member)
    await member.post("/v1/targets", json={"name": "job", "kind": "heartbeat", "period_s": 60})
    with store.write() as conn:
        add_worker(
            conn,
            "w-1",
            location_id=2,
            until_ms=NOW_MS + LEASE_MS - 1500,
            started_ms=NOW_MS - 60_000,
            remote=True,
            clock_off_ms=-3000,
        )
        add_worker(conn, "gone", location_id=1, until_ms=NOW_MS)
        shard = {"location_id": 2, "shard": 0, "holder": "w-1", "epoch": 1, "until_ms": NOW_MS}
        conn.execute(insert(tables.shards).values(shard))
    answer = await outsider.get("/v1/locations")
    assert answer.json() == {
        "items": [
            {
                "name": "fra",
                "workers": [
                    {
                        "id": "w-1",
                        "name": "host w-1",
                        "version": "0.1.0",
                        "remote": True,
                        "started_at": "2027-01-15T07:59:00.000Z",
                        "seen_at": "2027-01-15T07:59:58.500Z",
                        "shards": 1,
                        "clock_off_ms": -3000,
                    }
                ],
                "targets": 2,
            },
            {"name": "local", "workers": [], "targets": 1},
        ],
        "next": None,
    }
    (first, *_) = (await outsider.get("/v1/targets?expand=locations&sort=created")).json()["items"]
    assert [state["workers"] for state in first["location_states"]] == [1]


async def test_a_location_in_use_is_not_removed(member: Client, store: Store) -> None:
    await make_target(member, locations=["fra", "nyc"])
    with store.write() as conn:
        add_worker(conn, "w-1", location_id=1, until_ms=NOW_MS + 1)
    for name, why in (("local", "1 worker is at local"), ("fra", "1 target names fra")):
        refused = await member.delete(f"/v1/locations/{name}")
        assert refused.status_code == 409
        assert refused.json()["detail"].startswith(why)
        fields_of(refused)


async def test_a_removed_location_is_named_by_history_only(member: Client, target: dict[str, Any]) -> None:
    path = f"/v1/targets/{target['id']}"
    assert (await member.patch(path, json={"locations": ["nyc"], "quorum": "any"})).status_code == 200
    assert (await member.delete("/v1/locations/fra")).status_code == 204
    names = [one["name"] for one in (await member.get("/v1/locations")).json()["items"]]
    assert names == ["local", "nyc"]
    checks = (await member.get(f"{path}/checks?location=fra")).json()["items"]
    assert [check["location"] for check in checks] == ["fra", "fra"]
    for name in ("fra", "mars"):
        again = await member.delete(f"/v1/locations/{name}")
        assert (again.status_code, again.json()["detail"]) == (404, f"There is no location {name}.")
    assert (await member.patch(path, json={"locations": ["fra"], "quorum": "any"})).status_code == 200
    assert (await member.get("/v1/locations")).json()["items"][0]["name"] == "fra"
