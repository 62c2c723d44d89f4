"""How a machine is, from our collector's series and from those of an OpenTelemetry Collector's hostmetrics."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.machines import USUAL
from tocsin.core.machine import Summary, View, merged
from tocsin.core.samples import Layout, Series

NAN = math.nan


def summary(*given: tuple[str, dict[str, str], str, float]) -> Summary:
    """Of one tick: name, attributes, kind and value of each series; counters as rates."""
    layout = Layout(
        tuple(Series(name, tuple(sorted(pairs.items())), "", kind) for name, pairs, kind, _ in given)  # type: ignore[arg-type]
    )
    return View(layout).columns(np.array([[value for *_, value in given]], dtype=float)).summary(0)


def cpu(mode: str, value: float, core: str | None = None) -> tuple[str, dict[str, str], str, float]:
    number = {} if core is None else {"cpu.logical_number": core}
    return "system.cpu.time", {"cpu.mode": mode} | number, "counter", value


def filesystem(mount: str, state: str, value: float, kind: str = "ext4") -> tuple[str, dict[str, str], str, float]:
    attributes = {
        "system.filesystem.mountpoint": mount,
        "system.filesystem.state": state,
        "system.filesystem.type": kind,
        "system.device": "d",
    }
    return "system.filesystem.usage", attributes, "gauge", value


def flow(name: str, who: str, owner: str, direction: str, value: float) -> tuple[str, dict[str, str], str, float]:
    way = "network.io.direction" if name == "system.network.io" else "disk.io.direction"
    return name, {who: owner, way: direction}, "counter", value


def memory(state: str, value: float) -> tuple[str, dict[str, str], str, float]:
    return "system.memory.usage", {"system.memory.state": state}, "gauge", value


def test_processors_together() -> None:
    found = summary(cpu("user", 2), cpu("system", 1), cpu("idle", 4), cpu("iowait", 1), cpu("idle", 0.5, "0"))
    assert found.cpu == 0.375
    assert found.cores == 1


def test_processors_one_by_one() -> None:
    found = summary(
        cpu("user", 0.9, "0"),
        cpu("idle", 0.1, "0"),
        cpu("user", 0.1, "1"),
        cpu("idle", 0.8, "1"),
        cpu("wait", 0.1, "1"),
    )
    assert found.cpu == pytest.approx(0.5)
    assert found.cores == 2


def test_processors_of_which_only_idle_time_is_known_have_no_share() -> None:
    assert summary(cpu("idle", 0.5, "0")).cpu is None
    assert summary(cpu("idle", NAN), cpu("user", 1)).cpu is None
    assert summary(cpu("idle", 0), cpu("user", 0)).cpu is None


def test_memory_by_what_is_available_where_that_is_known() -> None:
    parts = [memory("used", 60), memory("free", 10), memory("cached", 20), memory("buffers", 10)]
    assert (summary(*parts).memory, summary(*parts).memory_bytes) == (0.6, 100)
    more: list[tuple[str, dict[str, str], str, float]] = [
        ("system.memory.limit", {}, "gauge", 200.0),
        ("system.linux.memory.available", {}, "gauge", 50.0),
    ]
    assert (summary(*parts, *more).memory, summary(*parts, *more).memory_bytes) == (0.75, 200)


def test_memory_of_hostmetrics_counts_slabs_once() -> None:
    parts = [memory("used", 60), memory("free", 10), memory("cached", 20), memory("buffered", 10)]
    assert summary(*parts, memory("slab_reclaimable", 5), memory("slab_unreclaimable", 3)).memory == 0.6


def test_swap() -> None:
    def swap(state: str, value: float) -> tuple[str, dict[str, str], str, float]:
        return "system.paging.usage", {"system.paging.state": state}, "gauge", value

    assert summary(swap("used", 1), swap("free", 3)).swap == 0.25
    assert summary(swap("used", 0), swap("free", 0)).swap is None  # there is none


def test_the_fullest_filesystem_without_those_that_are_none() -> None:
    found = summary(
        filesystem("/", "used", 50),
        filesystem("/", "free", 50),
        filesystem("/", "reserved", 400),
        filesystem("/var", "used", 90),
        filesystem("/var", "free", 10),
        filesystem("/snap/core", "used", 10, "squashfs"),
        filesystem("/snap/core", "free", 0, "squashfs"),
        filesystem("/run", "used", 99, "tmpfs"),
        filesystem("/run", "free", 1, "tmpfs"),
        filesystem("/var/lib/docker/x/merged", "used", 99, "overlay"),
        filesystem("/var/lib/docker/x/merged", "free", 1, "overlay"),
        filesystem("/mnt/hangs", "used", NAN),
        filesystem("/mnt/hangs", "free", NAN),
    )
    assert (found.disk, found.disk_mount) == (0.9, "/var")


def test_a_containers_own_root_is_a_disk() -> None:
    found = summary(filesystem("/", "used", 3, "overlay"), filesystem("/", "free", 1, "overlay"))
    assert (found.disk, found.disk_mount) == (0.75, "/")


def test_a_filesystem_without_size_has_no_share() -> None:
    assert summary(filesystem("/", "used", 0), filesystem("/", "free", 0)).disk is None


def test_the_network_is_what_leads_out_of_the_machine() -> None:
    name, who = "system.network.io", "network.interface.name"
    found = summary(
        flow(name, who, "eth0", "receive", 10),
        flow(name, who, "eth1", "receive", 5),
        flow(name, who, "lo", "receive", 1000),
        flow(name, who, "docker0", "receive", 1000),
        flow(name, who, "veth12", "receive", 1000),
        flow(name, who, "eth0", "transmit", 2),
        flow(name, who, "eth1", "transmit", NAN),
    )
    assert (found.network_in, found.network_out) == (15, 2)
    only = summary(flow(name, who, "lo", "receive", 7), flow(name, who, "veth1", "receive", 3))
    assert only.network_in == 3


def test_disks_are_counted_once() -> None:
    name, who = "system.disk.io", "system.device"
    owners = ("sda", "sda1", "sda2", "nvme0n1", "nvme0n1p1", "dm-0", "loop3", "md0")
    found = summary(*(flow(name, who, owner, "read", 1) for owner in owners))
    assert found.disk_read == 2
    assert found.disk_write is None
    assert summary(flow(name, who, "dm-0", "write", 4)).disk_write == 4


def test_the_rest() -> None:
    found = summary(
        ("system.cpu.load_average.1m", {}, "gauge", 1.5),
        ("system.uptime", {}, "gauge", 77.0),
        ("hw.temperature", {"hw.id": "a"}, "gauge", 40.0),
        ("hw.temperature", {"hw.id": "b"}, "gauge", 71.0),
        ("hw.temperature", {"hw.id": "c"}, "gauge", NAN),
        ("system.process.count", {"process.state": "running"}, "gauge", 2.0),
        ("system.process.count", {"process.state": "sleeping"}, "gauge", 98.0),
    )
    assert (found.load_1m, found.load_5m, found.uptime_s, found.temperature, found.processes) == (
        1.5,
        None,
        77,
        71,
        100,
    )


def test_of_unknown_series_nothing_is_told() -> None:
    assert summary(("some.thing", {}, "gauge", 5.0)) == Summary()


def test_many_rows_are_as_one_by_one() -> None:
    rows = np.random.default_rng(1).random((20, len(USUAL))) * 100
    rows[3, :10] = NAN
    view = View(USUAL)
    columns = view.columns(rows)
    for row in range(20):
        assert columns.summary(row) == view.columns(rows[row : row + 1]).summary(0)


def test_several_layouts_make_one_machine_and_what_is_old_tells_nothing() -> None:
    assert merged([(10_000, {"cpu": 0.5, "memory": 0.1}), (12_000, {"cpu": 0.6, "trend": []})]) == Summary(
        cpu=0.6, memory=0.1
    )
    assert merged([(0, {"swap": 0.5}), (400_000, {"cpu": 0.6})]) == Summary(cpu=0.6)
    assert merged([]) == Summary()
