"""Probe tcp against real sockets, well and badly behaved."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.probes.authority import Identity, identity
from tests.probes.probing import Examining, Probing
from tests.probes.servers import closed_port, resetting, saying, tcp_server
from tests.servers import deaf_port, hang, naming
from tocsin.core.outcome import Result
from tocsin.lib.net import Network
from tocsin.probes import PROBES
from tocsin.probes.tcp import MAX_RECEIVED_BYTES, TcpSettings, unescaped


async def test_an_open_port_passes_with_its_phases(examined: Examining) -> None:
    async with tcp_server(hang) as port:
        seen = await examined("tcp", host="127.0.0.1", port=port)
    assert (seen.result, seen.error, seen.address) == (Result.PASSED, "", "127.0.0.1")
    assert seen.latency_us is not None
    assert seen.phases.dns_us is not None
    assert seen.phases.connect_us is not None
    assert (seen.phases.tls_us, seen.phases.first_byte_us) == (None, None)
    assert seen.latency_us >= seen.phases.dns_us + seen.phases.connect_us


async def test_a_closed_port_refuses(examined: Examining) -> None:
    with closed_port() as port:
        seen = await examined("tcp", host="127.0.0.1", port=port)
    assert (seen.result, seen.error) == (Result.FAILED, f"connection refused by 127.0.0.1:{port}")
    assert (seen.network_fault, seen.address) == (False, "127.0.0.1")


async def test_a_port_that_never_connects_times_out_while_connecting(probe: Probing) -> None:
    async with deaf_port() as port:
        reading = await probe("tcp", timeout_s=0.2, host="127.0.0.1", port=port)
    assert reading.failure is not None
    assert (reading.failure.code, reading.failure.network) == ("timeout", True)
    assert reading.failure.message == f"timed out after 0.2 s while connecting to 127.0.0.1:{port}"
    assert reading.phases.connect_us is None
    assert reading.latency_us is None


async def test_a_name_that_is_ipv6_only_is_reached_over_ipv6(probe: Probing) -> None:
    async with tcp_server(hang, host="::1") as port:
        assert (await probe("tcp", host="::1", port=port)).failure is None
        over_name = await probe("tcp", host="localhost", port=port)
        assert (over_name.failure, over_name.address) == (None, "::1")
        wrong = await probe("tcp", host="localhost", port=port, ip_version="4")
    assert wrong.failure is not None
    assert wrong.failure.code == "refused"


async def test_a_name_that_leads_nowhere() -> None:
    row = PROBES["tcp"]
    assert row.probe is not None
    async with (
        naming({("six.example", "AAAA"): ["::1"]}, broken=["broken.example"], silent=["mute.example"]) as names,
        Network.open(resolvers=[names.address]) as network,
        tcp_server(hang, host="::1") as port,
    ):
        readings = {
            name: await row.probe(TcpSettings.model_validate({"host": name, "port": port}), 1.0, network)
            for name in ("nowhere.example", "broken.example", "mute.example", "six.example")
        }
    failures = {name: reading.failure for name, reading in readings.items()}
    assert failures.pop("six.example") is None
    assert readings["six.example"].address == "::1"
    codes = {name: (failure.code, failure.network) for name, failure in failures.items() if failure}
    assert codes == {
        "nowhere.example": ("name_not_found", False),
        "broken.example": ("dns_failed", True),
        "mute.example": ("timeout", True),
    }
    mute = failures["mute.example"]
    assert mute is not None
    assert mute.message == "timed out after 1 s while looking up mute.example"


async def test_a_metadata_address_is_never_contacted(examined: Examining) -> None:
    seen = await examined("tcp", host="169.254.169.254", port=80)
    assert seen.result is Result.FAILED
    assert "169.254.169.254 must not be contacted" in seen.error
    assert not seen.network_fault


# what is said and heard


async def test_what_is_sent_and_what_is_expected(examined: Examining) -> None:
    async def redis(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(6) == b"PING\r\n"
        writer.write(b"+PO")
        await writer.drain()
        await asyncio.sleep(0)
        writer.write(b"NG\r\n")
        await reader.read()

    async with tcp_server(redis) as port:
        seen = await examined(
            "tcp", 'received == "+PONG\\r\\n"', host="127.0.0.1", port=port, send=r"PING\r\n", expect=r"+PONG\r\n"
        )
    assert (seen.error, seen.result) == ("", Result.PASSED)
    assert seen.phases.first_byte_us is not None
    assert seen.phases.transfer_us is not None
    assert seen.evidence()["details"] == {"received": "+PONG\r\n", "received_bytes": 7}


async def test_a_banner_can_be_judged_without_sending_anything(examined: Examining) -> None:
    async with tcp_server(saying(b"SSH-2.0-OpenSSH_9.2p1\r\n")) as port:
        seen = await examined("tcp", 'received.startsWith("SSH-1")', host="127.0.0.1", port=port, receive=True)
    assert seen.result is Result.FAILED
    assert seen.error == ("received.startsWith(\"SSH-1\") is false: received is 'SSH-2.0-OpenSSH_9.2p1\\r\\n'")


async def test_another_answer_is_quoted(examined: Examining) -> None:
    async with tcp_server(saying(b"-ERR no\r\n")) as port:
        seen = await examined("tcp", host="127.0.0.1", port=port, expect="+OK")
    assert seen.error == (f"127.0.0.1:{port} closed the connection without “+OK”; received “-ERR no\\r\\n”")


async def test_garbage_is_text_with_replacements(examined: Examining) -> None:
    garbage = bytes(range(256)) * 4
    async with tcp_server(saying(garbage)) as port:
        seen = await examined("tcp", "size(received) >= 1024", host="127.0.0.1", port=port, expect=r"\xfc\xfd\xfe\xff")
    assert (seen.result, seen.error) == (Result.PASSED, "")


async def test_a_silent_port_times_out_waiting(probe: Probing) -> None:
    async with tcp_server(hang) as port:
        reading = await probe("tcp", timeout_s=0.1, host="127.0.0.1", port=port, send="hello")
    assert reading.failure is not None
    assert reading.failure.code == "timeout"
    assert reading.failure.message == f"timed out after 0.1 s while waiting for an answer from 127.0.0.1:{port}"
    assert reading.phases.connect_us is not None


async def test_half_an_answer_is_not_a_silence(probe: Probing) -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail")
        await reader.read()

    async with tcp_server(half) as port:
        reading = await probe("tcp", timeout_s=0.1, host="127.0.0.1", port=port, expect=r"ready\r\n")
    assert reading.failure is not None
    assert (reading.failure.code, reading.failure.network) == ("unexpected_answer", False)
    assert reading.failure.message.endswith("; received “220 mail”")


async def test_a_connection_closed_at_once(probe: Probing) -> None:
    async with tcp_server(saying(b"")) as port:
        reading = await probe("tcp", host="127.0.0.1", port=port, receive=True)
    assert reading.failure is not None
    assert (reading.failure.code, reading.failure.message) == (
        "closed",
        f"127.0.0.1:{port} closed the connection without a word",
    )


async def test_a_reset_in_the_middle(probe: Probing) -> None:
    async with tcp_server(resetting) as port:
        reading = await probe("tcp", host="127.0.0.1", port=port, send="x")
    assert reading.failure is not None
    assert (reading.failure.code, reading.failure.network) == ("reset", False)
    assert reading.failure.message == f"connection reset (127.0.0.1:{port})"


async def test_an_endless_answer_is_cut_off(probe: Probing) -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x" * 8192)
            await writer.drain()

    async with tcp_server(endless) as port:
        reading = await probe("tcp", host="127.0.0.1", port=port, expect="never")
    assert reading.failure is not None
    assert reading.failure.code == "unexpected_answer"
    assert "sent 64 KiB without “never”" in reading.failure.message
    assert reading.details()["received_bytes"] == MAX_RECEIVED_BYTES


# TLS


async def test_tls_from_the_first_byte(examined: Examining, root: Identity, good: Identity) -> None:
    async with tcp_server(saying(b"hello"), tls=good.server_context()) as port:
        seen = await examined(
            "tcp",
            'tls.version == "TLSv1.3" && tls.expires_in > duration("1h") && received == "hello"',
            host="127.0.0.1",
            port=port,
            tls=True,
            expect="hello",
            ca_certificate=root.pem,
        )
    assert (seen.error, seen.result) == ("", Result.PASSED)
    assert seen.phases.tls_us is not None
    assert [certificate.names for certificate in seen.certificates] == [("localhost", "127.0.0.1")]


async def test_an_untrusted_certificate_fails_and_is_shown(examined: Examining) -> None:
    stranger = identity("localhost", "localhost", "127.0.0.1")
    async with tcp_server(hang, tls=stranger.server_context()) as port:
        seen = await examined("tcp", host="127.0.0.1", port=port, tls=True)
        trusting = await examined("tcp", host="127.0.0.1", port=port, tls=True, verify_tls=False)
    assert (seen.result, seen.error) == (Result.FAILED, "the certificate is self-signed and not trusted here")
    assert [certificate.subject for certificate in seen.certificates] == ["CN=localhost"]
    assert trusting.result is Result.PASSED


async def test_an_assertion_about_tls_without_tls_says_what_to_do(examined: Examining) -> None:
    async with tcp_server(hang) as port:
        seen = await examined("tcp", 'tls.version == "TLSv1.3"', host="127.0.0.1", port=port)
    assert seen.result is Result.FAILED
    assert seen.error.endswith("there is no tls.version: set tls or starttls")


# faults of ours


async def test_no_file_descriptors_left_measures_nothing(examined: Examining) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    await examined("tcp", host="127.0.0.1", port=1)
    with ExitStack() as cleaning:
        cleaning.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
        with suppress(OSError):
            while True:
                cleaning.enter_context(socket.socket())
        seen = await examined("tcp", host="127.0.0.1", port=1)
    assert seen.result is Result.UNMEASURED
    assert "open-file limit" in seen.error


@pytest.mark.parametrize("runner", [asyncio.run, uvloop.run])
def test_cancelling_leaves_nothing_behind(runner: Callable[..., None]) -> None:
    """Unclosed sockets, and descriptors that the loop still watches, would surface as warnings or errors."""

    async def main() -> None:
        errors: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        row = PROBES["tcp"]
        assert row.probe is not None
        async with Network.open() as network, tcp_server(hang) as port:
            settings = TcpSettings.model_validate({"host": "127.0.0.1", "port": port, "receive": True})
            for _ in range(3):
                probing = asyncio.ensure_future(row.probe(settings, 5.0, network))
                await asyncio.sleep(0.02)
                probing.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await probing
            async with deaf_port() as full:
                settings = TcpSettings.model_validate({"host": "127.0.0.1", "port": full})
                probing = asyncio.ensure_future(row.probe(settings, 5.0, network))
                await asyncio.sleep(0.02)
                probing.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await probing
                reading = await row.probe(settings, 0.05, network)
                assert reading.failure is not None
                assert reading.failure.code == "timeout"
            await asyncio.sleep(0.02)
        assert errors == []

    runner(main())


# what may be written


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("", b""),
        ("plain", b"plain"),
        (r"PING\r\n", b"PING\r\n"),
        (r"\x00\xff\0\t\\n", b"\x00\xff\x00\t\\n"),
        ("grüße", "grüße".encode()),
    ],
)
def test_escapes(text: str, data: bytes) -> None:
    assert unescaped(text) == data


@pytest.mark.parametrize(
    ("text", "place"), [(r"a\q", r"“\\q” at character 2"), ("ab\\", "at character 3"), (r"\x1", "1")]
)
def test_an_unknown_escape_is_refused_with_its_place(text: str, place: str) -> None:
    with pytest.raises(ValueError, match=place):
        unescaped(text)


@given(st.text(max_size=50))
def test_doubled_backslashes_stand_for_any_text(text: str) -> None:
    assert unescaped(text.replace("\\", "\\\\")) == text.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize(
    ("settings", "field", "message"),
    [
        ({"host": "", "port": 1}, "host", "at least 1"),
        ({"host": "a b", "port": 1}, "host", "no valid host name"),
        ({"host": "a", "port": 0}, "port", "greater than or equal to 1"),
        ({"host": "a", "port": 1, "expect": r"\q"}, "expect", "no escape"),
        ({"host": "a", "port": 1, "tls": True, "starttls": "smtp"}, "tls", "choose one"),
        ({"host": "a", "port": 1, "ca_certificate": "nonsense"}, "ca_certificate", "not a certificate"),
        ({"host": "a", "port": 1, "client_key": "nonsense"}, "client_key", "without client_certificate"),
        ({"host": "a", "port": 1, "client_certificate": "x"}, "client_key", "PEM form"),
        ({"host": "a", "port": 1, "colour": "red"}, "colour", "Extra inputs"),
    ],
)
def test_bad_settings_name_their_field(settings: dict[str, object], field: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message) as refused:
        TcpSettings.model_validate(settings)
    assert [error["loc"] for error in refused.value.errors()] == [(field,)]


def test_a_key_must_belong_to_its_certificate(root: Identity, good: Identity) -> None:
    with pytest.raises(ValidationError, match="does not belong"):
        TcpSettings.model_validate({"host": "a", "port": 1, "client_certificate": good.pem, "client_key": root.key_pem})
