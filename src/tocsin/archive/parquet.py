"""What is in a file of the archive. Knows no store and no place.

A row is one number of one series at one time, so that anything that reads Parquet can ask: ``SELECT at, value FROM …
WHERE machine = 'web-1' AND name = 'system.memory.usage'``. Rows are in order of machine, layout, series and time:
every column but the last few is the same for a long while, and takes next to nothing. A row group holds whole hours of
one machine and one layout, every series of it with the same times; ``layout`` and ``place`` say so. Thus it is read
back as exactly what it was written from: a number that is missing is a row whose value is null.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import IO, Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tocsin.archive import ArchiveError
from tocsin.core.rollup import HOUR_MS
from tocsin.core.samples import Layout, Series, SeriesKind
from tocsin.core.tiers import NEVER_MS, Ints, Parts
from tocsin.store import archiving
from tocsin.store.archiving import Tier
from tocsin.store.sample_blocks import Ticks

TIERS: Final = tuple(archiving.TIERS)
FORMAT: Final = 1
ROWS_AT_ONCE: Final = 500_000
"""About so many rows are a row group; more where one hour of one layout has more."""

_WORD = pa.dictionary(pa.int32(), pa.string())
_MOMENT = pa.timestamp("ms", tz="UTC")
_HEAD: Final = [
    ("machine_id", pa.int32()),
    ("machine_uid", _WORD),
    ("machine", _WORD),  # its name when this was written
    ("layout", pa.int32()),  # within the file
    ("place", pa.int32()),  # of the series in the layout
    ("name", _WORD),
    ("attributes", _WORD),  # a JSON object
    ("unit", _WORD),  # of the value: of a counter per second
    ("kind", _WORD),  # gauge | counter
    ("at", _MOMENT),
]
_FOLDED: Final = [
    ("count", pa.int32()),
    ("sum", pa.float64()),
    ("min", pa.float32()),
    ("max", pa.float32()),
    ("last", pa.float32()),
    ("last_at", _MOMENT),
    ("ticks", pa.int32()),  # how many the whole hour has
]
_VALUES: Final[Mapping[Tier, list[tuple[str, Any]]]] = {
    "ticks": [("value", pa.float32())],
    "minutes": _FOLDED,
    "hours": _FOLDED,
}
_FLOATS: Final = ("value", "sum", "min", "max", "last")
_TIMES: Final = ("at", "last_at")


class Machine(NamedTuple):
    id: int
    uid: str
    name: str


class Hour(NamedTuple):
    """One machine's hour in one layout: its ticks, or the parts they were folded into. ``ticks`` counts the former."""

    start_ms: int
    content: Ticks | Parts
    ticks: int


def schema(tier: Tier) -> Any:
    return pa.schema([*_HEAD, *_VALUES[tier]])


# ── writing ───────────────────────────────────────────────────────────────────────────────────────────


class Writer:
    """Writes one file, whose bytes depend on nothing but what is put into it and in which order."""

    def __init__(self, file: IO[bytes], tier: Tier, day: str) -> None:
        about = {"tocsin": json.dumps({"format": FORMAT, "tier": tier, "day": day})}
        self._schema = schema(tier).with_metadata(about)
        plain = {name for name, _ in _VALUES[tier]} - {"ticks", "count"} | {"at"}
        present = set(self._schema.names)
        self._writer = pq.ParquetWriter(
            file,
            self._schema,
            compression="zstd",
            use_dictionary=sorted(present - plain),
            column_encoding={
                **{name: "BYTE_STREAM_SPLIT" for name in _FLOATS if name in present},
                **{name: "DELTA_BINARY_PACKED" for name in _TIMES if name in present},
            },
        )
        self._layouts: dict[tuple[Machine, Layout], int] = {}

    def add(self, machine: Machine, layout: Layout, hours: Sequence[Hour]) -> None:
        """Hours of one machine in one layout, in order."""
        number = self._layouts.setdefault((machine, layout), len(self._layouts))
        some: list[Hour] = []
        for hour in hours:
            if some and _rows([*some, hour], layout) > ROWS_AT_ONCE:
                self._write(machine, layout, number, some)
                some = []
            some.append(hour)
        if some:
            self._write(machine, layout, number, some)

    def _write(self, machine: Machine, layout: Layout, number: int, hours: Sequence[Hour]) -> None:
        table = _table(self._schema, machine, layout, number, hours)
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))

    def close(self) -> None:
        try:
            self._writer.close()
        finally:
            self._writer.is_open = False  # whoever throws it away does not try again


