"""A worker that does not reach the database: it reports to an aggregator, and keeps on disk what it cannot report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from dataclasses import dataclass

from tocsin.bus.memory import MemoryBus
from tocsin.core.shards import Introduction
from tocsin.health import LoneReadiness
from tocsin.home import Home
from tocsin.lib.clock import SharedClock
from tocsin.lib.spool import SpoolInUse
from tocsin.lib.vault import Vault
from tocsin.main.ends import CannotStart, Ends
from tocsin.main.place import Place, listen_for_health
from tocsin.main.worker import introduction, probing
from tocsin.services.worker.remote import RemoteHome
from tocsin.settings import Settings

SPOOL_FILE = "spool.db"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outpost(Place):
    home: Home
    me: Introduction

    def readiness(self) -> LoneReadiness:
        return LoneReadiness(self.lacks)

    @property
    def identify(self) -> None:
        """The keys are in the database."""

    def announce(self) -> None:
        """Nobody signs in here."""

    def hurry(self) -> None:
        """What waits here is on disk already."""


@contextmanager
def open_outpost(settings: Settings) -> Iterator[Outpost]:
    """Contacts nobody yet: a worker starts while it is cut off, too. Raises CannotStart and VaultError."""
    assert settings.aggregator_key is not None, "the settings see to it"
    with ExitStack() as closing:
        listener = closing.enter_context(listen_for_health(settings))
        key = settings.secret_key.get_secret_value() if settings.secret_key else None
        clock = SharedClock()
        try:
            me = closing.enter_context(introduction(settings, remote=True))
            home = closing.enter_context(
                RemoteHome.open(
                    url=settings.aggregator_url,
                    key=settings.aggregator_key.get_secret_value(),
                    authority_file=settings.aggregator_ca,
                    spool_file=settings.data_dir / SPOOL_FILE,
                    spool_bytes=settings.spool_mb * 1_000_000,
                    vault=Vault.in_directory(settings.data_dir, key=key),
                )
            )
        except SpoolInUse as error:
            raise CannotStart(
                f"another worker uses {settings.data_dir}; TOCSIN_DATA_DIR gives each a directory of its own"
            ) from error
        except OSError as error:
            raise CannotStart(f"{error.filename} cannot be used: {error.strerror}") from error
        bus = closing.enter_context(MemoryBus.open())
        yield Outpost(settings=settings, bus=bus, clock=clock, listener=listener, home=home, me=me)


def start(outpost: Outpost, ends: Ends) -> AbstractAsyncContextManager[None]:
    return probing(outpost, outpost.home, outpost.me, ends)
