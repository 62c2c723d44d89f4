"""OTLP over HTTP: in every form it may come, and in every form it may not."""

from __future__ import annotations

import base64
import gzip
import json
import random
import zlib
from collections.abc import AsyncIterator, Iterator, MutableMapping
from typing import Any

import httpx
import pytest
import structlog
from fastapi import FastAPI
from google.protobuf import json_format
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from tests.api.conftest import NOW_MS, PASSWORD, Asking, Client, Keys, bearing
from tests.clocks import FakeClock
from tests.otlp.hostmetrics import Host, metrics
from tocsin.admission import SURE_S
from tocsin.api.otlp import LARGEST_JSON_BYTES, MOST_MEMBERS
from tocsin.otlp import door
from tocsin.store import machines
from tocsin.store.engine import Store, StoreUnavailable

PATH = "/v1/metrics"
PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}
GZIP = {"Content-Encoding": "gzip"}
EXPORT = Host().export(NOW_MS)
BODY = EXPORT.SerializeToString()


@pytest.fixture
def sender(asking: Asking, keys: Keys) -> Client:
    return asking(bearing(keys.ingest))


async def sent(client: Client, body: bytes, *headers: dict[str, str]) -> httpx.Response:
    merged = {key: value for one in headers for key, value in one.items()}
    return await client.post(PATH, content=body, headers=merged)


def stored(store: Store) -> list[tuple[str, int]]:
    """Machines by name, and how many layouts are new of each."""
    with store.read() as conn:
        return [(row.name, len(machines.now_of(conn, [row.id]))) for row in machines.every(conn)]


def answered(answer: httpx.Response) -> ExportMetricsServiceResponse:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-protobuf"
    return ExportMetricsServiceResponse.FromString(answer.content)


def refused(answer: httpx.Response, status: int) -> Status:
    assert answer.status_code == status, answer.text
    if answer.headers["content-type"] == "application/json":
        return json_format.Parse(answer.content, Status())
    assert answer.headers["content-type"] == "application/x-protobuf"
    return Status.FromString(answer.content)


def as_json(export: ExportMetricsServiceRequest = EXPORT) -> bytes:
    """As OTLP writes it: numbers for the names of enums."""
    return json_format.MessageToJson(export, use_integers_for_enums=True).encode()


# ── what is taken ─────────────────────────────────────────────────────────────────────────────────────


async def test_protobuf_is_stored_and_answered_with_nothing(sender: Client, store: Store) -> None:
    answer = await sent(sender, BODY, PROTOBUF)
    assert not answered(answer).HasField("partial_success")
    assert stored(store) == [("web-1", 1)]


async def test_gzip_too_also_in_several_pieces(sender: Client, store: Store) -> None:
    answered(await sent(sender, gzip.compress(BODY), PROTOBUF, GZIP))
    answered(await sent(sender, gzip.compress(BODY[:100]) + gzip.compress(BODY[100:]), PROTOBUF, GZIP))
    assert stored(store) == [("web-1", 1)]


async def test_json_is_answered_in_json(sender: Client, store: Store) -> None:
    for headers in ([JSON], [{"Content-Type": "application/json; charset=utf-8"}, GZIP]):
        body = as_json()
        answer = await sent(sender, gzip.compress(body) if GZIP in headers else body, *headers)
        assert (answer.status_code, answer.headers["content-type"], answer.json()) == (200, "application/json", {})
    assert stored(store) == [("web-1", 1)]


async def test_json_with_fields_that_are_not_known_is_read_without_them(sender: Client, store: Store) -> None:
    document = json.loads(as_json())
    document["newField"] = {"deep": [1, 2]}
    document["resourceMetrics"][0]["resource"]["entityRefs2"] = []
    answer = await sent(sender, json.dumps(document).encode(), JSON)
    assert answer.status_code == 200
    assert stored(store) == [("web-1", 1)]


async def test_an_export_of_nothing_is_fine(sender: Client) -> None:
    assert answered(await sent(sender, b"", PROTOBUF)) == ExportMetricsServiceResponse()
    assert (await sent(sender, b"{}", JSON)).json() == {}


async def test_either_header_may_carry_the_key(asking: Asking, keys: Keys) -> None:
    for headers in (bearing(keys.ingest), {"X-API-Key": keys.ingest}):
        answered(await sent(asking(headers), BODY, PROTOBUF))


async def test_what_is_not_kept_is_told(sender: Client) -> None:
    export = Host().export(NOW_MS)
    next(metrics(export)).histogram.data_points.add()
    told = answered(await sent(sender, export.SerializeToString(), PROTOBUF)).partial_success
    assert told.rejected_data_points == 1
    assert told.error_message == "1 data point: histograms and summaries are not kept (such as system.cpu.time)"
    answer = await sent(sender, as_json(export), JSON)
    assert answer.json() == {"partialSuccess": {"rejectedDataPoints": "1", "errorMessage": told.error_message}}


