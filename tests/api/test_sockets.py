"""Messages that many are sent are packed once, and arrive as they were."""

from __future__ import annotations

import asyncio
import json
import zlib
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.extensions import permessage_deflate

from tests.api.test_live import served

TEXTS = [
    json.dumps([{"id": number, "name": f"machine {number + turn}"} for number in range(300)]) for turn in range(20)
]
SHORT = '{"type":"pong"}'


@pytest.fixture
async def address() -> Any:
    app = FastAPI()

    @app.websocket("/ws")
    async def say_all(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            for text in (*TEXTS, SHORT, TEXTS[0]):
                assert await websocket.receive_text() == text
                await websocket.send_text(text)
        except WebSocketDisconnect:
            pass

    async with served(app) as where:
        yield where


async def heard(browser: ClientConnection) -> list[str]:
    found = []
    for text in (*TEXTS, SHORT, TEXTS[0]):
        await browser.send(text)
        found.append(str(await browser.recv()))
    return found


async def test_each_hears_what_was_said_whatever_it_can_unpack(address: str) -> None:
    async with connect(f"ws://{address}/ws") as packed, connect(f"ws://{address}/ws", compression=None) as plain:
        small = permessage_deflate.ClientPerMessageDeflateFactory(server_max_window_bits=9)
        async with connect(f"ws://{address}/ws", compression=None, extensions=[small]) as narrow:
            assert [len(one.protocol.extensions) for one in (packed, plain, narrow)] == [1, 0, 1]
            for found in await asyncio.gather(heard(packed), heard(plain), heard(narrow)):
                assert found == [*TEXTS, SHORT, TEXTS[0]]


async def test_what_ten_are_sent_is_packed_once(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    browsers = [await connect(f"ws://{address}/ws") for _ in range(10)]
    for browser in browsers:
        assert browser.response is not None
        assert "server_no_context_takeover" in browser.response.headers["Sec-WebSocket-Extensions"]
    packings = 0
    pack = zlib.compressobj

    def counted(*given: Any, **named: Any) -> Any:
        nonlocal packings
        packings += 1
        return pack(*given, **named)

    for browser in browsers:
        await browser.send(TEXTS[0])
    monkeypatch.setattr(zlib, "compressobj", counted)
    assert {await browser.recv() for browser in browsers} == {TEXTS[0]}
    for browser in browsers:
        await browser.close()
    assert packings <= 1
