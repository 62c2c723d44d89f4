"""The schema that the migrations make, and every way of getting there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, select, text

from tocsin.store import engine, fast
from tocsin.store.engine import Store
from tocsin.store.migrations import config
from tocsin.store.tables import metadata, revisions, rollup_marks


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
        context = MigrationContext.configure(conn, opts={"compare_type": True, "compare_server_default": defaults})
        assert compare_metadata(context, metadata) == []


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
    return {f"{kind} {name}": sorted(sql.replace(",", "").split()) for kind, name, sql in found if sql is not None}


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
        assert dict(fast.fetch(conn, marks)) == {"check_hours": 77, "check_days": 77}
        assert conn.execute(select(revisions.c.value)).scalars().all() == [5]


_MIGRATE = "import sys; from tocsin.store.engine import Store; sys.stdin.readline(); Store(sys.argv[1]).migrate()"


def test_several_may_migrate_at_once(empty: Store, empty_url: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _MIGRATE, empty_url],
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
    assert empty.schema_state() == "current"


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
