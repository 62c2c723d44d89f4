"""Echo requests in a network namespace of our own, where hosts can be silent and routers can complain.

Run by ``test_icmp.py`` as ``unshare --net pytest``; not collected by itself, for it changes the network it runs in.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tocsin.core.outcome import Result
from tocsin.core.target import Target
from tocsin.lib.faults import ContactFailure
from tocsin.lib.icmp import TOKEN_BYTES, V4, Echoes, Pinger, Way, capabilities, checksum, echo_request
from tocsin.lib.net import Network
from tocsin.probes.frame import examine, prepare

SYSCTL = Path("/proc/sys/net/ipv4")
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


@pytest.fixture(scope="session", autouse=True)
def _own_network() -> None:
    """Loopback only, which a new namespace has switched off; everybody may ping."""
    names = {line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]}
    assert "eth0" not in names, "this must not run in the machine's own network"
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))
    (SYSCTL / "ping_group_range").write_text("0 2147483647")


@contextmanager
def deaf() -> Iterator[None]:
    """Nobody here answers echo requests."""
    switch = SYSCTL / "icmp_echo_ignore_all"
    switch.write_text("1")
    try:
        yield
    finally:
        switch.write_text("0")


@pytest.fixture(params=[Way.DATAGRAM, Way.RAW], ids=lambda way: way.name.lower())
def pinger(request: pytest.FixtureRequest) -> Pinger:
    """To be closed by the test, whose loop has ended before a fixture could."""
    return Pinger((request.param,))


async def ping(pinger: Pinger, address: str, *, count: int = 1, timeout_s: float = 5.0) -> Echoes:
    return await pinger.ping(address, count=count, interval_s=0.01, size_bytes=56, timeout_s=timeout_s)


def test_datagram_sockets_come_first() -> None:
    assert [told.way for told in capabilities()] == [Way.DATAGRAM, Way.DATAGRAM]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_either_socket_hears_every_answer(pinger: Pinger, address: str) -> None:
    echoes = await ping(pinger, address, count=5)
    many = await asyncio.gather(*(ping(pinger, address) for _ in range(200)))
    pinger.close()
    assert len(echoes.round_trips_us) == 5
    assert [len(one.round_trips_us) for one in many] == [1] * 200


async def test_a_silent_host_is_waited_for_and_forgotten(pinger: Pinger) -> None:
    with deaf():
        echoes = await ping(pinger, "127.0.0.1", count=3, timeout_s=0.2)
    answered = await ping(pinger, "127.0.0.1")
    pinger.close()
    assert echoes == Echoes(3, (), "")
    assert len(answered.round_trips_us) == 1


async def test_no_route_fails_at_once_and_harms_nobody(pinger: Pinger) -> None:
    with pytest.raises(ContactFailure, match="network unreachable") as failed:
        await ping(pinger, "192.0.2.1")
    answered = await ping(pinger, "127.0.0.1")
    pinger.close()
    assert (failed.value.code, failed.value.network) == ("unreachable", True)
    assert len(answered.round_trips_us) == 1


@pytest.mark.parametrize(
    ("way", "code", "words"),
    [(Way.DATAGRAM, 1, "host unreachable"), (Way.RAW, 1, "host unreachable"), (Way.DATAGRAM, 13, "filtered")],
)
async def test_a_router_s_error_ends_the_wait(way: Way, code: int, words: str) -> None:
    """The error is sent by hand: what a router would say of the request that is under way."""
    pinger = Pinger((way,))
    with deaf(), sniffer() as sniffing:
        pinging = asyncio.ensure_future(ping(pinger, "127.0.0.7", timeout_s=20))
        silent = asyncio.ensure_future(ping(pinger, "127.0.0.8", timeout_s=0.5))
        request = await next_request(sniffing, "127.0.0.7")
        complain(request, code)
        echoes = await asyncio.wait_for(pinging, 5)
        others = await silent
    after = await ping(pinger, "127.0.0.1")
    pinger.close()
    assert echoes == Echoes(1, (), words)
    assert others == Echoes(1, (), "")
    assert len(after.round_trips_us) == 1


async def test_an_error_about_somebody_else_s_request_is_not_ours() -> None:
    pinger = Pinger((Way.RAW,))
    with deaf(), sniffer() as sniffing:
        pinging = asyncio.ensure_future(ping(pinger, "127.0.0.7", timeout_s=0.5))
        request = bytearray(await next_request(sniffing, "127.0.0.7"))
        request[24] ^= 0xFF  # the identifier
        complain(bytes(request), 1)
        echoes = await pinging
    pinger.close()
    assert echoes == Echoes(1, (), "")


async def test_a_reply_with_another_token_is_not_ours() -> None:
    pinger = Pinger((Way.RAW,))
    with deaf(), sniffer() as sniffing, raw_sender() as sending:
        pinging = asyncio.ensure_future(ping(pinger, "127.0.0.7", timeout_s=0.5))
        request = await next_request(sniffing, "127.0.0.7")
        identifier, sequence = struct.unpack("!HH", request[24:28])
        forged = bytearray(echo_request(V4, identifier, sequence, bytes(TOKEN_BYTES), 56))
        forged[0] = V4.reply
        sending.sendto(forged, ("127.0.0.1", 0))
        echoes = await pinging
    pinger.close()
    assert echoes == Echoes(1, (), "")


async def test_the_probe_tells_silence_and_no_route_apart() -> None:
    async def check(host: str, timeout_ms: int) -> tuple[Result, str, bool]:
        prepared = prepare(
            Target(
                id=1,
                name="host",
                slug="host",
                kind="icmp",
                settings={"host": host, "pause_s": 0.01},
                interval_ms=60_000,
                timeout_ms=timeout_ms,
                recheck_ms=5_000,
                enabled=True,
                tags=(),
                group="",
                assertions=(),
            )
        )
        assert prepared is not None
        async with Network.open() as network:
            seen = await examine(prepared, network)
        return seen.result, seen.error, seen.network_fault

    with deaf():
        silence = await check("127.0.0.1", 300)
    no_route = await check("192.0.2.1", 5000)
    assert silence == (Result.FAILED, "127.0.0.1 did not answer 3 echo requests within 0.3 s", True)
    assert no_route == (Result.FAILED, "network unreachable (192.0.2.1)", True)


# by hand


@contextmanager
def sniffer() -> Iterator[socket.socket]:
    """Receives every ICMP packet that arrives here, the requests on loopback too."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sniffing:
        sniffing.setblocking(False)
        yield sniffing


async def next_request(sniffing: socket.socket, destination: str) -> bytes:
    """The next echo request to ``destination``, with its IP header."""
    while True:
        packet = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sniffing, 2048), 5)
        if packet[20] == V4.request and packet[16:20] == socket.inet_aton(destination):
            return packet


def complain(request: bytes, code: int) -> None:
    """Tell the sender of ``request`` that it cannot be delivered."""
    body = struct.pack("!I", 0) + request
    packet = struct.pack("!BBH", V4.unreachable_type, code, checksum(struct.pack("!BBH", 3, code, 0) + body)) + body
    with raw_sender() as sending:
        sending.sendto(packet, ("127.0.0.1", 0))


@contextmanager
def raw_sender() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sending:
        yield sending
