"""Servers on the loopback that do as they are told, also what no proper server does."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(slots=True)
class RawServer:
    """``connections`` counts those ever made; ``open`` those not yet closed by either side."""

    host: str
    port: int
    tls: bool
    connections: int = 0
    open: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Without a path. TLS servers are named ``localhost``, for which test certificates are made."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://localhost:{self.port}" if self.tls else f"http://{host}:{self.port}"


@asynccontextmanager
async def serving(
    handler: Handler, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[RawServer]:
    """Every connection is given to ``handler`` and closed when that returns, or at the end."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        server.open += 1
        task = asyncio.current_task()
        assert task is not None
        server.tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                await handler(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            server.open -= 1
            server.tasks.discard(task)
            writer.close()
            with suppress(ConnectionError, ssl.SSLError, TimeoutError):
                await writer.wait_closed()

    listening = await asyncio.start_server(connected, host, 0, ssl=tls)
    server = RawServer(host, listening.sockets[0].getsockname()[1], tls is not None)
    try:
        yield server
    finally:
        listening.close()
        for task in list(server.tasks):
            task.cancel()
        await asyncio.gather(*server.tasks, return_exceptions=True)
        await listening.wait_closed()


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came; header names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


async def read_request(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(method, target, headers, body)


def reply(
    body: bytes = b"hello", *, status: int = 200, headers: Sequence[tuple[str, str]] = (), length: int | None = None
) -> bytes:
    """A whole HTTP/1.1 reply. ``length`` claims another length than the body has."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def answering(answer: bytes | Callable[[Asked], bytes], asked: list[Asked] | None = None) -> Handler:
    """Reads one request, notes it in ``asked``, sends ``answer`` and closes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await read_request(reader)
        if asked is not None:
            asked.append(request)
        writer.write(answer if isinstance(answer, bytes) else answer(request))
        await writer.drain()

    return handle


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes everything and never says a word."""
    while await reader.read(65536):
        pass


def resetting(sent: bytes = b"") -> Handler:
    """Reads one request, sends ``sent`` and resets the connection."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sent)
        await writer.drain()
        # Lingering for no time makes closing send RST instead of FIN.
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    return handle


async def until(holds: Callable[[], bool]) -> None:
    """Waits for what comes about by itself; the test's own time limit ends a wait in vain."""
    while not holds():  # noqa: ASYNC110 - it is a socket of another side, which sets no event
        await asyncio.sleep(0.005)


@asynccontextmanager
async def deaf_port() -> AsyncIterator[int]:
    """A port of 127.0.0.1 whose queue is full: the system drops further attempts to connect without a word."""
    with ExitStack() as closing:
        listening = closing.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(2):
            waiting = closing.enter_context(socket.socket())
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect(listening.getsockname())
        yield listening.getsockname()[1]


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


# Names


Records = Mapping[tuple[str, str], Sequence[str]]
"""(name without the last dot, record type) → values."""


@dataclass(slots=True)
class DnsServer(asyncio.DatagramProtocol):
    """Answers from ``records``; other names do not exist; those in ``silent`` get no answer, in ``broken`` SERVFAIL."""

    records: Records
    silent: frozenset[str] = frozenset()
    broken: frozenset[str] = frozenset()
    asked: list[tuple[str, str]] = field(default_factory=list)
    port: int = 0
    _transport: asyncio.DatagramTransport | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.DatagramTransport) or hasattr(transport, "sendto")
        self._transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        if name in self.silent:
            return
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        if name in self.broken:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif values := self.records.get((name, kind)):
            answer.answer.append(dns.rrset.from_text(question.name, 1, "IN", kind, *values))
        elif not any(known == name for known, _ in self.records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        assert self._transport is not None
        self._transport.sendto(answer.to_wire(), addr)


@asynccontextmanager
async def naming(
    records: Records, *, silent: Sequence[str] = (), broken: Sequence[str] = ()
) -> AsyncIterator[DnsServer]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(
        lambda: DnsServer(records, frozenset(silent), frozenset(broken)), local_addr=("127.0.0.1", 0)
    )
    server.port = transport.get_extra_info("sockname")[1]
    try:
        yield server
    finally:
        transport.close()
        await asyncio.sleep(0)
