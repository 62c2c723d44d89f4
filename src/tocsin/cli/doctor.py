"""tocsin doctor: looks for what would keep Tocsin from working, and says what to do.

Each examination is a function that gives back what it found. It contacts nothing but this machine and the
database, and changes nothing but a file it writes into the data directory and removes again.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import socket
import ssl
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import certifi
import typer
from rich.text import Text

from tocsin import __version__
from tocsin.cli.opened import load_settings
from tocsin.cli.terminal import FAILED, AsJson, WrongUse, print_json, print_text
from tocsin.lib.icmp import Capability, Way
from tocsin.lib.icmp import capabilities as icmp_capabilities
from tocsin.lib.vault import KEY_FILE, Vault, VaultError
from tocsin.settings import Settings

if TYPE_CHECKING:
    from tocsin.catalog.locations import Location
    from tocsin.store.engine import Store
    from tocsin.store.inspection import HistoryFacts
    from tocsin.store.workers import Worker

if sys.platform != "win32":
    import resource

app = typer.Typer(add_completion=False)

Status = Literal["ok", "warn", "fail"]


class Finding(NamedTuple):
    subject: str
    status: Status
    seen: str
    advice: str = ""
    """What to do about it; empty when there is nothing to do."""


Examination = Callable[[Settings], Iterator[Finding]]


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Look for what would keep Tocsin from working, and say what to do.

    Ends with exit code 1 when something would. Contacts nothing but this machine and the database.
    """
    findings: list[Finding] = []
    for finding in examine():
        findings.append(finding)
        if not as_json:
            print_text(_line(finding))
    if as_json:
        print_json({"version": __version__, "findings": [finding._asdict() for finding in findings]})
    if any(finding.status == "fail" for finding in findings):
        raise typer.Exit(FAILED)


_SIGNS: Final = {"ok": ("ok  ", "green"), "warn": ("warn", "yellow"), "fail": ("FAIL", "bold red")}


def _line(finding: Finding) -> Text:
    sign, colour = _SIGNS[finding.status]
    text = Text(f"{sign}  ", style=colour)
    text.append(f"{finding.subject}: ", style="bold")
    text.append(finding.seen, style="not bold default")
    if finding.advice:
        text.append(f"\n      → {finding.advice}", style="not bold default")
    return text


def examine() -> Iterator[Finding]:
    yield Finding("version", "ok", f"Tocsin {__version__}, Python {sys.version.split()[0]}, {sys.platform}")
    try:
        settings = load_settings()
    except WrongUse as error:
        yield Finding("settings", "fail", str(error).replace("\n", " "), "Correct them; `tocsin config` lists all.")
        return
    yield Finding("settings", "ok", "valid")
    for subject, examination in EXAMINATIONS.items():
        try:
            yield from examination(settings)
        except Exception as error:  # one that breaks must not keep the others from being heard
            yield Finding(subject, "warn", f"could not be examined: {type(error).__name__}: {error}")


# ── files ─────────────────────────────────────────────────────────────────────────────────────────────

_LITTLE_DISK_BYTES: Final = 1 << 30
_NO_DISK_BYTES: Final = 64 << 20


def data_directory(settings: Settings) -> Iterator[Finding]:
    place = settings.data_dir.resolve()
    if not place.exists():
        parent = next(parent for parent in place.parents if parent.exists())
        if os.access(parent, os.W_OK | os.X_OK):
            yield Finding("data directory", "ok", f"{place} is not there yet and can be made")
        else:
            yield Finding(
                "data directory",
                "fail",
                f"{place} is not there and {parent} may not be written",
                "Make it and give it to this user, or name another in TOCSIN_DATA_DIR.",
            )
        place = parent
    else:
        yield _written_to(place)
    yield disk(place, shutil.disk_usage(place).free)


def _written_to(place: Path) -> Finding:
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".doctor-") as file:
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return Finding(
            "data directory",
            "fail",
            f"{place} cannot be written: {error.strerror}",
            "Give it to this user, free space on its disk, or name another in TOCSIN_DATA_DIR.",
        )
    return Finding("data directory", "ok", f"{place} can be written")


def disk(place: Path, free_bytes: int) -> Finding:
    seen = f"{free_bytes / (1 << 30):.1f} GiB free at {place}"
    if free_bytes < _NO_DISK_BYTES:
        return Finding("disk", "fail", seen, "Free space: results can no longer be stored.")
    if free_bytes < _LITTLE_DISK_BYTES:
        return Finding("disk", "warn", seen, "Free space, or keep history for less long (TOCSIN_KEEP_CHECKS_DAYS).")
    return Finding("disk", "ok", seen)


