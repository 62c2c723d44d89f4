"""Users, their sessions and API keys at rest. Holds hashes only; knows neither how one is made nor what it allows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, update

from tocsin.store import fast, tables

U = tables.users.c
S = tables.sessions.c
K = tables.api_keys.c


class UserRow(NamedTuple):
    id: int
    name: str
    password_hash: str
    scopes: Sequence[str]


class SessionRow(NamedTuple):
    """A session that has not run out, with its user."""

    user: UserRow
    seen_ms: int


class KeyRow(NamedTuple):
    id: int
    name: str
    prefix: str
    scopes: Sequence[str]
    created_ms: int
    last_used_ms: int | None


class KeyBrief(NamedTuple):
    id: int
    name: str
    revoked: bool


_KEY_COLUMNS = (K.id, K.name, K.prefix, K.scopes, K.created_ms, K.last_used_ms)
_USER_COLUMNS = (U.id, U.name, U.password_hash, U.scopes)


# ── users ─────────────────────────────────────────────────────────────────────────────────────────────


def insert_user(conn: Connection, *, name: str, password_hash: str, scopes: Sequence[str], at_ms: int) -> int:
    values = {"name": name, "password_hash": password_hash, "scopes": list(scopes), "created_ms": at_ms}
    user_id: int = conn.execute(insert(tables.users).values(values).returning(U.id)).scalar_one()
    return user_id


def user_by_name(conn: Connection, name: str) -> UserRow | None:
    return _user(conn.execute(select(*_USER_COLUMNS).where(U.name == name)).one_or_none())


def _user(found: Any) -> UserRow | None:
    return None if found is None else UserRow(*found)


def count_users(conn: Connection) -> int:
    return conn.execute(select(func.count()).select_from(tables.users)).scalar_one()


def set_password_hash(conn: Connection, user_id: int, password_hash: str) -> None:
    conn.execute(update(tables.users).where(U.id == user_id).values(password_hash=password_hash))


# ── sessions ──────────────────────────────────────────────────────────────────────────────────────────


def insert_session(conn: Connection, *, token_hash: bytes, user_id: int, at_ms: int, expires_ms: int) -> None:
    conn.execute(
        insert(tables.sessions).values(
            token_hash=token_hash, user_id=user_id, created_ms=at_ms, seen_ms=at_ms, expires_ms=expires_ms
        )
    )


def session(conn: Connection, token_hash: bytes, *, now_ms: int) -> SessionRow | None:
    found = conn.execute(
        select(*_USER_COLUMNS, S.seen_ms)
        .join_from(tables.sessions, tables.users, S.user_id == U.id)
        .where(S.token_hash == token_hash, S.expires_ms > now_ms)
    ).one_or_none()
    return None if found is None else SessionRow(UserRow(*found[:4]), found[4])


def touch_session(conn: Connection, token_hash: bytes, *, seen_ms: int, expires_ms: int) -> None:
    conn.execute(
        update(tables.sessions).where(S.token_hash == token_hash).values(seen_ms=seen_ms, expires_ms=expires_ms)
    )


def delete_session(conn: Connection, token_hash: bytes) -> None:
    conn.execute(delete(tables.sessions).where(S.token_hash == token_hash))


def delete_other_sessions(conn: Connection, user_id: int, *, keep: bytes | None) -> None:
    """Every session of the user but ``keep``."""
    others = S.user_id == user_id
    if keep is not None:
        others &= S.token_hash != keep
    conn.execute(delete(tables.sessions).where(others))


def delete_expired_sessions(conn: Connection, *, now_ms: int) -> int:
    return conn.execute(delete(tables.sessions).where(S.expires_ms <= now_ms)).rowcount


# ── API keys ──────────────────────────────────────────────────────────────────────────────────────────


def insert_key(
    conn: Connection, *, name: str, key_hash: bytes, prefix: str, scopes: Sequence[str], at_ms: int
) -> KeyRow:
    values = {
        "name": name,
        "key_hash": key_hash,
        "prefix": prefix,
        "scopes": list(scopes),
        "created_ms": at_ms,
    }
    key_id = conn.execute(insert(tables.api_keys).values(values).returning(K.id)).scalar_one()
    return KeyRow(key_id, name, prefix, list(scopes), at_ms, None)


def key_by_hash(conn: Connection, key_hash: bytes) -> KeyRow | None:
    """None for a revoked one as well."""
    found = conn.execute(select(*_KEY_COLUMNS).where(K.key_hash == key_hash, K.revoked_ms.is_(None))).one_or_none()
    return None if found is None else KeyRow(*found)


def keys(conn: Connection, *, limit: int, after_id: int = 0) -> list[KeyRow]:
    """Those not revoked, oldest first."""
    found = conn.execute(
        select(*_KEY_COLUMNS).where(K.revoked_ms.is_(None), K.id > after_id).order_by(K.id).limit(limit)
    )
    return [KeyRow(*row) for row in found]


def live_keys(conn: Connection, ids: Collection[int]) -> set[int]:
    """Those of these that are not revoked."""
    return {found for (found,) in conn.execute(select(K.id).where(fast.among(conn, K.id, ids), K.revoked_ms.is_(None)))}


def touch_key(conn: Connection, key_id: int, *, at_ms: int) -> None:
    conn.execute(update(tables.api_keys).where(K.id == key_id).values(last_used_ms=at_ms))


def briefs(conn: Connection, key_ids: Collection[int]) -> dict[int, KeyBrief]:
    """What these keys are called, those that are revoked too."""
    statement = select(K.id, K.name, K.revoked_ms.is_not(None)).where(fast.among(conn, K.id, key_ids))
    return {key_id: KeyBrief(key_id, name, bool(revoked)) for key_id, name, revoked in conn.execute(statement)}


def revoke_key(conn: Connection, key_id: int, *, at_ms: int) -> bool:
    """False when there is no such live key."""
    done = conn.execute(update(tables.api_keys).where(K.id == key_id, K.revoked_ms.is_(None)).values(revoked_ms=at_ms))
    return done.rowcount == 1