# ── what is refused ───────────────────────────────────────────────────────────────────────────────────


async def test_who_may_not_is_told_so_in_the_form_of_the_request(
    asking: Asking, keys: Keys, person: Client, store: Store
) -> None:
    nobody = refused(await sent(asking(), BODY, PROTOBUF), 401)
    assert nobody.code == 16
    assert "API key" in nobody.message
    refused(await sent(asking(bearing("tcs_wrong")), BODY, PROTOBUF), 401)
    for key in (keys.read, keys.write, keys.admin, keys.probe):
        told = refused(await sent(asking(bearing(key)), as_json(), JSON), 403)
        assert told.code == 7
        assert "ingest" in told.message
    refused(await sent(person, BODY, PROTOBUF), 401)  # no session may, whoever it is
    assert PASSWORD not in nobody.message
    assert stored(store) == []


async def test_a_key_that_is_revoked_is_none(sender: Client, person: Client, clock: FakeClock) -> None:
    answered(await sent(sender, BODY, PROTOBUF))
    listed = (await person.get("/v1/keys")).json()["items"]
    (key_id,) = [one["id"] for one in listed if one["scopes"] == ["ingest"]]
    assert (await person.delete(f"/v1/keys/{key_id}")).status_code == 204
    clock.tick(SURE_S)
    refused(await sent(sender, BODY, PROTOBUF), 401)


@pytest.mark.parametrize("body", [b"\xff\xff\xff", random.Random(5).randbytes(1000), BODY[:-1], b"\x0a\x7f"])
async def test_garbage_is_bad_data(sender: Client, body: bytes, store: Store) -> None:
    told = refused(await sent(sender, body, PROTOBUF), 400)
    assert (told.code, told.message) == (3, "this is no ExportMetricsServiceRequest")
    detail = BadRequest()
    assert told.details[0].Unpack(detail)
    assert detail.field_violations[0].description == told.message
    assert stored(store) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b'{"resourceMetrics": 3}',
        b'{"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"gauge": {"dataPoints": [{"asInt": "x"}]}}]}]}]}',
        b'{"resourceMetrics": ' + b"[" * 100_000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b'{"resourceMetrics": [{"schemaUrl": "\\ud800"}]}',
        b"\xff\xfe{}",
        as_json()[:-2],
    ],
)
async def test_json_that_is_no_export_is_bad_data(sender: Client, body: bytes, store: Store) -> None:
    told = refused(await sent(sender, body, JSON), 400)
    assert told.code == 3
    assert told.message.startswith("this is no ExportMetricsServiceRequest in JSON")
    assert len(told.message) < 400
    assert stored(store) == []


@pytest.mark.parametrize("body", [b"nonsense", gzip.compress(BODY)[:-20], gzip.compress(BODY) + b"rest", BODY])
async def test_what_is_no_gzip_is_bad_data(sender: Client, body: bytes, store: Store) -> None:
    assert "gzip" in refused(await sent(sender, body, PROTOBUF, GZIP), 400).message
    assert stored(store) == []


