"""Cursors: where a page ended, sealed as text nobody has to understand. Knows no list."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Any, TypeVar, cast

import msgspec

from tocsin.api.problems import bad_parameter

T = TypeVar("T")


def cursor_of(position: Any) -> str:
    """``position`` is a tuple of plain values."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).rstrip(b"=").decode()


def position_of(cursor: str | None, shape: type[T]) -> T | None:
    """The position as ``shape`` (a tuple type). A cursor that is none of ours is a problem that names ``cursor``."""
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        position = msgspec.json.decode(base64.urlsafe_b64decode(padded.encode("ascii")), type=shape)
        if not all(map(_can_be_stored, cast(Iterable[object], position))):
            raise ValueError("no row can be there")
        return position
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise bad_parameter("cursor", "is not one that was given out for this list") from None


def _can_be_stored(value: object) -> bool:
    """Whether an engine may be asked about it: no integer beyond 64 bits, no NUL in a text."""
    match value:
        case int():
            return -(2**63) <= value < 2**63
        case str():
            return "\0" not in value
    return True
