"""One outgoing TCP connection, to which TLS may be added, timed phase by phase.

Addresses are looked up and guarded first and then connected to as such. Knows no probe. A plain socket and an
``ssl.SSLObject`` rather than a transport: the certificate chain stays readable after a refused handshake, TLS can
begin after any dialogue, and closing never waits.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from contextlib import ExitStack, suppress
from types import TracebackType

from tocsin.lib.faults import ContactFailure, fault_of_errno
from tocsin.lib.net import Network
from tocsin.lib.phases import Phases
from tocsin.lib.resolve import IpVersion
from tocsin.lib.tls import TlsOptions, TlsSession, chain_of, context_of, handshake_failure, refused, session_of

_CHUNK_BYTES = 16 * 1024


class Progress:
    """How far an exchange came. Its phases follow one after another: begin one, and the one before it has ended.

    ``doing`` says for people what is under way, so that a timeout can name it; ``address`` is the one last contacted.
    """

    def __init__(self) -> None:
        self.began_ns = time.perf_counter_ns()
        self.doing = ""
        self.address: str | None = None
        self._ended_us: dict[str, int] = {}
        self._phase: str | None = None
        self._phase_began_ns = self.began_ns

    def begin(self, phase: str | None, doing: str) -> None:
        """``phase`` is a field of ``Phases`` without its unit, or None for what belongs to no phase."""
        self.end()
        self._phase, self.doing = phase, doing

    def connecting(self, address: str, port: int) -> None:
        self.begin("connect", f"connecting to {place(address, port)}")
        self.address = address

    def end(self) -> None:
        now_ns = time.perf_counter_ns()
        if self._phase is not None:
            key = f"{self._phase}_us"
            self._ended_us[key] = self._ended_us.get(key, 0) + (now_ns - self._phase_began_ns) // 1000
        self._phase, self._phase_began_ns = None, now_ns

    @property
    def phases(self) -> Phases:
        """Those that have ended."""
        return Phases(**self._ended_us)

    @property
    def total_us(self) -> int:
        """Since the beginning, up to now."""
        return (time.perf_counter_ns() - self.began_ns) // 1000


class Stream:
    """A connection. Leave it as a context manager; closing is immediate.

    Faults are raised as ``ContactFailure`` or ``OwnFault``.
    """

    def __init__(self, connected: socket.socket, address: str, port: int) -> None:
        self.address = address
        self.where = place(address, port)
        self.session: TlsSession | None = None
        self._socket = connected
        self._loop = asyncio.get_running_loop()
        self._tls: ssl.SSLObject | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    async def send(self, data: bytes) -> None:
        if self._tls is None:
            await self._send_plain(data)
            return
        self._tls.write(data)
        await self._flush()

    async def receive(self, limit_bytes: int = _CHUNK_BYTES) -> bytes:
        """What came, at most ``limit_bytes``; empty when the other side has closed."""
        if self._tls is None:
            return await self._receive_plain(limit_bytes)
        while True:
            try:
                return self._tls.read(limit_bytes)
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._fill():
                    return b""
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLError as error:
                raise handshake_failure(error, self.where) from None

    async def start_tls(self, options: TlsOptions, name: str) -> TlsSession:
        """Greet the server as ``name``. Raises ``CertificateRefused`` with the chain, or ``ContactFailure``."""
        tls = context_of(options).wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            except ssl.SSLCertVerificationError as error:
                raise refused(error, chain_of(tls), name, time.time_ns() // 1_000_000) from None
            except ssl.SSLError as error:
                raise handshake_failure(error, self.where) from None
        await self._flush()
        self._tls, self.session = tls, session_of(tls)
        return self.session

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._send_plain(self._outgoing.read())

    async def _fill(self) -> bool:
        """False at the end of the stream."""
        data = await self._receive_plain(_CHUNK_BYTES)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
        return bool(data)

    async def _send_plain(self, data: bytes) -> None:
        try:
            await self._loop.sock_sendall(self._socket, data)
        except OSError as error:
            raise fault_of_errno(error.errno or 0, self.where) from None

    async def _receive_plain(self, limit_bytes: int) -> bytes:
        try:
            return await self._loop.sock_recv(self._socket, limit_bytes)
        except OSError as error:
            raise fault_of_errno(error.errno or 0, self.where) from None


async def connect(
    network: Network, host: str, port: int, *, ip_version: IpVersion, timeout_s: float, progress: Progress
) -> Stream:
    """A connection to ``host``, its addresses tried in turn, each with an even share of the time that is left.

    Begins the phases dns and connect; the caller ends the latter. Raises ``ContactFailure`` (of the last address
    tried) or ``OwnFault``.
    """
    deadline = time.monotonic() + timeout_s
    progress.begin("dns", f"looking up {host}")
    *others, last = await network.addresses(host, ip_version)
    for tried, address in enumerate(others):
        share_s = (deadline - time.monotonic()) / (len(others) - tried + 1)
        progress.connecting(address, port)
        with suppress(ContactFailure):
            return await open_stream(address, port, timeout_s=share_s)
    progress.connecting(last, port)
    return await open_stream(last, port, timeout_s=deadline - time.monotonic())


async def open_stream(address: str, port: int, *, timeout_s: float) -> Stream:
    """A connection to ``address``, an IP literal that the guard let pass."""
    where = place(address, port)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with ExitStack() as closing:
        try:
            connecting = socket.socket(family, socket.SOCK_STREAM)
            closing.callback(connecting.close)
            connecting.setblocking(False)
            connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.timeout(timeout_s):
                await asyncio.get_running_loop().sock_connect(connecting, (address, port))
        except TimeoutError:
            raise ContactFailure(
                "timeout", f"timed out after {timeout_s:.3g} s while connecting to {where}", network=True
            ) from None
        except OSError as error:
            raise fault_of_errno(error.errno or 0, where) from None
        closing.pop_all()
    return Stream(connecting, address, port)


def place(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
