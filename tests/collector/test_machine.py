"""A machine is the same one for as long as it is the same."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from tests.sensors.host import make_host
from tocsin.collector import machine
from tocsin.sensors.base import Host

RAW = "0123456789abcdef0123456789abcdef"


def test_it_is_made_of_the_systems_id_and_does_not_tell_it(tmp_path: Path) -> None:
    host = make_host(tmp_path)
    made = machine.machine_id(host, tmp_path / "data")
    assert made == machine.machine_id(host, tmp_path / "elsewhere")
    assert UUID(made).version == 4
    assert RAW not in made.replace("-", "")
    (tmp_path / "etc/machine-id").write_text(RAW[::-1])
    assert machine.machine_id(host, tmp_path / "data") != made
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("text", [None, "", "uninitialized\n", "0" * 32, "abc"])
def test_where_the_system_has_none_one_is_kept(tmp_path: Path, text: str | None) -> None:
    (tmp_path / "etc").mkdir()
    if text is not None:
        (tmp_path / "etc/machine-id").write_text(text)
    host = Host(tmp_path)
    made = machine.machine_id(host, tmp_path / "data")
    assert UUID(made).version == 4
    assert machine.machine_id(host, tmp_path / "data") == made
    assert machine.machine_id(host, tmp_path / "other") != made


def test_one_that_cannot_be_kept_is_said(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("in the way")
    with pytest.raises(OSError):
        machine.machine_id(Host(tmp_path / "none"), tmp_path / "data")


def test_the_boot(tmp_path: Path) -> None:
    boot = machine.boot(make_host(tmp_path))
    assert boot.id == "6b1d3d6e-0b1a-4a0e-9d53-1d0c1a8d2f10"
    assert machine.since_boot_ms() <= machine.since_boot_ms()


def test_in_a_container_the_name_is_the_hosts(tmp_path: Path) -> None:
    assert machine.host_name(make_host(tmp_path)) == "oslo-1"


def test_ids_as_names_of_folders() -> None:
    plain = "43f66159-65d4-416e-87b2-1b1ef0810613"
    assert machine.as_file_name(plain) == plain
    odd = {machine.as_file_name(id) for id in ("../x", "a/b", "A", "a", ".", "", "ä", "x" * 200)}
    assert len(odd) == 8
    assert all("/" not in name and name not in (".", "..") for name in odd)
