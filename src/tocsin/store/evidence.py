"""What a check saw, kept for the checks worth asking about: one compressed JSON document each."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, cast

import msgspec
from sqlalchemy import Connection, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from tocsin.store import fast, marks, partitions
from tocsin.store.checks import CheckKey
from tocsin.store.tables import evidence

Document = Mapping[str, Any]

_COLUMNS: Final = ("target_id", "at_ms", "location_id", "document")


def insert_many(conn: Connection, items: Sequence[tuple[CheckKey, Document]]) -> None:
    """Keep these documents (anything JSON can say). One whose check has a document already is left as it was; so is
    one that is older than single checks are kept."""
    kept_from_ms = marks.read(conn).kept_from_ms if items else 0
    items = [item for item in items if item[0][1] >= kept_from_ms]
    if not items:
        return
    if partitions.used(conn):
        partitions.ensure(conn, evidence.name, partitions.starts_of(at_ms for (_, at_ms, _), _ in items))
    insert = sqlite.insert if conn.dialect.name == "sqlite" else postgresql.insert
    rows = [dict(zip(_COLUMNS, (*key, pack(document)), strict=True)) for key, document in items]
    conn.execute(insert(evidence).on_conflict_do_nothing(), rows)


def get(conn: Connection, key: CheckKey) -> dict[str, Any] | None:
    """The document of one check, or None when none was kept."""
    target_id, at_ms, location_id = key
    packed = conn.execute(
        select(evidence.c.document).where(
            evidence.c.target_id == target_id, evidence.c.at_ms == at_ms, evidence.c.location_id == location_id
        )
    ).scalar()
    return None if packed is None else cast("dict[str, Any]", unpack(packed))


def kept(conn: Connection, target_id: int, *, from_ms: int, to_ms: int) -> set[tuple[int, int]]:
    """The (at_ms, location_id) of a target's documents in [from_ms, to_ms)."""
    statement = select(evidence.c.at_ms, evidence.c.location_id).where(
        evidence.c.target_id == target_id, evidence.c.at_ms >= from_ms, evidence.c.at_ms < to_ms
    )
    return {(at_ms, location_id) for at_ms, location_id in fast.fetch(conn, statement)}


def pack(document: object) -> bytes:
    """Anything JSON can say, compressed."""
    return zlib.compress(msgspec.json.encode(document), level=6)


def unpack(packed: bytes) -> Any:
    return msgspec.json.decode(zlib.decompress(packed))


def known(conn: Connection, keys: Collection[CheckKey]) -> set[CheckKey]:
    """Those of ``keys`` that a document was kept for; a page of a list at a time."""
    if not keys:
        return set()
    key = tuple_(evidence.c.target_id, evidence.c.at_ms, evidence.c.location_id)
    statement = select(evidence.c.target_id, evidence.c.at_ms, evidence.c.location_id).where(key.in_(sorted(keys)))
    return {(target_id, at_ms, location_id) for target_id, at_ms, location_id in fast.fetch(conn, statement)}
