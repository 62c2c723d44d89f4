"""Who may: users and their sessions, API keys and their scopes. Only hashes are stored.

Knows no HTTP. ``verify`` and ``hash_password`` take 20 ms of one core and 19 MiB on purpose: callers run them one at
a time, beside the event loop.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import OrderedDict, deque
from collections.abc import Collection
from functools import cache, lru_cache
from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import Final, Literal, NamedTuple

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError
from sqlalchemy import Connection

from tocsin.catalog.errors import CatalogError, FieldError, Invalid, NotFound
from tocsin.store import access as store_access
from tocsin.store.access import KeyRow, UserRow

Scope = Literal["admin", "write", "read", "ingest", "probe"]

# What each scope allows. Ingest and probe stand apart: a key that pushes reports need not read anything, and one of a
# worker far away reads targets with their secrets, which no reader of the API may see.
_ALLOWS: Final[dict[str, frozenset[str]]] = {
    "admin": frozenset({"admin", "write", "read", "probe"}),
    "write": frozenset({"write", "read"}),
    "read": frozenset({"read"}),
    "ingest": frozenset({"ingest"}),
    "probe": frozenset({"probe"}),
}

ADMIN_NAME = "admin"
SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 1000
SESSION_MS = 30 * 86_400_000
"""A session ends this long after it was last used."""
SESSION_TOUCH_MS = 3_600_000
"""How much a session is used between two notes of it."""
KEY_TOUCH_MS = 60_000
KEY_BEGIN = "tcs_"
LONGEST_KEY = 100
_PREFIX_LENGTH = 8


class Identity(NamedTuple):
    """Who asks. ``user_id`` and ``session_hash`` are None for an API key, ``key_id`` for a person."""

    name: str
    scopes: tuple[str, ...]
    user_id: int | None = None
    session_hash: bytes | None = None
    key_id: int | None = None
    stale: bool = False
    """It is time to note that it was used (``note_use``)."""

    def may(self, scope: Scope) -> bool:
        return scope in _allowed(self.scopes)


@lru_cache(256)
def _allowed(scopes: tuple[str, ...]) -> frozenset[str]:
    return frozenset().union(*(_ALLOWS.get(own, ()) for own in scopes))


class TooManyFailures(CatalogError):
    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"Too many failed sign-ins. Try again in {retry_after_s} s.")
        self.retry_after_s = retry_after_s


# ── passwords ─────────────────────────────────────────────────────────────────────────────────────────

# OWASP's first recommendation for argon2id: m = 19 MiB, t = 2, p = 1.
_hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)


def hash_password(password: str) -> str:
    return _hasher.hash(password)


@cache
def _nobodys_hash() -> str:
    return _hasher.hash(secrets.token_urlsafe(16))


def verify(password_hash: str | None, password: str) -> bool:
    """Takes as long for a user there is not (None) as for a wrong password."""
    try:
        matches = _hasher.verify(password_hash or _nobodys_hash(), password)
    except (VerifyMismatchError, VerificationError, InvalidHashError):
        return False
    return matches and password_hash is not None


def _check_password(field: str, password: str) -> None:
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise Invalid([FieldError(field, f"must have {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters")])


def ensure_admin(conn: Connection, *, password: str | None, now_ms: int) -> str | None:
    """Makes the first user where there is none. Returns the password when it had to be made up: show it once."""
    if store_access.count_users(conn):
        return None
    made = None if password else secrets.token_urlsafe(15)
    chosen = password or made or ""
    _check_password("admin_password", chosen)
    store_access.insert_user(conn, name=ADMIN_NAME, password_hash=hash_password(chosen), scopes=["admin"], at_ms=now_ms)
    return made


def find_user(conn: Connection, name: str) -> UserRow | None:
    return store_access.user_by_name(conn, name)


def set_password(conn: Connection, user_id: int, password_hash: str, *, keep_session: bytes | None) -> None:
    """Every other session of the user ends."""
    store_access.set_password_hash(conn, user_id, password_hash)
    store_access.delete_other_sessions(conn, user_id, keep=keep_session)


def check_new_password(password: str) -> None:
    _check_password("new", password)


# ── sessions and keys ─────────────────────────────────────────────────────────────────────────────────


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def open_session(conn: Connection, user: UserRow, *, now_ms: int) -> str:
    """A new session's token: 256 random bits, stored only as a hash. Sessions that have run out are cleared away."""
    store_access.delete_expired_sessions(conn, now_ms=now_ms)
    token = secrets.token_urlsafe(32)
    store_access.insert_session(
        conn, token_hash=_digest(token), user_id=user.id, at_ms=now_ms, expires_ms=now_ms + SESSION_MS
    )
    return token


def end_session(conn: Connection, session_hash: bytes) -> None:
    store_access.delete_session(conn, session_hash)


def identify_session(conn: Connection, token: str, *, now_ms: int) -> Identity | None:
    token_hash = _digest(token)
    found = store_access.session(conn, token_hash, now_ms=now_ms)
    if found is None:
        return None
    user = found.user
    return Identity(
        user.name,
        tuple(user.scopes),
        user_id=user.id,
        session_hash=token_hash,
        stale=now_ms - found.seen_ms >= SESSION_TOUCH_MS,
    )