def secret_key(settings: Settings) -> Iterator[Finding]:
    if settings.secret_key is not None:
        yield Finding("secret key", "ok", "given by TOCSIN_SECRET_KEY")
        return
    path = settings.data_dir / KEY_FILE
    if not path.exists():
        yield Finding("secret key", "ok", f"none yet; {path} is made at the first start")
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        yield Finding(
            "secret key", "fail", f"{path} can be read by others (mode {mode:o})", f"Type: chmod 600 '{path}'"
        )
    elif not os.access(path, os.R_OK):
        yield Finding("secret key", "fail", f"{path} cannot be read", "Give it to the user Tocsin runs as.")
    else:
        yield Finding("secret key", "ok", f"{path} is readable by its owner only; keep a copy with your backups")


# ── database ──────────────────────────────────────────────────────────────────────────────────────────

_CLOCKS_APART_MS: Final = 2000
_USABLE: Final = ("current", "newer")
_TIME_TABLES: Final = {
    "plain": "checks in one table",
    "partitions": "partitions, a day each",
    "timescaledb": "TimescaleDB chunks, a day each",
}


def database(settings: Settings) -> Iterator[Finding]:
    from tocsin.store.engine import Store, StoreBusy, StoreUnavailable
    from tocsin.store.inspection import inspect_engine, inspect_history

    if not settings.database_url and not (settings.data_dir / "tocsin.db").exists():
        yield Finding("database", "ok", "none yet; it is made at the first start")
        return
    store = Store(settings.database, data_dir=settings.data_dir)
    try:
        state = store.schema_state()
        before_ms = time.time() * 1000
        with store.read() as conn:
            engine = inspect_engine(conn)
        after_ms = time.time() * 1000
        same_key: list[Finding] = []
        history = None
        if state in _USABLE:
            same_key += _same_key(store, settings)
            with store.read() as conn:
                history = inspect_history(conn)
    except StoreBusy as error:
        yield Finding("database", "warn", str(error), "Look for another program that holds it.")
        return
    except StoreUnavailable as error:
        yield Finding("database", "fail", str(error), "Is TOCSIN_DATABASE_URL right, and may this user use it?")
        return
    finally:
        store.close()
    seen = f"{engine.name} {engine.version}, {engine.size_bytes / (1 << 20):.1f} MiB, {engine.durability}"
    match state:
        case "current" | "newer":
            made = "; made by a newer Tocsin, which this one works with" if state == "newer" else ""
            yield Finding("database", "ok", f"{seen}{made}")
            yield from same_key
        case "ahead":
            yield Finding("database", "fail", f"{seen}; made by a newer Tocsin", "Update this one.")
        case _:
            yield Finding("database", "warn", f"{seen}; its schema is {state}", "Type: tocsin migrate")
    if history is not None:
        yield Finding("history", "ok", _history(history))
    if engine.warning:
        yield Finding("database", "warn", engine.warning, engine.advice)
    if engine.now_ms is not None:
        apart_ms = max(before_ms - engine.now_ms, engine.now_ms - after_ms, 0)
        if apart_ms > _CLOCKS_APART_MS:
            yield Finding(
                "database clock",
                "warn",
                f"{apart_ms / 1000:.1f} s away from this machine's",
                "Let both machines follow the same time servers.",
            )


def _history(facts: HistoryFacts) -> str:
    parts = [f"{_TIME_TABLES[facts.time_tables]}"]
    if facts.days is not None:
        parts[0] = f"{facts.days} {parts[0]}"
    if facts.oldest_ms is not None and facts.newest_ms is not None:
        oldest, newest = (
            time.strftime("%Y-%m-%d", time.gmtime(ms / 1000)) for ms in (facts.oldest_ms, facts.newest_ms)
        )
        parts[0] += f", {oldest} to {newest}"
    if facts.check_bytes is not None:
        parts.append(f"{facts.check_bytes:.0f} bytes a check")
    if facts.packed_check_bytes is not None:
        parts.append(f"{facts.packed_check_bytes:.0f} bytes a packed check")
    return "; ".join(parts)


def _same_key(store: Store, settings: Settings) -> Iterator[Finding]:
    """Whether the key here is the one the installation's secrets are sealed with."""
    from tocsin.catalog import secret_key

    given = settings.secret_key
    key = given.get_secret_value() if given else None
    subject, advice = "secret key of the installation", "Set TOCSIN_SECRET_KEY, in every process the same."
    try:
        with store.read() as conn:
            if not secret_key.is_kept(conn):
                return
            secret_key.check(conn, Vault.in_directory(settings.data_dir, key=key, may_make=False))
    except VaultError as error:
        yield Finding(subject, "fail", str(error), advice)
    except secret_key.OtherKey:
        yield Finding(subject, "fail", "is another than the one here: secrets sealed with it cannot be read", advice)
    else:
        yield Finding(subject, "ok", "is the one here")


