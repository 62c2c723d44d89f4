"""The relay's own settings: ``TOCSIN_*`` of the environment, then ``tocsin.toml``, then the default. The few that it
has need no library to read.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast, get_args
from urllib.parse import urlsplit

SHORTEST_KEY: Final = 16
"""Characters. Whoever has it decides what the world sees."""
LogFormat = Literal["auto", "text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]


class WrongSettings(ValueError):
    """``str()`` has a line for each, with its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeSettings:
    key: str
    """What a gateway has to know."""
    host: str = "127.0.0.1"
    port: int = 8080
    public_url: str = ""
    """How people reach it, where a proxy in front changes the host; empty: as the request came."""
    log_format: LogFormat = "auto"
    log_level: LogLevel = "info"

    @classmethod
    def read(
        cls,
        environment: Mapping[str, str],
        *,
        file: Path = Path("tocsin.toml"),
        given: Mapping[str, object] | None = None,
    ) -> EdgeSettings:
        """``given`` comes before all else. Raises WrongSettings."""
        known = {
            **_in_file(file),
            **{
                name: environment[variable]
                for name in ("edge_key", "host", "port", "public_url", "log_format", "log_level")
                if (variable := f"TOCSIN_{name.upper()}") in environment
            },
            **(given or {}),
        }
        wrong: list[str] = []
        values: dict[str, Any] = {}
        for name, check in _CHECKS.items():
            if name in known or name == "edge_key":
                try:
                    values[name.removeprefix("edge_")] = check(known.get(name, ""))
                except ValueError as error:
                    wrong.append(f"TOCSIN_{name.upper()}: {error}")
        if wrong:
            raise WrongSettings("\n".join(wrong))
        return cls(**values)


def _in_file(file: Path) -> dict[str, object]:
    try:
        with file.open("rb") as opened:
            return tomllib.load(opened)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise WrongSettings(f"{file.name} cannot be read: {error}") from None


def _key(value: object) -> str:
    if not isinstance(value, str) or len(value) < SHORTEST_KEY:
        raise ValueError(f"must have at least {SHORTEST_KEY} characters; the gateway is given the same")
    if not value.isascii() or not value.isprintable() or value != value.strip():
        raise ValueError("must be letters, digits and signs of ASCII: it is sent in a header")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text")
    return value


def _port(value: object) -> int:
    try:
        port = int(cast(str, value))
    except (TypeError, ValueError):
        raise ValueError("must be a number") from None
    if not 0 <= port <= 65_535:
        raise ValueError("must be from 0 to 65535")
    return port


def _url(value: object) -> str:
    text = _text(value)
    if text and urlsplit(text).scheme not in ("http", "https"):
        raise ValueError("must start with http:// or https://")
    return text.rstrip("/")


def _one_of(*words: str) -> Any:
    def check(value: object) -> object:
        if value not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return value

    return check


_CHECKS: Final[Mapping[str, Any]] = {
    "edge_key": _key,
    "host": _text,
    "port": _port,
    "public_url": _url,
    "log_format": _one_of(*get_args(LogFormat)),
    "log_level": _one_of(*get_args(LogLevel)),
}
