"""A relay for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.clocks import FakeClock
from tests.edge import served


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def address(clock: FakeClock) -> AsyncIterator[str]:
    async with served.relay(clock) as where:
        yield where
