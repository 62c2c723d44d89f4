"""Which machine this is, and where in its life: an id that stays, the boot, and the time since it began."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from tocsin.sensors.base import Host, text_of

_APPLICATION: Final = bytes.fromhex("8d1f6e0a2f2f4b1f9d3a6c1f0a5e7b42")
"""Made up once. The system's own id is not to be told to anybody, says machine-id(5); a hash with this is another."""
_FILE: Final = "machine-id"


class Boot(NamedTuple):
    id: str
    began_ms: int
    """By the wall clock of now: when what the kernel counts began at 0."""


def machine_id(host: Host, data_dir: Path) -> str:
    """Made of the system's; where it has none, one that is made up once and kept in ``data_dir``. Raises OSError
    where that cannot be kept: a machine with another id after each start would be a new one each time."""
    own = text_of(host.root / "etc" / "machine-id") or ""
    try:
        raw = bytes.fromhex(own)
    except ValueError:
        raw = b""
    if len(raw) == 16 and any(raw):
        return _uuid(_sha256()(_APPLICATION + raw).digest()[:16])
    kept = data_dir / _FILE
    known = text_of(kept)
    if known:
        return known
    made = _uuid(os.urandom(16))
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = kept.with_suffix(".new")
    new.write_text(f"{made}\n", "ascii")
    new.replace(kept)
    return made


def boot(host: Host) -> Boot:
    """A host that does not tell its boots apart is known by when it began, to ten seconds."""
    began_ms = time.time_ns() // 1_000_000 - since_boot_ms()
    return Boot(text_of(host.proc("sys/kernel/random/boot_id")) or f"began-{began_ms // 10_000}", began_ms)


def since_boot_ms() -> int:
    """Grows while the machine sleeps as well."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def host_name(host: Host) -> str:
    """Of the host itself where this runs in a container that was given its root."""
    if host.root != Path("/") and (name := text_of(host.root / "etc" / "hostname")):
        return name
    return os.uname().nodename


def as_file_name(id: str) -> str:
    """One that no other id has."""
    is_plain = id.isascii() and id.replace("-", "").isalnum() and id == id.lower() and len(id) <= 64
    return id if is_plain else "id-" + _sha256()(id.encode("utf-8", "surrogateescape")).hexdigest()[:40]


def _uuid(raw: bytes) -> str:
    """In the form of a random one (RFC 9562, version 4)."""
    bits = bytearray(raw)
    bits[6], bits[8] = bits[6] & 0x0F | 0x40, bits[8] & 0x3F | 0x80
    text = bits.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _sha256() -> Callable[[bytes], Any]:
    """Without OpenSSL, as ``random`` of the standard library does it: ``hashlib`` loads that, 4 MB for one hash."""
    for name in ("_sha2", "_sha256"):  # Python 3.12 and later; earlier
        with suppress(ImportError):
            return cast(Callable[[bytes], Any], import_module(name).sha256)
    return cast(Callable[[bytes], Any], import_module("hashlib").sha256)
