"""How everything stands, as far as this relay was told. Pure: no clock, no connection, and nothing of it is kept
anywhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

from msgspec import UNSET, UnsetType

from tocsin.edge.messages import Body, Current, Machine, Refused, Target

MOST_MACHINES: Final = 10_000
MOST_TARGETS: Final = 50_000


class Moved(NamedTuple):
    """What stands otherwise than before, whole, and what is there no more."""

    machines: list[Machine]
    machines_removed: list[int]
    targets: list[Target]
    removed: list[int]
    left_out: LeftOut | None
    """None: as many as before."""

    def __bool__(self) -> bool:
        return any(part is not None and part != [] for part in self)


class LeftOut(NamedTuple):
    """How many there are beside those that are known here."""

    machines: int = 0
    targets: int = 0

    def then(self, body: Body) -> LeftOut:
        """As a message says, where it says anything."""
        return LeftOut(
            self.machines if isinstance(body.machines_left_out, UnsetType) else body.machines_left_out,
            self.targets if isinstance(body.targets_left_out, UnsetType) else body.targets_left_out,
        )

    def words(self) -> dict[str, int]:
        """For a message; nothing of what is complete."""
        return {f"{name}_left_out": count for name, count in self._asdict().items() if count}


class Picture:
    def __init__(self) -> None:
        self.machines: dict[int, Machine] = {}
        self.targets: dict[int, Target] = {}
        self.left_out = LeftOut()

    def replace(self, pages: Iterable[Body]) -> None:
        """Everything anew. Raises Refused, and then nothing has changed."""
        machines: dict[int, Machine] = {}
        targets: dict[int, Target] = {}
        left_out = LeftOut()
        for page in pages:
            machines.update((entry.id, entry) for entry in page.machines)
            targets.update((entry.id, entry) for entry in page.targets)
            left_out = left_out.then(page)
            bounded(len(machines), len(targets))
        self.machines, self.targets, self.left_out = machines, targets, left_out

    def merge(self, changes: Body) -> Moved:
        """Lays the fields that are given over those that are known. Raises Refused, and then nothing has changed."""
        bounded(
            len(self.machines.keys() | {entry.id for entry in changes.machines}),
            len(self.targets.keys() | {entry.id for entry in changes.targets}),
        )
        gone = [key for key in changes.machines_removed if self.machines.pop(key, None) is not None]
        left = [key for key in changes.removed if self.targets.pop(key, None) is not None]
        before, self.left_out = self.left_out, self.left_out.then(changes)
        return Moved(
            machines=_laid(self.machines, changes.machines),
            machines_removed=gone,
            targets=_laid(self.targets, changes.targets),
            removed=left,
            left_out=None if self.left_out == before else self.left_out,
        )


def bounded(machines: int, targets: int) -> None:
    """Raises Refused."""
    if machines > MOST_MACHINES or targets > MOST_TARGETS:
        raise Refused(f"a relay shows {MOST_MACHINES:,} machines and {MOST_TARGETS:,} targets at most")


Entry = TypeVar("Entry", Machine, Target)


def _laid(known: dict[int, Entry], entries: Iterable[Entry]) -> list[Entry]:
    moved: dict[int, Entry] = {}
    for entry in entries:
        before = known.setdefault(entry.id, entry)
        if before is not entry:
            _lay(before, entry)
        moved[entry.id] = before
    return list(moved.values())


def _lay(known: Any, given: Any) -> None:
    values: Mapping[str, Any] = {name: getattr(given, name) for name in given.__struct_fields__}
    for name, value in values.items():
        if value is UNSET:
            continue
        before = getattr(known, name)
        if isinstance(value, Current) and isinstance(before, Current):
            _lay(before, value)
        else:
            setattr(known, name, value)
