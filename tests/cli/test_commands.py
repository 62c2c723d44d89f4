"""What holds for every command: quick help, exit codes, errors in words and without a traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.conftest import Commands
from tocsin import __version__
from tocsin.catalog.errors import Conflict, FieldError, Invalid, NotFound
from tocsin.cli.commands import COMMANDS, load
from tocsin.cli.terminal import duration, explain, when
from tocsin.store.engine import StoreBusy, StoreUnavailable


def test_help_names_every_command_and_loads_none() -> None:
    asked = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from tocsin.cli import main; code = main(['--help']);"
            "print(sorted({'sqlalchemy', 'pydantic', 'pycurl', 'fastapi'} & sys.modules.keys())); sys.exit(code)",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.splitlines()[-1] == "[]"
    for name in COMMANDS:
        assert f" {name} " in asked.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(commands: Commands, name: str) -> None:
    said = commands.ok(name, "--help")
    assert "Usage: tocsin" in said.out
    assert load(name).name == name


def test_the_version(bare: Commands) -> None:
    assert bare.ok("--version").out == f"tocsin {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [("sing",), ("target", "sing"), ("target", "list", "--loud"), ("keys", "create"), ("up", "--port", "x")],
)
def test_wrong_use_ends_with_2(commands: Commands, arguments: tuple[str, ...]) -> None:
    said = commands(*arguments)
    assert said.code == 2
    assert "Usage: tocsin" in said.err


@pytest.mark.parametrize("arguments", [("target", "list"), ("keys", "list"), ("channel", "list"), ("rule", "list")])
def test_without_a_database_it_says_how_to_get_one(bare: Commands, arguments: tuple[str, ...]) -> None:
    said = bare(*arguments)
    assert said.code == 1
    assert "tocsin migrate" in said.err
    assert not (bare.place / "data").exists(), "looking must not make anything"


def test_a_file_that_is_no_database_is_said_to_be_none(bare: Commands) -> None:
    (bare.place / "data").mkdir()
    (bare.place / "data" / "tocsin.db").write_bytes(b"not a database at all" * 100)
    said = bare("target", "list")
    assert said.code == 1
    assert "not a SQLite database" in said.err
    assert "Traceback" not in said.err


def test_migrate_can_be_repeated(bare: Commands) -> None:
    assert bare.ok("migrate", "--json").json["before"] == "empty"
    again = bare.ok("migrate", "--json").json
    assert (again["before"], again["after"]) == ("current", "current")
    assert "Nothing to do" in bare.ok("migrate").out


def test_errors_in_words() -> None:
    def told(error: Exception) -> tuple[str, int]:
        explained = explain(error)
        assert explained is not None
        return explained.text, explained.exit_code

    wrong = Invalid([FieldError("interval_s", "is too short"), FieldError("assert.0", "unexpected end", 1, 7)])
    assert told(wrong) == ("interval_s: is too short\nassert.0: unexpected end (line 1, column 7)", 2)
    assert told(NotFound("There is no target 9.")) == ("There is no target 9.", 1)
    assert told(Conflict("Taken.", [FieldError("name", "another has it")])) == ("name: another has it", 1)
    busy, code = told(StoreBusy("the database is locked by another process"))
    assert "locked by another process" in busy
    assert code == 1
    lost, code = told(StoreUnavailable("the database cannot be used: the disk is full"))
    assert lost.startswith("The database cannot be used: the disk is full.")
    assert code == 1
    assert explain(ValueError("a defect")) is None, "what nobody foresaw is not hidden"


@pytest.mark.parametrize(
    ("length_ms", "words"),
    [
        (0, "0 s"),
        (41_000, "41 s"),
        (60_000, "1 min"),
        (8_040_000, "2 h 14 min"),
        (7_200_000, "2 h"),
        (273_600_000, "3 d 4 h"),
    ],
)
def test_durations_as_people_say_them(length_ms: int, words: str) -> None:
    assert duration(length_ms) == words


def test_never_and_the_future() -> None:
    assert when(None, 5) == "–"
    assert when(9000, 5000) == "0 s ago"
