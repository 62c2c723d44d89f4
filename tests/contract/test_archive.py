"""Out of the store and back, on every engine: what comes back is what was there, and nothing of it twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from sqlalchemy import delete, select, update

from tests.clocks import FakeClock
from tests.contract.rows import add_machine
from tocsin.archive import ArchiveBusy, ArchiveError, turn
from tocsin.archive.archive import Archive, Brought, name_of
from tocsin.archive.parquet import TIERS
from tocsin.archive.places import Folder
from tocsin.core.rollup import DAY_MS, HOUR_MS
from tocsin.core.samples import Layout, Series
from tocsin.core.tiers import MINUTE_MS, Parts
from tocsin.services import keeper
from tocsin.store import archiving, hours, leases, machines, marks, samples, tables
from tocsin.store.archiving import Tier
from tocsin.store.engine import Store
from tocsin.store.sample_blocks import Ticks
from tocsin.store.samples import Tick
from tocsin.store.sealing import Kept

DAY = 20_500 * DAY_MS
NOW_MS = DAY + 2 * DAY_MS + 90 * MINUTE_MS
LONG = Kept(ticks_ms=400 * DAY_MS, minutes_ms=400 * DAY_MS, hours_ms=400 * DAY_MS)
CPU = Series("system.cpu.time", (("cpu.mode", "user"),), "s", "counter")
MEMORY = Series("system.memory.usage", (("system.memory.state", "Füße {}=\"'"),), "By")
BARE = Series("", (), "", "counter")
LAYOUTS = (Layout((CPU, MEMORY)), Layout((BARE, CPU, MEMORY)), Layout(()))

Content = dict[tuple[str, int, Layout], tuple[int, list[Any]]]
"""By machine, hour and layout: how many ticks, and all numbers; what is no number is None."""


def some_ticks(machine_id: int, layout_ids: list[int]) -> list[Tick]:
    """Of two days, in bursts, with what is missing, infinite, negative or no number; a few without any series."""
    rng = np.random.default_rng(machine_id)
    ticks = []
    for at_ms in [*range(DAY + 5, DAY + DAY_MS, 7 * MINUTE_MS), *range(DAY + DAY_MS, DAY + 2 * DAY_MS, 11 * MINUTE_MS)]:
        which = int(rng.integers(0, 10)) // 4
        values = rng.normal(0, 1e6, len(LAYOUTS[which])).astype("<f4")
        values[rng.random(len(values)) < 0.2] = np.nan
        values[rng.random(len(values)) < 0.02] = np.inf
        ticks.append(Tick(machine_id, at_ms + machine_id, layout_ids[which], values.tobytes()))
    return ticks


@pytest.fixture
def filled(store: Store) -> Store:
    """Two machines, two days, sealed."""
    with store.write() as conn:
        numbers = [add_machine(conn, "web-1"), add_machine(conn, "db-1")]
        ids = samples.layout_ids(conn, LAYOUTS)
        samples.insert_many(conn, [tick for number in numbers for tick in some_ticks(number, ids)])
    run(keeper.seal_samples(store, NOW_MS))
    return store


def run(chore: Iterator[object]) -> None:
    for _ in chore:
        pass


def content(store: Store, tier: Tier) -> Content:
    """Everything the store has of a tier."""
    table = archiving.TIERS[tier]
    found: Content = {}
    with store.read() as conn:
        names = {row.id: row.name for row in machines.every(conn)}
        for number, name in names.items():
            documents = hours.documents_within(conn, table, number, 0, 2**62)
            layouts = samples.layouts(conn, {key.layout_id for key in documents})
            for key, (count, document) in documents.items():
                one: Ticks | Parts = (
                    hours.ticks_in(key, document) if tier == "ticks" else hours.parts_in(key, document, table)
                )
                columns = (
                    [one.at_ms, one.values]
                    if isinstance(one, Ticks)
                    else [one.start_ms, one.count, one.total, one.least, one.greatest, one.last, one.last_ms]
                )
                plain = [np.where(np.isnan(each), None, each).tolist() for each in columns]  # type: ignore[call-overload]
                found[name, key.start_ms, layouts[key.layout_id]] = count, plain
    return found


def everything(store: Store) -> dict[str, Content]:
    return {tier: content(store, tier) for tier in TIERS}


def empty(store: Store, *tiers: Tier) -> None:
    with store.write() as conn:
        for tier in tiers or TIERS:
            conn.execute(delete(archiving.TIERS[tier]))


def write_all(archive: Archive, now_ms: int = NOW_MS) -> list[str]:
    return [archive.write(tier, day).name for tier in TIERS for day in archive.days(tier, now_ms)]


def bring_back(
    archive: Archive, from_ms: int = DAY, to_ms: int = DAY + 2 * DAY_MS, machine: str | None = None
) -> Brought:
    *_, last = archive.bring_back(from_ms, to_ms, machine=machine, until_ms=NOW_MS + DAY_MS, now_ms=NOW_MS)
    return last


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "archive"


@pytest.fixture
def archive(filled: Store, folder: Path) -> Archive:
    return Archive(filled, Folder(folder))


def test_what_comes_back_is_what_was_there(filled: Store, archive: Archive) -> None:
    before = everything(filled)
    assert all(len(of_tier) > 100 for of_tier in before.values())
    assert write_all(archive) == [name_of(tier, day) for tier in TIERS for day in (DAY, DAY + DAY_MS)]
    empty(filled)
    brought = bring_back(archive)
    assert everything(filled) == before
    assert brought == Brought(sum(map(len, before.values())), 0, [])


def test_nothing_comes_back_twice_and_what_is_there_stays(filled: Store, archive: Archive) -> None:
    before = everything(filled)
    write_all(archive)
    assert bring_back(archive) == Brought(0, sum(map(len, before.values())), [])
    assert everything(filled) == before
    empty(filled, "minutes")
    assert bring_back(archive).put_back == len(before["minutes"])
    assert everything(filled) == before


def test_a_window_and_a_machine(filled: Store, archive: Archive) -> None:
    before = everything(filled)
    write_all(archive)
    empty(filled)
    bring_back(archive, DAY + 5 * HOUR_MS + 1, DAY + 7 * HOUR_MS, machine="WEB-1")
    hours_there = {(name, start_ms) for name, start_ms, _ in content(filled, "ticks")}
    assert hours_there == {("web-1", DAY + 5 * HOUR_MS), ("web-1", DAY + 6 * HOUR_MS)}, "whole hours"
    bring_back(archive, DAY + 23 * HOUR_MS, DAY + 25 * HOUR_MS)
    assert everything(filled) == {
        tier: {
            key: value
            for key, value in of_tier.items()
            if DAY + 23 * HOUR_MS <= key[1] < DAY + 25 * HOUR_MS
            or (key[0] == "web-1" and DAY + 5 * HOUR_MS <= key[1] < DAY + 7 * HOUR_MS)
        }
        for tier, of_tier in before.items()
    }


def test_writing_again_gives_the_same_file(filled: Store, archive: Archive, folder: Path) -> None:
    names = write_all(archive)
    files = {name: (folder / name).read_bytes() for name in names}
    assert write_all(archive) == names
    assert {name: (folder / name).read_bytes() for name in names} == files
    assert sorted(path for path in folder.rglob("*") if path.is_file()) == sorted(folder / name for name in names)


def test_a_file_keeps_what_the_store_has_not_any_more(filled: Store, archive: Archive, folder: Path) -> None:
    """As after a keeper that was killed while it dropped a day."""
    before = everything(filled)
    names = write_all(archive)
    files = {name: (folder / name).read_bytes() for name in names}
    with filled.write() as conn:
        web = machines.every(conn)[1].id
        for table in archiving.TIERS.values():
            conn.execute(delete(table).where(table.c.machine_id == web, table.c.start_ms < DAY + 9 * HOUR_MS))
    assert write_all(archive) == names
    assert {name: (folder / name).read_bytes() for name in names} == files
    empty(filled)
    assert write_all(archive) == [], "there is nothing to write"
    bring_back(archive)
    assert everything(filled) == before


def test_what_was_merged_since_is_in_the_file_that_is_written_again(filled: Store, archive: Archive) -> None:
    write_all(archive)
    with filled.write() as conn:
        (layout_id,) = samples.layout_ids(conn, LAYOUTS[:1])
        late = Tick(1, DAY + 77, layout_id, np.array([1, 2], dtype="<f4").tobytes())
        assert samples.insert_many(conn, [late]) == 1
    run(keeper.merge_late_samples(filled, LONG, NOW_MS, set()))
    after = everything(filled)
    write_all(archive)
    empty(filled)
    bring_back(archive)
    assert everything(filled) == after


def test_a_machine_that_was_renamed_is_one_and_one_nobody_knows_is_named(filled: Store, archive: Archive) -> None:
    write_all(archive)
    with filled.write() as conn:
        machines.change(conn, 1, name="shop", now_ms=NOW_MS)
    before = everything(filled)
    write_all(archive)
    empty(filled)
    with filled.write() as conn:
        machines.delete(conn, 2, NOW_MS)
    brought = bring_back(archive)
    assert brought.unknown == ["db-1"]
    assert everything(filled) == {
        tier: {key: value for key, value in of_tier.items() if key[0] == "shop"} for tier, of_tier in before.items()
    }


def test_hours_that_are_not_sealed_are_not_written(store: Store, folder: Path) -> None:
    with store.write() as conn:
        number = add_machine(conn, "web-1")
        samples.insert_many(conn, some_ticks(number, samples.layout_ids(conn, LAYOUTS)))
    archive = Archive(store, Folder(folder))
    assert archive.days("ticks", NOW_MS) == []
    run(keeper.seal_samples(store, DAY + DAY_MS + 5 * HOUR_MS))
    assert archive.days("ticks", NOW_MS) == [DAY], "the second day is not over"
    assert archive.days("ticks", DAY + DAY_MS - 1) == []


def test_what_is_put_back_is_left_alone_until_its_time(filled: Store, archive: Archive) -> None:
    before = everything(filled)
    write_all(archive)
    empty(filled)
    now_ms = NOW_MS + 200 * DAY_MS
    *_, brought = archive.bring_back(DAY, DAY + HOUR_MS, until_ms=now_ms + DAY_MS, now_ms=now_ms)
    assert brought.put_back > 0
    back = everything(filled)
    run(keeper.trim_samples(filled, Kept(), now_ms))
    assert everything(filled) == back
    with filled.read() as conn:
        read = samples.read(conn, 1, [CPU.name], DAY, DAY + HOUR_MS, now_ms=now_ms, kept=Kept())
    assert read.tier == "ticks"
    wanted = 0
    for (name, start_ms, layout), (_, columns) in before["ticks"].items():
        if name == "web-1" and start_ms == DAY and CPU in layout.series:
            values = [row[layout.series.index(CPU)] for row in columns[1]]
            wanted += sum(value is not None and np.isfinite(value) for value in values)
    assert int(read.count.sum()) == wanted > 0
    run(keeper.trim_samples(filled, Kept(), now_ms + 2 * DAY_MS))
    assert everything(filled) == {tier: {} for tier in TIERS}


# ── several at once ───────────────────────────────────────────────────────────────────────────────────


def test_what_was_dropped_while_another_wrote_is_not_lost(filled: Store, archive: Archive, folder: Path) -> None:
    """`tocsin archive` beside a keeper that archives and drops."""
    before = everything(filled)
    theirs = Archive(filled, Folder(folder))
    later_ms = NOW_MS + 200 * DAY_MS
    writing = archive.writing("ticks", DAY)
    next(writing)
    run(keeper.trim_samples(filled, Kept(), later_ms, theirs))
    run(writing)
    assert everything(filled) == before, "nothing goes while somebody writes"
    run(keeper.trim_samples(filled, Kept(), later_ms, theirs))
    assert everything(filled) == {tier: {} for tier in TIERS}
    bring_back(archive)
    assert everything(filled) == before


def test_only_one_writes(filled: Store, archive: Archive, folder: Path) -> None:
    writing = archive.writing("ticks", DAY)
    next(writing)
    with pytest.raises(ArchiveBusy, match="another process"):
        archive.write("hours", DAY + DAY_MS)
    writing.close()
    assert list(folder.rglob("*samples*")) == [], "what was left half-way is no file"
    assert archive.write("ticks", DAY).hours > 0


def lose(store: Store) -> None:
    """As after a stop of some minutes."""
    with store.write() as conn:
        conn.execute(update(tables.leases).where(tables.leases.c.name == turn.LEASE).values(until_ms=1))


def test_whose_turn_was_over_puts_nothing_in_the_place_of_what_another_wrote(
    filled: Store, archive: Archive, folder: Path
) -> None:
    before = everything(filled)
    writing = archive.writing("ticks", DAY)
    next(writing)
    lose(filled)
    run(keeper.trim_samples(filled, Kept(), NOW_MS + 200 * DAY_MS, Archive(filled, Folder(folder))))
    assert everything(filled) == {tier: {} for tier in TIERS}
    with pytest.raises(ArchiveError, match="another process has written"):
        run(writing)
    bring_back(archive)
    assert everything(filled) == before


def test_a_turn_that_nobody_took_goes_on(filled: Store, archive: Archive) -> None:
    before = content(filled, "ticks")
    for day in (DAY, DAY + DAY_MS):
        writing = archive.writing("ticks", day)
        next(writing)
        lose(filled)
        run(writing)
    empty(filled)
    bring_back(archive)
    assert content(filled, "ticks") == before


def test_a_turn_lasts_while_a_file_is_on_its_way(filled: Store, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is renewed while nothing else happens, and given back by one who was slower than that."""
    monkeypatch.setattr(turn, "_RENEW_AFTER_S", 0.01)
    renewed: list[bool] = []

    class Slow(Folder):
        @contextmanager
        def writing(self, name: str) -> Iterator[IO[bytes]]:
            with super().writing(name) as file:
                yield file
                lose(filled)
                until = time.monotonic() + 10
                while not renewed and time.monotonic() < until:
                    with filled.read() as conn:
                        renewed.extend([True] * (leases.until_ms(conn, turn.LEASE) != 1))

    Archive(filled, Slow(folder)).write("hours", DAY)
    assert renewed
    with filled.read() as conn:
        assert leases.until_ms(conn, turn.LEASE) is None


