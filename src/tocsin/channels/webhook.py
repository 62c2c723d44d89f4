"""Webhook: one JSON document by POST, signed so that the receiver can tell it from anybody else's.

Follows Standard Webhooks (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md):
``webhook-id`` is the delivery key and the same in every attempt, ``webhook-timestamp`` the time of the attempt,
``webhook-signature`` is ``v1,`` and the base64 of HMAC-SHA256 over ``id.timestamp.body``. Knows no store and no rule.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from tocsin.channels.base import Carrier, ChannelKind, ChannelSettings, Refused, Retryable
from tocsin.core.alerting import Message, MessageItem, one_line
from tocsin.lib.guard import BlockedAddress
from tocsin.lib.http import HttpEngine, HttpFailure, HttpReply, HttpRequest

SECRET_PREFIX = "whsec_"  # noqa: S105 - what a secret begins with, not one
_TIMEOUT_S = 15.0
_ANSWER_BYTES = 2000
_WORTH_ANOTHER_TRY = {408, 425, 429}


def _address(url: str) -> str:
    HttpRequest(url=url)  # raises ValueError with what is wrong
    return url


def _signing_key(secret: SecretStr) -> SecretStr:
    if secret.get_secret_value():
        _key(secret.get_secret_value())
    return secret


class WebhookSettings(ChannelSettings):
    url: Annotated[str, AfterValidator(_address)] = Field(
        max_length=2000,
        description="Where messages are posted to.",
        examples=["https://example.org/hooks/tocsin"],
    )
    secret: Annotated[SecretStr, AfterValidator(_signing_key)] | None = Field(
        None,
        description="Signs every message: `whsec_` and 24 to 64 bytes in base64. Empty: messages are not signed.",
    )
    verify_tls: bool = Field(True, description="Refuse a server whose certificate is not trusted.")


async def deliver(settings: WebhookSettings, message: Message, carrier: Carrier) -> str:
    now_ms = carrier.clock.now_ms()
    body = json.dumps(document(message), ensure_ascii=False, separators=(",", ":")).encode()
    request = HttpRequest(
        url=settings.url,
        method="POST",
        headers=(("Content-Type", "application/json"), *_signature_headers(settings, message, body, now_ms // 1000)),
        body=body,
        timeout_s=_TIMEOUT_S,
        follow_redirects=False,
        verify_tls=settings.verify_tls,
        max_body_bytes=_ANSWER_BYTES,
    )
    reply = await _posted(carrier.network.http, request)
    answered = _said(reply)
    if 200 <= reply.status < 300:
        return answered
    if reply.status >= 500 or reply.status in _WORTH_ANOTHER_TRY:
        raise Retryable(answered, retry_after_s(reply.header("retry-after"), now_ms))
    if 300 <= reply.status < 400:
        raise Refused(f"{answered}; redirects are not followed, enter the address it should go to")
    raise Refused(answered)


async def _posted(http: HttpEngine, request: HttpRequest) -> HttpReply:
    try:
        return await http.fetch(request)
    except BlockedAddress as failure:
        raise Refused(failure.message) from None
    except HttpFailure as failure:
        if failure.code == "blocked_address":
            raise Refused(failure.message) from None
        raise Retryable(failure.message) from None


def document(message: Message) -> dict[str, object]:
    """The body, as docs/channels/webhook.md describes it."""
    return {
        "type": "alert",
        "timestamp": _rfc3339(message.created_ms),
        "data": {
            "title": message.title,
            "text": message.text,
            "recovered": message.recovered,
            "items": [_item(item) for item in message.items],
            "omitted": message.omitted,
        },
    }


def _item(item: MessageItem) -> dict[str, object]:
    return {
        "event": item.event,
        "rule": item.rule,
        item.subject.kind: {"id": item.subject.id, "name": item.name, "url": item.url},
        "verdict": item.verdict,
        "was": item.was,
        "since": _rfc3339(item.since_ms),
        "duration_s": item.duration_ms / 1000,
        "reason": item.reason,
        "passing": item.passing,
        "times": item.times,
        "dependents_down": item.dependents_down,
    }


def _rfc3339(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _signature_headers(
    settings: WebhookSettings, message: Message, body: bytes, timestamp_s: int
) -> list[tuple[str, str]]:
    headers = [("webhook-id", message.delivery_key), ("webhook-timestamp", str(timestamp_s))]
    if settings.secret is not None and settings.secret.get_secret_value():
        signed = f"{message.delivery_key}.{timestamp_s}.".encode() + body
        digest = hmac.new(_key(settings.secret.get_secret_value()), signed, hashlib.sha256).digest()
        headers.append(("webhook-signature", f"v1,{base64.b64encode(digest).decode()}"))
    return headers


def _key(secret: str) -> bytes:
    """The bytes that sign. Raises ``ValueError`` for what receivers' libraries would not take either."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not secret.startswith(SECRET_PREFIX) or not 24 <= len(key) <= 64:
        raise ValueError(
            'must be whsec_ and 24 to 64 bytes in base64; make one with: echo "whsec_$(openssl rand -base64 32)"'
        )
    return key


def _said(reply: HttpReply) -> str:
    try:
        phrase = f" {HTTPStatus(reply.status).phrase}"
    except ValueError:
        phrase = ""
    start = one_line(reply.body.decode(errors="replace"), 200)
    return f"answered {reply.status}{phrase}" + (f": {start}" if start else "")


def retry_after_s(value: str | None, now_ms: int) -> float | None:
    """What a Retry-After header asks for: seconds, or a date. None where it says nothing usable."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:12])
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(at.timestamp() - now_ms / 1000, 0.0)


WEBHOOK = ChannelKind(kind="webhook", title="Webhook", settings=WebhookSettings, deliver=deliver)
