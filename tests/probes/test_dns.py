"""Probe dns against a small DNS server that can misbehave in every way that matters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest
from pydantic import ValidationError

from tests.probes.probing import Examining, Probing
from tests.probes.servers import closed_port
from tocsin.core.outcome import Result
from tocsin.lib import dns as lib_dns
from tocsin.lib.dns import Server, server_of, system_servers
from tocsin.probes.dns import DnsSettings, text_of

Answering = Callable[[dns.message.Message], Sequence[bytes]]
"""The messages sent back for a query, if any."""

ZONE = """
www.example. 300 IN CNAME host.example.
host.example. 60 IN A 192.0.2.10
host.example. 60 IN A 192.0.2.11
host.example. 60 IN AAAA 2001:db8::10
example. 3600 IN MX 10 mail.example.
example. 3600 IN TXT "v=spf1 " "-all"
example. 3600 IN SOA ns.example. admin.example. 7 3600 600 86400 60
example. 3600 IN CAA 0 issue "ca.example"
nomail.example. 3600 IN MX 0 .
_sip._tcp.example. 3600 IN SRV 5 10 5060 host.example.
10.2.0.192.in-addr.arpa. 60 IN PTR host.example.
"""


def reply(query: dns.message.Message, *, rcode: dns.rcode.Rcode | None = None, flags: int = 0) -> dns.message.Message:
    """From ``ZONE``, following one CNAME."""
    answer = dns.message.make_response(query)
    answer.flags |= flags
    (asked,) = query.question
    name = asked.name.canonicalize()
    lines = [line.split(None, 4) for line in ZONE.strip().splitlines()]
    for _ in range(2):
        for owner, ttl, _, record, data in lines:
            if owner == name.to_text() and record in (dns.rdatatype.to_text(asked.rdtype), "CNAME"):
                answer.answer.append(dns.rrset.from_text(owner, int(ttl), "IN", record, data))
        redirect = [records for records in answer.answer if records.rdtype == dns.rdatatype.CNAME]
        if not redirect or name == redirect[0][0].target:
            break
        name = redirect[0][0].target
    if rcode is None and not any(owner == asked.name.canonicalize().to_text() for owner, *_ in lines):
        rcode = dns.rcode.NXDOMAIN
        answer.authority.append(
            dns.rrset.from_text("example.", 60, "IN", "SOA", "ns.example. admin.example. 7 3600 600 86400 60")
        )
    answer.set_rcode(rcode or dns.rcode.NOERROR)
    return answer


def honest(query: dns.message.Message) -> Sequence[bytes]:
    return [reply(query).to_wire()]


def servfail(query: dns.message.Message) -> Sequence[bytes]:
    return [reply(query, rcode=dns.rcode.SERVFAIL).to_wire()]


def silent(query: dns.message.Message) -> Sequence[bytes]:
    return []


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self.queries: list[dns.message.Message] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        self.queries.append(query)
        for message in self._answering(query):
            self._transport.sendto(message, addr)


@asynccontextmanager
async def dns_server(
    over_udp: Answering = honest, over_tcp: Answering = honest
) -> AsyncIterator[tuple[str, list[dns.message.Message]]]:
    """Its address, as a target writes it, and the datagrams it was asked."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size_bytes = int.from_bytes(await reader.readexactly(2), "big")
        for message in over_tcp(dns.message.from_wire(await reader.readexactly(size_bytes))):
            writer.write(len(message).to_bytes(2, "big") + message)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Datagrams(over_udp), ("127.0.0.1", port)
    )
    try:
        yield f"127.0.0.1:{port}", protocol.queries
    finally:
        transport.close()
        server.close()
        await asyncio.sleep(0)