def test_a_day_that_comes_back_while_retention_is_at_work_stays(filled: Store, archive: Archive, folder: Path) -> None:
    """Ticks and minutes of both days are in the archive already, and brought back once the keeper has begun."""
    write_all(archive)
    before = everything(filled)
    later_ms = NOW_MS + 200 * DAY_MS
    trimming = keeper.trim_samples(filled, Kept(), later_ms, Archive(filled, Folder(folder)))
    while not any(folder.rglob("*.part")):
        next(trimming)
    *_, brought = archive.bring_back(
        DAY, DAY + DAY_MS, of_tiers=("ticks", "minutes"), until_ms=later_ms + DAY_MS, now_ms=later_ms
    )
    assert brought.put_back == 0, "everything was there still"
    run(trimming)
    of_day = {tier: {key: one for key, one in before[tier].items() if key[1] < DAY + DAY_MS} for tier in TIERS}
    assert everything(filled) == {**of_day, "hours": {}}


def test_two_who_bring_back_at_once_are_both_spared(store: Store) -> None:
    one, other = (archiving.Spared(tier, DAY, DAY + DAY_MS, NOW_MS) for tier in ("ticks", "hours"))

    def bring() -> None:
        with store.write() as conn:
            archiving.spare(conn, [other], now_ms=DAY)

    for round_ in range(2):  # at first there is no row to wait for
        second = threading.Thread(target=bring)
        with store.write() as conn:
            archiving.spare(conn, [one], now_ms=DAY)
            second.start()
            second.join(0.5)
            assert second.is_alive()
        second.join(10)
        with store.read() as conn:
            assert archiving.spared(conn, DAY) == [one, other] * (round_ + 1)
            assert archiving.spared(conn, NOW_MS) == []


