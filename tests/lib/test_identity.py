"""One identity for each process on a directory, found again after any end of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from uuid import UUID

from tocsin.lib.identity import identity

TAKE_AND_WAIT = """
import sys
from pathlib import Path
from tocsin.lib.identity import identity
with identity(Path(sys.argv[1])) as own:
    print(own, flush=True)
    sys.stdin.read()
"""


class Process:
    """Another process that has an identity of this directory."""

    def __init__(self, directory: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", TAKE_AND_WAIT, str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.identity = self._process.stdout.readline().strip()

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


def taken(directory: Path) -> str:
    with identity(directory) as own:
        return own


def test_it_is_found_again_after_the_process_was_killed(tmp_path: Path) -> None:
    process = Process(tmp_path / "workers")
    process.kill()
    assert str(UUID(process.identity)) == process.identity
    assert taken(tmp_path / "workers") == process.identity


def test_processes_at_the_same_time_have_different_ones_and_each_its_own_again(tmp_path: Path) -> None:
    one, other = Process(tmp_path / "workers"), Process(tmp_path / "workers")
    assert one.identity != other.identity
    one.kill()
    with identity(tmp_path / "workers") as first, identity(tmp_path / "workers") as third:
        assert first == one.identity
        assert third not in (one.identity, other.identity)
    other.kill()


def test_what_makes_no_sense_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "1").write_bytes(b"\xff\x00 nonsense" * 20)
    own = taken(tmp_path)
    assert (tmp_path / "1").read_text() == f"{own}\n"
    assert taken(tmp_path) == own


def test_where_nothing_can_be_kept_it_is_made_up(tmp_path: Path) -> None:
    assert taken(tmp_path / "not there" / "workers") != taken(tmp_path / "not there" / "workers")
    assert not (tmp_path / "not there").exists()
    (tmp_path / "file").touch()
    assert taken(tmp_path / "file") != taken(tmp_path / "file")


def test_where_not_even_root_may_write_it_is_made_up() -> None:
    assert taken(Path("/proc/tocsin")) != taken(Path("/proc/tocsin"))
