"""Fixtures of the collector's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.collector.aggregator import Aggregator


class Said:
    """A log that is kept."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, object]]] = []

    def info(self, event: str, **fields: object) -> None:
        self.lines.append(("info", event, fields))

    def warning(self, event: str, **fields: object) -> None:
        self.lines.append(("warning", event, fields))

    def error(self, event: str, **fields: object) -> None:
        self.lines.append(("error", event, fields))

    @property
    def events(self) -> list[str]:
        return [event for _, event, _ in self.lines]


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def aggregator() -> Iterator[Aggregator]:
    """Started."""
    made = Aggregator()
    made.start()
    yield made
    made.stop()
