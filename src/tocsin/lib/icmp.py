"""Echo requests, over one shared socket per address family. Knows no probe and no guard.

Three ways, the first that this machine allows: an unprivileged datagram socket (Linux: net.ipv4.ping_group_range), a
raw socket (CAP_NET_RAW), the system's ping command. https://www.kernel.org/doc/html/latest/networking/ip-sysctl.html
"""

from __future__ import annotations

import asyncio
import errno
import math
import os
import re
import select
import shutil
import socket
import struct
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from tocsin.lib.faults import ContactFailure, OwnFault, fault_of_errno

TOKEN_BYTES = 8
MAX_SIZE_BYTES = 1400


class Way(Enum):
    DATAGRAM = "datagram socket"
    RAW = "raw socket"
    COMMAND = "ping command"
    NONE = "none"


class Capability(NamedTuple):
    """How echo requests of one IP version can be sent here. ``advice`` is empty where nothing need be done."""

    ip_version: int
    way: Way
    advice: str


class Echoes(NamedTuple):
    """What became of some requests to one address.

    ``round_trips_us`` are those of the requests that were answered, in the order they were sent. ``unreachable`` is
    what a router, or this machine, said of the others; empty when nobody said anything.
    """

    sent: int
    round_trips_us: tuple[int, ...]
    unreachable: str


# Packets


class Family(NamedTuple):
    """What differs between ICMP (RFC 792) and ICMPv6 (RFC 4443)."""

    ip_version: int
    family: int
    protocol: int
    request: int
    reply: int
    errors: dict[int, str]
    unreachable: dict[int, str]
    unreachable_type: int


V4 = Family(
    ip_version=4,
    family=socket.AF_INET,
    protocol=socket.IPPROTO_ICMP,
    request=8,
    reply=0,
    errors={3: "destination unreachable", 11: "time to live exceeded"},
    unreachable={
        0: "network unreachable",
        1: "host unreachable",
        2: "protocol unreachable",
        3: "port unreachable",
        4: "packet too big",
        9: "network prohibited",
        10: "host prohibited",
        13: "filtered",
    },
    unreachable_type=3,
)
V6 = Family(
    ip_version=6,
    family=socket.AF_INET6,
    protocol=socket.IPPROTO_ICMPV6,
    request=128,
    reply=129,
    errors={1: "destination unreachable", 2: "packet too big", 3: "hop limit exceeded"},
    unreachable={0: "no route", 1: "prohibited", 3: "host unreachable", 4: "port unreachable", 6: "route rejected"},
    unreachable_type=1,
)


def checksum(packet: bytes) -> int:
    """RFC 1071."""
    if len(packet) % 2:
        packet += b"\0"
    total: int = sum(struct.unpack(f"!{len(packet) // 2}H", packet))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def echo_request(family: Family, identifier: int, sequence: int, token: bytes, size_bytes: int) -> bytes:
    """A request whose payload is ``size_bytes`` long and begins with ``token``.

    The checksum of ICMPv6 covers addresses and is left to the kernel.
    """
    payload = token + bytes(size_bytes - len(token))
    head = struct.pack("!BBHHH", family.request, 0, 0, identifier, sequence)
    if family is V6:
        return head + payload
    return struct.pack("!BBHHH", family.request, 0, checksum(head + payload), identifier, sequence) + payload


class Answer(NamedTuple):
    """An echo reply: its token."""

    token: bytes


class Refusal(NamedTuple):
    """An error about a request of ours: which one, and what is the matter."""

    destination: bytes
    identifier: int
    sequence: int
    said: str


