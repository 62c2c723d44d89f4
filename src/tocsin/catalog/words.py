"""Words that people and programs give things, and what they may hold."""

from __future__ import annotations

import unicodedata
from collections.abc import Hashable
from typing import Annotated, Final, TypeVar

from pydantic import AfterValidator, Field

MAX_TAGS: Final = 50

# Bidirectional overrides and isolates: a name that shows differently from what it is.
_REORDERING: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def one_line(text: str) -> str:
    """No line breaks, no control characters, nothing that reorders text on screen."""
    text = text.strip()
    for character in text:
        if unicodedata.category(character) in ("Cc", "Zl", "Zp") or character in _REORDERING:
            raise ValueError(f"must not hold the character U+{ord(character):04X}")
    return text


def plain_text(text: str) -> str:
    """Line breaks, but no other control character."""
    for character in text:
        if unicodedata.category(character) == "Cc" and character not in "\n\t\r":
            raise ValueError(f"must not hold the character U+{ord(character):04X}")
    return text.strip()


def not_empty(text: str) -> str:
    if not text:
        raise ValueError("must not be empty")
    return text


T = TypeVar("T", bound=Hashable)


def unique(several: list[T]) -> list[T]:
    """Each once, in the order given."""
    return list(dict.fromkeys(several))


Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(one_line), AfterValidator(not_empty)]
Tag = Annotated[str, Field(min_length=1, max_length=60), AfterValidator(one_line), AfterValidator(not_empty)]
Tags = Annotated[list[Tag], Field(max_length=MAX_TAGS), AfterValidator(unique)]
