"""How much a machine can watch: split services on PostgreSQL against a farm of targets, for people to size theirs.

    python -m bench.load                     1,000, 10,000 and 100,000 targets at 60 s, for two minutes each
    python -m bench.load --targets 100000 --minutes 10 --kill-worker --stop-database 60

Everything runs on this machine: the farm, PostgreSQL (a private one with durable settings, or ``--url`` names an empty
database), two workers, API, alerts and keeper. Prints a table for docs/operating.md, and what was lost: nothing is.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import httpx
import psutil
from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection, func, insert, select, text, update

from bench.farm import Farm, Manner, Shares, farm
from bench.figures import Figure
from bench.stand import Span, lateness_of, process
from tests.postgres import DURABLE, PrivateServer, start_private_server
from tests.running import free_port
from tocsin.catalog import targets as catalog
from tocsin.core.decide import Verdict
from tocsin.core.outcome import HEADLINE
from tocsin.lib.clock import SYSTEM_CLOCK
from tocsin.lib.vault import Vault
from tocsin.store import tables
from tocsin.store.engine import Store

TIMEOUT_S: Final = 5.0
SECRET_KEY: Final = "only for measuring, never for keeping"
READY_WITHIN_S: Final = 300.0
LOOK_EVERY_S: Final = 3.0
"""How often the whole day is read for targets that lack a check: often enough, and no load of its own."""
LEASE_S: Final = 15.0
"""What is promised: a killed worker's targets run elsewhere within this and one interval."""


@dataclass(frozen=True, slots=True)
class Plan:
    targets: int
    interval_s: int
    minutes: float
    workers: int
    shares: Shares
    kill_worker: bool = False
    stop_database_s: int = 0


class Looks(NamedTuple):
    """What is read at one moment, all of it growing. CPU in seconds and memory in bytes, by role."""

    at_s: float
    cpu_s: Mapping[str, float]
    memory_bytes: Mapping[str, int]
    lateness_ms: Mapping[float, float]
    missed: float
    buffered: float


@dataclass(slots=True)
class Report:
    """What a plan came to. Times are seconds, sizes bytes; None: not part of the plan."""

    plan: Plan
    stored_per_s: float = 0.0
    cores: dict[str, float] = field(default_factory=dict)
    memory_mb: dict[str, float] = field(default_factory=dict)
    lateness_p50_ms: float = 0.0
    lateness_p99_ms: float = 0.0
    missed: int = 0
    incomplete: int = 0
    """Well targets that have fewer checks than slots in the steady time."""
    false_downs: int = 0
    bytes_per_check: float = 0.0
    all_running_s: float = 0.0
    """From the start of the workers to the first check of the last target."""
    taken_over_s: float | None = None
    false_downs_after_kill: int | None = None
    gap_incomplete: int | None = None
    """Well targets that lack a check of the time in which the database was away."""
    verdicts_moved_in_gap: int | None = None
    most_memory_mb_in_gap: float | None = None


class Services:
    """The processes, by role; each has a health port of its own."""

    def __init__(self, place: Path, database_url: str) -> None:
        self._place = place
        self._url = database_url
        self._stacks: dict[str, ExitStack] = {}
        self._ports: dict[str, int] = {}
        self.processes: dict[str, psutil.Process] = {}

    def start(self, name: str) -> None:
        """``name`` is a role, with a number where there are several: ``worker-1``."""
        role = name.partition("-")[0]
        port = free_port()
        place = self._place / name
        place.mkdir(parents=True, exist_ok=True)
        environment = {
            "TOCSIN_DATABASE_URL": self._url,
            "TOCSIN_DATA_DIR": str(place),
            "TOCSIN_SECRET_KEY": SECRET_KEY,
            "TOCSIN_METRICS_PUBLIC": "true",
            "TOCSIN_ADMIN_PASSWORD": "correct horse battery",
            "TOCSIN_LOG_LEVEL": "warning",
            "TOCSIN_PORT" if role == "api" else "TOCSIN_HEALTH_PORT": str(port),
        }
        stack = ExitStack()
        log = stack.enter_context((place / "log").open("ab"))
        command = [sys.executable, "-m", "tocsin", role]
        self.processes[name] = stack.enter_context(process(command, environment=environment, output=log))
        self._stacks[name], self._ports[name] = stack, port

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        for name, port in self._ports.items():
            while True:
                with suppress(httpx.TransportError):
                    if httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=5).status_code == 200:
                        break
                if time.monotonic() > deadline or not self.processes[name].is_running():
                    raise RuntimeError(
                        f"{name} does not get ready:\n{(self._place / name / 'log').read_text()[-2000:]}"
                    )
                time.sleep(0.1)

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self._stacks.pop(name).close()
        del self.processes[name], self._ports[name]

    def stop(self) -> None:
        for name in list(self._stacks):
            self._stacks.pop(name).close()

    def metrics(self, name: str) -> dict[str, float]:
        lines = httpx.get(f"http://127.0.0.1:{self._ports[name]}/metrics", timeout=30).raise_for_status().text
        parts = (line.rpartition(" ") for line in lines.splitlines() if line and not line.startswith("#"))
        return {key: float(value) for key, _, value in parts}

    def workers(self) -> list[str]:
        return [name for name in self.processes if name.startswith("worker")]


