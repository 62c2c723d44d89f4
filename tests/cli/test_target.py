"""Targets from the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.servers import Served, served
from tests.cli.conftest import Commands
from tocsin.cli.terminal import WrongUse
from tocsin.cli.written import fields_of


@pytest.fixture
def service() -> Iterator[Served]:
    with served() as service:
        yield service


@pytest.mark.parametrize(
    ("address", "fields"),
    [
        ("https://shop.test/a?b=c", {"name": "shop.test", "kind": "http", "url": "https://shop.test/a?b=c"}),
        ("http://[::1]:80/", {"name": "::1:80", "kind": "http", "url": "http://[::1]:80/"}),
        ("tcp://db.test:5432", {"name": "db.test:5432", "kind": "tcp", "host": "db.test", "port": 5432}),
        ("ping://router.test", {"name": "router.test", "kind": "icmp", "host": "router.test"}),
        ("icmp://192.0.2.1", {"name": "192.0.2.1", "kind": "icmp", "host": "192.0.2.1"}),
        ("tls://mail.test", {"name": "mail.test", "kind": "tls", "host": "mail.test"}),
        ("tls://mail.test:993", {"name": "mail.test:993", "kind": "tls", "host": "mail.test", "port": 993}),
        ("dns://shop.test?record=MX", {"name": "shop.test", "kind": "dns", "host": "shop.test", "record": "MX"}),
    ],
)
def test_an_address_says_what_it_is(address: str, fields: dict[str, Any]) -> None:
    assert fields_of(address) == fields


@pytest.mark.parametrize("address", ["shop.test", "ftp://shop.test", "tcp://db.test", "https://", "tcp://db:99999"])
def test_an_address_that_says_nothing_is_refused(commands: Commands, address: str) -> None:
    with pytest.raises(WrongUse):
        fields_of(address)
    assert commands("target", "add", address).code == 2


@pytest.mark.parametrize(
    "address", ["https://shop.test", "tcp://db.test:5432", "ping://a.test", "dns://a.test", "tls://a.test"]
)
def test_an_address_alone_is_enough(commands: Commands, address: str) -> None:
    added = commands.ok("target", "add", address, "--json").json
    assert added["verdict"] == "unknown"
    assert commands.ok("target", "list", "--json").json["items"] == [added]


def test_options_and_fields(commands: Commands) -> None:
    added = commands.ok(
        "target", "add", "https://shop.test", "--name", "shop", "--interval", "30", "--timeout", "5", "--tag", "a",
        "--tag", "b", "--group", "web", "--assert", "status == 200", "--paused", "--set", "method=HEAD", "--set",
        'headers={"Accept": "text/html"}', "--set", "failures_to_down=3", "--set", "body=12", "--json",
    ).json  # fmt: skip
    wanted = {
        "name": "shop", "interval_s": 30, "timeout_s": 5, "tags": ["a", "b"], "group": "web", "enabled": False,
        "assert": ["status == 200"], "method": "HEAD", "headers": {"Accept": "text/html"}, "failures_to_down": 3,
        "body": "12",
    }  # fmt: skip
    assert {name: added[name] for name in wanted} == wanted


def test_every_wrong_field_is_named_on_a_line_of_its_own(commands: Commands) -> None:
    said = commands("target", "add", "https://shop.test", "--interval", "0", "--set", "colour=red")
    assert said.code == 2
    assert [line.partition(":")[0] for line in said.err.splitlines()] == ["interval_s", "colour"]
    broken = commands("target", "add", "https://shop.test", "--assert", "status ==")
    assert broken.code == 2
    assert broken.err.startswith("assert.0: ")
    assert "column" in broken.err
    assert commands.ok("target", "list", "--json").json["items"] == []


def test_a_file_is_added_as_a_whole_or_not_at_all(commands: Commands) -> None:
    good = {"name": "a", "kind": "http", "url": "https://a.test"}
    path = commands.place / "targets.json"
    path.write_text(json.dumps([good, {**good, "interval_s": 0}, {**good, "kind": "sing"}]))
    said = commands("target", "add", "--file", str(path))
    assert said.code == 2
    assert [line.partition(":")[0] for line in said.err.splitlines()] == ["1.interval_s", "2.kind"]
    assert commands.ok("target", "list", "--json").json["items"] == []

    path.write_text(json.dumps({"targets": [good, {**good, "name": "b"}]}))
    added = commands.ok("target", "add", "--file", str(path), "--json").json["items"]
    assert [target["name"] for target in added] == ["a", "b"]
    assert commands.ok("target", "add", "--file", "-", stdin=json.dumps(good)).code == 0


@pytest.mark.parametrize("text", ["no json", "[1, 2]", '"text"'])
def test_a_file_that_holds_no_targets(commands: Commands, text: str) -> None:
    assert commands("target", "add", "--file", "-", stdin=text).code == 2
    assert commands("target", "add", "--file", "nowhere.json").code == 2


def test_a_target_is_found_by_id_slug_and_name(commands: Commands) -> None:
    commands.ok("target", "add", "https://shop.test", "--name", "The Shop")
    for reference in ("1", "the-shop", "the shop"):
        assert commands.ok("target", "show", reference, "--json").json["id"] == 1
    for reference in ("2", "the-ship"):
        assert commands("target", "show", reference).code == 1
    commands.ok("target", "add", "https://shop.test", "--name", "The Shop")
    assert commands.ok("target", "show", "the-shop", "--json").json["id"] == 1, "a slug is one target's"
    several = commands("target", "show", "The Shop")
    assert several.code == 2
    assert "1, 2" in several.err


def test_a_life(commands: Commands) -> None:
    commands.ok("target", "add", "https://shop.test", "--tag", "a")

    def shown() -> dict[str, Any]:
        found: dict[str, Any] = commands.ok("target", "show", "1", "--json").json
        return found

    commands.ok("target", "set", "1", "interval_s=30", "name=shop")
    assert (shown()["interval_s"], shown()["name"]) == (30, "shop")
    assert commands("target", "set", "1", "interval_s=soon").code == 2
    commands.ok("target", "tag", "1", "b", "c")
    assert shown()["tags"] == ["a", "b", "c"]
    commands.ok("target", "tag", "1", "a", "c", "--remove")
    assert shown()["tags"] == ["b"]
    commands.ok("target", "pause", "shop")
    assert (shown()["paused"], shown()["verdict"]) == (True, "unknown")
    assert "paused" in commands.ok("target", "list").out
    commands.ok("target", "resume", "1")
    assert shown()["paused"] is False
    copy = commands.ok("target", "clone", "1", "--name", "other", "--json").json
    assert (copy["name"], copy["interval_s"], copy["id"]) == ("other", 30, 2)
    assert "shop" in commands.ok("target", "rm", "1", "2").out
    assert commands.ok("target", "list", "--json").json["items"] == []
    assert commands("target", "rm", "1").code == 1


def test_lists_are_narrowed(commands: Commands) -> None:
    commands.ok("target", "add", "https://shop.test", "--tag", "web", "--group", "sales")
    commands.ok("target", "add", "tcp://db.test:5432")

    def names(*options: str) -> list[str]:
        return [target["name"] for target in commands.ok("target", "list", *options, "--json").json["items"]]

    assert names() == ["shop.test", "db.test:5432"]
    assert (
        names("--tag", "web") == names("--kind", "http") == names("--group", "sales") == names("sho") == ["shop.test"]
    )
    assert names("--verdict", "down") == []
    assert "no such targets" in commands.ok("target", "list", "--tag", "none").out


def test_secrets_are_not_shown(commands: Commands) -> None:
    commands.ok("target", "add", "https://shop.test", "--set", "username=me", "--set", "password=sesame")
    for options in ((), ("--json",)):
        said = commands.ok("target", "show", "1", *options)
        assert "sesame" not in said.out
        assert "password" in said.out
    commands.ok("target", "set", "1", "username=you")
    assert commands.ok("target", "show", "1", "--json").json["secrets_set"] == ["password"]


def test_a_heartbeat_says_where_its_job_calls(commands: Commands) -> None:
    added = commands.ok("target", "add", "--kind", "heartbeat", "--name", "backup", "--set", "period_s=3600")
    assert "/ping/" in added.out
    assert "/ping/" in commands.ok("target", "show", "backup", "--json").json["ping_url"]
    assert commands("target", "test", "backup").code == 2


def test_a_test_says_everything_and_saves_nothing(commands: Commands, service: Served) -> None:
    said = commands.ok("target", "test", service.url, "--assert", "status == 200", "--assert", "body == 'fine'")
    for word in ("passed", "status == 200", "status = 200", "Phases", "connect", "Headers", "fine", "127.0.0.1"):
        assert word in said.out
    assert commands.ok("target", "list", "--json").json["items"] == []
    seen = commands.ok("target", "test", service.url, "--json").json
    assert (seen["result"], seen["details"]["status"]) == ("passed", 200)


def test_a_test_that_fails_ends_with_1(commands: Commands, service: Served) -> None:
    commands.ok("target", "add", service.url, "--name", "shop")
    assert commands.ok("target", "test", "shop").code == 0
    broken = commands("target", "test", "shop", "--assert", "status == 500")
    assert broken.code == 1
    assert "status == 500" in broken.out
    service.stop()
    refused = commands("target", "test", "shop", "--json")
    assert refused.code == 1
    assert refused.json["result"] == "failed"
    assert "refused" in refused.json["error"]
    assert commands("target", "test", service.url, "--set", "colour=red").code == 2
