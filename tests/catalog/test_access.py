"""People and keys: what is stored of them, and what it takes to guess."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tocsin.catalog import access
from tocsin.catalog.access import Failures, Identity, TooManyFailures
from tocsin.catalog.errors import Invalid
from tocsin.store.engine import Store

NOW_MS = 1_800_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path / 'tocsin.db'}")
    opened.migrate()
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("own", "allowed"),
    [
        (["admin"], {"admin", "write", "read", "probe"}),
        (["write"], {"write", "read"}),
        (["read"], {"read"}),
        (["ingest"], {"ingest"}),
        (["probe"], {"probe"}),
        (["read", "ingest"], {"read", "ingest"}),
        ([], set()),
        (["from a newer version"], set()),
    ],
)
def test_scopes_hold_each_other(own: list[str], allowed: set[str]) -> None:
    identity = Identity("somebody", tuple(own))
    assert {scope for scope in ("admin", "write", "read", "ingest", "probe") if identity.may(scope)} == allowed


def test_the_first_start_makes_one_admin_and_no_second(store: Store) -> None:
    with store.write() as conn:
        made = access.ensure_admin(conn, password=None, now_ms=NOW_MS)
        assert made is not None
        assert access.ensure_admin(conn, password="another one", now_ms=NOW_MS) is None
        user = access.find_user(conn, "admin")
    assert user is not None
    assert access.verify(user.password_hash, made)
    assert not access.verify(user.password_hash, "another one")
    assert user.password_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_a_chosen_first_password_is_not_told_back(store: Store) -> None:
    with store.write() as conn:
        assert access.ensure_admin(conn, password="chosen by me", now_ms=NOW_MS) is None
        user = access.find_user(conn, "admin")
    assert user is not None
    assert access.verify(user.password_hash, "chosen by me")


def test_a_first_password_that_is_too_short_is_refused(store: Store) -> None:
    with store.write() as conn, pytest.raises(Invalid, match="8 to 1000"):
        access.ensure_admin(conn, password="short", now_ms=NOW_MS)


@pytest.mark.parametrize("stored", [None, "", "not a hash", "$argon2id$v=19$m=19456,t=2,p=1$AAAA$AAAA"])
def test_what_is_no_hash_matches_nothing(stored: str | None) -> None:
    assert not access.verify(stored, "")
    assert not access.verify(stored, "anything")


def test_nothing_that_lets_in_is_stored(store: Store, tmp_path: Path) -> None:
    with store.write() as conn:
        password = access.ensure_admin(conn, password=None, now_ms=NOW_MS)
        user = access.find_user(conn, "admin")
        assert user is not None
        token = access.open_session(conn, user, now_ms=NOW_MS)
        _, key = access.create_key(conn, name="deploy", scopes=["write"], now_ms=NOW_MS)
    with sqlite3.connect(tmp_path / "tocsin.db") as raw:
        everything = "\n".join(raw.iterdump())
    raw.close()
    assert "deploy" in everything
    for secret in (password, token, key):
        assert secret is not None
        assert secret not in everything
        assert secret.encode().hex() not in everything.lower()


def test_a_session_that_ran_out_is_removed(store: Store) -> None:
    with store.write() as conn:
        access.ensure_admin(conn, password="chosen by me", now_ms=NOW_MS)
        user = access.find_user(conn, "admin")
        assert user is not None
        old = access.open_session(conn, user, now_ms=NOW_MS)
        later_ms = NOW_MS + access.SESSION_MS
        assert access.identify_session(conn, old, now_ms=later_ms - 1) is not None
        assert access.identify_session(conn, old, now_ms=later_ms) is None
        new = access.open_session(conn, user, now_ms=later_ms)
        assert access.identify_session(conn, old, now_ms=NOW_MS) is None, "cleared away, whatever the clock says next"
        assert access.identify_session(conn, new, now_ms=later_ms) is not None


def fail(failures: Failures, name: str, address: str, *, times: int, now_s: float = 0) -> None:
    for _ in range(times):
        failures.begin(name, address, now_s=now_s)


def test_guessing_a_name_from_one_address_is_slow() -> None:
    failures = Failures()
    for number in range(10):
        failures.begin("admin", "192.0.2.1", now_s=number)
    with pytest.raises(TooManyFailures) as caught:
        failures.begin("admin", "192.0.2.1", now_s=10)
    assert caught.value.retry_after_s == 290
    failures.begin("admin", "192.0.2.1", now_s=300.5)


def test_failing_in_a_name_keeps_its_owner_elsewhere_not_out() -> None:
    failures = Failures()
    fail(failures, "admin", "192.0.2.1", times=10)
    failures.begin("admin", "192.0.2.2", now_s=1)
    failures.begin("other", "192.0.2.1", now_s=1)


def test_guessing_many_names_from_one_address_is_slow() -> None:
    failures = Failures()
    for number in range(Failures.BY_ADDRESS):
        failures.begin(f"name {number}", "192.0.2.1", now_s=0)
    with pytest.raises(TooManyFailures):
        failures.begin("another", "192.0.2.1", now_s=1)
    failures.begin("another", "192.0.2.2", now_s=1)


def test_guessing_a_name_from_everywhere_is_slow() -> None:
    failures = Failures()
    for number in range(Failures.BY_NAME):
        failures.begin("admin", f"address {number}", now_s=0)
    with pytest.raises(TooManyFailures):
        failures.begin("admin", "192.0.2.1", now_s=1)


@pytest.mark.parametrize(
    ("one", "same"), [("2001:db8::1", "2001:db8::ffff:1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("", "")]
)
def test_the_addresses_of_one_host_count_as_one(one: str, same: str) -> None:
    failures = Failures()
    fail(failures, "admin", one, times=10)
    with pytest.raises(TooManyFailures):
        failures.begin("admin", same, now_s=0)
    failures.begin("admin", "2001:db8:0:1::1", now_s=0)


def test_a_success_forgets() -> None:
    failures = Failures()
    fail(failures, "admin", "192.0.2.1", times=10)
    failures.succeeded("admin", "192.0.2.1")
    fail(failures, "admin", "192.0.2.1", times=10)


def test_a_success_forgets_no_failure_of_others() -> None:
    failures = Failures()
    fail(failures, "admin", "192.0.2.1", times=10)
    for _ in range(1000):
        failures.begin("mallory", "192.0.2.1", now_s=0)
        failures.succeeded("mallory", "192.0.2.1")
    with pytest.raises(TooManyFailures):
        failures.begin("admin", "192.0.2.1", now_s=0)


def test_no_more_than_so_many_are_remembered() -> None:
    failures = Failures()
    for number in range(Failures.MOST_ENTRIES):
        fail(failures, f"name {number}", f"address {number}", times=10)
    failures.begin("name 0", "address 0", now_s=0)
    with pytest.raises(TooManyFailures):
        failures.begin(f"name {Failures.MOST_ENTRIES - 1}", f"address {Failures.MOST_ENTRIES - 1}", now_s=0)
