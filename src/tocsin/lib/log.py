"""Structured logs through structlog: readable on a terminal, one JSON object a line elsewhere."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import Final, Literal

import structlog

WITHOUT_VALUES: Final = structlog.dev.plain_traceback
"""How an exception is told. With the values of variables it would take seconds, and tell secrets."""
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class _Lenient(structlog.PrintLogger):
    """Standard error may be a file on a disk that is full, or a pipe that nobody reads any more. What cannot be written
    is lost; no loop ends for it."""

    def msg(self, message: str) -> None:
        with suppress(OSError):
            super().msg(message)

    log = debug = info = warn = warning = fatal = failure = err = error = critical = exception = msg


def configure(log_format: Literal["auto", "text", "json"], level: str) -> None:
    """Logs go to standard error; standard output belongs to what a command answers."""
    text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=WITHOUT_VALUES)
        if text
        else structlog.processors.JSONRenderer()
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            *shared,
            structlog.processors.StackInfoRenderer(),
            *([] if text else [structlog.processors.format_exc_info]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: _Lenient(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # Libraries log through the standard module; they get the same look.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(LEVELS[level], logging.WARNING))


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(service=name)
    return logger
