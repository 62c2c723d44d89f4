"""This code on the schema of a later version: what that only adds to is served, also while it happens."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from _pytest.mark.structures import ParameterSet

from tests import later
from tests.contract import (
    test_checks,
    test_keeper,
    test_keeping_samples,
    test_leases,
    test_machines,
    test_reading_samples,
    test_rollups,
    test_samples,
    test_states,
    test_transitions,
)
from tests.contract.rows import add_targets, check, key
from tocsin.core.decide import State
from tocsin.main.ends import CannotStart
from tocsin.main.house import _ensure_schema
from tocsin.store import checks, states
from tocsin.store.engine import Store, StoreBusy

Operation = Callable[[Store], None]


def operations(*modules: ModuleType) -> list[ParameterSet]:
    """Those tests of the contract suite that need nothing but a store."""
    return [
        pytest.param(test, id=f"{module.__name__.rpartition('_')[2]}-{name.removeprefix('test_')}")
        for module in modules
        for name, test in inspect.getmembers(module, inspect.isfunction)
        if name.startswith("test_")
        and list(inspect.signature(test).parameters) == ["store"]
        and not inspect.iscoroutinefunction(test)
    ]


@pytest.fixture
def later_store(store: Store, store_url: str, tmp_path: Path) -> Store:
    store.ping()  # it was at work before
    later.upgrade(store_url, "adds", tmp_path / "later")
    return store


def test_a_later_schema_that_only_adds_is_usable(later_store: Store) -> None:
    assert later_store.schema_state() == "newer"
    _ensure_schema(later_store, may_migrate=True)
    assert later_store.schema_state() == "newer", "nothing was migrated back"
    with pytest.raises(Exception, match="9998"):
        later_store.migrate()
    assert later_store.schema_state() == "newer"


@pytest.mark.parametrize(
    "operation",
    operations(
        test_checks,
        test_states,
        test_transitions,
        test_leases,
        test_rollups,
        test_keeper,
        test_machines,
        test_samples,
        test_reading_samples,
        test_keeping_samples,
    ),
)
def test_and_everything_works_on_it(later_store: Store, operation: Operation) -> None:
    operation(later_store)


def test_who_is_at_work_while_it_is_migrated_goes_on(store: Store, store_url: str, tmp_path: Path) -> None:
    """With statements that its connections have prepared long before."""
    with store.write() as conn:
        add_targets(conn, 1)
    written: list[int] = []
    stop, warm = threading.Event(), threading.Event()
    failed: list[BaseException] = []

    def work() -> None:
        try:
            while not stop.is_set():
                at_ms = len(written) + 1
                try:
                    with store.write() as conn:
                        assert checks.insert_many(conn, [check(1, at_ms)]) == 1
                        held = states.read_many(conn, [key(1)])
                        after = [(one, state._replace(last_at_ms=at_ms)) for one, state in held.items()]
                        states.write_many(conn, after)
                except StoreBusy:  # it and the migration waited for each other: as ever, a batch is tried again
                    continue
                written.append(at_ms)
                with store.read() as conn:
                    assert checks.of_target(conn, 1, from_ms=0, to_ms=2**53, limit=1)[0].at_ms == at_ms
                if at_ms == 20:
                    warm.set()
        except BaseException as error:
            failed.append(error)
            warm.set()

    thread = threading.Thread(target=work)
    thread.start()
    warm.wait()
    later.upgrade(store_url, "adds", tmp_path / "later")
    upto = len(written) + 10
    while len(written) < upto and not failed:
        pass
    stop.set()
    thread.join()
    assert failed == []
    with store.read() as conn:
        assert [row.at_ms for row in checks.of_target(conn, 1, from_ms=0, to_ms=2**53, limit=9_999)] == written[::-1]
        assert states.read_many(conn, [key(1)])[key(1)] == State(last_at_ms=written[-1])


def test_a_later_schema_that_takes_away_is_refused_in_words(store: Store, store_url: str, tmp_path: Path) -> None:
    later.upgrade(store_url, "takes away", tmp_path / "later")
    assert store.schema_state() == "ahead"
    for may_migrate in (True, False):
        with pytest.raises(CannotStart, match="made by a newer version of Tocsin; update this one"):
            _ensure_schema(store, may_migrate=may_migrate)
