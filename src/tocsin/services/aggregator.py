"""The door for workers far away: takes their calls over gRPC and does for each what a worker beside the database does
by itself. Holds nothing between two calls that another copy would need.

Knows no probe and decides no verdict. What comes in is read and refused by ``wire``; who may come in is asked of the
catalog before anything of a call is read.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from sqlalchemy import Connection

from tocsin import wire
from tocsin.catalog import access
from tocsin.catalog.access import Identity
from tocsin.core.decide import Policy, unsettled
from tocsin.core.outcome import CERTIFICATE
from tocsin.core.target import CERTIFICATE_POLICY
from tocsin.home import Home, IdentityInUse, Introduction
from tocsin.lib import metrics
from tocsin.lib.clock import Clock
from tocsin.lib.log import get_logger
from tocsin.lib.rates import RateLimit
from tocsin.lib.threads import Threads
from tocsin.pipeline import Settled
from tocsin.store import locations
from tocsin.store.engine import Store, StoreError
from tocsin.v1 import probing_pb2 as pb

SCOPE: Final = "probe"
CALLS_PER_MINUTE: Final = 6000
"""Of one key, on average, and as many at once: a hundred workers on one key need less."""
WRITES: Final = 4
"""Batches written at once; the rest wait their turn."""
OLD_MS: Final = 60_000
"""A batch older than this was kept while its worker was cut off. Of those one is written at a time, so that workers
that all come back at once keep nobody's fresh results waiting."""
MOST_WAITING: Final = 64
"""Batches that wait for their turn; one more is sent away for a while."""
PUSHBACK_MS: Final = 2000
STOP_S: Final = 0.5
"""Calls under way get this long to end."""
KEPT: Final = 1000
"""Homes, and keys that were wrong, that are remembered."""
WRONG_S: Final = 5.0
"""A key that was wrong is not looked up again for so long."""

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", wire.LARGEST_MESSAGE_BYTES),
    ("grpc.max_metadata_size", 16_384),
    ("grpc.max_concurrent_streams", 100),
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.so_reuseport", 0),  # a taken port is to be said, not shared
    # Workers ask every 10 s whether the connection is still there; and so do we, or dead ones would pile up.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # Now and then each worker connects anew, so that copies that were added later get their share.
    ("grpc.max_connection_age_ms", 1_800_000),
    ("grpc.max_connection_age_grace_ms", 30_000),
)

_SERVICE: Final = pb.DESCRIPTOR.services_by_name["Probing"]

Code = grpc.StatusCode
T = TypeVar("T")
M = TypeVar("M", bound=Message)
Context = grpc.aio.ServicerContext[Any, Any]
Policies = Callable[[Connection, int, Collection[int]], Mapping[int, Policy]]
"""The policies of those of these targets that a location probes."""
log = get_logger("aggregator")


@dataclass(frozen=True, slots=True)
class AggregatorSettings:
    host: str
    port: int
    """0 takes a free one."""
    certificate_file: Path | None = None
    """PEM, with the chain; with ``key_file`` for TLS, without either for none."""
    key_file: Path | None = None


class CannotListen(Exception):
    """Why nobody can be let in, and what to do about it, in one line."""