# ── who checks ────────────────────────────────────────────────────────────────────────────────────────


def locations(settings: Settings) -> Iterator[Finding]:
    from tocsin.catalog.locations import all_locations
    from tocsin.store.engine import Store, StoreError

    if not settings.database_url and not (settings.data_dir / "tocsin.db").exists():
        yield Finding("locations", "ok", "none yet; a worker makes its own when it starts")
        return
    store = Store(settings.database, data_dir=settings.data_dir)
    try:
        if store.schema_state() not in _USABLE:
            return  # said of the database
        with store.read() as conn:
            found = all_locations(conn, now_ms=round(time.time() * 1000))
    except StoreError:
        return  # said of the database
    finally:
        store.close()
    if not found:
        yield Finding("locations", "warn", "no worker has ever been here", "Start one: tocsin up, or tocsin worker.")
    for one in found:
        yield location(one)
        for worker in one.workers:
            if abs(worker.clock_off_ms) > _CLOCKS_APART_MS:
                yield worker_clock(worker)


def location(one: Location) -> Finding:
    subject = f"locations: {one.name}"
    count = "1 target" if one.targets == 1 else f"{one.targets} targets"
    if one.workers:
        hosts = ", ".join(worker.name for worker in one.workers)
        workers = "1 worker" if len(one.workers) == 1 else f"{len(one.workers)} workers"
        return Finding(subject, "ok", f"{workers} ({hosts}) for {count}")
    seen = f"no worker is there; {count} should be checked from it"
    start = f"Start one there, with TOCSIN_LOCATION={one.name}"
    if one.naming:
        return Finding(subject, "warn", seen, f"{start}, or let those that name it be checked from elsewhere.")
    return Finding(subject, "warn", seen, f"{start}. If there is none any more: tocsin location rm {one.name}")


def worker_clock(worker: Worker) -> Finding:
    way = "ahead of" if worker.clock_off_ms > 0 else "behind"
    return Finding(
        f"locations: clock of {worker.name}",
        "warn",
        f"{abs(worker.clock_off_ms) / 1000:.1f} s {way} the installation's",
        "Checks are put right by that much; let the machine follow the same time servers.",
    )


# ── time ──────────────────────────────────────────────────────────────────────────────────────────────

_THIS_CODE_IS_OLDER_S: Final = 1_767_225_600  # 2026-01-01: no right clock shows less
_UNSYNCHRONIZED: Final = 0x0040  # STA_UNSYNC, linux/timex.h


def clock(settings: Settings) -> Iterator[Finding]:
    yield wall_clock(time.time())
    before = time.monotonic(), time.time()
    time.sleep(0.05)
    yield clock_rate(time.monotonic() - before[0], time.time() - before[1])
    if (status := _kernel_clock_status()) is not None:
        yield synchronization(status)


def wall_clock(now_s: float) -> Finding:
    said = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now_s))
    if now_s < _THIS_CODE_IS_OLDER_S:
        return Finding("clock", "fail", f"it is said to be {said}", "Set the clock: every time stored is wrong.")
    return Finding("clock", "ok", said)


def clock_rate(monotonic_s: float, wall_s: float) -> Finding:
    if abs(wall_s - monotonic_s) > 0.02 + 0.1 * monotonic_s:
        return Finding(
            "clock steps",
            "warn",
            f"the wall clock went {wall_s * 1000:.0f} ms while {monotonic_s * 1000:.0f} ms passed",
            "Something is setting the clock; let one time service slew it.",
        )
    return Finding("clock steps", "ok", "the wall clock runs evenly")