# ── which machine ─────────────────────────────────────────────────────────────────────────────────────


def machines_of(store: Store) -> set[str]:
    return {name for name, _, _ in content(store, "ticks")}


def spared_for(store: Store) -> set[int | None]:
    with store.read() as conn:
        return {one.machine_id for one in archiving.spared(conn, NOW_MS)}


@pytest.mark.parametrize("asked", ["1", "web-1", "Shop", "shop"])
def test_a_machine_that_was_renamed_is_found_by_all_it_is_called(filled: Store, archive: Archive, asked: str) -> None:
    """What was written before it was renamed, and what was written since."""
    before = everything(filled)["ticks"]
    for tier in TIERS:
        archive.write(tier, DAY)
    with filled.write() as conn:
        machines.change(conn, 1, name="Shop", now_ms=NOW_MS)
        machines.change(conn, 2, name="other", now_ms=NOW_MS)
    for tier in TIERS:
        archive.write(tier, DAY + DAY_MS)
    empty(filled)
    bring_back(archive, machine=asked)
    assert machines_of(filled) == {"Shop"}
    assert len(content(filled, "ticks")) == sum(key[0] == "web-1" for key in before)
    assert spared_for(filled) == {1}
    later_ms = NOW_MS + DAY_MS - 1
    run(keeper.trim_samples(filled, Kept(*[HOUR_MS] * 3), later_ms))
    assert machines_of(filled) == {"Shop"}