class Aggregator:
    """``homes`` gives the centre as one worker meets it, marked as far away."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        homes: Callable[[Introduction], Home],
        policies: Policies,
        settings: AggregatorSettings,
    ) -> None:
        self._store = store
        self._clock = clock
        self._make_home = homes
        self._policies = policies
        self._settings = settings
        self._homes: OrderedDict[tuple[str, str, str], Home] = OrderedDict()
        self._waiting = 0
        self.port = 0
        """Where it listens, once ``begun``."""
        self.begun = asyncio.Event()
        """It answers, or never will."""

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop`` is set; calls under way then get STOP_S. Raises CannotListen."""
        self._asking = Threads("aggregator", 4)
        self._writing = Threads("aggregator-write", WRITES)
        self._turns = asyncio.Semaphore(WRITES)
        self._old_turn = asyncio.Semaphore(1)
        doorkeeper = _Doorkeeper(self._store, self._clock, self._asking)
        server = grpc.aio.server(interceptors=[doorkeeper], options=_OPTIONS, maximum_concurrent_rpcs=1000)
        server.add_generic_rpc_handlers([self._handlers()])
        try:
            self.port = self._listen(server)
            await server.start()
            log.info("workers far away may report", port=self.port, tls=self._settings.certificate_file is not None)
            self.begun.set()
            await stop.wait()
        finally:
            self.begun.set()
            await server.stop(STOP_S)
            self._asking.close()
            self._writing.close()

    def _listen(self, server: grpc.aio.Server) -> int:
        settings = self._settings
        address = f"{f'[{settings.host}]' if ':' in settings.host else settings.host}:{settings.port}"
        try:
            if settings.certificate_file is None or settings.key_file is None:
                return server.add_insecure_port(address)
            pair = settings.key_file.read_bytes(), settings.certificate_file.read_bytes()
            return server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
        except OSError as error:
            raise CannotListen(f"{error.filename} cannot be read: {error.strerror}") from error
        except RuntimeError as error:
            raise CannotListen(
                f"{address} cannot be listened on; TOCSIN_GRPC_PORT names another port. Where TLS is meant, "
                "TOCSIN_GRPC_CERT and TOCSIN_GRPC_KEY must be a certificate and its key"
            ) from error

    def _handlers(self) -> grpc.GenericRpcHandler:
        """Requests come as bytes: those that make no sense are answered in our words, not in the library's."""
        unary = grpc.unary_unary_rpc_method_handler
        return grpc.method_handlers_generic_handler(
            _SERVICE.full_name,
            {
                "Renew": unary(partial(self._answered, "Renew", pb.RenewRequest, self._renew)),
                "Load": grpc.unary_stream_rpc_method_handler(self._load),
                "Write": unary(partial(self._answered, "Write", pb.WriteRequest, self._write)),
                "Leave": unary(partial(self._answered, "Leave", pb.LeaveRequest, self._leave)),
            },
        )

    # ── the calls ─────────────────────────────────────────────────────────────────────────────────

    async def _renew(self, request: pb.RenewRequest) -> pb.RenewResponse:
        me = wire.introduction_of(request.worker)
        wire.shards_of("give_back", request.give_back)
        home = self._home(me)
        lease = await self._asking.run(
            home.renew, me, dict(request.give_back), first=request.first, steady=request.steady
        )
        return wire.lease_message(lease)

    async def _load(self, body: bytes, context: Context) -> AsyncIterator[bytes]:
        async def changes() -> list[bytes]:
            request = _parsed(pb.LoadRequest, body)
            home = self._home(wire.introduction_of(request.worker))
            shards = wire.shards_of("shards", request.shards)
            return await self._asking.run(
                lambda: [
                    message.SerializeToString()
                    for message in wire.load_messages(home.load(shards, request.since_revision))
                ]
            )

        for message in await self._or_refused("Load", changes(), context):
            yield message

    async def _write(self, request: pb.WriteRequest) -> pb.WriteResponse:
        home = self._home(wire.introduction_of(request.worker))
        if not request.entries:
            return pb.WriteResponse()
        if self._waiting >= MOST_WAITING:
            raise _Refusal(Code.UNAVAILABLE, "too many batches wait for their turn", pushback=True)
        is_old = request.entries[0].at_ms < self._clock.now_ms() - OLD_MS
        self._waiting += 1
        try:
            if is_old:
                await self._old_turn.acquire()
            try:
                async with self._turns:
                    settled = await self._writing.run(self._take, home, request)
            finally:
                if is_old:
                    self._old_turn.release()
        finally:
            self._waiting -= 1
        metrics.REMOTE_RESULTS.inc(len(request.entries))
        return pb.WriteResponse(settled=[wire.settled_message(one) for one in settled if _asks_for_a_look(one)])

    def _take(self, home: Home, request: pb.WriteRequest) -> list[Settled]:
        """On a thread. How a target is judged, and whether it is the location's at all, is the centre's to say."""
        name = request.worker.location
        with self._store.read() as conn:
            location_id = next((number for number, known in locations.names(conn).items() if known == name), None)
            if location_id is None:
                words = f"there is no location {name} yet; the next renewal makes it"
                raise _Refusal(Code.UNAVAILABLE, words, pushback=True)
            policies = self._policies(conn, location_id, {entry.target_id for entry in request.entries})

        def judged(target_id: int, rule: str) -> Policy | None:
            own = policies.get(target_id)
            return CERTIFICATE_POLICY if own is not None and rule == CERTIFICATE else own

        entries = wire.entries_of(request.entries, location_id=location_id, policy=judged, now_ms=self._clock.now_ms())
        try:
            return home.write(entries) if entries else []
        except StoreError:
            raise
        except Exception as error:
            log.exception("results of a remote worker cannot be stored", worker=request.worker.name)
            raise _Refusal(Code.ABORTED, "cannot be stored; the aggregator's log says why") from error

    async def _leave(self, request: pb.LeaveRequest) -> pb.LeaveResponse:
        me = wire.introduction_of(request.worker)
        wire.shards_of("give_back", request.give_back)
        await self._asking.run(self._home(me).leave, me, dict(request.give_back))
        return pb.LeaveResponse()

    def _home(self, me: Introduction) -> Home:
        """Kept for a while: it has looked up what it needs of its location."""
        key = me.id, me.life, me.location
        home = self._homes.pop(key, None) or self._make_home(me)
        self._homes[key] = home
        if len(self._homes) > KEPT:
            self._homes.popitem(last=False)
        return home

    # ── what is answered ──────────────────────────────────────────────────────────────────────────

    async def _answered(
        self, call: str, kind: type[M], serve: Callable[[M], Awaitable[Message]], body: bytes, context: Context
    ) -> bytes:
        async def answer() -> bytes:
            return (await serve(_parsed(kind, body))).SerializeToString()

        return await self._or_refused(call, answer(), context)

    async def _or_refused(self, call: str, work: Awaitable[T], context: Context) -> T:
        try:
            answer = await work
        except _Refusal as refusal:
            await refusal.answer(call, context)
        except wire.Unfit as unfit:
            await _Refusal(Code.INVALID_ARGUMENT, str(unfit)).answer(call, context)
        except IdentityInUse:
            await _Refusal(Code.ALREADY_EXISTS, "another process has this worker's identity").answer(call, context)
        except StoreError as error:
            await _Refusal(Code.UNAVAILABLE, str(error), pushback=True).answer(call, context)
        except Exception:
            log.exception("a call failed", call=call)
            await _OUR_FAULT.answer(call, context)
        metrics.REMOTE_CALLS.labels(call, "ok").inc()
        return answer


