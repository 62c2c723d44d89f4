"""The doctor: what it finds, and that it tells each trouble from health."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.cli.conftest import Commands
from tests.contract.rows import add_targets, check
from tests.contract.test_workers import add_worker
from tests.running import free_port
from tocsin.cli import doctor
from tocsin.cli.doctor import Finding, Status
from tocsin.core.rollup import DAY_MS
from tocsin.core.shards import LEASE_MS
from tocsin.lib.icmp import Capability, Way
from tocsin.services import keeper
from tocsin.settings import Settings
from tocsin.store import checks, locations
from tocsin.store.engine import Store


def found(commands: Commands, subject: str) -> Finding:
    findings = commands("doctor", "--json").json["findings"]
    return next(Finding(**one) for one in findings if one["subject"] == subject)


def test_a_fresh_machine_is_well(bare: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_PORT", str(free_port()))
    said = bare.ok("doctor", "--json")
    subjects = {one["subject"]: one["status"] for one in said.json["findings"]}
    assert "fail" not in subjects.values()
    for subject in doctor.EXAMINATIONS:
        assert any(name.startswith(subject) for name in subjects), f"nothing was said about {subject}"
    assert not (bare.place / "data").exists(), "looking must not make anything"


def test_trouble_says_what_to_do_and_ends_with_1(bare: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_PORT", "many")
    said = bare("doctor")
    assert said.code == 1
    assert "FAIL  settings" in said.out
    assert "TOCSIN_PORT" in said.out
    assert "→" in said.out


def test_an_examination_that_breaks_does_not_silence_the_others(
    bare: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Settings) -> list[Finding]:
        raise RuntimeError("out of order")

    monkeypatch.setitem(doctor.EXAMINATIONS, "clock", broken)
    monkeypatch.setenv("TOCSIN_PORT", str(free_port()))
    assert "out of order" in found(bare, "clock").seen
    assert found(bare, "certificate authorities").status == "ok"


def test_the_database(bare: Commands) -> None:
    assert "none yet" in found(bare, "database").seen
    bare.ok("migrate")
    well = found(bare, "database")
    assert well.status == "ok"
    assert "WAL" in well.seen
    (bare.place / "data" / "tocsin.db").write_bytes(b"rubbish" * 1000)
    broken = found(bare, "database")
    assert broken.status == "fail"
    assert broken.advice


def test_an_empty_database_wants_to_be_migrated(bare: Commands) -> None:
    (bare.place / "data").mkdir()
    (bare.place / "data" / "tocsin.db").touch()
    assert found(bare, "database").advice == "Type: tocsin migrate"


def test_how_checks_are_kept_in_a_file(commands: Commands) -> None:
    assert found(commands, "history") == Finding("history", "ok", "checks in one table")


def test_how_checks_are_kept_on_postgresql(
    commands: Commands, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How many days there are, from when to when, and what a check takes, single and packed."""
    monkeypatch.setenv("TOCSIN_DATABASE_URL", postgres_url)
    assert re.fullmatch(r"8 partitions, a day each, 20\S+ to 20\S+", found(commands, "history").seen)
    store = Store(postgres_url)
    yesterday_ms = 20_000 * DAY_MS
    with store.write() as conn:
        add_targets(conn, *range(1, 101))
        rows = [check(target, yesterday_ms + slot * 60_000) for slot in range(360) for target in range(1, 101)]
        checks.insert_many(conn, rows)
    with store.statements() as conn:
        conn.execute(text("ANALYZE checks"))
    assert re.fullmatch(
        r"9 partitions, a day each, 2024-10-04 to 20\S+; 1?\d\d bytes a check", found(commands, "history").seen
    )
    now_ms = yesterday_ms + DAY_MS + 3_600_000
    for chore in (
        keeper.fold(store, now_ms),
        keeper.pack(store, keeper.Retention(unpacked_ms=0), lambda: now_ms, {}),
    ):
        for _ in chore:
            pass
    store.close()
    assert re.search(r"; 1?\d\d bytes a check; \d bytes a packed check$", found(commands, "history").seen)


