"""Where OpenTelemetry Collectors and SDKs send metrics over HTTP: protobuf or JSON, plain or packed with gzip.

It stands before the framework, whose way to a handler costs several times as much as an export. What goes wrong is
answered as OTLP asks, with a ``google.rpc.Status`` in the form of the request and not with a problem document.
https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

from __future__ import annotations

import math
import zlib
from contextlib import suppress
from http import HTTPStatus
from typing import Final, NoReturn

import msgspec
from google.protobuf import json_format
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tocsin.admission import Admission
from tocsin.api.guard import allowed, key_of, nobody
from tocsin.api.problems import RETRY_AFTER_S, ApiProblem, problem
from tocsin.catalog.access import Identity
from tocsin.catalog.access import Scope as KeyScope
from tocsin.lib import metrics
from tocsin.lib.log import get_logger
from tocsin.otlp.door import LARGEST_BYTES, Door, Throttled, Unreadable
from tocsin.store.engine import StoreError

PATH: Final = "/v1/metrics"
SCOPE: Final[KeyScope] = "ingest"
PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
LARGEST_JSON_BYTES: Final = 4 << 20
"""JSON takes much longer to read."""
MOST_MEMBERS: Final = 16
"""Of a gzip; nobody sends more than one, and each is a copy of what follows it."""

# https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto
_CODES: Final = {400: 3, 401: 16, 403: 7, 413: 8, 415: 3, 429: 8, 500: 13, 503: 14}

log = get_logger("api")


class Otlp:
    """Takes what is sent to ``PATH``; the rest it passes on. Plain ASGI, no framework."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH:
            await self._app(scope, receive, send)
            return
        with suppress(ClientDisconnect):  # nobody is there to be told anything
            await (await _answer(Request(scope, receive)))(scope, receive, send)


async def _answer(request: Request) -> Response:
    if request.method != "POST":
        return problem(405, f"{request.method} is not possible at {PATH}.", headers={"Allow": "POST"})
    try:
        return await _export(request)
    except ApiProblem as error:
        return _status(request, error.status, error.detail, error.headers)
    except Unreadable as error:
        return _status(request, 400, str(error))
    except Throttled as throttled:
        return _status(request, 503, str(throttled), {"Retry-After": str(math.ceil(throttled.retry_after_s))})
    except StoreError as error:
        log.warning("api.store_unavailable", error=str(error))
        return _status(request, 503, error.outward, {"Retry-After": str(RETRY_AFTER_S)})
    except ClientDisconnect:
        raise
    except Exception as error:
        log.error("api.failed", path=PATH, method="POST", exc_info=error)
        return _status(request, 500, "our fault; the server's log has the cause")


async def _export(request: Request) -> Response:
    """Answered when what is kept of it is stored for good."""
    door: Door = request.app.state.otlp
    identity = await _identity(request)
    kind = _kind(request)
    if kind not in (PROTOBUF, JSON):
        raise ApiProblem(415, f"the body must be {PROTOBUF} or {JSON}, and say so in Content-Type")
    body = await _body(request, LARGEST_JSON_BYTES if kind == JSON else LARGEST_BYTES)
    if kind == JSON:
        message = await run_in_threadpool(_from_json, body)
        answer = await door.export_message(message, identity.key_id)
        told = json_format.MessageToJson(ExportMetricsServiceResponse.FromString(answer), indent=None)
        return Response(told, media_type=JSON)
    return Response(await door.export(body, identity.key_id), media_type=PROTOBUF)


async def _identity(request: Request) -> Identity:
    """Who asks, by key. No session may do this."""
    admission: Admission = request.app.state.admission
    key = key_of(request)
    identity = None if key is None else await admission.identity(key)
    if identity is None:
        raise nobody("Send an API key as Authorization: Bearer or X-API-Key.")
    return allowed(identity, SCOPE)


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _body(request: Request, largest: int) -> bytes:
    """Unpacked."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > largest:
        _too_large(largest)
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > largest:
            _too_large(largest)
    packed = request.headers.get("content-encoding", "").strip().lower()
    if packed in ("", "identity"):
        return bytes(body)
    if packed != "gzip":
        raise ApiProblem(415, "Content-Encoding may be gzip, or nothing")
    return await run_in_threadpool(_unpacked, bytes(body), largest)


def _unpacked(packed: bytes, largest: int) -> bytes:
    found = bytearray()
    members = 0
    while packed:
        members += 1
        if members > MOST_MEMBERS:
            raise Unreadable(f"the body is a gzip of more than {MOST_MEMBERS} members")
        member = zlib.decompressobj(wbits=31)
        try:
            found += member.decompress(packed, largest + 1 - len(found))
        except zlib.error as error:
            raise Unreadable("the body is not what Content-Encoding says, gzip") from error
        if len(found) > largest:
            _too_large(largest)
        if not member.eof:
            raise Unreadable("the body ends before its gzip does")
        packed = member.unused_data
    return bytes(found)


def _too_large(largest: int) -> NoReturn:
    # The rest is not read; the connection cannot be used again.
    raise ApiProblem(413, f"the body is larger than {largest >> 20} MiB unpacked", headers={"Connection": "close"})


def _from_json(body: bytes) -> ExportMetricsServiceRequest:
    try:
        if body.lstrip()[:1] != b"{":
            raise ValueError("it must be an object")
        return json_format.Parse(body, ExportMetricsServiceRequest(), ignore_unknown_fields=True)
    except (json_format.ParseError, ValueError, RecursionError) as error:
        # It names the field; nothing of ours is in it.
        raise Unreadable(f"this is no ExportMetricsServiceRequest in JSON: {str(error)[:200]}") from error


def _status(request: Request, status: int, words: str, headers: dict[str, str] | None = None) -> Response:
    """https://opentelemetry.io/docs/specs/otlp/#failures-1"""
    metrics.OTLP_EXPORTS.labels("throttled" if status in (429, 503) else "refused").inc()
    code = _CODES.get(status, 2)
    if _kind(request) == JSON:
        return Response(msgspec.json.encode({"code": code, "message": words}), status, headers, JSON)
    told = Status(code=code, message=words)
    if status == HTTPStatus.BAD_REQUEST:
        detail = AnyMessage()
        detail.Pack(BadRequest(field_violations=[BadRequest.FieldViolation(field="body", description=words)]))
        told.details.append(detail)
    return Response(told.SerializeToString(), status, headers, PROTOBUF)
