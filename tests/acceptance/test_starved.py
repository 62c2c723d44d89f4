"""A database that cannot be written for a while: nothing is recorded as down because of it, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from tests.acceptance.servers import Served
from tests.running import Tocsin, running

LOCKED_S = 30
INTERVAL_S = 2


def watch(tocsin: Tocsin, service: Served) -> object:
    target = tocsin.post(
        "/v1/targets",
        {"name": "service", "kind": "http", "url": service.url, "interval_s": INTERVAL_S, "timeout_s": INTERVAL_S},
    )["id"]
    tocsin.wait_until(lambda: tocsin.get(f"/v1/targets/{target}")["verdict"] == "up", what="for it to be up")
    return target


def slots_ms(tocsin: Tocsin, target: object) -> list[int]:
    """When its checks were, oldest first."""
    found = tocsin.items(f"/v1/targets/{target}/checks?limit=1000")
    return sorted(round(datetime.fromisoformat(str(check["at"])).timestamp() * 1000) for check in found)


def assert_nothing_was_lost(tocsin: Tocsin, target: object, *, from_ms: int, to_ms: int) -> None:
    slots = [slot for slot in slots_ms(tocsin, target) if from_ms <= slot <= to_ms]
    expected = set(range(slots[0], to_ms, INTERVAL_S * 1000))
    assert expected <= set(slots), f"missing: {sorted(expected - set(slots))}"
    verdicts = {change["to"] for change in tocsin.items(f"/v1/targets/{target}/transitions")}
    assert verdicts == {"up"}


@pytest.mark.slow
def test_locked_for_half_a_minute(tmp_path: Path, service: Served) -> None:
    with running(tmp_path) as tocsin:
        target = watch(tocsin, service)
        with closing(sqlite3.connect(tocsin.data_dir / "tocsin.db", timeout=30, isolation_level=None)) as locker:
            locker.execute("BEGIN IMMEDIATE")
            from_ms = round(time.time() * 1000)
            time.sleep(LOCKED_S)
            # People can still look, and are told plainly when they cannot change anything.
            assert tocsin.get("/v1/targets")["items"]
            refused = tocsin.request("POST", f"/v1/targets/{target}/pause", expect=503)
            assert refused.headers["content-type"].startswith("application/problem+json")
            to_ms = round(time.time() * 1000)
            locker.execute("ROLLBACK")
        tocsin.wait_until(
            lambda: slots_ms(tocsin, target)[-1] >= to_ms and tocsin.metrics()["tocsin_results_buffered"] == 0,
            what="for what waited to be written",
        )
        assert_nothing_was_lost(tocsin, target, from_ms=from_ms, to_ms=to_ms)
        assert tocsin.metrics()["tocsin_results_dropped_total"] == 0


def test_asked_to_end_while_locked_it_ends_in_time(tmp_path: Path, service: Served) -> None:
    with running(tmp_path) as tocsin:
        watch(tocsin, service)
        with closing(sqlite3.connect(tocsin.data_dir / "tocsin.db", timeout=30, isolation_level=None)) as locker:
            locker.execute("BEGIN IMMEDIATE")
            assert tocsin.stop(within_s=10) == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 16 MiB."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small file system")
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", place], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"this machine does not let root mount a tmpfs: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.slow
def test_a_full_disk(small_disk: Path, tmp_path: Path, service: Served) -> None:
    filler = small_disk / "filler"
    with running(tmp_path, {"TOCSIN_DATA_DIR": str(small_disk / "data")}) as tocsin:
        target = watch(tocsin, service)
        with filler.open("wb") as file:
            try:
                while True:
                    file.write(b"\0" * 65536)
                    file.flush()
            except OSError:
                pass  # full now
        from_ms = round(time.time() * 1000)
        tocsin.wait_until(lambda: tocsin.metrics()["tocsin_write_failures_total"] > 0, what="for a write to fail")
        service_was_up = tocsin.get(f"/v1/targets/{target}")["verdict"]
        assert service_was_up == "up"
        filler.unlink()
        to_ms = round(time.time() * 1000)
        tocsin.wait_until(
            lambda: slots_ms(tocsin, target)[-1] >= to_ms and tocsin.metrics()["tocsin_results_buffered"] == 0,
            what="for what waited to be written",
        )
        assert_nothing_was_lost(tocsin, target, from_ms=from_ms, to_ms=to_ms)
        assert tocsin.stop() == 0
