"""What a gateway may hand out, by name. What is not named here cannot leave, whatever somebody chooses.

Pure: from the entries of a live message to those that the relay is sent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

Path: TypeAlias = tuple[str, ...]
"""Where a value is in an entry."""

LONGEST_TEXT: Final = 1000
"""Characters; what is longer is cut."""

MACHINE: Final[Mapping[str, tuple[Path, ...]]] = {
    "name": (("name",),),
    "verdict": (("verdict",),),
    "since": (("since",),),
    "reason": (("reason",),),
    "last_seen": (("last_seen",),),
    "cpu": (("current", "cpu"),),
    "memory": (("current", "memory"),),
    "swap": (("current", "swap"),),
    "disk": (("current", "disk"),),
    "disk_full": (("current", "disk_full_in_h"),),
    "load": (("current", "load_1m"), ("current", "load_5m"), ("current", "load_15m")),
    "network": (("current", "network_in"), ("current", "network_out")),
    "disk_io": (("current", "disk_read"), ("current", "disk_write")),
    "process_count": (("current", "processes"),),
    "temperature": (("current", "temperature"),),
    "uptime": (("current", "uptime_s"),),
}
"""Fields of machines."""

TARGET: Final[Mapping[str, tuple[Path, ...]]] = {
    "target.name": (("slug",),),
    "target.verdict": (("verdict",), ("enabled",)),
    "target.since": (("since",),),
    "target.reason": (("reason",),),
    "target.last_check": (("last_check_at",),),
    "target.latency": (("last_latency_ms",),),
}
"""Fields of targets. None is handed out unless one of these is chosen."""

SAFE: Final = ("name", "verdict", "since", "last_seen", "cpu", "memory", "disk", "load")
"""What is chosen where nobody chose."""


class UnknownFields(ValueError):
    """``str()`` names them, and those that there are."""


class Chosen(NamedTuple):
    machine: tuple[Path, ...]
    target: tuple[Path, ...]

    @classmethod
    def of(cls, names: Collection[str]) -> Chosen:
        """Raises UnknownFields."""
        unknown = [name for name in names if name not in MACHINE and name not in TARGET]
        if unknown:
            raise UnknownFields(f"there is no {', '.join(unknown)}; there are {', '.join((*MACHINE, *TARGET))}")
        return cls(
            machine=tuple(path for name, paths in MACHINE.items() if name in names for path in paths),
            target=tuple(path for name, paths in TARGET.items() if name in names for path in paths),
        )

    def machines(self, entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        return [_only(entry, self.machine) for entry in entries] if self.machine else []

    def targets(self, entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        return [_only(entry, self.target) for entry in entries] if self.target else []


def _only(entry: Mapping[str, Any], paths: Iterable[Path]) -> dict[str, Any]:
    """The entry's id and, of these places, what is a single value there."""
    kept: dict[str, Any] = {"id": entry["id"]}
    for path in paths:
        *outer, last = path
        there: Any = entry
        for name in outer:
            there = there.get(name) if isinstance(there, Mapping) else None
        if not isinstance(there, Mapping) or last not in there:
            continue
        value = there[last]
        if isinstance(value, str):
            value = value[:LONGEST_TEXT]
        elif value is not None and not isinstance(value, bool | int | float):
            continue
        place = kept
        for name in outer:
            place = place.setdefault(name, {})
        place[last] = value
    return kept
