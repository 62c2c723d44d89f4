"""Echo requests: the packets, the shared sockets on loopback, and the ping command."""

from __future__ import annotations

import asyncio
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from tocsin.lib.faults import OwnFault
from tocsin.lib.icmp import (
    V4,
    V6,
    Answer,
    Echoes,
    Family,
    Pinger,
    Refusal,
    Way,
    capabilities,
    checksum,
    echo_request,
    echoes_of_output,
    open_socket,
    parse,
)

REPOSITORY = Path(__file__).parent.parent.parent
TOKEN = b"01234567"
REPLY = {V4.ip_version: b"\0", V6.ip_version: b"\x81"}


@contextmanager
def pinger(*ways: Way) -> Iterator[Pinger]:
    made = Pinger(ways or (Way.DATAGRAM, Way.RAW))
    try:
        yield made
    finally:
        made.close()


async def one(way: Pinger, address: str, *, count: int = 1, timeout_s: float = 5.0, size_bytes: int = 56) -> Echoes:
    return await way.ping(address, count=count, interval_s=0.01, size_bytes=size_bytes, timeout_s=timeout_s)


# packets


@given(st.binary(max_size=200))
def test_a_packet_with_its_checksum_sums_to_nothing(payload: bytes) -> None:
    packet = echo_request(V4, 7, 9, TOKEN, 8)
    assert checksum(packet) == 0
    padded = payload + b"\0" * (len(payload) % 2)
    assert checksum(padded + struct.pack("!H", checksum(payload))) == 0


@pytest.mark.parametrize("family", [V4, V6])
@given(size_bytes=st.integers(8, 1400))
def test_a_request_echoed_back_is_an_answer(family: Family, size_bytes: int) -> None:
    packet = echo_request(family, 7, 9, TOKEN, size_bytes)
    assert len(packet) == 8 + size_bytes
    assert parse(family, packet) is None
    assert parse(family, REPLY[family.ip_version] + packet[1:]) == Answer(TOKEN)


def test_a_raw_ipv4_socket_s_header_is_skipped() -> None:
    packet = b"\0" + echo_request(V4, 7, 9, TOKEN, 8)[1:]
    assert parse(V4, b"\x45" + bytes(19) + packet) == Answer(TOKEN)
    assert parse(V4, b"\x46" + bytes(23) + packet) == Answer(TOKEN)


def test_an_error_names_the_request_it_is_about() -> None:
    request = echo_request(V4, 7, 9, TOKEN, 56)
    header = b"\x45" + bytes(8) + b"\x01" + bytes(6) + bytes([192, 0, 2, 1])
    error = b"\x03\x01" + bytes(6) + header + request[:8]
    assert parse(V4, error) == Refusal(bytes([192, 0, 2, 1]), 7, 9, "host unreachable")
    header6 = b"\x60" + bytes(5) + b"\x3a\x40" + bytes(16) + b"\x20\x01\x0d\xb8" + bytes(12)
    error6 = b"\x01\x00" + bytes(6) + header6 + echo_request(V6, 7, 9, TOKEN, 56)
    assert parse(V6, error6) == Refusal(b"\x20\x01\x0d\xb8" + bytes(12), 7, 9, "no route")
    assert parse(V4, b"\x03\x03" + bytes(6) + header[:9] + b"\x11" + header[10:] + request[:8]) is None


@pytest.mark.parametrize("family", [V4, V6])
@given(packet=st.binary(max_size=120) | st.binary(max_size=100).map(lambda rest: b"\x03\x01" + rest))
def test_no_packet_breaks_the_parser(family: Family, packet: bytes) -> None:
    parse(family, packet)


# the shared sockets


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_loopback_answers_every_request(address: str) -> None:
    with pinger() as way:
        echoes = await one(way, address, count=5)
    assert (echoes.sent, len(echoes.round_trips_us), echoes.unreachable) == (5, 5, "")
    assert all(0 <= round_trip_us < 5_000_000 for round_trip_us in echoes.round_trips_us)


@pytest.mark.parametrize("size_bytes", [8, 9, 1400])
async def test_any_size_is_answered(size_bytes: int) -> None:
    with pinger() as way:
        assert len((await one(way, "127.0.0.1", size_bytes=size_bytes)).round_trips_us) == 1


async def test_a_thousand_at_once_share_one_socket() -> None:
    with pinger() as way:
        every = await asyncio.gather(*(one(way, f"127.0.{number % 4}.{number % 250 + 1}") for number in range(1000)))
    assert [len(echoes.round_trips_us) for echoes in every] == [1] * 1000


@pytest.mark.parametrize("runner", [asyncio.run, uvloop.run])
def test_it_runs_on_either_loop_and_leaves_nothing_behind(runner: Callable[..., Echoes]) -> None:
    async def main() -> Echoes:
        with pinger() as way:
            pinging = asyncio.ensure_future(one(way, "127.0.0.1", count=10))
            await asyncio.sleep(0.02)
            pinging.cancel()
            with pytest.raises(asyncio.CancelledError):
                await pinging
            return await one(way, "127.0.0.1")

    assert len(runner(main()).round_trips_us) == 1


