"""Nobody without the key can feed, and a browser's connection can never write."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Iterator

import pytest
import websockets
from websockets.asyncio.client import ClientConnection
from websockets.frames import Frame, Opcode

from tests.clocks import FakeClock
from tests.edge import served
from tests.edge.served import KEY, attempt, browser, closed, gateway, heard, machine, said, snapshot, tell
from tocsin.edge import app as edge_app
from tocsin.edge.door import LARGEST_OF_A_BROWSER_BYTES
from tocsin.edge.messages import LARGEST_BYTES

FORGED = {"type": "initial", "machines": [machine(666, name="forged")]}


async def is_untouched(address: str) -> bool:
    return "forged" not in json.dumps(await snapshot(address))


# ── the gateways' door ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "key",
    [
        "",
        "wrong",
        KEY[:-1],
        f"{KEY}x",
        KEY.upper(),
        f"{KEY}, {KEY}",
        "x" * 4000,
    ],
    ids=["empty", "wrong", "short", "long", "shouted", "twice", "very long"],
)
async def test_a_wrong_key_closes_with_4001(address: str, key: str) -> None:
    async with gateway(address, key) as intruder:
        await attempt(intruder, json.dumps(FORGED))
        assert await closed(intruder) == 4001
    assert await is_untouched(address)


@pytest.mark.parametrize(
    "first",
    [
        json.dumps(FORGED),
        '{"type": "auth"}',
        '{"type": "auth", "key": "wrong"}',
        '{"type": "auth", "key": null}',
        '{"type": "auth", "key": ["' + KEY + '"]}',
        '{"type": "hello", "key": "' + KEY + '"}',
        KEY,
        "{",
        b"\x00\xff\xfe\x80",
        "[" * 60_000,
    ],
    ids=["data", "no key", "wrong", "null", "list", "other type", "bare", "no JSON", "bytes", "deep"],
)
async def test_a_first_message_that_is_no_key_closes_with_4001(address: str, first: str | bytes) -> None:
    async with gateway(address, None) as intruder:
        await attempt(intruder, first, json.dumps(FORGED))
        assert await closed(intruder) == 4001
    assert await is_untouched(address)


async def test_a_key_as_the_first_message_lets_in(address: str) -> None:
    async with gateway(address, None) as source, browser(address) as guest:
        await tell(source, type="auth", key=KEY)
        assert await said(source) == {"type": "feed", "on": True}
        await tell(source, type="initial", machines=[machine(1)])
        while (await said(guest)).get("machines") != [machine(1)]:
            pass


async def test_who_says_no_key_in_time_is_sent_away(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_app, "INTRODUCE_WITHIN_S", 0.01)
    async with gateway(address, None) as silent:
        assert await closed(silent) == 4001


async def test_other_headers_and_addresses_are_no_key(address: str) -> None:
    for headers in ({"X-API-Key": KEY}, {"Cookie": f"key={KEY}"}, {"Authorization": f"Basic {KEY}"}):
        async with gateway(address, None, headers=headers) as intruder:
            await attempt(intruder, json.dumps(FORGED))
            assert await closed(intruder) == 4001
    async with websockets.connect(f"ws://{address}/gateway?key={KEY}&token={KEY}") as intruder:
        await attempt(intruder, json.dumps(FORGED))
        assert await closed(intruder) == 4001


async def test_a_page_in_a_browser_may_not_feed_even_with_the_key(address: str) -> None:
    async with gateway(address, headers={"Origin": f"http://{address}"}) as page:
        assert await closed(page) == 4403


async def test_guessing_is_slowed_down_and_the_gateway_that_is_there_goes_on(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge_app, "_now_s", lambda: 1000.0)
    async with gateway(address) as source:
        await said(source)
        for guess in range(edge_app.WRONG_KEYS_PER_MINUTE):
            async with gateway(address, f"guess {guess}") as intruder:
                assert await closed(intruder) == 4001
        compared: list[bytes] = []
        compare = hmac.compare_digest

        def noted(one: bytes, other: bytes) -> bool:
            compared.append(one)
            return compare(one, other)

        monkeypatch.setattr(hmac, "compare_digest", noted)
        for key in ("another guess", KEY):
            async with gateway(address, key) as intruder:
                assert await closed(intruder) == 1013, "not looked at any more"
        assert compared == []
        await tell(source, type="initial", machines=[machine(1)])
        async with browser(address) as guest:
            while (await said(guest)).get("machines") != [machine(1)]:
                pass
        monkeypatch.setattr(edge_app, "_now_s", lambda: 1100.0)
        async with gateway(address) as late:
            assert await said(late) == {"type": "feed", "on": True}
        assert len(compared) == 1, "keys are compared in constant time, and as hashes"
        assert len(compared[0]) == 32


async def test_strangers_do_not_fill_the_house(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_app, "MOST_STRANGERS", 2)
    async with gateway(address, None) as one, gateway(address, None) as two:
        await one.ping()
        await two.ping()
        async with gateway(address, None) as three:
            assert await closed(three) == 1013
        async with gateway(address) as source:
            assert await said(source) == {"type": "feed", "on": True}, "who has the key is not kept out"


@pytest.mark.parametrize("key", [None, KEY], ids=["a stranger", "the gateway"])
async def test_an_oversized_frame_closes_and_harms_nothing(address: str, key: str | None) -> None:
    async with gateway(address, key) as large:
        await attempt(large, json.dumps({**FORGED, "filler": "x" * LARGEST_BYTES}))
        assert await closed(large) == 1009
    assert await is_untouched(address)


async def test_a_message_in_many_pieces_may_not_be_larger(address: str) -> None:
    async with gateway(address) as source:
        await attempt(source, ("x" * 8000 for _ in range(20)))
        assert await closed(source) == 1009


# ── the browsers' door ────────────────────────────────────────────────────────────────────────────────


def words() -> Iterator[str | bytes]:
    yield json.dumps(FORGED)
    yield json.dumps({"type": "changes", "data": {"machines": [machine(666, name="forged")]}})
    yield json.dumps({"type": "changes", "machines_removed": [1]})
    yield json.dumps({"type": "auth", "key": KEY})
    yield json.dumps({"type": "feed", "on": False})
    yield '{"type": "ping", "machines": [{"id": 666, "name": "forged"}]}'
    yield b"\x00\xff\xfe"
    yield "{"
    yield "[" * 1000
    yield ""


async def test_whatever_a_browser_says_changes_nothing(address: str) -> None:
    async with gateway(address) as source, browser(address) as writer:
        await tell(source, type="initial", machines=[machine(1)])
        while (await said(writer)).get("machines") != [machine(1)]:
            pass
        for word in words():
            await writer.send(word)
        await writer.send('{"type": "ping"}')
        assert await heard(writer, "pong") == {"type": "pong"}, "it was heard, and is still here"
        assert (await snapshot(address))["machines"] == [machine(1)]
        await tell(source, type="changes", machines=[machine(2)])
        assert (await heard(writer, "changes"))["machines"] == [machine(2)]


async def test_who_says_much_is_sent_away(address: str) -> None:
    async with browser(address) as talker:
        await attempt(talker, *['{"type": "nothing"}'] * (edge_app.WORDS_PER_MINUTE + 1))
        assert await closed(talker) == 1008


async def test_who_says_something_long_is_sent_away(address: str) -> None:
    async with browser(address) as talker:
        await attempt(talker, "x" * (LARGEST_OF_A_BROWSER_BYTES + 1))
        assert await closed(talker) == 1009


async def test_frames_that_break_the_protocol_end_the_connection_and_nothing_else(address: str) -> None:
    async with browser(address) as other:
        await said(other)
        for garbage in (b"\xff" * 64, Frame(Opcode.TEXT, b"\xff\xfe").serialize(mask=True), b"GET / HTTP/1.1\r\n\r\n"):
            async with browser(address) as broken:
                await said(broken)
                broken.transport.write(garbage)
                assert await closed(broken) in (1002, 1006, 1007)
        await other.send('{"type": "ping"}')
        assert await heard(other, "pong") == {"type": "pong"}


async def test_who_takes_no_answers_is_let_go(address: str) -> None:
    async with browser(address, ping_interval=None) as greedy:
        await said(greedy)
        greedy.transport.pause_reading()
        ping = Frame(Opcode.PING, b"x" * 125).serialize(mask=True)
        with pytest.raises((ConnectionError, websockets.ConnectionClosed, TimeoutError)):
            await flood(greedy, ping * 500)


async def flood(connection: ClientConnection, chunk: bytes) -> None:
    """Writes until the other end has had enough."""
    async with asyncio.timeout(served.WITHIN_S):
        while not connection.transport.is_closing():
            connection.transport.write(chunk)
            await connection.drain()
    raise ConnectionError


async def test_another_sites_page_may_not_listen(address: str) -> None:
    for origin in ("https://evil.example", "null", "http://", f"https://{address}.evil.example"):
        async with browser(address, origin=origin) as page:
            assert await closed(page) == 4403
    async with browser(address, origin=f"http://{address}") as page:
        assert (await said(page))["type"] == "initial"


async def test_behind_a_proxy_the_public_address_is_our_own_too(clock: FakeClock) -> None:
    async with served.relay(clock, public_url="https://status.example.org") as address:
        async with browser(address, origin="https://status.example.org") as page:
            assert (await said(page))["type"] == "initial"
        async with browser(address, origin="https://status.example.org.evil.example") as page:
            assert await closed(page) == 4403


async def test_behind_a_proxy_that_says_nothing_of_tls_the_same_host_is_our_own(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    host, port = address.split(":")

    def page_of(origin: str, asked: str = "status.example.org") -> websockets.connect:
        return websockets.connect(f"ws://{asked}/ws", additional_headers={"Origin": origin}, host=host, port=int(port))

    for origin in ("https://status.example.org", "http://status.example.org", "https://status.example.org:443"):
        async with page_of(origin) as page:
            assert (await said(page))["type"] == "initial"
    for origin in ("https://status.example.org:8443", "https://example.org", "http://status.example.org.evil.example"):
        async with page_of(origin) as page:
            assert await closed(page) == 4403
    async with page_of("https://status.example.org", asked="status.example.org:8080") as page:
        assert await closed(page) == 4403, "a port that was asked for counts"
    printed = capsys.readouterr().out
    assert printed.count("TOCSIN_PUBLIC_URL") == 1, "said, and not as often as somebody likes"
    assert "origin=https://status.example.org:8443" in printed
    assert "host=status.example.org" in printed


async def test_a_websocket_to_nowhere_is_refused(address: str) -> None:
    for path in ("/", "/ws/", "/gateway/", "/v1/snapshot"):
        with pytest.raises(websockets.InvalidStatus):
            async with websockets.connect(f"ws://{address}{path}"):
                pass
