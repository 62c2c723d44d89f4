"""What commands work on: the settings in force and the database they name. Prints nothing and knows no command."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from pydantic_settings import SettingsError

from tocsin.bus.memory import MemoryBus
from tocsin.cli.terminal import Failed, WrongUse
from tocsin.lib.clock import SYSTEM_CLOCK
from tocsin.lib.vault import Vault
from tocsin.pipeline import Pipeline
from tocsin.settings import Settings
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

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings: Final = settings
        self.store: Final = store

    @cached_property
    def vault(self) -> Vault:
        key = self.settings.secret_key
        return Vault.in_directory(self.settings.data_dir, key=key.get_secret_value() if key else None)

    @cached_property
    def pipeline(self) -> Pipeline:
        """Its bell rings for nobody: a running server finds what changed by its timers."""
        return Pipeline(self.store, MemoryBus(), SYSTEM_CLOCK)


@contextmanager
def opened() -> Iterator[Opened]:
    """The installation the settings name; ``Failed`` when its database is not there or of another version."""
    settings = load_settings()
    if not settings.database_url and not Path(settings.data_dir, "tocsin.db").exists():
        raise Failed(
            f"There is no database in {settings.data_dir.resolve()} yet. `tocsin up` starts one, `tocsin migrate` "
            "only makes it; TOCSIN_DATA_DIR names another place."
        )
    store = Store(settings.database, data_dir=settings.data_dir)
    try:
        match store.schema_state():
            case "empty" | "behind":
                raise Failed("The database is not at this version's schema yet. Run `tocsin migrate` first.")
            case "ahead":
                raise Failed("The database was made by a newer Tocsin. Update this one.")
        yield Opened(settings, store)
    finally:
        store.close()