def parse(family: Family, packet: bytes) -> Answer | Refusal | None:
    """What a received packet means; None for what concerns nobody here. Raw IPv4 sockets add the IP header."""
    if family is V4 and packet[:1] and packet[0] >> 4 == 4:
        packet = packet[(packet[0] & 15) * 4 :]
    if len(packet) < 8:
        return None
    kind = packet[0]
    if kind == family.reply:
        token = packet[8 : 8 + TOKEN_BYTES]
        return Answer(token) if len(token) == TOKEN_BYTES else None
    if kind not in family.errors:
        return None
    quoted = packet[8:]
    if family is V4:
        header_bytes = (quoted[0] & 15) * 4 if quoted else 0
        destination, protocol = quoted[16:20], quoted[9:10]
    else:
        header_bytes, destination, protocol = 40, quoted[24:40], quoted[6:7]
    request = quoted[header_bytes : header_bytes + 8]
    if protocol != bytes([family.protocol]) or len(request) < 8 or request[0] != family.request:
        return None
    identifier, sequence = struct.unpack("!HH", request[4:8])
    return Refusal(destination, identifier, sequence, error_words(family, kind, packet[1]))


def error_words(family: Family, kind: int, code: int) -> str:
    if kind == family.unreachable_type:
        return family.unreachable.get(code, family.errors[kind])
    return family.errors.get(kind, f"ICMP error {kind}/{code}")


# Sockets

_IP_RECVERR = 11
_IPV6_RECVERR = 25
_MSG_ERRQUEUE = 0x2000
_SO_TIMESTAMPNS = 35
_SO_RCVBUFFORCE = 33
_SOL_RAW = 255
_ICMP_FILTER = 1
_ICMP6_FILTER = 1
_RECEIVE_BUFFER_BYTES = 8 * 1024 * 1024
_PACKETS_PER_TURN = 256
_MAX_PACKET_BYTES = 2048
_ANCILLARY_BYTES = 512
_TIMESPEC = struct.Struct("@qq")
_EXTENDED_ERROR = struct.Struct("@IBBBBII")
_ORIGIN_ICMP = (2, 3)
_SEND_RETRY_S = 0.001

_ADVICE = (
    "this machine does not allow ICMP here. As root: sysctl -w net.ipv4.ping_group_range='0 2147483647' "
    "(and a line in /etc/sysctl.d/ to keep it), or: setcap cap_net_raw+ep {python}, or install the ping command"
)


def advice() -> str:
    """What to do where echo requests cannot be sent at all."""
    return _ADVICE.format(python=Path(sys.executable).resolve())


def open_socket(family: Family, ways: Sequence[Way] = (Way.DATAGRAM, Way.RAW)) -> tuple[Way, socket.socket | None]:
    """The first of ``ways`` that is permitted, and its socket; ``Way.NONE`` when none is.

    Raises ``OwnFault`` or ``ContactFailure`` for any other trouble.
    """
    kinds = {Way.DATAGRAM: socket.SOCK_DGRAM, Way.RAW: socket.SOCK_RAW}
    for way in ways:
        try:
            opened = socket.socket(family.family, kinds[way], family.protocol)
        except PermissionError:
            continue
        except OSError as error:
            if error.errno == errno.EPROTONOSUPPORT:
                continue
            raise fault_of_errno(error.errno or 0) from None
        opened.setblocking(False)
        _tune(opened, family, way)
        return way, opened
    return Way.NONE, None


def _tune(opened: socket.socket, family: Family, way: Way) -> None:
    """Everything here makes answers better or cheaper; none of it is needed for an answer."""
    with suppress(OSError):
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
    if sys.platform != "linux":
        return
    with suppress(OSError):
        opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER_BYTES)
    with suppress(OSError):
        opened.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    wanted = (family.reply, *family.errors)
    with suppress(OSError):
        if way is Way.DATAGRAM:
            level, option = (0, _IP_RECVERR) if family is V4 else (socket.IPPROTO_IPV6, _IPV6_RECVERR)
            opened.setsockopt(level, option, 1)
        elif family is V4:
            blocked = ~sum(1 << kind for kind in wanted) & 0xFFFF_FFFF
            opened.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("@I", blocked))
        else:
            words = [0xFFFF_FFFF] * 8
            for kind in wanted:
                words[kind >> 5] &= ~(1 << (kind & 31))
            opened.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("@8I", *words))


