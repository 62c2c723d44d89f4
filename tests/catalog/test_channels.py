"""Channels as people register them: what is refused, what is kept, what is never shown."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.clocks import FakeClock
from tests.servers import Asked, answering, reply, serving
from tocsin.catalog import channels
from tocsin.catalog.errors import Conflict, Invalid, NotFound
from tocsin.channels import CHANNELS
from tocsin.channels.base import Carrier
from tocsin.lib.net import Network
from tocsin.lib.vault import Vault, VaultError
from tocsin.store.channels import ChannelRow
from tocsin.store.engine import Store

NOW_MS = 1_800_000_000_000
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
VAULT = Vault("a key for tests, long enough")

HOOK: dict[str, Any] = {"kind": "webhook", "name": "hook", "url": "http://127.0.0.1:9/"}
MAIL: dict[str, Any] = {
    "kind": "email",
    "name": "mail",
    "host": "127.0.0.1",
    "username": "tocsin",
    "password": "correct horse",
    "from_address": "tocsin@example.org",
    "to_addresses": ["ops@example.org"],
}
APP: dict[str, Any] = {"kind": "apprise", "name": "app", "url": "json://127.0.0.1/t0k3n-t0k3n"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path / 'tocsin.db'}")
    opened.migrate()
    yield opened
    opened.close()


Create = Callable[[dict[str, Any]], ChannelRow]


@pytest.fixture
def create(store: Store) -> Create:
    def create(given: dict[str, Any]) -> ChannelRow:
        with store.write() as conn:
            return channels.create(conn, given, vault=VAULT, now_ms=NOW_MS)

    return create


@pytest.fixture
def change(store: Store) -> Callable[..., ChannelRow]:
    def change(channel_id: int, **given: object) -> ChannelRow:
        with store.write() as conn:
            return channels.change(conn, channel_id, given, vault=VAULT, now_ms=NOW_MS + 1)

    return change


def wrong(given: dict[str, Any]) -> dict[str, str]:
    """Field → message."""
    with pytest.raises(Invalid) as raised:
        channels.check(given)
    return {error.field: error.message for error in raised.value.errors}


@pytest.mark.parametrize("given", [HOOK, MAIL, APP], ids=lambda given: given["kind"])
def test_what_is_stored_is_shown_again_without_its_secrets(given: dict[str, Any], create: Create, store: Store) -> None:
    row = create(given)
    with store.read() as conn:
        found = channels.get(conn, row.id)
    assert found == row
    shown = channels.describe(found)
    secret = {"email": ["password"], "apprise": ["url"], "webhook": []}[given["kind"]]
    assert shown["secrets_set"] == secret
    for name, value in given.items():
        assert shown[name] == (None if name in secret else value)
    assert set(shown) == {
        "id",
        "name",
        "kind",
        "enabled",
        "secrets_set",
        *CHANNELS[given["kind"]].settings.model_fields,
    }
    assert channels.document(found, VAULT).items() >= given.items()


def test_secrets_are_sealed(create: Create) -> None:
    row = create(MAIL)
    assert row.settings["password"] is None
    assert row.secrets is not None
    assert b"correct horse" not in row.secrets
    assert VAULT.open(row.secrets) == {"password": "correct horse"}
    with pytest.raises(VaultError):
        channels.destination(row, Vault("another key, long enough"))
    assert channels.destination(row, VAULT).settings["password"] == "correct horse"


@pytest.mark.parametrize(
    "elsewhere", [{"host": "127.0.0.2"}, {"port": 2525}, {"security": "none"}, {"verify_tls": False}]
)
def test_no_password_is_sent_to_whom_it_was_not_given_for(
    create: Create, change: Callable[..., ChannelRow], elsewhere: dict[str, Any]
) -> None:
    row = create(MAIL)
    with pytest.raises(Invalid) as caught:
        change(row.id, **elsewhere)
    assert [error.field for error in caught.value.errors] == ["password"]
    assert next(iter(elsewhere)) in str(caught.value)
    moved = change(row.id, **elsewhere, password="given again")
    assert channels.destination(moved, VAULT).settings["password"] == "given again"


def test_a_signing_key_is_sent_to_nobody_so_it_stays(create: Create, change: Callable[..., ChannelRow]) -> None:
    row = create(HOOK | {"secret": SECRET})
    moved = change(row.id, url="http://127.0.0.2:9/")
    assert channels.destination(moved, VAULT).settings["secret"] == SECRET


def test_a_secret_stays_until_it_is_replaced_or_cleared(create: Create, change: Callable[..., ChannelRow]) -> None:
    row = create({**HOOK, "secret": SECRET})
    assert channels.describe(change(row.id, name="other"))["secrets_set"] == ["secret"]
    assert channels.describe(change(row.id, secret=None))["secrets_set"] == ["secret"]
    other = "whsec_" + base64.b64encode(bytes(32)).decode()
    assert channels.destination(change(row.id, secret=other), VAULT).settings["secret"] == other
    cleared = change(row.id, secret="")
    assert cleared.secrets is None
    assert channels.describe(cleared)["secrets_set"] == []


def test_a_replaced_channel_keeps_its_secret_and_takes_defaults(create: Create, store: Store) -> None:
    row = create({**HOOK, "secret": SECRET, "verify_tls": False, "enabled": False})
    with store.write() as conn:
        put = channels.put(
            conn, row.id, {"name": "again", "url": "http://127.0.0.1:10/"}, vault=VAULT, now_ms=NOW_MS + 1
        )
    assert channels.describe(put) == {
        "id": row.id,
        "kind": "webhook",
        "name": "again",
        "enabled": True,
        "url": "http://127.0.0.1:10/",
        "secret": None,
        "verify_tls": True,
        "secrets_set": ["secret"],
    }
    assert (put.created_ms, put.updated_ms) == (NOW_MS, NOW_MS + 1)


def test_what_a_reader_saw_can_be_sent_back(create: Create, change: Callable[..., ChannelRow]) -> None:
    row = create(MAIL)
    shown = channels.describe(row)
    del shown["id"], shown["secrets_set"]
    assert channels.destination(change(row.id, **shown), VAULT) == channels.destination(row, VAULT)


@pytest.mark.parametrize(
    ("given", "errors"),
    [
        ({}, {"kind": "required"}),
        ({"kind": "pigeon"}, {"kind": "must be one of apprise, webhook, email"}),
        ({"kind": ["webhook"]}, {"kind": "must be one of apprise, webhook, email"}),
        ({"kind": "webhook"}, {"name": "required", "url": "required"}),
        ({**HOOK, "colour": "red"}, {"colour": "unknown field"}),
        ({**HOOK, "nam": "x"}, {"nam": "unknown field; did you mean name?"}),
        ({**HOOK, "url": "gopher://x"}, {"url": "it must start with http:// or https://"}),
        ({**APP, "url": "nosuch://x"}, {"url": "Apprise knows no service nosuch://"}),
        ({**APP, "url": None}, {"url": "required"}),
        ({**MAIL, "to_addresses": ["a@example.org", "b"]}, {"to_addresses.1": "must be a mail address"}),
        ({**MAIL, "port": "25"}, {"port": "valid integer"}),
        ({**MAIL, "name": "a\nb"}, {"name": "U+000A"}),
        ({**MAIL, "username": ""}, {"": "a password needs a user name"}),
    ],
)
def test_what_is_wrong_is_named(given: dict[str, Any], errors: dict[str, str]) -> None:
    found = wrong(given)
    assert set(found) == set(errors)
    for field, words in errors.items():
        assert words in found[field]


def test_errors_do_not_repeat_secrets() -> None:
    with pytest.raises(Invalid) as raised:
        channels.check({**APP, "url": "nosuch://t0k3n-t0k3n"})
    assert "t0k3n" not in repr(raised.value.errors) + str(raised.value)


def test_a_kind_cannot_be_changed(create: Create, change: Callable[..., ChannelRow]) -> None:
    row = create(HOOK)
    with pytest.raises(Invalid, match="is webhook for good"):
        change(row.id, kind="email")


def test_a_name_is_taken_once(create: Create, change: Callable[..., ChannelRow]) -> None:
    create(HOOK)
    with pytest.raises(Conflict, match="already a channel named hook") as raised:
        create(HOOK)
    assert [error.field for error in raised.value.errors] == ["name"]
    other = create({**HOOK, "name": "other"})
    with pytest.raises(Conflict, match="already a channel named hook"):
        change(other.id, name="hook")
    assert change(other.id, name="other").name == "other"


def test_what_is_not_there_is_not_found(store: Store, change: Callable[..., ChannelRow]) -> None:
    with pytest.raises(NotFound, match="There is no channel 7"):
        change(7, name="x")
    with store.write() as conn:
        with pytest.raises(NotFound):
            channels.delete(conn, 7, now_ms=NOW_MS)
        with pytest.raises(NotFound):
            channels.get(conn, 7)


def test_a_deleted_channel_is_gone_and_its_number_is_not_given_again(create: Create, store: Store) -> None:
    row = create(HOOK)
    with store.write() as conn:
        channels.delete(conn, row.id, now_ms=NOW_MS)
        with pytest.raises(NotFound):
            channels.get(conn, row.id)
    assert create(HOOK).id > row.id


@asynccontextmanager
async def carrying() -> AsyncIterator[Carrier]:
    async with Network.open() as network:
        yield Carrier(network, FakeClock(NOW_MS))


async def test_trying_a_channel_that_works() -> None:
    asked: list[Asked] = []
    async with serving(answering(reply(b"hi"), asked)) as server, carrying() as carrier:
        checked = channels.check({**HOOK, "url": server.url, "secret": SECRET})
        delivery = await channels.send_test(checked.destination, carrier)
    assert (delivery.ok, delivery.detail) == (True, "answered 200 OK: hi")
    assert b"Test message from Tocsin" in asked[0].body
    assert asked[0].headers["webhook-id"].startswith("msg_")
    assert "webhook-signature" in asked[0].headers


async def test_trying_a_channel_that_does_not() -> None:
    async with serving(answering(reply(b"", status=404))) as server, carrying() as carrier:
        checked = channels.check({**HOOK, "url": server.url})
        delivery = await channels.send_test(checked.destination, carrier)
    assert (delivery.ok, delivery.detail) == (False, "answered 404 Not Found")
