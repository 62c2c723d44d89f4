"""Machines in a whole installation: the one it runs on, and one whose collector reports to it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.running import Tocsin, _environment, running


def rows(tocsin: Tocsin) -> list[tuple[object, ...]]:
    return tocsin.rows("SELECT name, uid, every_ms FROM machines WHERE deleted_ms IS NULL ORDER BY uid")


def test_the_machine_it_runs_on_is_there_at_once(tmp_path: Path) -> None:
    with running(tmp_path, {"TOCSIN_COLLECT": "true", "TOCSIN_MACHINE_ID": "here"}) as tocsin:
        tocsin.wait_until(lambda: rows(tocsin), what="for this machine")
        ((_, uid, every_ms),) = rows(tocsin)
        assert (uid, every_ms) == ("here", 5000)
        tocsin.wait_until(lambda: len(tocsin.rows("SELECT * FROM samples")) >= 2, what="for its samples")
        shown = tocsin.wait_until(
            lambda: [one for one in tocsin.items("/v1/machines") if one["verdict"] == "up"], what="for its verdict"
        )
        (current,) = [one["current"] for one in shown]
        assert isinstance(current, dict)
        assert 0 < current["memory"] < 1
        assert current["cores"] >= 1
        assert current["cpu"] is not None
    with running(tmp_path, {"TOCSIN_COLLECT": "true", "TOCSIN_MACHINE_ID": "here"}) as tocsin:
        before = len(tocsin.rows("SELECT * FROM samples"))
        tocsin.wait_until(lambda: len(tocsin.rows("SELECT * FROM samples")) > before, what="for more samples")
        assert len(rows(tocsin)) == 1


def test_it_can_be_left_out(tmp_path: Path) -> None:
    with running(tmp_path) as tocsin:
        tocsin.get("/v1/machines")
        assert not rows(tocsin)


def test_a_collector_reports_also_what_it_saw_while_nobody_listened(tmp_path: Path) -> None:
    """The installation is killed under it and comes back; every tick is there once."""
    with running(tmp_path) as tocsin:
        made = tocsin.command("keys", "create", "web", "--scope", "ingest")
        assert made.returncode == 0, made.stderr
        words = ("--aggregator", f"127.0.0.1:{tocsin.grpc_port}", "--every", "1", "--machine-id", "web-1")
        with subprocess.Popen(
            [sys.executable, "-m", "tocsin", "collector", *words, "--name", "web", "--data-dir", str(tmp_path / "c")],
            env=_environment({"TOCSIN_AGGREGATOR_KEY": made.stdout.strip()}),
        ) as collector:
            try:
                count = "SELECT count(*), count(DISTINCT at_ms) FROM samples"
                tocsin.wait_until(lambda: tocsin.rows(count)[0][0] >= 3, what="for samples")
                assert rows(tocsin) == [("web", "web-1", 1000)]
                ((last_ms,),) = tocsin.rows("SELECT max(at_ms) FROM samples")
                tocsin.kill()
                down_ms = time.time() * 1000
                tocsin.start()
                up_ms = time.time() * 1000
                between = f"SELECT count(*) FROM samples WHERE at_ms > {last_ms}"
                tocsin.wait_until(lambda: tocsin.rows(between)[0][0] >= 5, what="for what waited")
                collector.send_signal(signal.SIGTERM)
                assert collector.wait(10) == 0
                times = [int(row[0]) for row in tocsin.rows("SELECT at_ms FROM samples ORDER BY at_ms")]
                assert len(times) == len(set(times))
                assert [at_ms for at_ms in times if down_ms < at_ms < up_ms], "nothing of when nobody listened"
            finally:
                if collector.poll() is None:
                    collector.kill()
