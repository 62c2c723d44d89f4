"""What a collector sends: a stream of layouts and ticks, acknowledged once they are stored.

One batch is written at a time, of whatever all streams have brought meanwhile. What waits is bounded: of one stream by
not reading on, in all by sending streams away for a while. Nothing is dropped without a word: what is not acknowledged
is the collector's to send again.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import grpc
import numpy as np
from numpy.typing import NDArray

from tocsin.catalog import access
from tocsin.core.bands import INTERVALS_OF_SILENCE
from tocsin.core.samples import Layout, Series, SeriesKind
from tocsin.intake.arrived import Arrived, IdentityInUse, Introduced, Refused
from tocsin.intake.intake import Intake
from tocsin.intake.sense import plain
from tocsin.lib import metrics
from tocsin.lib.clock import Clock
from tocsin.lib.log import get_logger
from tocsin.lib.threads import TaskSet, Threads
from tocsin.services.aggregator.answers import OUR_FAULT, Code, Context, Refusal, parsed
from tocsin.services.aggregator.doorkeeper import Doorkeeper
from tocsin.store.engine import Store, StoreError
from tocsin.store.machines import MachineRow
from tocsin.v1 import collection_pb2 as pb

LARGEST_REPORT_BYTES: Final = 2 << 20
MOST_OF_STREAM_BYTES: Final = 1 << 20
"""Of what one stream has brought may wait; it is read on once half of that is written."""
MOST_BYTES: Final = 64 << 20
"""May wait in all, so much as is written within the time a collector waits for its receipt; who brings more is sent
away."""
RETRY_S: Final = 3.0
LINGER_S: Final = 0.04
"""A batch waits so long for others to join it."""
MOST_TICKS: Final = 4000
"""In a batch."""
MOST_LAYOUTS: Final = 64
"""Of one stream; the oldest is forgotten first."""
MOST_PROCESSES: Final = 200
LATE_S: Final = 0.25
"""A report that took longer made those after it wait unread."""
WAITED_S: Final = 0.01
"""Who had to wait so long for a report has read all that came before it."""
LOOK_S: Final = 3.0
"""Revoked keys and deleted machines are looked for this often."""
LONGEST_BOOT_ID: Final = 100
LATEST_MS: Final = 253_402_300_800_000
"""The year 10,000."""
_TICK_BYTES: Final = 400
"""What a tick takes beside its message."""

SERVICE: Final = pb.DESCRIPTOR.services_by_name["Collection"]
_KINDS: Final[Mapping[int, SeriesKind]] = {
    pb.KIND_UNSPECIFIED: "gauge",
    pb.KIND_GAUGE: "gauge",
    pb.KIND_COUNTER: "counter",
}
_INT63: Final = 2**63 - 1

log = get_logger("aggregator")


_Waiting = tuple["_Stream", Arrived, int]
"""A tick, whose it is, and how many bytes it takes."""


class _Overloaded(Exception):
    """Too much waits to be written."""


class _Stream:
    """One collector's."""

    def __init__(self, context: Context, key_id: int | None) -> None:
        self.context = context
        self.key_id = key_id
        self.machine: MachineRow | None = None
        self.boot_id = ""
        self.heard_s = 0.0
        self.layouts: dict[int, tuple[Layout, NDArray[np.int64] | None]] = {}
        self.waiting_bytes = 0
        self.room = asyncio.Event()
        self.acked: dict[str, int] = {}
        """Of boots, that it is to be told of."""
        self.news = asyncio.Event()
        self.over: asyncio.Future[Refusal] = asyncio.get_running_loop().create_future()

    def end(self, refusal: Refusal) -> None:
        """It gets nothing acknowledged any more: what comes after something that failed must not be."""
        if not self.over.done():
            self.over.set_result(refusal)


