"""Commands on a database of a later version: one that this code can work with, and one that it cannot."""

from __future__ import annotations

from pathlib import Path

from tests import later
from tests.cli.conftest import Commands


def at(commands: Commands, change: later.Change) -> Commands:
    database = Path(commands.place, "data", "tocsin.db")
    later.upgrade(f"sqlite:///{database}", change, commands.place / "later")
    return commands


def test_what_a_later_version_only_added_to_is_worked_on(commands: Commands) -> None:
    at(commands, "adds")
    said = commands.ok("target", "list", "--json")
    assert said.json == {"items": []}
    assert said.err.count("a newer version of Tocsin, which this one works with") == 1
    assert "newer version's schema, which this one works with" in commands.ok("migrate").out
    assert commands.ok("migrate", "--json").json["after"] == "newer"
    assert "made by a newer Tocsin, which this one works with" in commands("doctor").out


def test_what_a_later_version_took_away_from_is_refused_in_words(commands: Commands) -> None:
    at(commands, "takes away")
    for command in (["target", "list"], ["migrate"]):
        said = commands(*command)
        assert said.code == 1
        assert "made by a newer Tocsin. Update this one" in said.err
    said = commands("doctor")
    assert said.code == 1
    assert "made by a newer Tocsin" in said.out
