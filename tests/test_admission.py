"""Whose a key is: remembered for a moment, and no longer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import closing

import pytest

from tests.api.conftest import NOW_MS, migrated, store
from tests.clocks import FakeClock
from tests.servers import until
from tocsin import admission
from tocsin.admission import SURE_S, WRONG_S, Admission
from tocsin.catalog import access
from tocsin.catalog.access import Identity
from tocsin.lib.threads import Threads
from tocsin.store.engine import Store, StoreBusy, StoreUnavailable

__all__ = ["migrated", "store"]


class Looked:
    """Counts how often a key is looked up, and can say that the database is away."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        self.is_away = False
        self.begun = threading.Event()
        self.hold: threading.Event | None = None
        """A look ends no sooner."""
        really = access.identify_key

        def identify_key(*given: object, **named: object) -> Identity | None:
            self.times += 1
            if self.is_away:
                raise StoreUnavailable("gone")
            found = really(*given, **named)  # type: ignore[arg-type]
            self.begun.set()
            if self.hold is not None:
                self.hold.wait(10)
            return found

        monkeypatch.setattr(access, "identify_key", identify_key)


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> Looked:
    return Looked(monkeypatch)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW_MS)


@pytest.fixture
async def door(store: Store, clock: FakeClock) -> AsyncIterator[Admission]:
    with closing(Threads("asking", 2)) as asking:
        made = Admission(store, clock, asking)
        async with made.at_work():
            yield made


@pytest.fixture
def key(store: Store) -> str:
    with store.write() as conn:
        return access.create_key(conn, name="web-1", scopes=["ingest"], now_ms=NOW_MS)[1]


def revoke(store: Store) -> None:
    with store.write() as conn:
        (row,) = access.list_keys(conn, limit=10)
        access.revoke_key(conn, row.id, now_ms=NOW_MS)


async def test_a_key_that_is_shown_all_the_time_is_looked_up_now_and_then(
    door: Admission, key: str, clock: FakeClock, looked: Looked, store: Store
) -> None:
    def noted_ms() -> int | None:
        with store.read() as conn:
            (row,) = access.list_keys(conn, limit=10)
        return row.last_used_ms

    for _ in range(20):
        found = await door.identity(key)
        assert found is not None
        assert (found.name, found.scopes) == ("web-1", ("ingest",))
        await until(lambda: noted_ms() is not None)  # after the first answer
        clock.tick(SURE_S / 10)
    assert looked.times == 2
    assert door.last(key) == found
    assert noted_ms() == NOW_MS


async def test_many_who_show_one_key_at_once_ask_once(
    door: Admission, key: str, clock: FakeClock, looked: Looked
) -> None:
    for times in (1, 2):
        asking = [asyncio.ensure_future(door.identity(key)) for _ in range(50)]
        await asyncio.sleep(0)
        asking[0].cancel()
        found = await asyncio.gather(*asking[1:])
        assert {one.name for one in found if one is not None} == {"web-1"}
        assert (None in found, looked.times) == (False, times)
        clock.tick(SURE_S)


async def test_who_wants_to_be_sure_waits_for_no_look_that_was_begun_before(
    door: Admission, key: str, looked: Looked, store: Store
) -> None:
    looked.hold = threading.Event()
    early = asyncio.ensure_future(door.identity(key))
    await asyncio.to_thread(looked.begun.wait, 10)
    revoke(store)
    late = asyncio.ensure_future(door.identity(key, sure_s=0))
    await asyncio.sleep(0)
    looked.hold.set()
    assert await early is not None
    assert await late is None


async def test_when_it_stops_nobody_waits_on(store: Store, clock: FakeClock, looked: Looked) -> None:
    looked.hold = threading.Event()
    with closing(Threads("asking", 1)) as asking:
        door = Admission(store, clock, asking)
        async with door.at_work():
            waiting = asyncio.ensure_future(door.identity("tcs_any"))
            await asyncio.to_thread(looked.begun.wait, 10)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(waiting, 5)
        looked.hold.set()


async def test_what_is_no_key_is_neither_asked_about_nor_kept(door: Admission, looked: Looked) -> None:
    for text in ("", "nonsense", "tcs_" + "x" * 5_000_000, "tcs_" + "é" * 97):
        assert await door.identity(text) is None
    assert looked.times == 0


async def test_beyond_so_many_keys_at_once_the_next_is_to_come_again(
    door: Admission, looked: Looked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "MOST_ASKED", 3)
    looked.hold = threading.Event()
    asking = [asyncio.ensure_future(door.identity(f"tcs_{number}")) for number in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(StoreBusy, match="too many keys"):
        await door.identity("tcs_3")
    looked.hold.set()
    assert await asyncio.gather(*asking) == [None] * 3
    assert await door.identity("tcs_3") is None


async def test_a_revoked_one_goes_on_no_longer_than_that(
    door: Admission, key: str, clock: FakeClock, store: Store
) -> None:
    assert await door.identity(key) is not None
    revoke(store)
    assert await door.identity(key, sure_s=0) is None, "who is not to be sure asks at once"
    assert await door.identity(key) is None, "and what it heard holds for the others"
    clock.tick(WRONG_S)
    assert await door.identity(key) is None


async def test_a_wrong_one_is_not_looked_up_again_and_again(
    door: Admission, clock: FakeClock, looked: Looked, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(10):
        assert await door.identity("tcs_wrong") is None
    assert looked.times == 1
    clock.tick(WRONG_S)
    assert await door.identity("tcs_wrong") is None
    assert looked.times == 2
    monkeypatch.setattr(admission, "KEPT_WRONG", 3)
    for number in range(4):
        assert await door.identity(f"tcs_{number}") is None
    assert await door.identity("tcs_wrong") is None
    assert looked.times == 7, "of many the oldest is forgotten"


async def test_while_the_database_is_away_nobody_is_turned_into_nobody(
    door: Admission, key: str, clock: FakeClock, looked: Looked
) -> None:
    looked.is_away = True
    with pytest.raises(StoreUnavailable):
        await door.identity(key)
    looked.is_away = False
    assert await door.identity(key) is not None
    looked.is_away = True
    assert await door.identity(key) is not None, "it is sure of this one"
    clock.tick(SURE_S)
    with pytest.raises(StoreUnavailable):
        await door.identity(key)
