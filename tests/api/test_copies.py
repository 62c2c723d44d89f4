"""Several copies of the API on one database: whichever is asked knows what any other was told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from fastapi import FastAPI

from tests.api.conftest import HTTP_TARGET, NOW_MS, PASSWORD, Client, bearing, fields_of, loopback_network, make_target
from tests.api.conftest import started as started_app
from tests.api.test_history import seen
from tests.clocks import FakeClock
from tocsin.api.app import create_app
from tocsin.api.context import ApiContext
from tocsin.bus.memory import MemoryBus
from tocsin.catalog import access, rules
from tocsin.core.outcome import Result
from tocsin.lib.vault import Vault
from tocsin.pipeline import Pipeline
from tocsin.store import locations
from tocsin.store.engine import Store


class Copies(NamedTuple):
    """Two copies with a client of each, who may do everything. Their buses hear nothing of each other."""

    apps: Sequence[FastAPI]
    one: Client
    other: Client
    pipeline: Pipeline


def client_of(app: FastAPI, headers: dict[str, str]) -> Client:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://tocsin.test", headers=headers)


@pytest.fixture
def stores(postgres_url: str) -> Iterator[list[Store]]:
    opened = [Store(postgres_url), Store(postgres_url)]
    with opened[0].write() as conn:
        access.ensure_admin(conn, password=PASSWORD, now_ms=NOW_MS)
        rules.ensure_default_rule(conn, now_ms=NOW_MS)
        locations.ensure(conn, "local")
    yield opened
    for store in opened:
        store.close()


@pytest.fixture
async def copies(stores: list[Store], clock: FakeClock, tmp_path: Path) -> AsyncIterator[Copies]:
    with stores[0].write() as conn:
        _, key = access.create_key(conn, name="both", scopes=["admin"], now_ms=NOW_MS)
    async with AsyncExitStack() as stack:
        apps: list[FastAPI] = []
        for number, store in enumerate(stores):
            bus = MemoryBus()
            context = ApiContext(
                store=store,
                vault=Vault("a key for tests, long enough"),
                clock=clock,
                bus=bus,
                pipeline=Pipeline(store, bus, clock),
                network=loopback_network,
                started_ms=NOW_MS - number * 60_000,
                web_dir=tmp_path / "web",
            )
            apps.append(await stack.enter_async_context(started_app(create_app(context))))
        one, other = [await stack.enter_async_context(client_of(app, bearing(key))) for app in apps]
        yield Copies(apps, one, other, context.pipeline)


async def test_what_one_is_told_the_other_answers(copies: Copies) -> None:
    made = await make_target(copies.one, locations=["fra"], tags=["shop"])
    path = f"/v1/targets/{made['id']}"
    assert (await copies.other.get(path)).json() == made
    paused = (await copies.other.post(f"{path}/pause")).json()
    assert (await copies.one.get(path)).json() == paused
    assert (await copies.one.get("/v1/tags")).json()["items"] == [{"name": "shop", "targets": 1}]
    assert (await copies.one.delete(path)).status_code == 204
    assert (await copies.other.get(path)).status_code == 404


async def test_what_one_has_answered_is_current_for_the_other(copies: Copies) -> None:
    made = await make_target(copies.one)
    copies.pipeline.write([seen(made["id"], NOW_MS, Result.PASSED)])
    path = f"/v1/targets/{made['id']}"
    for asked in ("/v1/targets?expand=summary,locations", path, f"{path}/summary", "/v1/kinds", "/v1/uptime"):
        tag = (await copies.one.get(asked)).headers["etag"]
        again = await copies.other.get(asked, headers={"If-None-Match": tag})
        assert again.status_code == 304, asked
    await copies.one.patch(path, json={"interval_s": 300})
    changed = await copies.other.get(path, headers={"If-None-Match": tag})
    assert (changed.status_code, changed.json()["interval_s"]) == (200, 300)


async def test_pages_go_on_at_the_other(copies: Copies) -> None:
    for name in "abcd":
        await make_target(copies.one, name=name)
    first = (await copies.one.get("/v1/targets?limit=2")).json()
    rest = (await copies.other.get("/v1/targets", params={"cursor": first["next"]})).json()
    assert [target["name"] for target in first["items"] + rest["items"]] == ["a", "b", "c", "d"]


async def test_who_signs_in_at_one_is_known_to_the_other_until_signed_out(copies: Copies) -> None:
    one, other = [client_of(app, {"X-Tocsin-Request": "1"}) for app in copies.apps]
    async with one, other:
        signed_in = await one.post("/v1/session", json={"name": "admin", "password": PASSWORD})
        other.cookies = signed_in.cookies
        assert (await other.get("/v1/session")).json()["user"]["name"] == "admin"
        assert (await other.post("/v1/targets", json=HTTP_TARGET)).status_code == 201
        assert (await other.delete("/v1/session")).status_code == 204
        assert (await one.get("/v1/session")).status_code == 401


async def test_a_key_revoked_at_one_is_refused_by_the_other(copies: Copies) -> None:
    made = (await copies.one.post("/v1/keys", json={"name": "job", "scopes": ["read"]})).json()
    user = bearing(made["key"])
    assert (await copies.other.get("/v1/session", headers=user)).status_code == 200
    assert (await copies.one.delete(f"/v1/keys/{made['id']}")).status_code == 204
    assert (await copies.other.get("/v1/session", headers=user)).status_code == 401


# ── at once ───────────────────────────────────────────────────────────────────────────────────────────


async def both(copies: Copies, *calls: tuple[str, str, dict[str, Any]]) -> list[httpx.Response]:
    """The calls, every other one at the other copy, all at once."""
    return await asyncio.gather(
        *(
            (copies.one, copies.other)[number % 2].request(method, path, json=body)
            for number, (method, path, body) in enumerate(calls)
        )
    )


async def test_changes_of_one_target_at_once_are_all_kept(copies: Copies) -> None:
    made = await make_target(copies.one)
    path = f"/v1/targets/{made['id']}"
    changes: list[dict[str, Any]] = [
        {"interval_s": 300},
        {"description": "why"},
        {"tags": ["a"]},
        {"group": "web"},
        {"locations": ["fra", "nyc"]},
        {"quorum": "any"},
    ]
    answers = await both(copies, *(("PATCH", path, change) for change in changes))
    assert [answer.status_code for answer in answers] == [200] * len(changes)
    found = (await copies.one.get(path)).json()
    for change in changes:
        assert found.items() >= change.items()


async def test_targets_made_at_once_have_names_of_their_own(copies: Copies) -> None:
    """In addresses; and the locations that they name are made once."""
    wish = HTTP_TARGET | {"locations": ["fra", "nyc", "syd"]}
    answers = await both(copies, *(("POST", "/v1/targets", wish) for _ in range(6)))
    assert sorted(answer.json()["slug"] for answer in answers) == ["shop", *(f"shop-{n}" for n in range(2, 7))]
    listed = (await copies.one.get("/v1/locations")).json()["items"]
    assert {one["name"]: one["targets"] for one in listed} == {"fra": 6, "local": 0, "nyc": 6, "syd": 6}


async def test_no_circle_comes_about_between_two(copies: Copies) -> None:
    first, second = [(await make_target(copies.one))["id"] for _ in range(2)]
    answers = await both(
        copies,
        ("PATCH", f"/v1/targets/{first}", {"depends_on": [second]}),
        ("PATCH", f"/v1/targets/{second}", {"depends_on": [first]}),
    )
    refused = [answer for answer in answers if answer.status_code != 200]
    assert len(refused) == 1
    assert (refused[0].status_code, fields_of(refused[0])) == (422, ["depends_on.0"])
