"""Old and new names become one vocabulary, and each row says where it is from."""

from __future__ import annotations

import re

import pytest

from tocsin.otlp.vocabulary import KNOWN, METRICS, normalized


def test_every_row_names_its_source() -> None:
    for metric in METRICS:
        sources = [metric.source, *metric.also.values(), *(one.source for one in metric.attributes.values())]
        for source in sources:
            assert all(
                re.match(r"https://(opentelemetry\.io|github\.com/open-telemetry)/", one) for one in source.split(", ")
            )


def test_no_name_means_two_things() -> None:
    names = [name for metric in METRICS for name in (metric.name, *metric.also)]
    assert len(names) == len(set(names)) == len(KNOWN)


def test_what_is_normalized_stays_as_it_is() -> None:
    for metric in METRICS:
        ours = {one.name: "x" for one in metric.attributes.values() if one.name is not None}
        assert normalized(metric.name, ours, metric.unit) == (metric.name, ours, metric.unit)


OLD_AND_OURS = {
    "system.cpu.time cpu=cpu0 state=wait": "system.cpu.time cpu.logical_number=0 cpu.mode=iowait",
    "system.cpu.time system.cpu.logical_number=3 system.cpu.state=idle": (
        "system.cpu.time cpu.logical_number=3 cpu.mode=idle"
    ),
    "cpu.time cpu.mode=softirq": "system.cpu.time cpu.mode=interrupt",
    "system.memory.usage state=buffered": "system.memory.usage system.memory.state=buffers",
    "system.memory.usage state=slab_reclaimable": "system.linux.memory.slab.usage linux.memory.slab.state=reclaimable",
    "system.memory.linux.available": "system.linux.memory.available",
    "system.memory.linux.slab.usage system.memory.linux.slab.state=reclaimable": (
        "system.linux.memory.slab.usage linux.memory.slab.state=reclaimable"
    ),
    "system.swap.usage state=used": "system.paging.usage system.paging.state=used",
    "system.paging.usage device=/dev/dm-1 state=used": (
        "system.paging.usage system.device=/dev/dm-1 system.paging.state=used"
    ),
    "system.paging.operations direction=page_in type=major": (
        "system.paging.operations system.paging.direction=in system.paging.fault.type=major"
    ),
    "system.disk.io device=sda direction=read": "system.disk.io disk.io.direction=read system.device=sda",
    "system.disk.io system.device=sda system.disk.io.direction=read": (
        "system.disk.io disk.io.direction=read system.device=sda"
    ),
    "system.filesystem.usage device=/dev/sda1 mode=rw mountpoint=/ state=used type=ext4": (
        "system.filesystem.usage system.device=/dev/sda1 system.filesystem.mountpoint=/ "
        "system.filesystem.state=used system.filesystem.type=ext4"
    ),
    "system.network.io device=eth0 direction=receive": (
        "system.network.io network.interface.name=eth0 network.io.direction=receive"
    ),
    "system.network.io system.device=eth0 system.network.io.direction=receive": (
        "system.network.io network.interface.name=eth0 network.io.direction=receive"
    ),
    "system.network.dropped device=eth0": "system.network.packet.dropped network.interface.name=eth0",
    "system.network.packets device=eth0": "system.network.packet.count network.interface.name=eth0",
    "system.network.connections protocol=tcp state=TIME_WAIT": (
        "system.network.connection.count network.connection.state=time_wait network.transport=tcp"
    ),
    "system.processes.count status=zombies": "system.process.count process.state=defunct",
    "system.processes.created": "system.process.created",
    "hw.temperature id=coretemp sensor_location=cpu0": "hw.temperature hw.id=coretemp hw.sensor_location=cpu0",
    "http.requests device=y state=x": "http.requests device=y state=x",
}


@pytest.mark.parametrize("given", OLD_AND_OURS)
def test_old_words_become_ours(given: str) -> None:
    name, *told = given.split()
    ours, attributes, _ = normalized(name, dict(one.split("=") for one in told), "?")
    assert " ".join((ours, *sorted(f"{key}={value}" for key, value in attributes.items()))) == OLD_AND_OURS[given]


def test_units_are_those_of_the_conventions() -> None:
    assert normalized("system.disk.operations", {}, "{operations}")[2] == "{operation}"
    assert normalized("http.requests", {}, "{requests}")[2] == "{requests}"
