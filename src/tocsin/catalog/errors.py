"""What can go wrong when something registered is created, changed or deleted.

    CatalogError
      NotFound    there is no such thing
      Conflict    it cannot be done as things stand: the name is taken, the thing is in use
      Invalid     what was given is wrong; names each field

REST, the CLI and files put the same words into their own form; nothing here knows a status code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field. ``field`` is a dotted path such as ``assert.0``.

    ``line`` and ``column`` count from 1 and are given where the value is an expression or a file.
    """

    field: str
    message: str
    line: int | None = None
    column: int | None = None


class CatalogError(Exception):
    """``str()`` is one sentence for people."""


class NotFound(CatalogError):
    pass


class Conflict(CatalogError):
    def __init__(self, message: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(message)
        self.errors = tuple(errors)


class Invalid(CatalogError):
    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = tuple(errors)
        super().__init__(
            "; ".join(f"{error.field}: {error.message}" if error.field else error.message for error in errors)
        )


def field_errors(error: ValidationError) -> list[FieldError]:
    """A pydantic error in our words. The values that were given are left out: one of them may be a secret."""
    return [
        FieldError(".".join(str(part) for part in problem["loc"]), _sentence(problem["type"], problem["msg"]))
        for problem in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def _sentence(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "unknown field"
    if kind == "missing":
        return "required"
    return message.removeprefix("Value error, ")