async def test_a_busy_loop_does_not_look_like_a_slow_network() -> None:
    """The kernel says when the reply was there; the time it waited for us is not the network's.

    Several times, for the kernel begins to say so a little later than it is asked to.
    """
    blocked_s = 0.1
    round_trips_us: list[int] = []
    with pinger() as way:
        for _ in range(5):
            pinging = asyncio.ensure_future(one(way, "127.0.0.1"))
            await asyncio.sleep(0)
            time.sleep(blocked_s)  # noqa: ASYNC251 - the loop is to be blocked
            round_trips_us += (await pinging).round_trips_us
    assert min(round_trips_us) < blocked_s * 1_000_000 / 2


async def test_where_nothing_is_allowed_it_says_what_to_do() -> None:
    made = Pinger(ways=())
    with pytest.raises(
        OwnFault, match=r"sysctl -w net\.ipv4\.ping_group_range='0 2147483647'.*setcap cap_net_raw\+ep /"
    ):
        await one(made, "127.0.0.1")


def test_capabilities_tell_the_way_for_each_version() -> None:
    told = {capability.ip_version: capability for capability in capabilities()}
    assert set(told) == {4, 6}
    for family in (V4, V6):
        way, opened = open_socket(family)
        if opened is not None:
            opened.close()
            assert told[family.ip_version].way is way
            assert told[family.ip_version].advice == ""


def test_capabilities_where_nothing_is_allowed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("tocsin.lib.icmp.socket.socket", forbidden)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [(told.way, "sysctl" in told.advice) for told in capabilities()] == [(Way.NONE, True)] * 2
    command = tmp_path / "ping"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    assert [told.way for told in capabilities()] == [Way.COMMAND] * 2


# a network of our own

_ROOT = os.geteuid() == 0
_UNSHARE = ["unshare", "--net"] if _ROOT else ["unshare", "--user", "--map-root-user", "--net"]


def _can_unshare() -> bool:
    try:
        return subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not _can_unshare(), reason="needs a network namespace of its own (unshare --net)")
def test_in_a_network_of_our_own() -> None:
    """Both kinds of socket, silent hosts and errors from routers: ``icmp_in_namespace.py``."""
    inside = subprocess.run(
        [*_UNSHARE, sys.executable, "-m", "pytest", "-q", "tests/lib/icmp_in_namespace.py"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert inside.returncode == 0, inside.stdout + inside.stderr


# the ping command

IPUTILS = """\
PING 192.0.2.1 (192.0.2.1) 56(84) bytes of data.
64 bytes from 192.0.2.1: icmp_seq=1 ttl=64 time=0.045 ms
64 bytes from 192.0.2.1: icmp_seq=3 ttl=64 time=12.3 ms
64 bytes from 192.0.2.1: icmp_seq=3 ttl=64 time=12.9 ms (DUP!)

--- 192.0.2.1 ping statistics ---
3 packets transmitted, 2 received, +1 duplicates, 33.3333% packet loss, time 2031ms
"""
BUSYBOX = """\
PING 192.0.2.1 (192.0.2.1): 56 data bytes
64 bytes from 192.0.2.1: seq=0 ttl=64 time=0.101 ms
64 bytes from 192.0.2.1: seq=1 ttl=64 time=0.2 ms
"""
UNREACHABLE = """\
PING 10.9.9.9 (10.9.9.9) 56(84) bytes of data.
From 10.9.9.1 icmp_seq=1 Destination Host Unreachable
"""


@pytest.mark.parametrize(
    ("output", "echoes"),
    [
        (IPUTILS, Echoes(3, (45, 12900), "")),
        (BUSYBOX, Echoes(3, (101, 200), "")),
        (UNREACHABLE, Echoes(3, (), "host unreachable")),
        ("ping: connect: Network is unreachable\n", Echoes(3, (), "network is unreachable")),
        ("", Echoes(3, (), "")),
    ],
)
def test_what_the_ping_command_prints(output: str, echoes: Echoes) -> None:
    assert echoes_of_output(output, 3) == echoes


def test_a_ping_command_that_may_not_send_is_our_own_fault() -> None:
    with pytest.raises(OwnFault, match="setcap"):
        echoes_of_output("ping: socktype: SOCK_RAW\nping: socket: Operation not permitted\n", 3)


def ping_script(directory: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    script = directory / "ping"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")


async def test_the_ping_command_is_asked_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ping_script(tmp_path, f'printf "%s\\n" "$*" > {tmp_path}/arguments\ncat <<END\n{IPUTILS}END', monkeypatch)
    with pinger(Way.COMMAND) as way:
        echoes = await one(way, "192.0.2.1", count=3, timeout_s=4.2)
    assert echoes == Echoes(3, (45, 12900), "")
    assert (tmp_path / "arguments").read_text() == "-n -c 3 -s 56 -w 5 -i 0.2 192.0.2.1\n"


async def test_a_ping_command_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ping_script(tmp_path, f"echo $$ > {tmp_path}/pid\nexec sleep 60", monkeypatch)
    with pinger(Way.COMMAND) as way:
        echoes = await one(way, "192.0.2.1", timeout_s=0.3)
    assert echoes == Echoes(1, (), "")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


async def test_a_cancelled_ping_command_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pid")
    ping_script(tmp_path, f"echo $$ > {tmp_path}/pid\nexec sleep 60", monkeypatch)
    with pinger(Way.COMMAND) as way:
        pinging = asyncio.ensure_future(one(way, "192.0.2.1", timeout_s=30))
        pid = int(await asyncio.to_thread((tmp_path / "pid").read_text))
        pinging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pinging
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