def _rows(hours: Sequence[Hour], layout: Layout) -> int:
    return sum(len(hour.content) for hour in hours) * max(1, len(layout))


def _table(schema: Any, machine: Machine, layout: Layout, number: int, hours: Sequence[Hour]) -> Any:
    contents = [hour.content for hour in hours]
    at_ms = np.concatenate([one.at_ms if isinstance(one, Ticks) else one.start_ms for one in contents])
    series: Sequence[Series | None] = layout.series or (None,)  # times are kept also where nothing was measured
    width, length = len(series), len(at_ms)
    rows = width * length
    place = np.repeat(np.arange(width, dtype=np.int32), length)

    def word(said: Sequence[str | None]) -> Any:
        words = {one or "": None for one in said}
        numbers = {one: number for number, one in enumerate(words)}
        each = np.array([numbers[one or ""] for one in said], np.int32)[place]
        return pa.DictionaryArray.from_arrays(pa.array(each, mask=np.full(rows, not len(layout))), pa.array(words))

    def same(value: str) -> Any:
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([value]))

    columns: dict[str, Any] = {
        "machine_id": pa.array(np.full(rows, machine.id, np.int32)),
        "machine_uid": same(machine.uid),
        "machine": same(machine.name),
        "layout": pa.array(np.full(rows, number, np.int32)),
        "place": pa.array(place),
        "name": word([one and one.name for one in series]),
        "attributes": word([one and json.dumps(dict(one.attributes), ensure_ascii=False) for one in series]),
        "unit": word([one and one.stored_unit for one in series]),
        "kind": word([one and one.kind for one in series]),
        "at": pa.array(np.tile(at_ms, width)).cast(_MOMENT),
    }
    blank = np.full((length, width - len(layout)), np.nan, np.float32)
    if all(isinstance(one, Ticks) for one in contents):
        values = np.concatenate([one.values for one in contents if isinstance(one, Ticks)])
        columns["value"] = _numbers(np.hstack([values, blank]), pa.float32())
    else:
        parts = [one for one in contents if isinstance(one, Parts)]
        for name, field, kind in _PARTS:
            joined = np.concatenate([getattr(one, field) for one in parts])
            joined = np.hstack([joined, blank]) if joined.shape[1] < width else joined
            columns[name] = _numbers(joined, kind)
        last_ms = np.concatenate([one.last_ms for one in parts])
        last_ms = last_ms if last_ms.shape[1] == width else np.full((length, width), NEVER_MS, np.int64)
        flat = last_ms.T.ravel()
        columns["last_at"] = pa.array(flat, mask=flat == NEVER_MS).cast(_MOMENT)
        each = np.concatenate([np.full(len(hour.content), hour.ticks, np.int32) for hour in hours])
        columns["ticks"] = pa.array(np.tile(each, width))
    return pa.table([columns[name] for name in schema.names], schema=schema)


_PARTS: Final = (
    ("count", "count", pa.int32()),
    ("sum", "total", pa.float64()),
    ("min", "least", pa.float32()),
    ("max", "greatest", pa.float32()),
    ("last", "last", pa.float32()),
)


def _numbers(values: Any, kind: Any) -> Any:
    """[time, series] series by series; null for what is no number."""
    flat = np.ascontiguousarray(values.T).ravel()
    if pa.types.is_integer(kind):
        return pa.array(np.nan_to_num(flat).astype(np.int32), kind)
    return pa.array(flat.astype(kind.to_pandas_dtype()), kind, from_pandas=True)


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────