def look(services: Services, running_farm: Farm, server: psutil.Process | None) -> Looks:
    cpu: dict[str, float] = {}
    memory: dict[str, int] = {}
    families = {name: [one] for name, one in services.processes.items()} | {"farm": [running_farm.process]}
    if server is not None:
        families["postgresql"] = [server, *server.children(recursive=True)]
    for name, family in families.items():
        role = name.partition("-")[0]
        for one in family:
            with suppress(psutil.NoSuchProcess):
                times = one.cpu_times()
                cpu[role] = cpu.get(role, 0.0) + times.user + times.system
                # Shared buffers are counted once: what each server process has for itself, and the buffers.
                memory[role] = memory.get(role, 0) + one.memory_info().rss - one.memory_info().shared
    lateness: dict[float, float] = {}
    missed = buffered = 0.0
    for name in services.workers():
        found = services.metrics(name)
        missed += found["tocsin_slots_missed_total"]
        buffered += found["tocsin_results_buffered"]
        for bound_ms, count in lateness_of(found).items():
            lateness[bound_ms] = lateness.get(bound_ms, 0.0) + count
    return Looks(time.monotonic(), cpu, memory, lateness, missed, buffered)


# ── the database ──────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def database(url: str | None) -> Iterator[tuple[str, PrivateServer | None]]:
    """An empty database; the server behind it where it is ours to stop."""
    if url is not None:
        yield url, None
        return
    server = start_private_server(DURABLE)
    try:
        yield server.create_database(migrated=False), server
    finally:
        server.remove()


def seed(store: Store, running_farm: Farm, plan: Plan) -> None:
    """Registers the targets, the first through the catalog and the others as its copies, in groups by manner."""
    first = {
        "name": "target 0",
        "kind": "http",
        "url": running_farm.url(0, Manner.WELL),
        "interval_s": plan.interval_s,
        "timeout_s": min(TIMEOUT_S, plan.interval_s),
        "assert": ["status == 200"],
    }
    with store.write() as conn:
        row = catalog.create(
            conn, first, vault=Vault.in_directory(Path(), key=SECRET_KEY), now_ms=SYSTEM_CLOCK.now_ms()
        )
        model = dict(conn.execute(select(tables.targets).where(tables.targets.c.id == row.id)).one()._mapping)
        del model["id"]
        rows = []
        for number in range(plan.targets):
            manner = plan.shares.manner_of(number)
            url = running_farm.url(number, manner)
            named = {
                "name": f"target {number}",
                "slug": f"target-{number}",
                "endpoint": url,
                "group_name": manner.value,
            }
            rows.append(
                model | named | {"settings": model["settings"] | {"url": url}, "revision": row.revision + number}
            )
        conn.execute(tables.targets.delete())
        for begin in range(0, len(rows), 5000):
            conn.execute(insert(tables.targets), rows[begin : begin + 5000])
        conn.execute(update(tables.revisions).values(value=row.revision + plan.targets))


def _of_the_well() -> list[str]:
    """Those that answer every time, if slowly."""
    return [Manner.WELL.value, Manner.SLOW.value]


def false_downs(conn: Connection, since_ms: int = 0) -> int:
    """How often a target that is well was called down or unknown."""
    moved, owner = tables.transitions.c, tables.targets.c
    statement = (
        select(func.count())
        .select_from(tables.transitions.join(tables.targets, owner.id == moved.subject_id))
        .where(
            moved.location_id == HEADLINE,
            moved.recorded_ms >= since_ms,
            moved.after.in_([Verdict.DOWN.value, Verdict.UNKNOWN.value]),
            owner.group_name.in_(_of_the_well()),
        )
    )
    return int(conn.execute(statement).scalar_one())


