"""What watching a machine costs that machine: the collector beside others that do the same, at the same time.

``python -m bench.collector --minutes 10`` with 100 and then with 400 more processes on the machine: processor time and
memory of each, with its children. What is not installed is left out (prometheus-node-exporter, netdata; Glances is
installed into a folder of its own, where it is not there). Everything is started here, with settings and ports of its
own, and ended by its process id.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

import grpc

from bench.figures import RESULTS
from tests.running import free_port
from tocsin.v1 import collection_pb2 as pb

EVERY_S: Final = 5
WARM_UP_S: Final = 30
LOOK_S: Final = 10
"""Memory is looked at this often."""
TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
PAGE_BYTES: Final = os.sysconf("SC_PAGESIZE")


class Cost(NamedTuple):
    name: str
    processes: int
    """Others on the machine."""
    cpu_percent: float
    """Of one core, on average."""
    memory_mb: float
    """Resident, the median; of all its processes, what they share counted for each."""
    memory_most_mb: float
    minutes: float


class Watched(NamedTuple):
    name: str
    process: subprocess.Popen[bytes]
    url: str | None = None
    """Asked every EVERY_S, as whoever keeps its figures would."""


class _Seen(NamedTuple):
    parent: int
    cpu_s: float
    memory_bytes: int


def main() -> None:
    given = _arguments()
    if given.sink is not None:
        _sink(given.sink)
        return
    costs: list[Cost] = []
    with tempfile.TemporaryDirectory(prefix="bench-collector-") as place:
        for count in given.processes:
            folder = Path(place) / str(count)
            folder.mkdir()
            costs += _measure(folder, count, given.minutes * 60, set(given.only))
    _show(costs)
    out = RESULTS.with_name("collector.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps([cost._asdict() for cost in costs], indent=2) + "\n", "utf-8")
    print(f"written to {out}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--processes", type=int, nargs="+", default=[100, 400], help="how many more there are")
    parser.add_argument("--only", nargs="+", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--sink", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def _measure(place: Path, count: int, seconds: float, names: set[str]) -> list[Cost]:
    with ExitStack() as ending:
        ending.enter_context(_others(count))
        watched: list[Watched] = []
        for name, start in PEERS.items():
            if name not in names:
                continue
            folder = place / name
            folder.mkdir()
            one = ending.enter_context(start(folder))
            if one is None:
                print(f"{name} is not installed; it is left out")
            else:
                watched.append(one)
        _pass(watched, WARM_UP_S, lambda: None)
        memory: dict[str, list[int]] = {one.name: [] for one in watched}

        def look() -> None:
            seen = _all()
            for one in watched:
                memory[one.name].append(sum(seen[pid].memory_bytes for pid in _family(one.process.pid, seen)))

        before, began = _used(watched), time.monotonic()
        _pass(watched, seconds, look)
        passed, after = time.monotonic() - began, _used(watched)
        for one in watched:
            if one.process.poll() is not None:
                raise RuntimeError(f"{one.name} ended by itself; see {place / one.name}")
        return [
            Cost(
                name=one.name,
                processes=count,
                cpu_percent=100 * (after[one.name] - before[one.name]) / passed,
                memory_mb=statistics.median(memory[one.name]) / 1e6,
                memory_most_mb=max(memory[one.name]) / 1e6,
                minutes=passed / 60,
            )
            for one in watched
        ]


def _pass(watched: Sequence[Watched], seconds: float, look: Callable[[], None]) -> None:
    """Time goes by; those that wait to be asked are asked."""
    began = time.monotonic()
    next_look = 0.0
    while (passed := time.monotonic() - began) < seconds:
        if passed >= next_look:
            look()
            next_look += LOOK_S
        for one in watched:
            if one.url is not None:
                with suppress(OSError), urllib.request.urlopen(one.url, timeout=EVERY_S) as answer:
                    answer.read()
        time.sleep(max(0.0, min(EVERY_S - (time.monotonic() - began) % EVERY_S, seconds - passed)))
    look()


def _used(watched: Sequence[Watched]) -> dict[str, float]:
    """Seconds of processor time up to now."""
    seen = _all()
    return {one.name: sum(seen[pid].cpu_s for pid in _family(one.process.pid, seen)) for one in watched}


def _all() -> dict[int, _Seen]:
    found: dict[int, _Seen] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with suppress(OSError):
                fields = Path("/proc", name, "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
                # Its own and that of children that have ended.
                cpu_s = sum(map(int, fields[11:15])) * TICK_S
                found[int(name)] = _Seen(int(fields[1]), cpu_s, int(fields[21]) * PAGE_BYTES)
    return found


def _family(pid: int, seen: dict[int, _Seen]) -> list[int]:
    family = [pid] if pid in seen else []
    for member in family:
        family += [other for other, one in seen.items() if one.parent == member]
    return family


# ── who is compared ───────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _others(count: int) -> Iterator[None]:
    """Processes that do nothing."""
    with ExitStack() as ending:
        for _ in range(count):
            ending.enter_context(_started(["sleep", "100000"], Path("/")))
        yield


@contextmanager
def _collector(place: Path) -> Iterator[Watched | None]:
    """With an aggregator that acknowledges, in a process of its own."""
    port = free_port()
    # As it runs where it was installed: compiled once, and not at each start.
    key = {"TOCSIN_AGGREGATOR_KEY": "tcs_bench", "MALLOC_ARENA_MAX": "1", "PYTHONDONTWRITEBYTECODE": ""}
    words = ["--aggregator", f"127.0.0.1:{port}", "--every", str(EVERY_S), "--data-dir", str(place / "data")]
    with (
        _started([sys.executable, "-m", "bench.collector", "--sink", str(port)], place, directory=Path.cwd()),
        _started([sys.executable, "-m", "tocsin", "collector", *words], place, environment=key) as process,
    ):
        yield Watched("tocsin collector", process)


@contextmanager
def _node_exporter(place: Path) -> Iterator[Watched | None]:
    command = shutil.which("prometheus-node-exporter") or shutil.which("node_exporter")
    if command is None:
        yield None
        return
    address = f"127.0.0.1:{free_port()}"
    with _started([command, f"--web.listen-address={address}"], place) as process:
        yield Watched("node_exporter", process, f"http://{address}/metrics")


@contextmanager
def _glances(place: Path) -> Iterator[Watched | None]:
    command = shutil.which("glances") or _installed("glances", place)
    if command is None:
        yield None
        return
    words = ["--quiet", "--time", str(EVERY_S), "--export", "csv", "--export-csv-file", str(place / "out.csv")]
    with _started([command, *words, "--disable-check-update"], place) as process:
        yield Watched("glances", process)


@contextmanager
def _netdata(place: Path) -> Iterator[Watched | None]:
    """Reduced: in memory, every five seconds, without alarms, and of its plugins those that look at the machine."""
    command = shutil.which("netdata")
    if command is None:
        yield None
        return
    for name in ("cache", "lib", "log", "config"):
        (place / name).mkdir()
    off = ("charts.d", "python.d", "go.d", "node.d", "ebpf", "tc", "idlejitter", "perf", "nfacct", "cups", "freeipmi",
           "fping", "ioping", "slabinfo", "statsd", "timex", "checks", "xenstat", "debugfs")  # fmt: skip
    address = f"127.0.0.1:{free_port()}"
    config = place / "netdata.conf"
    config.write_text(
        f"""[global]
    run as user = {_own_name()}
