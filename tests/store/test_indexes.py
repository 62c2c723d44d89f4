"""Every index is there for a query, and says which; what is updated all the time is updated in place."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from sqlalchemy import event, text

from tocsin.core.decide import State
from tocsin.core.outcome import REACHABLE, StateKey, Subject
from tocsin.core.slots import slot_offset_ms
from tocsin.core.target import TARGET
from tocsin.store import deployments, partitions, states, tables
from tocsin.store.engine import Store

_INDEX = re.compile(r"^ +(Index|UniqueConstraint|PrimaryKeyConstraint)\(")


def test_every_index_names_the_query_it_serves() -> None:
    lines = Path(tables.__file__).read_text("utf-8").splitlines()
    indexes = [number for number, line in enumerate(lines) if _INDEX.match(line)]
    assert len(indexes) > 10
    for number in indexes:
        assert lines[number - 1].lstrip().startswith("#"), f"line {number + 1}: {lines[number].strip()}"


def test_a_database_has_no_other_indexes_than_those(postgres_url: str) -> None:
    store = Store(postgres_url)
    known = {str(index.name) for table in tables.metadata.tables.values() for index in table.indexes}
    # Of these the name, or the convention, says that it is the key, or keeps values apart that must be.
    keys = re.compile(r"(pk|uq)_|.*_pkey$|alembic_version_pkc$")
    with store.read() as conn:
        found = set(conn.execute(text("SELECT indexname FROM pg_indexes WHERE schemaname = 'public'")).scalars())
        of_partitions = {f"uq_{day.name}" for day in partitions.days(conn, "checks")}
    store.close()
    assert of_partitions <= found
    assert {name for name in found if not keys.match(name)} <= known
    assert known <= found


def test_a_window_of_deployments_is_read_by_its_index_between_two_ends(tmp_path: Path) -> None:
    """However many there were before it, and are not in it."""
    store = Store(f"sqlite:///{tmp_path / 'tocsin.db'}")
    store.migrate()
    asked: list[str] = []
    with store.read() as conn:

        @event.listens_for(conn, "before_cursor_execute")
        def note(_: Any, __: Any, statement: str, *___: Any) -> None:
            asked.append(statement)

        deployments.between(conn, from_ms=10**12, to_ms=2 * 10**12, limit=10)
        (plan,) = conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked[0]}", (0,) * asked[0].count("?")).all()
    store.close()
    assert "USING INDEX ix_deployments_started_ms (started_ms>? AND started_ms<?)" in plan[3]


def test_states_are_updated_in_place(postgres_url: str) -> None:
    """Each once a minute in the order of its slot: what a second changes lies on many pages."""
    store = Store(postgres_url)
    numbers = sorted(range(1, 6_001), key=lambda number: slot_offset_ms(number, 60_000))
    keys = [StateKey(Subject(TARGET, number), REACHABLE, 1) for number in numbers]
    with store.write() as conn:
        states.write_many(conn, [(key, State()) for key in keys])
    for second in range(90):
        some = [keys[(second * 100 + number) % len(keys)] for number in range(100)]
        with store.write() as conn:
            held = states.read_many(conn, some)
            states.write_many(conn, [(key, state._replace(last_at_ms=second)) for key, state in held.items()])
    counted = text("SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'states'")
    with store.statements() as conn:
        while (found := conn.execute(counted).one())[0] < 9_000:
            time.sleep(0.1)  # the server counts now and then
        options = conn.execute(text("SELECT reloptions FROM pg_class WHERE relname = 'states'")).scalar_one()
    store.close()
    updated, in_place = found
    assert in_place / updated > 0.95
    assert {"fillfactor=70", "autovacuum_vacuum_scale_factor=0.02"} <= set(options)
