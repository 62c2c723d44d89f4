"""What the aggregator answers, and how it refuses: in its own words, with the field that is wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, NoReturn, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from tocsin import wire
from tocsin.home import IdentityInUse
from tocsin.lib import metrics
from tocsin.lib.log import get_logger
from tocsin.store.engine import StoreError

PUSHBACK_MS: Final = 2000

Code = grpc.StatusCode
T = TypeVar("T")
M = TypeVar("M", bound=Message)
Context = grpc.aio.ServicerContext[Any, Any]
log = get_logger("aggregator")


class Refusal(Exception):
    """What is answered instead; ``pushback``: it is worth trying again, and not at once."""

    def __init__(self, code: Code, details: str, *, pushback: bool = False) -> None:
        super().__init__(details)
        self._code = code
        self._details = details
        self._pushback = pushback

    async def answer(self, call: str, context: Context) -> NoReturn:
        metrics.REMOTE_CALLS.labels(call, self._code.name.lower()).inc()
        trailing = ((wire.PUSHBACK, str(PUSHBACK_MS)),) if self._pushback else ()
        await context.abort(self._code, self._details, trailing)


OUR_FAULT: Final = Refusal(Code.INTERNAL, "our fault; the aggregator's log says more")


def parsed(kind: type[M], body: bytes) -> M:
    try:
        return kind.FromString(body)
    except DecodeError as error:
        raise Refusal(Code.INVALID_ARGUMENT, f"this is no {kind.DESCRIPTOR.name}") from error


async def answered(
    call: str, kind: type[M], serve: Callable[[M], Awaitable[Message]], body: bytes, context: Context
) -> bytes:
    async def answer() -> bytes:
        return (await serve(parsed(kind, body))).SerializeToString()

    return await or_refused(call, answer(), context)


async def or_refused(call: str, work: Awaitable[T], context: Context) -> T:
    try:
        answer = await work
    except Refusal as refusal:
        await refusal.answer(call, context)
    except wire.Unfit as unfit:
        await Refusal(Code.INVALID_ARGUMENT, str(unfit)).answer(call, context)
    except IdentityInUse:
        await Refusal(Code.ALREADY_EXISTS, "another process has this worker's identity").answer(call, context)
    except StoreError as error:
        log.info("a worker waits for the database", reason=str(error))
        await Refusal(Code.UNAVAILABLE, error.outward, pushback=True).answer(call, context)
    except Exception:
        log.exception("a call failed", call=call)
        await OUR_FAULT.answer(call, context)
    metrics.REMOTE_CALLS.labels(call, "ok").inc()
    return answer
