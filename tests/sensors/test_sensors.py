"""Each sensor reads what the kernel writes, from a root of its own, and makes nothing up."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from tests.sensors.host import make_host, put, put_process, read
from tocsin.sensors import SENSORS
from tocsin.sensors.base import Absent, Host, Sensor
from tocsin.sensors.facts import facts

SECOND = os.sysconf("SC_CLK_TCK")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return make_host(tmp_path)


def test_cpu(host: Host) -> None:
    assert read(host, "cpu") == {
        "system.cpu.time{cpu.mode=user}": 100 / SECOND,
        "system.cpu.time{cpu.mode=nice}": 20 / SECOND,
        "system.cpu.time{cpu.mode=system}": 300 / SECOND,
        "system.cpu.time{cpu.mode=idle}": 4000 / SECOND,
        "system.cpu.time{cpu.mode=iowait}": 50 / SECOND,
        "system.cpu.time{cpu.mode=interrupt}": 13 / SECOND,
        "system.cpu.time{cpu.mode=steal}": 8 / SECOND,
        "system.cpu.time{cpu.logical_number=0,cpu.mode=idle}": 2500 / SECOND,
        "system.cpu.time{cpu.logical_number=1,cpu.mode=idle}": 1500 / SECOND,
        "system.cpu.logical.count": 2,
    }


def test_idle_time_that_steps_back_is_no_reset(host: Host, tmp_path: Path) -> None:
    sensor = SENSORS["cpu"].open(host)
    before = sensor.read().values
    text = (tmp_path / "proc/stat").read_text().replace(" 4000 ", " 3999 ")
    (tmp_path / "proc/stat").write_text(text)
    assert sensor.read().values == before


def test_processor_time_after_a_processor_was_taken_away_is_taken_as_it_is(host: Host, tmp_path: Path) -> None:
    sensor = SENSORS["cpu"].open(host)
    sensor.read()
    idle = next(series for series in sensor.read().values if series.label == "system.cpu.time{cpu.mode=idle}")
    text = (tmp_path / "proc/stat").read_text()
    for ticks in (1500, 1500 + SECOND, 1500 + 2 * SECOND):
        (tmp_path / "proc/stat").write_text(text.replace(" 4000 ", f" {ticks} "))
        assert sensor.read().values[idle] == ticks / SECOND


def test_load_and_uptime(host: Host) -> None:
    assert read(host, "load") == {
        "system.cpu.load_average.1m": 0.52,
        "system.cpu.load_average.5m": 1.25,
        "system.cpu.load_average.15m": 2.0,
    }
    assert read(host, "uptime") == {"system.uptime": 12345.67}


def test_memory_adds_up(host: Host) -> None:
    found = read(host, "memory")
    assert found.pop("system.memory.limit") == 1000 * 1024
    assert found.pop("system.linux.memory.available") == 600 * 1024
    assert found == {
        f"system.memory.usage{{system.memory.state={state}}}": kib * 1024
        for state, kib in {"used": 350, "free": 200, "cached": 400, "buffers": 50}.items()
    }
    assert sum(found.values()) == 1000 * 1024


def test_swap_is_there_or_is_not(host: Host, tmp_path: Path) -> None:
    assert read(host, "swap") == {
        "system.paging.usage{system.paging.state=used}": 100 * 1024,
        "system.paging.usage{system.paging.state=free}": 400 * 1024,
    }
    put(tmp_path, "proc/meminfo", "MemTotal: 1 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n")
    with pytest.raises(Absent, match="no swap"):
        SENSORS["swap"].open(host)


def test_disks_that_consist_of_no_others(host: Host) -> None:
    assert read(host, "disks") == {
        "system.disk.io{disk.io.direction=read,system.device=nvme0n1}": 2000 * 512,
        "system.disk.io{disk.io.direction=write,system.device=nvme0n1}": 4000 * 512,
        "system.disk.operations{disk.io.direction=read,system.device=nvme0n1}": 10,
        "system.disk.operations{disk.io.direction=write,system.device=nvme0n1}": 20,
        "system.disk.io_time{system.device=nvme0n1}": 1.5,
    }


def test_interfaces_whose_traffic_is_their_own(host: Host) -> None:
    found = read(host, "network")
    assert interfaces(found) == {"eth0"}
    of = "network.interface.name=eth0,network.io.direction"
    assert found[f"system.network.io{{{of}=receive}}"] == 1000
    assert found[f"system.network.io{{{of}=transmit}}"] == 2000
    assert found[f"system.network.errors{{{of}=receive}}"] == 1
    assert found[f"system.network.errors{{{of}=transmit}}"] == 3
    assert found[f"system.network.packet.dropped{{{of}=receive}}"] == 2
    assert found[f"system.network.packet.dropped{{{of}=transmit}}"] == 4


def test_volumes_of_zfs_and_paths_of_a_disk_are_no_disks(host: Host, tmp_path: Path) -> None:
    of = "disk.io.direction=read,system.device"

    def seen(disk: int, *paths: int) -> dict[str, float]:
        put(
            tmp_path,
            "proc/diskstats",
            f"259 0 nvme0n1 {disk} 0 {disk} 0 0 0 0 0 0 {disk} 0\n230 0 zd0 5 0 5 5 5 0 5 6 0 5 5\n"
            + "".join(f"259 1 nvme0c{number}n1 {n} 0 {n} 0 0 0 0 0 0 {n} 0\n" for number, n in enumerate(paths)),
        )
        found = read(host, "disks")
        assert {label.rpartition("system.device=")[2] for label in found} == {"nvme0n1}"}
        return found

    for name in ("zd0", "nvme0c0n1", "nvme0c1n1"):
        (tmp_path / "sys/block" / name / "slaves").mkdir(parents=True)
    assert seen(30, 10, 20)[f"system.disk.operations{{{of}=nvme0n1}}"] == 30
    old = seen(0, 1000, 2000)
    assert old[f"system.disk.operations{{{of}=nvme0n1}}"] == 3000
    assert old[f"system.disk.io{{{of}=nvme0n1}}"] == 3000 * 512
    assert old["system.disk.io_time{system.device=nvme0n1}"] == 3


def interfaces(found: dict[str, float]) -> set[str]:
    return {label.split("network.interface.name=")[1].split(",")[0] for label in found}


def net_dev(*names: str) -> str:
    return "\n\n" + "".join(f"{name}: 1000 10 1 2 0 0 0 0 2000 20 3 4 0 0 0 0\n" for name in names)


def test_ports_of_containers_that_are_routed_are_left_out(host: Host, tmp_path: Path) -> None:
    names = ("veth0a", "cali1", "lxc_health", "tap0", "eni7", "tap-of-a-card", "wg0")
    put(tmp_path, "proc/1/net/dev", net_dev("eth0", *names))
    for name in names:
        (tmp_path / "sys/class/net" / name).mkdir()
    (tmp_path / "sys/class/net/tap-of-a-card/device").mkdir()
    assert interfaces(read(host, "network")) == {"eth0", "tap-of-a-card", "wg0"}


def test_of_many_interfaces_the_machines_own_come_first(host: Host, tmp_path: Path) -> None:
    names = [f"ipvl{number}" for number in range(300)]
    put(tmp_path, "proc/1/net/dev", net_dev(*names, "eth0"))
    found = interfaces(read(host, "network"))
    assert found == {"eth0", *names[:99]}


def test_filesystems_that_hold_data_each_once(host: Host, tmp_path: Path) -> None:
    found = read(host, "filesystems")
    assert len(found) == 6
    label = (
        "system.filesystem.usage{system.device=/dev/sdb1,system.filesystem.mountpoint=/the data,"
        "system.filesystem.state=used,system.filesystem.type=xfs}"
    )
    seen = os.statvfs(tmp_path / "the data")
    assert 0 < found[label] <= seen.f_blocks * seen.f_frsize
    with pytest.raises(Absent, match="another machine"):
        SENSORS["network filesystems"].open(host)


def test_a_file_system_that_is_mounted_is_seen(host: Host, tmp_path: Path) -> None:
    sensor = SENSORS["filesystems"].open(host)
    assert len(sensor.read().values) == 6
    mounts = tmp_path / "proc/1/mounts"
    with mounts.open("a") as table:
        table.write("/dev/sdc1 /var btrfs rw 0 0\nserver:/export /var/lib nfs4 rw 0 0\n")
    assert len(sensor.read().values) == 9
    assert len(SENSORS["network filesystems"].open(host).read().values) == 3


def test_processes_by_what_they_take(host: Host, tmp_path: Path) -> None:
    for pid in range(10, 20):
        put_process(tmp_path, pid, f"idle-{pid}", used=5, pages=pid)
    put_process(tmp_path, 50, "a (b) c", used=100, pages=1)
    put_process(tmp_path, 51, "kept-short-by-t", used=0, pages=99, command=b"/usr/bin/kept-short-by-the-kernel\0-x\0")
    sensor = SENSORS["processes"].open(host)
    first = sensor.read()
    assert [(series.label, value) for series, value in first.values.items()] == [("system.process.count", 12)]
    assert first.processes is None
    began = time.monotonic()
    put_process(tmp_path, 50, "a (b) c", used=100 + SECOND, pages=1)
    put_process(tmp_path, 12, "new", used=500, pages=1, started=900)
    found = {process.pid: process for process in sensor.read().processes or []}
    assert set(found) == {50, 51, 19, 18, 17, 16}
    assert found[50].name == "a (b) c"
    assert found[50].cpu >= 1 / (time.monotonic() - began + 5)
    assert found[51].name == "kept-short-by-the-kernel"
    assert found[51].memory_bytes == 99 * os.sysconf("SC_PAGESIZE")
    assert found[51].user == ("root" if os.getuid() == 0 else str(os.getuid()))


def test_names_of_processes_are_text_whatever_they_are(host: Host, tmp_path: Path) -> None:
    put_process(tmp_path, 50, "<b>\udcff", used=1, pages=1)
    sensor = SENSORS["processes"].open(host)
    sensor.read()
    (process,) = sensor.read().processes or []
    assert process.name == "<b>\ufffd"


def test_temperatures_and_fans(host: Host) -> None:
    assert read(host, "temperatures") == {"hw.temperature{hw.id=coretemp/Package id 0}": 45.0}
    assert read(host, "fans") == {"hw.fan.speed{hw.id=nct6775/fan2}": 1200.0}


def test_chips_of_one_name_are_told_apart(host: Host, tmp_path: Path) -> None:
    for number in (2, 3):
        put(tmp_path, f"sys/class/hwmon/hwmon{number}/name", "nvme\n")
        put(tmp_path, f"sys/class/hwmon/hwmon{number}/temp1_input", f"{number}0000\n")
        (tmp_path / f"sys/devices/nvme{number}").mkdir(parents=True)
        (tmp_path / f"sys/class/hwmon/hwmon{number}/device").symlink_to(tmp_path / f"sys/devices/nvme{number}")
    found = read(host, "temperatures")
    assert found["hw.temperature{hw.id=nvme-nvme2/temp1}"] == 20
    assert found["hw.temperature{hw.id=nvme-nvme3/temp1}"] == 30


def told(sensor: Sensor) -> dict[str, float]:
    return {series.label: value for series, value in sensor.read().values.items()}


@pytest.mark.parametrize("name", ["temperatures", "fans"])
def test_chips_that_are_numbered_anew_are_found_again(host: Host, tmp_path: Path, name: str) -> None:
    sensor = SENSORS[name].open(host)
    before = told(sensor)
    assert len(before) == 1
    for number in (0, 1):
        (tmp_path / f"sys/class/hwmon/hwmon{number}").rename(tmp_path / f"sys/class/hwmon/hwmon{number + 7}")
    assert told(sensor) == before
    shutil.rmtree(tmp_path / "sys/class/hwmon")
    with pytest.raises(Absent, match="no chip"):
        sensor.read()


def test_chips_that_change_places_are_told_apart_before_long(tmp_path: Path) -> None:
    chips = tmp_path / "sys/class/hwmon"
    for number, chip in enumerate(("nvme", "coretemp")):
        put(tmp_path, f"sys/class/hwmon/hwmon{number}/name", f"{chip}\n")
        put(tmp_path, f"sys/class/hwmon/hwmon{number}/temp1_input", f"{number + 3}0000\n")
    sensor = SENSORS["temperatures"].open(Host(tmp_path))
    before = told(sensor)
    assert before == {"hw.temperature{hw.id=nvme/temp1}": 30, "hw.temperature{hw.id=coretemp/temp1}": 40}
    for old, new in (("hwmon0", "kept"), ("hwmon1", "hwmon0"), ("kept", "hwmon1")):
        (chips / old).rename(chips / new)
    assert before in [told(sensor) for _ in range(30)]
    put(tmp_path, "sys/class/hwmon/hwmon2/name", "late\n")
    put(tmp_path, "sys/class/hwmon/hwmon2/temp1_input", "50000\n")
    assert {**before, "hw.temperature{hw.id=late/temp1}": 50} in [told(sensor) for _ in range(30)]


def test_an_input_that_cannot_be_read_costs_the_others_nothing(host: Host, tmp_path: Path) -> None:
    sensor = SENSORS["temperatures"].open(host)
    before = told(sensor)
    asleep = tmp_path / "sys/class/hwmon/hwmon0/temp10_input"
    asleep.unlink()
    asleep.mkdir()
    assert [told(sensor) for _ in range(3)] == [before] * 3


def test_thermal_zones_where_no_chip_tells(tmp_path: Path) -> None:
    put(tmp_path, "sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
    put(tmp_path, "sys/class/thermal/thermal_zone0/temp", "51234\n")
    assert read(Host(tmp_path), "temperatures") == {"hw.temperature{hw.id=cpu-thermal}": 51.234}


@pytest.mark.parametrize("name", SENSORS)
def test_what_a_host_has_not_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "proc").mkdir()
    with pytest.raises(Absent, match="no "):
        SENSORS[name].open(Host(tmp_path))


@pytest.mark.parametrize("name", ["cpu", "load", "memory", "uptime", "disks", "network"])
def test_what_makes_no_sense_is_an_error_and_no_number(host: Host, tmp_path: Path, name: str) -> None:
    for file in ("stat", "loadavg", "meminfo", "uptime", "diskstats"):
        put(tmp_path, f"proc/{file}", "cpu a b\n1 2 x y\nMemTotal: many kB\n")
    put(tmp_path, "proc/1/net/dev", "\n\neth0: 1 2 3\n")
    with pytest.raises((ValueError, IndexError, Absent)):
        SENSORS[name].open(host).read()


def test_facts(host: Host) -> None:
    found = facts(host, "oslo-1")
    assert found["host.name"] == "oslo-1"
    assert found["host.cpu.model.name"] == "AMD EPYC 7B13"
    assert found["os.description"] == "Debian GNU/Linux 12 (bookworm)"
    assert found["os.type"] == "linux"
    assert found["os.kernel.release"] == os.uname().release


def test_this_very_host() -> None:
    """Every sensor gives numbers of the real kernel, or says that there is nothing of the kind."""
    for kind in SENSORS.values():
        try:
            sensor = kind.open(Host())
        except Absent:
            continue
        first, second = sensor.read().values, sensor.read().values
        assert first
        assert all(value == value and value >= -100 for value in second.values())
        assert all(second[series] >= value for series, value in first.items() if series.kind == "counter")
        assert all(list(dict(series.attributes)) == sorted(dict(series.attributes)) for series in first)
