"""The one expression language: CEL, through cel-expr-python. A thin door; knows no probe and no rule.

Language: https://github.com/google/cel-spec/blob/master/doc/langdef.md
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum
from functools import lru_cache
from typing import TypeAlias

from cel_expr_python import cel

Value: TypeAlias = (
    "bool | int | float | str | bytes | timedelta | datetime | list[Value] | dict[str, Value] | object | None"
)


class Kind(Enum):
    """The type of a variable. NUMBER compares with both ``800`` and ``800.5``; ANY is checked at run time."""

    BOOL = "bool"
    INT = "int"
    NUMBER = "number"
    STRING = "string"
    DURATION = "duration"
    TIMESTAMP = "timestamp"
    STRINGS = "list of string"
    STRING_MAP = "map of string"
    ANY = "any"


_CEL_TYPES = {
    Kind.BOOL: cel.Type.BOOL,
    Kind.INT: cel.Type.INT,
    Kind.NUMBER: cel.Type.DYN,
    Kind.STRING: cel.Type.STRING,
    Kind.DURATION: cel.Type.DURATION,
    Kind.TIMESTAMP: cel.Type.TIMESTAMP,
    Kind.STRINGS: cel.Type.List(cel.Type.STRING),
    Kind.STRING_MAP: cel.Type.Map(cel.Type.STRING, cel.Type.STRING),
    Kind.ANY: cel.Type.DYN,
}

MAX_LENGTH = 2000


class ExpressionError(ValueError):
    """The expression cannot be used. ``line`` and ``column`` count from 1; None when there is no one place."""

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column


class EvaluationError(ValueError):
    """A valid expression met values it cannot work with (a missing key, a number compared with a word)."""


_PLACE = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_STATUS = re.compile(r"^[A-Z_]+: | \[[A-Z_]+\]$")


class Condition:
    """A compiled expression that yields true or false.

    ``variables`` are those it mentions, and all that ``holds`` needs to be given.
    """

    __slots__ = ("_expression", "source", "variables")

    def __init__(self, source: str, expression: cel.Expression, variables: tuple[str, ...]) -> None:
        self.source = source
        self.variables = variables
        self._expression = expression

    def holds(self, values: dict[str, Value]) -> bool:
        """Raises ``EvaluationError`` when it yields neither true nor false."""
        try:
            result = self._expression.eval(data=values)
        except RuntimeError as error:
            raise EvaluationError(_STATUS.sub("", str(error))) from None
        value = result.value()
        if value is True or value is False:
            return bool(value)
        if result.type() == cel.Type.ERROR:
            raise EvaluationError(_STATUS.sub("", str(value)))
        raise EvaluationError(f"it yields {value!r}, not true or false")


def compile_condition(source: str, variables: Mapping[str, Kind]) -> Condition:
    """Compile and type-check ``source``. Raises ``ExpressionError`` with the position."""
    return _compile(source, tuple(sorted((name, kind) for name, kind in variables.items())))


@lru_cache(maxsize=4096)
def _compile(source: str, variables: tuple[tuple[str, Kind], ...]) -> Condition:
    if not source.strip():
        raise ExpressionError("the expression is empty", 1, 1)
    if len(source) > MAX_LENGTH:
        raise ExpressionError(f"the expression is longer than {MAX_LENGTH} characters")
    if fit_text(source) != source:
        raise ExpressionError("the expression holds a character that is no text (NUL or a lone surrogate)")
    try:
        expression = _environment(variables).compile(source)
    except RuntimeError as error:
        raise _error_of(str(error)) from None
    yielded = expression.return_type()
    if yielded not in (cel.Type.BOOL, cel.Type.DYN):
        raise ExpressionError(f"it must yield true or false, but yields {yielded.name()}", 1, 1)
    return Condition(source, expression, tuple(sorted(_mentioned(source) & dict(variables).keys())))


_TOKEN = re.compile(
    r"""(?P<skipped>//[^\n]*|\s+)
      | (?P<text>[rRbB]{0,2}(?:\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}
                |"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'))
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)


def _mentioned(source: str) -> set[str]:
    """Every name, and every dotted beginning of one, that may be a variable: ``tls.expires_in`` gives ``tls`` and
    ``tls.expires_in``. Text and comments hold no names, and neither does what follows the dot of a value."""
    names: set[str] = set()
    path, before, dotted = "", "", False
    for token in _TOKEN.finditer(source):
        kind, text = token.lastgroup, token.group()
        if kind == "skipped":
            continue
        if kind == "name" and not (dotted and not path):
            path = f"{path}.{text}" if dotted and path else text
            names.add(path)
        elif text != "." or not path:
            path = ""
        # A dot after nothing that has a value (".status") begins an absolute name.
        dotted = text == "." and (bool(path) or bool(re.fullmatch(r"[\w\"')\]}]+", before[-1:])))
        before = text
    return names


def fit_text(text: str) -> str:
    """``text`` without what the language cannot carry (NUL, at which it would end, and halves of characters)."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


@lru_cache(maxsize=64)
def _environment(variables: tuple[tuple[str, Kind], ...]) -> cel.Env:
    return cel.NewEnv(variables={name: _CEL_TYPES[kind] for name, kind in variables})


def _error_of(text: str) -> ExpressionError:
    found = _PLACE.search(text)
    if found is None:
        return ExpressionError(_STATUS.sub("", text).strip())
    line, column, message = found.groups()
    message = _STATUS.sub("", message).replace(" (in container '')", "")
    return ExpressionError(message, int(line), int(column))