async def test_a_gzip_of_very_many_members_is_not_read_to_its_end(
    sender: Client, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    """Each would be a copy of all that follows it."""
    opened = 0

    class Counted:
        error = zlib.error

        @staticmethod
        def decompressobj(wbits: int) -> object:
            nonlocal opened
            opened += 1
            assert opened <= MOST_MEMBERS, "it is read on"
            return zlib.decompressobj(wbits=wbits)

    member = gzip.compress(b"")
    monkeypatch.setattr("tocsin.api.otlp.zlib", Counted)
    answer = await sent(sender, member * (door.LARGEST_BYTES // len(member)), PROTOBUF, GZIP)
    assert "gzip" in refused(answer, 400).message
    assert opened == MOST_MEMBERS
    opened = 0
    pieces = [BODY[:5], BODY[5:], *[b""] * (MOST_MEMBERS - 2)]
    answered(await sent(sender, b"".join(map(gzip.compress, pieces)), PROTOBUF, GZIP))
    assert stored(store) == [("web-1", 1)]


async def test_other_forms_are_not_taken(sender: Client) -> None:
    for headers in ({}, {"Content-Type": "text/plain"}, PROTOBUF | {"Content-Encoding": "zstd"}):
        assert refused(await sent(sender, BODY, headers), 415).code == 3
    for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE"):
        answer = await sender.request(method, PATH)
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert (await sender.post(f"{PATH}/", content=BODY, headers=PROTOBUF)).status_code == 404


async def test_what_is_too_large_is_not_read(sender: Client) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(door.LARGEST_BYTES // 65_536 + 2):
            yield bytes(65_536)
        pytest.fail("it is read to its end")  # pragma: no cover

    too_much = bytes(door.LARGEST_BYTES + 1)
    bombs = gzip.compress(too_much), gzip.compress(bytes(door.LARGEST_BYTES)) + gzip.compress(b"more")
    for answer in (
        await sent(sender, too_much, PROTOBUF),
        *[await sent(sender, bomb, PROTOBUF, GZIP) for bomb in bombs],
        await sent(sender, b" " * (LARGEST_JSON_BYTES + 1), JSON),
        await sender.post(PATH, content=endless(), headers=PROTOBUF),
    ):
        told = refused(answer, 413)
        assert told.code == 8
        assert "larger than" in told.message
    answered(await sent(sender, BODY, PROTOBUF))


async def test_a_body_beyond_what_other_routes_take_is_fine(sender: Client) -> None:
    many = Host(mounts=[(f"/dev/{n}", f"/mnt/{n}", "ext4") for n in range(3000)]).export(NOW_MS).SerializeToString()
    assert len(many) > 1_000_000
    assert answered(await sent(sender, many, PROTOBUF)).partial_success.rejected_data_points > 0


async def test_its_answers_say_to_a_browser_what_all_do(sender: Client, asking: Asking) -> None:
    for answer in (await sent(sender, BODY, PROTOBUF), await sent(asking(), BODY, PROTOBUF), await sender.get(PATH)):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"


async def test_who_goes_away_in_the_middle_is_told_nothing(
    app: FastAPI, asking: Asking, keys: Keys, store: Store
) -> None:
    asking()  # it is started
    parts: Iterator[MutableMapping[str, Any]] = iter(
        [{"type": "http.request", "body": BODY[:50], "more_body": True}, {"type": "http.disconnect"}]
    )
    answered: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return next(parts)

    async def send(message: MutableMapping[str, Any]) -> None:
        answered.append(message)

    headers = [(name.lower().encode(), value.encode()) for name, value in {**bearing(keys.ingest), **PROTOBUF}.items()]
    scope = {"type": "http", "method": "POST", "path": PATH, "query_string": b"", "headers": headers}
    with structlog.testing.capture_logs() as logged:
        await app(scope, receive, send)
    assert (answered, logged, stored(store)) == ([], [], [])


# ── when it cannot ────────────────────────────────────────────────────────────────────────────────────


async def test_when_the_database_is_away_it_says_when_to_come_back(
    sender: Client, monkeypatch: pytest.MonkeyPatch, clock: FakeClock
) -> None:
    def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("the database cannot be reached: gone")

    with monkeypatch.context() as broken:
        broken.setattr("tocsin.intake.intake.Intake.write", away)
        for headers, body in ((PROTOBUF, BODY), (JSON, as_json())):
            answer = await sent(sender, body, headers)
            told = refused(answer, 503)
            assert (told.code, told.message) == (14, StoreUnavailable.outward)
            assert "gone" not in answer.text
            assert int(answer.headers["retry-after"]) >= 1
    clock.tick(SURE_S)
    with monkeypatch.context() as broken:
        broken.setattr("tocsin.catalog.access.identify_key", away)
        answer = await sent(sender, BODY, PROTOBUF)
        assert refused(answer, 503).message == StoreUnavailable.outward
        assert int(answer.headers["retry-after"]) >= 1
    answered(await sent(sender, BODY, PROTOBUF))


async def test_when_too_many_wait_it_says_when_to_come_back(sender: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "MOST_WAITING", 0)
    answer = await sent(sender, BODY, PROTOBUF)
    assert "wait for their turn" in refused(answer, 503).message
    assert int(answer.headers["retry-after"]) >= 1


async def test_a_defect_of_ours_says_nothing_of_our_insides(sender: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def defect(*_: object) -> None:
        raise ZeroDivisionError("inside")

    monkeypatch.setattr("tocsin.intake.intake.Intake.write", defect)
    told = refused(await sent(sender, BODY, PROTOBUF), 500)
    assert told.code == 13
    assert "inside" not in told.message


def test_bytes_in_json_are_base64() -> None:
    """What the library reads is what OTLP writes."""
    document = {"resourceMetrics": [{"resource": {"attributes": [{"key": "b", "value": {"bytesValue": "AP8="}}]}}]}
    parsed = json_format.Parse(json.dumps(document), ExportMetricsServiceRequest())
    assert parsed.resource_metrics[0].resource.attributes[0].value.bytes_value == base64.b64decode("AP8=")