[db]
    mode = ram
    retention = 3600
    update every = {EVERY_S}
[directories]
    config = {place / "config"}
    cache = {place / "cache"}
    lib = {place / "lib"}
    log = {place / "log"}
[web]
    bind to = {address}
[health]
    enabled = no
[registry]
    enabled = no
[ml]
    enabled = no
[statsd]
    enabled = no
[plugins]
"""
        + "".join(f"    {name} = no\n" for name in off),
        "utf-8",
    )
    (place / "config" / ".opt-out-from-anonymous-statistics").touch()
    with _started([command, "-D", "-c", str(config), "-P", str(place / "pid")], place) as process:
        yield Watched("netdata", process)


PEERS: Final = {
    "collector": _collector,
    "node_exporter": _node_exporter,
    "glances": _glances,
    "netdata": _netdata,
}


def _own_name() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


def _installed(package: str, place: Path) -> str | None:
    print(f"installing {package} into a folder of its own …")
    folder = place / "venv"
    try:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
        subprocess.run([folder / "bin" / "pip", "install", "-q", package], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return str(folder / "bin" / package)


@contextmanager
def _started(
    command: Sequence[str], place: Path, *, directory: Path | None = None, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """In a group of its own; whatever it started is ended with it."""
    with ExitStack() as closing:
        out = closing.enter_context(open(os.devnull if place == Path("/") else place / "log.txt", "ab"))
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=os.environ | (environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        family = _family(process.pid, _all())
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in family:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
                break
        for pid in family[1:]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _sink(port: int) -> None:
    """Acknowledges every tick, and keeps none."""

    def stream(reports: Iterator[pb.Report], _: grpc.ServicerContext) -> Iterator[pb.Receipt]:
        for report in reports:
            if report.HasField("tick"):
                yield pb.Receipt(boot_id=report.tick.boot_id, acked_seq=report.tick.seq)

    server = grpc.server(ThreadPoolExecutor(4))
    handler: grpc.RpcMethodHandler[pb.Report, pb.Receipt] = grpc.stream_stream_rpc_method_handler(
        stream, pb.Report.FromString, lambda receipt: receipt.SerializeToString()
    )
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("tocsin.v1.Collection", {"Stream": handler})])
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


def _show(costs: Sequence[Cost]) -> None:
    print(f"{'':<18}{'others':>8}{'% of a core':>13}{'MB':>8}{'at most':>9}{'minutes':>9}")
    for cost in costs:
        print(
            f"{cost.name:<18}{cost.processes:>8}{cost.cpu_percent:>13.2f}{cost.memory_mb:>8.1f}"
            f"{cost.memory_most_mb:>9.1f}{cost.minutes:>9.1f}"
        )


if __name__ == "__main__":
    main()