def incomplete(conn: Connection, from_ms: int, to_ms: int, interval_s: int) -> int:
    """How many well targets have fewer checks than slots in a time of whole intervals."""
    checks, owner = tables.checks.c, tables.targets.c
    counted = (
        select(checks.target_id, func.count().label("number"))
        .where(checks.at_ms >= from_ms, checks.at_ms < to_ms)
        .group_by(checks.target_id)
        .subquery()
    )
    slots = (to_ms - from_ms) // (interval_s * 1000)
    statement = (
        select(func.count())
        .select_from(tables.targets.outerjoin(counted, counted.c.target_id == owner.id))
        .where(owner.group_name == Manner.WELL.value, func.coalesce(counted.c.number, 0) < slots)
    )
    return int(conn.execute(statement).scalar_one())


def waiting_for(conn: Connection, since_ms: int) -> int:
    """How many targets have no check since then."""
    checks, owner = tables.checks.c, tables.targets.c
    newer = select(checks.target_id).where(checks.at_ms > since_ms).distinct().subquery()
    statement = (
        select(func.count())
        .select_from(tables.targets.outerjoin(newer, newer.c.target_id == owner.id))
        .where(newer.c.target_id.is_(None))
    )
    return int(conn.execute(statement).scalar_one())


def last_first_look(conn: Connection, since_ms: int) -> int:
    """The slot of the first check after that time, of the target that was the last to have one."""
    at_ms = tables.checks.c.at_ms
    first = select(func.min(at_ms).label("at_ms")).where(at_ms > since_ms).group_by(tables.checks.c.target_id)
    return int(conn.execute(select(func.max(first.subquery().c.at_ms))).scalar_one())


def stored(conn: Connection, from_ms: int, to_ms: int) -> int:
    statement = select(func.count()).where(tables.checks.c.at_ms >= from_ms, tables.checks.c.at_ms < to_ms)
    return int(conn.execute(statement).scalar_one())


def bytes_per_check(conn: Connection) -> float:
    """Of the live days' tables with their indexes."""
    parts = "SELECT inhrelid FROM pg_inherits WHERE inhparent = 'checks'::regclass"
    size = conn.execute(text(f"SELECT sum(pg_total_relation_size(inhrelid)) FROM ({parts}) parts")).scalar()
    rows = conn.execute(select(func.count()).select_from(tables.checks)).scalar_one()
    return float(size or 0) / rows if rows else 0.0


# ── one plan ──────────────────────────────────────────────────────────────────────────────────────────


def carry_out(plan: Plan, place: Path, url: str | None, console: Console) -> Report:
    """1. Everything starts. 2. Every target has been looked at. 3. The steady time. 4. A worker is killed. 5. The
    database is away."""
    report = Report(plan)
    with ExitStack() as closing_all:
        running_farm = closing_all.enter_context(farm())
        database_url, server = closing_all.enter_context(database(url))
        server_process = psutil.Process(server.process.pid) if server is not None and server.process else None
        store = closing_all.enter_context(closing(Store(database_url, statement_timeout_s=300)))
        store.migrate()
        began_s = time.monotonic()
        seed(store, running_farm, plan)
        console.print(f"{plan.targets:,} targets registered in {time.monotonic() - began_s:.0f} s")

        services = Services(place / "services", database_url)
        closing_all.callback(services.stop)
        started_s, started_ms = time.monotonic(), SYSTEM_CLOCK.now_ms()
        for number in range(1, plan.workers + 1):
            services.start(f"worker-{number}")
        for role in ("api", "alerts", "keeper"):
            services.start(role)
        services.wait_until_ready()
        console.print(f"ready after {time.monotonic() - started_s:.1f} s")
        report.all_running_s = _until_all_are_seen(store, started_ms, plan, started_s)
        console.print(f"every target seen {report.all_running_s:.1f} s after the start")
        _steady(report, services, running_farm, server_process, store)
        if plan.kill_worker:
            _kill(report, services, store, console)
        if plan.stop_database_s and server is not None:
            _without_database(report, services, running_farm, server, store, console)
        with store.read() as conn:
            report.bytes_per_check = bytes_per_check(conn)
    return report


