"""The collector's page names what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.sensors.host import make_host, put
from tocsin.cli.collector import parser
from tocsin.sensors import SENSORS

ROOT = Path(__file__).parent.parent.parent


def page(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def test_every_option_is_documented() -> None:
    text = page("docs/cli.md")
    options = [max(action.option_strings, key=len) for action in parser()._actions if action.dest != "help"]
    assert len(options) > 8
    assert not [option for option in options if f"`{option}" not in text]


@pytest.mark.parametrize("name", SENSORS)
def test_every_series_is_documented(tmp_path: Path, name: str) -> None:
    host = make_host(tmp_path)
    put(tmp_path, "proc/1/mounts", "server:/e /the\\040data nfs4 rw 0 0\n/dev/sda / ext4 rw 0 0\n")
    put(tmp_path, "proc/7/stat", "7 (x) S " + " ".join(["0"] * 22))
    lines = page("docs/collector.md").splitlines()
    row = next(line for line in lines if line.startswith("|") and f"`{name}`" in line)
    if name == "network filesystems":
        row += next(line for line in lines if "`filesystems`" in line)
    names = {series.name for series in SENSORS[name].open(host).read().values}
    assert names
    for series in names:
        assert f"`{series}`" in row or f"`{series.rpartition('.')[0]}.1m`" in row


def test_the_unit_and_the_image_start_what_there_is() -> None:
    unit = page("deploy/systemd/tocsin-collector.service")
    assert "/tocsin collector\n" in unit
    image = page("deploy/collector/Containerfile")
    assert '"tocsin", "collector", "--root"' in image
    known = {"TOCSIN_AGGREGATOR_URL", "TOCSIN_AGGREGATOR_KEY", "TOCSIN_DATA_DIR"}
    assert set(re.findall(r"TOCSIN_[A-Z_]+", unit + image)) == known
