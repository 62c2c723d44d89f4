"""The collector's process stays small: what it loads, and what it needs while it runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import grpc

SITE = Path(grpc.__file__).parent.parent
LOADS = (
    "import sys; sys.argv = ['tocsin', 'collector', '--help']; import tocsin.cli; code = tocsin.cli.main();"
    "from tocsin.cli.collector import _prepare; _prepare(); import tocsin.collector.run;"
    "print(); print(*sys.modules)"
)
TOO_MUCH = {
    "aiodns", "alembic", "certifi", "click", "cryptography", "fastapi", "hashlib", "httpx", "msgspec", "numpy",
    "prometheus_client", "psutil", "psycopg", "pycurl", "pydantic", "pydantic_settings", "redis", "requests", "rich",
    "sqlalchemy", "sqlite3", "ssl", "starlette", "structlog", "typer", "urllib.request", "uvicorn", "uvloop",
}  # fmt: skip
OURS = (
    "tocsin.cli",
    "tocsin.collector",
    "tocsin.core.samples",
    "tocsin.lib.authorities",
    "tocsin.sensors",
    "tocsin.v1",
)


def loaded() -> set[str]:
    done = subprocess.run([sys.executable, "-c", LOADS], check=True, capture_output=True, text=True)
    return set(done.stdout.splitlines()[-1].split())


def test_nothing_heavy_is_loaded() -> None:
    there = loaded()
    assert "tocsin.collector.run" in there
    assert "grpc" in there
    assert not TOO_MUCH & there


def test_nothing_of_ours_is_loaded_that_it_does_not_need() -> None:
    rooms = {"tocsin", "tocsin.core", "tocsin.lib", "tocsin.cli.commands"}
    extra = {name for name in loaded() if name.startswith("tocsin.") and not name.startswith(OURS)}
    assert extra <= rooms
    assert "tocsin.cli.commands" not in loaded()


def test_of_what_has_to_be_installed_it_needs_three() -> None:
    """The container image has no others. gRPC looks for its tools, and does without them."""
    rooms = {name.partition(".")[0] for name in loaded()} - set(sys.stdlib_module_names)
    from_packages = {room for room in rooms if (SITE / room).is_dir() or (SITE / f"{room}.py").is_file()}
    assert from_packages - {"_distutils_hack", "grpc_tools"} == {"google", "grpc", "typing_extensions"}
