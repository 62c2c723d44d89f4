"""Where files of the archive are, on a real disk and a real S3 API: whole or not at all, and errors in words."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.archive.conftest import options
from tests.running import free_port
from tocsin.archive import ArchiveError
from tocsin.archive.parquet import Reader, schema
from tocsin.archive.places import Folder, Place, S3Options, open_place

MOST = 20 << 20
"""More than S3 takes in one part."""


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return open_place(str(tmp_path / "archive"))
    where = request.getfixturevalue("bucket")
    return open_place(where, options(request.getfixturevalue("endpoint")))


def write(place: Place, name: str, content: bytes) -> None:
    with place.writing(name) as file:
        file.write(content)


def read(place: Place, name: str) -> bytes | None:
    with place.reading(name) as file:
        return None if file is None else file.read()


def fail(place: Place, name: str) -> None:
    with place.writing(name) as file:
        file.write(b"x" * MOST)
        raise RuntimeError("on the way")


def test_what_is_written_is_there_and_takes_the_place_of_what_was(place: Place) -> None:
    assert place.names("tier=ticks") == []
    assert read(place, "tier=ticks/a") is None
    write(place, "tier=ticks/b", b"first")
    write(place, "tier=ticks/a", b"x" * MOST)
    write(place, "tier=hours/a", b"")
    write(place, "tier=ticks/b", b"second")
    assert place.names("tier=ticks") == ["tier=ticks/a", "tier=ticks/b"]
    assert read(place, "tier=ticks/a") == b"x" * MOST
    assert read(place, "tier=ticks/b") == b"second"
    assert read(place, "tier=hours/a") == b""


def test_what_fails_on_the_way_leaves_what_was(place: Place) -> None:
    write(place, "day/a", b"whole")
    for name in ("day/a", "day/b"):
        with pytest.raises(RuntimeError, match="on the way"):
            fail(place, name)
    assert place.names("") == ["day/a"]
    assert read(place, "day/a") == b"whole"


KILLED = """
import sys, time
from tocsin.archive.places import S3Options, open_place
place = open_place(sys.argv[1], S3Options(sys.argv[2], "eu-central-1", "key", "secret"))
with place.writing("day/a") as file:
    file.write(b"half" * 2_000_000)
    file.flush()
    print("half", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_who_is_killed_in_the_middle_leaves_no_half_file(kind: str, tmp_path: Path, endpoint: str, bucket: str) -> None:
    where = str(tmp_path) if kind == "folder" else bucket
    place = open_place(where, options(endpoint))
    write(place, "day/a", b"whole")
    writer = subprocess.Popen([sys.executable, "-c", KILLED, where, endpoint], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"half\n"
    writer.send_signal(signal.SIGKILL)
    assert writer.wait(10) == -signal.SIGKILL
    writer.stdout.close()
    assert place.names("") == ["day/a"]
    assert read(place, "day/a") == b"whole"
    write(place, "day/a", b"anew")
    assert read(place, "day/a") == b"anew"


def test_what_the_killed_have_left_goes_after_a_day(tmp_path: Path) -> None:
    import os
    import time

    old, young = tmp_path / ".a.1.part", tmp_path / ".a.2.part"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 100_000,) * 2)
    write(Folder(tmp_path), "a", b"whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.2.part", "a"]


FULL = """
import resource, sys
from pathlib import Path
from tocsin.archive import ArchiveError
from tocsin.archive.places import Folder
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    with Folder(Path(sys.argv[1])).writing("a") as file:
        file.write(b"x" * 2_000_000)
except ArchiveError as error:
    print(error)
"""


def test_a_disk_that_takes_no_more_is_said_and_leaves_what_was(tmp_path: Path) -> None:
    write(Folder(tmp_path), "a", b"whole")
    said = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert said.stdout == f"{tmp_path / 'a'} cannot be written: file too large\n", said.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"whole"


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ArchiveError, match="file/day/a cannot be written: not a directory"):
        write(Folder(tmp_path / "file"), "day/a", b"")
    # A place where not even the administrator may make anything.
    with pytest.raises(ArchiveError, match=r"^/proc/1/fdinfo/tocsin/a cannot be written: "):
        write(Folder(Path("/proc/1/fdinfo/tocsin")), "a", b"")


def test_a_bucket_that_is_not_there_or_does_not_answer_is_said(endpoint: str, bucket: str) -> None:
    nobody = open_place("s3://nobody/x", options(endpoint))
    with pytest.raises(ArchiveError, match="s3://nobody/x/a cannot be written: "):
        write(nobody, "a", b"x")
    away = open_place("s3://samples/x", options(f"http://127.0.0.1:{free_port()}"))
    for use in (lambda: write(away, "a", b"x"), lambda: read(away, "a"), lambda: away.names("")):
        with pytest.raises(ArchiveError, match=r"s3://samples/x/a? ?cannot be (written|read): "):
            use()


def test_the_secret_is_in_no_error(endpoint: str) -> None:
    place = open_place("s3://nobody/x", S3Options(endpoint, "eu-central-1", "key", "a-secret-nobody-may-see"))
    with pytest.raises(ArchiveError) as raised:
        write(place, "a", b"x")
    assert "a-secret" not in str(raised.value)


@pytest.mark.parametrize("where", ["", "ftp://host/x", "s3://", "https://bucket.s3.amazonaws.com"])
def test_what_is_no_place_is_said(where: str) -> None:
    with pytest.raises(ValueError, match="must"):
        open_place(where)


# ── files that are none ───────────────────────────────────────────────────────────────────────────────


def _garbage(path: Path) -> None:
    path.write_bytes(b"PAR1" + b"\x00" * 100 + b"PAR1")


def _somebody_elses(path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), path)


def _newer(path: Path) -> None:
    about = {"tocsin": json.dumps({"format": 2, "tier": "ticks", "day": "2026-03-01"})}
    pq.write_table(schema("ticks").with_metadata(about).empty_table(), path)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_garbage, "no file of the archive"),
        (_somebody_elses, "no file of the archive"),
        (_newer, "newer version"),
    ],
)
def test_a_file_that_is_none_of_ours_is_named(tmp_path: Path, make: Callable[[Path], None], words: str) -> None:
    path = tmp_path / "samples.parquet"
    make(path)
    with path.open("rb") as file, pytest.raises(ArchiveError, match=f"samples.parquet.*{words}"):
        Reader(file, path.name)
