"""Passwords checked one at a time, on a thread of their own, so that sign-ins never disturb probing or answering."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

from tocsin.api.context import ApiContext
from tocsin.api.problems import ApiProblem
from tocsin.catalog import access
from tocsin.catalog.access import Failures, Identity
from tocsin.lib.threads import Threads
from tocsin.store.access import UserRow

P = ParamSpec("P")
T = TypeVar("T")


class SigningIn:
    """One per process. Closed with the API."""

    MOST_WAITING: Final = 20

    def __init__(self, context: ApiContext) -> None:
        self._context = context
        self._failures = Failures()
        self._thread = Threads("password", 1, niceness=10)
        self._waiting = 0

    async def sign_in(self, name: str, password: str, *, address: str) -> tuple[UserRow, str]:
        """The user, and a new session's token."""
        self._failures.begin(name, address, now_s=self._context.clock.monotonic())
        signed_in = await self._alone(self._sign_in, name, password)
        if signed_in is None:
            raise ApiProblem(401, "The name or the password is wrong.")
        self._failures.succeeded(name, address)
        return signed_in

    async def change_password(self, asker: Identity, current: str, new: str, *, address: str) -> bool:
        """False when ``current`` is not the present password."""
        access.check_new_password(new)
        self._failures.begin(asker.name, address, now_s=self._context.clock.monotonic())
        changed = await self._alone(self._change_password, asker, current, new)
        if changed:
            self._failures.succeeded(asker.name, address)
        return changed

    def close(self) -> None:
        self._thread.close()

    async def _alone(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._waiting >= self.MOST_WAITING:
            raise ApiProblem(429, "Too many people are signing in at once.", headers={"Retry-After": "2"})
        self._waiting += 1
        try:
            return await self._thread.run(work, *args, **kwargs)
        finally:
            self._waiting -= 1

    def _sign_in(self, name: str, password: str) -> tuple[UserRow, str] | None:
        store, now_ms = self._context.store, self._context.clock.now_ms()
        with store.read() as conn:
            user = access.find_user(conn, name)
        # No transaction is open while the hash is made.
        if not access.verify(user.password_hash if user else None, password) or user is None:
            return None
        with store.write() as conn:
            return user, access.open_session(conn, user, now_ms=now_ms)

    def _change_password(self, asker: Identity, current: str, new: str) -> bool:
        store = self._context.store
        with store.read() as conn:
            user = access.find_user(conn, asker.name)
        if user is None or not access.verify(user.password_hash, current):
            return False
        password_hash = access.hash_password(new)
        with store.write() as conn:
            access.set_password(conn, user.id, password_hash, keep_session=asker.session_hash)
        return True
