"""Health and metrics without the API: the same answers, from a plain ASGI application."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tocsin.catalog import access
from tocsin.health import Health, LoneReadiness, Readiness
from tocsin.store.engine import Store, StoreUnavailable

NOW_MS = 1_800_000_000_000


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("health") / "migrated.db"
    store = Store(f"sqlite:///{path}")
    store.migrate()
    store.close()
    return path


@pytest.fixture
def store(migrated: Path, tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{shutil.copy(migrated, tmp_path / 'tocsin.db')}")
    yield opened
    opened.close()


class Lacking:
    """What a service says it lacks."""

    def __init__(self) -> None:
        self.sentence = ""

    def __call__(self) -> str:
        return self.sentence


@pytest.fixture
def lacking() -> Lacking:
    return Lacking()


@pytest.fixture
async def nobody(store: Store, lacking: Lacking) -> AsyncIterator[httpx.AsyncClient]:
    readiness = Readiness(store, lacking)

    def identify(key: str) -> access.Identity | None:
        with store.read() as conn:
            return access.identify_key(conn, key, now_ms=NOW_MS)

    health = Health(readiness=readiness, identify=identify, metrics_public=False)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(health), base_url="http://tocsin.test") as client:
        yield client
    health.close()
    readiness.close()


def key_of(store: Store, scope: str) -> str:
    with store.write() as conn:
        return access.create_key(conn, name=scope, scopes=[scope], now_ms=NOW_MS)[1]


async def test_it_lives(nobody: httpx.AsyncClient) -> None:
    answer = await nobody.get("/health/live")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    head = await nobody.head("/health/live")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == answer.headers["content-length"]


async def test_it_is_ready_when_the_database_answers(nobody: httpx.AsyncClient) -> None:
    answer = await nobody.get("/health/ready")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "database": "ok", "schema_state": "current", "detail": ""}


async def test_it_is_not_ready_while_a_service_lacks_something(nobody: httpx.AsyncClient, lacking: Lacking) -> None:
    lacking.sentence = "This worker has no targets yet."
    answer = await nobody.get("/health/ready")
    assert (answer.status_code, answer.json()["detail"]) == (503, lacking.sentence)
    lacking.sentence = ""
    assert (await nobody.get("/health/ready")).status_code == 200


async def test_it_is_not_ready_without_its_database(
    nobody: httpx.AsyncClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone() -> str:
        raise StoreUnavailable("the database cannot be reached: gone")

    monkeypatch.setattr(store, "schema_state", gone)
    answer = await nobody.get("/health/ready")
    assert (answer.status_code, answer.json()["database"]) == (503, "unavailable")
    assert (await nobody.get("/health/live")).status_code == 200


async def test_metrics_need_a_key_that_may_read(nobody: httpx.AsyncClient, store: Store) -> None:
    refused = await nobody.get("/metrics")
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    assert refused.headers["content-type"] == "application/problem+json"
    ingest, read = key_of(store, "ingest"), key_of(store, "read")
    assert (await nobody.get("/metrics", headers={"X-API-Key": ingest})).status_code == 403
    assert (await nobody.get("/metrics", headers={"Authorization": "Bearer nonsense"})).status_code == 401
    for headers in ({"X-API-Key": read}, {"Authorization": f"Bearer {read}"}):
        answer = await nobody.get("/metrics", headers=headers)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=")
        assert "process_resident_memory_bytes" in answer.text


@pytest.mark.parametrize(("metrics_public", "status"), [(True, 200), (False, 403)])
async def test_without_a_database_metrics_are_for_everybody_or_nobody(
    lacking: Lacking, metrics_public: bool, status: int
) -> None:
    health = Health(readiness=LoneReadiness(lacking), identify=None, metrics_public=metrics_public)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(health), base_url="http://tocsin.test") as client:
        assert (await client.get("/metrics", headers={"X-API-Key": "tcs_any"})).status_code == status
        assert (await client.get("/health/ready")).json() == {"status": "ready", "detail": ""}
        lacking.sentence = "The worker has no lease yet."
        answer = await client.get("/health/ready")
        assert (answer.status_code, answer.json()["detail"]) == (503, lacking.sentence)
    health.close()


async def test_nothing_else_is_there(nobody: httpx.AsyncClient) -> None:
    assert (await nobody.get("/v1/targets")).status_code == 404
    assert (await nobody.post("/health/live")).status_code == 405
