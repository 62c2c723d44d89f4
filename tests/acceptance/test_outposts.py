"""A place that does not reach the database is watched from all the same: its worker reports to the aggregator."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from tests.acceptance.servers import Served
from tests.running import Installation, Process, Split, Tocsin, running


@pytest.fixture
def outpost(tocsin: Installation) -> Iterator[Process]:
    process = tocsin.outpost("oslo")
    process.start()
    try:
        process.wait_ready()
        yield process
    finally:
        if process.is_running():
            process.kill()


def test_it_probes_reports_and_bridges_the_time_it_is_cut_off(
    tocsin: Installation, outpost: Process, service: Served
) -> None:
    target = tocsin.post(
        "/v1/targets",
        {
            "name": "in Oslo",
            "kind": "http",
            "url": service.url,
            "interval_s": 1,
            "timeout_s": 1,
            "recheck_s": 1,
            "locations": ["oslo"],
        },
    )["id"]

    def verdict() -> object:
        return tocsin.get(f"/v1/targets/{target}")["verdict"]

    tocsin.wait_until(lambda: verdict() == "up", what="for Oslo to report")
    (row,) = [location for location in tocsin.items("/v1/locations") if location["name"] == "oslo"]
    assert [worker["remote"] for worker in row["workers"]] == [True]  # type: ignore[attr-defined]

    # The whole centre is away, as a cut line would have it.
    assert tocsin.stop() == 0
    seen = service.answered
    deadline = time.monotonic() + 60
    while service.answered < seen + 5:
        assert time.monotonic() < deadline, f"it does not go on by itself:\n{outpost.tail()}"
        time.sleep(0.1)
    assert outpost.is_running()
    cut_ms = time.time_ns() // 1_000_000
    service.stop()
    time.sleep(3)
    tocsin.start()
    tocsin.wait_until(lambda: verdict() == "down", what="for Oslo to report what it saw meanwhile")
    slots = sorted(at_ms for (at_ms,) in tocsin.rows(f"SELECT at_ms FROM checks WHERE target_id = {target}"))
    between = [at_ms for at_ms in slots if at_ms % 1000 == slots[-1] % 1000 and at_ms <= cut_ms]
    assert [later - one for one, later in pairwise(between)][-5:] == [1000] * 5, "nothing is missing"

    service.start()
    tocsin.wait_until(lambda: verdict() == "up", what="for it to be up again")
    assert outpost.stop(within_s=10) == 0


def test_its_health_needs_no_database(tocsin: Installation, outpost: Process) -> None:
    ready = httpx.get(f"{outpost.address}/health/ready", timeout=30)
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "detail": ""})
    assert "tocsin_targets_watched" in httpx.get(f"{outpost.address}/metrics", timeout=30).text


def test_a_taken_port_closes_that_door_and_nothing_else(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with running(tmp_path, {"TOCSIN_GRPC_PORT": str(port)}) as tocsin:
            tocsin.wait_until(
                lambda: "workers far away and collectors cannot report" in tocsin.log.read_text(), what="for a warning"
            )
            assert str(port) in tocsin.log.read_text()
            assert tocsin.items("/v1/targets")
            assert tocsin.stop() == 0


def test_an_aggregator_alone_says_that_its_port_is_taken(tmp_path: Path, postgres_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for chosen, said in ((port, f"127.0.0.1:{port} cannot be listened on"), (0, "TOCSIN_GRPC_PORT is 0")):
            refused = Split(tmp_path, postgres_url, {"TOCSIN_GRPC_PORT": str(chosen)}).command("aggregator")
            assert refused.returncode == 1
            assert refused.stderr.splitlines()[-1].startswith(f"Tocsin cannot start: {said}")
            assert "Traceback" not in refused.stderr


def test_only_a_worker_alone_reports_to_an_aggregator(tmp_path: Path) -> None:
    settings = {"TOCSIN_AGGREGATOR_URL": "grpc://127.0.0.1:1", "TOCSIN_AGGREGATOR_KEY": "tcs_any"}
    refused = Tocsin(tmp_path, settings).command("up")
    assert refused.returncode == 1
    assert "`tocsin worker`" in refused.stderr
