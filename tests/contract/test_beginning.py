"""What an installation has from its first start on, however many processes begin at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from tocsin.catalog import secret_key
from tocsin.catalog.beginning import begin
from tocsin.catalog.secret_key import OtherKey
from tocsin.lib.vault import Vault, VaultError
from tocsin.store import access, installation, rules, targets
from tocsin.store.engine import Store

KEY = "the key of this installation"


def test_of_several_values_the_first_is_kept(store: Store) -> None:
    with store.write() as conn:
        assert installation.get(conn, "name") is None
        assert installation.keep_first(conn, "name", "first") == "first"
        assert installation.keep_first(conn, "name", "second") == "first"
        assert installation.get(conn, "name") == "first"


def test_processes_that_begin_at_once_make_one_of_everything(store_url: str) -> None:
    """One that came after another has to wait for it, or it would find nobody there and make an administrator too."""
    copies = 6
    together = Barrier(copies)

    def copy(_: int) -> str | None:
        store = Store(store_url)
        try:
            together.wait(30)
            with store.write() as conn:
                return begin(conn, Vault(KEY), password=None, own_url="http://127.0.0.1:1/health/live", now_ms=1000)
        finally:
            store.close()

    with ThreadPoolExecutor(copies) as pool:
        passwords = [password for password in pool.map(copy, range(copies)) if password is not None]
    assert len(passwords) == 1, "one of them made up a password, and says it"
    store = Store(store_url)
    with store.read() as conn:
        assert access.count_users(conn) == 1
        assert [stored.rule.is_default for stored in rules.all_rules(conn)] == [True]
        assert len(targets.standings(conn)) == 1
    store.close()


def test_beginning_again_changes_nothing(store: Store) -> None:
    def again(now_ms: int) -> tuple[object, ...]:
        with store.write() as conn:
            made = begin(conn, Vault(KEY), password=None, own_url="http://127.0.0.1:1/", now_ms=now_ms)
            return made is None, access.user_by_name(conn, "admin"), rules.all_rules(conn), targets.standings(conn)

    first, second = again(1000), again(2000)
    assert (first[0], second[0]) == (False, True)
    assert first[1:] == second[1:]


def test_without_an_address_that_workers_can_reach_there_is_no_first_target(store: Store) -> None:
    with store.write() as conn:
        begin(conn, Vault(KEY), password="long enough", own_url=None, now_ms=1000)
        assert not targets.standings(conn)


def test_the_first_key_is_the_installations(store: Store) -> None:
    with store.write() as conn:
        assert not secret_key.is_kept(conn)
        secret_key.check(conn, Vault("any key will do before the start"))
        secret_key.keep(conn, Vault(KEY))
        assert secret_key.is_kept(conn)
        secret_key.keep(conn, Vault(KEY))
        secret_key.check(conn, Vault(KEY))
        for refuses in (secret_key.keep, secret_key.check):
            with pytest.raises(OtherKey, match="TOCSIN_SECRET_KEY"):
                refuses(conn, Vault("the key of another installation"))


def test_the_key_itself_is_not_kept(store: Store) -> None:
    vault = Vault(KEY)
    with store.write() as conn:
        secret_key.keep(conn, vault)
        kept = installation.get(conn, secret_key.KEY_CHECK)
    assert kept is not None
    assert KEY not in kept
    with pytest.raises(VaultError):
        Vault(kept).open(vault.seal({"password": "hunter2"}))