def may_be_key(text: str) -> bool:
    """By its looks."""
    return text.startswith(KEY_BEGIN) and len(text) <= LONGEST_KEY


def identify_key(conn: Connection, key: str, *, now_ms: int) -> Identity | None:
    if not may_be_key(key):
        return None
    found = store_access.key_by_hash(conn, _digest(key))
    if found is None:
        return None
    stale = found.last_used_ms is None or now_ms - found.last_used_ms >= KEY_TOUCH_MS
    return Identity(found.name, tuple(found.scopes), key_id=found.id, stale=stale)


def note_use(conn: Connection, identity: Identity, *, now_ms: int) -> None:
    if identity.session_hash is not None:
        store_access.touch_session(conn, identity.session_hash, seen_ms=now_ms, expires_ms=now_ms + SESSION_MS)
    if identity.key_id is not None:
        store_access.touch_key(conn, identity.key_id, at_ms=now_ms)


def create_key(conn: Connection, *, name: str, scopes: Collection[str], now_ms: int) -> tuple[KeyRow, str]:
    """The stored key, and the key itself: show it once."""
    wrong = []
    name = name.strip()
    if not 1 <= len(name) <= 200 or not name.isprintable():
        wrong.append(FieldError("name", "must have 1 to 200 printable characters"))
    unknown = sorted(set(scopes) - _ALLOWS.keys())
    if unknown or not scopes:
        wrong.append(FieldError("scopes", f"must be some of {', '.join(_ALLOWS)}"))
    if wrong:
        raise Invalid(wrong)
    key = KEY_BEGIN + secrets.token_urlsafe(30)
    row = store_access.insert_key(
        conn,
        name=name,
        key_hash=_digest(key),
        prefix=key[:_PREFIX_LENGTH],
        scopes=[scope for scope in _ALLOWS if scope in scopes],
        at_ms=now_ms,
    )
    return row, key


def list_keys(conn: Connection, *, limit: int, after_id: int = 0) -> list[KeyRow]:
    return store_access.keys(conn, limit=limit, after_id=after_id)


def live_keys(conn: Connection, ids: Collection[int]) -> set[int]:
    """Those of these keys that are not revoked."""
    return store_access.live_keys(conn, ids)


def revoke_key(conn: Connection, key_id: int, *, now_ms: int) -> None:
    if not store_access.revoke_key(conn, key_id, at_ms=now_ms):
        raise NotFound(f"There is no key {key_id}.")


# ── guessing ──────────────────────────────────────────────────────────────────────────────────────────


class Failures:
    """Counts failed sign-ins in this process and says when it is enough.

    Three counts, so that guessing is slow and yet nobody can keep another one out by failing in their name: by name
    and address together, by address (many names from one place), and, far higher, by name (many places). Bounded:
    what was heard of longest ago is forgotten first. Safe to share between threads.
    """

    BY_BOTH: Final = 10
    BY_ADDRESS: Final = 50
    BY_NAME: Final = 500
    WINDOW_S: Final = 300.0
    MOST_ENTRIES: Final = 10_000

    def __init__(self) -> None:
        self._times: OrderedDict[tuple[str, ...], deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, name: str, address: str, *, now_s: float) -> None:
        """Counts an attempt, as failed until it has ``succeeded``: many at once gain nothing. ``now_s`` is monotonic.

        Raises ``TooManyFailures``, and counts nothing, when there have been too many.
        """
        counts = self._counts(name, address)
        with self._lock:
            wait_s = max(self._wait_s(key, limit, now_s) for key, limit in counts.items())
            if wait_s > 0:
                raise TooManyFailures(max(1, round(wait_s)))
            for key, limit in counts.items():
                self._times.setdefault(key, deque(maxlen=limit)).append(now_s)
                self._times.move_to_end(key)
            while len(self._times) > self.MOST_ENTRIES:
                self._times.popitem(last=False)

    def succeeded(self, name: str, address: str) -> None:
        """Whoever it is may mistype again. The wider counts lose this one attempt only: others' failures stay."""
        with self._lock:
            for key, limit in self._counts(name, address).items():
                times = self._times.get(key)
                if times is not None and limit == self.BY_BOTH:
                    del self._times[key]
                elif times:
                    times.pop()

    def _counts(self, name: str, address: str) -> dict[tuple[str, ...], int]:
        place = _place_of(address)
        return {("both", name, place): self.BY_BOTH, ("address", place): self.BY_ADDRESS, ("name", name): self.BY_NAME}

    def _wait_s(self, key: tuple[str, ...], limit: int, now_s: float) -> float:
        times = self._times.get(key)
        if times is None or len(times) < limit:
            return 0.0
        return times[0] + self.WINDOW_S - now_s


def _place_of(address: str) -> str:
    """Who an address stands for: one host has a whole IPv6 /64 to itself."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv4Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Network((int(parsed) >> 64 << 64, 64)))
