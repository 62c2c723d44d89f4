"""Channels at rest: rows in, rows out. Knows no kind of channel and no secret; what is sealed stays sealed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from tocsin.store import tables

C = tables.channels.c


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelRow:
    """One row of ``channels``. ``id`` is 0 before it is inserted.

    ``settings`` holds the kind's own fields; a secret that is set appears there as None, its value only in
    ``secrets`` (ciphertext).
    """

    id: int = 0
    name: str
    kind: str
    settings: Mapping[str, Any]
    secrets: bytes | None
    enabled: bool
    created_ms: int
    updated_ms: int


_COLUMNS = tuple(column for column in tables.channels.c if column.name in ChannelRow.__slots__)


def _row(found: Row[Any]) -> ChannelRow:
    return ChannelRow(**found._mapping)


def insert_channel(conn: Connection, row: ChannelRow) -> int | None:
    """The new channel's number; None when its name is taken."""
    values = asdict(row)
    del values["id"]
    try:
        with conn.begin_nested():
            number: int = conn.execute(insert(tables.channels).values(values).returning(C.id)).scalar_one()
    except IntegrityError:
        return None
    return number


def update_channel(conn: Connection, row: ChannelRow) -> bool:
    """False when another channel has that name."""
    values = asdict(row)
    del values["id"], values["created_ms"]
    try:
        with conn.begin_nested():
            conn.execute(update(tables.channels).where(C.id == row.id).values(values))
    except IntegrityError:
        return False
    return True


def delete_channel(conn: Connection, channel_id: int) -> bool:
    """False when there was no such channel."""
    return conn.execute(delete(tables.channels).where(C.id == channel_id)).rowcount == 1


def get(conn: Connection, channel_id: int) -> ChannelRow | None:
    found = conn.execute(select(*_COLUMNS).where(C.id == channel_id)).one_or_none()
    return None if found is None else _row(found)


def get_for_change(conn: Connection, channel_id: int) -> ChannelRow | None:
    """The same, and nobody else changes it until the transaction ends."""
    found = conn.execute(select(*_COLUMNS).where(C.id == channel_id).with_for_update()).one_or_none()
    return None if found is None else _row(found)


def all_channels(conn: Connection) -> list[ChannelRow]:
    """Every channel, by name."""
    return [_row(row) for row in conn.execute(select(*_COLUMNS).order_by(C.name, C.id))]


def enabled_ids(conn: Connection) -> list[int]:
    """The channels that are switched on, in order."""
    return list(conn.execute(select(C.id).where(C.enabled.is_(True)).order_by(C.id)).scalars())