def _until_all_are_seen(store: Store, since_ms: int, plan: Plan, started_s: float) -> float:
    """Seconds from ``started_s`` (monotonic) until every target has a check newer than ``since_ms``."""
    deadline = time.monotonic() + 5 * plan.interval_s + 60
    while True:
        with store.read() as conn:
            left = waiting_for(conn, since_ms)
        if not left:
            return time.monotonic() - started_s
        if time.monotonic() > deadline:
            raise RuntimeError(f"{left} targets have not been looked at")
        time.sleep(LOOK_EVERY_S)


def _steady(
    report: Report, services: Services, running_farm: Farm, server: psutil.Process | None, store: Store
) -> None:
    plan = report.plan
    intervals = max(1, round(plan.minutes * 60 / plan.interval_s))
    from_ms = SYSTEM_CLOCK.now_ms()
    to_ms = from_ms + intervals * plan.interval_s * 1000
    before = look(services, running_farm, server)
    time.sleep((to_ms - SYSTEM_CLOCK.now_ms()) / 1000)
    after = look(services, running_farm, server)
    seconds = after.at_s - before.at_s
    report.cores = {role: (after.cpu_s[role] - before.cpu_s.get(role, 0)) / seconds for role in after.cpu_s}
    report.memory_mb = {role: size / 1e6 for role, size in after.memory_bytes.items()}
    lateness = {bound: count - before.lateness_ms.get(bound, 0) for bound, count in after.lateness_ms.items()}
    span = Span(seconds, 0.0, 0.0, lateness)
    report.lateness_p50_ms, report.lateness_p99_ms = (span.lateness_percentile_ms(share) for share in (0.5, 0.99))
    report.missed = round(after.missed - before.missed)
    time.sleep(TIMEOUT_S + 3)  # what was under way at the end has been stored by now
    with store.read() as conn:
        report.stored_per_s = stored(conn, from_ms, to_ms) / (to_ms - from_ms) * 1000
        report.incomplete = incomplete(conn, from_ms, to_ms, plan.interval_s)
        report.false_downs = false_downs(conn)


def _kill(report: Report, services: Services, store: Store, console: Console) -> None:
    killed_ms, killed_s = SYSTEM_CLOCK.now_ms(), time.monotonic()
    services.kill("worker-1")
    _until_all_are_seen(store, killed_ms, report.plan, killed_s)
    with store.read() as conn:
        report.taken_over_s = (last_first_look(conn, killed_ms) - killed_ms) / 1000
        report.false_downs_after_kill = false_downs(conn, killed_ms)
    console.print(
        f"a worker killed: every target probed again within {report.taken_over_s:.1f} s "
        f"(promised: {LEASE_S + report.plan.interval_s:.0f} s)"
    )
    services.start("worker-1")
    services.wait_until_ready()
    time.sleep(LEASE_S)  # until the shares are even again


