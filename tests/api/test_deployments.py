"""Deployments over REST: told of by whoever makes them, listed for what they concern."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.conftest import Asking, Client, Keys, bearing, fields_of, make_target
from tests.api.test_targets import walk
from tests.clocks import FakeClock
from tests.contract.rows import add_machine
from tocsin.store.engine import Store

PATH = "/v1/ingest/deployments"
BRIEF = ("id", "source", "status", "started_at", "finished_at")
"""What whoever tells of one is answered."""
LEAST = {"id": "run-4711", "service": "checkout-api"}


@pytest.fixture
def pusher(asking: Asking, keys: Keys) -> Client:
    return asking(bearing(keys.ingest))


async def test_the_least_that_can_be_said(pusher: Client, outsider: Client) -> None:
    answer = await pusher.post(PATH, json=LEAST)
    assert answer.status_code == 201
    whole = {
        "id": "run-4711",
        "source": "",
        "service": "checkout-api",
        "environment": "production",
        "version": "",
        "status": "succeeded",
        "started_at": "2027-01-15T08:00:00.000Z",
        "finished_at": "2027-01-15T08:00:00.000Z",
        "description": "",
        "by": "",
        "url": "",
        "targets": [],
        "machines": [],
        "tags": [],
    }
    assert answer.json() == {name: whole[name] for name in BRIEF}
    assert (await outsider.get("/v1/deployments")).json() == {"items": [whole], "next": None}


async def test_a_beginning_and_an_end(pusher: Client, outsider: Client, clock: FakeClock) -> None:
    assert (await pusher.post(PATH, json=LEAST | {"status": "running", "version": "v2"})).status_code == 201
    clock.tick(90)
    ended = await pusher.post(PATH, json=LEAST | {"status": "failed"})
    assert ended.status_code == 200
    (found,) = (await outsider.get("/v1/deployments")).json()["items"]
    assert {name: found[name] for name in BRIEF} == ended.json()
    assert (found["status"], found["version"]) == ("failed", "v2")
    assert (found["started_at"], found["finished_at"]) == ("2027-01-15T08:00:00.000Z", "2027-01-15T08:01:30.000Z")


async def test_times_in_any_zone(pusher: Client) -> None:
    answer = await pusher.post(
        PATH, json=LEAST | {"started_at": "2027-01-15T09:30:00+02:00", "finished_at": "2027-01-15T07:45:00.250Z"}
    )
    found = answer.json()
    assert (found["started_at"], found["finished_at"]) == ("2027-01-15T07:30:00.000Z", "2027-01-15T07:45:00.250Z")


@pytest.mark.parametrize(
    ("wrong", "fields"),
    [
        ({"id": ""}, ["id"]),
        ({"id": 4711}, ["id"]),
        ({"id": "x" * 201}, ["id"]),
        ({"service": None}, ["service"]),
        ({"service": "a\nb"}, ["service"]),
        ({"service": "safe\u202eevil"}, ["service"]),
        ({"environment": ""}, ["environment"]),
        ({"started_at": ""}, ["started_at"]),
        ({"status": "SUCCEEDED"}, ["status"]),
        ({"started_at": "yesterday"}, ["started_at"]),
        ({"started_at": "2027-01-15T08:00:00"}, ["started_at"]),
        ({"started_at": 1_800_000_000}, ["started_at"]),
        ({"started_at": "1970-01-01T00:00:00Z"}, ["started_at"]),
        ({"finished_at": "2100-01-01T00:00:00Z"}, ["finished_at"]),
        ({"finished_at": "9999-12-31T23:59:59-14:00"}, ["finished_at"]),
        ({"finished_at": "0001-01-01T00:00:00+14:00"}, ["finished_at"]),
        ({"started_at": "2027-01-15T08:00:00Z", "finished_at": "2027-01-15T07:59:59Z"}, ["finished_at"]),
        ({"status": "running", "finished_at": "2027-01-15T08:00:00Z"}, ["finished_at"]),
        ({"url": "javascript:alert(1)"}, ["url"]),
        ({"url": "https://"}, ["url"]),
        ({"url": "https://[::1"}, ["url"]),
        ({"description": "a\u0000b"}, ["description"]),
        ({"targets": "shop"}, ["targets"]),
        ({"machines": [1]}, ["machines.0"]),
        ({"machines": ["m"] * 101}, ["machines"]),
        ({"tags": ["ok", ""]}, ["tags.1"]),
        ({"verison": "v2"}, ["verison"]),
        ({"service": "", "status": "done", "url": "x"}, ["service", "status", "url"]),
    ],
)
async def test_what_is_wrong_is_named_and_nothing_is_kept(
    pusher: Client, outsider: Client, wrong: dict[str, Any], fields: list[str]
) -> None:
    answer = await pusher.post(PATH, json=LEAST | wrong)
    assert answer.status_code == 422
    assert sorted(fields_of(answer)) == fields
    assert (await outsider.get("/v1/deployments")).json()["items"] == []


@pytest.mark.parametrize("body", ["", "{", "[]", '"x"', "null", "\x00\xff", "[" * 100_000])
async def test_garbage_is_refused(pusher: Client, body: str) -> None:
    answer = await pusher.post(PATH, content=body.encode("latin-1"), headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_field_that_is_left_out_is_missed_by_name(pusher: Client) -> None:
    answer = await pusher.post(PATH, json={})
    assert answer.status_code == 422
    assert sorted(fields_of(answer)) == ["id", "service"]
    close = await pusher.post(PATH, json=LEAST | {"verison": "v2"})
    assert "did you mean version?" in close.text


async def test_only_what_may_ingest_tells_and_it_reads_nothing(
    pusher: Client, asking: Asking, keys: Keys, outsider: Client
) -> None:
    assert (await asking().post(PATH, json=LEAST)).status_code == 401
    assert (await outsider.post(PATH, json=LEAST)).status_code == 403
    assert (await pusher.get("/v1/deployments")).status_code == 403
    await pusher.post(PATH, json=LEAST | {"by": "ada", "description": "not for everybody"})
    told = await pusher.post(PATH, json=LEAST)
    assert told.json().keys() == set(BRIEF), "nor what others said"


async def test_pages_and_windows(pusher: Client, outsider: Client) -> None:
    for minute in range(7):
        at = f"2027-01-15T07:{minute:02}:00Z"
        assert (await pusher.post(PATH, json=LEAST | {"id": f"run {minute}", "finished_at": at})).status_code == 201
    names = [item["id"] for item in await walk(outsider, "/v1/deployments", limit=2)]
    assert names == [f"run {minute}" for minute in reversed(range(7))]
    some = await walk(
        outsider, "/v1/deployments", limit=2, **{"from": "2027-01-15T07:02:00Z", "to": "2027-01-15T07:05:00Z"}
    )
    assert [item["id"] for item in some] == ["run 4", "run 3", "run 2"]


async def test_those_that_concern_a_target_or_a_machine(
    pusher: Client, member: Client, outsider: Client, store: Store
) -> None:
    target = await make_target(member, name="shop", tags=["checkout"])
    with store.write() as conn:
        machine_id = add_machine(conn, "web-1", "eu")
    for name, about in (
        ("all", {}),
        ("target", {"targets": ["shop"]}),
        ("machine", {"machines": ["web-1"]}),
        ("tag", {"tags": ["checkout"]}),
    ):
        assert (await pusher.post(PATH, json=LEAST | {"id": name} | about)).status_code == 201

    async def ids(**params: Any) -> list[str]:
        return sorted(item["id"] for item in await walk(outsider, "/v1/deployments", limit=1, **params))

    assert await ids(target=target["id"]) == ["all", "tag", "target"]
    assert await ids(machine=machine_id) == ["all", "machine"]
    assert await ids() == ["all", "machine", "tag", "target"]


@pytest.mark.parametrize(
    ("params", "status", "fields"),
    [
        ({"target": "99"}, 404, []),
        ({"machine": "99"}, 404, []),
        ({"target": "0"}, 400, ["target"]),
        ({"machine": str(2**60)}, 400, ["machine"]),
        ({"target": "1", "machine": "1"}, 400, ["machine"]),
        ({"from": "now"}, 400, ["from"]),
        ({"cursor": "WzEsMl0x"}, 400, ["cursor"]),
    ],
)
async def test_wrong_questions_are_refused_by_name(
    outsider: Client, params: dict[str, str], status: int, fields: list[str]
) -> None:
    answer = await outsider.get("/v1/deployments", params=params)
    assert answer.status_code == status
    assert fields_of(answer) == fields


async def test_markup_stays_text(pusher: Client, outsider: Client) -> None:
    name = "<img src=x onerror=alert(1)>"
    await pusher.post(PATH, json=LEAST | {"service": name})
    assert json.dumps(name)[1:-1] in (await outsider.get("/v1/deployments")).text