def capabilities() -> list[Capability]:
    """How echo requests can be sent from this process, for each IP version."""
    return [_capability(family) for family in (V4, V6)]


def _capability(family: Family) -> Capability:
    try:
        way, opened = open_socket(family)
    except (ContactFailure, OwnFault) as fault:
        return Capability(family.ip_version, Way.NONE, str(fault))
    if opened is not None:
        opened.close()
        return Capability(family.ip_version, way, "")
    if shutil.which("ping"):
        slow = f"pings run as a process each, which is slow: {advice()}"
        return Capability(family.ip_version, Way.COMMAND, slow)
    return Capability(family.ip_version, Way.NONE, advice())


class _Request:
    """One request on its way. ``answer`` yields the round trip in microseconds, or what an error said."""

    __slots__ = ("answer", "key", "sent_ns", "token")

    def __init__(self, token: bytes, key: tuple[bytes, int], answer: asyncio.Future[int | str]) -> None:
        self.token = token
        self.key = key
        self.answer = answer
        self.sent_ns = 0


def _always_readable(opened: socket.socket) -> socket.socket | select.epoll:
    """What a loop can watch in place of ``opened`` and is readable whenever there is something to take.

    Errors make the socket poll as POLLERR, which libuv takes for a broken descriptor. An epoll descriptor around it is
    plainly readable then.
    """
    if sys.platform != "linux":
        return opened
    watching = select.epoll()
    watching.register(opened.fileno(), select.EPOLLIN)
    return watching


class EchoSocket:
    """The requests of one address family, all over one socket. Belongs to the running event loop.

    A reply is recognised by the random token in its payload (datagram sockets rewrite the identifier), an error by
    the destination and sequence number it quotes.
    """

    def __init__(self, family: Family, way: Way, opened: socket.socket) -> None:
        self.way = way
        self._family = family
        self._socket = opened
        self._loop = asyncio.get_running_loop()
        self._identifier = int.from_bytes(os.urandom(2), "big")
        self._sequence = 0
        self._by_token: dict[bytes, _Request] = {}
        self._by_key: dict[tuple[bytes, int], _Request] = {}
        self._readable = _always_readable(opened)
        self._loop.add_reader(self._readable.fileno(), self._receive)

    def close(self) -> None:
        self._loop.remove_reader(self._readable.fileno())
        self._readable.close()
        self._socket.close()
        for request in list(self._by_token.values()):
            request.answer.cancel()

    async def send(self, address: str, size_bytes: int) -> _Request:
        """Give it to ``forget`` when it is no longer waited for. Raises ``ContactFailure`` or ``OwnFault``."""
        self._sequence = (self._sequence + 1) & 0xFFFF
        token = os.urandom(TOKEN_BYTES)
        key = (socket.inet_pton(self._family.family, address), self._sequence)
        request = _Request(token, key, self._loop.create_future())
        packet = echo_request(self._family, self._identifier, self._sequence, token, size_bytes)
        self._by_token[token] = self._by_key[key] = request
        try:
            await self._send(packet, address, request)
        except BaseException:
            self.forget(request)
            raise
        return request

    async def _send(self, packet: bytes, address: str, request: _Request) -> None:
        cleared = False
        while True:
            request.sent_ns = time.perf_counter_ns()
            try:
                self._socket.sendto(packet, (address, 0))
                return
            except BlockingIOError:
                await asyncio.sleep(_SEND_RETRY_S)
            except OSError as error:
                # The error of an earlier request is reported to whoever uses the socket next.
                if cleared or not self._take_errors():
                    raise fault_of_errno(error.errno or 0, address) from None
                cleared = True

    def forget(self, request: _Request) -> None:
        self._by_token.pop(request.token, None)
        if self._by_key.get(request.key) is request:
            del self._by_key[request.key]
        request.answer.cancel()

    def _receive(self) -> None:
        for _ in range(_PACKETS_PER_TURN):
            try:
                packet, ancillary, _, _ = self._socket.recvmsg(_MAX_PACKET_BYTES, _ANCILLARY_BYTES)
            except BlockingIOError:
                self._take_errors()
                return
            except OSError:
                # What an ICMP error leaves behind on the socket; the queue of errors says whom it concerns.
                self._take_errors()
                continue
            match parse(self._family, packet):
                case Answer(token):
                    request = self._by_token.get(token)
                    if request is not None:
                        self._settle(request, _round_trip_us(request.sent_ns, ancillary))
                case Refusal(destination, identifier, sequence, said):
                    request = self._by_key.get((destination, sequence))
                    if request is not None and identifier == self._identifier:
                        self._settle(request, said)

    def _take_errors(self) -> bool:
        """Hand out what the kernel queued about requests that came to nothing. Whether there was anything."""
        any_taken = False
        while True:
            try:
                quoted, ancillary, _, destination = self._socket.recvmsg(
                    _MAX_PACKET_BYTES, _ANCILLARY_BYTES, _MSG_ERRQUEUE
                )
            except OSError:
                return any_taken
            any_taken = True
            if len(quoted) < 8 or not destination:
                continue
            (sequence,) = struct.unpack("!H", quoted[6:8])
            asked = socket.inet_pton(self._family.family, destination[0].partition("%")[0])
            request = self._by_key.get((asked, sequence))
            if request is not None:
                self._settle(request, _said(self._family, ancillary))

    def _settle(self, request: _Request, answer: int | str) -> None:
        if not request.answer.done():
            request.answer.set_result(answer)
        self._by_token.pop(request.token, None)
        if self._by_key.get(request.key) is request:
            del self._by_key[request.key]


