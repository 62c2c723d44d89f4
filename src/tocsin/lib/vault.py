"""Secrets at rest: seals small JSON objects with a key that is not in the database (Fernet: AES-128-CBC, HMAC-SHA256).

Knows no table and no setting; whoever starts the process says where the key comes from.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

KEY_FILE = "secret.key"
_FINGERPRINT = b"tocsin: is this the same key?"


class VaultError(Exception):
    """A secret cannot be read with this key, or the key cannot be had. ``str()`` says what to do."""


class Vault:
    """Seals and opens with one key. ``key`` is any text of enough entropy; a Fernet key is used as it is."""

    def __init__(self, key: str) -> None:
        fernet_key = _fernet_key(key)
        self._fernet = Fernet(fernet_key)
        self._fingerprint = hmac.new(base64.urlsafe_b64decode(fernet_key), _FINGERPRINT, hashlib.sha256).hexdigest()

    @classmethod
    def in_directory(cls, data_dir: Path, *, key: str | None = None, may_make: bool = True) -> Vault:
        """The vault for a data directory: with ``key`` where one is given (TOCSIN_SECRET_KEY), otherwise with the
        key file in it, which the first caller makes (mode 0600), or ``VaultError`` when it may not."""
        return cls(key if key else _key_of_file(data_dir / KEY_FILE, may_make=may_make))

    def fingerprint(self) -> str:
        """A keyed hash, to compare keys by: the same for the same key, another for any other."""
        return self._fingerprint

    def seal(self, secrets: Mapping[str, object]) -> bytes:
        """The ciphertext of a JSON object; differs each time."""
        return self._fernet.encrypt(json.dumps(dict(secrets), separators=(",", ":")).encode())

    def open(self, sealed: bytes) -> dict[str, object]:
        """What was sealed. ``VaultError`` when it was sealed with another key or is damaged."""
        try:
            opened = json.loads(self._fernet.decrypt(sealed))
        except (InvalidToken, ValueError) as error:
            raise VaultError(
                "A stored secret cannot be decrypted: it was sealed with another key. Start with the TOCSIN_SECRET_KEY "
                f"(or the {KEY_FILE} in the data directory) it was saved under, or enter the secret again."
            ) from error
        if not isinstance(opened, dict):
            raise VaultError("A stored secret is not a JSON object.")
        return opened


def _fernet_key(key: str) -> bytes:
    try:
        if len(base64.urlsafe_b64decode(key)) == 32:
            return key.encode()
    except ValueError:
        pass  # not a Fernet key: a passphrase
    if len(key) < 16:
        raise VaultError("The secret key is too short: give TOCSIN_SECRET_KEY at least 16 characters.")
    # One hash, not a slow one: the key is machine-made; the length check keeps out the worst.
    return base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest())


def _key_of_file(path: Path, *, may_make: bool) -> str:
    """The key in ``path``, made when there is none. Two processes that start at once agree on one key."""
    if not may_make and not path.exists():
        raise VaultError(
            "There is no secret key here. All processes of an installation need the same: set TOCSIN_SECRET_KEY, or "
            f"put its {KEY_FILE} into {path.parent}."
        )
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(Fernet.generate_key() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):  # the other process was first: its key counts
                os.link(made, path)
        finally:
            made.unlink()
    try:
        key = path.read_text().strip()
    except OSError as error:
        raise VaultError(f"The key file {path} cannot be read: {error.strerror}.") from error
    if not key:
        raise VaultError(f"The key file {path} is empty. Restore it from a backup, or set TOCSIN_SECRET_KEY.")
    return key
