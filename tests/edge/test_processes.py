"""A real Tocsin and a real relay, each a process of its own: from what a machine sends to what the world sees."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.edge.served import KEY
from tests.running import Process, Tocsin, free_port, running

HOST = "db-1.internal.example"


@contextmanager
def relay(place: Path, port: int) -> Iterator[Process]:
    place.mkdir(exist_ok=True)
    mine = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    settings = {"TOCSIN_EDGE_KEY": KEY, "TOCSIN_PORT": str(port)}
    process = Process([sys.executable, "-m", "tocsin", "edge"], place, mine | settings, name="edge", port=port)
    process.start()
    try:
        process.wait_ready()
        yield process
    finally:
        if process.is_running():
            process.kill()


def send(tocsin: Tocsin, key: str, load: float) -> None:
    """What an OpenTelemetry Collector would."""
    at_ns = str(time.time_ns())
    attributes = [
        {"key": "host.name", "value": {"stringValue": HOST}},
        {"key": "host.id", "value": {"stringValue": "a1"}},
    ]
    metric = {
        "name": "system.cpu.load_average.1m",
        "unit": "1",
        "gauge": {"dataPoints": [{"timeUnixNano": at_ns, "asDouble": load}]},
    }
    body = {"resourceMetrics": [{"resource": {"attributes": attributes}, "scopeMetrics": [{"metrics": [metric]}]}]}
    answer = httpx.post(
        f"{tocsin.address}/v1/metrics", json=body, headers={"Authorization": f"Bearer {key}"}, timeout=30
    )
    assert answer.status_code == 200, answer.text


@pytest.mark.slow
def test_from_a_machine_to_the_world_and_back_after_any_restart(tmp_path: Path) -> None:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    settings = {
        "TOCSIN_EDGE_URL": f"ws://127.0.0.1:{port}",
        "TOCSIN_EDGE_KEY": KEY,
        "TOCSIN_EDGE_FIELDS": "name,verdict,last_seen,load,target.name,target.verdict",
    }

    def shown() -> dict[str, Any]:
        snapshot: dict[str, Any] = httpx.get(f"{address}/v1/snapshot", timeout=30).json()
        return snapshot

    def load_is(wanted: float) -> Callable[[], bool]:
        return lambda: [machine["current"].get("load_1m") for machine in shown()["machines"]] == [wanted]

    with running(tmp_path / "inside", settings) as tocsin:
        made = tocsin.command("keys", "create", "collector", "--scope", "ingest")
        assert made.returncode == 0, made.stderr
        key = made.stdout.strip()
        send(tocsin, key, 1.5)
        with relay(tmp_path / "outside", port):
            tocsin.wait_until(lambda: shown()["machines"] and shown()["targets"], what="for the relay to be fed")
            (machine,) = shown()["machines"]
            assert set(machine) == {"id", "name", "verdict", "last_seen", "current"}
            assert (machine["name"], machine["current"]["load_1m"]) == (HOST, 1.5)
            assert set(shown()["targets"][0]) == {"id", "slug", "verdict", "enabled"}
            send(tocsin, key, 2.5)
            tocsin.wait_until(load_is(2.5), what="for a change")
        # The relay was killed. A new one knows nothing, and is told.
        with relay(tmp_path / "outside", port):
            tocsin.wait_until(load_is(2.5), what="for the new relay to be fed")
            tocsin.kill()
            tocsin.wait_until(lambda: not shown()["source"]["connected"], what="for the source to be gone")
            assert shown()["machines"][0]["current"]["load_1m"] == 2.5
            tocsin.start()
            send(tocsin, key, 3.5)
            tocsin.wait_until(load_is(3.5), what="for the source to be back")
            assert shown()["source"]["connected"]
    assert KEY not in tocsin.tail(1000)
