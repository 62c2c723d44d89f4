"""The servers under a split installation go away and come back while hundreds of targets are watched: no verdict
changes because of it, what was seen meanwhile is stored, and every process is still there."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from websockets.asyncio.client import connect

from tests.acceptance.conftest import Servers
from tests.acceptance.load import Load
from tests.acceptance.servers import Served, served
from tests.running import PASSWORD, ROLES, Split

TARGETS = 200
INTERVAL_S = 2


@pytest.fixture(scope="module")
def watched() -> Iterator[Served]:
    with served() as service:
        yield service


@pytest.fixture(scope="module")
def load(split: Split, watched: Served) -> Load:
    return Load.begin(split, watched.url, count=TARGETS, interval_s=INTERVAL_S)


def assert_recovered(split: Split, load: Load, from_ms: int) -> None:
    """Every process is the one it was and is ready, and no slot since ``from_ms`` is missing."""
    to_ms = load.now_ms()
    load.wait_probed_after(to_ms, "for every target to be probed again")
    split.wait_until(lambda: all(process.is_ready() for process in split.processes), what="for all to be ready")
    load.wait_nothing_waits()
    load.assert_no_gap(from_ms, to_ms)
    load.assert_unharmed(lives=ROLES["worker"])
    assert split.metrics()["tocsin_results_dropped_total"] == 0


def test_the_database_is_restarted(split: Split, servers: Servers, load: Load) -> None:
    from_ms = load.now_ms()
    time.sleep(INTERVAL_S)
    servers.postgres.stop()
    try:
        time.sleep(2 * INTERVAL_S)
        assert not any(process.is_ready() for process in split.processes)
        assert all(process.is_running() for process in split.processes)
        answer = httpx.get(f"{split.address}/health/live", timeout=30)
        assert answer.status_code == 200, "a stalled database is no reason to restart a process"
    finally:
        servers.postgres.start()
    assert_recovered(split, load, from_ms)


def test_connections_are_cut_in_the_middle_of_transactions(split: Split, servers: Servers, load: Load) -> None:
    from_ms = load.now_ms()
    time.sleep(INTERVAL_S)
    cut = 0
    with psycopg.connect(servers.postgres.url, autocommit=True) as conn:
        for _ in range(20):
            rows = conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = %s AND pid <> pg_backend_pid() AND application_name LIKE 'tocsin%%'",
                (split.database_url.rpartition("/")[2],),
            ).fetchall()
            cut += len(rows)
            time.sleep(0.2)
    assert cut > 0
    assert_recovered(split, load, from_ms)


def test_redis_is_restarted(split: Split, servers: Servers, load: Load) -> None:
    from_ms = load.now_ms()
    servers.redis.stop()
    try:
        # Timers find what no bell says any more.
        target = split.post("/v1/targets", watching_itself("added without a bell", split))["id"]
        split.wait_until(
            lambda: split.get(f"/v1/targets/{target}")["verdict"] == "up", what="for a timer to find the target"
        )
        assert all(process.is_ready() for process in split.processes), "nobody's readiness hangs on it"
    finally:
        servers.redis.start()
    assert_recovered(split, load, from_ms)


@pytest.mark.parametrize("while_away", [False, True], ids=["with Redis", "without Redis"])
def test_the_live_view_of_every_copy_goes_on(split: Split, servers: Servers, load: Load, while_away: bool) -> None:
    """What one copy is told shows at the other, at once or by polling."""
    first, second = split.of("api")

    with httpx.Client(timeout=30) as browser:
        session = {"name": "admin", "password": PASSWORD}
        assert browser.post(f"{first.address}/v1/session", json=session).status_code == 200
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())

    async def hear() -> None:
        address = second.address.replace("http://", "ws://") + "/ws"
        async with connect(address, additional_headers={"Cookie": cookie}) as socket:
            assert json.loads(await socket.recv())["type"] == "initial"
            document = watching_itself(f"seen live {while_away}", split)
            made = await asyncio.to_thread(split.post, "/v1/targets", document)
            async with asyncio.timeout(60):
                while not is_about(json.loads(await socket.recv()), made["id"]):
                    pass

    if while_away:
        servers.redis.stop()
    try:
        asyncio.run(hear())
    finally:
        if while_away:
            servers.redis.start()


def is_about(message: dict[str, Any], target_id: object) -> bool:
    return message["type"] == "changes" and target_id in [target["id"] for target in message["targets"]]


def watching_itself(name: str, split: Split) -> dict[str, object]:
    return {"name": name, "kind": "http", "url": f"{split.address}/health/live", "interval_s": 2, "timeout_s": 2}


def test_whoever_signs_in_at_one_copy_is_known_at_the_others(split: Split) -> None:
    first, second = split.of("api")
    credentials = {"name": "admin", "password": PASSWORD}
    with httpx.Client(timeout=30) as browser:
        assert browser.post(f"{first.address}/v1/session", json=credentials).status_code == 200
        cookie = dict(browser.cookies)
    with httpx.Client(timeout=30, cookies=cookie, headers={"X-Tocsin-Request": "1"}) as browser:
        assert browser.get(f"{second.address}/v1/targets").status_code == 200
        assert browser.delete(f"{second.address}/v1/session").status_code == 204
        assert browser.get(f"{first.address}/v1/targets").status_code == 401, "signed out at one, out at all"


def test_migrating_while_all_runs_changes_nothing(split: Split, load: Load) -> None:
    from_ms = load.now_ms()
    for _ in range(2):
        again = split.command("migrate", "--json")
        assert again.returncode == 0, again.stderr
        assert json.loads(again.stdout)["after"] == "current"
    load.wait_probed_after(load.now_ms(), "for every target to be probed")
    load.wait_nothing_waits()
    load.assert_no_gap(from_ms, load.now_ms() - 2 * INTERVAL_S * 1000)
    assert all(process.is_running() for process in split.processes)


def test_migrating_several_times_at_once_makes_one_schema(servers: Servers, tmp_path: Path) -> None:
    url = servers.postgres.create_database(migrated=False)
    installation = Split(tmp_path, url, roles={"api": 1})
    migrations = [
        subprocess.Popen(
            [sys.executable, "-m", "tocsin", "migrate", "--json"],
            cwd=tmp_path,
            env=installation.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for migration in migrations:
        out, err = migration.communicate(timeout=120)
        assert migration.returncode == 0, err
        assert json.loads(out)["after"] == "current"
    assert json.loads(installation.command("migrate", "--json").stdout)["before"] == "current"
    assert installation.rows("SELECT count(*) FROM targets") == [(0,)]
