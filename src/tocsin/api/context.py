"""What the API is given to work with. Chosen and opened by whoever starts it; nothing here chooses an engine."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import tocsin
from tocsin.bus.base import Bus
from tocsin.intake.intake import Intake
from tocsin.lib.clock import Clock
from tocsin.lib.net import Network
from tocsin.lib.vault import Vault
from tocsin.pipeline import Pipeline
from tocsin.store.engine import Store
from tocsin.store.sealing import Kept

PACKAGED_WEB_APP = Path(tocsin.__file__).parent / "web"


class Edge(NamedTuple):
    """The public relay that is fed from here."""

    url: str
    key: str
    fields: tuple[str, ...]
    """What it is given, of ``edge.fields``."""


class Door(NamedTuple):
    """Where collectors and workers that are far away are received: a port of this host."""

    port: int
    tls: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiContext:
    """Values and doors. ``network`` opens a network on the API's own event loop, for tests of targets and channels;
    it is closed again when the API stops."""

    store: Store
    vault: Vault
    clock: Clock
    bus: Bus
    pipeline: Pipeline
    network: Callable[[], AbstractAsyncContextManager[Network]]
    started_ms: int
    public_url: str = ""
    """How people reach this server; empty: as the request came."""
    metrics_public: bool = False
    intake: Intake | None = None
    """The process's own; None: the API has one for itself."""
    kept: Kept = field(default_factory=Kept)
    """How long samples of machines are."""
    edge: Edge | None = None
    door: Door | None = None
    """None: nobody is received."""
    web_dir: Path = field(default=PACKAGED_WEB_APP)
    """The built web app."""