def test_a_name_that_only_files_know_is_the_machine_it_was(filled: Store, archive: Archive) -> None:
    write_all(archive)
    with filled.write() as conn:
        machines.change(conn, 2, name="ledger", now_ms=NOW_MS)
        machines.register(conn, uid="new", name="n", facts={}, tags=(), every_ms=1, version="", key_id=None, now_ms=0)
    empty(filled)
    with filled.write() as conn:
        conn.execute(update(tables.machines).where(tables.machines.c.id == 2).values(uid="db-1-uid"))
    assert bring_back(archive, machine="DB-1").unknown == ["db-1"], "it calls itself otherwise now"
    with filled.write() as conn:
        conn.execute(update(tables.machines).where(tables.machines.c.id == 2).values(uid="db-1"))
    assert bring_back(archive, machine="DB-1").unknown == []
    assert machines_of(filled) == {"ledger"}
    assert spared_for(filled) == {2}
    assert bring_back(archive, machine="nobody") == Brought(0, 0, [])


def test_numbers_of_another_installation_mean_nothing(store: Store, folder: Path, tmp_path: Path) -> None:
    """Here number 1 is db-1, there it was web-1."""
    other = Store(f"sqlite:///{tmp_path / 'other.db'}")
    other.migrate()
    with other.write() as conn:
        numbers = [add_machine(conn, "web-1"), add_machine(conn, "db-1")]
        ids = samples.layout_ids(conn, LAYOUTS)
        samples.insert_many(conn, [tick for number in numbers for tick in some_ticks(number, ids)])
    run(keeper.seal_samples(other, NOW_MS))
    write_all(Archive(other, Folder(folder)))
    there = everything(other)
    other.close()
    with store.write() as conn:
        assert [add_machine(conn, "db-1"), add_machine(conn, "web-1")] == [1, 2]
    archive = Archive(store, Folder(folder))
    assert bring_back(archive, machine="3") == Brought(0, 0, [])
    bring_back(archive, machine="1")
    assert everything(store) == {
        tier: {key: value for key, value in of_tier.items() if key[0] == "db-1"} for tier, of_tier in there.items()
    }
    assert spared_for(store) == {1}
    table = tmp_path / "out.parquet"
    assert archive.export(table, DAY, DAY + DAY_MS, tier="hours", machine="1") > 0
    assert set(pq.read_table(table)["machine"].to_pylist()) == {"db-1"}


