"""tocsin archive: written, read back and handed out, on an installation of its own."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sqlalchemy import delete, select

from tests.archive.conftest import bucket, endpoint
from tests.cli.conftest import Commands
from tests.contract.rows import add_machine
from tests.contract.test_archive import DAY, LAYOUTS, NOW_MS, everything, run, some_ticks
from tocsin.archive.archive import Archive
from tocsin.archive.parquet import Reader
from tocsin.archive.places import Folder
from tocsin.services import keeper
from tocsin.store import archiving, samples, tables
from tocsin.store.engine import Store

__all__ = ["bucket", "endpoint"]
FIRST, LAST = "2026-02-16", "2026-02-18"


@pytest.fixture
def store(commands: Commands) -> Store:
    """Two machines, two days, sealed."""
    opened = Store(f"sqlite:///{commands.place / 'data' / 'tocsin.db'}")
    with opened.write() as conn:
        numbers = [add_machine(conn, "web-1"), add_machine(conn, "db-1")]
        ids = samples.layout_ids(conn, LAYOUTS)
        samples.insert_many(conn, [tick for number in numbers for tick in some_ticks(number, ids)])
    run(keeper.seal_samples(opened, NOW_MS))
    return opened


def empty(store: Store) -> None:
    with store.write() as conn:
        for table in archiving.TIERS.values():
            conn.execute(delete(table))


def test_out_and_back(commands: Commands, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything(store)
    monkeypatch.setenv("TOCSIN_ARCHIVE_URL", str(commands.place / "archive"))
    written = commands.ok("archive", "--json").json["items"]
    assert [(one["tier"], one["day"]) for one in written] == [
        (tier, day) for tier in ("ticks", "minutes", "hours") for day in ("2026-02-16", "2026-02-17")
    ]
    assert "tier=ticks/day=2026-02-16/samples.parquet" in commands.ok("archive", "--tier", "ticks").out
    assert commands.ok("archive", "--before", FIRST, "--json").json == {"items": []}
    empty(store)
    said = commands.ok("archive", "read", FIRST, LAST, "--json").json
    assert said["put_back"] == sum(map(len, before.values()))
    assert everything(store) == before
    again = commands.ok("archive", "read", FIRST, "2026-02-18T00:00:00+00:00", "--machine", "web-1")
    assert again.out.startswith("0 hours are back until ")


def test_over_s3(commands: Commands, store: Store, endpoint: str, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything(store)
    for name, value in {
        "ARCHIVE_URL": bucket,
        "S3_ENDPOINT": endpoint,
        "S3_REGION": "eu-central-1",
        "S3_ACCESS_KEY": "key",
        "S3_SECRET_KEY": "secret",
    }.items():
        monkeypatch.setenv(f"TOCSIN_{name}", value)
    first = commands.ok("archive", "--json").json
    assert commands.ok("archive", "--json").json == first
    empty(store)
    assert commands.ok("archive", "read", FIRST, LAST, "--json").json["there_already"] == 0
    assert everything(store) == before


def test_to_a_file(commands: Commands, store: Store) -> None:
    place = str(commands.place / "archive")
    commands.ok("archive", "--to", place)
    window = ("2026-02-16T05:00Z", "2026-02-16T07:30Z")
    table = commands.place / "out.csv"
    said = commands.ok("archive", "read", *window, "--to", place, "--machine", "2", "--out", str(table), "--json").json
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert said == {"file": str(table), "tier": "ticks", "rows": len(rows)}
    assert {row["machine"] for row in rows} == {"db-1"}
    assert min(row["at"] for row in rows) >= "2026-02-16 05:00"
    assert max(row["at"] for row in rows) < "2026-02-16 07:30"
    parquet = commands.place / "out.parquet"
    commands.ok("archive", "read", *window, "--to", place, "--tier", "minutes", "--out", str(parquet))
    found = pq.read_table(parquet)
    assert set(found["machine"].to_pylist()) == {"db-1", "web-1"}
    assert found.column_names[-7:] == ["count", "sum", "min", "max", "last", "last_at", "ticks"]
    with store.read() as conn:
        blocks = archiving.TIERS["ticks"].c
        ticks = conn.execute(select(blocks.ticks).where(blocks.machine_id == 2, blocks.start_ms == DAY + 5 * 3_600_000))
        assert sum(ticks.scalars()) == len({row["at"] for row in rows if row["at"] < "2026-02-16 06:00"})


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("archive",), 1, "TOCSIN_ARCHIVE_URL"),
        (("archive", "--to", "ftp://host/x"), 1, "must be a folder or s3://"),
        (("archive", "--to", "x", "--tier", "years"), 2, "ticks, minutes or hours"),
        (("archive", "--to", "x", "--before", "yesterday"), 2, "is not a time"),
        (("archive", "--to", "x", "--before", "999999-01-01"), 2, "is not a time"),
        (("archive", "read", "2026-03-02", "2026-03-01", "--to", "x"), 2, "earlier"),
        (("archive", "read", "2026-03-01", "noon", "--to", "x"), 2, "TO: 'noon' is not a time"),
        (("archive", "--to", "data/tocsin.db"), 1, "cannot be read: not a directory"),
        (("archive", "read", "2026-03-01", "2026-03-02", "--to", "x", "--out", "no/such/"), 0, "0 rows"),
    ],
)
def test_what_cannot_be_is_said(
    commands: Commands, store: Store, arguments: tuple[str, ...], code: int, words: str
) -> None:
    said = commands(*arguments)
    assert said.code == code
    assert words in said.err + said.out
    assert "Traceback" not in said.err


def test_killed_again_and_again_it_ends_whole(commands: Commands, store: Store) -> None:
    before = everything(store)
    archive = commands.place / "archive"
    for round_ in range(4):
        seen = set(archive.rglob("*.part"))
        writer = subprocess.Popen([sys.executable, "-m", "tocsin", "archive", "--to", str(archive)])
        until = time.monotonic() + 30
        while writer.poll() is None and len(list(archive.rglob("*.parquet"))) < round_ and time.monotonic() < until:
            pass
        while writer.poll() is None and not {*archive.rglob("*.part")} - seen and time.monotonic() < until:
            pass
        writer.send_signal(signal.SIGKILL)
        writer.wait(10)
        with store.write() as conn:  # as after the minute that it takes to be sure that the writer is gone
            conn.execute(delete(tables.leases))
        for path in archive.rglob("samples.parquet"):
            assert readable(path)
    commands.ok("archive", "--to", str(archive))
    empty(store)
    commands.ok("archive", "read", FIRST, LAST, "--to", str(archive))
    assert everything(store) == before


def test_it_waits_while_another_writes(commands: Commands, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything(store)
    place = commands.place / "archive"
    other = Archive(store, Folder(place)).writing("hours", DAY)
    next(other)
    waited: list[float] = []

    def looks_again(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            run(other)

    monkeypatch.setattr("tocsin.cli.archive.sleep", looks_again)
    said = commands.ok("archive", "--to", str(place), "--json")
    assert (len(waited), len(said.json["items"])) == (3, 6)
    assert said.err.count("waiting until it has ended") == 1
    empty(store)
    commands.ok("archive", "read", FIRST, LAST, "--to", str(place))
    assert everything(store) == before


def readable(path: Path) -> int:
    with path.open("rb") as file:
        return sum(len(hours) for _, _, hours in Reader(file, path.name).hours())
