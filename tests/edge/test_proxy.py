"""Behind nginx, configured as in deploy/edge: guests keep their addresses, WebSockets pass."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import httpx
import pytest
import trustme
from starlette.requests import HTTPConnection
from websockets.asyncio.client import connect

from tests.clocks import FakeClock
from tests.edge import served
from tests.edge.served import KEY, closed, machine, said, tell
from tests.nginx import needs_nginx, nginx
from tests.running import free_port
from tocsin.edge import app as edge_app
from tocsin.edge.guests import network_of

CONFIGURATION: Final = Path(__file__).parents[2] / "deploy" / "edge" / "nginx.conf"


@pytest.fixture
def trusted() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def address(tmp_path: Path, clock: FakeClock, trusted: trustme.CA) -> AsyncIterator[str]:
    """``host:port`` of the proxy."""
    port = free_port()
    certificate = trusted.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    for part in certificate.cert_chain_pems:
        part.write_to_path(str(tmp_path / "fullchain.pem"), append=True)
    async with served.relay(clock) as behind:
        text = "\n".join(line for line in CONFIGURATION.read_text("utf-8").splitlines() if not line.startswith("#"))
        maps, server = text.split("server {", 1)
        server = (
            server.rstrip()
            .removesuffix("}")
            .replace("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;")
            .replace("/etc/ssl/status.example.org", str(tmp_path))
            .replace("127.0.0.1:8080", behind)
        )
        with nginx(server, tmp_path, http=maps):
            yield f"localhost:{port}"


@needs_nginx
async def test_the_page_the_gateway_and_browsers_pass(address: str, trusted: trustme.CA) -> None:
    context = ssl.create_default_context()
    trusted.configure_trust(context)
    async with httpx.AsyncClient(verify=context) as client:
        assert (await client.get(f"https://{address}/health/ready")).status_code == 200
    async with (
        connect(
            f"wss://{address}/gateway", ssl=context, additional_headers={"Authorization": f"Bearer {KEY}"}
        ) as gateway,
        connect(f"wss://{address}/ws", ssl=context, origin=f"https://{address}") as guest,  # type: ignore[arg-type]
    ):
        await tell(gateway, type="initial", machines=[machine(1)])
        while (await said(guest)).get("machines") != [machine(1)]:
            pass


@needs_nginx
async def test_guests_keep_their_addresses(address: str, trusted: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one says of itself does not count: the proxy puts down whom it sees."""
    context = ssl.create_default_context()
    trusted.configure_trust(context)
    seen: list[str] = []

    def noted(connection: HTTPConnection) -> str:
        seen.append(f"{network_of(connection)} over {connection.url.scheme}")
        return network_of(connection)

    monkeypatch.setattr(edge_app, "network_of", noted)
    forged = {"X-Forwarded-For": "203.0.113.9", "Authorization": "Bearer wrong"}
    async with connect(f"wss://{address}/gateway", ssl=context, additional_headers=forged) as stranger:
        assert await closed(stranger) == 4001
    assert seen == ["127.0.0.1 over wss"]
