"""The dns kind: a question to a resolver, and whether the answer is the one expected.

Knows no target and no verdict; never asks a cache of ours, for the resolver is what is watched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.reversename
from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from tocsin.lib.dns import Reply, Server, Transport, ask, question, server_of, system_servers
from tocsin.lib.expressions import Kind, Value, fit_text
from tocsin.lib.faults import ContactFailure
from tocsin.lib.net import Network
from tocsin.lib.stream import Progress
from tocsin.probes.base import ProbeKind, ProbeSettings, Reading
from tocsin.probes.connection import attempt

Record = Literal[
    "A",
    "AAAA",
    "CAA",
    "CNAME",
    "DNSKEY",
    "DS",
    "HTTPS",
    "MX",
    "NAPTR",
    "NS",
    "PTR",
    "SOA",
    "SRV",
    "SVCB",
    "TLSA",
    "TXT",
]
_SHARE_OF_TIME = 0.95
"""How much of the time the question may take, so that its failure is told in time."""


def _checked_server(text: str) -> str:
    return str(server_of(text)) if text else ""


class DnsSettings(ProbeSettings):
    """A question to a DNS server."""

    host: str = Field(
        min_length=1,
        max_length=255,
        description="The name to ask for; with PTR also an IP address.",
        examples=["example.com", "_dmarc.example.com"],
    )
    record: Record = Field("A", description="The type of record to ask for.")
    resolver: Annotated[str, AfterValidator(_checked_server)] = Field(
        "",
        max_length=100,
        description="The address of the server to ask, with :port if it is not 53; empty: the system's.",
        examples=["1.1.1.1", "[2606:4700::1111]:53"],
    )
    transport: Transport = Field("udp", description="udp turns to tcp by itself where a reply is too large.")
    expect: list[Annotated[str, Field(min_length=1, max_length=4096)]] = Field(
        default_factory=list,
        max_length=100,
        description="Answers that must all be there; there may be others.",
        examples=[["192.0.2.10"], ["10 mail.example.com"]],
    )

    @field_validator("record")
    @classmethod
    def _asks_for_a_name(cls, record: Record, info: ValidationInfo) -> Record:
        if "host" in info.data:
            asked_name(info.data["host"], record)
        return record

    @field_validator("host")
    @classmethod
    def _is_a_name(cls, host: str) -> str:
        # A DNS name may hold any byte; what people type, and see again in lists and messages, may not.
        if not host.isprintable() or " " in host:
            raise ValueError("it holds spaces or control characters")
        asked_name(host, "A")
        return host

    @property
    def server(self) -> Server | None:
        return server_of(self.resolver) if self.resolver else None


def asked_name(host: str, record: Record) -> dns.name.Name:
    """The name that is asked for: for PTR and an IP address the one in ``in-addr.arpa``. Raises ``ValueError``."""
    if record == "PTR":
        try:
            return dns.reversename.from_address(host)
        except dns.exception.SyntaxError:
            pass
    try:
        return dns.name.from_text(host)
    except (dns.exception.DNSException, UnicodeError):
        raise ValueError(f"“{host}” is no DNS name") from None


@dataclass(slots=True)
class _Seen:
    """How far a probe came."""

    reply: Reply | None = None
    latency_us: int = 0


async def probe(settings: DnsSettings, timeout_s: float, network: Network) -> Reading:
    progress, seen = Progress(), _Seen()
    work = _ask(settings, timeout_s, network, progress, seen)
    failure = await attempt(work, timeout_s=timeout_s, progress=progress)
    values = {} if seen.reply is None else _values(settings.record, seen.reply, seen.latency_us)
    return Reading(
        latency_us=None if failure else seen.latency_us,
        phases=progress.phases,
        values=values,
        failure=failure,
        address=progress.address,
        details=lambda: _details(seen, values),
    )


async def _ask(settings: DnsSettings, timeout_s: float, network: Network, progress: Progress, seen: _Seen) -> None:
    server = settings.server
    if server is not None:
        network.guard.check(server.address)
    # The system's own servers are not a target's choice, so they are asked wherever they are: in some clouds that
    # is an address that targets must not contact.
    servers = system_servers() if server is None else [server]
    progress.address = servers[0].address
    query = question(asked_name(settings.host, settings.record), dns.rdatatype.from_text(settings.record))
    progress.begin("dns", f"asking {servers[0]} for {settings.host}")
    reply = await ask(query, servers, transport=settings.transport, timeout_s=timeout_s * _SHARE_OF_TIME)
    progress.end()
    progress.address = reply.server.address
    seen.reply, seen.latency_us = reply, progress.total_us
    rcode = reply.message.rcode()
    if server is None and rcode is dns.rcode.SERVFAIL:
        raise ContactFailure(
            "dns_failed", f"this machine's resolver {reply.server} could not find out (SERVFAIL)", network=True
        )
    if settings.expect:
        _compare(settings.expect, answers_of(reply.message, settings.record), rcode)


def _compare(expected: Sequence[str], answers: Sequence[str], rcode: dns.rcode.Rcode) -> None:
    present = {_comparable(answer) for answer in answers}
    missing = [answer for answer in expected if _comparable(answer) not in present]
    if missing:
        got = ", ".join(answers[:10]) if answers else dns.rcode.to_text(rcode) + " and no answers"
        raise ContactFailure(
            "unexpected_answer", f"{', '.join(missing)} is not among the answers: {got}", network=False
        )


def _comparable(answer: str) -> str:
    return " ".join(answer.lower().split()).rstrip(".")


def answers_of(message: dns.message.Message, record: Record) -> list[str]:
    """The data of the records asked for, also where a CNAME led to them, in the order they came."""
    asked = dns.rdatatype.from_text(record)
    return [text_of(data) for records in message.answer if records.rdtype == asked for data in records]


def text_of(data: dns.rdata.Rdata) -> str:
    """As in a zone file, but names without the last dot, and a TXT record as the one text it stands for."""
    if data.rdtype == dns.rdatatype.TXT:
        strings: tuple[bytes, ...] = data.strings  # type: ignore[attr-defined]
        return fit_text(b"".join(strings).decode("utf-8", "replace"))
    words: str = data.to_text(origin=dns.name.root, relativize=True)
    return " ".join("." if word == "@" else word for word in words.split(" "))


def _values(record: Record, reply: Reply, latency_us: int) -> dict[str, Value]:
    message = reply.message
    asked = dns.rdatatype.from_text(record)
    answers = answers_of(message, record)
    return {
        "rcode": dns.rcode.to_text(message.rcode()),
        "answers": list(answers),
        "authority": [
            f"{records.name.to_text(omit_final_dot=True)} {dns.rdatatype.to_text(records.rdtype)} {text_of(data)}"
            for records in message.authority
            for data in records
        ],
        "ttl_s": min((records.ttl for records in message.answer if records.rdtype == asked), default=0),
        "authenticated": bool(message.flags & dns.flags.AD),
        "latency_ms": latency_us / 1000,
        "ip": reply.server.address,
    }


def _details(seen: _Seen, values: dict[str, Value]) -> dict[str, object]:
    if seen.reply is None:
        return {}
    shown = {name: values[name] for name in ("rcode", "answers", "authority", "ttl_s", "authenticated")}
    return {**shown, "server": str(seen.reply.server), "transport": seen.reply.transport}


DNS = ProbeKind(
    kind="dns",
    title="DNS",
    settings=DnsSettings,
    variables={
        "rcode": Kind.STRING,
        "answers": Kind.STRINGS,
        "authority": Kind.STRINGS,
        "ttl_s": Kind.INT,
        "authenticated": Kind.BOOL,
        "latency_ms": Kind.NUMBER,
        "ip": Kind.STRING,
    },
    default_assertions=('rcode == "NOERROR"', "size(answers) > 0"),
    probe=probe,
    endpoint=lambda settings: (
        f"{settings.host} {settings.record}" + (f" @{settings.resolver}" if settings.resolver else "")
    ),
)
