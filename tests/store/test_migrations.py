"""The schema that the migrations make, and every way of getting there."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import JSON, Column, Connection, Engine, MetaData, String, create_engine, insert, make_url, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeEngine

from tests.clocks import FakeClock
from tests.contract.rows import add_targets
from tocsin.bus.memory import MemoryBus
from tocsin.core.decide import Policy, Verdict
from tocsin.core.outcome import CERTIFICATE, HEADLINE, REACHABLE, Outcome, Result, StateKey, Subject
from tocsin.core.uptime import CODES
from tocsin.pipeline import Entry, Pipeline
from tocsin.store import checks, engine, evidence, fast, notifications, states, targets, transitions
from tocsin.store.engine import Store
from tocsin.store.migrations import config, upgrade
from tocsin.store.tables import OneByte, metadata, revisions, rollup_marks


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'tocsin.db'}"
    return str(request.getfixturevalue("empty_postgres_url"))


@pytest.fixture
def empty(empty_url: str) -> Iterator[Store]:
    store = Store(empty_url)
    yield store
    store.close()


def test_the_revisions_named_in_the_engine_are_those_there_are() -> None:
    found = [revision.revision for revision in ScriptDirectory.from_config(config()).walk_revisions()]
    assert list(engine.REVISIONS) == found[::-1]


def test_migrating_makes_what_the_tables_say(empty: Store) -> None:
    empty.migrate()
    with empty.read() as conn:
        # On a file Alembic takes the numbers that SQLite gives for defaults it misses; the next test sees defaults too.
        defaults = empty.engine_name == "postgresql"
        opts = {"compare_type": _other_type, "compare_server_default": defaults, "include_object": _comparable}
        context = MigrationContext.configure(conn, opts=opts)
        assert compare_metadata(context, metadata) == []


def _other_type(
    context: MigrationContext, _there: object, _here: object, there: TypeEngine[Any], here: TypeEngine[Any]
) -> bool | None:
    """Alembic knows PostgreSQL's type "char" as some string; None: it compares by itself."""
    return not isinstance(there, String) if isinstance(here.dialect_impl(context.dialect), OneByte) else None


def _comparable(thing: object, name: object, kind: object, _reflected: object, _other: object) -> bool:
    """Alembic lets PostgreSQL compare defaults, which it cannot do for JSON: for those see what is made by default.
    Partitions are as the table they are part of."""
    if kind == "table" and re.search(r"_\d{4}_\d\d_\d\d(_\d\d)?$", str(name)):
        return False
    return not (isinstance(thing, Column) and isinstance(thing.type, JSON) and thing.server_default is not None)


def test_what_older_code_leaves_out_has_a_default(empty: Store) -> None:
    empty.migrate()
    with empty.write() as conn:
        add_targets(conn, 1)
        made = targets.get(conn, 1)
    assert made is not None
    assert (made.location_ids, made.quorum) == ([], "majority")


def test_on_a_file_it_makes_them_to_the_letter(tmp_path: Path) -> None:
    """What a comparison of tables does not see: WITHOUT ROWID, AUTOINCREMENT, the conditions of indexes."""
    store = Store(f"sqlite:///{tmp_path / 'migrated.db'}")
    store.migrate()
    other = create_engine(f"sqlite:///{tmp_path / 'created.db'}")
    metadata.create_all(other)
    statement = text("SELECT type, name, sql FROM sqlite_master WHERE name != 'alembic_version'")
    with store.read() as migrated, other.connect() as created:
        assert letters(migrated.execute(statement)) == letters(created.execute(statement))
    other.dispose()
    store.close()


def letters(found: object) -> dict[str, list[str]]:
    assert hasattr(found, "__iter__")
    return {f"{kind} {name}": sorted(re.findall(r"[^\s,()]+|[()]", sql)) for kind, name, sql in found if sql}


