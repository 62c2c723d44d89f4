"""The event loop that the product runs on, and the fixtures of ``probing``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import uvloop

from tests.probes.probing import examined, good, network, probe, root

__all__ = ["examined", "good", "network", "probe", "root"]


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}
