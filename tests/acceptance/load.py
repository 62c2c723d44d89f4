"""Many targets under watch while something is broken on purpose, and what must be true of them whatever it was."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Collection
from itertools import pairwise

from tests.running import Installation
from tocsin.core.slots import slot_offset_ms


class Load:
    """``count`` targets of one installation that all look at ``url``, which never fails. Make it with ``begin``."""

    def __init__(self, installation: Installation, ids: Collection[int], interval_ms: int) -> None:
        self.installation = installation
        self.ids = frozenset(ids)
        self.interval_ms = interval_ms
        self.began_ms = self.now_ms()

    @classmethod
    def begin(cls, installation: Installation, url: str, *, count: int, interval_s: int, name: str = "load") -> Load:
        """Registers them with one command and waits until each has been probed."""
        documents = [
            {
                "name": f"{name} {number}",
                "kind": "http",
                "url": url,
                "interval_s": interval_s,
                "timeout_s": interval_s,
                "tags": [name],
            }
            for number in range(count)
        ]
        added = installation.command("target", "add", "--file", "-", "--json", stdin=json.dumps(documents))
        assert added.returncode == 0, added.stderr
        ids = [int(str(target["id"])) for target in installation.items(f"/v1/targets?tag={name}")]
        assert len(ids) == count
        load = cls(installation, ids, interval_s * 1000)
        load.wait_probed_after(0, "for every target to be probed")
        return load

    @staticmethod
    def now_ms() -> int:
        return time.time_ns() // 1_000_000

    def wait_probed_after(self, at_ms: int, what: str, *, within_s: float = 90.0) -> None:
        """Generous: however late it comes, it has to come."""
        probed: set[int] = set()

        def all_probed() -> bool:
            query = f"SELECT DISTINCT target_id FROM checks WHERE at_ms > {at_ms}"
            probed.update(number for (number,) in self.installation.rows(query))
            return probed >= self.ids

        self.installation.wait_until(all_probed, within_s=within_s, what=what, every_s=0.5)

    def wait_nothing_waits(self) -> None:
        """Until every result so far is in the database."""
        self.installation.wait_until(
            lambda: self.installation.metrics()["tocsin_results_buffered"] == 0, what="for results to be written"
        )

    def slots(self, from_ms: int, to_ms: int) -> dict[int, list[int]]:
        """The checks of each target in that time, oldest first; only those of slots, not extra looks."""
        found: dict[int, list[int]] = defaultdict(list)
        query = f"SELECT target_id, at_ms FROM checks WHERE at_ms BETWEEN {from_ms} AND {to_ms} ORDER BY at_ms"
        for target_id, at_ms in self.installation.rows(query):
            if target_id in self.ids and self._is_slot(target_id, at_ms):
                found[target_id].append(at_ms)
        return found

    def _is_slot(self, target_id: int, at_ms: int) -> bool:
        return (at_ms - slot_offset_ms(target_id, self.interval_ms)) % self.interval_ms == 0

    def checks_outside(self, from_ms: int, to_ms: int) -> list[tuple[int, int]]:
        """Target and time of checks that are said to be of another time than this."""
        found = self.installation.rows(
            f"SELECT target_id, at_ms FROM checks WHERE at_ms NOT BETWEEN {from_ms} AND {to_ms}"
        )
        return [(target_id, at_ms) for target_id, at_ms in found if target_id in self.ids]

    def assert_no_gap(self, from_ms: int, to_ms: int) -> None:
        """Every slot of that time has its check."""
        slots = self.slots(from_ms, to_ms)
        missing = {
            target_id: [later - one for one, later in pairwise(slots[target_id]) if later - one != self.interval_ms]
            for target_id in self.ids
        }
        assert not any(missing.values()), f"gaps in ms: {dict(filter(lambda item: item[1], missing.items()))}"
        fewest = (to_ms - from_ms) // self.interval_ms
        assert all(len(slots[target_id]) >= fewest for target_id in self.ids)

    def assert_unharmed(self, *, lives: int) -> None:
        """No target was ever said to be down, none is now, and no slot was recorded twice.

        A check is kept under its slot, so the same slot twice would be one at some other time of the clock. Beside
        slots there are only looks at what is new: one for each of the ``lives`` that workers had.
        """
        installation = self.installation
        listed = ",".join(map(str, self.ids))
        harmed = installation.rows(
            "SELECT subject_id, location_id, before, after, reason FROM transitions "
            f"WHERE subject_id IN ({listed}) AND after <> 'up'"
        )
        assert not harmed
        standing = {target["id"]: target["verdict"] for target in installation.items("/v1/targets")}
        assert Counter(standing[target_id] for target_id in self.ids) == {"up": len(self.ids)}
        looks = Counter(
            target_id
            for target_id, at_ms in installation.rows("SELECT target_id, at_ms FROM checks")
            if target_id in self.ids and not self._is_slot(target_id, at_ms)
        )
        assert max(looks.values(), default=0) <= lives, looks.most_common(5)
        chains: dict[tuple[int, int, str], list[tuple[str, str]]] = defaultdict(list)
        for subject_id, location_id, rule, before, after in installation.rows(
            "SELECT subject_id, location_id, rule, before, after FROM transitions ORDER BY id"
        ):
            chains[subject_id, location_id, rule].append((before, after))
        for chain in chains.values():
            assert all(one[1] == other[0] for one, other in pairwise(chain))
