"""Channels and rules from the command line."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.servers import Served, served
from tests.cli.conftest import Commands
from tocsin.catalog import rules
from tocsin.cli.opened import opened

SECRET = "whsec_c2VzYW1lc2VzYW1lc2VzYW1lc2VzYW1l"


@pytest.fixture
def receiver() -> Iterator[Served]:
    with served() as receiver:
        yield receiver


def test_a_channel_is_added_tried_changed_and_removed(commands: Commands, receiver: Served) -> None:
    commands.ok("channel", "add", "ops", receiver.url)
    assert "Delivered to ops" in commands.ok("channel", "test", "ops").out
    assert "test" in receiver.bodies[0]["data"]["title"].lower()
    commands.ok("channel", "set", "ops", "enabled=false", "name=operations")
    (row,) = commands.ok("channel", "list", "--json").json["items"]
    assert (row["name"], row["enabled"], row["url"]) == ("operations", False, receiver.url)
    receiver.stop()
    refused = commands("channel", "test", "1", "--json")
    assert refused.code == 1
    assert refused.json["ok"] is False
    commands.ok("channel", "rm", "operations")
    assert "nobody is told" in commands.ok("channel", "list").out
    assert commands("channel", "rm", "operations").code == 1


def test_a_secret_is_read_and_never_shown(commands: Commands, receiver: Served) -> None:
    said = commands.ok("channel", "add", "ops", receiver.url, "--secret", "secret", stdin=f"{SECRET}\n")
    listed = commands.ok("channel", "list"), commands.ok("channel", "list", "--json")
    assert listed[1].json["items"][0]["secrets_set"] == ["secret"]
    for text in (said.out, said.err, *(one.out for one in listed)):
        assert SECRET not in text
    commands.ok("channel", "test", "ops")
    commands.ok("channel", "set", "ops", "verify_tls=false")
    assert commands.ok("channel", "list", "--json").json["items"][0]["secrets_set"] == ["secret"]


def test_what_is_wrong_is_named(commands: Commands) -> None:
    mail = commands("channel", "add", "mail", "--kind", "email")
    assert mail.code == 2
    assert "host: required" in mail.err.splitlines()
    assert commands("channel", "add", "ops").code == 2
    assert commands("channel", "add", "ops", "example.test").code == 2
    assert commands("channel", "add", "ops", "--kind", "pigeon").code == 2
    commands.ok("channel", "add", "ops", "https://example.test/")
    taken = commands("channel", "add", "ops", "https://example.test/")
    assert taken.code == 1
    assert taken.err.startswith("name: ")


def test_rules(commands: Commands) -> None:
    with opened() as installation, installation.store.write() as conn:
        rules.ensure_default_rule(conn, now_ms=1)
    commands.ok("channel", "add", "ops", "https://example.test/")
    assert "every channel" in commands.ok("rule", "list").out
    commands.ok("rule", "set", "1", 'events=["down"]', "reminder_s=null")
    commands.ok("rule", "add", "shop", "channel_ids=[1]", 'tags=["shop"]')
    default, shop = sorted(commands.ok("rule", "list", "--json").json["items"], key=lambda rule: int(rule["id"]))
    assert (default["events"], default["reminder_s"], default["is_default"]) == (["down"], None, True)
    assert (shop["name"], shop["tags"], shop["channel_ids"]) == ("shop", ["shop"], [1])
    wrong = commands("rule", "add", "other", "channel_ids=[7]")
    assert wrong.code == 2
    assert wrong.err.startswith("channel_ids.0: ")
    assert commands("rule", "rm", "1").code == 1, "the default rule stays"
    commands.ok("rule", "rm", "shop")
    assert len(commands.ok("rule", "list", "--json").json["items"]) == 1