class _Timex(ctypes.Structure):
    """The start of ``struct timex``; the rest is only room for the kernel to write into."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def _kernel_clock_status() -> int | None:
    """adjtimex(2) asked without changing anything; None where there is no such call or it is not allowed."""
    if not sys.platform.startswith("linux"):
        return None
    asked = _Timex()
    if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(asked)) < 0:
        return None
    return int(asked.status)


def synchronization(status: int) -> Finding:
    if status & _UNSYNCHRONIZED:
        return Finding(
            "time service",
            "warn",
            "the kernel does not know of one that keeps this clock right",
            "Run chrony, systemd-timesyncd or ntpd here, or on the host of this container.",
        )
    return Finding("time service", "ok", "the clock is kept right")


# ── network ───────────────────────────────────────────────────────────────────────────────────────────

_NOWHERE: Final = {socket.AF_INET: ("192.0.2.1", "IPv4"), socket.AF_INET6: ("2001:db8::1", "IPv6")}
"""Addresses for documentation. A datagram socket that is only connected looks a route up and sends nothing."""


def routes(settings: Settings) -> Iterator[Finding]:
    there = [name for family, (address, name) in _NOWHERE.items() if _has_route(family, address)]
    if there:
        yield Finding("routes", "ok", f"this machine has a default route for {' and '.join(there)}")
    else:
        yield Finding(
            "routes",
            "warn",
            "this machine has no default route",
            "Only targets on its own networks can be reached; look at `ip route`.",
        )


def _has_route(family: socket.AddressFamily, address: str) -> bool:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
    except OSError:
        return False
    return True


def name_servers(settings: Settings) -> Iterator[Finding]:
    if settings.resolvers:
        yield Finding("name servers", "ok", f"{', '.join(settings.resolvers)} (TOCSIN_RESOLVERS)")
        return
    yield resolver_file(Path("/etc/resolv.conf"))


def resolver_file(path: Path) -> Finding:
    try:
        words = [line.split() for line in path.read_text("utf-8", "replace").splitlines()]
    except OSError:
        words = []
    servers = [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"]
    if servers:
        return Finding("name servers", "ok", f"{', '.join(servers)} ({path})")
    return Finding(
        "name servers",
        "warn",
        f"{path} names none",
        "Names cannot be looked up; name servers there or in TOCSIN_RESOLVERS.",
    )


def icmp(settings: Settings) -> Iterator[Finding]:
    for capability in icmp_capabilities():
        yield icmp_way(capability)


def icmp_way(capability: Capability) -> Finding:
    subject = f"ICMP over IPv{capability.ip_version}"
    if capability.way is Way.NONE:
        return Finding(subject, "warn", "echo requests cannot be sent", capability.advice)
    return Finding(subject, "ok", f"by {capability.way.value}", capability.advice)


def authorities(settings: Settings) -> Iterator[Finding]:
    path = certifi.where()
    context = ssl.create_default_context(cafile=path)
    count = context.cert_store_stats()["x509_ca"]
    if count:
        yield Finding("certificate authorities", "ok", f"{count} in {path}")
    else:
        yield Finding(
            "certificate authorities", "fail", f"{path} holds none", "Install again: every TLS check would fail."
        )


def port(settings: Settings) -> Iterator[Finding]:
    where = f"{settings.host}:{settings.port}"
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        yield Finding("port", "fail", f"{settings.host!r} is no address: {error.strerror}", "Correct TOCSIN_HOST.")
        return
    family, kind, protocol, _, address = found[0]
    with closing(socket.socket(family, kind, protocol)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError as error:
            yield _taken_port(settings, where, error)
        else:
            yield Finding("port", "ok", f"{where} is free")


def _taken_port(settings: Settings, where: str, error: OSError) -> Finding:
    host = settings.address.removeprefix("http://").rpartition(":")[0].strip("[]")
    connection = HTTPConnection(host, settings.port, timeout=2)
    try:
        connection.request("GET", "/health/ready")
        ours = json.loads(connection.getresponse().read(10_000))["status"] in ("ready", "not ready")
    except (OSError, HTTPException, ValueError, LookupError, TypeError):
        ours = False
    finally:
        connection.close()
    if ours:
        return Finding("port", "ok", f"Tocsin is running at {where}")
    return Finding(
        "port",
        "fail",
        f"{where} cannot be listened on: {error.strerror}",
        "Stop what is using it, or choose another with TOCSIN_PORT.",
    )


def open_files(settings: Settings) -> Iterator[Finding]:
    if sys.platform == "win32":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield open_file_limit(soft, hard, settings.max_concurrent_checks)


_FILES_BESIDE_CHECKS: Final = 200


def open_file_limit(soft: int, hard: int, max_concurrent_checks: int) -> Finding:
    """-1 stands for no limit, as in ``resource.RLIM_INFINITY``."""
    limit = hard if hard == -1 else max(soft, hard)
    seen = "no limit" if limit == -1 else f"{limit} files may be open"
    wanted = max_concurrent_checks + _FILES_BESIDE_CHECKS
    if limit == -1 or limit >= wanted:
        return Finding("open files", "ok", seen)
    return Finding(
        "open files",
        "warn",
        f"{seen}; {max_concurrent_checks} checks at once want {wanted}",
        f"Raise the limit (ulimit -n {wanted}, LimitNOFILE=) or lower TOCSIN_MAX_CONCURRENT_CHECKS.",
    )


EXAMINATIONS: Final[dict[str, Examination]] = {
    "data directory": data_directory,
    "secret key": secret_key,
    "database": database,
    "locations": locations,
    "clock": clock,
    "open files": open_files,
    "port": port,
    "routes": routes,
    "name servers": name_servers,
    "ICMP": icmp,
    "certificate authorities": authorities,
}
