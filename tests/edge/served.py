"""A real relay on a free port, and those who speak to it. Knows nothing of what is asserted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.clocks import FakeClock
from tocsin.edge.app import WEB_APP, create_app, server_config
from tocsin.edge.settings import EdgeSettings
from tocsin.main.listening import listen
from tocsin.main.server import serving

KEY: Final = "a-key-that-only-the-gateway-has"
WITHIN_S: Final = 20.0


@asynccontextmanager
async def relay(
    clock: FakeClock, *, host: str = "127.0.0.1", port: int = 0, public_url: str = "", web_dir: Path = WEB_APP
) -> AsyncIterator[str]:
    """Its ``host:port`` for IPv4. With the host ``::`` it listens on both kinds of addresses."""
    app = create_app(EdgeSettings(key=KEY, public_url=public_url), clock=clock, web_dir=web_dir)
    with listen(host, port, "the test") as listener:
        async with serving(server_config(app), listener, lambda _: None, stop_s=5.0):
            yield f"127.0.0.1:{listener.getsockname()[1]}"


def gateway(address: str, key: str | None = KEY, headers: Mapping[str, str] | None = None, **rest: Any) -> connect:
    shown = {"Authorization": f"Bearer {key}"} if key is not None else {}
    return connect(f"ws://{address}/gateway", additional_headers={**shown, **(headers or {})}, **rest)


def browser(address: str, origin: str | None = None, **rest: Any) -> connect:
    headers = {"Origin": origin} if origin is not None else {}
    return connect(f"ws://{address}/ws", additional_headers=headers, max_size=None, **rest)


async def said(connection: ClientConnection) -> dict[str, Any]:
    """The next message."""
    async with asyncio.timeout(WITHIN_S):
        message: dict[str, Any] = json.loads(await connection.recv())
    return message


async def heard(connection: ClientConnection, kind: str) -> dict[str, Any]:
    """The next message of this type; others are passed over."""
    while True:
        message = await said(connection)
        if message["type"] == kind:
            return message


async def closed(connection: ClientConnection) -> int | None:
    """Waits for the end of the connection; its close code."""
    async with asyncio.timeout(WITHIN_S):
        await connection.wait_closed()
    return connection.close_code


async def tell(connection: ClientConnection, **message: Any) -> None:
    await connection.send(json.dumps(message))


async def attempt(connection: ClientConnection, *raws: str | bytes | Iterable[str]) -> None:
    """Sends them as far as the other end lets it."""
    with suppress(ConnectionClosed):
        for raw in raws:
            await connection.send(raw)


def machine(number: int, **rest: Any) -> dict[str, Any]:
    return {
        "id": number,
        "name": f"machine {number}",
        "verdict": "up",
        "since": "2027-01-15T07:00:00Z",
        "last_seen": "2027-01-15T08:00:00Z",
        "current": {"cpu": 0.25, "memory": 0.5, "disk": 0.75, "load_1m": 1.5},
        **rest,
    }


async def snapshot(address: str) -> dict[str, Any]:
    """What a browser that comes now is sent first."""
    async with browser(address) as guest:
        whole = await said(guest)
    assert whole["type"] == "initial"
    return whole
