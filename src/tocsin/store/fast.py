"""Many rows at once, by the quickest way each engine has. Knows tables and columns, not what they mean.

On SQLite the driver gives up the interpreter's lock at every statement and at every row it steps over. Beside a
thread that computes (an event loop under load) getting it back takes up to 5 ms, so 500 rows one by one can take
seconds. Therefore rows go in by the hundreds per statement, and come out as one text.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, cast

import msgspec
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
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
    Subquery,
    Table,
    Text,
    bindparam,
    func,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import IntegrityError
from sqlalchemy.types import TypeEngine

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


def insert_new(conn: Connection, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> list[Row]:
    """As ``insert_many``; a row whose primary key exists, or comes twice, is left out. Yields those that were new."""
    if conn.dialect.name == "sqlite":
        new: list[Row] = []
        for part in _parts(rows):
            try:
                _insert_values(conn, table, columns, part)
                new.extend(part)
            except IntegrityError:  # undoes this statement only
                new.extend(_insert_missing(conn, table, columns, part))
        return new
    try:
        with conn.begin_nested():
            _copy(conn, table, columns, rows)
        return list(rows)
    except IntegrityError:
        return [row for part in _parts(rows) for row in _insert_missing(conn, table, columns, part)]


def upsert_many(conn: Connection, table: Table, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """As ``insert_many``; a row whose primary key exists replaces the other columns. No key may come twice."""
    if not rows:
        return
    key = tuple(column.name for column in table.primary_key)
    on_conflict = _on_conflict(tuple(columns), key)
    if conn.dialect.name == "sqlite":
        for part in _parts(rows):
            _insert_values(conn, table, columns, part, on_conflict)
        return
    arrays = ", ".join(f"%s::{_postgresql_type(table.c[name])}[]" for name in columns)
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
    if conn.dialect.name != "sqlite":
        width = len(statement.selected_columns)
        return np.array(fetch(conn, statement), dtype=np.int64).reshape(-1, width)
    columns = statement.subquery().c
    lists = conn.execute(select(*(func.group_concat(column) for column in columns))).one()
    return _from_lists(lists)


def fetch_numbers_and_bytes(conn: Connection, statement: Rows) -> NumbersAndBytes:
    """As ``fetch_numbers``, for a select whose last column is bytes."""
    if conn.dialect.name != "sqlite":
        rows = fetch(conn, statement)
        width = len(statement.selected_columns) - 1
        numbers = np.array([row[:-1] for row in rows], dtype=np.int64).reshape(-1, width)
        lengths = np.array([len(row[-1]) for row in rows], dtype=np.int64)
        return NumbersAndBytes(numbers, lengths, b"".join(row[-1] for row in rows))
    *columns, last = statement.subquery().c
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


def listed(conn: Connection, ids: Collection[int]) -> Subquery:
    """``ids`` as a table with one column, ``id``."""
    if conn.dialect.name == "sqlite":
        return select(func.json_each(_packed(ids)).table_valued("value").c.value.label("id")).subquery()
    return select(func.unnest(_array(ids)).label("id")).subquery()


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
) -> None:
    statement = _values_statement(table.name, tuple(columns), len(rows), on_conflict)
    conn.exec_driver_sql(statement, tuple(chain.from_iterable(rows)))


def _insert_missing(conn: Connection, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> list[Row]:
    insert = sqlite.insert if conn.dialect.name == "sqlite" else postgresql.insert
    key = [columns.index(column.name) for column in table.primary_key]
    by_key = {tuple(row[index] for index in key): row for row in reversed(rows)}
    statement = (
        insert(table)
        .values([dict(zip(columns, row, strict=True)) for row in by_key.values()])
        .on_conflict_do_nothing()
        .returning(*table.primary_key)
    )
    return [by_key[tuple(found)] for found in conn.execute(statement)]


def _copy(conn: Connection, table: Table, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    from psycopg import IntegrityError as DriverIntegrityError

    statement = f"COPY {table.name} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"
    try:
        with _cursor(conn) as cursor, cursor.copy(statement.encode()) as copy:
            copy.set_types([_postgresql_type(table.c[name]) for name in columns])
            for row in rows:
                copy.write_row(row)
    except DriverIntegrityError as error:
        raise IntegrityError(statement, None, error) from error


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


_POSTGRESQL_TYPES: Final[tuple[tuple[type[TypeEngine[Any]], str], ...]] = (
    (SmallInteger, "int2"),
    (BigInteger, "int8"),
    (Integer, "int4"),
    (Text, "text"),
    (LargeBinary, "bytea"),
    (Boolean, "bool"),
    (Float, "float8"),
)


def _postgresql_type(column: Column[Any]) -> str:
    for kind, name in _POSTGRESQL_TYPES:
        if isinstance(column.type, kind):
            return name
    raise TypeError(f"column {column.name} has no fast path")
