"""``--json`` everywhere: no command leaves a program to read sentences."""

from __future__ import annotations

import io
import sys

import pytest
from typer._click import Command
from typer.core import TyperGroup

from tests.cli.conftest import Commands
from tocsin.cli import main
from tocsin.cli.commands import COMMANDS, load
from tocsin.main import ROLES
from tocsin.store.engine import Store

SILENT = {"up", "collector", "edge", *ROLES}
"""Answers nothing: it runs until it is stopped."""


def leaves(name: str, command: Command) -> list[tuple[str, Command]]:
    if not isinstance(command, TyperGroup):
        return [(name, command)]
    return [leaf for each, child in command.commands.items() for leaf in leaves(f"{name} {each}", child)]


@pytest.mark.parametrize(
    ("name", "command"), [leaf for name in COMMANDS if name not in SILENT for leaf in leaves(name, load(name))]
)
def test_every_command_answers_in_json(name: str, command: Command) -> None:
    assert any("--json" in parameter.opts for parameter in command.params), name


def test_what_is_done_is_told_in_json(commands: Commands) -> None:
    commands.ok("target", "add", "http://127.0.0.1:9/")
    (paused,) = commands.ok("target", "pause", "1", "--json").json["items"]
    assert (paused["id"], paused["paused"]) == (1, True)
    (resumed,) = commands.ok("target", "resume", "1", "--json").json["items"]
    assert resumed["paused"] is False
    assert commands.ok("target", "rm", "1", "--json").json == {"removed": [1]}

    channel = commands.ok("channel", "add", "ops", "http://127.0.0.1:9/", "--json").json["id"]
    rule = commands.ok("rule", "add", "some", f"channel_ids=[{channel}]", "--json").json["id"]
    assert commands.ok("rule", "rm", str(rule), "--json").json == {"removed": [rule]}
    assert commands.ok("channel", "rm", str(channel), "--json").json == {"removed": [channel]}

    key = commands.ok("keys", "create", "x", "--scope", "read", "--json").json["id"]
    assert commands.ok("keys", "revoke", str(key), "--json").json == {"revoked": [key]}


def test_a_number_longer_than_any_is_no_target(commands: Commands) -> None:
    said = commands("target", "show", "9" * 5000)
    assert (said.code, said.err[:15]) == (1, "There is no tar")


def test_whoever_types_a_secret_holds_nobody_up(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database is free while a secret is read: a running Tocsin writes its checks there."""
    commands.ok("channel", "add", "ops", "http://127.0.0.1:9/")
    database = f"sqlite:///{commands.place / 'data' / 'tocsin.db'}"

    class Typing(io.StringIO):
        looked = False

        def readline(self, *_: object) -> str:  # type: ignore[override]
            store = Store(database, busy_timeout_s=0.1)
            with store.write():
                self.looked = True
            store.close()
            return "\n"

    typing = Typing()
    monkeypatch.setattr(sys, "stdin", typing)
    assert main(["channel", "set", "ops", "--secret", "secret"]) == 0
    assert typing.looked
