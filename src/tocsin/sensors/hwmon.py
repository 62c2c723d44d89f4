"""The chips under /sys/class/hwmon, for the sensors that read them: temperatures and fans.

https://docs.kernel.org/hwmon/sysfs-interface.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tocsin.core.samples import Series
from tocsin.sensors.base import Absent, Host, text_of

_MOST: Final = 100
_LOOK_AGAIN: Final = 20
"""After so many readings chips are looked for again: a driver that is loaded anew numbers them in another order."""


class Input(NamedTuple):
    """``id`` is made of the chip's name and what it calls the input; two chips of one name have their device in it."""

    id: str
    path: Path


class Gauges:
    """Files with a number each, by ``find``. Raises Absent, with ``lack``, where there are none."""

    def __init__(self, find: Callable[[], list[Input]], series_of: Callable[[str], Series], lack: str) -> None:
        self._find = find
        self._series_of = series_of
        self._lack = lack
        self._known: list[tuple[Path, Series]] = []
        self._readings = 0
        self._learn()

    def read(self) -> dict[Series, int]:
        """What is there and can be read. The unit is the file's."""
        self._readings += 1
        if self._readings > _LOOK_AGAIN or not all(path.exists() for path, _ in self._known):
            self._learn()
        values: dict[Series, int] = {}
        for path, series in self._known:
            try:
                values[series] = int(text_of(path) or "")
            except ValueError:  # a chip that is asleep, or an input that nothing is connected to
                continue
        return values

    def _learn(self) -> None:
        self._known = [(path, self._series_of(id)) for id, path in self._find()[:_MOST]]
        self._readings = 0
        if not self._known:
            raise Absent(self._lack)


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
