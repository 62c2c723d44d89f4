"""Probe ``http`` through the frame: settings, variables, evidence. The engine's own tests are beside the engine."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from tests.probes.authority import Identity, identity
from tests.probes.probing import Examining, Probing
from tests.servers import Asked, answering, closed_port, hang, reply, serving
from tocsin.core.outcome import Result
from tocsin.probes.http import BODY_SHOWN, HEADERS_SHOWN, HTTP, HttpSettings

# Settings


made = HttpSettings.model_validate


def complaint(**settings: object) -> tuple[str, str]:
    """The field that is refused, and why."""
    with pytest.raises(ValidationError) as caught:
        made({"url": "http://a.example", **settings})
    error = caught.value.errors()[0]
    return ".".join(map(str, error["loc"])), error["msg"]


@pytest.mark.parametrize(
    ("settings", "field", "message"),
    [
        ({"url": "file:///etc/passwd"}, "url", "must start with http:// or https://"),
        ({"url": "gopher://a.example"}, "url", "must start with http:// or https://"),
        ({"url": "http://u:p@a.example"}, "url", "use the fields username and password"),
        ({"url": "http://a.example\r\nX: 1"}, "url", "control characters"),
        ({"url": ""}, "url", "at least 1 character"),
        ({"method": "get"}, "method", "HTTP method in capitals"),
        ({"method": "GET\r\n"}, "method", "HTTP method in capitals"),
        ({"headers": {"X": "1\r\nY: 2"}}, "headers", "control characters"),
        ({"headers": {"X\r\nY": "2"}}, "headers", "no header name"),
        ({"headers": {"X": "y" * 20_000}}, "headers", "longer than"),
        ({"headers": {"Content-Length": "2"}}, "headers", "set from the body"),
        ({"user_agent": "a\nb"}, "user_agent", "control characters"),
        ({"username": "a:b"}, "username", "colon"),
        ({"bearer_token": "a\nb"}, "bearer_token", "control characters"),
        ({"proxy": "ftp://a.example"}, "proxy", "must start with"),
        ({"ca_certificate": "nonsense"}, "ca_certificate", "PEM"),
        ({"client_key": "nonsense"}, "client_key", "without client_certificate"),
        ({"max_body_bytes": 10_485_761}, "max_body_bytes", "less than or equal to 10485760"),
        ({"max_redirects": -1}, "max_redirects", "greater than or equal to 0"),
        ({"ip_version": "5"}, "ip_version", "'any', '4' or '6'"),
        ({"http_version": "3"}, "http_version", "'auto', '1.1' or '2'"),
        ({"verify_tls": "perhaps"}, "verify_tls", "boolean"),
        ({"colour": "red"}, "colour", "Extra inputs are not permitted"),
        ({"username": "u", "bearer_token": "t"}, "", "give one of"),
        ({"username": "u", "headers": {"authorization": "t"}}, "", "give one of"),
    ],
)
def test_settings_that_are_refused(settings: dict[str, object], field: str, message: str) -> None:
    found, why = complaint(**settings)
    assert (found, message in why) == (field, True), why


def test_a_client_certificate_must_fit_its_key(root: Identity) -> None:
    one, other = identity("one", issuer=root), identity("other", issuer=root)
    made({"url": "https://a.example", "client_certificate": one.pem, "client_key": one.key_pem})
    field, why = complaint(client_certificate=one.pem, client_key=other.key_pem)
    assert (field, "does not belong" in why) == ("client_key", True)


def test_settings_survive_being_stored() -> None:
    settings = made({"url": "http://a.example", "username": "u", "password": "p"})
    stored = {**settings.model_dump(), "password": "p", "bearer_token": "", "client_key": "", "proxy_password": ""}
    again = made(json.loads(json.dumps(stored)))
    assert again == settings
    assert again.request.lines == settings.request.lines
    assert HTTP.endpoint(again) == "http://a.example"


def test_the_request_is_made_once() -> None:
    settings = made({"url": "http://a.example"})
    assert settings.request is settings.request


# Variables


@pytest.mark.parametrize(
    "assertion",
    [
        "status == 201",
        "latency_ms > 0 && latency_ms < 5000",
        'headers["x-many"] == "a, b"',
        'headers["content-type"].startsWith("application/json")',
        'body.contains("Welcome")',
        "body_bytes == 33",
        "json.ok && json.items[1] == 'Welcome'",
        'ip == "127.0.0.1"',
        'http_version == "1.1"',
        "redirects == 0",
        'url.endsWith("/health")',
    ],
)
async def test_variables(examined: Examining, assertion: str) -> None:
    body = b'{"ok":true,"items":[1,"Welcome"]}'
    many = [("X-Many", "a"), ("x-many", "b"), ("Content-Type", "application/json; charset=utf-8")]
    async with serving(answering(reply(body, status=201, headers=many))) as server:
        seen = await examined("http", assertion, url=f"{server.url}/health")
    assert (seen.error, seen.result) == ("", Result.PASSED)


async def test_the_default_assertion(examined: Examining) -> None:
    async with serving(answering(lambda asked: reply(status=int(asked.target[1:])))) as server:
        assert (await examined("http", url=f"{server.url}/204")).result is Result.PASSED
        assert (await examined("http", url=f"{server.url}/399")).result is Result.PASSED
        failed = await examined("http", url=f"{server.url}/503")
    assert (failed.result, failed.error) == (Result.FAILED, "status < 400 is false: status is 503")
    assert not failed.network_fault


async def test_redirects_are_told(examined: Examining) -> None:
    def answer(asked: Asked) -> bytes:
        return reply() if asked.target == "/b" else reply(status=302, headers=[("Location", "/b")])

    async with serving(answering(answer)) as server:
        seen = await examined("http", "redirects == 1", 'url.endsWith("/b")', url=f"{server.url}/a")
        assert seen.result is Result.PASSED
        stayed = await examined("http", "status == 302", url=f"{server.url}/a", follow_redirects=False)
        assert stayed.result is Result.PASSED
        looped = await examined("http", url=f"{server.url}/a", max_redirects=0)
    assert looped.error == "more than 0 redirects; the last leads to /b"
    assert looped.evidence()["details"] == {"redirects": [{"url": f"{server.url}/a", "status": 302, "location": "/b"}]}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"<html>", "json.ok cannot be evaluated: the body is not JSON: invalid character (byte 0)"),
        (b"", "json.ok cannot be evaluated: the body is not JSON: it is empty"),
        (b"\xff\xfe", "json.ok cannot be evaluated: the body is not JSON: "),
        (b"[" * 100_000, "json.ok cannot be evaluated: the body is not JSON: "),
        (b'{"ok":1}', "json.ok cannot be evaluated: it yields 1, not true or false"),
        (b'{"ok":true}' + b" " * 2000, "json.ok cannot be evaluated: the body is longer than the 1000 bytes"),
    ],
    ids=["html", "empty", "no text", "deep", "no truth", "too long"],
)
async def test_bodies_that_are_not_the_json_it_takes(examined: Examining, body: bytes, error: str) -> None:
    async with serving(answering(reply(body))) as server:
        seen = await examined("http", "json.ok", url=server.url, max_body_bytes=1000 if len(body) < 5000 else 1_048_576)
    assert seen.result is Result.FAILED
    assert seen.error.startswith(error)


async def test_what_is_no_json_matters_only_to_those_who_ask(examined: Examining) -> None:
    async with serving(answering(reply(b"<html>"))) as server:
        assert (await examined("http", 'body == "<html>"', url=server.url)).result is Result.PASSED


@pytest.mark.parametrize(
    ("body", "charset", "text"),
    [
        ("grüße".encode(), None, "grüße"),
        ("grüße".encode("latin-1"), "ISO-8859-1", "grüße"),
        ("grüße".encode("cp1252"), '"windows-1252"', "grüße"),
        ("日本".encode("shift_jis"), "Shift_JIS", "日本"),
        ("grüße".encode(), "no-such-charset", "grüße"),
        ("grüße".encode(), "punycode", "grüße"),
        (b"a\xff\x80b", None, "a\ufffd\ufffdb"),
        (b"a\x00b", None, "a\ufffdb"),
        (b"", None, ""),
    ],
)
async def test_bodies_in_any_charset(examined: Examining, body: bytes, charset: str | None, text: str) -> None:
    headers = [] if charset is None else [("Content-Type", f"text/plain; charset={charset}")]
    async with serving(answering(reply(body, headers=headers))) as server:
        seen = await examined("http", f"body == {json.dumps(text)}", url=server.url)
    assert (seen.error, seen.result) == ("", Result.PASSED)
    details = seen.evidence()["details"]
    assert isinstance(details, dict)
    assert details["body"] == text


async def test_json_with_what_no_text_may_hold(examined: Examining) -> None:
    async with serving(answering(reply(rb'{"a\u0000": "x\u0000y", "b": ["\ud83d\ude00"]}'))) as server:
        seen = await examined("http", "json['a\ufffd'] == 'x\ufffdy' && json.b[0] == '😀'", url=server.url)
    assert (seen.error, seen.result) == ("", Result.PASSED)


async def test_certificates(examined: Examining, root: Identity) -> None:
    leaf = identity("localhost", "localhost", issuer=root, days=(-1, 30))
    async with serving(answering(reply()), tls=leaf.server_context()) as server:
        week, year = 'tls.expires_in > duration("168h")', 'tls.expires_in > duration("8760h")'
        seen = await examined("http", week, url=server.url, ca_certificate=root.pem)
        assert (seen.error, seen.result) == ("", Result.PASSED)
        assert seen.certificate is not None
        assert seen.certificate.result is Result.PASSED
        soon = await examined("http", year, url=server.url, ca_certificate=root.pem)
        assert soon.error in (
            f"{year} is false: tls.expires_in is 30.0 days",
            f"{year} is false: tls.expires_in is 29.9 days",
        )
        refused = await examined("http", url=server.url)
    assert refused.result is Result.FAILED
    assert refused.error.startswith("the certificate is not trusted")
    assert refused.certificate == seen.certificate
    shown = refused.evidence()["certificates"]
    assert isinstance(shown, list)
    assert shown[0]["names"] == ["localhost"]


async def test_there_is_no_certificate_without_tls(examined: Examining) -> None:
    async with serving(answering(reply())) as server:
        seen = await examined("http", 'tls.expires_in > duration("1h")', url=server.url)
    assert seen.error.endswith("cannot be evaluated: there is no certificate: the reply did not come over https")


# Failures and evidence


async def test_a_refused_connection(examined: Examining) -> None:
    port = closed_port()
    seen = await examined("http", "status == 200", url=f"http://127.0.0.1:{port}")
    assert (seen.result, seen.error) == (Result.FAILED, f"connection refused by 127.0.0.1:{port}")
    assert (seen.assertions, seen.address, seen.is_loopback) == ((), "127.0.0.1", True)
    assert seen.latency_us is not None


async def test_a_timeout_ends_in_the_probe_not_in_the_frame(examined: Examining) -> None:
    async with serving(hang) as server:
        seen = await examined("http", url=server.url, timeout_s=0.2)
    assert seen.error == "timed out after 0.2 s waiting for the first byte"
    assert seen.phases.connect_us is not None
    assert seen.network_fault


async def test_the_evidence_of_a_reply_is_bounded(examined: Examining) -> None:
    headers = [(f"X-{number}", "y" * 1000) for number in range(100)]
    async with serving(answering(reply(b"x" * 10_000_000, status=500, headers=headers))) as server:
        seen = await examined("http", 'status == 200 || body == "x"', url=server.url, max_body_bytes=10_485_760)
    evidence = seen.evidence()
    details = evidence["details"]
    assert isinstance(details, dict)
    assert (details["status"], details["version"], details["body_bytes"]) == (500, "1.1", 10_000_000)
    assert details["truncated"] is False
    assert len(details["body"]) == BODY_SHOWN
    assert details["headers"][0] == ["Content-Length", "10000000"]
    assert sum(len(name) + len(value) for name, value in details["headers"]) <= HEADERS_SHOWN
    assert len(json.dumps(evidence)) < 30_000
    assert len(seen.error) < 600


async def test_a_probe_alone(probe: Probing) -> None:
    async with serving(answering(reply())) as server:
        reading = await probe("http", url=server.url)
    assert set(reading.values) == set(HTTP.variables)
    assert reading.failure is None
    assert reading.latency_us == sum(phase for phase in reading.phases if phase is not None)