class Reader:
    """Reads one file. Raises ArchiveError, naming it, for what is no file of the archive."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self.name = name
        try:
            self._file = pq.ParquetFile(file)
            about = json.loads(self._file.schema_arrow.metadata[b"tocsin"])
            self.tier: Tier = about["tier"]
            newer = about["format"] > FORMAT
            fits = self.tier in TIERS and self._file.schema_arrow.names == schema(self.tier).names
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise ArchiveError(f"{name} is no file of the archive, or is damaged: {error}") from error
        if newer or not fits:
            raise ArchiveError(f"{name} was written by a newer version of Tocsin")
        self._machines = [self._machine_of(number) for number in range(self._file.num_row_groups)]

    def _machine_of(self, group: int) -> int | None:
        """By what the file says of its row groups; None: it does not."""
        statistics = self._file.metadata.row_group(group).column(0).statistics
        return int(statistics.min) if statistics is not None and statistics.has_min_max else None

    @property
    def machine_ids(self) -> list[int]:
        return sorted({number for number in self._machines if number is not None})

    def tables(self, machine_id: int | None = None) -> Iterator[Any]:
        """Row group by row group; with ``machine_id`` only that machine's."""
        for group, of in enumerate(self._machines):
            if machine_id is None or of is None or of == machine_id:
                table = self._group(group)
                if table.num_rows:
                    yield table

    def _group(self, group: int, columns: list[str] | None = None) -> Any:
        try:
            return self._file.read_row_group(group, columns=columns)
        except (pa.ArrowException, OSError) as error:
            raise ArchiveError(f"{self.name} is damaged: {error}") from error

    def machines(self) -> set[Machine]:
        """Those it has something of, by every name they have in it."""
        return {_machine(table) for group in range(len(self._machines)) if (table := self._group(group, _WHO)).num_rows}

    def hours(self, machine_id: int | None = None) -> Iterator[tuple[Machine, Layout, list[Hour]]]:
        """What was put in, row group by row group."""
        for table in self.tables(machine_id):
            try:
                yield _hours(table, self.tier)
            except (IndexError, KeyError, TypeError, ValueError) as error:
                raise ArchiveError(f"{self.name} is damaged: {error}") from error


_WHO: Final = ["machine_id", "machine_uid", "machine"]


def _machine(table: Any) -> Machine:
    """Whose rows these are, all of one."""
    return Machine(*(table[name][0].as_py() for name in _WHO))


def _hours(table: Any, tier: Tier) -> tuple[Machine, Layout, list[Hour]]:
    place = table["place"].to_numpy()
    width = int(place.max()) + 1
    length = table.num_rows // width
    at_ms = table["at"].cast(pa.int64()).to_numpy()
    expected = np.repeat(np.arange(width), length)
    if len(place) != len(expected) or (place != expected).any() or (at_ms != np.tile(at_ms[:length], width)).any():
        raise ValueError("its rows are not in order")
    at_ms = at_ms[:length]
    machine = _machine(table)
    heads = [table["name"][row].as_py() for row in range(0, table.num_rows, length)]
    series = [] if heads == [None] else [_series(table, row) for row in range(0, table.num_rows, length)]
    layout = Layout(tuple(series))

    def column(name: str, kind: Any) -> Any:
        values = table[name].to_numpy().astype(kind)
        return np.ascontiguousarray(values.reshape(width, length).T)[:, : len(layout)]

    starts_ms = at_ms - at_ms % HOUR_MS
    edges = [0, *(np.flatnonzero(np.diff(starts_ms)) + 1).tolist(), length]
    if tier == "ticks":
        ticks = Ticks(at_ms, column("value", np.float32))
        pieces: list[tuple[Ticks | Parts, int]] = [
            (Ticks(ticks.at_ms[begin:end], ticks.values[begin:end]), end - begin) for begin, end in pairwise(edges)
        ]
    else:
        last_at = table["last_at"].cast(pa.int64()).fill_null(NEVER_MS).to_numpy()
        count = column("count", np.int64)
        total, least, greatest, last = (column(name, np.float64) for name in ("sum", "min", "max", "last"))
        last_ms = last_at.reshape(width, length).T[:, : len(layout)].copy()
        parts = Parts(at_ms, count, total, least, greatest, last, last_ms)
        whole = table["ticks"].to_numpy()[:length]
        pieces = [(parts.where(slice(begin, end)), int(whole[begin])) for begin, end in pairwise(edges)]
    starts: Ints = starts_ms[edges[:-1]]
    return machine, layout, [Hour(int(start), *piece) for start, piece in zip(starts, pieces, strict=True)]


def _series(table: Any, row: int) -> Series:
    name, attributes, unit, kind = (table[column][row].as_py() for column in ("name", "attributes", "unit", "kind"))
    known: dict[str, SeriesKind] = {"gauge": "gauge", "counter": "counter"}
    bare = unit.removesuffix("/s") if kind == "counter" else unit
    return Series(name, tuple(json.loads(attributes).items()), bare, known[kind])
