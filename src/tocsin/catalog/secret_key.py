"""One key seals the secrets of a whole installation: whoever comes with another must not begin."""

from __future__ import annotations

import hmac
from typing import Final

from sqlalchemy import Connection

from tocsin.catalog.errors import CatalogError
from tocsin.lib.vault import Vault
from tocsin.store import installation

KEY_CHECK: Final = "key_check"


class OtherKey(CatalogError):
    def __init__(self) -> None:
        super().__init__(
            "the secret key here is not the one this installation seals its secrets with. All its processes need the "
            "same: set TOCSIN_SECRET_KEY to it, or put that installation's secret.key into the data directory"
        )


def is_kept(conn: Connection) -> bool:
    """Whether the installation has been started before, and so has a key."""
    return installation.get(conn, KEY_CHECK) is not None


def check(conn: Connection, vault: Vault) -> None:
    """Raises ``OtherKey``. Before the first start every key is right."""
    kept = installation.get(conn, KEY_CHECK)
    if kept is not None and not hmac.compare_digest(kept, vault.fingerprint()):
        raise OtherKey


def keep(conn: Connection, vault: Vault) -> None:
    """From now on this is the installation's key, if it had none. Raises ``OtherKey``."""
    if not hmac.compare_digest(installation.keep_first(conn, KEY_CHECK, vault.fingerprint()), vault.fingerprint()):
        raise OtherKey
