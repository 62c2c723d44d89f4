"""The parameters lists share: how much, from where, from when to when. Wrong ones are problems that name them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

from fastapi import Depends, Path, Query
from pydantic import AfterValidator, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema
from sqlalchemy import Connection

from tocsin.api.answers import LATEST_MS
from tocsin.api.problems import bad_parameter
from tocsin.catalog import locations
from tocsin.catalog.errors import FieldError, Invalid
from tocsin.store.targets import Place

_LARGEST_ID = 2**53


class Documents:
    """Documents a body as ``model`` and hands it over as JSON gave it: the catalog checks it, for every door alike."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        shape = handler.generate_schema(self._model)
        return core_schema.no_info_wrap_validator_function(lambda value, _: _an_object(value), shape)


def _an_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("must be a JSON object")
    return value


def _text(value: str) -> str:
    if "\x00" in value:
        raise ValueError("must not hold the character U+0000")
    return value


def numbered(given: Mapping[str, Any]) -> tuple[int | None, dict[str, Any]]:
    """The number of a saved thing and what should differ from it; None where a whole new one is given."""
    number = given.get("id")
    if number is not None and (type(number) is not int or not 0 < number <= _LARGEST_ID):
        raise Invalid([FieldError("id", "must be the number of a saved one")])
    return number, {name: value for name, value in given.items() if name != "id"}


def several(name: str, text: str | None, known: Collection[str]) -> list[str]:
    """The words of a list by comma, each once. ``name`` is the parameter a problem is about."""
    words = [] if text is None else list(dict.fromkeys(text.split(",")))
    if not set(words) <= set(known):
        raise bad_parameter(name, f"must be one or more of {', '.join(known)}, by comma")
    return words


def numbers(name: str, text: str | None) -> list[int] | None:
    """The ids of a list by comma; None where there is no list."""
    if text is None:
        return None
    words = text.split(",")
    if not all(re.fullmatch("[0-9]{1,16}", word) for word in words):
        raise bad_parameter(name, "must be one or more ids, by comma")
    return [int(word) for word in words]


def place_of(conn: Connection, name: str) -> Place:
    """The location that the parameter ``location`` names."""
    place = locations.place(conn, name)
    if place is None:
        raise bad_parameter("location", f"there is no location {name}")
    return place


Text = Annotated[str, AfterValidator(_text)]
Number = Annotated[int, Field(ge=1, le=_LARGEST_ID)]
Id = Annotated[int, Path(ge=1, le=_LARGEST_ID)]
Limit = Annotated[int, Query(ge=1, le=1000, description="At most this many.")]
Location = Annotated[Text | None, Query(max_length=60, description="Only what was seen from this location.")]
Lasting = Annotated[bool, Query(description="Also what began before `from` and still stood then.")]
Cursor = Annotated[str | None, Query(max_length=1000, description="The `next` of the page before.")]


class Span(NamedTuple):
    """From (inclusive) to (exclusive), epoch ms; None: not given."""

    from_ms: int | None
    to_ms: int | None

    @property
    def whole(self) -> tuple[int, int]:
        """Without an end, also what is dated later than now: a clock may have been set back."""
        return self.from_ms or 0, LATEST_MS if self.to_ms is None else self.to_ms


def epoch_ms(name: str, text: str) -> int:
    """RFC 3339 with a zone. ``name`` is the parameter a problem is about."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise bad_parameter(name, "must be an RFC 3339 time, such as 2026-03-01T03:12:07Z") from None
    if at.tzinfo is None:
        raise bad_parameter(name, "must name its zone: end it with Z or an offset such as +01:00")
    try:
        at_ms = round(at.astimezone(UTC).timestamp() * 1000)
    except OverflowError:  # the first or the last day of all, in another zone
        raise bad_parameter(name, "is out of range") from None
    if not 0 <= at_ms <= LATEST_MS:
        raise bad_parameter(name, "is out of range")
    return at_ms


_MOMENT = {"format": "date-time"}
From = Annotated[str | None, Query(alias="from", description="From then on.", max_length=40, json_schema_extra=_MOMENT)]
To = Annotated[
    str | None,
    Query(alias="to", description="Until before then.", max_length=40, json_schema_extra=_MOMENT),
]


def span(start: From = None, end: To = None) -> Span:
    from_ms = None if start is None else epoch_ms("from", start)
    to_ms = None if end is None else epoch_ms("to", end)
    if from_ms is not None and to_ms is not None and from_ms > to_ms:
        raise bad_parameter("from", "must not be later than to")
    return Span(from_ms, to_ms)


Between = Annotated[Span, Depends(span)]
