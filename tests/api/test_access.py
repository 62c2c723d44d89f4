"""Who may call what: every route as everybody; people and keys; changes that another page would make in their name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from tests.api.conftest import PASSWORD, Asking, Client, Keys, bearing, fields_of
from tests.clocks import FakeClock
from tocsin.api.app import ROUTERS, openapi_document

OPEN = {
    ("POST", "/v1/session"),
    *((method, path) for path in ("/health/live", "/health/ready") for method in ("GET", "HEAD")),
    *((method, path) for path in ("/ping/{token}", "/ping/{token}/{signal}") for method in ("HEAD", "GET", "POST")),
}
"""Written out, so that opening another one is a change somebody sees."""
ADMIN = {("GET", "/v1/keys"), ("POST", "/v1/keys"), ("DELETE", "/v1/keys/{key_id}")}
INGEST = {("POST", "/v1/ingest/deployments")}
READ_ANYWAY = {
    ("DELETE", "/v1/session"),
    ("POST", "/v1/settings/password"),
    ("POST", "/v1/expressions/check"),
}


class Call(NamedTuple):
    method: str
    path: str

    @property
    def needs(self) -> str | None:
        if self in OPEN:
            return None
        if self in ADMIN:
            return "admin"
        if self in INGEST:
            return "ingest"
        return "read" if self.method == "GET" or self in READ_ANYWAY else "write"

    @property
    def address(self) -> str:
        return re.sub(r"\{[a-z_]+\}", "999999", self.path)


def calls() -> Iterator[Call]:
    for router in ROUTERS:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            for method in sorted(route.methods or ()):
                yield Call(method, route.path)


ALL = sorted(set(calls()))
GUARDED = [call for call in ALL if call.needs is not None]
ALLOWS = {
    "admin": {"admin", "write", "read"},
    "write": {"write", "read"},
    "read": {"read"},
    "ingest": {"ingest"},
    "probe": set[str](),
}


def test_every_path_of_the_document_is_asked() -> None:
    documented = {
        (method.upper(), path) for path, operations in openapi_document()["paths"].items() for method in operations
    }
    assert documented <= set(ALL)
    assert set(ALL) - documented == {
        ("GET", "/docs"),
        ("GET", "/openapi.json"),
        ("HEAD", "/health/live"),
        ("HEAD", "/health/ready"),
    }


@pytest.mark.parametrize("call", GUARDED, ids=" ".join)
async def test_each_route_asks_for_its_scope(asking: Asking, keys: Keys, call: Call) -> None:
    for client in (asking(), asking(bearing("tcs_" + "x" * 40)), asking({"X-API-Key": "nonsense"})):
        # A body that cannot be read: nobody gets as far as being told.
        answer = await client.request(call.method, call.address, content=b"{")
        assert answer.status_code == 401, answer.text
        assert answer.headers["www-authenticate"] == "Bearer"
        assert fields_of(answer) == []
    for scope, allowed in ALLOWS.items():
        client = asking(bearing(getattr(keys, scope)))
        answer = await client.request(call.method, call.address, json={})
        if call.needs in allowed:
            assert answer.status_code != 401
            # An API key has no password to change; that is not a matter of scopes.
            assert answer.status_code != 403 or call.path == "/v1/settings/password"
        else:
            assert answer.status_code == 403
            assert fields_of(answer) == []


@pytest.mark.parametrize("call", sorted(OPEN))
async def test_what_is_open_asks_for_nothing(nobody: Client, call: tuple[str, str]) -> None:
    method, path = call
    answer = await nobody.request(method, path.replace("{token}", "x").replace("{signal}", "start"))
    assert answer.status_code not in (401, 403)


async def test_a_wrong_key_is_not_rescued_by_a_cookie(person: Client) -> None:
    answer = await person.get("/v1/session", headers=bearing("tcs_" + "x" * 40))
    assert answer.status_code == 401


async def test_keys_are_shown_once_and_end_when_revoked(owner: Client, asking: Asking, clock: FakeClock) -> None:
    answer = await owner.post("/v1/keys", json={"name": "deploy job", "scopes": ["ingest", "read"]})
    assert answer.status_code == 201
    made = answer.json()
    assert re.fullmatch(r"tcs_[A-Za-z0-9_-]{40}", made["key"])
    assert made["key"].startswith(made["prefix"])
    assert made["scopes"] == ["read", "ingest"]
    assert made["last_used_at"] is None

    user = asking(bearing(made["key"]))
    assert (await user.get("/v1/session")).json() == {"user": {"name": "deploy job", "scopes": ["read", "ingest"]}}
    assert (await user.post("/v1/targets", json={})).status_code == 403

    listed = await owner.get("/v1/keys")
    assert made["key"] not in listed.text
    (entry,) = [key for key in listed.json()["items"] if key["id"] == made["id"]]
    assert entry["last_used_at"] == "2027-01-15T08:00:00.000Z"
    clock.tick(59)
    await user.get("/v1/session")
    clock.tick(2)
    await user.get("/v1/session")
    (entry,) = [key for key in (await owner.get("/v1/keys")).json()["items"] if key["id"] == made["id"]]
    assert entry["last_used_at"] == "2027-01-15T08:01:01.000Z"

    assert (await owner.delete(f"/v1/keys/{made['id']}")).status_code == 204
    assert (await user.get("/v1/session")).status_code == 401
    assert (await owner.delete(f"/v1/keys/{made['id']}")).status_code == 404


async def test_keys_come_page_by_page(owner: Client, keys: Keys) -> None:
    first = (await owner.get("/v1/keys?limit=3")).json()
    second = (await owner.get("/v1/keys", params={"limit": 3, "cursor": first["next"]})).json()
    assert len(first["items"]) + len(second["items"]) == 5
    assert second["next"] is None


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"name": "x", "scopes": []}, "scopes"),
        ({"name": "x", "scopes": ["root"]}, "scopes.0"),
        ({"name": "", "scopes": ["read"]}, "name"),
        ({"name": "a\nb", "scopes": ["read"]}, "name"),
        ({"scopes": ["read"]}, "name"),
        ({"name": 7, "scopes": ["read"]}, "name"),
        ({"name": "x", "scopes": ["read"], "admin": True}, "admin"),
    ],
)
async def test_a_wrong_key_wish_is_refused_by_name(owner: Client, body: dict[str, object], wrong: str) -> None:
    answer = await owner.post("/v1/keys", json=body)
    assert answer.status_code == 422
    assert fields_of(answer) == [wrong]


# ── people ────────────────────────────────────────────────────────────────────────────────────────────


async def test_signing_in_and_out(asking: Asking) -> None:
    client = asking({"X-Tocsin-Request": "1"})
    answer = await client.post("/v1/session", json={"name": "admin", "password": PASSWORD})
    assert answer.status_code == 200
    assert answer.json() == {"user": {"name": "admin", "scopes": ["admin"]}}
    cookie = answer.headers["set-cookie"]
    assert re.match(r"tocsin_session=[A-Za-z0-9_-]{43}; HttpOnly; Max-Age=2592000; Path=/; SameSite=lax$", cookie)
    assert (await client.get("/v1/session")).json() == answer.json()
    token = client.cookies["tocsin_session"]
    assert (await client.delete("/v1/session")).status_code == 204
    client.cookies.set("tocsin_session", token)
    assert (await client.get("/v1/session")).status_code == 401


async def test_the_cookie_is_for_https_only_where_there_is_https(asking: Asking, app: FastAPI) -> None:
    answer = await asking().post("https://tocsin.test/v1/session", json={"name": "admin", "password": PASSWORD})
    assert "; Secure" in answer.headers["set-cookie"]


@pytest.mark.parametrize(("name", "password"), [("admin", "wrong"), ("nobody", PASSWORD), ("", ""), ("admin", "")])
async def test_a_wrong_sign_in_says_no_more_than_that(nobody: Client, name: str, password: str) -> None:
    answer = await nobody.post("/v1/session", json={"name": name, "password": password})
    assert answer.status_code == 401
    assert answer.json()["detail"] == "The name or the password is wrong."
    assert "set-cookie" not in answer.headers


async def test_guessing_is_slowed_down(nobody: Client, clock: FakeClock) -> None:
    for _ in range(10):
        answer = await nobody.post("/v1/session", json={"name": "admin", "password": "wrong"})
        assert answer.status_code == 401
        clock.tick(1)
    for password in ("wrong", PASSWORD):
        answer = await nobody.post("/v1/session", json={"name": "admin", "password": password})
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "290"
    clock.tick(291)
    answer = await nobody.post("/v1/session", json={"name": "admin", "password": PASSWORD})
    assert answer.status_code == 200


async def test_failing_as_admin_does_not_keep_admin_out(app: FastAPI, asking: Asking) -> None:
    def coming_from(address: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app, client=(address, 1))
        return httpx.AsyncClient(transport=transport, base_url="http://tocsin.test")

    async with coming_from("192.0.2.66") as mallory, coming_from("192.0.2.1") as admin:
        for _ in range(12):
            refused = await mallory.post("/v1/session", json={"name": "admin", "password": "wrong"})
        assert refused.status_code == 429
        answer = await admin.post("/v1/session", json={"name": "admin", "password": PASSWORD})
        assert answer.status_code == 200


async def test_a_session_slides_and_ends(person: Client, clock: FakeClock) -> None:
    for _ in range(3):
        clock.tick(29 * 86_400)
        assert (await person.get("/v1/session")).status_code == 200
    clock.tick(30 * 86_400)
    assert (await person.get("/v1/session")).status_code == 401


async def test_a_new_password_ends_other_sessions(person: Client, asking: Asking) -> None:
    other = asking()
    await other.post("/v1/session", json={"name": "admin", "password": PASSWORD})
    assert (await other.get("/v1/session")).status_code == 200

    wrong = await person.post("/v1/settings/password", json={"current": "wrong", "new": "another password"})
    assert (wrong.status_code, fields_of(wrong)) == (422, ["current"])
    short = await person.post("/v1/settings/password", json={"current": PASSWORD, "new": "short"})
    assert (short.status_code, fields_of(short)) == (422, ["new"])
    done = await person.post("/v1/settings/password", json={"current": PASSWORD, "new": "another password"})
    assert done.status_code == 204

    assert (await person.get("/v1/session")).status_code == 200
    assert (await other.get("/v1/session")).status_code == 401
    old = await other.post("/v1/session", json={"name": "admin", "password": PASSWORD})
    assert old.status_code == 401
    new = await other.post("/v1/session", json={"name": "admin", "password": "another password"})
    assert new.status_code == 200


async def test_a_key_has_no_password(owner: Client) -> None:
    answer = await owner.post("/v1/settings/password", json={"current": PASSWORD, "new": "another password"})
    assert answer.status_code == 403


# ── forgery ───────────────────────────────────────────────────────────────────────────────────────────

KEY = {"name": "x", "scopes": ["read"]}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://tocsin.test.evil.example"}, 403),
        ({"Origin": "http://tocsin.test:81"}, 403),
        ({"Origin": "http://["}, 403),
        ({"X-Tocsin-Request": "0"}, 403),
        ({"Origin": "http://tocsin.test"}, 201),
        ({"Origin": "http://tocsin.test:80"}, 201),
        ({"X-Tocsin-Request": "1"}, 201),
    ],
)
async def test_a_change_by_cookie_must_come_from_our_page(person: Client, headers: dict[str, str], status: int) -> None:
    del person.headers["X-Tocsin-Request"]
    answer = await person.post("/v1/keys", json=KEY, headers=headers)
    assert answer.status_code == status
    assert (await person.get("/v1/keys", headers=headers)).status_code == 200


async def test_a_change_by_key_needs_no_such_thing(owner: Client) -> None:
    assert (await owner.post("/v1/keys", json=KEY, headers={"Origin": "https://evil.example"})).status_code == 201


async def test_nobody_is_signed_in_by_another_page(nobody: Client) -> None:
    answer = await nobody.post(
        "/v1/session",
        json={"name": "admin", "password": PASSWORD},
        headers={"Origin": "https://evil.example"},
    )
    assert answer.status_code == 403


async def test_other_sites_are_told_nothing(owner: Client) -> None:
    answer = await owner.get("/v1/keys", headers={"Origin": "https://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    preflight = await owner.options(
        "/v1/keys", headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    )
    assert preflight.status_code == 405