# ── what is read of it ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("of_tiers", [("ticks",), ("minutes",), ("hours",), ("ticks", "hours")])
@pytest.mark.parametrize("length_ms", [HOUR_MS, 6 * HOUR_MS, DAY_MS])
@pytest.mark.parametrize("asked_ms", [None, 5 * MINUTE_MS, HOUR_MS])
def test_it_is_read_from_what_came_back(
    filled: Store, archive: Archive, of_tiers: tuple[Tier, ...], length_ms: int, asked_ms: int | None
) -> None:
    with filled.read() as conn:
        wanted = samples.read(conn, 1, [CPU.name], DAY, DAY + length_ms, step_ms=HOUR_MS, now_ms=NOW_MS, kept=LONG)
    for tier in TIERS:
        archive.write(tier, DAY)
    empty(filled)
    now_ms = NOW_MS + 200 * DAY_MS
    run(archive.bring_back(DAY, DAY + DAY_MS, of_tiers=of_tiers, until_ms=now_ms + 1, now_ms=now_ms))
    with filled.read() as conn:
        found = samples.read(
            conn, 1, [CPU.name], DAY, DAY + length_ms, step_ms=asked_ms, now_ms=now_ms, kept=Kept(), most=500
        )
    assert found.tier in of_tiers
    assert found.count.sum() == wanted.count.sum() > 0
    assert np.nansum(found.total) == pytest.approx(np.nansum(wanted.total))
    assert np.nanmax(found.greatest) == np.nanmax(wanted.greatest)


