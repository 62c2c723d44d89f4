"""What the relay answers to who asks once, what it reads of settings, and what it loads."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from pathlib import Path

import httpx
import psutil
import pytest

from tests.clocks import FakeClock
from tests.edge import served
from tests.edge.served import KEY, browser, gateway, machine, said, tell
from tests.running import Process, free_port
from tocsin.edge.settings import EdgeSettings, WrongSettings
from tocsin.lib.security_headers import CONTENT_SECURITY_POLICY


@pytest.fixture
def web_dir(tmp_path: Path) -> Path:
    """A built web app."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "edge.html").write_text("<title>the relay's page</title>")
    (tmp_path / "index.html").write_text("<title>for those who sign in</title>")
    (tmp_path / "secret.txt").write_text("not for anybody")
    (tmp_path / "assets" / "edge-D4f8Hk2x.js").write_text("let one = 1;")
    (tmp_path / "assets" / "edge-D4f8Hk2x.js.br").write_bytes(b"packed")
    return tmp_path


@pytest.fixture
async def client(clock: FakeClock, web_dir: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        served.relay(clock, web_dir=web_dir) as address,
        httpx.AsyncClient(base_url=f"http://{address}", timeout=served.WITHIN_S) as client,
    ):
        yield client


async def test_the_page_and_its_files_and_nothing_else(client: httpx.AsyncClient) -> None:
    page = await client.get("/")
    assert ("the relay's page" in page.text, page.headers["cache-control"]) == (True, "no-cache")
    script = await client.get("/assets/edge-D4f8Hk2x.js", headers={"Accept-Encoding": "br"})
    assert script.headers["content-encoding"] == "br"
    assert "immutable" in script.headers["cache-control"]
    again = await client.get(
        "/assets/edge-D4f8Hk2x.js", headers={"If-None-Match": script.headers["etag"], "Accept-Encoding": "br"}
    )
    assert again.status_code == 304
    for path in ("/index.html", "/secret.txt", "/assets/../secret.txt", "/assets/%2e%2e/secret.txt", "/assets/", "/%00",
                 "/assets/" + "x" * 300, "/v1/machines", "/metrics", "/docs", "/edge.html"):  # fmt: skip
        missing = await client.get(path)
        assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json"), path
        assert missing.json()["status"] == 404


async def test_every_answer_has_the_headers_of_the_main_app(client: httpx.AsyncClient) -> None:
    for path in ("/", "/nothing", "/v1/snapshot", "/health/live", "/assets/edge-D4f8Hk2x.js"):
        answer = await client.get(path)
        assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "server" not in answer.headers


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/", "/v1/snapshot", "/health/ready", "/gateway", "/ws"])
async def test_nothing_can_be_changed(client: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await client.request(method, path, json={"machines": []}, headers={"Authorization": f"Bearer {KEY}"})
    assert answer.status_code in (404, 405)


async def test_a_snapshot_is_what_a_browser_is_sent_first(client: httpx.AsyncClient) -> None:
    address = f"{client.base_url.host}:{client.base_url.port}"
    assert (await client.get("/v1/snapshot")).json() == {
        "at": "2027-01-15T08:00:00.000Z",
        "source": {"connected": False, "seen_at": None, "age_s": None},
        "machines": [],
        "targets": [],
    }
    async with gateway(address) as source, browser(address) as guest:
        await tell(source, type="initial", machines=[machine(1, name="<b>bold</b>")])
        while (whole := await said(guest)).get("machines") in (None, []):
            pass
        answer = await client.get("/v1/snapshot")
        assert answer.headers["cache-control"] == "no-store"
        assert {"type": "initial"} | answer.json() == whole
        ready = await client.get("/health/ready")
        assert (ready.status_code, ready.json()["source"]["connected"]) == (200, True)
    assert (await client.get("/health/live")).json() == {"status": "ok"}


async def test_where_the_app_is_not_built_it_says_so(clock: FakeClock, tmp_path: Path) -> None:
    async with served.relay(clock, web_dir=tmp_path) as address, httpx.AsyncClient() as client:
        assert "make web" in (await client.get(f"http://{address}/")).text


# ── settings ──────────────────────────────────────────────────────────────────────────────────────────


def test_settings_come_from_the_environment_then_the_file(tmp_path: Path) -> None:
    file = tmp_path / "tocsin.toml"
    file.write_text('host = "0.0.0.0"\nport = 9000\nedge_key = "in the file, 16 and more"\ncanary = []\n')
    read = EdgeSettings.read({"TOCSIN_PORT": "9001"}, file=file, given={"host": "::1"})
    assert (read.host, read.port, read.key) == ("::1", 9001, "in the file, 16 and more")
    assert EdgeSettings.read({"TOCSIN_EDGE_KEY": KEY}, file=tmp_path / "none.toml") == EdgeSettings(key=KEY)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "TOCSIN_EDGE_KEY: must have at least 16 characters"),
        ({"TOCSIN_EDGE_KEY": "short"}, "TOCSIN_EDGE_KEY: must have at least 16"),
        ({"TOCSIN_EDGE_KEY": "schlüssel" * 4}, "TOCSIN_EDGE_KEY: must be letters"),
        ({"TOCSIN_EDGE_KEY": KEY + "\n"}, "TOCSIN_EDGE_KEY: must be letters"),
        ({"TOCSIN_EDGE_KEY": KEY, "TOCSIN_PORT": "many"}, "TOCSIN_PORT: must be a number"),
        ({"TOCSIN_EDGE_KEY": KEY, "TOCSIN_PORT": "70000"}, "TOCSIN_PORT: must be from 0"),
        ({"TOCSIN_EDGE_KEY": KEY, "TOCSIN_PUBLIC_URL": "status.example.org"}, "TOCSIN_PUBLIC_URL: must start"),
        ({"TOCSIN_EDGE_KEY": KEY, "TOCSIN_LOG_LEVEL": "loud"}, "TOCSIN_LOG_LEVEL: must be one of debug"),
    ],
)
def test_wrong_settings_are_named_and_the_key_is_never_shown(
    environment: Mapping[str, str], said: str, tmp_path: Path
) -> None:
    with pytest.raises(WrongSettings) as raised:
        EdgeSettings.read(environment, file=tmp_path / "none.toml")
    assert str(raised.value).startswith(said)
    assert KEY not in str(raised.value)


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    file = tmp_path / "tocsin.toml"
    file.write_text("port = = 1")
    with pytest.raises(WrongSettings, match=r"tocsin\.toml cannot be read"):
        EdgeSettings.read({"TOCSIN_EDGE_KEY": KEY}, file=file)


