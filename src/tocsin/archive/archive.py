"""Days of samples out of the store and back.

A file only ever gains: what it holds and the store does not have any more is kept when it is written again. So it may
be written at any time, any number of times, and after half of a day was dropped. One file is written at a time.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from tocsin.archive import ArchiveError
from tocsin.archive.parquet import TIERS, Hour, Machine, Reader, Writer, schema
from tocsin.archive.places import Folder, Place
from tocsin.archive.turn import Turn
from tocsin.core.rollup import DAY_MS, HOUR_MS
from tocsin.core.samples import Layout, Series
from tocsin.core.tiers import Parts
from tocsin.store import archiving, hours, marks, samples
from tocsin.store import machines as store_machines
from tocsin.store.archiving import Tier
from tocsin.store.engine import Store
from tocsin.store.hours import Key
from tocsin.store.sample_blocks import Damaged, Ticks, pack_parts, pack_ticks

_NAME: Final = re.compile(r"tier=(\w+)/day=(\d{4}-\d\d-\d\d)/samples\.parquet$")


def name_of(tier: Tier, day_ms: int) -> str:
    return f"tier={tier}/day={_day(day_ms)}/samples.parquet"


def _day(day_ms: int) -> str:
    return f"{datetime.fromtimestamp(day_ms / 1000, UTC):%Y-%m-%d}"


class Written(NamedTuple):
    """One day of a tier that is in the archive now. ``hours``: documents in it, those from before included."""

    tier: Tier
    day: str
    name: str
    hours: int


class Brought(NamedTuple):
    """What came back: documents that are in the store now, those that were there anyway, and machines that the
    installation does not know, by name."""

    put_back: int
    there_already: int
    unknown: Sequence[str]


_Content = dict[tuple[Machine, Layout], dict[int, Hour]]


class Archive:
    """Blocks. Raises ArchiveError, and the store's errors; ArchiveBusy where somebody else is writing."""

    def __init__(self, store: Store, place: Place) -> None:
        self._store = store
        self._place = place

    # ── out ───────────────────────────────────────────────────────────────────────────────────────

    def days(self, tier: Tier, before_ms: int) -> list[int]:
        """The days that are sealed whole, end at ``before_ms`` or earlier, and have something in the store."""
        with self._store.read() as conn:
            return archiving.days(conn, tier, min(before_ms, marks.read_samples(conn).sealed_ms))

    def write(self, tier: Tier, day_ms: int) -> Written:
        for written in self.writing(tier, day_ms):
            if written is not None:
                return written
        raise AssertionError("it ends with what was written")

    def writing(self, tier: Tier, day_ms: int) -> Generator[Written | None, None, None]:
        """Writes the file of a day, machine by machine, None in between; it is there when the last is yielded.

        Nobody else writes to the archive from the first step to the last: what is read here may be dropped meanwhile
        by whoever has written it too, and a file without it would take the place of theirs.
        """
        turn = Turn(self._store)
        turn.take()
        try:
            name = name_of(tier, day_ms)
            with (
                self._place.reading(name) as before,
                ExitStack() as publishing,
                self._place.writing(name) as file,
                closing(self._fill(file, tier, day_ms, before)) as filling,
            ):
                count = 0
                for more in filling:
                    count += more
                    yield None
                    turn.go_on()
                turn.make_sure()
                publishing.enter_context(turn.renewed_beside())
            turn.make_sure()
        finally:
            turn.give_back()
        yield Written(tier, _day(day_ms), name, count)

    def _fill(self, file: IO[bytes], tier: Tier, day_ms: int, before: IO[bytes] | None) -> Generator[int, None, None]:
        """Machine by machine; yields how many documents each has."""
        old = None if before is None else Reader(before, f"{self._place.url}/{name_of(tier, day_ms)}")
        with self._store.read() as conn:
            machine_ids = set(archiving.machines_of(conn, tier, day_ms))
        writer = Writer(file, tier, _day(day_ms))
        try:
            for machine_id in sorted(machine_ids | set(old.machine_ids if old is not None else ())):
                content = self._of_machine(tier, day_ms, machine_id, old)
                for machine, layout in sorted(content, key=lambda key: _place(key, content)):
                    of_layout = content[machine, layout]
                    writer.add(machine, layout, [of_layout[start_ms] for start_ms in sorted(of_layout)])
                yield sum(map(len, content.values()))
        finally:
            writer.close()

    def _of_machine(self, tier: Tier, day_ms: int, machine_id: int, old: Reader | None) -> _Content:
        """What the file has, and over it what the store has."""
        content: _Content = {}
        for machine, layout, some in () if old is None else old.hours(machine_id):
            content.setdefault((machine, layout), {}).update({hour.start_ms: hour for hour in some})
        table = archiving.TIERS[tier]
        with self._store.read() as conn:
            documents = hours.documents_within(conn, table, machine_id, day_ms, day_ms + DAY_MS)
            layouts = samples.layouts(conn, {key.layout_id for key in documents})
            who = archiving.who(conn, [machine_id]).get(machine_id)
        if who is None:
            return content  # deleted, and cleared away meanwhile
        machine = Machine(machine_id, *who)
        for known in [key for key in content if key[0].uid == machine.uid and key[0] != machine]:
            content.setdefault((machine, known[1]), {}).update(content.pop(known))  # renamed since
        for key, (count, document) in documents.items():
            try:
                unpacked: Ticks | Parts = (
                    hours.ticks_in(key, document) if tier == "ticks" else hours.parts_in(key, document, table)
                )
            except Damaged as error:
                raise ArchiveError(f"{error}; it is kept, and what is older than it is not dropped") from error
            hour = Hour(key.start_ms, unpacked, count)
            content.setdefault((machine, layouts[key.layout_id]), {})[key.start_ms] = hour
        return content

    # ── and back ──────────────────────────────────────────────────────────────────────────────────

    def files(self, tier: Tier, from_ms: int, to_ms: int) -> list[tuple[int, str]]:
        """The days that [from_ms, to_ms) touches and are in the archive, oldest first."""
        found = []
        for name in self._place.names(f"tier={tier}"):
            match = _NAME.search(name)
            if match is None or match[1] != tier:
                continue
            day_ms = round(datetime.strptime(match[2], "%Y-%m-%d").replace(tzinfo=UTC).timestamp() * 1000)
            if day_ms < to_ms and from_ms < day_ms + DAY_MS:
                found.append((day_ms, name))
        return sorted(found)

    def bring_back(
        self,
        from_ms: int,
        to_ms: int,
        *,
        of_tiers: Sequence[Tier] = TIERS,
        machine: str | None = None,
        until_ms: int,
        now_ms: int,
    ) -> Iterator[Brought]:
        """Puts every hour that [from_ms, to_ms) touches back into the store, where it is not there; it stays until
        ``until_ms``. Yields how far it is, row group by row group; the last is the whole.

        ``machine``: only the one with this number or identity here, or else of this name: here, or where nobody here
        has it, in the files. A machine is found again by its identity, whatever number or name it had.
        """
        from_ms, to_ms = from_ms - from_ms % HOUR_MS, -(-to_ms // HOUR_MS) * HOUR_MS
        names = [(tier, *found) for tier in of_tiers for found in self.files(tier, from_ms, to_ms)]
        uids = self._uids(machine, [name for _, _, name in names])
        self._spare(names, from_ms, to_ms, uids, until_ms, now_ms)
        put = there = 0
        unknown: dict[str, None] = {}
        numbers: dict[str, int | None] = {}
        for tier, _, name in names:
            for said, layout, some in self._hours(name):
                wanted = [hour for hour in some if from_ms <= hour.start_ms < to_ms]
                if not wanted or (uids is not None and said.uid not in uids):
                    continue
                if said.uid not in numbers:
                    numbers[said.uid] = self._number_of(said.uid)
                number = numbers[said.uid]
                if number is None:
                    unknown[said.name] = None
                    continue
                with self._store.write() as conn:
                    (layout_id,) = samples.layout_ids(conn, [layout])
                    documents = {Key(number, hour.start_ms, layout_id): _packed(hour) for hour in wanted}
                    fresh = archiving.put_back(conn, tier, documents, layouts_until_ms=until_ms)
                put, there = put + fresh, there + len(documents) - fresh
                yield Brought(put, there, list(unknown))
        yield Brought(put, there, list(unknown))

    def _spare(
        self,
        names: Sequence[tuple[Tier, int, str]],
        from_ms: int,
        to_ms: int,
        uids: Collection[str] | None,
        until_ms: int,
        now_ms: int,
    ) -> None:
        """Before anything comes, so that nothing is dropped while it is on its way."""
        whose = [None] if uids is None else [number for uid in sorted(uids) if (number := self._number_of(uid))]
        stretches: list[archiving.Spared] = []
        for tier, day_ms, _ in names:
            begin_ms, end_ms = max(from_ms, day_ms), min(to_ms, day_ms + DAY_MS)
            if stretches and stretches[-1].tier == tier and stretches[-1].to_ms == begin_ms:
                begin_ms = stretches.pop().from_ms
            stretches.append(archiving.Spared(tier, begin_ms, end_ms, until_ms))
        if stretches and whose:
            with self._store.write() as conn:
                more = [one._replace(machine_id=number) for number in whose for one in stretches]
                archiving.spare(conn, more, now_ms=now_ms)

    def _number_of(self, uid: str) -> int | None:
        with self._store.read() as conn:
            row = store_machines.by_uid(conn, uid)
        return None if row is None else row.id

    def _uids(self, asked: str | None, names: Sequence[str]) -> Collection[str] | None:
        """What the machine that is meant calls itself; of several of one name each. None: every machine is meant.

        Numbers are this installation's only. Where nobody here is meant it is looked for in the files, which may be
        another's, by what it calls itself and by any name it has there.
        """
        if asked is None:
            return None
        with self._store.read() as conn:
            known = store_machines.every(conn)
        called = asked.casefold()
        for found in (
            {row.uid for row in known if asked == str(row.id)},
            {row.uid for row in known if asked == row.uid},
            {row.uid for row in known if called == row.name.casefold()},
        ):
            if found:
                return found
        said = {machine for name in names for machine in self._machines(name)}
        return {machine.uid for machine in said if asked == machine.uid} or {
            machine.uid for machine in said if called == machine.name.casefold()
        }

    def _machines(self, name: str) -> set[Machine]:
        with self._place.reading(name) as file:
            return set() if file is None else Reader(file, f"{self._place.url}/{name}").machines()

    def _hours(self, name: str) -> Iterator[tuple[Machine, Layout, list[Hour]]]:
        with self._place.reading(name) as file:
            if file is not None:
                yield from Reader(file, f"{self._place.url}/{name}").hours()

    def export(self, file: Path, from_ms: int, to_ms: int, *, tier: Tier, machine: str | None = None) -> int:
        """Writes what lies in [from_ms, to_ms) to one file, CSV where its name ends so and Parquet otherwise; yields
        how many rows that are. In place of the file that was there, at the end."""
        rows = 0
        names = [name for _, name in self.files(tier, from_ms, to_ms)]
        uids = self._uids(machine, names)
        target = Folder(file.absolute().parent)
        with target.writing(file.name) as out:
            kind: Any = pacsv.CSVWriter if file.suffix.lower() == ".csv" else pq.ParquetWriter
            with kind(out, schema(tier)) as writer:
                for name in names:
                    for table in self._tables(name, from_ms, to_ms, uids):
                        writer.write_table(table)
                        rows += table.num_rows
        return rows

    def _tables(self, name: str, from_ms: int, to_ms: int, uids: Collection[str] | None) -> Iterator[Any]:
        with self._place.reading(name) as file:
            if file is None:
                return
            for table in Reader(file, f"{self._place.url}/{name}").tables():
                if uids is None or table["machine_uid"][0].as_py() in uids:
                    at_ms = table["at"].cast(pa.int64())
                    within = pc.and_(pc.greater_equal(at_ms, from_ms), pc.less(at_ms, to_ms))
                    yield table.filter(within).replace_schema_metadata(None)


def _place(key: tuple[Machine, Layout], content: _Content) -> tuple[str, int, tuple[Series, ...]]:
    """In which order a machine's layouts stand: one that depends on nothing but what they are."""
    machine, layout = key
    return machine.uid, min(content[key]), layout.series


def _packed(hour: Hour) -> tuple[int, bytes]:
    content = hour.content
    document = pack_ticks(content, hour.start_ms) if isinstance(content, Ticks) else pack_parts(content, hour.start_ms)
    return hour.ticks, document
