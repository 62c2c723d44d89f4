"""The webhook against real sockets: what is sent, how it is signed, and what each answer leads to."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import replace

import pytest
from pydantic import SecretStr, ValidationError

from tests.channels.conftest import NOW_MS, item
from tests.servers import Asked, answering, hang, reply, resetting, serving
from tocsin.channels.base import Carrier, Refused, Retryable
from tocsin.channels.frame import deliver as framed
from tocsin.channels.webhook import WebhookSettings, deliver, retry_after_s
from tocsin.core.alerting import Event, Message
from tocsin.core.bands import CPU
from tocsin.core.decide import Verdict
from tocsin.core.outcome import Subject
from tocsin.core.samples import MACHINE

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()


def settings(url: str, **more: object) -> WebhookSettings:
    return WebhookSettings.model_validate({"url": url, **more})


async def test_a_message_is_one_signed_document(message: Message, carrier: Carrier) -> None:
    asked: list[Asked] = []
    async with serving(answering(reply(b"thanks"), asked)) as server:
        detail = await deliver(settings(f"{server.url}/hook?a=b", secret=SECRET), message, carrier)
    assert detail == "answered 200 OK: thanks"
    (request,) = asked
    assert (request.method, request.target) == ("POST", "/hook?a=b")
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == message.delivery_key
    assert request.headers["webhook-timestamp"] == str(NOW_MS // 1000)
    # As a receiver that has only read the specification would do it.
    signed = b".".join(
        [request.headers["webhook-id"].encode(), request.headers["webhook-timestamp"].encode(), request.body]
    )
    version, _, signature = request.headers["webhook-signature"].partition(",")
    assert version == "v1"
    assert base64.b64decode(signature) == hmac.digest(KEY, signed, hashlib.sha256)
    assert json.loads(request.body) == {
        "type": "alert",
        "timestamp": "2026-03-01T12:02:00.000Z",
        "data": {
            "title": "checkout-api is down",
            "text": message.text,
            "recovered": False,
            "items": [
                {
                    "event": "down",
                    "rule": "reachable",
                    "target": {
                        "id": 17,
                        "name": "checkout-api",
                        "url": "http://127.0.0.1:8080/targets/17",
                    },
                    "verdict": "down",
                    "was": "down",
                    "since": "2026-03-01T11:58:00.000Z",
                    "duration_s": 240.0,
                    "reason": "connect to 10.0.3.7:443 refused",
                    "passing": False,
                    "times": 1,
                    "dependents_down": 0,
                }
            ],
            "omitted": 0,
        },
    }


async def test_a_machine_stands_in_the_place_of_a_target(message: Message, carrier: Carrier) -> None:
    url = "http://127.0.0.1:8080/machines/17"
    host = item(subject=Subject(MACHINE, 17), name="web-1", rule=CPU, reason="CPU 97 %", url=url)
    asked: list[Asked] = []
    async with serving(answering(reply(b""), asked)) as server:
        await deliver(settings(server.url), replace(message, items=(host,)), carrier)
    (sent,) = json.loads(asked[0].body)["data"]["items"]
    assert sent["machine"] == {"id": 17, "name": "web-1", "url": url}
    assert "target" not in sent
    assert sent["rule"] == "cpu"


async def test_the_signature_agrees_with_the_one_in_the_specification() -> None:
    """The example of the Standard Webhooks specification, so that the test does not only agree with itself."""
    from tocsin.channels.webhook import _signature_headers

    message = Message(
        title="", text="", items=(), delivery_key="msg_p5jXN8AQM9LWM0D4loKWxJek", created_ms=0, recovered=True
    )
    headers = dict(
        _signature_headers(
            settings("http://127.0.0.1/", secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            message,
            b'{"test": 2432232314}',
            1614265330,
        )
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_without_a_secret_it_is_not_signed(message: Message, carrier: Carrier) -> None:
    asked: list[Asked] = []
    async with serving(answering(reply(), asked)) as server:
        await deliver(settings(server.url, secret=""), message, carrier)
    assert "webhook-signature" not in asked[0].headers
    assert asked[0].headers["webhook-id"] == message.delivery_key


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_2xx_is_delivered(status: int, message: Message, carrier: Carrier) -> None:
    async with serving(answering(reply(b"", status=status))) as server:
        assert f"answered {status}" in await deliver(settings(server.url), message, carrier)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 413, 422])
async def test_what_a_server_does_not_want_is_refused(status: int, message: Message, carrier: Carrier) -> None:
    async with serving(answering(reply(b"no", status=status))) as server:
        with pytest.raises(Refused, match=f"answered {status} .*: no"):
            await deliver(settings(server.url), message, carrier)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
async def test_what_may_work_later_is_tried_again(status: int, message: Message, carrier: Carrier) -> None:
    async with serving(answering(reply(b"later", status=status, headers=[("Retry-After", "120")]))) as server:
        with pytest.raises(Retryable, match=f"answered {status}") as raised:
            await deliver(settings(server.url), message, carrier)
    assert raised.value.retry_after_s == 120


async def test_a_redirect_is_refused_and_not_followed(message: Message, carrier: Carrier) -> None:
    asked: list[Asked] = []
    async with serving(
        answering(reply(b"", status=307, headers=[("Location", "http://127.0.0.1:1/")]), asked)
    ) as server:
        with pytest.raises(Refused, match="redirects are not followed"):
            await deliver(settings(server.url), message, carrier)
    assert len(asked) == 1


async def test_a_connection_that_is_reset_is_tried_again(message: Message, carrier: Carrier) -> None:
    async with serving(resetting()) as server:
        with pytest.raises(Retryable, match=r"reset|closed"):
            await deliver(settings(server.url), message, carrier)


async def test_nobody_listening_is_tried_again(message: Message, carrier: Carrier) -> None:
    async with serving(hang) as server:
        url = server.url
    with pytest.raises(Retryable, match="refused"):
        await deliver(settings(url), message, carrier)


async def test_a_server_that_hangs_ends_at_the_deadline(message: Message, carrier: Carrier) -> None:
    async with serving(hang) as server:
        delivery = await framed("webhook", {"url": server.url}, message, carrier, deadline_s=0.2)
    assert not delivery.ok
    assert delivery.retryable
    assert delivery.detail == "no answer within 0.2 s"


async def test_the_metadata_service_is_refused(message: Message, carrier: Carrier) -> None:
    with pytest.raises(Refused, match="must not be contacted"):
        await deliver(settings("http://169.254.169.254/latest/meta-data"), message, carrier)


async def test_an_answer_that_repeats_the_secret_does_not_show_it(message: Message, carrier: Carrier) -> None:
    async with serving(answering(reply(f"bad {SECRET}\r\nX".encode(), status=400))) as server:
        delivery = await framed("webhook", {"url": server.url, "secret": SECRET}, message, carrier, deadline_s=5)
    assert delivery.detail == "answered 400 Bad Request: bad ••• X"
    assert not delivery.retryable


async def test_what_a_message_says_of_a_recovery(message: Message, carrier: Carrier) -> None:
    asked: list[Asked] = []
    over = replace(
        message,
        items=(item(event=Event.RECOVERED, verdict=Verdict.UP, passing=True, times=3),),
        recovered=True,
        omitted=2,
    )
    async with serving(answering(reply(), asked)) as server:
        await deliver(settings(server.url), over, carrier)
    data = json.loads(asked[0].body)["data"]
    assert (data["recovered"], data["omitted"]) == (True, 2)
    assert (data["items"][0]["verdict"], data["items"][0]["was"]) == ("up", "down")
    assert (data["items"][0]["passing"], data["items"][0]["times"]) == (True, 3)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("url", "ftp://example.org/", "http"),
        ("url", "file:///etc/passwd", "http"),
        ("url", "http://user:password@example.org/", "user name or password"),
        ("url", "http://example.org/\r\nX-Evil: 1", "control characters"),
        ("secret", "hunter2", "whsec_"),
        ("secret", "whsec_dG9vIHNob3J0", "24 to 64 bytes"),
        ("secret", "whsec_***", "base64"),
        ("colour", "red", "Extra inputs"),
    ],
)
def test_settings_that_cannot_work_are_refused(field: str, value: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        settings(**{"url": "http://127.0.0.1/", field: value})


def test_the_secret_does_not_print() -> None:
    shown = repr(settings("http://127.0.0.1/", secret=SecretStr(SECRET)))
    assert SECRET not in shown


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("Sun, 01 Mar 2026 12:04:00 GMT", 120.0),
        ("Sun, 01 Mar 2026 12:04:00 -0000", 120.0),
        ("Sun, 01 Mar 2026 12:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("9" * 400, 999_999_999_999.0),
        ("٣", None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, NOW_MS) == seconds
