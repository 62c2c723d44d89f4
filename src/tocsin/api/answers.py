"""Answers: plain values in, JSON out, with times and durations in the one form REST uses. Knows no shape."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from tocsin.lib.static_files import accepted_encodings, is_current

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_encode = msgspec.json.Encoder().encode

LATEST_MS = 253_402_300_799_999
"""The end of the year 9999: what RFC 3339 can say."""


def moment(at_ms: int) -> str:
    """Epoch ms as RFC 3339 with milliseconds and Z."""
    return f"{(_EPOCH + timedelta(milliseconds=at_ms)).isoformat(timespec='milliseconds')[:-6]}Z"


def moment_or_none(at_ms: int | None) -> str | None:
    return None if at_ms is None else moment(at_ms)


def milliseconds(duration_us: float | None) -> float | None:
    """Microseconds as milliseconds, to the microsecond."""
    return None if duration_us is None else round(duration_us / 1000, 3)


def phases(
    dns_us: float | None,
    connect_us: float | None,
    tls_us: float | None,
    first_byte_us: float | None,
    transfer_us: float | None,
) -> dict[str, float | None]:
    return {
        "dns_ms": milliseconds(dns_us),
        "connect_ms": milliseconds(connect_us),
        "tls_ms": milliseconds(tls_us),
        "first_byte_ms": milliseconds(first_byte_us),
        "transfer_ms": milliseconds(transfer_us),
    }


def answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(_encode(content), status, headers, "application/json")


def no_content() -> Response:
    return Response(status_code=204)


_WORTH_COMPRESSING_BYTES = 4096


def tagged_answer(request: Request, content: Any) -> Response:
    """With a strong ETag; 304 and no body when the caller has just this already. Compressed where it is long."""
    body = _encode(content)
    digest = hashlib.blake2b(body, digest_size=16).hexdigest()
    headers = {"Cache-Control": "private, no-cache", "Vary": "Cookie, Authorization, X-API-Key, Accept-Encoding"}
    compressed = len(body) >= _WORTH_COMPRESSING_BYTES and "gzip" in accepted_encodings(request.headers)
    # A strong tag names bytes: the compressed ones are others.
    headers["ETag"] = f'"{digest}-gz"' if compressed else f'"{digest}"'
    if is_current(request.headers.get("if-none-match"), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    if compressed:
        # The fastest level: a list of 1,000 targets in 5 ms, to a thirtieth of its size.
        body = zlib.compress(body, 1, _GZIP)
        headers["Content-Encoding"] = "gzip"
    return Response(body, 200, headers, "application/json")


_GZIP = 31
"""``wbits`` for zlib: the gzip format with the largest window."""


def listing(items: list[Any], following: str | None = None) -> dict[str, Any]:
    return {"items": items, "next": following}
