"""What a worker far away asks for: does for each what a worker beside the database does by itself. Holds nothing
between two calls that another copy would need.

Knows no probe and decides no verdict. What comes in is read and refused by ``wire``.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from functools import partial
from typing import Final

import grpc
from sqlalchemy import Connection

from tocsin import wire
from tocsin.core.decide import Policy, unsettled
from tocsin.core.outcome import CERTIFICATE
from tocsin.core.target import CERTIFICATE_POLICY
from tocsin.home import Home, Introduction
from tocsin.lib import metrics
from tocsin.lib.clock import Clock
from tocsin.lib.log import get_logger
from tocsin.lib.threads import Threads
from tocsin.pipeline import Settled
from tocsin.services.aggregator.answers import Code, Context, Refusal, answered, or_refused, parsed
from tocsin.store import locations
from tocsin.store.engine import Store, StoreError
from tocsin.v1 import probing_pb2 as pb

WRITES: Final = 4
"""Batches written at once; the rest wait their turn."""
OLD_MS: Final = 60_000
"""A batch older than this was kept while its worker was cut off. Of those one is written at a time, so that workers
that all come back at once keep nobody's fresh results waiting."""
MOST_WAITING: Final = 64
"""Batches that wait for their turn; one more is sent away for a while."""
KEPT: Final = 1000
"""Homes that are remembered."""

SERVICE: Final = pb.DESCRIPTOR.services_by_name["Probing"]

Policies = Callable[[Connection, int, Collection[int]], Mapping[int, Policy]]
"""The policies of those of these targets that a location probes."""
log = get_logger("aggregator")


class Probing:
    """``homes`` gives the centre as one worker meets it, marked as far away; ``asking`` and ``writing`` are threads."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        homes: Callable[[Introduction], Home],
        policies: Policies,
        asking: Threads,
        writing: Threads,
    ) -> None:
        self._store = store
        self._clock = clock
        self._make_home = homes
        self._policies = policies
        self._asking = asking
        self._writing = writing
        self._turns = asyncio.Semaphore(WRITES)
        self._old_turn = asyncio.Semaphore(1)
        self._homes: OrderedDict[tuple[str, str, str], Home] = OrderedDict()
        self._waiting = 0

    def handlers(self) -> grpc.GenericRpcHandler:
        """Requests come as bytes: those that make no sense are answered in our words, not in the library's."""
        unary = grpc.unary_unary_rpc_method_handler
        return grpc.method_handlers_generic_handler(
            SERVICE.full_name,
            {
                "Renew": unary(partial(answered, "Renew", pb.RenewRequest, self._renew)),
                "Load": grpc.unary_stream_rpc_method_handler(self._load),
                "Write": unary(partial(answered, "Write", pb.WriteRequest, self._write)),
                "Leave": unary(partial(answered, "Leave", pb.LeaveRequest, self._leave)),
            },
        )

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
            request = parsed(pb.LoadRequest, body)
            home = self._home(wire.introduction_of(request.worker))
            shards = wire.shards_of("shards", request.shards)
            return await self._asking.run(
                lambda: [
                    message.SerializeToString()
                    for message in wire.load_messages(home.load(shards, request.since_revision))
                ]
            )

        for message in await or_refused("Load", changes(), context):
            yield message

    async def _write(self, request: pb.WriteRequest) -> pb.WriteResponse:
        home = self._home(wire.introduction_of(request.worker))
        if not request.entries:
            return pb.WriteResponse()
        if self._waiting >= MOST_WAITING:
            raise Refusal(Code.UNAVAILABLE, "too many batches wait for their turn", pushback=True)
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
                raise Refusal(Code.UNAVAILABLE, words, pushback=True)
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
            raise Refusal(Code.ABORTED, "cannot be stored; the aggregator's log says why") from error

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


def _asks_for_a_look(settled: Settled) -> bool:
    return settled.key.rule == CERTIFICATE or unsettled(settled.state)
