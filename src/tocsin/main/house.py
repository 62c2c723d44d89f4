"""A process beside the database: what its roles are given a part of.

Opened before anything runs, so that what cannot work is said at once and nothing is half begun.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from tocsin.bus import open_bus
from tocsin.catalog import access, secret_key
from tocsin.health import Identify, Readiness
from tocsin.intake.intake import Intake
from tocsin.lib.clock import SharedClock
from tocsin.lib.log import get_logger
from tocsin.lib.vault import Vault
from tocsin.main import ROLES
from tocsin.main.ends import CannotStart
from tocsin.main.listening import listen
from tocsin.main.place import Place, listen_for_health
from tocsin.pipeline import Pipeline
from tocsin.settings import Settings
from tocsin.store import server_clock
from tocsin.store.engine import Store
from tocsin.store.sealing import Kept

log = get_logger("main")

LAST_WAIT_S: Final = 0.5
"""How long anybody waits for a lock of the database once all is stopping."""


@dataclass(frozen=True, slots=True, kw_only=True)
class House(Place):
    store: Store
    vault: Vault
    pipeline: Pipeline
    intake: Intake
    is_whole: bool
    """This process is the whole installation."""
    serves_web: bool
    first_password: str | None
    """Of ``admin``, when it was made just now."""

    def readiness(self) -> Readiness:
        return Readiness(self.store, self.lacks)

    @property
    def kept(self) -> Kept:
        """How long samples of machines are kept."""
        return Kept.of(
            ticks_hours=self.settings.keep_samples_hours,
            minutes_days=self.settings.keep_sample_minutes_days,
            hours_days=self.settings.keep_sample_hours_days,
        )

    @property
    def identify(self) -> Identify:
        def identity(key: str) -> access.Identity | None:
            with self.store.read() as conn:
                return access.identify_key(conn, key, now_ms=self.clock.now_ms())

        return identity

    def announce(self) -> None:
        if not self.serves_web:
            return
        print(f"Tocsin is ready at {self.settings.link_base}", flush=True)
        if self.first_password is not None:
            print(
                f"Sign in as admin with the password {self.first_password}\n"
                "It is shown this once; change it under Settings, or with `tocsin user password admin`.",
                flush=True,
            )

    def hurry(self) -> None:
        self.store.hurry(LAST_WAIT_S)


@contextmanager
def open_house(roles: Sequence[str], settings: Settings) -> Iterator[House]:
    """For a process that has these roles: its port, the database, the installation's key, what a first start needs.

    A process that has all of them is the whole installation and makes what is missing. One that has some makes
    neither schema nor key: it is one of several, and they must agree. Raises CannotStart, VaultError and the store's
    errors.
    """
    is_whole = set(roles) == set(ROLES)
    serves_web = any(ROLES[role].serves_web for role in roles)
    with ExitStack() as closing:
        if serves_web:
            web = closing.enter_context(listen(settings.host, settings.port, "--port or TOCSIN_PORT"))
            settings = settings.model_copy(update={"port": web.getsockname()[1]})
        health = None if serves_web else closing.enter_context(listen_for_health(settings))
        if is_whole:
            _make_data_dir(settings)
        elif settings.database.startswith("sqlite"):
            raise CannotStart(
                "processes of their own share a PostgreSQL database, and this one is a SQLite file. "
                "TOCSIN_DATABASE_URL=postgresql://… names a server; `tocsin up` runs everything in one process"
            )
        store = Store(settings.database, data_dir=settings.data_dir)
        closing.callback(store.close)
        _ensure_schema(store, may_migrate=is_whole)
        key = settings.secret_key.get_secret_value() if settings.secret_key else None
        vault = Vault.in_directory(settings.data_dir, key=key, may_make=is_whole)
        with store.write() as conn:
            try:
                secret_key.keep(conn, vault)
            except secret_key.OtherKey as error:
                raise CannotStart(str(error)) from error
        clock = SharedClock()
        server_clock.teach(clock, store)
        first_password = None
        if serves_web:
            own_url = settings.address if is_whole else settings.public_url
            first_password = _begin(store, vault, settings, own_url=own_url, now_ms=clock.now_ms())
        try:
            bus = closing.enter_context(open_bus(settings.bus, database_url=settings.database))
        except ValueError as error:
            raise CannotStart(f"TOCSIN_BUS_URL: {error}") from error
        pipeline = Pipeline(store, bus, clock)
        yield House(
            settings=settings,
            bus=bus,
            clock=clock,
            listener=web if serves_web else health,
            store=store,
            vault=vault,
            pipeline=pipeline,
            intake=Intake(store, pipeline, bus, clock),
            is_whole=is_whole,
            serves_web=serves_web,
            first_password=first_password,
        )


def _make_data_dir(settings: Settings) -> None:
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise CannotStart(f"the data directory {settings.data_dir} cannot be made: {error.strerror}") from error


def _ensure_schema(store: Store, *, may_migrate: bool) -> None:
    match store.schema_state():
        case "ahead":
            raise CannotStart("the database was made by a newer version of Tocsin; update this one")
        case "empty" | "behind" if may_migrate:
            store.migrate()
        case "newer":
            log.info("the database was made by a newer version of Tocsin, which this one works with")
        case "empty" | "behind" as state:
            raise CannotStart(f"the database's schema is {state}; run `tocsin migrate` first")


def _begin(store: Store, vault: Vault, settings: Settings, *, own_url: str, now_ms: int) -> str | None:
    from tocsin.catalog import beginning  # and with it every kind of target

    chosen = settings.admin_password.get_secret_value() if settings.admin_password else None
    with store.write() as conn:
        return beginning.begin(
            conn, vault, password=chosen, own_url=f"{own_url}/health/live" if own_url else None, now_ms=now_ms
        )
