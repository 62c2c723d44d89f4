"""Deployments on every engine: told of in any order by several at once, and found for what they concern."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from tests.contract.rows import add_machine, add_targets
from tocsin.catalog import deployments
from tocsin.catalog.errors import NotFound
from tocsin.store import deployments as store_deployments
from tocsin.store.deployments import LONGEST_MS, Concerning
from tocsin.store.engine import Store

NOW_MS = 1_800_000_000_000
MINUTE_MS = 60_000


def at(minutes: float) -> str:
    """2027-01-15T08:00:00Z and so many minutes."""
    seconds = round(8 * 3600 + minutes * 60)
    days, seconds = divmod(seconds, 86_400)
    return f"2027-01-{15 + days:02}T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}Z"


def tell(store: Store, outside_id: str, *, now_ms: int = NOW_MS, **given: Any) -> bool:
    """Whether it is new."""
    with store.write() as conn:
        document = {"id": outside_id, "service": "checkout-api", **given}
        return deployments.tell(conn, document, now_ms=now_ms).is_new


def found(store: Store, from_ms: int = 0, to_ms: int = 2**53, concerning: Concerning | None = None) -> list[str]:
    with store.read() as conn:
        rows = store_deployments.between(conn, from_ms=from_ms, to_ms=to_ms, limit=100, concerning=concerning)
    return [row.key.outside_id for row in rows]


def test_it_is_kept_whole(store: Store) -> None:
    assert tell(
        store,
        "run-1",
        source="github.com/shop",
        version="v1.42.0",
        environment="staging",
        status="failed",
        started_at=at(-5),
        finished_at=at(-1),
        description="two\nlines",
        by="ada",
        url="https://ci.example/run/1",
        targets=["shop", "shop"],
        machines=["web-1"],
        tags=["checkout"],
    )
    with store.read() as conn:
        (row,) = store_deployments.between(conn, from_ms=0, to_ms=2**53, limit=1)
    assert row.key == ("github.com/shop", "run-1")
    status, started_ms, finished_ms, about = row.deployment
    assert (status, started_ms, finished_ms) == ("failed", NOW_MS - 5 * MINUTE_MS, NOW_MS - MINUTE_MS)
    assert about == (
        "checkout-api",
        "staging",
        "v1.42.0",
        "two\nlines",
        "ada",
        "https://ci.example/run/1",
        ("shop",),
        ("web-1",),
        ("checkout",),
    )


def test_what_is_left_out_stays(store: Store) -> None:
    tell(store, "run-1", environment="staging", status="failed", finished_at=at(-1))
    tell(store, "run-1", description="rolled back")
    tell(store, "run-1", status="running", started_at=at(-2))
    with store.read() as conn:
        (row,) = store_deployments.between(conn, from_ms=0, to_ms=2**53, limit=2)
    one = row.deployment
    assert (one.status, one.about.environment, one.about.description) == ("failed", "staging", "rolled back")
    assert (one.started_ms, one.finished_ms) == (NOW_MS - 2 * MINUTE_MS, NOW_MS - MINUTE_MS)


def test_reports_of_one_are_one(store: Store) -> None:
    assert tell(store, "run-1", status="running")
    assert not tell(store, "run-1", now_ms=NOW_MS + MINUTE_MS, version="v2")
    assert not tell(store, "run-1", status="running", now_ms=NOW_MS + 2 * MINUTE_MS)
    assert tell(store, "run-1", source="elsewhere")
    with store.read() as conn:
        rows = store_deployments.between(conn, from_ms=0, to_ms=2**53, limit=10)
    (one,) = [row.deployment for row in rows if row.key.source == ""]
    assert (one.status, one.started_ms, one.finished_ms, one.about.version) == (
        "succeeded",
        NOW_MS,
        NOW_MS + MINUTE_MS,
        "v2",
    )


def test_of_several_who_tell_of_a_new_one_at_once_nobody_is_lost(store: Store) -> None:
    """Four, each with a word that only it says."""
    together = threading.Barrier(4)

    def report(said: dict[str, Any]) -> bool:
        together.wait()
        return tell(store, "run-1", **said)

    words: list[dict[str, Any]] = [
        {"version": "v2"},
        {"by": "ada"},
        {"description": "new"},
        {"url": "https://ci.example/1"},
    ]
    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(report, words)) == 1
    with store.read() as conn:
        (row,) = store_deployments.between(conn, from_ms=0, to_ms=2**53, limit=10)
    about = row.deployment.about
    assert (about.version, about.by, about.description, about.url) == ("v2", "ada", "new", "https://ci.example/1")


def test_those_of_a_window(store: Store) -> None:
    tell(store, "before", started_at=at(-30), finished_at=at(-20))
    tell(store, "into", started_at=at(-12), finished_at=at(-8))
    tell(store, "within", started_at=at(-7), finished_at=at(-6))
    tell(store, "out of", started_at=at(-6), finished_at=at(1))
    tell(store, "after", started_at=at(0), finished_at=at(2))
    tell(store, "running, begun before", status="running", started_at=at(-11))
    tell(store, "never said to have ended", status="running", started_at="2027-01-14T07:00:00Z")
    tell(store, "running", status="running", started_at=at(-5))
    window = (NOW_MS - 10 * MINUTE_MS, NOW_MS)
    those = ["running", "out of", "within", "running, begun before", "into"]
    assert found(store, *window) == those
    assert found(store, to_ms=NOW_MS - 11 * MINUTE_MS) == ["into", "before", "never said to have ended"]
    with store.read() as conn:
        read = partial(store_deployments.between, conn, from_ms=window[0], to_ms=window[1])
        pages, before = [], None
        while page := read(limit=2, before=before):
            pages += page
            before = page[-1].deployment.started_ms, page[-1].id
    assert [row.key.outside_id for row in pages] == those


def test_one_that_took_longer_than_any_does_is_found_where_it_began(store: Store) -> None:
    began_ms = NOW_MS - LONGEST_MS - MINUTE_MS
    tell(store, "endless", started_at="2027-01-08T07:59:00Z", finished_at=at(0))
    assert found(store, NOW_MS - MINUTE_MS // 2) == []
    assert found(store, began_ms, began_ms + 1) == ["endless"]
    assert found(store, began_ms + MINUTE_MS) == ["endless"]


def test_those_that_concern_something(store: Store) -> None:
    with store.write() as conn:
        add_targets(conn, 1, 2)
        machine_id = add_machine(conn, "web-1", "eu", "checkout")
        other_id = add_machine(conn, "target 1")
    tell(store, "all")
    tell(store, "by name", targets=["target 1"])
    tell(store, "by name, both", targets=["target 2"], machines=["web-1"])
    tell(store, "by tag", tags=["checkout", "us"])
    tell(store, "nobody's", targets=["renamed since"])
    with store.read() as conn:
        first, second = (deployments.of_target(conn, number) for number in (1, 2))
        machine, other = (deployments.of_machine(conn, number) for number in (machine_id, other_id))
        with pytest.raises(NotFound):
            deployments.of_target(conn, 3)
        with pytest.raises(NotFound):
            deployments.of_machine(conn, other_id + 1)
    assert sorted(found(store, concerning=first)) == ["all", "by name"]
    assert sorted(found(store, concerning=second)) == ["all", "by name, both"]
    assert sorted(found(store, concerning=machine)) == ["all", "by name, both", "by tag"]
    assert sorted(found(store, concerning=other)) == ["all"], "it has only the name of a target"
