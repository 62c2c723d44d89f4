"""The web app and the API."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import uvicorn

from tocsin.api.app import create_app
from tocsin.api.context import ApiContext, Door, Edge
from tocsin.api.sockets import Socket
from tocsin.edge import fields
from tocsin.main import ROLES
from tocsin.main.ends import Ends
from tocsin.main.house import House
from tocsin.main.server import serving
from tocsin.settings import Settings


def start(house: House, ends: Ends) -> AbstractAsyncContextManager[None]:
    assert house.listener is not None
    app = create_app(
        ApiContext(
            store=house.store,
            vault=house.vault,
            clock=house.clock,
            bus=house.bus,
            pipeline=house.pipeline,
            network=house.network,
            started_ms=house.clock.now_ms(),
            public_url=house.settings.public_url,
            metrics_public=house.settings.metrics_public,
            intake=house.intake,
            kept=house.kept,
            edge=_edge(house.settings),
            door=_door(house.settings),
        )
    )
    config = uvicorn.Config(
        app,
        ws=Socket,
        ws_max_size=65_536,  # a browser says "ping" and nothing longer
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    return serving(config, house.listener, ends.of("web"), stop_s=ROLES["api"].stop_s)


def _edge(settings: Settings) -> Edge | None:
    if not settings.edge_url or settings.edge_key is None:
        return None
    return Edge(settings.edge_url, settings.edge_key.get_secret_value(), settings.edge_fields or fields.SAFE)


def _door(settings: Settings) -> Door | None:
    return Door(settings.grpc_port, settings.grpc_cert is not None) if settings.grpc_port else None
