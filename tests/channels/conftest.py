"""A way out on the test's own loop, and a message to send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from tests.clocks import FakeClock
from tocsin.channels.base import Carrier
from tocsin.core.alerting import Event, Message, MessageItem
from tocsin.core.decide import Verdict
from tocsin.core.outcome import REACHABLE, Subject
from tocsin.core.target import TARGET
from tocsin.lib.net import Network


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The event loop that the product runs on."""
    return {"uvloop": uvloop.new_event_loop}


NOW_MS = 1_772_366_520_000  # 2026-03-01 12:02 UTC


@pytest.fixture
async def carrier() -> AsyncIterator[Carrier]:
    async with Network.open() as network:
        yield Carrier(network, FakeClock(NOW_MS))


def item(**changes: object) -> MessageItem:
    values: dict[str, object] = {
        "event": Event.DOWN,
        "rule": REACHABLE,
        "subject": Subject(TARGET, 17),
        "name": "checkout-api",
        "verdict": Verdict.DOWN,
        "was": Verdict.DOWN,
        "since_ms": NOW_MS - 240_000,
        "duration_ms": 240_000,
        "reason": "connect to 10.0.3.7:443 refused",
        "url": "http://127.0.0.1:8080/targets/17",
    }
    return MessageItem(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture
def message() -> Message:
    return Message(
        title="checkout-api is down",
        text="connect to 10.0.3.7:443 refused\nDown since 11:58 UTC (4 min ago)\nhttp://127.0.0.1:8080/targets/17",
        items=(item(),),
        delivery_key="msg_2KWPBgLlAfxdpx2AI54pPJ85f4W",
        created_ms=NOW_MS,
        recovered=False,
    )
