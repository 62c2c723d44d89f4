"""tocsin config: the settings in force and where each comes from. Shows no secret."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import typer
from pydantic import SecretStr

from tocsin.cli.opened import load_settings
from tocsin.cli.terminal import AsJson, print_json, print_table
from tocsin.settings import Settings

app = typer.Typer(add_completion=False)

Source = Literal["environment", "tocsin.toml", "default"]


_CHOSEN = {"database_url": "database", "bus_url": "bus"}
"""What is in force where these are left empty."""


class InForce(NamedTuple):
    name: str
    """As it is in the environment: ``TOCSIN_PORT``."""
    value: object
    """A JSON value; a secret that is set is ``"(hidden)"``."""
    source: Source
    description: str


@app.command()
def config(as_json: AsJson = False) -> None:
    """Print the settings in force and where each comes from.

    The environment goes before `tocsin.toml` in the current directory, and that before the default. Secrets are hidden.
    """
    settings = load_settings()
    found = list(in_force(settings, os.environ, _toml_names(Path("tocsin.toml"))))
    if as_json:
        print_json({"settings": [setting._asdict() for setting in found]})
        return
    print_table(
        ("setting", "value", "from"),
        ((setting.name, _shown(setting.value), setting.source) for setting in found),
        empty="There are no settings.",
    )


def in_force(settings: Settings, environment: Mapping[str, str], toml_names: set[str]) -> Iterator[InForce]:
    in_environment = {name.lower() for name in environment}
    for name, field in Settings.model_fields.items():
        source: Source = "default"
        if name in toml_names:
            source = "tocsin.toml"
        if f"tocsin_{name}" in in_environment:
            source = "environment"
        value = getattr(settings, _CHOSEN.get(name, name))
        yield InForce(f"TOCSIN_{name.upper()}", _printable(value), source, field.description or "")


def _toml_names(path: Path) -> set[str]:
    return set(tomllib.loads(path.read_text("utf-8"))) if path.exists() else set()


def _printable(value: object) -> object:
    match value:
        case SecretStr():
            return "(hidden)"
        case tuple():
            return [_printable(item) for item in value]
        case None | bool() | int() | float():
            return value
        case str() if "://" in value:
            return without_password(value)
    return str(value)


def without_password(url: str) -> str:
    parts = urlsplit(url)
    if not parts.password and "password=" not in parts.query:
        return url
    user, _, host = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    query = "&".join("password=(hidden)" if pair.startswith("password=") else pair for pair in parts.query.split("&"))
    netloc = f"{name}:(hidden)@{host}" if ":" in user else parts.netloc
    return urlunsplit(parts._replace(netloc=netloc, query=query))


def _shown(value: object) -> str:
    match value:
        case None | "" | []:
            return "–"
        case bool():
            return "true" if value else "false"
        case list():
            return ", ".join(map(str, value))
    return str(value)
