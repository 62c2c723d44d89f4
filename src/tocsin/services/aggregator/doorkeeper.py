"""Who may come in: asks for the key before anything of a call is read. Each service has a scope of its own."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple, NoReturn

import grpc

from tocsin.catalog import access
from tocsin.catalog.access import Identity, Scope
from tocsin.lib.clock import Clock
from tocsin.lib.log import get_logger
from tocsin.lib.rates import RateLimit
from tocsin.lib.threads import Threads
from tocsin.services.aggregator.answers import OUR_FAULT, Code, Context, Refusal
from tocsin.store.engine import Store, StoreError

CALLS_PER_MINUTE: Final = 6000
"""Of one key, on average, and as many at once: a hundred workers on one key need less."""
KEPT: Final = 1000
"""Keys that were wrong that are remembered."""
KEPT_IDENTITIES: Final = 50_000
WRONG_S: Final = 5.0
"""A key that was wrong is not looked up again for so long."""

SURE_S: Final = 2.0
"""A key that makes calls all the time is looked up again this often."""


class Service(NamedTuple):
    """What a key needs; whether its calls a minute are limited; for how long it is not looked up again."""

    scope: Scope
    is_limited: bool = True
    sure_s: float = 0.0


SERVICES: Final[Mapping[str, Service]] = {
    "tocsin.v1.Probing": Service("probe"),
    "tocsin.v1.Collection": Service("ingest"),
    # A Collector may export for hundreds of machines; what is too much is for its door to say.
    "opentelemetry.proto.collector.metrics.v1.MetricsService": Service("ingest", is_limited=False, sure_s=SURE_S),
}
"""For one that there is not a key is needed all the same."""
_OTHERWISE: Final = Service("probe")
_CALLS: Final = frozenset({"Renew", "Load", "Write", "Leave", "Stream", "Export"})
"""Those that are counted by their names."""

log = get_logger("aggregator")


class Doorkeeper(grpc.aio.ServerInterceptor):
    """Asks for the key before anything of the message is read."""

    def __init__(self, store: Store, clock: Clock, threads: Threads) -> None:
        self._store = store
        self._clock = clock
        self._threads = threads
        self._rate = RateLimit(CALLS_PER_MINUTE)
        self._wrong: OrderedDict[str, float] = OrderedDict()
        """Keys that were wrong, each with when it was looked up, oldest first."""
        self._let: OrderedDict[str, tuple[Identity, float]] = OrderedDict()
        """Whom the keys belong to that were let in, each with when it was looked up."""

    def identity_of(self, context: Context) -> Identity:
        """Who makes a call that was let in."""
        return self._let[_key_of(context.invocation_metadata())][0]

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        try:
            await self._let_in(handler_call_details)
        except Refusal as refusal:
            return _refusing(handler_call_details, refusal)
        except StoreError as error:
            return _refusing(handler_call_details, Refusal(Code.UNAVAILABLE, str(error), pushback=True))
        except Exception:
            log.exception("a key cannot be looked up")
            return _refusing(handler_call_details, OUR_FAULT)
        return await continuation(handler_call_details)

    async def _let_in(self, details: grpc.HandlerCallDetails) -> None:
        key = _key_of(details.invocation_metadata)
        scope, is_limited, sure_s = _service_of(details)
        if not key:
            raise Refusal(Code.UNAUTHENTICATED, f"a key with the scope “{scope}” is needed, as authorization: Bearer …")
        now_s = self._clock.monotonic()
        if now_s - self._wrong.get(key, float("-inf")) < WRONG_S:
            raise _wrong_key()
        known = self._let.get(key)
        if known is not None and now_s - known[1] < sure_s:
            identity: Identity | None = known[0]
        else:
            identity = await self._threads.run(self._identity, key)
            known = None
        if identity is None:
            self._wrong[key] = now_s
            self._wrong.move_to_end(key)
            if len(self._wrong) > KEPT:
                self._wrong.popitem(last=False)
            raise _wrong_key()
        if not identity.may(scope):
            raise Refusal(
                Code.PERMISSION_DENIED,
                f"the key “{identity.name}” has not the scope “{scope}”; it has {', '.join(identity.scopes)}",
            )
        if is_limited and self._rate.wait_s(str(identity.key_id), now_s=now_s):
            raise Refusal(
                Code.RESOURCE_EXHAUSTED, f"more than {CALLS_PER_MINUTE} calls a minute with one key", pushback=True
            )
        if known is None:
            self._let[key] = identity, now_s
        self._let.move_to_end(key)
        if len(self._let) > KEPT_IDENTITIES:
            self._let.popitem(last=False)

    def _identity(self, key: str) -> Identity | None:
        """On a thread."""
        now_ms = self._clock.now_ms()
        with self._store.read() as conn:
            identity = access.identify_key(conn, key, now_ms=now_ms)
        if identity is not None and identity.stale:
            try:
                with self._store.write() as conn:
                    access.note_use(conn, identity, now_ms=now_ms)
            except StoreError as error:
                log.info("the use of a key was not noted", name=identity.name, reason=str(error))
        return identity


def _wrong_key() -> Refusal:
    return Refusal(Code.UNAUTHENTICATED, "this key is unknown or revoked")


def _key_of(metadata: Any) -> str:
    """Empty where there is none."""
    key = ""
    for name, value in metadata or ():
        if name == "authorization":
            scheme, _, token = str(value).partition(" ")
            if scheme.lower() == "bearer":
                return token
        elif name == "x-api-key":
            key = str(value)
    return key


def _service_of(details: grpc.HandlerCallDetails) -> Service:
    return SERVICES.get(details.method.strip("/").rpartition("/")[0], _OTHERWISE)


def _refusing(details: grpc.HandlerCallDetails, refusal: Refusal) -> Any:
    name = details.method.rpartition("/")[2]
    call = name if name in _CALLS else "other"

    async def refused(_: Any, context: Context) -> NoReturn:
        await refusal.answer(call, context)

    if name == "Stream":
        return grpc.stream_stream_rpc_method_handler(refused)  # without waiting for what it would say
    return grpc.unary_unary_rpc_method_handler(refused)
