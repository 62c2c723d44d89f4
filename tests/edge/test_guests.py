"""Who is one guest, and what one may take: keys guessed, places, connections that nothing is done with."""

from __future__ import annotations

import asyncio
import select
import socket
from asyncio import Transport
from typing import cast

import httpx
import pytest
from starlette.requests import HTTPConnection
from starlette.types import Scope
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.clocks import FakeClock
from tests.edge import served
from tests.edge.served import browser, closed, gateway, heard, machine, said, snapshot, tell
from tocsin.edge import app as edge_app
from tocsin.edge import door
from tocsin.edge import relay as relay_module
from tocsin.edge.door import _Patience
from tocsin.edge.guests import Places, also_mapped, network_of


def coming_from(host: str) -> HTTPConnection:
    scope: Scope = {"type": "websocket", "client": (host, 1234), "headers": []}
    return HTTPConnection(scope)


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("unix:", "unix:"),
    ],
)
def test_what_stands_for_a_guest(host: str, network: str) -> None:
    assert network_of(coming_from(host)) == network


def test_trusted_proxies_hold_for_mapped_addresses_too() -> None:
    assert also_mapped("127.0.0.1, ::1,10.0.0.0/8") == [
        "127.0.0.1",
        "::1",
        "10.0.0.0/8",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.0/104",
    ]
    assert also_mapped("*") == ["*"], "as Uvicorn reads it: everybody"
    assert also_mapped(["a.socket", "2001:db8::/32"]) == ["a.socket", "2001:db8::/32"]


async def test_on_both_kinds_of_addresses_a_guest_is_still_one(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge_app, "_now_s", lambda: 1000.0)
    async with served.relay(clock, host="::") as address:
        stranger = {"X-Forwarded-For": "203.0.113.9"}  # 127.0.0.1 is a proxy that is believed
        for guess in range(edge_app.WRONG_KEYS_PER_MINUTE):
            async with gateway(address, f"guess {guess}", headers=stranger) as intruder:
                assert await closed(intruder) == 4001
        async with gateway(address, headers=stranger) as intruder:
            assert await closed(intruder) == 1013, "from there no key is looked at any more"
        async with gateway(address) as source:
            assert await said(source) == {"type": "feed", "on": True}
        async with gateway(address, local_addr=("127.0.0.2", 0)) as other:
            assert await said(other) == {"type": "feed", "on": True}


# ── places ────────────────────────────────────────────────────────────────────────────────────────────