# ── the process ───────────────────────────────────────────────────────────────────────────────────────

MOST_MB = 64
"""Resident, with nobody watching: a quarter of a small server."""
WITHOUT = {
    "sqlalchemy", "psycopg", "sqlite3", "numpy", "grpc", "google", "pydantic", "pydantic_settings", "fastapi",
    "pycurl", "apprise", "cryptography", "prometheus_client", "redis", "dns", "typer",
}  # fmt: skip


def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    mine = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    return subprocess.run(
        [sys.executable, "-m", "tocsin", "edge", *words],
        env=mine | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_it_loads_neither_a_database_nor_any_other_room() -> None:
    program = (
        "import sys, tocsin.cli, tocsin.edge.app, tocsin.edge.settings, tocsin.main.edge;"
        "tocsin.cli.main(['edge', '--help']); print(); print(*sys.modules)"
    )
    there = set(
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
        .stdout.splitlines()[-1]
        .split()
    )
    assert not WITHOUT & {name.split(".")[0] for name in there}
    rooms = {name.split(".")[1] for name in there if name.startswith("tocsin.")}
    assert rooms == {"edge", "lib", "main", "cli"}


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is counted differently elsewhere")
def test_the_process_is_small_and_ends_gracefully(tmp_path: Path) -> None:
    port = free_port()
    mine = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    process = Process(
        [sys.executable, "-m", "tocsin", "edge", "--port", str(port)],
        tmp_path,
        mine | {"TOCSIN_EDGE_KEY": KEY},
        name="edge",
        port=port,
    )
    process.start()
    try:
        process.wait_ready()
        resident_mb = psutil.Process(process.popen.pid).memory_info().rss / 1e6
        assert resident_mb < MOST_MB
        assert f"The relay is ready at http://127.0.0.1:{port}" in process.tail()
        assert KEY not in process.tail()
    finally:
        process.popen.send_signal(signal.SIGTERM)
    assert process.popen.wait(30) == 0


def test_without_a_key_it_does_not_start() -> None:
    ended = command()
    assert ended.returncode == 2
    assert "TOCSIN_EDGE_KEY" in ended.stderr


def test_a_port_that_is_taken_is_said() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        ended = command("--port", str(taken.getsockname()[1]), TOCSIN_EDGE_KEY=KEY)
    assert ended.returncode == 1
    assert "cannot be listened on" in ended.stderr
