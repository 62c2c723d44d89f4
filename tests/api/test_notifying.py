"""Channels, rules and messages over REST. What they mean is tested with the catalog and the alerts service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.api.conftest import Client, fields_of
from tests.clocks import FakeClock
from tests.servers import RawServer, serving
from tocsin.core.alerting import Message
from tocsin.store import notifications
from tocsin.store.engine import Store

SECRET = "whsec_aHVudGVyMi1odW50ZXIyLWh1bnRlcjItaHVudGVyMg=="


@pytest.fixture
async def hook() -> AsyncIterator[RawServer]:
    """Takes every message."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()

    async with serving(answer) as server:
        yield server


async def make_channel(client: Client, **fields: Any) -> dict[str, Any]:
    wish = {"name": "on call", "kind": "webhook", "url": "http://127.0.0.1:9/hook", "secret": SECRET}
    answer = await client.post("/v1/channels", json=wish | fields)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_the_life_of_a_channel(member: Client, clock: FakeClock) -> None:
    made = await make_channel(member)
    assert made["secrets_set"] == ["secret"]
    assert made["secret"] is None
    assert made["last_delivery"] is None
    path = f"/v1/channels/{made['id']}"
    assert (await member.get(path)).json() == made
    assert (await member.get("/v1/channels")).json() == {"items": [made], "next": None}
    clock.tick(1)
    changed = (await member.patch(path, json={"enabled": False})).json()
    assert (changed["enabled"], changed["secrets_set"]) == (False, ["secret"])
    cleared = (await member.patch(path, json={"secret": ""})).json()
    assert cleared["secrets_set"] == []
    put = await member.put(path, json={"name": "other", "kind": "webhook", "url": "http://127.0.0.1:9/"})
    assert (put.json()["name"], put.json()["enabled"]) == ("other", True)
    taken = await member.post("/v1/channels", json={"name": "other", "kind": "webhook", "url": "http://127.0.0.1:9/"})
    assert (taken.status_code, fields_of(taken)) == (409, ["name"])
    assert (await member.delete(path)).status_code == 204
    assert (await member.get(path)).status_code == 404


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [({"kind": "pigeon"}, "kind"), ({"url": "file:///x"}, "url"), ({"colour": 1}, "colour"), ({"name": 7}, "name")],
)
async def test_a_wrong_channel_is_refused_by_name(member: Client, fields: dict[str, Any], wrong: str) -> None:
    wish = {"name": "on call", "kind": "webhook", "url": "http://127.0.0.1:9/"} | fields
    answer = await member.post("/v1/channels", json=wish)
    assert answer.status_code == 422
    assert fields_of(answer) == [wrong]


async def test_a_channel_is_tried_saved_and_unsaved(member: Client, hook: RawServer) -> None:
    made = await make_channel(member, url=f"{hook.url}/hook")
    saved = (await member.post(f"/v1/channels/{made['id']}/test")).json()
    assert saved["ok"] is True
    unsaved = await member.post("/v1/channels/test", json={"name": "x", "kind": "webhook", "url": f"{hook.url}/"})
    assert unsaved.json()["ok"] is True
    differing = await member.post("/v1/channels/test", json={"id": made["id"], "url": "http://127.0.0.1:9/"})
    assert differing.json()["ok"] is False
    assert differing.json()["detail"]
    assert hook.connections == 2
    assert (await member.post("/v1/channels/999/test")).status_code == 404
    assert (await member.post("/v1/channels/test", json={"id": 999})).status_code == 404


async def test_kinds_of_channels(outsider: Client) -> None:
    kinds = {kind["kind"]: kind for kind in (await outsider.get("/v1/channel-kinds")).json()["items"]}
    assert list(kinds) == ["apprise", "webhook", "email"]
    assert {"name", "url"} <= kinds["webhook"]["schema"]["properties"].keys()


