"""Health and metrics of a process that serves no web: on a port of its own, when one is given."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Final

import uvicorn

from tocsin.health import Health
from tocsin.main.ends import Ends
from tocsin.main.place import Place
from tocsin.main.server import serving

STOP_S: Final = 0.3


@asynccontextmanager
async def start(place: Place, ends: Ends) -> AsyncIterator[None]:
    assert place.listener is not None
    with closing(place.readiness()) as readiness:
        health = Health(readiness=readiness, identify=place.identify, metrics_public=place.settings.metrics_public)
        with closing(health):
            config = uvicorn.Config(
                health,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=1,
            )
            async with serving(config, place.listener, ends.of("health"), stop_s=STOP_S):
                yield
