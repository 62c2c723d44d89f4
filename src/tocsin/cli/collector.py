"""tocsin collector: reports how this machine is. Knows only how to ask for it; ``tocsin.collector`` does it.

Read with argparse, and settings from the environment alone: Typer and pydantic would be two thirds of the process.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from tocsin.cli.plain import WRONG_USE, Parser

if TYPE_CHECKING:
    from tocsin.collector.link import Address

FAILED: Final = 1
PORT: Final = 4317
SPOOL_MB: Final = 64
LEAST_EVERY_S, MOST_EVERY_S = 1.0, 3600.0

_DESCRIPTION: Final = """\
Start a collector: it looks at this machine's sensors every few seconds and reports to an aggregator. While that cannot
be reached ticks wait on disk, and nothing is lost. Ends gracefully on Ctrl-C or SIGTERM."""


class WrongUse(Exception):
    """What is wrong with what was given, in one line."""


def parser() -> Parser:
    made = Parser(prog="tocsin collector", description=_DESCRIPTION, allow_abbrev=False)
    made.add_argument("--aggregator", metavar="HOST:PORT", help="where to report to; or TOCSIN_AGGREGATOR_URL")
    made.add_argument(
        "--key", help="a key with the scope ingest; TOCSIN_AGGREGATOR_KEY is not seen in the list of processes"
    )
    made.add_argument("--every", type=float, default=5.0, metavar="SECONDS", help="between two ticks (5)")
    made.add_argument(
        "--machine-id",
        help="the same for as long as it is the same machine; or TOCSIN_MACHINE_ID, or made of the system's",
    )
    made.add_argument("--name", help="what people call this machine; otherwise its host name")
    made.add_argument("--tag", action="append", default=[], help="may be given again")
    made.add_argument("--data-dir", type=Path, help="where ticks wait; or TOCSIN_DATA_DIR, or ./tocsin-data")
    made.add_argument("--tls", action="store_true", help="encrypt; as with grpcs://HOST:PORT")
    made.add_argument(
        "--ca",
        type=Path,
        metavar="FILE",
        help="the authority (PEM) to trust instead of the system's, with TLS; or TOCSIN_AGGREGATOR_CA",
    )
    made.add_argument(
        "--root", type=Path, default=Path("/"), help="where the host's root is mounted, in a container (/)"
    )
    return made


def main(arguments: Sequence[str]) -> int:
    made = parser()
    given = made.parse_args(arguments)
    try:
        return _start(given, os.environ)
    except WrongUse as wrong:
        print(f"{made.format_usage()}{wrong}", file=sys.stderr)
        return WRONG_USE


def _start(given: argparse.Namespace, environment: Mapping[str, str]) -> int:
    if sys.platform != "linux":
        return _cannot("its sensors are those of Linux; an OpenTelemetry Collector can report from other systems")
    _prepare()
    from tocsin.collector import machine
    from tocsin.collector.log import FORMATS, LEVELS, line_log
    from tocsin.collector.run import Options, run
    from tocsin.collector.spool import SpoolInUse
    from tocsin.sensors.base import Host

    key = given.key or environment.get("TOCSIN_AGGREGATOR_KEY", "")
    if not key or not (key.isascii() and key.isprintable()):
        raise WrongUse("--key or TOCSIN_AGGREGATOR_KEY is needed: `tocsin keys create NAME --scope ingest` makes one")
    if not LEAST_EVERY_S <= given.every <= MOST_EVERY_S:
        raise WrongUse(f"--every must be {LEAST_EVERY_S:g} to {MOST_EVERY_S:g} seconds")
    data_dir = given.data_dir or Path(environment.get("TOCSIN_DATA_DIR") or "tocsin-data")
    host = Host(given.root)
    log = line_log(
        _one_of(environment, "TOCSIN_LOG_FORMAT", FORMATS, "auto"),
        _one_of(environment, "TOCSIN_LOG_LEVEL", LEVELS, "info"),
    )
    try:
        own_id = given.machine_id or environment.get("TOCSIN_MACHINE_ID") or machine.machine_id(host, data_dir)
        options = Options(
            address=address(given, environment),
            key=key,
            every_s=given.every,
            machine_id=_plain("--machine-id", own_id),
            name=_plain("--name", given.name or machine.host_name(host)),
            tags=tuple(_plain("--tag", tag) for tag in given.tag),
            data_dir=data_dir,
            spool_bytes=_spool_mb(environment) * 1_000_000,
            root=given.root,
        )
        return run(options, log)
    except SpoolInUse:
        return _cannot("another collector uses this data directory; --data-dir gives each one of its own")
    except OSError as error:
        return _cannot(f"{error.filename or 'a file'} cannot be used: {error.strerror or error}")


def address(given: argparse.Namespace, environment: Mapping[str, str]) -> Address:
    """Raises WrongUse."""
    from tocsin.collector.link import Address

    text = given.aggregator or environment.get("TOCSIN_AGGREGATOR_URL", "")
    source = "--aggregator" if given.aggregator else "TOCSIN_AGGREGATOR_URL"
    if not text:
        raise WrongUse("--aggregator or TOCSIN_AGGREGATOR_URL is needed: the HOST:PORT to report to")
    parts = urlsplit(text if "://" in text else f"//{text}")
    try:
        host, port = parts.hostname, parts.port or PORT
    except ValueError:
        host, port = None, 0
    is_plain = not (parts.path.strip("/") or parts.query or parts.fragment) and parts.username is None
    if parts.scheme not in ("", "grpc", "grpcs") or not host or not host.isprintable() or " " in host or not is_plain:
        raise WrongUse(f"{source} must be HOST:PORT, grpc://HOST:PORT or grpcs://HOST:PORT")
    authority = given.ca or (Path(named) if (named := environment.get("TOCSIN_AGGREGATOR_CA")) else None)
    tls = given.tls or given.ca is not None or parts.scheme == "grpcs"
    if given.ca is not None and parts.scheme == "grpc":
        raise WrongUse("--ca goes with grpcs://, and this is grpc://")
    return Address(f"{f'[{host}]' if ':' in host else host}:{port}", tls, authority if tls else None)


def _prepare() -> None:
    """Before gRPC is loaded. It says what goes wrong in its own way, beside ours; and with it comes asyncio, which
    would load OpenSSL (5 MB) although nothing here uses it: gRPC has a TLS of its own."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    if "ssl" not in sys.modules and "asyncio" not in sys.modules:
        absent: dict[str, None] = {"ssl": None}  # as on a Python that was built without it
        modules: dict[str, object] = sys.modules  # type: ignore[assignment]
        modules.update(absent)
        try:
            import asyncio  # noqa: F401
        finally:
            del sys.modules["ssl"]


def _spool_mb(environment: Mapping[str, str]) -> int:
    text = environment.get("TOCSIN_SPOOL_MB") or str(SPOOL_MB)
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 1_000_000):
        raise WrongUse("TOCSIN_SPOOL_MB must be a whole number from 1 to 1000000")
    return int(text)


def _one_of(environment: Mapping[str, str], name: str, known: Sequence[str], usual: str) -> str:
    value = environment.get(name) or usual
    if value not in known:
        raise WrongUse(f"{name} must be one of {', '.join(known)}")
    return value


def _plain(what: str, text: str) -> str:
    text = text.strip()
    if not text or not text.isprintable() or len(text) > 200:
        raise WrongUse(f"{what} must be 1 to 200 characters on one line")
    return text


def _cannot(reason: str) -> int:
    print(f"Tocsin cannot start: {reason}", file=sys.stderr)
    return FAILED
