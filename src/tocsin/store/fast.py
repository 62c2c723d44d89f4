"""Many rows at once, by the quickest way each engine has. Knows tables and columns, not what they mean.

On SQLite the driver gives up the interpreter's lock at every statement and at every row it steps over. Beside a
thread that computes (an event loop under load) getting it back takes up to 5 ms, so 500 rows one by one can take
seconds. Therefore rows go in by the hundreds per statement, and come out as one text.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, cast

import msgspec
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    JSON,
    BigInteger,
    BindParameter,
    Boolean,
    Column,
    ColumnElement,
    CompoundSelect,
    Connection,
    Float,
    Integer,
    LargeBinary,
    Select,
    SmallInteger,
    String,
    Subquery,
    Table,
    Text,
    bindparam,
    func,
    literal_column,
    select,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import IntegrityError
from sqlalchemy.types import TypeEngine

from tocsin.store.tables import OneByte

if TYPE_CHECKING:
    import psycopg

Row = TypeVar("Row", bound=Sequence[object])
Rows = Select[*tuple[Any, ...]] | CompoundSelect[*tuple[Any, ...]]

_ROWS_PER_STATEMENT: Final = (500, 100, 20)
"""Few sizes (and what is left, below 20), so that the driver keeps every prepared statement. 500 rows of 17 columns
stay below SQLite's 32,766 values."""


