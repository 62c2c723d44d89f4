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
        (["admin"], {"admin", "write", "read"}),
        (["write"], {"write", "read"}),
        (["read"], {"read"}),
        (["ingest"], {"ingest"}),
        (["read", "ingest"], {"read", "ingest"}),
        ([], set()),
        (["from a newer version"], set()),
    ],
)
def test_scopes_hold_each_other(own: list[str], allowed: set[str]) -> None:
    identity = Identity("somebody", tuple(own))
    assert {scope for scope in ("admin", "write", "read", "ingest") if identity.may(scope)} == allowed


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


def test_failures_count_by_every_name_they_are_known_by() -> None:
    failures = Failures()
    for number in range(10):
        failures.add([f"address {number}", "name admin"], now_s=number)
    with pytest.raises(TooManyFailures) as caught:
        failures.check(["address new", "name admin"], now_s=10)
    assert caught.value.retry_after_s == 290
    failures.check(["address 0", "name other"], now_s=10)
    failures.check(["address new", "name admin"], now_s=300.5)


def test_a_success_forgets() -> None:
    failures = Failures()
    for _ in range(10):
        failures.add(["name admin"], now_s=0)
    failures.forget(["name admin"])
    failures.check(["name admin"], now_s=0)


def test_no_more_than_so_many_are_remembered() -> None:
    failures = Failures()
    for number in range(Failures.MOST_ENTRIES + 5):
        for _ in range(10):
            failures.add([str(number)], now_s=0)
    failures.check(["0"], now_s=0)
    with pytest.raises(TooManyFailures):
        failures.check([str(Failures.MOST_ENTRIES)], now_s=0)