async def test_an_answer_passes_with_everything_it_says(examined: Examining) -> None:
    async with dns_server() as (resolver, queries):
        seen = await examined(
            "dns",
            'rcode == "NOERROR"',
            'answers == ["192.0.2.10", "192.0.2.11"]',
            "ttl_s == 60 && !authenticated",
            "latency_ms > 0.0",
            'ip == "127.0.0.1"',
            host="host.example",
            resolver=resolver,
        )
    assert (seen.error, seen.result) == ("", Result.PASSED)
    assert seen.phases.dns_us is not None
    details = seen.evidence()["details"]
    assert isinstance(details, dict)
    assert (details["server"], details["transport"]) == (resolver, "udp")
    assert queries[0].flags & dns.flags.RD


@pytest.mark.parametrize(
    ("host", "record", "answers"),
    [
        ("www.example", "A", ["192.0.2.10", "192.0.2.11"]),
        ("host.example.", "AAAA", ["2001:db8::10"]),
        ("www.example", "CNAME", ["host.example"]),
        ("example", "MX", ["10 mail.example"]),
        ("nomail.example", "MX", ["0 ."]),
        ("example", "TXT", ["v=spf1 -all"]),
        ("example", "SOA", ["ns.example admin.example 7 3600 600 86400 60"]),
        ("example", "CAA", ['0 issue "ca.example"']),
        ("_sip._tcp.example", "SRV", ["5 10 5060 host.example"]),
        ("192.0.2.10", "PTR", ["host.example"]),
    ],
)
async def test_records_read_as_people_write_them(host: str, record: str, answers: list[str], probe: Probing) -> None:
    async with dns_server() as (resolver, _):
        reading = await probe("dns", host=host, record=record, resolver=resolver, expect=answers)
    assert reading.failure is None
    assert reading.values["answers"] == answers


async def test_a_name_that_does_not_exist_fails_plainly(examined: Examining) -> None:
    async with dns_server() as (resolver, _):
        seen = await examined("dns", host="nowhere.example", resolver=resolver)
        wanted = await examined("dns", 'rcode == "NXDOMAIN"', host="nowhere.example", resolver=resolver)
    assert (seen.result, seen.error) == (Result.FAILED, "rcode == \"NOERROR\" is false: rcode is 'NXDOMAIN'")
    assert not seen.network_fault
    assert seen.reading is not None
    assert seen.reading.values["authority"] == ["example SOA ns.example admin.example 7 3600 600 86400 60"]
    assert wanted.result is Result.PASSED


async def test_a_name_without_that_record_fails(examined: Examining) -> None:
    async with dns_server() as (resolver, _):
        seen = await examined("dns", host="mail.example", resolver=resolver, record="MX", timeout_s=5)
        empty = await examined("dns", host="nomail.example", resolver=resolver, record="A")
    assert seen.error.startswith("rcode")
    assert empty.error == "size(answers) > 0 is false: answers is []"


async def test_an_unexpected_answer_names_both(examined: Examining) -> None:
    async with dns_server() as (resolver, _):
        seen = await examined("dns", host="host.example", resolver=resolver, expect=["192.0.2.11", "192.0.2.99"])
        none = await examined("dns", host="nowhere.example", resolver=resolver, expect=["192.0.2.1"])
    assert seen.error == "192.0.2.99 is not among the answers: 192.0.2.10, 192.0.2.11"
    assert none.error == "192.0.2.1 is not among the answers: NXDOMAIN and no answers"


async def test_expected_names_may_differ_in_case_dot_and_spaces(probe: Probing) -> None:
    async with dns_server() as (resolver, _):
        reading = await probe("dns", host="EXAMPLE.", record="MX", resolver=resolver, expect=["10  Mail.Example."])
    assert reading.failure is None


async def test_an_answer_the_server_verified_says_so(probe: Probing) -> None:
    async with dns_server(lambda query: [reply(query, flags=dns.flags.AD).to_wire()]) as (resolver, queries):
        reading = await probe("dns", host="host.example", resolver=resolver)
    assert reading.values["authenticated"] is True
    assert queries[0].flags & dns.flags.AD