def insert_many(conn: Connection, table: Table, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Insert ``rows`` (values in the order of ``columns``), all or, with an IntegrityError, none known of.

    Values are what the driver takes as they are: int, float, str, bytes, bool, None; no JSON columns.
    """
    if not rows:
        return
    if conn.dialect.name == "sqlite":
        for part in _parts(rows):
            _insert_values(conn, table, columns, part)
        return
    _copy(conn, table, columns, rows)


def insert_new(
    conn: Connection, table: Table, columns: Sequence[str], rows: Sequence[Row], *, blanks: Mapping[str, int | str]
) -> list[Row]:
    """As ``insert_many``; a row whose primary key exists, or comes twice, is left out. Yields those that were new.

    For integers, and one text at the end. ``blanks`` is what PostgreSQL is given for None: one NULL makes its rows
    longer than all these numbers do.
    """
    if not rows:
        return []
    if conn.dialect.name == "sqlite":
        new: list[Row] = []
        for part in _parts(rows):
            try:
                _insert_values(conn, table, columns, part)
                new.extend(part)
            except IntegrityError:  # undoes this statement only
                new.extend(_insert_missing(conn, table, columns, part))
        return new
    values = [_filled(column, blanks.get(name)) for name, column in zip(columns, zip(*rows, strict=True), strict=True)]
    try:
        with conn.begin_nested():
            _copy_whole(conn, table, columns, values)
        return list(rows)
    except IntegrityError:
        return _unnest_missing(conn, table, columns, values, rows)


def insert_vectors(conn: Connection, table: Table, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> int:
    """Insert rows of integers and, as the last, bytes; yields how many were new. One whose key exists, or comes twice,
    is left out. Quick where the bytes are of few lengths."""
    if not rows:
        return 0
    if conn.dialect.name == "sqlite":
        return insert_absent(conn, table, columns, rows)
    try:
        with conn.begin_nested():
            _copy_vectors(conn, table, columns, rows)
        return len(rows)
    except IntegrityError:
        return insert_absent(conn, table, columns, rows)


def insert_absent(conn: Connection, table: Table, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> int:
    """As ``insert_many``; one whose key exists, or comes twice, is left out. Yields how many were new.

    A JSON column takes its text.
    """
    if conn.dialect.name == "sqlite":
        return sum(_insert_values(conn, table, columns, part, " ON CONFLICT DO NOTHING") for part in _parts(rows))
    arrays = ", ".join(f"%s::{_postgresql_type(table.c[name])}[]" for name in columns)
    statement = (
        f"INSERT INTO {table.name} ({', '.join(columns)}) SELECT * FROM unnest({arrays}) "  # noqa: S608
        "ON CONFLICT DO NOTHING"
    )
    with _cursor(conn) as cursor:
        return cursor.execute(statement.encode(), [list(values) for values in zip(*rows, strict=True)]).rowcount


def upsert_many(
    conn: Connection, table: Table, columns: Sequence[str], rows: Sequence[Sequence[object]], *, only_if: str = ""
) -> None:
    """As ``insert_many``; a row whose primary key exists replaces the other columns. No key may come twice.

    ``only_if`` is the condition, in SQL, under which it does: on the table (what is there) and ``excluded`` (what
    comes). A JSON column takes its text.
    """
    if not rows:
        return
    key = tuple(column.name for column in table.primary_key)
    on_conflict = _on_conflict(tuple(columns), key) + (f" WHERE {only_if}" if only_if else "")
    if conn.dialect.name == "sqlite":
        for part in _parts(rows):
            _insert_values(conn, table, columns, part, on_conflict)
        return
    # In binary: as text each character of what is long would be looked at, in case it has to be escaped.
    arrays = ", ".join(f"%b::{_postgresql_type(table.c[name])}[]" for name in columns)
    statement = f"INSERT INTO {table.name} ({', '.join(columns)}) SELECT * FROM unnest({arrays}){on_conflict}"  # noqa: S608
    with _cursor(conn) as cursor:
        cursor.execute(statement.encode(), [list(values) for values in zip(*rows, strict=True)], binary=True)


def fetch(conn: Connection, statement: Rows) -> list[tuple[Any, ...]]:
    """The rows of a select whose columns are integers, text, booleans or NULL, in the order selected.

    On SQLite booleans come as 0 and 1.
    """
    if conn.dialect.name != "sqlite":
        return [tuple(row) for row in conn.execute(statement)]
    rows = statement.subquery()
    packed: str = conn.execute(select(func.json_group_array(func.json_array(*rows.c)))).scalar_one()
    return _ROWS.decode(packed)


def fetch_numbers(conn: Connection, statement: Rows) -> NDArray[np.int64]:
    """The rows of a select whose columns are integers and never NULL, as an array."""
    columns = statement.subquery().c
    if conn.dialect.name != "sqlite":
        return _from_bytes(conn.execute(select(*map(_joined_numbers, columns))).one())
    lists = conn.execute(select(*(func.group_concat(column) for column in columns))).one()
    return _from_lists(lists)


def fetch_numbers_and_bytes(conn: Connection, statement: Rows) -> NumbersAndBytes:
    """As ``fetch_numbers``, for a select whose last column is bytes."""
    *columns, last = statement.subquery().c
    if conn.dialect.name != "sqlite":
        joined = map(_joined_numbers, (*columns, func.length(last)))
        *numbers, together = conn.execute(select(*joined, func.string_agg(last, _NO_BYTES))).one()
        found = _from_bytes(numbers)
        return NumbersAndBytes(found[:, :-1], found[:, -1], bytes(together or b""))
    lists = [func.group_concat(column) for column in (*columns, func.length(last))]
    *packed, digits = conn.execute(select(*lists, func.group_concat(func.hex(last), ""))).one()
    found = _from_lists(packed)
    return NumbersAndBytes(found[:, :-1], found[:, -1], bytes.fromhex(digits or ""))


class NumbersAndBytes(NamedTuple):
    numbers: NDArray[np.int64]
    lengths: NDArray[np.int64]
    """Of each row's bytes."""
    joined: bytes
    """All rows' bytes, one after the other."""


def _from_lists(lists: Sequence[str | None]) -> NDArray[np.int64]:
    """Columns from comma-separated lists: a quarter of the time that rows of JSON take."""
    return np.column_stack([np.fromstring(numbers or "", dtype=np.int64, sep=",") for numbers in lists])


def _joined_numbers(column: ColumnElement[Any]) -> ColumnElement[bytes]:
    """PostgreSQL: all numbers of a column as one value, 8 bytes each: a fifth of the time that rows take."""
    if isinstance(column.type.dialect_impl(_POSTGRESQL), OneByte):
        column = sql_cast(column, Text)
    return func.string_agg(func.int8send(sql_cast(column, BigInteger)), _NO_BYTES)


def _from_bytes(columns: Sequence[bytes | None]) -> NDArray[np.int64]:
    return np.column_stack([np.frombuffer(numbers or b"", dtype=">i8").astype(np.int64) for numbers in columns])


def listed(conn: Connection, ids: Collection[int]) -> Subquery:
    """``ids`` as a table with one column, ``id``."""
    if conn.dialect.name == "sqlite":
        return select(func.json_each(_packed(ids)).table_valued("value").c.value.label("id")).subquery()
    return select(func.unnest(_array(ids)).label("id")).subquery()


def paired(conn: Connection, pairs: Mapping[int, int]) -> Subquery:
    """``pairs`` as a table with the columns ``id`` and ``value``."""
    if conn.dialect.name == "sqlite":
        packed = bindparam(None, msgspec.json.encode(dict(pairs)).decode(), type_=Text)
        each = func.json_each(packed).table_valued("key", "value").c
        return select(sql_cast(each.key, Integer).label("id"), each.value.label("value")).subquery()
    # Lists side by side in one select are taken in step.
    lists = func.unnest(_array(pairs.keys())).label("id"), func.unnest(_array(pairs.values())).label("value")
    return select(*lists).subquery()


def among(conn: Connection, column: ColumnElement[int], ids: Collection[int]) -> ColumnElement[bool]:
    """``column IN ids`` as one bound value, however many there are."""
    if conn.dialect.name == "sqlite":
        return column.in_(select(func.json_each(_packed(ids)).table_valued("value").c.value))
    return column == func.any(_array(ids))


def _packed(ids: Collection[int]) -> BindParameter[str]:
    return bindparam(None, msgspec.json.encode(list(ids)).decode(), type_=Text)


def _array(ids: Collection[int]) -> BindParameter[Any]:
    return bindparam(None, list(ids), type_=ARRAY(BigInteger))


_ROWS: Final = msgspec.json.Decoder(list[tuple[Any, ...]])


def _parts(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    begin = 0
    for size in _ROWS_PER_STATEMENT:
        while len(rows) - begin >= size:
            yield rows[begin : begin + size]
            begin += size
    if begin < len(rows):
        yield rows[begin:]


def _insert_values(
    conn: Connection, table: Table, columns: Sequence[str], rows: Sequence[Sequence[object]], on_conflict: str = ""
) -> int:
    statement = _values_statement(table.name, tuple(columns), len(rows), on_conflict)
    return conn.exec_driver_sql(statement, tuple(chain.from_iterable(rows))).rowcount


def _insert_missing(conn: Connection, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> list[Row]:
    key = [columns.index(column.name) for column in table.primary_key]
    by_key = {tuple(row[index] for index in key): row for row in reversed(rows)}
    statement = (
        sqlite.insert(table)
        .values([dict(zip(columns, row, strict=True)) for row in by_key.values()])
        .on_conflict_do_nothing()
        .returning(*table.primary_key)
    )
    return [by_key[tuple(found)] for found in conn.execute(statement)]


def _copy(conn: Connection, table: Table, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    statement = f"COPY {table.name} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"
    try:
        with _cursor(conn) as cursor, cursor.copy(statement.encode()) as copy:
            copy.set_types([_postgresql_type(table.c[name]) for name in columns])
            for row in rows:
                copy.write_row(row)
    except _driver().IntegrityError as error:
        raise IntegrityError(statement, None, error) from error


# ── PostgreSQL: columns of numbers as one piece ───────────────────────────────────────────────────────

_Values = NDArray[np.int64] | Sequence[str]

_COPY_HEAD: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END: Final = b"\xff\xff"


def _filled(values: Sequence[Any], blank: int | str | None) -> _Values:
    if isinstance(blank, str):
        return [blank if value is None else value for value in values]
    try:
        return np.array(values, dtype=np.int64)
    except TypeError:  # None among them
        return np.array([blank if value is None else value for value in values], dtype=np.int64)


def _copy_whole(conn: Connection, table: Table, columns: Sequence[str], values: Sequence[_Values]) -> None:
    """As ``_copy``, made by NumPy as one piece: a tenth of the time that writing row by row takes.

    The format is PostgreSQL's binary one: of every row the number of its values, and before each value its size.
    """
    numbers = [column for column in values if isinstance(column, np.ndarray)]
    texts = values[len(numbers) :]
    types = [_postgresql_type(table.c[name]) for name in columns]
    fields: list[tuple[str, str]] = [("width", ">i2")]
    for name, kind in zip(columns, types, strict=True):
        fields += [(f"{name} size", ">i4"), *([(name, _BINARY[kind])] if kind in _BINARY else [])]
    records = np.zeros(len(values[0]), dtype=fields)
    records["width"] = len(columns)
    for name, kind, column in zip(columns, types, numbers, strict=False):
        form = records.dtype[name]
        records[f"{name} size"] = form.itemsize
        if kind == '"char"':
            column = column + ord("0")
        least, most = np.iinfo(form).min, np.iinfo(form).max
        if column.min() < least or column.max() > most:
            raise ValueError(f"{table.name}.{name} is out of range")
        records[name] = column
    statement = f"COPY {table.name} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"
    try:
        with _cursor(conn) as cursor, cursor.copy(statement.encode()) as copy:
            copy.write(b"".join([_COPY_HEAD, *_with_texts(records, columns, texts), _COPY_END]))
    except _driver().IntegrityError as error:
        raise IntegrityError(statement, None, error) from error


def _copy_vectors(conn: Connection, table: Table, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """As ``_copy_whole``, for bytes at the end: rows whose bytes are equally long are made together."""
    by_length: dict[int, list[Sequence[Any]]] = {}
    for row in rows:
        by_length.setdefault(len(row[-1]), []).append(row)
    types = [_postgresql_type(table.c[name]) for name in columns[:-1]]
    pieces = [_COPY_HEAD]
    for length, some in by_length.items():
        fields = [("width", ">i2")]
        for name, kind in zip(columns, types, strict=False):
            fields += [(f"{name} size", ">i4"), (name, _BINARY[kind])]
        records = np.zeros(len(some), dtype=[*fields, ("length", ">i4"), ("bytes", f"V{length}")])
        records["width"], records["length"] = len(columns), length
        *numbers, vectors = zip(*some, strict=True)
        for name, values in zip(columns, numbers, strict=False):
            records[f"{name} size"] = records.dtype[name].itemsize
            column = np.array(values, dtype=np.int64)
            bounds = np.iinfo(records.dtype[name])
            if column.min() < bounds.min or column.max() > bounds.max:
                raise ValueError(f"{table.name}.{name} is out of range")
            records[name] = column
        if length:
            records["bytes"] = np.frombuffer(b"".join(vectors), dtype=f"V{length}")
        pieces.append(records.tobytes())
    statement = f"COPY {table.name} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"
    try:
        with _cursor(conn) as cursor, cursor.copy(statement.encode()) as copy:
            copy.write(b"".join([*pieces, _COPY_END]))
    except _driver().IntegrityError as error:
        raise IntegrityError(statement, None, error) from error


def _with_texts(records: NDArray[Any], columns: Sequence[str], texts: Sequence[_Values]) -> Iterator[bytes]:
    """The records, those whose last value is a text that is not empty followed by it."""
    begin = 0
    for column in texts:
        said = {number: str(one).encode() for number, one in enumerate(column) if one}
        for number, one in said.items():
            records[f"{columns[-1]} size"][number] = len(one)
            yield records[begin : number + 1].tobytes()
            yield one
            begin = number + 1
    yield records[begin:].tobytes()


def _unnest_missing(
    conn: Connection, table: Table, columns: Sequence[str], values: Sequence[_Values], rows: Sequence[Row]
) -> list[Row]:
    key = [column.name for column in table.primary_key]
    types = [_postgresql_type(table.c[name]) for name in columns]
    lists = [
        list(map(str, column)) if kind == '"char"' else list(column) if kind == "text" else np.asarray(column).tolist()
        for kind, column in zip(types, values, strict=True)
    ]
    arrays = ", ".join(f"%s::{kind}[]" for kind in types)
    statement = (
        f"INSERT INTO {table.name} ({', '.join(columns)}) SELECT * FROM unnest({arrays}) "  # noqa: S608
        f"ON CONFLICT DO NOTHING RETURNING {', '.join(key)}"
    )
    with _cursor(conn) as cursor:
        made = set(cursor.execute(statement.encode(), lists, binary=True))
    new: list[Row] = []
    places = [columns.index(name) for name in key]
    for row in rows:  # of those that come twice the first was taken
        found = tuple(row[place] for place in places)
        if found in made:
            made.remove(found)
            new.append(row)
    return new


@lru_cache(maxsize=256)
def _values_statement(table: str, columns: tuple[str, ...], size: int, on_conflict: str) -> str:
    row = f"({', '.join('?' * len(columns))})"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * size)}{on_conflict}"  # noqa: S608


@lru_cache(maxsize=64)
def _on_conflict(columns: tuple[str, ...], key: tuple[str, ...]) -> str:
    changed = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in key)
    return f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changed}"


def _cursor(conn: Connection) -> psycopg.Cursor[Any]:
    return cast("psycopg.Connection[Any]", conn.connection.dbapi_connection).cursor()


def _driver() -> ModuleType:
    """Loaded by the engine already; who has SQLite only need not have it."""
    import psycopg

    return psycopg


_POSTGRESQL: Final = postgresql.dialect()  # type: ignore[no-untyped-call]
_NO_BYTES: Final[ColumnElement[bytes]] = literal_column("''::bytea", LargeBinary)
_BINARY: Final = {"int2": ">i2", "int4": ">i4", "int8": ">i8", '"char"': "i1"}

_POSTGRESQL_TYPES: Final[tuple[tuple[type[TypeEngine[Any]], str], ...]] = (
    (OneByte, '"char"'),
    (SmallInteger, "int2"),
    (BigInteger, "int8"),
    (Integer, "int4"),
    (String, "text"),
    (LargeBinary, "bytea"),
    (Boolean, "bool"),
    (Float, "float8"),
    (JSON, "json"),
)


def _postgresql_type(column: Column[Any]) -> str:
    there = column.type.dialect_impl(_POSTGRESQL)
    for kind, name in _POSTGRESQL_TYPES:
        if isinstance(there, kind):
            return name
    raise TypeError(f"column {column.name} has no fast path")