class Collection:
    def __init__(self, *, store: Store, clock: Clock, intake: Intake, doorkeeper: Doorkeeper, asking: Threads) -> None:
        self._store = store
        self._clock = clock
        self._intake = intake
        self._doorkeeper = doorkeeper
        self._asking = asking
        self._streams: set[_Stream] = set()
        self._of_machine: dict[int, _Stream] = {}
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._brought = asyncio.Event()

    def handlers(self) -> grpc.GenericRpcHandler:
        """Reports come as bytes: those that make no sense are answered in our words, not in the library's."""
        return grpc.method_handlers_generic_handler(
            SERVICE.full_name, {"Stream": grpc.stream_stream_rpc_method_handler(self._stream)}
        )

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Writes what streams bring; on leaving the batch under way is written and the rest is left unacknowledged."""
        self._registering = Threads("collection", 4)
        self._writing = Threads("collection-write", 1)
        self._tasks = TaskSet(lambda error: log.error("a stream's task failed", exc_info=error))
        metrics.TICKS_WAITING.set_function(lambda: len(self._waiting))
        self._tasks.start(self._write_on())
        self._tasks.start(self._look_on())
        try:
            yield
        finally:
            await self._tasks.close()
            self._registering.close()
            self._writing.close()

    # ── one stream ────────────────────────────────────────────────────────────────────────────────

    async def _stream(self, _: Any, context: Context) -> None:
        stream = _Stream(context, self._doorkeeper.identity_of(context).key_id)
        self._streams.add(stream)
        metrics.STREAMS_OPEN.inc()
        reading = self._tasks.start(self._read(stream))
        telling = self._tasks.start(self._tell(stream))
        refusal: Refusal | None = None
        try:
            ends: list[asyncio.Future[Any]] = [reading, stream.over]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if stream.over.done():
                refusal = stream.over.result()
        finally:
            self._streams.discard(stream)
            metrics.STREAMS_OPEN.dec()
            if stream.machine is not None and self._of_machine.get(stream.machine.id) is stream:
                del self._of_machine[stream.machine.id]
            reading.cancel()
            telling.cancel()
            await asyncio.gather(reading, telling, return_exceptions=True)
        if refusal is not None:
            await refusal.answer("Stream", context)
        metrics.REMOTE_CALLS.labels("Stream", "ok").inc()

    async def _read(self, stream: _Stream) -> None:
        """Until the collector ends it. What makes no sense ends the stream, in words."""
        try:
            arrives_read = True
            while True:
                began_s = self._clock.monotonic()
                body = await stream.context.read()
                if not isinstance(body, bytes):
                    return
                read_s = self._clock.monotonic()
                arrives_read = arrives_read or read_s - began_s > WAITED_S
                await self._report(stream, body, self._clock.now_ms() if arrives_read else 0)
                if stream.waiting_bytes > MOST_OF_STREAM_BYTES:
                    stream.room.clear()
                    await stream.room.wait()
                # What came meanwhile was not read when it came, and nobody knows when that was.
                arrives_read = arrives_read and self._clock.monotonic() - read_s < LATE_S
        except _Overloaded:
            await stream.context.write(self._receipt(retry_after_s=RETRY_S))
        except Refusal as refusal:
            stream.end(refusal)
        except Refused as refused:
            stream.end(Refusal(Code.INVALID_ARGUMENT, str(refused)))
        except IdentityInUse as in_use:
            stream.end(Refusal(Code.ALREADY_EXISTS, str(in_use), pushback=True))
        except StoreError as error:
            log.info("a machine waits for the database", reason=str(error))
            stream.end(Refusal(Code.UNAVAILABLE, error.outward, pushback=True))
        except (asyncio.CancelledError, grpc.aio.UsageError, grpc.aio.AbortError):
            raise
        except Exception:
            log.exception("a stream failed", machine=stream.machine and stream.machine.name)
            stream.end(OUR_FAULT)

    async def _report(self, stream: _Stream, body: bytes, received_ms: int) -> None:
        if len(body) > LARGEST_REPORT_BYTES:
            raise Refusal(
                Code.INVALID_ARGUMENT, f"report: must have at most {LARGEST_REPORT_BYTES:,} bytes, not {len(body):,}"
            )
        report = parsed(pb.Report, body)
        part = report.WhichOneof("part")
        if part == "tick":
            self._take(stream, report.tick, len(body), received_ms)
        elif part == "layout":
            await self._lay_out(stream, report.layout)
        elif part == "hello":
            await self._meet(stream, report.hello)
        # What is not known is of a newer collector, and ignored.

    async def _meet(self, stream: _Stream, hello: pb.Hello) -> None:
        if stream.machine is not None:
            raise Refused("hello", "comes once, as the first report of a stream")
        introduced = Introduced(
            uid=hello.machine_id,
            boot_id=_boot_id("hello.boot_id", hello.boot_id),
            name=hello.name,
            version=hello.version,
            every_ms=hello.every_ms,
            facts=dict(hello.facts),
            tags=list(hello.tags),
        )
        row = await self._registering.run(self._intake.register, introduced, stream.key_id)
        other = self._of_machine.get(row.id)
        now_s = self._clock.monotonic()
        if other is not None:
            silent_s = INTERVALS_OF_SILENCE * row.every_ms / 1000
            if other.boot_id != introduced.boot_id and now_s - other.heard_s < silent_s:
                raise IdentityInUse(
                    f"the machine id {row.uid} is in use: another machine, or this one before it was started again, is "
                    f"connected and was heard of {now_s - other.heard_s:.0f} s ago. A copied machine needs an own id"
                )
            other.end(Refusal(Code.ABORTED, "this machine has begun another stream"))
        stream.machine, stream.boot_id, stream.heard_s = row, introduced.boot_id, now_s
        self._of_machine[row.id] = stream

    async def _lay_out(self, stream: _Stream, given: pb.Layout) -> None:
        machine = _introduced(stream, "layout")

        def made() -> tuple[Layout, NDArray[np.int64] | None]:
            layout = self._intake.intern(_layout_of(given))
            self._intake.admit(machine.id, layout)
            starts = np.array([one.start_ms for one in given.series], dtype=np.int64)
            np.clip(starts, 0, LATEST_MS, out=starts)
            return layout, starts if starts.any() else None

        layout = await self._registering.run(made)
        stream.layouts.pop(given.id, None)
        stream.layouts[given.id] = layout
        if len(stream.layouts) > MOST_LAYOUTS:
            del stream.layouts[next(iter(stream.layouts))]

    def _take(self, stream: _Stream, tick: pb.Tick, size: int, received_ms: int) -> None:
        machine = _introduced(stream, "tick")
        known = stream.layouts.get(tick.layout_id)
        if known is None:
            raise Refused("tick.layout_id", f"no layout {tick.layout_id} came on this stream before")
        layout, starts_ms = known
        values = tick.values
        if len(values) != 8 * len(layout):
            raise Refused(
                "tick.values",
                f"must have {8 * len(layout)} bytes, a double for each of {len(layout)} series, not {len(values)}",
            )
        if tick.seq > _INT63:
            raise Refused("tick.seq", "must be below 2^63")
        if self._waiting_bytes > MOST_BYTES:
            raise _Overloaded
        boot_id = tick.boot_id
        if boot_id != stream.boot_id:
            _boot_id("tick.boot_id", boot_id)
        sent_at_ms = tick.sent_at_ms
        arrived = Arrived(
            machine.id,
            boot_id,
            tick.seq,
            tick.at_ms,
            layout,
            starts_ms,
            np.frombuffer(values, dtype="<f8"),
            _processes_of(tick.processes) if tick.processes else None,
            sent_at_ms if 0 < sent_at_ms < LATEST_MS else 0,
            received_ms,
        )
        stream.heard_s = self._clock.monotonic()
        size += _TICK_BYTES
        stream.waiting_bytes += size
        self._waiting_bytes += size
        self._waiting.append((stream, arrived, size))
        self._brought.set()

    async def _tell(self, stream: _Stream) -> None:
        while True:
            await stream.news.wait()
            stream.news.clear()
            acked, stream.acked = stream.acked, {}
            for boot_id, seq in acked.items():
                await stream.context.write(self._receipt(boot_id, seq))

    def _receipt(self, boot_id: str = "", seq: int = 0, *, retry_after_s: float = 0) -> bytes:
        receipt = pb.Receipt(boot_id=boot_id, acked_seq=seq, retry_after_s=retry_after_s, now_ms=self._clock.now_ms())
        return receipt.SerializeToString()

    # ── all of them ───────────────────────────────────────────────────────────────────────────────

    async def _write_on(self) -> None:
        while True:
            await self._brought.wait()
            if len(self._waiting) < MOST_TICKS:
                await asyncio.sleep(LINGER_S)
            self._brought.clear()
            batch = self._next_batch()
            if self._waiting:
                self._brought.set()
            if batch:
                await self._write(batch)
                self._release(batch)

    def _next_batch(self) -> list[_Waiting]:
        """In the order in which they came, but of each stream ticks of one layout only: what is of one layout is judged
        together, and in its order."""
        batch: list[_Waiting] = []
        held: list[_Waiting] = []
        layouts: dict[_Stream, Layout | None] = {}
        while self._waiting and len(batch) < MOST_TICKS:
            one = self._waiting.popleft()
            stream, arrived, _ = one
            if stream.over.done():  # something before it failed: it is to come again, in order
                self._release([one])
            elif layouts.setdefault(stream, arrived.layout) is arrived.layout:
                batch.append(one)
            else:
                layouts[stream] = None
                held.append(one)
        self._waiting.extendleft(reversed(held))
        return batch

    async def _write(self, batch: list[_Waiting]) -> None:
        streams = {stream for stream, _, _ in batch}
        try:
            acked = await self._writing.run(self._intake.write, [arrived for _, arrived, _ in batch])
        except StoreError as error:
            log.warning("samples wait at their collectors for the database", reason=str(error), ticks=len(batch))
            for stream in streams:
                stream.end(Refusal(Code.UNAVAILABLE, error.outward, pushback=True))
        except Exception as error:
            if len(streams) == 1:
                (stream,) = streams
                log.error("ticks cannot be stored", machine=stream.machine and stream.machine.name, exc_info=error)
                stream.end(OUR_FAULT)
                return
            for stream in streams:  # one machine's fault is to keep nobody else's
                await self._write([one for one in batch if one[0] is stream])
        else:
            for stream, arrived, _ in batch:
                seq = acked.get((arrived.machine_id, arrived.boot_id))
                if seq is None:
                    stream.end(_DELETED)
                else:
                    stream.acked[arrived.boot_id] = seq
            for stream in streams:
                stream.news.set()

    def _release(self, batch: Iterable[_Waiting]) -> None:
        for stream, _, size in batch:
            self._waiting_bytes -= size
            stream.waiting_bytes -= size
            if stream.waiting_bytes <= MOST_OF_STREAM_BYTES // 2:
                stream.room.set()

    async def _look_on(self) -> None:
        """Says that somebody listens, and ends the streams of keys that were revoked and machines that were deleted."""
        while True:
            streams = [one for one in self._streams if one.key_id is not None]
            keys = {one.key_id for one in streams if one.key_id is not None}
            try:
                live = await self._asking.run(self._live_keys, keys)
            except StoreError as error:
                log.info("keys cannot be looked up now", reason=str(error))
            else:
                for stream in streams:
                    if stream.key_id not in live:
                        stream.end(_REVOKED)
                    elif stream.machine is not None and not self._intake.exists(stream.machine.id):
                        stream.end(_DELETED)
            with suppress(StoreError):
                await self._asking.run(self._intake.listen)
            await asyncio.sleep(LOOK_S)

    def _live_keys(self, keys: set[int]) -> set[int]:
        with self._store.read() as conn:
            return access.live_keys(conn, keys)


_REVOKED: Final = Refusal(Code.UNAUTHENTICATED, "this key was revoked")
_DELETED: Final = Refusal(
    Code.UNAVAILABLE, "this machine was deleted; with its next stream it is a new one", pushback=True
)


def _introduced(stream: _Stream, part: str) -> MachineRow:
    if stream.machine is None:
        raise Refused(part, "comes after a hello")
    return stream.machine


def _boot_id(field: str, given: str) -> str:
    if not 1 <= len(given) <= LONGEST_BOOT_ID or plain(given, LONGEST_BOOT_ID) != given:
        raise Refused(field, f"must have 1 to {LONGEST_BOOT_ID} visible characters")
    return given


def _layout_of(given: pb.Layout) -> Layout:
    series: list[Series] = []
    for place, one in enumerate(given.series):
        kind = _KINDS.get(one.kind)
        if kind is None:
            raise Refused(f"layout.series[{place}].kind", f"{one.kind} is not known")
        attributes = tuple(sorted((name, plain(value, 1024)) for name, value in one.attributes.items()))
        series.append(Series(one.name, attributes, one.unit, kind))
    return Layout(tuple(series))


def _processes_of(given: Any) -> list[dict[str, Any]]:
    return [
        {
            "pid": one.pid,
            "name": plain(one.name, 200),
            "user": plain(one.user, 100),
            "cpu": one.cpu if math.isfinite(one.cpu) and one.cpu >= 0 else 0.0,
            "memory_bytes": min(one.memory_bytes, _INT63),
        }
        for one in given[:MOST_PROCESSES]
    ]
