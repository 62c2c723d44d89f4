"""Secrets at rest: only the right key opens them, and the key file is nobody else's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from tocsin.lib.vault import KEY_FILE, Vault, VaultError

PASSPHRASE = "correct horse battery staple"


@given(st.dictionaries(st.text(), st.text()))
def test_what_was_sealed_is_opened(secrets: dict[str, str]) -> None:
    vault = Vault(PASSPHRASE)
    assert vault.open(vault.seal(secrets)) == secrets


def test_the_same_secret_never_looks_the_same_and_never_shows() -> None:
    vault = Vault(Fernet.generate_key().decode())
    first, second = vault.seal({"password": "hunter2"}), vault.seal({"password": "hunter2"})
    assert first != second
    assert b"hunter2" not in first


@pytest.mark.parametrize("damage", [lambda sealed: sealed[:-1] + b"A", lambda _: b"", lambda _: b"\xff\x00"])
def test_a_damaged_secret_is_refused(damage: object) -> None:
    vault = Vault(PASSPHRASE)
    assert callable(damage)
    with pytest.raises(VaultError, match="TOCSIN_SECRET_KEY"):
        vault.open(damage(vault.seal({"password": "hunter2"})))


def test_another_key_is_refused_in_words_that_help() -> None:
    sealed = Vault(PASSPHRASE).seal({"password": "hunter2"})
    with pytest.raises(VaultError, match="another key"):
        Vault(PASSPHRASE + "!").open(sealed)


def test_a_short_key_is_refused() -> None:
    with pytest.raises(VaultError, match="at least 16"):
        Vault("short")


def test_a_key_that_is_no_ascii_is_a_passphrase() -> None:
    vault = Vault("schlüssel-für-die-kammer")
    assert vault.open(vault.seal({"a": "b"})) == {"a": "b"}


def test_the_key_file_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    data_dir = tmp_path / "not yet there"
    sealed = Vault.in_directory(data_dir).seal({"a": "b"})
    assert (data_dir / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert Vault.in_directory(data_dir).open(sealed) == {"a": "b"}
    assert [path.name for path in data_dir.iterdir()] == [KEY_FILE]


def test_a_given_key_makes_no_file(tmp_path: Path) -> None:
    Vault.in_directory(tmp_path, key=PASSPHRASE)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_key_file_is_named(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).touch()
    with pytest.raises(VaultError, match=r"secret\.key is empty"):
        Vault.in_directory(tmp_path)


def test_processes_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tocsin.lib.vault import Vault; "
        "sys.stdin.read(1); print(Vault.in_directory(Path(sys.argv[1])).seal({'a': 'b'}).decode())"
    )
    starters = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    for starter in starters:
        assert starter.stdin is not None
        starter.stdin.write("g")
        starter.stdin.flush()
    answers = [starter.communicate(timeout=30)[0].strip() for starter in starters]
    vault = Vault.in_directory(tmp_path)
    assert [vault.open(answer.encode()) for answer in answers] == [{"a": "b"}] * 3
