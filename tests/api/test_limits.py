"""Around every request: sizes, methods, headers, and what is said when the database is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import NoReturn

import pytest
from fastapi import FastAPI

from tests.api.conftest import Client, fields_of
from tocsin.api.limits import LARGEST_BODY_BYTES
from tocsin.store.engine import Store, StoreUnavailable


async def test_a_body_announced_as_too_large_is_not_read(app: FastAPI) -> None:
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        raise AssertionError("nothing of it is read")

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/targets",
        "raw_path": b"/v1/targets",
        "query_string": b"",
        "headers": [(b"content-length", b"10000000")],
    }
    await app(scope, receive, send)  # type: ignore[arg-type]
    assert sent[0]["status"] == 413


async def test_a_body_that_grows_too_large_is_cut_off(member: Client) -> None:
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        for _ in range(1000):
            given += 10_000
            yield b"x" * 10_000

    answer = await member.post("/v1/targets", content=endless(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    fields_of(answer)


async def test_a_body_just_small_enough_is_read(member: Client) -> None:
    body = b'"' + b"x" * (LARGEST_BODY_BYTES - 2) + b'"'
    answer = await member.post("/v1/targets", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", "/v1/keys"),
        ("DELETE", "/v1/targets"),
        ("POST", "/v1/overview"),
        ("POST", "/"),
        ("PUT", "/health/live"),
    ],
)
async def test_a_wrong_method_says_which_are_right(owner: Client, method: str, path: str) -> None:
    answer = await owner.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"]
    fields_of(answer)


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1", "/v1/targets/", "/health", "/ping", "/assets/none.js"])
async def test_nothing_is_a_problem_too(owner: Client, path: str) -> None:
    answer = await owner.get(path)
    assert answer.status_code == 404
    fields_of(answer)


@pytest.mark.parametrize("path", ["/", "/v1/keys", "/v1/nothing", "/health/live", "/targets/7"])
async def test_every_answer_tells_the_browser_how_to_behave(nobody: Client, path: str) -> None:
    headers = (await nobody.get(path)).headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "script-src 'self';" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    assert "cache-control" in headers


def raising(error: Exception) -> Callable[[], NoReturn]:
    def fail() -> NoReturn:
        raise error

    return fail


async def test_an_error_of_ours_tells_nothing_of_our_insides(
    owner: Client, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "read", raising(RuntimeError("the inside of the house")))
    answer = await owner.get("/v1/targets")
    assert answer.status_code == 500
    assert "inside" not in answer.text
    fields_of(answer)


async def test_a_lost_database_is_said_and_passes(
    owner: Client, nobody: Client, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(store, "read", raising(StoreUnavailable("connection refused: 10.0.0.7")))
        answer = await owner.get("/v1/targets")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "2"
        assert "10.0.0.7" not in answer.text
        fields_of(answer)
        assert (await nobody.get("/health/live")).status_code == 200
        ready = await nobody.get("/health/ready")
        assert (ready.status_code, ready.json()["database"]) == (503, "unavailable")
    assert (await owner.get("/v1/targets")).status_code == 200
    assert (await nobody.get("/health/ready")).json() == {
        "status": "ready",
        "database": "ok",
        "schema_state": "current",
        "detail": "",
    }


async def test_a_database_locked_by_another_is_busy(owner: Client, store: Store) -> None:
    with store.write():
        answer = await owner.post("/v1/keys", json={"name": "x", "scopes": ["read"]})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "2"
    assert (await owner.post("/v1/keys", json={"name": "x", "scopes": ["read"]})).status_code == 201


async def test_readiness_does_not_wait_for_a_stalled_database(
    nobody: Client, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    stalled = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stall() -> str:
        asyncio.run_coroutine_threadsafe(stalled.wait(), loop).result(30)
        return "current"

    monkeypatch.setattr(store, "schema_state", stall)
    monkeypatch.setattr("tocsin.health.READY_WITHIN_S", 0.05)
    answer = await nobody.get("/health/ready")
    assert (answer.status_code, answer.json()["database"]) == (503, "slow")
    stalled.set()