async def test_servfail_of_a_named_server_can_be_judged(examined: Examining) -> None:
    async with dns_server(servfail) as (resolver, _):
        seen = await examined("dns", host="host.example", resolver=resolver)
    assert (seen.result, seen.network_fault) == (Result.FAILED, False)
    assert "rcode is 'SERVFAIL'" in seen.error


# transports


async def test_a_truncated_reply_is_asked_for_again_over_tcp(probe: Probing) -> None:
    def cut(query: dns.message.Message) -> Sequence[bytes]:
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.TC
        return [answer.to_wire()]

    async with dns_server(cut) as (resolver, queries):
        reading = await probe("dns", host="host.example", resolver=resolver)
    assert reading.failure is None
    assert reading.values["answers"] == ["192.0.2.10", "192.0.2.11"]
    assert reading.details()["transport"] == "tcp"
    assert len(queries) == 1


async def test_tcp_from_the_start(probe: Probing) -> None:
    async with dns_server(silent) as (resolver, queries):
        reading = await probe("dns", host="host.example", resolver=resolver, transport="tcp")
    assert (reading.failure, queries) == (None, [])


async def test_a_lost_datagram_is_sent_again(probe: Probing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lib_dns, "_REPEAT_AFTER_S", 0.05)
    lost: list[int] = []

    def first_lost(query: dns.message.Message) -> Sequence[bytes]:
        if lost:
            return honest(query)
        lost.append(query.id)
        return []

    async with dns_server(first_lost) as (resolver, queries):
        reading = await probe("dns", host="host.example", resolver=resolver)
    assert reading.failure is None
    assert [query.id for query in queries] == [lost[0], lost[0]]


# misbehaviour


def wrong_id(query: dns.message.Message) -> Sequence[bytes]:
    answer = reply(query)
    answer.id = query.id ^ 1
    return [answer.to_wire()]


def other_question(query: dns.message.Message) -> Sequence[bytes]:
    other = dns.message.make_query("other.example", "A", id=query.id)
    return [dns.message.make_response(other).to_wire()]


def garbage(query: dns.message.Message) -> Sequence[bytes]:
    return [b"\xff" * 40, b"", query.to_wire()]


@pytest.mark.parametrize("misbehaving", [wrong_id, other_question, garbage])
async def test_what_is_no_reply_is_passed_over(misbehaving: Answering, probe: Probing) -> None:
    async with dns_server(lambda query: [*misbehaving(query), *honest(query)]) as (resolver, _):
        patient = await probe("dns", host="host.example", resolver=resolver)
    async with dns_server(misbehaving, misbehaving) as (resolver, _):
        never = await probe("dns", timeout_s=0.5, host="host.example", resolver=resolver)
        over_tcp = await probe("dns", host="host.example", resolver=resolver, transport="tcp")
    assert patient.failure is None
    assert patient.values["answers"] == ["192.0.2.10", "192.0.2.11"]
    assert never.failure is not None
    assert (never.failure.code, never.failure.network) == ("bad_answer", False)
    assert "that are no reply" in never.failure.message
    assert over_tcp.failure is not None
    assert over_tcp.failure.code == "bad_answer"


async def test_a_silent_server_times_out(probe: Probing) -> None:
    async with dns_server(silent, silent) as (resolver, _):
        over_udp = await probe("dns", timeout_s=0.2, host="host.example", resolver=resolver)
        over_tcp = await probe("dns", timeout_s=5, host="host.example", resolver=resolver, transport="tcp")
    assert over_udp.failure is not None
    assert (over_udp.failure.code, over_udp.failure.network) == ("timeout", True)
    assert over_udp.failure.message == f"{resolver} did not answer within 0.19 s"
    assert over_udp.address == "127.0.0.1"
    assert over_tcp.failure is not None
    assert over_tcp.failure.code == "closed"


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_closed_port_refuses_at_once(transport: str, probe: Probing) -> None:
    with closed_port() as port:
        reading = await probe("dns", host="host.example", resolver=f"127.0.0.1:{port}", transport=transport)
    assert reading.failure is not None
    assert (reading.failure.code, reading.failure.network) == ("refused", False)
    assert reading.failure.message == f"connection refused by 127.0.0.1:{port}"


