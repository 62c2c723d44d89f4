"""Keys and passwords from the command line."""

from __future__ import annotations

from tests.cli.conftest import Commands
from tocsin.catalog import access
from tocsin.cli.opened import opened


def test_a_key_is_printed_alone_and_once_and_works_until_revoked(commands: Commands) -> None:
    made = commands.ok("keys", "create", "ci", "--scope", "write", "--scope", "ingest")
    key = made.out.strip()
    assert made.out == f"{key}\n"
    assert key not in made.err

    def identity() -> access.Identity | None:
        with opened() as installation, installation.store.read() as conn:
            return access.identify_key(conn, key, now_ms=1)

    found = identity()
    assert found is not None
    assert (found.name, found.may("write"), found.may("admin")) == ("ci", True, False)
    listed = commands.ok("keys", "list", "--json")
    assert key not in listed.out
    (row,) = listed.json["items"]
    assert (row["name"], row["scopes"], row["prefix"]) == ("ci", ["write", "ingest"], key[: len(row["prefix"])])

    commands.ok("keys", "revoke", str(row["id"]))
    assert identity() is None
    assert commands.ok("keys", "list", "--json").json["items"] == []
    assert commands("keys", "revoke", str(row["id"])).code == 1


def test_a_scope_there_is_not(commands: Commands) -> None:
    said = commands("keys", "create", "ci", "--scope", "everything")
    assert said.code == 2
    assert said.err.startswith("scopes: ")
    assert said.out == ""


def test_a_password_is_set_and_ends_sessions(commands: Commands) -> None:
    with opened() as installation, installation.store.write() as conn:
        access.ensure_admin(conn, password="the old password", now_ms=1)
        user = access.find_user(conn, "admin")
        assert user is not None
        token = access.open_session(conn, user, now_ms=1)
    said = commands.ok("user", "password", "--stdin", stdin="the new password\n")
    assert "the new password" not in said.out + said.err
    with opened() as installation, installation.store.read() as conn:
        user = access.find_user(conn, "admin")
        assert user is not None
        assert access.verify(user.password_hash, "the new password")
        assert access.identify_session(conn, token, now_ms=2) is None


def test_passwords_that_are_refused(commands: Commands) -> None:
    with opened() as installation, installation.store.write() as conn:
        access.ensure_admin(conn, password="the old password", now_ms=1)
    assert commands("user", "password", "--stdin", stdin="short\n").code == 2
    nobody = commands("user", "password", "nobody", "--stdin", stdin="the new password\n")
    assert nobody.code == 1
    assert "nobody" in nobody.err