def _round_trip_us(sent_ns: int, ancillary: Sequence[tuple[int, int, bytes]]) -> int:
    """Up to when the kernel had the reply, where it says: a busy event loop must not look like a slow network."""
    elapsed_ns = time.perf_counter_ns() - sent_ns
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS and len(data) == _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack(data)
            waited_ns = time.time_ns() - (seconds * 1_000_000_000 + nanoseconds)
            if 0 <= waited_ns <= elapsed_ns:
                elapsed_ns -= waited_ns
    return elapsed_ns // 1000


def _said(family: Family, ancillary: Sequence[tuple[int, int, bytes]]) -> str:
    for _, kind, data in ancillary:
        if kind in (_IP_RECVERR, _IPV6_RECVERR) and len(data) >= _EXTENDED_ERROR.size:
            number, origin, icmp_type, code, _, _, _ = _EXTENDED_ERROR.unpack_from(data)
            if origin in _ORIGIN_ICMP:
                return error_words(family, icmp_type, code)
            return os.strerror(number).lower()
    return "unreachable"


# Pings


_PROCESSES = 16
_SHORTEST_COMMAND_INTERVAL_S = 0.2


class Pinger:
    """Shared by all who ping on one event loop. ``ways`` are those to try, in order."""

    def __init__(self, ways: Sequence[Way] = (Way.DATAGRAM, Way.RAW, Way.COMMAND)) -> None:
        self._ways = tuple(ways)
        self._sockets: dict[int, EchoSocket | None] = {}
        self._processes = asyncio.Semaphore(_PROCESSES)

    def close(self) -> None:
        for opened in self._sockets.values():
            if opened is not None:
                opened.close()
        self._sockets.clear()

    async def ping(self, address: str, *, count: int, interval_s: float, size_bytes: int, timeout_s: float) -> Echoes:
        """Send ``count`` requests and wait for their answers, within ``timeout_s`` for all of it.

        Raises ``ContactFailure`` when there is no way to the address, ``OwnFault`` when nothing can be sent.
        """
        family = V6 if ":" in address else V4
        echo_socket = self._socket(family)
        if echo_socket is not None:
            return await _ping(echo_socket, address, count, interval_s, size_bytes, timeout_s)
        if Way.COMMAND in self._ways and (command := shutil.which("ping")) is not None:
            async with self._processes:
                return await _ping_by_command(command, address, count, interval_s, size_bytes, timeout_s)
        raise OwnFault(advice())

    def _socket(self, family: Family) -> EchoSocket | None:
        if self._sockets.get(family.ip_version) is None:
            way, opened = open_socket(family, [way for way in self._ways if way is not Way.COMMAND])
            self._sockets[family.ip_version] = None if opened is None else EchoSocket(family, way, opened)
        return self._sockets[family.ip_version]