def test_a_schema_has_a_state(empty: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert empty.schema_state() == "empty"
    empty.migrate()
    assert empty.schema_state() == "current"
    monkeypatch.setattr(engine, "REVISIONS", (*engine.REVISIONS, "9999"))
    assert empty.schema_state() == "behind"
    monkeypatch.setattr(engine, "REVISIONS", ("0000",))
    assert empty.schema_state() == "ahead"


def test_migrating_again_changes_nothing(empty: Store) -> None:
    empty.migrate()
    with empty.write() as conn:
        conn.execute(rollup_marks.update().values(through_ms=77))
        conn.execute(revisions.update().values(value=5))
    empty.migrate()
    assert empty.schema_state() == "current"
    with empty.read() as conn:
        marks = select(rollup_marks.c.name, rollup_marks.c.through_ms)
        assert set(dict(fast.fetch(conn, marks)).values()) == {77}
        assert conn.execute(select(revisions.c.value)).scalars().all() == [5]


_MIGRATE = "import sys; from tocsin.store.engine import Store; sys.stdin.readline(); Store(sys.argv[1]).migrate()"


def test_several_may_migrate_at_once(empty: Store, empty_url: str) -> None:
    migrate_three_times_at_once(empty_url)
    assert empty.schema_state() == "current"


def migrate_three_times_at_once(url: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _MIGRATE, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    said = [process.communicate()[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said


def fill_second_schema(conn: Connection) -> None:
    """Revision 0002: three days of two targets from two places, with NULLs, as that code stored them."""
    old = MetaData()
    old.reflect(conn)
    rows = [
        {
            "target_id": target_id,
            "at_ms": T0 + minutes * 60_000 + target_id,
            "location_id": place,
            "result": 0 if minutes % 7 == 0 else 1,
            "latency_us": None if minutes % 7 == 0 else minutes + 100,
            "dns_us": None,
            "transfer_us": place,
            "error": "refused" if minutes % 7 == 0 else None,
        }
        for target_id in (1, 2)
        for place in (1, 2)
        for minutes in range(-3 * 1440, 0, 11)
    ]
    conn.execute(insert(old.tables["checks"]), rows)
    seen = [{key: row[key] for key in ("target_id", "at_ms", "location_id")} for row in rows if row["error"]]
    conn.execute(insert(old.tables["evidence"]), [row | {"document": evidence.pack(row)} for row in seen])


def at_second_schema(url: str) -> Engine:
    address = make_url(url)
    old = create_engine(address.set(drivername="postgresql+psycopg") if address.drivername == "postgresql" else address)
    upgrade(old, "0002")
    with old.begin() as conn:
        add_targets(conn, 1, 2)
        fill_second_schema(conn)
    return old


def test_checks_and_evidence_are_brought_over_whole_by_several_at_once(empty: Store, empty_url: str) -> None:
    at_second_schema(empty_url).dispose()
    migrate_three_times_at_once(empty_url)
    assert empty.schema_state() == "current"
    with empty.read() as conn:
        for target_id in (1, 2):
            found = checks.of_target(conn, target_id, from_ms=0, to_ms=2**53, limit=10_000)
            assert len(found) == 2 * len(range(-3 * 1440, 0, 11))
            for row in found:
                failed = (row.at_ms - target_id - T0) // 60_000 % 7 == 0
                assert (row.result, row.error, row.latency_us is None) == (
                    (0, "refused", True) if failed else (1, None, False)
                )
                assert (row.dns_us, row.transfer_us) == (None, row.location_id)
            kept = evidence.kept(conn, target_id, from_ms=0, to_ms=2**53)
            assert kept == {(row.at_ms, row.location_id) for row in found if row.error}
            assert evidence.get(conn, (target_id, found[-1].at_ms, 1)) is None or found[-1].error
    with empty.write() as conn:  # what was there is known to be there
        assert checks.insert_many(conn, found) == 0


def test_it_takes_turns_with_one_who_writes(empty: Store, empty_url: str) -> None:
    """Whatever an older process was told is stored, is stored afterwards."""
    old = at_second_schema(empty_url)
    written: list[int] = []
    warm, refused = threading.Event(), threading.Event()
    statement = text("INSERT INTO checks (target_id, at_ms, location_id, result) VALUES (1, :at_ms, 9, 1)")

    def write() -> None:
        while not refused.is_set() and len(written) < 5_000:
            try:
                with old.begin() as conn:
                    conn.execute(statement, {"at_ms": T0 + len(written)})
            except DBAPIError:
                if empty.engine_name == "postgresql":
                    refused.set()  # a value that is no longer of the right type; or it and the migration waited
                continue
            written.append(T0 + len(written))
            if len(written) == 20:
                warm.set()
        warm.set()

    thread = threading.Thread(target=write)
    thread.start()
    warm.wait()
    empty.migrate()
    upto = len(written)
    refused.set()
    thread.join()
    old.dispose()
    assert empty.schema_state() == "current"
    assert upto >= 20
    with empty.read() as conn:
        found = checks.of_target(conn, 1, from_ms=0, to_ms=2**53, limit=9_999, location_id=9)
    assert [row.at_ms for row in found] == written[::-1]


def test_every_revision_says_which_code_it_serves(empty: Store, empty_url: str) -> None:
    """And none has come after the code that it says."""
    address = make_url(empty_url)
    raw = create_engine(address.set(drivername="postgresql+psycopg") if address.drivername == "postgresql" else address)
    served = []
    for revision in engine.REVISIONS:
        upgrade(raw, revision)
        with raw.begin() as conn:
            if revision >= "0002":  # where it is said was made by that
                said = conn.execute(text("SELECT value FROM installation WHERE name = 'oldest_revision'")).scalar_one()
                assert said <= revision
                served.append(said)
                conn.execute(text("DELETE FROM installation WHERE name = 'oldest_revision'"))
    raw.dispose()
    assert served == sorted(served)
    assert served[:2] == ["0002", "0003"]


def test_a_start_that_is_current_does_not_load_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'tocsin.db'}"
    store = Store(url)
    store.migrate()
    store.close()
    look = (
        "import sys; from tocsin.store.engine import Store; "
        "assert Store(sys.argv[1]).schema_state() == 'current'; "
        "print([name for name in sys.modules if name.startswith('alembic')])"
    )
    said = subprocess.run([sys.executable, "-c", look, url], check=True, capture_output=True, text=True).stdout
    assert said == "[]\n"


# ── what was there before ─────────────────────────────────────────────────────────────────────────────

SHOP, BACKUP, NEW, PAUSED = 1, 2, 3, 4
T0 = 1_800_000_000_000
DUE_MS = T0 + 5000


def fill_first_schema(conn: Connection) -> None:
    """Revision 0001: one location, whose number every state and transition bears, those of heartbeats too."""
    old = MetaData()
    old.reflect(conn)
    common: dict[str, object] = {
        "interval_ms": 60_000,
        "timeout_ms": 10_000,
        "recheck_ms": 5_000,
        "tags": [],
        "assertions": [],
        "failures_to_down": 2,
        "passes_to_up": 1,
        "warnings_to_degraded": 2,
        "created_ms": T0,
        "updated_ms": T0,
        "revision": 1,
    }
    kinds = {SHOP: "http", BACKUP: "heartbeat", NEW: "tcp", PAUSED: "tcp"}
    for number, kind in kinds.items():
        named = {"id": number, "name": f"target {number}", "slug": f"target-{number}", "kind": kind, "settings": {}}
        conn.execute(insert(old.tables["targets"]), common | named | {"enabled": number != PAUSED})
    conn.execute(insert(old.tables["heartbeat_tokens"]), {"token": "a", "target_id": BACKUP})
    conn.execute(insert(old.tables["locations"]), {"id": 1, "name": "local"})

    def state(target_id: int, rule: str, verdict: str, since_ms: int, due_ms: int | None, held: bool = False) -> None:
        key = {"subject_id": target_id, "subject_kind": "target", "rule": rule, "location_id": 1}
        runs = dict.fromkeys(["failures", "passes", "warnings", "clean", "run_since_ms", "pace_since_ms"], 0)
        seen = {"last_at_ms": T0 + 900, "last_latency_us": 1200, "due_ms": due_ms, "held": held}
        stands = {"verdict": verdict, "since_ms": since_ms, "reason": f"{verdict} {target_id}"}
        conn.execute(insert(old.tables["states"]), key | runs | seen | stands)

    state(SHOP, "reachable", "down", T0 + 300, DUE_MS)
    state(SHOP, "certificate", "degraded", T0 + 100, None)
    state(BACKUP, "reachable", "up", T0 + 300, DUE_MS)
    state(PAUSED, "reachable", "unknown", T0 + 300, None, held=True)
    for target_id, after in [(SHOP, "down"), (BACKUP, "up"), (PAUSED, "unknown")]:
        before = "unknown"
        for at_ms, then, routed_ms in [(T0 + 100, "degraded", T0 + 101), (T0 + 300, after, None)]:
            conn.execute(
                insert(old.tables["transitions"]),
                {
                    "subject_kind": "target",
                    "subject_id": target_id,
                    "rule": "reachable",
                    "location_id": 1,
                    "before": before,
                    "after": then,
                    "at_ms": at_ms,
                    "check_at_ms": at_ms + 50,
                    "recorded_ms": at_ms + 60,
                    "reason": f"{then} {target_id}",
                    "routed_ms": routed_ms,
                },
            )
            before = then
        seen = {"target_id": target_id, "at_ms": T0 + 350, "location_id": 1}
        conn.execute(insert(old.tables["checks"]), seen | {"result": 1, "error": "refused"})
        conn.execute(insert(old.tables["evidence"]), seen | {"document": evidence.pack({"of": target_id})})


def headline(target_id: int, rule: str = REACHABLE) -> StateKey:
    return StateKey(Subject("target", target_id), rule, HEADLINE)


@pytest.fixture
def brought_over(empty: Store, empty_url: str) -> Store:
    url = make_url(empty_url)
    first = create_engine(url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url)
    upgrade(first, "0001")
    with first.begin() as conn:
        fill_first_schema(conn)
    first.dispose()
    empty.migrate()
    return empty


def test_every_target_has_a_headline_that_stands_as_its_location_did(brought_over: Store) -> None:
    with brought_over.read() as conn:
        found = dict(states.for_targets(conn))
        standing = {one.id: one for one in targets.standings(conn)}
    shop, here = found[headline(SHOP)], found[headline(SHOP)._replace(location_id=1)]
    assert shop == here._replace(due_ms=None)
    assert (here.verdict, here.since_ms, here.reason, here.due_ms) == (Verdict.DOWN, T0 + 300, "down 1", DUE_MS)
    assert found[headline(SHOP, CERTIFICATE)].verdict is Verdict.DEGRADED
    assert found[headline(PAUSED)].held
    assert standing[SHOP][5:] == ("down", T0 + 300, "down 1", T0 + 900, 1200)
    assert standing[NEW][5:] == ("unknown", 0, "", 0, None)
    assert {key.subject.id for key in found} == {SHOP, BACKUP, PAUSED}


def test_a_heartbeat_is_of_no_location_and_still_expected_once(brought_over: Store) -> None:
    with brought_over.read() as conn:
        found = dict(states.for_targets(conn, [BACKUP]))
        overdue = [key for key, _ in states.overdue(conn, DUE_MS + 1)]
        seen = checks.of_target(conn, BACKUP, from_ms=0, to_ms=2**60, limit=9)
        assert evidence.get(conn, (BACKUP, T0 + 350, HEADLINE)) == {"of": BACKUP}
        assert evidence.get(conn, (SHOP, T0 + 350, 1)) == {"of": SHOP}
    assert list(found) == [headline(BACKUP)]
    assert (found[headline(BACKUP)].verdict, found[headline(BACKUP)].due_ms) == (Verdict.UP, DUE_MS)
    assert sorted(overdue) == [headline(SHOP)._replace(location_id=1), headline(BACKUP)]
    assert [row.location_id for row in seen] == [HEADLINE]


def test_what_was_told_is_the_history_of_headlines(brought_over: Store) -> None:
    with brought_over.read() as conn:
        for target_id, after, place in [(SHOP, "down", 1), (BACKUP, "up", HEADLINE), (PAUSED, "unknown", 1)]:
            found = transitions.of_subject(conn, headline(target_id).subject, from_ms=0, to_ms=2**60)
            told = [one.transition for one in reversed(found)]
            assert [(one.key.location_id, one.before.value, one.after.value, one.at_ms) for one in told] == [
                (HEADLINE, "unknown", "degraded", T0 + 100),
                (HEADLINE, "degraded", after, T0 + 300),
            ]
            assert [(one.check_at_ms, one.check_location_id) for one in told] == [(T0 + 150, place), (T0 + 350, place)]
            assert found[1].ended_ms == T0 + 300
        unrouted = notifications.in_line(conn)
        assert [one.held for one in unrouted] == [False, False, False], "what nobody was told of is told"
        changes = [(SHOP, T0 + 100, CODES[Verdict.DEGRADED]), (SHOP, T0 + 300, CODES[Verdict.DOWN])]
        assert [tuple(row) for row in transitions.for_uptime(conn, [SHOP], T0).tolist()] == changes


def test_and_from_there_it_goes_on(brought_over: Store) -> None:
    """The location that was there has the only vote; what comes next changes the headline with it."""
    pipeline = Pipeline(brought_over, MemoryBus(), FakeClock(T0 + 2000))
    here = headline(SHOP)._replace(location_id=1)
    pipeline.write([Entry(Outcome(here, T0 + 1000, Result.PASSED, 900, "", None), Policy())])
    called = Outcome(headline(BACKUP), T0 + 1000, Result.FAILED, None, "exit 1", None)
    pipeline.write([Entry(called, Policy(failures_to_down=1))])
    with brought_over.read() as conn:
        found = states.read_many(conn, [headline(SHOP), headline(BACKUP)])
        last = transitions.of_subject(conn, headline(SHOP).subject, from_ms=0, to_ms=2**60)[0].transition
    assert (found[headline(SHOP)].verdict, found[headline(SHOP)].since_ms) == (Verdict.UP, T0 + 1000)
    assert found[headline(BACKUP)].verdict is Verdict.DOWN
    assert (last.before, last.after, last.check_location_id) == (Verdict.DOWN, Verdict.UP, 1)