# ── the keeper ────────────────────────────────────────────────────────────────────────────────────────


def test_retention_drops_nothing_that_is_not_in_the_archive(filled: Store, archive: Archive, folder: Path) -> None:
    before = everything(filled)
    folder.write_text("no folder")
    now_ms = NOW_MS + 200 * DAY_MS
    run(keeper.trim_samples(filled, Kept(), now_ms, archive))
    assert everything(filled) == before
    folder.unlink()
    run(keeper.trim_samples(filled, Kept(), now_ms, archive))
    assert everything(filled) == {tier: {} for tier in TIERS}
    bring_back(archive)
    assert everything(filled) == before


def test_retention_goes_by_whole_days_where_there_is_an_archive(filled: Store, archive: Archive) -> None:
    before = everything(filled)
    kept = Kept(ticks_ms=12 * HOUR_MS, minutes_ms=2 * DAY_MS, hours_ms=90 * DAY_MS)
    run(keeper.trim_samples(filled, kept, DAY + DAY_MS + 20 * HOUR_MS, archive))
    assert {start_ms for _, start_ms, _ in content(filled, "ticks")} == {
        start_ms for _, start_ms, _ in before["ticks"] if start_ms >= DAY + DAY_MS
    }
    assert content(filled, "minutes") == before["minutes"]
    with filled.read() as conn:
        assert marks.read_samples(conn).kept_from_ms <= DAY + DAY_MS + 8 * HOUR_MS


def test_a_keeper_that_stops_while_it_writes_holds_nobody_up(filled: Store, archive: Archive, folder: Path) -> None:
    clock = FakeClock(NOW_MS + 200 * DAY_MS)
    steps = keeper.Keeper(store=filled, clock=clock, retention=keeper.Retention(), archive=archive).round()
    while not any(folder.rglob("*.part")):
        next(steps)
    with pytest.raises(ArchiveBusy):
        archive.write("hours", DAY)
    steps.close()
    assert archive.write("hours", DAY).hours > 0


def test_a_damaged_document_is_kept(filled: Store, archive: Archive) -> None:
    table = archiving.TIERS["minutes"]
    with filled.write() as conn:
        first = conn.execute(select(table.c.start_ms).order_by(table.c.start_ms)).scalars().first()
        conn.execute(table.update().where(table.c.start_ms == first).values(document=b"broken"))
    with pytest.raises(ArchiveError, match="sample_minutes of machine 1"):
        archive.write("minutes", DAY)
    with filled.read() as conn:
        count = len(conn.execute(select(table.c.start_ms)).all())
    run(keeper.trim_samples(filled, Kept(), NOW_MS + 200 * DAY_MS, archive))
    with filled.read() as conn:
        assert len(conn.execute(select(table.c.start_ms)).all()) == count
    assert content(filled, "hours") == {}
