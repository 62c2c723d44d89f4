"""Probe tls against certificates of every sort of wrongness, and STARTTLS against scripted servers."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from tests.probes.authority import Identity, identity
from tests.probes.probing import Examining, Probing
from tests.probes.servers import refusing_tls_server, resetting, saying, tcp_server
from tests.servers import hang
from tocsin.core.outcome import Result


async def test_a_good_certificate_passes(examined: Examining, root: Identity, good: Identity) -> None:
    async with tcp_server(hang, tls=good.server_context()) as port:
        seen = await examined(
            "tls",
            "tls.chain_ok && tls.hostname_ok",
            'tls.expires_in > duration("2100h")',
            'tls.version == "TLSv1.3" && tls.cipher != ""',
            "latency_ms > 0.0",
            'ip == "127.0.0.1"',
            host="localhost",
            port=port,
            ca_certificate=root.pem,
        )
    assert (seen.error, seen.result) == ("", Result.PASSED)
    assert None not in (seen.phases.dns_us, seen.phases.connect_us, seen.phases.tls_us)
    assert seen.certificate is not None
    assert seen.certificate.result is Result.PASSED


async def test_a_certificate_close_to_its_end_is_a_warning_of_its_own(examined: Examining, root: Identity) -> None:
    short = identity("localhost", "localhost", issuer=root, days=(-10, 3))
    async with tcp_server(hang, tls=short.server_context()) as port:
        seen = await examined("tls", host="localhost", port=port, ca_certificate=root.pem)
    assert seen.result is Result.PASSED
    assert seen.certificate is not None
    assert seen.certificate.result is Result.WARNED


@pytest.mark.parametrize(
    ("made", "code", "message"),
    [
        (
            lambda root: identity("x", "localhost", issuer=root, days=(-30, -3.5)),
            "tls_expired",
            r"the certificate expired 3 days 12 hours ago, on \d{4}-\d\d-\d\d \d\d:\d\d UTC",
        ),
        (
            lambda root: identity("x", "localhost", issuer=root, days=(2, 30)),
            "tls_not_yet_valid",
            r"the certificate is not valid before \d{4}-\d\d-\d\d \d\d:\d\d UTC",
        ),
        (
            lambda root: identity("x", "a.example", "*.b.example", issuer=root),
            "tls_hostname",
            r"the certificate is for a\.example, \*\.b\.example, not for localhost",
        ),
        (
            lambda root: identity("localhost", issuer=root),
            "tls_hostname",
            "the certificate names no host, so it is not for localhost",
        ),
        (
            lambda root: identity("localhost", "localhost"),
            "tls_self_signed",
            "the certificate is self-signed and not trusted here",
        ),
        (
            lambda root: identity("x", "localhost", issuer=identity("Nobody", authority=True)),
            "tls_untrusted",
            r"the certificate's issuer \(CN=Nobody\) is not trusted here, or the server does not send .*",
        ),
        (
            lambda root: identity("x", "a.example", issuer=root, days=(-30, -1)),
            "tls_expired",
            r"the certificate expired 1 day ago, on .* UTC; the certificate is for a\.example, not for localhost",
        ),
    ],
    ids=["expired", "not yet", "wrong host", "no names", "self-signed", "untrusted", "two things at once"],
)
async def test_a_bad_certificate_is_told_and_shown(
    made: Callable[[Identity], Identity], code: str, message: str, probe: Probing, root: Identity
) -> None:
    bad = made(root)
    async with tcp_server(hang, tls=bad.server_context()) as port:
        reading = await probe("tls", host="localhost", port=port, ca_certificate=root.pem)
        unverified = await probe("tls", host="localhost", port=port, ca_certificate=root.pem, verify_tls=False)
    assert reading.failure is not None
    assert (reading.failure.code, reading.failure.network) == (code, False)
    assert re.fullmatch(message, reading.failure.message), reading.failure.message
    assert [one.serial for one in reading.certificates] == [f"{bad.certificate.serial_number:x}"]
    assert reading.values["tls.version"] == "TLSv1.3"
    # Told not to mind, it minds nothing, but still says what is wrong.
    assert unverified.failure is None
    assert unverified.values["tls.hostname_ok"] is ("is for" not in message and "names no" not in message)
    assert unverified.values["tls.chain_ok"] is (code == "tls_hostname")


async def test_an_expired_certificate_nobody_minds_has_less_than_no_time_left(
    examined: Examining, root: Identity
) -> None:
    old = identity("x", "localhost", issuer=root, days=(-30, -2))
    async with tcp_server(hang, tls=old.server_context()) as port:
        seen = await examined("tls", host="localhost", port=port, ca_certificate=root.pem, verify_tls=False)
    assert seen.result is Result.FAILED
    assert seen.error.startswith('tls.expires_in > duration("0s") is false: tls.expires_in is -2.0 days')
    assert seen.reading is not None
    left = seen.reading.values["tls.expires_in"]
    assert isinstance(left, timedelta)
    assert timedelta(days=-2.1) < left < timedelta(days=-2)


async def test_the_whole_chain_is_shown_leaf_first_even_when_refused(probe: Probing, root: Identity) -> None:
    middle = identity("Middle", issuer=root, authority=True)
    leaf = identity("leaf", "localhost", issuer=middle, sends=(middle.certificate,))
    async with tcp_server(hang, tls=leaf.server_context()) as port:
        trusted = await probe("tls", host="localhost", port=port, ca_certificate=root.pem)
        refused = await probe("tls", host="localhost", port=port)
        by_the_middle = await probe("tls", host="localhost", port=port, ca_certificate=middle.pem)
    assert trusted.failure is None
    assert [one.subject for one in trusted.certificates] == ["CN=leaf", "CN=Middle"]
    assert refused.failure is not None
    assert refused.failure.message == "the certificate leads to CN=Tocsin Test Root, which is not trusted here"
    assert refused.certificates == trusted.certificates
    assert by_the_middle.failure is None


async def test_a_missing_intermediate_is_named(probe: Probing, root: Identity) -> None:
    middle = identity("Middle", issuer=root, authority=True)
    leaf = identity("leaf", "localhost", issuer=middle)
    async with tcp_server(hang, tls=leaf.server_context()) as port:
        reading = await probe("tls", host="localhost", port=port, ca_certificate=root.pem)
    assert reading.failure is not None
    assert reading.failure.message == (
        "the certificate's issuer (CN=Middle) is not trusted here, or the server does not send the issuer's certificate"
    )


async def test_another_name_can_be_asked_for(probe: Probing, root: Identity) -> None:
    asked: list[str | None] = []
    context = identity("x", "shop.example", issuer=root).server_context()
    context.sni_callback = lambda _connection, name, _context: asked.append(name)
    async with tcp_server(hang, tls=context) as port:
        reading = await probe("tls", host="127.0.0.1", port=port, server_name="shop.example", ca_certificate=root.pem)
    assert (reading.failure, asked) == (None, ["shop.example"])


async def test_a_server_that_asks_for_a_certificate_gets_it(probe: Probing, root: Identity, good: Identity) -> None:
    shown: list[str] = []

    async def look(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peercert")
        shown.append(dict(item[0] for item in peer["subject"])["commonName"])

    context = good.server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=root.pem)
    client = identity("tocsin-client", issuer=root)
    async with tcp_server(look, tls=context) as port:
        reading = await probe(
            "tcp",
            host="localhost",
            port=port,
            tls=True,
            receive=True,
            ca_certificate=root.pem,
            client_certificate=client.pem,
            client_key=client.key_pem,
        )
    with refusing_tls_server(context) as port:
        without = await probe("tcp", host="localhost", port=port, tls=True, receive=True, ca_certificate=root.pem)
    assert reading.failure is not None
    assert reading.failure.code == "closed"
    assert shown == ["tocsin-client"]
    assert without.failure is not None
    assert without.failure.code == "tls_handshake"
    assert "certificate required" in without.failure.message


async def test_an_old_server_is_refused_by_version(probe: Probing, root: Identity, good: Identity) -> None:
    context = good.server_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with refusing_tls_server(context) as port:
        reading = await probe("tls", host="localhost", port=port, ca_certificate=root.pem, minimum_tls_version="1.3")
        older = await probe("tls", host="localhost", port=port, ca_certificate=root.pem)
    assert reading.failure is not None
    assert (reading.failure.code, reading.failure.message) == (
        "tls_version",
        f"127.0.0.1:{port} offers no TLS version that is accepted here",
    )
    assert older.values["tls.version"] == "TLSv1.2"


async def test_what_is_no_tls_at_all(probe: Probing) -> None:
    async with tcp_server(saying(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        plain = await probe("tls", host="127.0.0.1", port=port)
    async with tcp_server(saying(b"")) as port:
        closing = await probe("tls", host="127.0.0.1", port=port)
    async with tcp_server(resetting) as port:
        reset = await probe("tls", host="127.0.0.1", port=port)
    async with tcp_server(hang) as port:
        mute = await probe("tls", timeout_s=0.1, host="127.0.0.1", port=port)
    failures = [reading.failure for reading in (plain, closing, reset, mute)]
    assert [failure and failure.code for failure in failures] == [
        "tls_not_spoken",
        "tls_handshake",
        "reset",
        "timeout",
    ]
    assert mute.failure is not None
    assert mute.failure.message == f"timed out after 0.1 s while greeting 127.0.0.1:{port} in TLS"


# STARTTLS

Dialogue = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def scripted(*steps: tuple[bytes, bytes]) -> Dialogue:
    """Says each first part, then waits for exactly each second part."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for says, hears in steps:
            writer.write(says)
            await writer.drain()
            assert await reader.readexactly(len(hears)) == hears

    return speak