def test_who_checks_from_where(bare: Commands) -> None:
    """Before the first start, before the first worker, and with one place of three that somebody is at."""
    assert found(bare, "locations").status == "ok"
    bare.ok("migrate")
    assert found(bare, "locations").status == "warn"
    bare.ok("target", "add", "tcp://db.test:5432", "--location", "fra")
    store = Store(f"sqlite:///{bare.place / 'data' / 'tocsin.db'}")
    with store.write() as conn:
        nyc, _ = locations.ensure(conn, "nyc"), locations.ensure(conn, "old")
        until_ms = round(time.time() * 1000) + LEASE_MS
        add_worker(conn, "w-1", location_id=nyc, until_ms=until_ms, clock_off_ms=1900)
        add_worker(conn, "w-2", location_id=nyc, until_ms=until_ms, clock_off_ms=-300_000)
    store.close()
    here = found(bare, "locations: nyc")
    assert (here.status, here.seen) == ("ok", "2 workers (host w-1, host w-2) for 0 targets")
    named = found(bare, "locations: fra")
    assert (named.status, named.seen) == ("warn", "no worker is there; 1 target should be checked from it")
    assert "TOCSIN_LOCATION=fra" in named.advice
    assert "tocsin location rm old" in found(bare, "locations: old").advice
    clock = found(bare, "locations: clock of host w-2")
    assert (clock.status, clock.seen) == ("warn", "300.0 s behind the installation's")
    subjects = [one["subject"] for one in bare("doctor", "--json").json["findings"]]
    assert "locations: clock of host w-1" not in subjects


def test_a_key_that_others_can_read(bare: Commands) -> None:
    bare.ok("migrate")
    path = bare.place / "data" / "secret.key"
    path.write_text("key")
    path.chmod(0o644)
    broken = found(bare, "secret key")
    assert broken.status == "fail"
    assert "chmod 600" in broken.advice
    path.chmod(0o600)
    assert found(bare, "secret key").status == "ok"


def test_a_data_directory_that_is_a_file(bare: Commands) -> None:
    (bare.place / "data").write_text("in the way")
    assert found(bare, "data directory").status == "fail"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_data_directory_that_may_not_be_written(bare: Commands) -> None:
    (bare.place / "data").mkdir(mode=0o500)
    assert found(bare, "data directory").status == "fail"


@pytest.mark.parametrize(("free_bytes", "status"), [(1 << 40, "ok"), (500 << 20, "warn"), (1 << 20, "fail")])
def test_disk(free_bytes: int, status: Status) -> None:
    assert doctor.disk(Path("/"), free_bytes).status == status


@pytest.mark.parametrize(
    ("soft", "hard", "status"), [(1024, 1024, "warn"), (1024, 65536, "ok"), (1024, -1, "ok"), (6000, 6000, "ok")]
)
def test_open_files(soft: int, hard: int, status: Status) -> None:
    assert doctor.open_file_limit(soft, hard, max_concurrent_checks=5000).status == status


def test_a_clock_in_the_past() -> None:
    assert doctor.wall_clock(1_000_000_000).status == "fail"
    assert doctor.wall_clock(time.time()).status == "ok"


@pytest.mark.parametrize(("wall_s", "status"), [(0.051, "ok"), (3600.0, "warn"), (-5.0, "warn")])
def test_a_clock_that_is_being_set(wall_s: float, status: Status) -> None:
    assert doctor.clock_rate(0.05, wall_s).status == status


@pytest.mark.parametrize(("kernel_status", "status"), [(0x2001, "ok"), (0x0041, "warn")])
def test_a_clock_that_nothing_keeps_right(kernel_status: int, status: Status) -> None:
    assert doctor.synchronization(kernel_status).status == status


def test_name_servers(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("# comment\nnameserver 192.0.2.53\nsearch test\nnameserver 2001:db8::53\n")
    assert "192.0.2.53, 2001:db8::53" in doctor.resolver_file(path).seen
    path.write_text("search test\n")
    assert doctor.resolver_file(path).status == "warn"
    assert doctor.resolver_file(tmp_path / "nowhere").status == "warn"


@pytest.mark.parametrize(("way", "status"), [(Way.DATAGRAM, "ok"), (Way.COMMAND, "ok"), (Way.NONE, "warn")])
def test_icmp(way: Way, status: Status) -> None:
    assert doctor.icmp_way(Capability(4, way, "widen it")).status == status


def test_a_port_somebody_else_has(bare: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        monkeypatch.setenv("TOCSIN_PORT", str(listener.getsockname()[1]))
        taken = found(bare, "port")
    assert taken.status == "fail"
    assert "TOCSIN_PORT" in taken.advice


def test_a_port_this_tocsin_has(bare: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"status": "ready"}')

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with closing(_server(Health)) as server:
        monkeypatch.setenv("TOCSIN_PORT", str(server.port))
        assert found(bare, "port").status == "ok"


class _server:
    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self._server = HTTPServer(("127.0.0.1", 0), handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