async def test_the_life_of_a_rule(member: Client) -> None:
    (default,) = (await member.get("/v1/rules")).json()["items"]
    assert default["is_default"] is True
    assert (await member.delete(f"/v1/rules/{default['id']}")).status_code == 409
    channel = await make_channel(member)
    wish = {"name": "shop", "tags": ["shop"], "events": ["down"], "channel_ids": [channel["id"]], "reminder_s": None}
    answer = await member.post("/v1/rules", json=wish)
    assert answer.status_code == 201
    made = answer.json()
    assert made == wish | {"id": made["id"], "is_default": False, "enabled": True, "target_ids": [], "machine_ids": []}
    path = f"/v1/rules/{made['id']}"
    assert (await member.get(path)).json() == made
    assert (await member.patch(path, json={"enabled": False})).json()["enabled"] is False
    assert (await member.put(path, json=wish | {"name": "new"})).json()["name"] == "new"
    wrong = await member.patch(path, json={"channel_ids": [999]})
    assert (wrong.status_code, fields_of(wrong)) == (422, ["channel_ids.0"])
    assert fields_of(await member.post("/v1/rules", json={"events": ["sideways"]})) == ["name", "events.0"]
    assert (await member.delete(path)).status_code == 204
    assert (await member.get(path)).status_code == 404


async def test_messages_and_trying_again(member: Client, store: Store, clock: FakeClock) -> None:
    channel = await make_channel(member)
    with store.write() as conn:
        for number in range(3):
            message = Message(
                title=f"shop is down {number}",
                text="since 08:00",
                items=(),
                delivery_key=f"msg_{number}",
                created_ms=clock.now_ms(),
                recovered=False,
            )
            notifications.add_notification(conn, channel["id"], message, notice_ids=[])
    first = (await member.get("/v1/notifications?limit=2")).json()
    rest = (await member.get("/v1/notifications", params={"cursor": first["next"]})).json()
    items = first["items"] + rest["items"]
    assert [item["delivery_key"] for item in items] == ["msg_2", "msg_1", "msg_0"]
    assert rest["next"] is None
    assert items[0] | {"id": 0} == {
        "id": 0,
        "delivery_key": "msg_2",
        "channel": {"id": channel["id"], "name": "on call"},
        "title": "shop is down 2",
        "text": "since 08:00",
        "status": "pending",
        "attempts": [],
        "created_at": "2027-01-15T08:00:00.000Z",
        "next_attempt_at": "2027-01-15T08:00:00.000Z",
    }
    assert (await member.get("/v1/notifications?status=delivered")).json()["items"] == []
    assert len((await member.get("/v1/notifications", params={"channel_id": channel["id"]})).json()["items"]) == 3
    assert (await member.get("/v1/notifications?channel_id=999")).json()["items"] == []

    await member.delete(f"/v1/channels/{channel['id']}")
    given_up = (await member.get("/v1/notifications?status=abandoned")).json()["items"]
    assert len(given_up) == 3
    assert given_up[0]["channel"]["name"] is None
    assert (await member.post(f"/v1/notifications/{given_up[0]['id']}/retry")).status_code == 409
    assert (await member.post("/v1/notifications/999/retry")).status_code == 404


async def test_a_message_that_was_given_up_is_tried_again(member: Client, store: Store, clock: FakeClock) -> None:
    channel = await make_channel(member)
    with store.write() as conn:
        message = Message(
            title="shop is down", text="", items=(), delivery_key="msg", created_ms=clock.now_ms(), recovered=False
        )
        number = notifications.add_notification(conn, channel["id"], message, notice_ids=[])
    await member.patch(f"/v1/channels/{channel['id']}", json={"enabled": False})
    (given_up,) = (await member.get("/v1/notifications")).json()["items"]
    assert (given_up["status"], given_up["next_attempt_at"]) == ("abandoned", None)
    clock.tick(5)
    again = (await member.post(f"/v1/notifications/{number}/retry")).json()
    assert (again["status"], again["next_attempt_at"]) == ("pending", "2027-01-15T08:00:05.000Z")
