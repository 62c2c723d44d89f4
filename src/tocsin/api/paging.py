"""Cursors: where a page ended, sealed as text nobody has to understand. Knows no list."""

from __future__ import annotations

import base64
import binascii
from typing import Any, TypeVar

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
        return msgspec.json.decode(base64.urlsafe_b64decode(padded.encode("ascii")), type=shape)
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise bad_parameter("cursor", "is not one that was given out for this list") from None
