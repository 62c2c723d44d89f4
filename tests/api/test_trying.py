"""Trying out what is not saved: targets against real sockets, channels, expressions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.api.conftest import Client, fields_of, make_target
from tests.servers import RawServer, serving

REPLY = b"HTTP/1.1 503 Busy\r\nContent-Length: 15\r\nX-Shop: yes\r\n\r\n<h1>closed</h1>"


@pytest.fixture
async def shop() -> AsyncIterator[RawServer]:
    """Answers 503 to everybody, and 200 to who knows the password."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        allowed = b"Authorization: Basic bWU6aHVzaA==" in request
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" if allowed else REPLY)
        await writer.drain()

    async with serving(answer) as server:
        yield server


async def test_a_test_says_everything_and_saves_nothing(member: Client, shop: RawServer) -> None:
    wish = {
        "name": "shop",
        "kind": "http",
        "url": f"{shop.url}/health",
        "assert": ["status == 200", "latency_ms < 9000"],
    }
    answer = await member.post("/v1/targets/test", json=wish)
    assert answer.status_code == 200
    found = answer.json()
    assert (found["result"], found["ok"], found["address"]) == ("failed", False, "127.0.0.1")
    assert found["phases"]["connect_ms"] > 0
    assert found["phases"]["tls_ms"] is None
    assert [(one["source"], one["ok"]) for one in found["assertions"]] == [
        ("status == 200", False),
        ("latency_ms < 9000", True),
    ]
    assert found["assertions"][0]["values"] == {"status": 503}
    assert found["details"]["status"] == 503
    assert found["details"]["body"] == "<h1>closed</h1>"
    assert ["X-Shop", "yes"] in [list(header) for header in found["details"]["headers"]]
    assert (await member.get("/v1/targets")).json()["items"] == []


async def test_what_is_only_tried_needs_no_name(member: Client, shop: RawServer) -> None:
    answer = await member.post("/v1/targets/test", json={"kind": "http", "url": f"{shop.url}/"})
    assert (answer.status_code, answer.json()["result"]) == (200, "failed")


async def test_a_saved_target_is_tried_with_its_secrets_and_what_differs(member: Client, shop: RawServer) -> None:
    made = await make_target(member, url=f"{shop.url}/", username="me", password="hush")
    assert (await member.post("/v1/targets/test", json={"id": made["id"]})).json()["result"] == "passed"
    for change in ({"password": "wrong"}, {"password": "", "username": ""}):
        answer = await member.post("/v1/targets/test", json={"id": made["id"]} | change)
        assert answer.json()["result"] == "failed"
    assert (await member.post("/v1/targets/test", json={"id": made["id"], "password": None})).json()["ok"] is True


@pytest.mark.parametrize(
    ("wish", "wrong"),
    [
        ({}, ["kind"]),
        ({"kind": "http", "name": "x"}, ["url"]),
        ({"kind": "http", "name": "x", "url": "file:///etc/passwd"}, ["url"]),
        ({"kind": "http", "name": "x", "url": "http://127.0.0.1/", "interval_s": 0}, ["interval_s"]),
        ({"id": "seven"}, ["id"]),
        ({"id": True}, ["id"]),
        ({"id": -1}, ["id"]),
    ],
)
async def test_a_wrong_wish_is_refused_by_name(member: Client, wish: dict[str, Any], wrong: list[str]) -> None:
    answer = await member.post("/v1/targets/test", json=wish)
    assert answer.status_code == 422
    assert fields_of(answer) == wrong


async def test_cloud_metadata_is_not_contacted(member: Client) -> None:
    wish = {"kind": "http", "name": "x", "url": "http://169.254.169.254/latest/meta-data/"}
    found = (await member.post("/v1/targets/test", json=wish)).json()
    assert found["ok"] is not True
    assert "169.254.169.254" in found["error"]


async def test_an_expression_is_checked_while_it_is_typed(outsider: Client) -> None:
    async def check(kind: str, expression: str) -> dict[str, Any]:
        answer = await outsider.post("/v1/expressions/check", json={"kind": kind, "expression": expression})
        assert answer.status_code == 200
        checked: dict[str, Any] = answer.json()
        return checked

    assert await check("http", "status == 200 && json.ok") == {
        "ok": True,
        "message": None,
        "line": None,
        "column": None,
    }
    wrong = await check("http", "status ==\n  nonsense")
    assert (wrong["ok"], wrong["line"], wrong["column"]) == (False, 2, 3)
    assert (await check("tcp", "status == 200"))["ok"] is False
    unknown = await outsider.post("/v1/expressions/check", json={"kind": "gopher", "expression": "true"})
    assert fields_of(unknown) == ["kind"]


async def test_kinds_say_what_their_forms_need(outsider: Client) -> None:
    kinds = {kind["kind"]: kind for kind in (await outsider.get("/v1/kinds")).json()["items"]}
    assert list(kinds) == ["http", "tcp", "icmp", "dns", "tls", "heartbeat"]
    assert kinds["http"]["variables"]["status"] == "int"
    assert {"name", "url", "assert", "interval_s"} <= kinds["http"]["schema"]["properties"].keys()
    assert kinds["heartbeat"]["variables"] == {}
