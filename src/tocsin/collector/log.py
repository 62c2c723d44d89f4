"""Logs of a small process: one line each, in the look of the others (``lib.log``), without the library they use."""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from typing import Final, Protocol, TextIO

LEVELS: Final = ("debug", "info", "warning", "error")
FORMATS: Final = ("auto", "text", "json")


class Log(Protocol):
    def info(self, event: str, **fields: object) -> object: ...

    def warning(self, event: str, **fields: object) -> object: ...

    def error(self, event: str, **fields: object) -> object: ...


class LineLog:
    """``text``: lines for people. A line that cannot be written is lost; nothing ends for it."""

    def __init__(self, stream: TextIO, *, text: bool, level: str = "info") -> None:
        self._stream = stream
        self._text = text
        self._least = LEVELS.index(level)

    def info(self, event: str, **fields: object) -> None:
        self._write("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        self._write("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        self._write("error", event, fields)

    def _write(self, level: str, event: str, fields: dict[str, object]) -> None:
        if LEVELS.index(level) < self._least:
            return
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if self._text:
            rest = "".join(f" {name}={_plain(value)}" for name, value in fields.items())
            line = f"{at} [{level}] {_plain(event)}{rest}"
        else:
            line = json.dumps(
                {**fields, "service": "collector", "event": event, "level": level, "timestamp": at}, default=str
            )
        with suppress(OSError, ValueError):  # a full disk, a pipe that nobody reads any more
            print(line, file=self._stream, flush=True)


def line_log(log_format: str, level: str) -> LineLog:
    """To standard error, as ``TOCSIN_LOG_FORMAT`` and ``TOCSIN_LOG_LEVEL`` have it."""
    text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    return LineLog(sys.stderr, text=text, level=level)


def _plain(value: object) -> str:
    """On one line, without what a terminal would obey."""
    return "".join(one if one.isprintable() else "?" for one in str(value))
