"""What every process has, with and without a database: settings, a clock, a bus, a way to the network, a port."""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tocsin.bus.base import Bus
from tocsin.health import Identify, LoneReadiness, Readiness
from tocsin.lib.clock import SharedClock
from tocsin.main.listening import listen
from tocsin.settings import Settings

if TYPE_CHECKING:
    from tocsin.lib.net import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Place(ABC):
    settings: Settings
    bus: Bus
    clock: SharedClock
    listener: socket.socket | None
    """Of the web server, or of what answers for health and metrics; None: nothing listens."""
    lacking: list[Callable[[], str]] = field(default_factory=list)
    """What keeps a service from its work, asked of each that may lack something."""

    def lacks(self) -> str:
        """A sentence on the first thing that keeps this process from its work; empty when nothing does."""
        return next(filter(None, (ask() for ask in self.lacking)), "")

    def network(self) -> AbstractAsyncContextManager[Network]:
        from tocsin.lib.net import Network  # and with it libcurl: only for those who contact others

        return Network.open(
            allowed_networks=self.settings.allowed_networks,
            blocked_networks=self.settings.blocked_networks,
            resolvers=self.settings.resolvers,
        )

    @abstractmethod
    def readiness(self) -> Readiness | LoneReadiness:
        """To be closed by whoever asks for it."""

    @property
    @abstractmethod
    def identify(self) -> Identify | None:
        """How keys are looked up; None where they cannot be."""

    @abstractmethod
    def announce(self) -> None:
        """Everything answers: whoever looks at standard output is told what they need."""

    @abstractmethod
    def hurry(self) -> None:
        """All is stopping: nobody waits long for anything any more."""


def listen_for_health(settings: Settings) -> AbstractContextManager[socket.socket | None]:
    if not settings.health_port:
        return nullcontext()
    return listen(settings.host, settings.health_port, "TOCSIN_HEALTH_PORT")
