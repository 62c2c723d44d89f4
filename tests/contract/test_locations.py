"""Locations on every engine: a number each, kept for good, whoever asks first."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import update

from tests.contract.rows import add_targets
from tocsin.store import locations, tables
from tocsin.store.engine import Store


def test_a_location_keeps_its_number(store: Store) -> None:
    with store.write() as conn:
        assert locations.ensure(conn, "local") == 1
        assert locations.ensure(conn, "Zürich") == 2
        assert locations.ensure(conn, "local") == 1
        assert locations.names(conn) == {1: "local", 2: "Zürich"}


def test_whoever_names_a_new_one_first_others_find_it(store: Store) -> None:
    """Four at once, each with one of its own and one that all name."""
    together = threading.Barrier(4)

    def name(own: str) -> tuple[int, int]:
        together.wait()
        with store.write() as conn:
            return locations.ensure(conn, "shared"), locations.ensure(conn, own)

    with ThreadPoolExecutor(4) as threads:
        numbers = list(threads.map(name, "abcd"))
    assert len({shared for shared, _ in numbers}) == 1
    with store.read() as conn:
        named = {name: number for number, name in locations.names(conn).items()}
    assert [own for _, own in numbers] == [named[name] for name in "abcd"]
    assert sorted(named.values()) == [1, 2, 3, 4, 5]


def test_one_that_was_removed_keeps_its_name_and_number(store: Store) -> None:
    with store.write() as conn:
        locations.ensure(conn, "fra")
        locations.ensure(conn, "nyc")
        assert locations.mark_removed(conn, 2, at_ms=1)
        assert not locations.mark_removed(conn, 2, at_ms=2)
        assert not locations.mark_removed(conn, 3, at_ms=2)
        assert locations.present(conn) == {1: "fra"}
        assert locations.names(conn) == {1: "fra", 2: "nyc"}
        assert locations.ensure(conn, "ams") == 3
        assert locations.ensure(conn, "nyc") == 2
        assert list(locations.present(conn).items()) == [(3, "ams"), (1, "fra"), (2, "nyc")]


def test_who_is_probed_from_where(store: Store) -> None:
    with store.write() as conn:
        add_targets(conn, 1, 2, 3, 4)
        add_targets(conn, 5, deleted_ms=1)
        for target_id, location_ids in ((1, [2]), (2, [2, 3]), (5, [2])):
            here = tables.targets.c.id == target_id
            conn.execute(update(tables.targets).where(here).values(location_ids=location_ids))
        conn.execute(update(tables.targets).where(tables.targets.c.id == 4).values(kind="heartbeat"))
        assert locations.named(conn) == {2: 2, 3: 1}
        assert locations.naming_none(conn, ["http", "tcp"]) == 1