class _Refusal(Exception):
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


_OUR_FAULT: Final = _Refusal(Code.INTERNAL, "our fault; the aggregator's log says more")


class _Doorkeeper(grpc.aio.ServerInterceptor):
    """Asks for the key before anything of the message is read."""

    def __init__(self, store: Store, clock: Clock, threads: Threads) -> None:
        self._store = store
        self._clock = clock
        self._threads = threads
        self._rate = RateLimit(CALLS_PER_MINUTE)
        self._wrong: OrderedDict[str, float] = OrderedDict()
        """Keys that were wrong, each with when it was looked up, oldest first."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        try:
            await self._let_in(handler_call_details)
        except _Refusal as refusal:
            return _refusing(handler_call_details, refusal)
        except StoreError as error:
            return _refusing(handler_call_details, _Refusal(Code.UNAVAILABLE, str(error), pushback=True))
        except Exception:
            log.exception("a key cannot be looked up")
            return _refusing(handler_call_details, _OUR_FAULT)
        return await continuation(handler_call_details)

    async def _let_in(self, details: grpc.HandlerCallDetails) -> None:
        given = dict(details.invocation_metadata or ()).get("authorization", "")
        scheme, _, key = str(given).partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise _Refusal(Code.UNAUTHENTICATED, "a key with the scope “probe” is needed, as authorization: Bearer …")
        now_s = self._clock.monotonic()
        if now_s - self._wrong.get(key, float("-inf")) < WRONG_S:
            raise _wrong_key()
        identity = await self._threads.run(self._identity, key)
        if identity is None:
            self._wrong[key] = now_s
            self._wrong.move_to_end(key)
            if len(self._wrong) > KEPT:
                self._wrong.popitem(last=False)
            raise _wrong_key()
        if not identity.may(SCOPE):
            raise _Refusal(
                Code.PERMISSION_DENIED,
                f"the key “{identity.name}” has not the scope “{SCOPE}”; it has {', '.join(identity.scopes)}",
            )
        if self._rate.wait_s(str(identity.key_id), now_s=now_s):
            raise _Refusal(
                Code.RESOURCE_EXHAUSTED, f"more than {CALLS_PER_MINUTE} calls a minute with one key", pushback=True
            )

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


def _wrong_key() -> _Refusal:
    return _Refusal(Code.UNAUTHENTICATED, "this key is unknown or revoked")


def _refusing(details: grpc.HandlerCallDetails, refusal: _Refusal) -> Any:
    name = details.method.rpartition("/")[2]
    call = name if name in _SERVICE.methods_by_name else "other"

    async def refused(_: bytes, context: Context) -> NoReturn:
        await refusal.answer(call, context)

    return grpc.unary_unary_rpc_method_handler(refused)


def _parsed(kind: type[M], body: bytes) -> M:
    try:
        return kind.FromString(body)
    except DecodeError as error:
        raise _Refusal(Code.INVALID_ARGUMENT, f"this is no {kind.DESCRIPTOR.name}") from error


def _asks_for_a_look(settled: Settled) -> bool:
    return settled.key.rule == CERTIFICATE or unsettled(settled.state)
