"""What commands work on: the settings in force and the database they name. Prints nothing and knows no command."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from pydantic_settings import SettingsError
from sqlalchemy import Connection

from tocsin.bus import open_bus
from tocsin.bus.base import Bus, Topic
from tocsin.catalog import secret_key
from tocsin.cli.terminal import Failed, WrongUse, note, sentence
from tocsin.lib.clock import SharedClock
from tocsin.lib.vault import Vault
from tocsin.pipeline import Pipeline
from tocsin.settings import Settings
from tocsin.store import server_clock
from tocsin.store.engine import Store


def load_settings(**given: object) -> Settings:
    """The settings in force, with what was given on the command line on top. Every wrong one is named."""
    try:
        return Settings(**given)  # type: ignore[arg-type]  # pydantic checks them
    except ValidationError as error:
        lines = (
            f"{_setting_name(problem['loc'])}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors(include_url=False, include_context=False, include_input=False)
        )
        raise WrongUse("\n".join(("The settings cannot be used:", *lines))) from None
    except SettingsError as error:
        raise WrongUse(f"The settings cannot be used: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise WrongUse(f"tocsin.toml cannot be read: {error}") from None


def _setting_name(location: tuple[int | str, ...]) -> str:
    return f"TOCSIN_{location[0]}".upper() if location else "settings"


class Opened:
    """The database of one installation, opened for one command."""

    def __init__(self, settings: Settings, store: Store, closing: ExitStack) -> None:
        self.settings: Final = settings
        self.store: Final = store
        self._closing = closing

    @cached_property
    def vault(self) -> Vault:
        """With the installation's key; ``Failed`` when the one here is another."""
        given = self.settings.secret_key
        key = given.get_secret_value() if given else None
        with self.store.read() as conn:
            vault = Vault.in_directory(self.settings.data_dir, key=key, may_make=not secret_key.is_kept(conn))
            try:
                secret_key.check(conn, vault)
            except secret_key.OtherKey as error:
                raise Failed(sentence(str(error))) from error
        return vault

    @cached_property
    def clock(self) -> SharedClock:
        """The installation's, whatever this machine's says."""
        clock = SharedClock()
        server_clock.teach(clock, self.store)
        return clock

    @cached_property
    def bus(self) -> Bus:
        """``WrongUse`` when the settings name none that can be."""
        try:
            return self._closing.enter_context(open_bus(self.settings.bus, database_url=self.settings.database))
        except ValueError as error:
            raise WrongUse(f"TOCSIN_BUS_URL: {error}") from None

    @cached_property
    def pipeline(self) -> Pipeline:
        return Pipeline(self.store, self.bus, self.clock)

    @contextmanager
    def changing(self, *topics: Topic) -> Iterator[Connection]:
        """A write transaction. Once it is committed those who run on this installation are told, so that they look at
        once; where nobody hears it, timers find what changed."""
        bus = self.bus
        with self.store.write() as conn:
            yield conn
        for topic in topics:
            bus.ring(topic)


@contextmanager
def opened() -> Iterator[Opened]:
    """The installation the settings name; ``Failed`` when its database is not there or of another version."""
    settings = load_settings()
    if not settings.database_url and not Path(settings.data_dir, "tocsin.db").exists():
        raise Failed(
            f"There is no database in {settings.data_dir.resolve()} yet. `tocsin up` starts one, `tocsin migrate` "
            "only makes it; TOCSIN_DATA_DIR names another place."
        )
    with ExitStack() as closing:
        store = Store(settings.database, data_dir=settings.data_dir)
        closing.callback(store.close)
        match store.schema_state():
            case "empty" | "behind":
                raise Failed("The database is not at this version's schema yet. Run `tocsin migrate` first.")
            case "newer":
                note("The database was made by a newer version of Tocsin, which this one works with.")
            case "ahead":
                raise Failed("The database was made by a newer Tocsin. Update this one.")
        yield Opened(settings, store, closing)
