"""The chips under /sys/class/hwmon, for the sensors that read them: temperatures and fans.

https://docs.kernel.org/hwmon/sysfs-interface.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tocsin.sensors.base import Host, text_of


class Input(NamedTuple):
    """``id`` is made of the chip's name and what it calls the input; two chips of one name have their device in it."""

    id: str
    path: Path


def inputs(host: Host, what: str) -> list[Input]:
    """Those called ``<what>N_input``, in a lasting order."""
    chips = [(text_of(chip / "name") or chip.name, chip) for chip in _chips(host)]
    names = [name for name, _ in chips]
    found: dict[str, Path] = {}
    for name, chip in chips:
        own = name if names.count(name) == 1 else f"{name}-{_device(chip)}"
        for path in _ordered(chip, rf"{what}(\d+)_input"):
            stem = path.name.removesuffix("_input")
            found.setdefault(f"{own}/{text_of(chip / f'{stem}_label') or stem}", path)
    return [Input(id, path) for id, path in found.items()]


def _chips(host: Host) -> Iterator[Path]:
    yield from _ordered(host.sys("class/hwmon"), r"hwmon(\d+)")


def _device(chip: Path) -> str:
    try:
        return (chip / "device").resolve(strict=True).name
    except OSError:
        return chip.name


def _ordered(folder: Path, pattern: str) -> list[Path]:
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError:
        return []
    matched = [(int(found[1]), name) for name in names if (found := re.fullmatch(pattern, name))]
    return [folder / name for _, name in sorted(matched)]
