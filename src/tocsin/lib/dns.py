"""One question to one DNS server, without any cache. Knows no probe and no guard.

dnspython makes and reads the messages; the sockets are here, connected, so that a closed port is seen as one.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, NamedTuple

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdatatype

from tocsin.lib.faults import ContactFailure, fault_of_errno
from tocsin.lib.stream import Stream, open_stream, place

Transport = Literal["udp", "tcp"]

PORT = 53
RESOLV_CONF = Path("/etc/resolv.conf")
_REPEAT_AFTER_S = 2.0
_PAYLOAD_BYTES = 1232
"""What fits into one packet on any path (DNS Flag Day 2020)."""
_MAX_DATAGRAM_BYTES = 65_535


class Server(NamedTuple):
    address: str
    port: int

    def __str__(self) -> str:
        return place(self.address, self.port)


def server_of(text: str) -> Server:
    """``1.1.1.1``, ``1.1.1.1:5353``, ``2606:4700::1111`` or ``[2606:4700::1111]:5353``. Raises ``ValueError``."""
    address, port = text, ""
    if text.startswith("["):
        address, bracket, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"“{text}” is no address with a port, such as [2606:4700::1111]:53")
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    try:
        literal = str(ip_address(address))
    except ValueError:
        raise ValueError(f"“{address}” is no IP address; a resolver is given by address, not by name") from None
    if not port:
        return Server(literal, PORT)
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise ValueError(f"“{port}” is no port")
    return Server(literal, int(port))


def system_servers(resolv_conf: Path = RESOLV_CONF) -> Sequence[Server]:
    """The servers this machine asks, in its order; one on this machine itself where none is named (resolv.conf(5))."""
    try:
        lines = resolv_conf.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    named = [words[1] for line in lines if len(words := line.split()) > 1 and words[0] == "nameserver"]
    return [Server(address, PORT) for address in named] or [Server("127.0.0.1", PORT)]


class Reply(NamedTuple):
    """``transport`` is the one the whole reply came over: tcp where it did not fit into a datagram."""

    message: dns.message.Message
    transport: Transport
    server: Server


def question(name: dns.name.Name, record: dns.rdatatype.RdataType) -> dns.message.QueryMessage:
    """Asks for recursion, and to be told (AD) whether the server verified the answer."""
    query = dns.message.make_query(name, record, use_edns=0, payload=_PAYLOAD_BYTES)
    query.flags |= dns.flags.AD
    return query


async def ask(
    query: dns.message.Message, servers: Sequence[Server], *, transport: Transport, timeout_s: float
) -> Reply:
    """The reply of the first of ``servers`` that gives one, each having an even share of the time that is left.

    A datagram is sent again every two seconds; a truncated reply is asked for again over TCP. Raises ``OwnFault``,
    or the ``ContactFailure`` of the last server: ``timeout``, ``refused`` …, ``bad_answer`` for what is no reply.
    """
    deadline = time.monotonic() + timeout_s
    failure: ContactFailure | None = None
    for tried, server in enumerate(servers):
        share_s = (deadline - time.monotonic()) / (len(servers) - tried)
        try:
            return await _ask(query, server, transport, time.monotonic() + share_s)
        except ContactFailure as fault:
            failure = fault
    raise failure or ValueError("no servers to ask")


async def _ask(query: dns.message.Message, server: Server, transport: Transport, deadline: float) -> Reply:
    if transport == "udp":
        message = await _ask_by_datagram(query, server, deadline)
        if not message.flags & dns.flags.TC:
            return Reply(message, "udp", server)
    return Reply(await _ask_by_stream(query, server, deadline), "tcp", server)


async def _ask_by_datagram(query: dns.message.Message, server: Server, deadline: float) -> dns.message.Message:
    """What is no reply to the question (another id, garbage) is passed over: anybody could have sent it."""
    loop = asyncio.get_running_loop()
    began, strays = time.monotonic(), 0
    with ExitStack() as closing:
        try:
            asking = socket.socket(socket.AF_INET6 if ":" in server.address else socket.AF_INET, socket.SOCK_DGRAM)
            closing.callback(asking.close)
            asking.setblocking(False)
            asking.connect(server)
            send_at = began
            while (now := time.monotonic()) < deadline:
                if now >= send_at:
                    await loop.sock_sendall(asking, query.to_wire())
                    send_at = now + _REPEAT_AFTER_S
                try:
                    async with asyncio.timeout(min(send_at, deadline) - now):
                        datagram = await loop.sock_recv(asking, _MAX_DATAGRAM_BYTES)
                except TimeoutError:
                    continue
                reply = _read(datagram)
                if reply is not None and query.is_response(reply):
                    return reply
                strays += 1
        except OSError as error:
            raise fault_of_errno(error.errno or 0, str(server)) from None
    if strays:
        raise ContactFailure("bad_answer", f"{server} sent {strays} messages that are no reply", network=False)
    raise _silent(server, deadline - began)


async def _ask_by_stream(query: dns.message.Message, server: Server, deadline: float) -> dns.message.Message:
    """RFC 7766: each message after its length in two bytes."""
    began = time.monotonic()
    with await open_stream(server.address, server.port, timeout_s=deadline - began) as stream:
        wire = query.to_wire()
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await stream.send(len(wire).to_bytes(2, "big") + wire)
                size_bytes = int.from_bytes(await _exactly(stream, 2), "big")
                reply = _read(await _exactly(stream, size_bytes))
        except TimeoutError:
            raise _silent(server, deadline - began) from None
    if reply is None or not query.is_response(reply):
        raise ContactFailure("bad_answer", f"{server} sent something that is no reply", network=False)
    return reply


async def _exactly(stream: Stream, size_bytes: int) -> bytes:
    data = b""
    while len(data) < size_bytes:
        more = await stream.receive(size_bytes - len(data))
        if not more:
            raise ContactFailure("closed", f"{stream.where} closed the connection without a reply", network=False)
        data += more
    return data


def _read(wire: bytes) -> dns.message.Message | None:
    try:
        return dns.message.from_wire(wire)
    except (dns.exception.DNSException, ValueError):
        return None


def _silent(server: Server, waited_s: float) -> ContactFailure:
    return ContactFailure("timeout", f"{server} did not answer within {waited_s:.3g} s", network=True)
