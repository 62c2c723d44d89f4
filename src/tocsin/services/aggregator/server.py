"""The aggregator: the door for what reaches no database, workers far away and collectors, over gRPC.

Who may come in is asked before anything of a call is read; what comes in is one module per service.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc

from tocsin import wire
from tocsin.admission import Admission
from tocsin.home import Home, Introduction
from tocsin.intake.intake import Intake
from tocsin.lib.clock import Clock
from tocsin.lib.log import get_logger
from tocsin.lib.threads import Threads
from tocsin.otlp.door import Door
from tocsin.services.aggregator.collection import Collection
from tocsin.services.aggregator.doorkeeper import Doorkeeper
from tocsin.services.aggregator.otlp import Otlp
from tocsin.services.aggregator.probing import WRITES, Policies, Probing
from tocsin.store.engine import Store

STOP_S: Final = 0.5
"""Calls under way get this long to end."""
MOST_CALLS: Final = 20_000
"""At once; a collector keeps one open."""

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", wire.LARGEST_MESSAGE_BYTES),
    ("grpc.max_metadata_size", 16_384),
    ("grpc.max_concurrent_streams", 100),
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.so_reuseport", 0),  # a taken port is to be said, not shared
    # Workers and collectors ask every 10 s whether the connection is still there; and so do we, or dead ones would pile
    # up.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # Now and then each worker and each collector connects anew, so that copies that were added later get their share.
    ("grpc.max_connection_age_ms", 1_800_000),
    ("grpc.max_connection_age_grace_ms", 30_000),
)

log = get_logger("aggregator")


@dataclass(frozen=True, slots=True)
class AggregatorSettings:
    host: str
    port: int
    """0 takes a free one."""
    certificate_file: Path | None = None
    """PEM, with the chain; with ``key_file`` for TLS, without either for none."""
    key_file: Path | None = None


class CannotListen(Exception):
    """Why nobody can be let in, and what to do about it, in one line."""


class Aggregator:
    """``homes`` gives the centre as one worker meets it, marked as far away; ``policies`` those of its targets."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        homes: Callable[[Introduction], Home],
        policies: Policies,
        intake: Intake,
        settings: AggregatorSettings,
        ticks_kept_ms: int = 86_400_000,
    ) -> None:
        self._store = store
        self._clock = clock
        self._homes = homes
        self._policies = policies
        self._intake = intake
        self._settings = settings
        self._ticks_kept_ms = ticks_kept_ms
        self.port = 0
        """Where it listens, once ``begun``."""
        self.begun = asyncio.Event()
        """It answers, or never will."""

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop`` is set; calls under way then get STOP_S. Raises CannotListen."""
        asking, writing = Threads("aggregator", 4), Threads("aggregator-write", WRITES)
        admission = Admission(self._store, self._clock, asking)
        doorkeeper = Doorkeeper(admission, self._clock)
        probing = Probing(
            store=self._store,
            clock=self._clock,
            homes=self._homes,
            policies=self._policies,
            asking=asking,
            writing=writing,
        )
        collection = Collection(
            store=self._store, clock=self._clock, intake=self._intake, doorkeeper=doorkeeper, asking=asking
        )
        door = Door(intake=self._intake, store=self._store, clock=self._clock, kept_ms=self._ticks_kept_ms)
        otlp = Otlp(door=door, doorkeeper=doorkeeper)
        server = grpc.aio.server(interceptors=[doorkeeper], options=_OPTIONS, maximum_concurrent_rpcs=MOST_CALLS)
        server.add_generic_rpc_handlers([probing.handlers(), collection.handlers(), otlp.handlers()])
        try:
            self.port = self._listen(server)
            async with admission.at_work(), collection.at_work(), door.at_work():
                await server.start()
                tls = self._settings.certificate_file is not None
                log.info("workers far away and collectors may report", port=self.port, tls=tls)
                self.begun.set()
                await stop.wait()
                await server.stop(STOP_S)
        finally:
            self.begun.set()
            await server.stop(0)
            asking.close()
            writing.close()

    def _listen(self, server: grpc.aio.Server) -> int:
        settings = self._settings
        address = f"{f'[{settings.host}]' if ':' in settings.host else settings.host}:{settings.port}"
        try:
            if settings.certificate_file is None or settings.key_file is None:
                return server.add_insecure_port(address)
            pair = settings.key_file.read_bytes(), settings.certificate_file.read_bytes()
            return server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
        except OSError as error:
            raise CannotListen(f"{error.filename} cannot be read: {error.strerror}") from error
        except RuntimeError as error:
            raise CannotListen(
                f"{address} cannot be listened on; TOCSIN_GRPC_PORT names another port. Where TLS is meant, "
                "TOCSIN_GRPC_CERT and TOCSIN_GRPC_KEY must be a certificate and its key"
            ) from error