async def test_one_guest_does_not_take_every_place(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(edge_app, "MOST_OF_A_GUEST", 2)
    async with served.relay(clock) as address:

        def guest(where: str) -> connect:
            return connect(f"ws://{address}/ws", additional_headers={"X-Forwarded-For": where})

        async with guest("203.0.113.9") as one, guest("203.0.113.9") as two:
            await said(one)
            await said(two)
            for _ in range(3):
                async with guest("203.0.113.9") as three:
                    assert await closed(three) == 1013
            async with guest("203.0.113.10") as neighbour:
                assert (await said(neighbour))["type"] == "initial"
            async with browser(address) as three, browser(address) as four, browser(address) as five:
                for at_home in (three, four, five):
                    assert (await said(at_home))["type"] == "initial"
        async with asyncio.timeout(served.WITHIN_S):
            while True:  # the places are free again when the relay has seen them go
                async with guest("203.0.113.9") as again:
                    if (await heard_or_closed(again)) == "initial":
                        break
    assert capsys.readouterr().out.count("FORWARDED_ALLOW_IPS") == 1


async def heard_or_closed(guest: ClientConnection) -> str:
    try:
        kind: str = (await said(guest))["type"]
    except ConnectionClosed:
        return "closed"
    return kind


def test_places_are_given_back() -> None:
    places = Places(1)
    for _ in range(2):
        with places.one_more("a") as first, places.one_more("a") as second, places.one_more("b") as other:
            assert (first, second, other) == (True, False, True)
    assert not places._taken


async def test_of_all_connections_there_is_a_most(monkeypatch: pytest.MonkeyPatch, clock: FakeClock) -> None:
    monkeypatch.setattr(edge_app, "MOST_CONNECTIONS", 2)
    async with served.relay(clock) as address, httpx.AsyncClient(base_url=f"http://{address}") as client:
        async with browser(address) as one:
            await said(one)
            assert (await client.get("/health/live")).status_code == 503
        async with asyncio.timeout(served.WITHIN_S):
            while (await client.get("/health/live")).status_code != 200:
                pass


# ── who does nothing ──────────────────────────────────────────────────────────────────────────────────


class Pipe:
    """A transport, as far as patience looks at it."""

    def __init__(self) -> None:
        self.unsent = 0
        self.closing = False

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.closing


def test_patience_is_over_when_nothing_was_taken() -> None:
    pipe = Pipe()
    patience = _Patience(cast(Transport, pipe))
    assert not patience.is_over()
    pipe.unsent = 100_000
    patience.pause()
    assert not patience.is_over(), "it has only begun"
    pipe.unsent = 99_000
    assert not patience.is_over(), "slow is not nothing"
    patience.resume()
    patience.pause()
    pipe.unsent = 120_000
    assert not patience.is_over(), "it took all, and more has come"
    assert patience.is_over()
    patience.resume()
    pipe.unsent = 0
    assert not patience.is_over()
    pipe.unsent = 10
    assert not patience.is_over()
    assert not patience.is_over(), "more may have been written than was taken"
    pipe.closing = True
    assert patience.is_over()


@pytest.mark.parametrize("begun", [b"", b"GET /health/live HTTP/1.1\r\n"])
async def test_who_asks_for_nothing_is_let_go(address: str, monkeypatch: pytest.MonkeyPatch, begun: bytes) -> None:
    monkeypatch.setattr(door, "PATIENCE_S", 0.02)
    reader, writer = await asyncio.open_connection(*address.split(":"))
    writer.write(begun)
    try:
        async with asyncio.timeout(served.WITHIN_S):
            assert await reader.read() == b""
    except ConnectionResetError:
        pass
    finally:
        writer.close()


async def test_who_asks_now_and_then_is_answered(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "PATIENCE_S", 0.5)
    async with httpx.AsyncClient(base_url=f"http://{address}") as client:
        for _ in range(20):
            assert (await client.get("/health/live")).status_code == 200


@pytest.mark.parametrize("path", ["/ws", "/v1/snapshot"])
async def test_who_takes_nothing_is_let_go(address: str, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    async with gateway(address) as source:
        await said(source)
        for page in range(60):
            machines = [machine(page * 50 + one, name="x" * 900) for one in range(1, 51)]
            await tell(source, type="initial", machines=machines, page=page, more=page < 59)
        await tell(source, type="changes", machines=[{"id": 3000}])
        async with browser(address) as guest:
            while len((await heard(guest, "initial"))["machines"]) != 3000:
                pass
        monkeypatch.setattr(door, "PATIENCE_S", 0.1)
        greedy = socket.socket()
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, port = address.split(":")
        greedy.connect((host, int(port)))
        upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" if path == "/ws" else ""
        key = f"Sec-WebSocket-Key: {'A' * 22}==\r\n" if path == "/ws" else ""
        greedy.sendall(f"GET {path} HTTP/1.1\r\nHost: {address}\r\n{upgrade}{key}\r\n".encode())
        with greedy:
            assert await asyncio.to_thread(is_reset, greedy)
        await tell(source, type="ping")
        async with browser(address) as guest:
            assert len((await said(guest))["machines"]) == 3000, "nobody else has noticed"


def is_reset(connection: socket.socket) -> bool:
    """Waits until it is cut off, with what waits unread: nothing is taken from it."""
    errors = select.poll()
    errors.register(connection, 0)
    return bool(errors.poll(served.WITHIN_S * 1000))


async def test_what_stands_is_encoded_once_for_all_who_come(
    address: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    encode = relay_module._encode

    def noted(content: object) -> bytes:
        if isinstance(content, dict) and "machines" in content and content.get("type") != "changes":
            made.append(content.get("type", "snapshot"))
        return encode(content)

    async with gateway(address) as source, httpx.AsyncClient(base_url=f"http://{address}") as client:
        await said(source)
        await tell(source, type="initial", machines=[machine(1)])
        while not (await client.get("/v1/snapshot")).json()["machines"]:
            pass
        await snapshot(address)
        monkeypatch.setattr(relay_module, "_encode", noted)
        for _ in range(3):
            await snapshot(address)
            await client.get("/v1/snapshot")
        assert made == []
        clock.tick(2)
        assert (await snapshot(address))["at"] == "2027-01-15T08:00:02.000Z", "readers set their clocks by it"
        assert (await client.get("/v1/snapshot")).json()["source"]["age_s"] == 2.0
        assert made == ["initial", "snapshot"]
