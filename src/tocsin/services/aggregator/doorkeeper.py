"""Who may come in: asks for the key before anything of a call is read. Each service has a scope of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple, NoReturn

import grpc

from tocsin.admission import SURE_S, Admission
from tocsin.catalog.access import Identity, Scope
from tocsin.lib.clock import Clock
from tocsin.lib.log import get_logger
from tocsin.lib.rates import RateLimit
from tocsin.services.aggregator.answers import OUR_FAULT, Code, Context, Refusal
from tocsin.store.engine import StoreError

CALLS_PER_MINUTE: Final = 6000
"""Of one key, on average, and as many at once: a hundred workers on one key need less."""


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

    def __init__(self, admission: Admission, clock: Clock) -> None:
        self._admission = admission
        self._clock = clock
        self._rate = RateLimit(CALLS_PER_MINUTE)

    def identity_of(self, context: Context) -> Identity:
        """Who makes a call that was let in."""
        return self._admission.last(_key_of(context.invocation_metadata()))

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
            log.info("a key cannot be looked up now", reason=str(error))
            return _refusing(handler_call_details, Refusal(Code.UNAVAILABLE, error.outward, pushback=True))
        except Exception:
            log.exception("a key cannot be looked up")
            return _refusing(handler_call_details, OUR_FAULT)
        return await continuation(handler_call_details)

    async def _let_in(self, details: grpc.HandlerCallDetails) -> None:
        key = _key_of(details.invocation_metadata)
        scope, is_limited, sure_s = _service_of(details)
        if not key:
            raise Refusal(Code.UNAUTHENTICATED, f"a key with the scope “{scope}” is needed, as authorization: Bearer …")
        identity = await self._admission.identity(key, sure_s=sure_s)
        if identity is None:
            raise Refusal(Code.UNAUTHENTICATED, "this key is unknown or revoked")
        if not identity.may(scope):
            raise Refusal(
                Code.PERMISSION_DENIED,
                f"the key “{identity.name}” has not the scope “{scope}”; it has {', '.join(identity.scopes)}",
            )
        if is_limited and self._rate.wait_s(str(identity.key_id), now_s=self._clock.monotonic()):
            raise Refusal(
                Code.RESOURCE_EXHAUSTED, f"more than {CALLS_PER_MINUTE} calls a minute with one key", pushback=True
            )


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
