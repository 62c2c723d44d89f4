"""The whole API on a temporary database, a clock turned by hand, and people of every kind to ask it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.clocks import FakeClock
from tocsin.api.app import create_app
from tocsin.api.context import ApiContext
from tocsin.bus.memory import MemoryBus
from tocsin.catalog import access, rules
from tocsin.lib.net import Network
from tocsin.lib.vault import Vault
from tocsin.pipeline import Pipeline
from tocsin.store import locations
from tocsin.store.engine import Store

PASSWORD = "correct horse battery staple"
NOW_MS = 1_800_000_000_000
"""2027-01-15T08:00:00.000Z"""


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("api") / "migrated.db"
    store = Store(f"sqlite:///{path}")
    store.migrate()
    with store.write() as conn:
        access.ensure_admin(conn, password=PASSWORD, now_ms=NOW_MS)
        locations.ensure(conn, "local")
        rules.ensure_default_rule(conn, now_ms=NOW_MS)
    store.close()
    return path


@pytest.fixture
def store(migrated: Path, tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{shutil.copy(migrated, tmp_path / 'tocsin.db')}", busy_timeout_s=0.3)
    yield opened
    opened.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW_MS)


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus()


@pytest.fixture
def vault() -> Vault:
    return Vault("a key for tests, long enough")


@pytest.fixture
def pipeline(store: Store, bus: MemoryBus, clock: FakeClock) -> Pipeline:
    return Pipeline(store, bus, clock)


def loopback_network() -> AbstractAsyncContextManager[Network]:
    return Network.open(allowed_networks=[ip_network("127.0.0.0/8"), ip_network("::1/128")])


@pytest.fixture
def web_dir(tmp_path: Path) -> Path:
    """Where the built web app would be; empty."""
    return tmp_path / "web"


@pytest.fixture
def context(
    store: Store, vault: Vault, clock: FakeClock, bus: MemoryBus, pipeline: Pipeline, web_dir: Path
) -> ApiContext:
    return ApiContext(
        store=store,
        vault=vault,
        clock=clock,
        bus=bus,
        pipeline=pipeline,
        network=loopback_network,
        started_ms=NOW_MS,
        web_dir=web_dir,
    )


@pytest.fixture
def app(context: ApiContext) -> FastAPI:
    return create_app(context)


@asynccontextmanager
async def started(app: FastAPI) -> AsyncIterator[FastAPI]:
    """What a server does before the first request and after the last."""
    async with app.router.lifespan_context(app):
        yield app


Client = httpx.AsyncClient
Asking = Callable[..., Client]


@pytest.fixture
async def asking(app: FastAPI) -> AsyncIterator[Asking]:
    """``asking(headers)`` makes a client with these headers; without any it is nobody."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(started(app))
        clients = []

        def client(headers: dict[str, str] | None = None) -> Client:
            made = httpx.AsyncClient(
                transport=httpx.ASGITransport(app, raise_app_exceptions=False),
                base_url="http://tocsin.test",
                headers=headers,
            )
            clients.append(made)
            return made

        yield client
        for made in clients:
            await made.aclose()


@dataclass(frozen=True, slots=True)
class Keys:
    """One key of each scope."""

    admin: str
    write: str
    read: str
    ingest: str
    probe: str


@pytest.fixture
def keys(store: Store) -> Keys:
    made: dict[str, str] = {}
    with store.write() as conn:
        for scope in ("admin", "write", "read", "ingest", "probe"):
            _, made[scope] = access.create_key(conn, name=f"{scope} key", scopes=[scope], now_ms=NOW_MS)
    return Keys(**made)


def bearing(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def nobody(asking: Asking) -> Client:
    return asking()


@pytest.fixture
def outsider(asking: Asking, keys: Keys) -> Client:
    """May read."""
    return asking(bearing(keys.read))


@pytest.fixture
def member(asking: Asking, keys: Keys) -> Client:
    """May read and write."""
    return asking(bearing(keys.write))


@pytest.fixture
def owner(asking: Asking, keys: Keys) -> Client:
    """May do everything."""
    return asking(bearing(keys.admin))


@pytest.fixture
async def person(asking: Asking) -> Client:
    """Signed in as ``admin``, with the cookie."""
    client = asking({"X-Tocsin-Request": "1"})
    answer = await client.post("/v1/session", json={"name": "admin", "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return client


HTTP_TARGET: dict[str, Any] = {"name": "shop", "kind": "http", "url": "http://127.0.0.1:9/health"}


async def make_target(client: Client, **fields: Any) -> dict[str, Any]:
    answer = await client.post("/v1/targets", json=HTTP_TARGET | fields)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def fields_of(answer: httpx.Response) -> list[str]:
    """Which fields a problem names; and that it is one, and no other."""
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document.keys() == {"type", "title", "status", "detail", "errors"}
    assert document["status"] == answer.status_code
    return [error["field"] for error in document["errors"]]