def _without_database(
    report: Report,
    services: Services,
    running_farm: Farm,
    server: PrivateServer,
    store: Store,
    console: Console,
) -> None:
    plan = report.plan
    most_bytes = 0
    from_ms = SYSTEM_CLOCK.now_ms() - 5000
    server.stop()
    ends_s = time.monotonic() + plan.stop_database_s
    while time.monotonic() < ends_s:
        time.sleep(2)
        most_bytes = max(most_bytes, look(services, running_farm, None).memory_bytes["worker"])
    server.start()
    back_s = time.monotonic()
    while look(services, running_farm, None).buffered > plan.targets / plan.interval_s * 5:
        if time.monotonic() - back_s > 300:
            raise RuntimeError("the results of the gap are not written")
        time.sleep(1)
    caught_up_s = time.monotonic() - back_s
    intervals = -(-(plan.stop_database_s + 10) // plan.interval_s)
    to_ms = from_ms + intervals * plan.interval_s * 1000
    time.sleep(max(0.0, (to_ms - SYSTEM_CLOCK.now_ms()) / 1000) + TIMEOUT_S + 3)
    with store.read() as conn:
        report.gap_incomplete = incomplete(conn, from_ms, to_ms, plan.interval_s)
        report.verdicts_moved_in_gap = false_downs(conn, from_ms)
    report.most_memory_mb_in_gap = most_bytes / 1e6
    console.print(
        f"the database away for {plan.stop_database_s} s: caught up {caught_up_s:.0f} s after it was back; workers had "
        f"at most {report.most_memory_mb_in_gap:.0f} MB"
    )


# ── what is shown ─────────────────────────────────────────────────────────────────────────────────────


def show(reports: Sequence[Report], console: Console) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    headings = ("targets", "every", "checks/s", "workers", "late p50", "p99", "missed", "lacking", "false", "seen in")
    roles = ("worker", "postgresql", "api", "alerts", "keeper")
    for heading in (*headings, *(f"{role} CPU" for role in roles), *(f"{role} MB" for role in roles)):
        table.add_column(heading, justify="right")
    for report in reports:
        plan = report.plan
        table.add_row(
            f"{plan.targets:,}",
            f"{plan.interval_s} s",
            f"{report.stored_per_s:,.0f}",
            str(plan.workers),
            f"{report.lateness_p50_ms:.0f} ms",
            f"{report.lateness_p99_ms:.0f} ms",
            str(report.missed),
            str(report.incomplete),
            str(report.false_downs),
            f"{report.all_running_s:.0f} s",
            *(f"{report.cores.get(role, 0):.2f}" for role in roles),
            *(f"{report.memory_mb.get(role, 0):,.0f}" for role in roles),
        )
    console.print(table)
    for report in reports:
        console.print(
            f"{report.plan.targets:,} targets: {report.bytes_per_check:.0f} bytes/check on disk; farm "
            f"{report.cores.get('farm', 0):.2f} cores"
        )


def figures(reports: Sequence[Report]) -> Iterator[Figure]:
    for report in reports:
        size = report.plan.targets
        yield Figure(f"load_{size}_checks_per_s", report.stored_per_s, "checks/s")
        yield Figure(f"load_{size}_start_lateness_p99_ms", report.lateness_p99_ms, "ms")
        yield Figure(f"load_{size}_slots_missed", report.missed, "")
        yield Figure(f"load_{size}_targets_lacking_checks", report.incomplete, "")
        yield Figure(f"load_{size}_false_downs", report.false_downs, "")
        yield Figure(f"load_{size}_worker_cpu_ms_per_check", _per_check_ms(report, "worker"), "ms")
        yield Figure(f"load_{size}_postgresql_cpu_ms_per_check", _per_check_ms(report, "postgresql"), "ms")
        optional = {
            "taken_over_s": (report.taken_over_s, "s"),
            "false_downs_after_kill": (report.false_downs_after_kill, ""),
            "targets_lacking_checks_of_gap": (report.gap_incomplete, ""),
            "verdicts_moved_in_gap": (report.verdicts_moved_in_gap, ""),
            "worker_memory_in_gap_mb": (report.most_memory_mb_in_gap, "MB"),
        }
        for name, (value, unit) in optional.items():
            if value is not None:
                yield Figure(f"load_{size}_{name}", value, unit)


def piece(place: Path, seconds: float) -> Iterator[Figure]:
    """For ``make bench``: 10,000 targets, watched for so long and a minute at least, on every core."""
    plan = Plan(10_000, 60, seconds / 60, 2, Shares())
    pinned_to = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))  # what is started inherits it
    try:
        yield from figures([carry_out(plan, place / "load", None, Console(stderr=True))])
    finally:
        os.sched_setaffinity(0, pinned_to)


def _per_check_ms(report: Report, role: str) -> float:
    return report.cores.get(role, 0.0) * 1000 / report.stored_per_s if report.stored_per_s else 0.0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.load", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--targets", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--interval", type=int, default=60, help="seconds between the checks of a target")
    parser.add_argument("--minutes", type=float, default=2.0, help="how long it is watched once all is running")
    parser.add_argument("--workers", type=int, default=2)
    for name, share in Shares()._asdict().items():
        parser.add_argument(f"--{name}", type=float, default=share, help=f"share of targets (default {share:g})")
    parser.add_argument("--kill-worker", action="store_true", help="then SIGKILL one, and see who takes over")
    parser.add_argument("--stop-database", type=int, default=0, metavar="S", help="then stop PostgreSQL for so long")
    parser.add_argument("--url", help="an empty database; by default a private PostgreSQL with durable settings")
    given = parser.parse_args()
    shares = Shares(given.slow, given.refused, given.hanging, given.flapping)
    console = Console() if sys.stdout.isatty() else Console(width=200)
    reports = []
    for number in given.targets:
        plan = Plan(
            number, given.interval, given.minutes, given.workers, shares, given.kill_worker, given.stop_database
        )
        with tempfile.TemporaryDirectory(prefix="tocsin-load-") as directory:
            reports.append(carry_out(plan, Path(directory), given.url, console))
        show(reports[-1:], console)
    show(reports, console)
    for figure in figures(reports):
        console.print(f"{figure.name} {figure.value:.4g} {figure.unit}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
