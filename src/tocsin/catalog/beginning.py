"""What an installation has from its first start on."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from tocsin.catalog import access, rules, targets
from tocsin.lib.vault import Vault
from tocsin.store import installation

BEGUN: Final = "begun_ms"


def begin(conn: Connection, vault: Vault, *, password: str | None, own_url: str | None, now_ms: int) -> str | None:
    """Somebody who may sign in, a rule, and Tocsin itself as the first target, where ``own_url`` says how its workers
    reach it. Returns the password of ``admin`` when it had to be made up: show it once.

    Several processes may begin at once: one goes first, the others wait for it and find everything there.
    """
    installation.keep_first(conn, BEGUN, str(now_ms))
    made = access.ensure_admin(conn, password=password, now_ms=now_ms)
    rules.ensure_default_rule(conn, now_ms=now_ms)
    if own_url is not None:
        targets.ensure_own(conn, vault, url=own_url, now_ms=now_ms)
    return made
