"""`tocsin collector` as a process of its own: killed, stopped, cut off, wrongly called."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.collector.aggregator import Aggregator
from tests.running import free_port
from tocsin.collector.ticker import SYSTEM_TIME

STOP_S = 5.0


def environment(**chosen: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")} | chosen


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tocsin", "collector", *arguments]


def said_at_once(*arguments: str, **chosen: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), env=environment(**chosen), capture_output=True, text=True, timeout=60, check=False
    )


class Collector:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def line(self, event: str) -> dict[str, Any]:
        """The next line of its log that begins so."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            said: dict[str, Any] = json.loads(line)
            if said["event"].startswith(event):
                return said
        raise AssertionError(f"it ended without saying {event}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def collecting(place: Path, address: str, *arguments: str, key: str = "tcs_right") -> Iterator[Collector]:
    words = ("--aggregator", address, "--every", "1", "--data-dir", str(place), *arguments)
    with subprocess.Popen(
        command(*words), env=environment(TOCSIN_AGGREGATOR_KEY=key), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Collector(process)
        finally:
            if process.poll() is None:
                process.kill()


def test_this_machine_arrives(tmp_path: Path, aggregator: Aggregator) -> None:
    with collecting(tmp_path, aggregator.address, "--name", "web 1", "--tag", "web", "--tag", "oslo") as collector:
        said = collector.line("collecting")
        assert said["aggregator"] == f"{aggregator.address} takes ticks"
        assert "cpu" in said["sensors"]
        assert "64 MB in " in said["spool"]
        assert " hold " in said["spool"]
        aggregator.wait_until(lambda: len(aggregator.arrived) >= 5)
    hello = aggregator.hellos[0]
    assert (hello.name, list(hello.tags), hello.every_ms) == ("web 1", ["web", "oslo"], 1000)
    assert hello.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert Path("/etc/machine-id").read_text().strip() not in hello.machine_id.replace("-", "")
    assert hello.facts["os.type"] == "linux"
    ticks = [aggregator.ticks[key] for key in aggregator.arrived]
    for label in ("system.memory.limit", "system.cpu.time{cpu.mode=idle}", "system.uptime", "system.process.count"):
        assert all(label in tick for tick in ticks)
    times = [tick["system.cpu.time{cpu.mode=idle}"] for tick in ticks]
    assert times == sorted(times)
    numbers = [seq for _, seq in aggregator.arrived]
    assert numbers == sorted(set(numbers))
    assert abs(numbers[-1] - SYSTEM_TIME.since_boot_ms()) < 60_000
    processes = aggregator.messages[aggregator.arrived[1]].processes
    assert any(process.name and process.user and process.memory_bytes for process in processes)


def test_killed_and_away_nothing_is_lost_and_only_the_unacknowledged_comes_again(
    tmp_path: Path, aggregator: Aggregator
) -> None:
    """What waits belongs to two lives of the collector; each is killed. A tick that arrived just before an end, its
    receipt lost with it, is sent again: the real aggregator knows it by its number."""
    with collecting(tmp_path, aggregator.address) as collector:
        aggregator.wait_until(lambda: len(aggregator.arrived) >= 2)
        aggregator.stop()
        collector.line("the aggregator cannot be reached")
        _wait_for_ticks(tmp_path, 3)
        collector.kill()
    waiting = _wait_for_ticks(tmp_path, 1)
    with collecting(tmp_path, aggregator.address) as collector:
        said = collector.line("collecting")
        assert "cannot be reached" in said["aggregator"]
        assert f"{waiting} ticks wait" in said["spool"]
        _wait_for_ticks(tmp_path, waiting + 2)
        collector.kill()
    kept = _wait_for_ticks(tmp_path, 1)
    aggregator.start()
    before = len(set(aggregator.arrived))
    with collecting(tmp_path, aggregator.address) as collector:
        aggregator.wait_until(lambda: len(set(aggregator.arrived)) >= before + kept + 2)
        collector.process.send_signal(signal.SIGTERM)
        assert collector.process.wait(STOP_S) == 0
    assert len(aggregator.arrived) - len(set(aggregator.arrived)) <= 2
    assert aggregator.arrived == sorted(aggregator.arrived)
    assert _wait_for_ticks(tmp_path, 0) == 0


def _wait_for_ticks(place: Path, least: int) -> int:
    """How many wait on disk; once there are so many. Reads past the process, as after its end."""
    import time

    from tocsin.collector.spool import _TICK, _acked, _records

    (folder,) = (place / "collector").iterdir()
    deadline = time.monotonic() + 40
    while True:
        acked = _acked(folder / "acked")
        waiting = 0
        for file in folder.glob("*.ticks"):
            ticks = sum(kind == _TICK for kind, _, _ in _records(file.read_bytes()[8:]))
            first = int(file.stem)
            waiting += sum(number > acked for number in range(first, first + ticks))
        if waiting >= least:
            return waiting
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_it_stops_in_time_although_the_aggregator_stands_still(tmp_path: Path, aggregator: Aggregator) -> None:
    """It takes what it is sent and answers nothing. What it did not acknowledge stays on disk."""
    stuck: list[grpc.ServicerContext] = []
    with collecting(tmp_path, aggregator.address) as collector:
        collector.line("collecting")
        aggregator.take = lambda tick, context: stuck.append(context)
        aggregator.wait_until(lambda: len(stuck) >= 2)
        collector.process.send_signal(signal.SIGTERM)
        said = collector.line("stopped")
        assert said["waiting"] >= 2
        assert collector.process.wait(STOP_S) == 0


def test_a_wrong_key_is_said_in_the_first_line(tmp_path: Path, aggregator: Aggregator) -> None:
    with collecting(tmp_path, aggregator.address, key="tcs_wrong") as collector:
        said = collector.line("collecting")
        assert "unknown or revoked" in said["aggregator"]
        assert "tocsin keys create NAME --scope ingest" in said["aggregator"]
        collector.process.send_signal(signal.SIGTERM)
        assert collector.process.wait(STOP_S) == 0


def test_cut_off_it_starts_and_stops_all_the_same(tmp_path: Path) -> None:
    with collecting(tmp_path, f"127.0.0.1:{free_port()}") as collector:
        assert "cannot be reached" in collector.line("collecting")["aggregator"]
        collector.process.send_signal(signal.SIGINT)
        assert collector.line("stopped")["waiting"] >= 1
        assert collector.process.wait(STOP_S) == 0


def test_two_on_one_directory(tmp_path: Path, aggregator: Aggregator) -> None:
    with collecting(tmp_path, aggregator.address) as collector:
        collector.line("collecting")
        words = ("--aggregator", aggregator.address, "--key", "k", "--data-dir", str(tmp_path))
        other = said_at_once(*words)
    assert other.returncode == 1
    assert other.stderr == (
        "Tocsin cannot start: another collector uses this data directory; --data-dir gives each one of its own\n"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--aggregator", "h:1"], "--key or TOCSIN_AGGREGATOR_KEY is needed"),
        (["--key", "k"], "--aggregator or TOCSIN_AGGREGATOR_URL is needed"),
        (["--key", "k", "--aggregator", "http://h:1"], "--aggregator must be HOST:PORT"),
        (["--key", "k", "--aggregator", "h:many"], "--aggregator must be HOST:PORT"),
        (["--key", "k", "--aggregator", "h:1", "--every", "0"], "--every must be 1 to 3600 seconds"),
        (["--key", "k", "--aggregator", "h:1", "--every", "nan"], "--every must be 1 to 3600 seconds"),
        (["--key", "k", "--aggregator", "h:1", "--every", "often"], "argument --every: invalid float value"),
        (["--key", "k", "--aggregator", "h:1", "--name", "a\nb"], "--name must be 1 to 200 characters on one line"),
        (["--key", "k", "--aggregator", "h:1", "--tag", ""], "--tag must be 1 to 200 characters on one line"),
        (["--key", "k", "--aggregator", "grpc://h:1", "--ca", "f"], "--ca goes with grpcs://"),
        (["--sing"], "unrecognized arguments: --sing"),
    ],
)
def test_wrong_use(tmp_path: Path, arguments: list[str], words: str) -> None:
    said = said_at_once(*arguments, "--data-dir", str(tmp_path))
    assert said.returncode == 2
    assert said.stderr.startswith("Usage: tocsin collector")
    assert words in said.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("TOCSIN_SPOOL_MB", "much", "TOCSIN_SPOOL_MB must be a whole number"),
        ("TOCSIN_LOG_FORMAT", "loud", "TOCSIN_LOG_FORMAT must be one of auto, text, json"),
        ("TOCSIN_AGGREGATOR_URL", "grpc://", "TOCSIN_AGGREGATOR_URL must be HOST:PORT"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str, words: str) -> None:
    said = said_at_once("--key", "k", **{"TOCSIN_AGGREGATOR_URL": "h:1", name: value})
    assert said.returncode == 2
    assert words in said.stderr


def test_an_authority_that_is_not_there(tmp_path: Path) -> None:
    said = said_at_once(
        "--key", "k", "--aggregator", "h:1", "--ca", str(tmp_path / "none"), "--data-dir", str(tmp_path / "data")
    )
    assert said.returncode == 1
    assert said.stderr == f"Tocsin cannot start: {tmp_path / 'none'} cannot be used: No such file or directory\n"
