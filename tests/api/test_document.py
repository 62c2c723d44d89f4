"""What the API says of itself is true: generated requests meet no error of ours, and every answer is as documented."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
import uvicorn
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
)

from tests.api.conftest import NOW_MS
from tests.api.reporting import Reporters
from tests.api.test_history import seen
from tests.clocks import FakeClock
from tocsin.api.app import create_app, openapi_document
from tocsin.api.context import ApiContext
from tocsin.bus.memory import MemoryBus
from tocsin.catalog import access
from tocsin.core.outcome import Result
from tocsin.lib.net import Network
from tocsin.lib.vault import Vault
from tocsin.pipeline import Pipeline
from tocsin.store.engine import Store

DOCUMENT = openapi_document()
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
NOT_GENERATED = {
    # These reach out to whatever address was generated; they have tests of their own.
    "try_target",
    "try_channel",
    "try_unsaved_channel",
    # Ten failures close the door for the rest.
    "sign_in",
}
OPERATIONS = sorted(
    (path, method, operation["operationId"])
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
    if operation["operationId"] not in NOT_GENERATED
)
EXAMPLES = 5


class Served:
    def __init__(self, address: str, key: str) -> None:
        self.address = address
        self.session = requests.Session()
        self.session.headers["X-API-Key"] = key


@pytest.fixture(scope="module")
def served(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A real server with one of everything in it."""
    place = tmp_path_factory.mktemp("document")
    store = Store(f"sqlite:///{shutil.copy(migrated, place / 'tocsin.db')}")
    bus, clock = MemoryBus(), FakeClock(NOW_MS)
    pipeline = Pipeline(store, bus, clock)
    with store.write() as conn:
        _, key = access.create_key(conn, name="generated", scopes=["admin"], now_ms=NOW_MS)
    context = ApiContext(
        store=store,
        vault=Vault("a key for tests, long enough"),
        clock=clock,
        bus=bus,
        pipeline=pipeline,
        network=lambda: Network.open(blocked_networks=[ip_network("0.0.0.0/0"), ip_network("::/0")]),
        started_ms=NOW_MS,
        web_dir=place / "web",
    )
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(context), ws="none", log_config=None))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        served = Served(f"http://127.0.0.1:{listener.getsockname()[1]}", key)
        for _ in range(1000):
            if server.started:
                break
            time.sleep(0.01)
        _fill(served)
        pipeline.write([seen(1, NOW_MS + number, Result(number % 4)) for number in range(8)])
        reporters = Reporters(store, pipeline, clock, bus)
        processes = [{"pid": 7, "name": "postgres", "user": "postgres", "cpu": 1.5, "memory_bytes": 4096}]
        reporters.report(reporters.add("db-1", tags=["a"]), processes=processes)
        yield served
    finally:
        server.should_exit = True
        thread.join()
        served.session.close()
        listener.close()
        store.close()


def _fill(served: Served) -> None:
    wishes: list[tuple[str, dict[str, Any]]] = [
        ("/v1/targets", {"name": "shop", "kind": "http", "url": "http://127.0.0.1/", "tags": ["a"], "group": "web"}),
        ("/v1/targets", {"name": "backup", "kind": "heartbeat", "period_s": 60}),
        ("/v1/channels", {"name": "on call", "kind": "webhook", "url": "http://127.0.0.1/"}),
        ("/v1/rules", {"name": "shop", "tags": ["a"], "channel_ids": [1]}),
    ]
    for path, wish in wishes:
        answer = served.session.post(served.address + path, json=wish)
        assert answer.status_code == 201, answer.text


def test_every_operation_is_described_in_words_and_examples() -> None:
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    ids = []
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            assert set(operation["tags"]) <= tags
            ids.append(operation["operationId"])
            assert ("security" in operation) == ("x-scope" in operation)
            for media in operation.get("requestBody", {}).get("content", {}).values():
                assert media.get("examples") or _has_examples(media["schema"]), (method, path)
    assert len(ids) == len(set(ids))
    assert "HTTPValidationError" not in DOCUMENT["components"]["schemas"]


def _has_examples(schema: dict[str, Any]) -> bool:
    named = [schema, *schema.get("anyOf", ())]
    models = DOCUMENT["components"]["schemas"]
    return any(models[one["$ref"].rsplit("/", 1)[-1]].get("examples") for one in named if "$ref" in one)


@pytest.mark.parametrize(("path", "method", "name"), OPERATIONS, ids=[name for _, _, name in OPERATIONS])
def test_answers_are_as_documented(served: Served, path: str, method: str, name: str) -> None:
    operation = SCHEMA[path][method]

    @given(case=operation.as_strategy())
    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    def ask(case: schemathesis.Case[Any]) -> None:
        for parameter in ("target_id", "channel_id", "rule_id", "machine_id"):
            if parameter in case.path_parameters:
                case.path_parameters[parameter] = 1
        case.call_and_validate(
            base_url=served.address,
            session=served.session,
            checks=[
                not_a_server_error,
                status_code_conformance,
                content_type_conformance,
                response_schema_conformance,
            ],
        )

    ask()
