"""The container of the relay has what it needs: it runs on the requirements named there, and on nothing else."""

from __future__ import annotations

import os
import re
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

import httpx
import psutil

import tocsin
from tests.edge.served import KEY
from tests.running import Process, free_port

ROOT: Final = Path(__file__).parents[2]
IMAGE: Final = (ROOT / "deploy" / "edge" / "Containerfile").read_text("utf-8")
MOST_MB: Final = 64
"""Resident, with nobody watching."""


def needed() -> list[str]:
    found = re.search(r"take = /\^\(([a-z0-9|-]+)\)==/", IMAGE)
    assert found is not None
    return found[1].split("|")


def test_what_the_image_takes_is_pinned() -> None:
    pinned = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.txt").read_text("utf-8"), re.MULTILINE))
    assert set(needed()) <= pinned


def test_it_runs_on_these_alone(tmp_path: Path) -> None:
    alone = tmp_path / "opt"
    alone.mkdir()
    (alone / "tocsin").symlink_to(Path(tocsin.__file__).parent)
    for name in needed():
        files = distribution(name).files
        assert files is not None
        for top in {file.parts[0] for file in files if file.parts[0] not in ("..", "__pycache__")}:
            (alone / top).symlink_to(Path(str(distribution(name).locate_file(top))))
    port = free_port()
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("TOCSIN_", "PYTHON"))}
    process = Process(
        [sys.executable, "-S", "-m", "tocsin", "edge", "--port", str(port)],
        tmp_path,
        mine | {"PYTHONPATH": str(alone), "PYTHONDONTWRITEBYTECODE": "1", "TOCSIN_EDGE_KEY": KEY},
        name="edge",
        port=port,
    )
    process.start()
    try:
        process.wait_ready()
        assert httpx.get(f"{process.address}/v1/snapshot").json()["machines"] == []
        if sys.platform == "linux":  # what is resident is counted differently elsewhere
            assert psutil.Process(process.popen.pid).memory_info().rss / 1e6 < MOST_MB
    finally:
        assert process.stop() == 0, process.tail()