LDAP_NAME = b"1.3.6.1.4.1.1466.20037"
LDAP_REQUEST = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x16" + LDAP_NAME
SCRIPTS: dict[str, tuple[tuple[bytes, bytes], ...]] = {
    "smtp": (
        (b"220-mail.example\r\n220 ready\r\n", b"EHLO tocsin\r\n"),
        (b"250-mail.example\r\n250-SIZE 1000\r\n250 STARTTLS\r\n", b"STARTTLS\r\n"),
        (b"220 go ahead\r\n", b""),
    ),
    "imap": (
        (b"* OK ready\r\n", b"t1 STARTTLS\r\n"),
        (b"* CAPABILITY IMAP4rev1\r\nt1 OK begin TLS\r\n", b""),
    ),
    "pop3": ((b"+OK ready\r\n", b"STLS\r\n"), (b"+OK begin\r\n", b"")),
    "ftp": ((b"220-Welcome\r\n to all\r\n220 ready\r\n", b"AUTH TLS\r\n"), (b"234 begin\r\n", b"")),
    "postgres": ((b"", b"\x00\x00\x00\x08\x04\xd2\x16\x2f"), (b"S", b"")),
    "ldap": ((b"", LDAP_REQUEST), (b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00", b"")),
}


@pytest.mark.parametrize("protocol", SCRIPTS)
async def test_starttls(protocol: str, probe: Probing, root: Identity, good: Identity) -> None:
    speak = scripted(*SCRIPTS[protocol])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await speak(reader, writer)
        await writer.start_tls(good.server_context())
        await reader.read()

    async with tcp_server(serve) as port:
        reading = await probe("tls", host="localhost", port=port, starttls=protocol, ca_certificate=root.pem)
    assert reading.failure is None
    assert reading.values["tls.version"] == "TLSv1.3"
    assert [one.subject for one in reading.certificates] == ["CN=localhost"]


async def test_starttls_then_a_dialogue(examined: Examining, root: Identity, good: Identity) -> None:
    speak = scripted(*SCRIPTS["smtp"])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await speak(reader, writer)
        await writer.start_tls(good.server_context())
        assert await reader.readline() == b"NOOP\r\n"
        writer.write(b"250 fine\r\n")
        await reader.read()

    async with tcp_server(serve) as port:
        seen = await examined(
            "tcp",
            host="localhost",
            port=port,
            starttls="smtp",
            send=r"NOOP\r\n",
            expect="250 fine",
            ca_certificate=root.pem,
        )
    assert (seen.error, seen.result) == ("", Result.PASSED)


@pytest.mark.parametrize(
    ("protocol", "steps", "code", "message"),
    [
        (
            "smtp",
            ((b"220 hi\r\n", b"EHLO tocsin\r\n"), (b"250-mail\r\n250 SIZE 1\r\n", b"")),
            "starttls_refused",
            "did not agree to begin TLS: “STARTTLS is not among what it offers”",
        ),
        ("smtp", ((b"554 go away\r\n", b""),), "starttls_refused", "“554 go away”"),
        ("smtp", ((b"SSH-2.0-x\r\n", b""),), "bad_answer", "does not speak SMTP: it said “SSH-2.0-x”"),
        ("smtp", ((b"2" * 10_000, b""),), "bad_answer", "does not speak SMTP"),
        ("smtp", ((b"220 hi\r\n", b"EHLO tocsin\r\n"), (b"250-x\r\n" * 200, b"")), "bad_answer", "does not speak SMTP"),
        (
            "smtp",
            (*SCRIPTS["smtp"][:2], (b"220 go ahead\r\n250 injected\r\n", b"")),
            "bad_answer",
            "sent plain text after it agreed",
        ),
        ("imap", ((b"* OK\r\n", b"t1 STARTTLS\r\n"), (b"t1 NO not here\r\n", b"")), "starttls_refused", "NO not here"),
        ("imap", ((b"* BYE\r\n", b""),), "bad_answer", "does not speak IMAP"),
        ("pop3", ((b"+OK\r\n", b"STLS\r\n"), (b"-ERR no\r\n", b"")), "starttls_refused", "-ERR no"),
        ("ftp", ((b"220 x\r\n", b"AUTH TLS\r\n"), (b"500 what\r\n", b"")), "starttls_refused", "500 what"),
        ("postgres", ((b"", b"\x00\x00\x00\x08\x04\xd2\x16\x2f"), (b"N", b"")), "starttls_refused", "“N”"),
        ("postgres", ((b"", b""), (b"H", b"")), "bad_answer", "does not speak PostgreSQL"),
        (
            "ldap",
            ((b"", LDAP_REQUEST), (b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x34\x04\x00\x04\x00", b"")),
            "starttls_refused",
            "LDAP result 52",
        ),
        ("ldap", ((b"", LDAP_REQUEST), (b"\x30\x02\x00\x00", b"")), "bad_answer", "does not speak LDAP"),
        ("imap", ((b"", b""),), "closed", "closed the connection before TLS could begin"),
    ],
)
async def test_starttls_refused_or_misspoken(
    protocol: str, steps: tuple[tuple[bytes, bytes], ...], code: str, message: str, probe: Probing
) -> None:
    async with tcp_server(scripted(*steps)) as port:
        reading = await probe("tls", host="localhost", port=port, starttls=protocol)
    assert reading.failure is not None
    assert reading.failure.code == code, reading.failure.message
    assert message in reading.failure.message
    assert not reading.failure.network


async def test_a_server_that_stops_in_the_middle_of_the_dialogue(probe: Probing) -> None:
    async def stop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hi\r\n")
        await reader.read()

    async with tcp_server(stop) as port:
        reading = await probe("tls", timeout_s=0.1, host="127.0.0.1", port=port, starttls="smtp")
    assert reading.failure is not None
    assert reading.failure.message == f"timed out after 0.1 s while waiting for 127.0.0.1:{port} to begin TLS"