async def test_a_blocked_resolver_is_never_asked(examined: Examining) -> None:
    seen = await examined("dns", host="host.example", resolver="169.254.169.254")
    assert seen.result is Result.FAILED
    assert "169.254.169.254 must not be contacted" in seen.error


# the system's servers


async def test_the_system_s_servers_are_asked_in_turn(probe: Probing, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dns_server() as (resolver, _), dns_server(silent) as (mute, _):
        monkeypatch.setattr("tocsin.probes.dns.system_servers", lambda: [server_of(mute), server_of(resolver)])
        reading = await probe("dns", timeout_s=0.4, host="host.example")
    assert reading.failure is None
    assert reading.details()["server"] == resolver


async def test_a_system_server_that_cannot_find_out_is_a_fault_of_the_network(
    examined: Examining, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with dns_server(servfail) as (resolver, _):
        monkeypatch.setattr("tocsin.probes.dns.system_servers", lambda: [server_of(resolver)])
        seen = await examined("dns", host="host.example")
    assert (seen.result, seen.network_fault) == (Result.FAILED, True)
    assert seen.error == f"this machine's resolver {resolver} could not find out (SERVFAIL)"


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        (
            "# comment\nnameserver 192.0.2.1\nsearch example\nnameserver  2001:db8::1\n",
            ["192.0.2.1:53", "[2001:db8::1]:53"],
        ),
        ("options edns0\nnameserver\n", ["127.0.0.1:53"]),
        (None, ["127.0.0.1:53"]),
    ],
)
def test_the_system_s_servers_are_read(text: str | None, servers: list[str], tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    if text is not None:
        file.write_text(text)
    assert [str(server) for server in system_servers(file)] == servers


# what may be written


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("1.1.1.1", Server("1.1.1.1", 53)),
        ("1.1.1.1:5353", Server("1.1.1.1", 5353)),
        ("2606:4700::1111", Server("2606:4700::1111", 53)),
        ("[2606:4700::1111]", Server("2606:4700::1111", 53)),
        ("[2606:4700::1111]:5353", Server("2606:4700::1111", 5353)),
    ],
)
def test_a_resolver_is_an_address_with_or_without_a_port(text: str, server: Server) -> None:
    assert server_of(text) == server
    assert server_of(str(server)) == server


@pytest.mark.parametrize(
    ("settings", "field", "message"),
    [
        ({"host": "a..b"}, "host", "is no DNS name"),
        ({"host": "a" * 64 + ".example"}, "host", "is no DNS name"),
        ({"host": ""}, "host", "at least 1"),
        ({"host": "a", "resolver": "dns.example"}, "resolver", "is no IP address"),
        ({"host": "a", "resolver": "1.1.1.1:99999"}, "resolver", "“99999” is no port"),
        ({"host": "a", "resolver": "[::1]x"}, "resolver", "no address with a port"),
        ({"host": "a", "record": "ANY"}, "record", "Input should be"),
        ({"host": "a", "expect": [""]}, "expect", "at least 1"),
    ],
)
def test_bad_settings_name_their_field(settings: dict[str, object], field: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message) as refused:
        DnsSettings.model_validate(settings)
    assert refused.value.errors()[0]["loc"][0] == field


def test_bytes_that_are_no_text_do_not_break_an_answer() -> None:
    data = dns.rdata.from_wire(dns.rdataclass.IN, dns.rdatatype.TXT, b"\x04\xff\x00ab", 0, 5)
    assert text_of(data) == "��ab"