async def _ping(
    echo_socket: EchoSocket, address: str, count: int, interval_s: float, size_bytes: int, timeout_s: float
) -> Echoes:
    deadline = time.monotonic() + timeout_s
    requests: list[_Request] = []
    try:
        for position in range(count):
            if position:
                await asyncio.sleep(min(interval_s, max(0.0, deadline - time.monotonic())))
            if position and time.monotonic() >= deadline:
                break
            requests.append(await echo_socket.send(address, size_bytes))
        left_s = max(0.0, deadline - time.monotonic())
        await asyncio.wait([request.answer for request in requests], timeout=left_s)
        answers = [request.answer.result() for request in requests if request.answer.done()]
    finally:
        for request in requests:
            echo_socket.forget(request)
    return Echoes(
        sent=len(requests),
        round_trips_us=tuple(answer for answer in answers if isinstance(answer, int)),
        unreachable=next((answer for answer in answers if isinstance(answer, str)), ""),
    )


async def _ping_by_command(
    command: str, address: str, count: int, interval_s: float, size_bytes: int, timeout_s: float
) -> Echoes:
    """By the system's ping (iputils, BusyBox): whole seconds only, so it may be stopped before it is done."""
    arguments = ["-n", "-c", str(count), "-s", str(size_bytes), "-w", str(max(1, math.ceil(timeout_s)))]
    if count > 1:
        arguments += ["-i", f"{max(_SHORTEST_COMMAND_INTERVAL_S, interval_s):g}"]
    try:
        process = await asyncio.create_subprocess_exec(
            command,
            *arguments,
            address,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={"PATH": os.defpath, "LC_ALL": "C"},
        )
    except OSError as error:
        raise OwnFault(f"{command} cannot be run ({os.strerror(error.errno or 0).lower()}): {advice()}") from None
    assert process.stdout is not None
    output = b""
    try:
        async with asyncio.timeout(timeout_s):
            while data := await process.stdout.read(4096):
                output += data
    except TimeoutError:
        pass
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
        await process.wait()
    return echoes_of_output(output.decode("utf-8", "replace"), count)


_ANSWERED = re.compile(r"(?:icmp_seq|seq)=(\d+) .*?time[=<]([0-9.]+) ?ms")
_UNREACHABLE = re.compile(r"(?i)destination (\w+ unreachable|\w+ prohibited)|(packet filtered|network is unreachable)")
_NOT_PERMITTED = re.compile(r"(?i)operation not permitted|permission denied|lacking privilege|missing cap_net_raw")


def echoes_of_output(output: str, count: int) -> Echoes:
    """What ping printed. Raises ``OwnFault`` when it was not allowed to send."""
    if _NOT_PERMITTED.search(output):
        raise OwnFault(advice())
    round_trips_us = {int(found[1]): round(float(found[2]) * 1000) for found in _ANSWERED.finditer(output)}
    refused = _UNREACHABLE.search(output)
    return Echoes(
        sent=count,
        round_trips_us=tuple(round_trips_us.values()),
        unreachable=(refused[1] or refused[2]).lower() if refused else "",
    )
