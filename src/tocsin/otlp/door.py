"""Where exports come in, whichever way they came: they are read, stored together with others, and answered when they
are stored for good.

Knows neither gRPC nor HTTP. For one event loop. What is written goes through the intake.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict, defaultdict, deque
from collections.abc import Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from tocsin.core.samples import Layout
from tocsin.intake.arrived import Arrived, Introduced
from tocsin.intake.arrived import Refused as Inadmissible
from tocsin.intake.intake import Intake
from tocsin.lib import metrics
from tocsin.lib.clock import Clock
from tocsin.lib.log import get_logger
from tocsin.lib.rates import RateLimit
from tocsin.lib.threads import TaskSet, Threads
from tocsin.otlp import refused as why
from tocsin.otlp import shape
from tocsin.otlp.layouts import Layouts, Used
from tocsin.otlp.masks import Mask, Masks
from tocsin.otlp.refused import Refused, shown
from tocsin.otlp.shape import Numbers, Part, Shape, Who
from tocsin.otlp.ticks import Tick, plain_ticks, ticks
from tocsin.store import machines
from tocsin.store.engine import Store, StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

LARGEST_BYTES: Final = 8 << 20
"""Of an export, unpacked."""
MOST_WAITING: Final = 2000
"""Exports under way; one more is sent away for a while. So much at most is in memory of them:"""
MOST_WAITING_BYTES: Final = 64 << 20
MOST_TOGETHER: Final = 500
"""Machines of which something is written in one transaction."""
MOST_TICKS: Final = 4000
"""The same. What is beyond waits for the next one."""
NEW_MACHINES_PER_MINUTE: Final = 1200
"""With one key, on average, and as many at once."""
RETRY_AFTER_S: Final = 2.0
LINGER_S: Final = 0.04
"""A batch waits so long for others to join it."""
MOST_MACHINES: Final = 50_000
"""That are remembered between two exports."""
MOST_LAYOUTS: Final = 5000
"""The same."""
LOOK_AGAIN_S: Final = 60.0
"""How often it is looked whether a machine is still there, and at most told what is other about it."""
NOTABLY: Final = 0.25
"""How far off the known interval may be before it is put right."""

_STORED: Final = ExportMetricsServiceResponse().SerializeToString()
_LONGEST_WORDS: Final = 2000
_STOPPING: Final = "the aggregator stops"

log = get_logger("otlp")


class Unreadable(Exception):
    """These bytes are no export; sending them again is of no use."""


class Throttled(Exception):
    """Not now. The same export is to be sent again in ``retry_after_s``."""

    def __init__(self, words: str, retry_after_s: float = RETRY_AFTER_S) -> None:
        super().__init__(words)
        self.retry_after_s = retry_after_s


@dataclass(slots=True)
class _Machine:
    """What this process knows of a machine; another that knows nothing would do the same."""

    id: int
    who: Who
    key_id: int | None
    every_ms: int  # as it was learned; 0: not known here
    looked_s: float
    layouts: Layouts = field(default_factory=Layouts)

    def is_other(self, who: Who, key_id: int | None) -> bool:
        """Whether there is something new to tell of it."""
        learned_ms = self.layouts.every_ms()
        off_ms = abs(learned_ms - self.every_ms) if learned_ms else 0
        return who != self.who or key_id != self.key_id or off_ms > NOTABLY * self.every_ms


Told = tuple[Part, list[Tick], Refused]
"""What a machine said in an export, and what of it is not kept."""


@dataclass(slots=True, eq=False)
class _Export:
    """One that came, what is to be written of it, and who waits for what becomes of it.

    ``told`` is None as long as it has not been read: ``body`` is one that ``mask`` fits. ``late`` ticks are older than
    what was written before.
    """

    key_id: int | None
    shape: Shape
    told: list[Told] | None = None
    mask: Mask | None = None
    body: bytes = b""
    answer: asyncio.Future[bytes] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    refusals: Refused = field(default_factory=Refused)
    arrived: list[Arrived] = field(default_factory=list)
    beats: list[Used] = field(default_factory=list)
    """Of each that ``arrived``, which layout it is a beat of."""
    late: list[Arrived] = field(default_factory=list)
    refused: dict[int, int] = field(default_factory=dict)
    """By machine: how many values made no sense."""
    is_stored: bool = False
    """All that ``arrived``."""

    @property
    def is_to_be_written(self) -> bool:
        return bool(self.arrived or self.late or self.refused)

    def first_ms(self) -> int:
        """Of its ticks."""
        return min((tick.at_ms for _, found, _ in self.told or () for tick in found), default=0)

    def settle(self, error: Exception | None) -> None:
        """What became of it. Whoever gave up waiting hears nothing."""
        for used, one in zip(self.beats, self.arrived, strict=True):
            used.settled(one.at_ms, is_stored=self.is_stored)
        self.beats, self.arrived, self.late = [], [], []
        if self.answer.done():
            return
        if error is None:
            _count(self.refusals)
            self.answer.set_result(_answer(self.refusals))
        elif isinstance(error, StoreError):
            self.answer.set_exception(Throttled(error.outward))
        else:
            self.answer.set_exception(error)


class Door:
    def __init__(self, *, intake: Intake, store: Store, clock: Clock, kept_ms: int) -> None:
        """``kept_ms``: how long single samples are kept."""
        self._intake = intake
        self._store = store
        self._clock = clock
        self._kept_ms = kept_ms
        self._masks = Masks()
        self._machines: OrderedDict[str, _Machine] = OrderedDict()
        self._ones: OrderedDict[int, tuple[Layout, Layout]] = OrderedDict()
        """By identity of a layout: that, so that its identity stays its own, and the one object for all like it."""
        self._new = RateLimit(NEW_MACHINES_PER_MINUTE)
        self._exports = 0
        """Under way."""
        self._bytes = 0
        self._waiting: deque[_Export] = deque()
        self._brought = asyncio.Event()
        self._writes = False

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Exports are read and written; on leaving those that wait are sent away."""
        self._reading = Threads("otlp-read", 1)
        self._writing = Threads("otlp-write", 1)
        self._brought = asyncio.Event()
        self._writes = True
        tasks = TaskSet(lambda error: log.error("exports are not written any more", exc_info=error))
        tasks.start(self._write_on())
        try:
            yield
        finally:
            await tasks.close()
            self._reading.close()
            self._writing.close()

    async def export(self, body: bytes, key_id: int | None) -> bytes:
        """The answer, once what is kept of it is stored for good. Raises ``Unreadable`` and ``Throttled``."""
        with self._place(len(body)):
            mask = self._masks.find(body)
            if mask is not None:
                return await self._kept(_Export(key_id, mask.shape, mask=mask, body=body))
            return await self._kept(_Export(key_id, *await self._reading.run(self._read, body)))

    async def export_message(self, message: ExportMetricsServiceRequest, key_id: int | None) -> bytes:
        """The same for one that came in another form than in bytes."""
        with self._place(message.ByteSize()):
            return await self._kept(_Export(key_id, *await self._reading.run(self._read_message, message)))

    @contextmanager
    def _place(self, size_bytes: int) -> Iterator[None]:
        if self._exports >= MOST_WAITING or (self._exports and self._bytes + size_bytes > MOST_WAITING_BYTES):
            raise Throttled("too many exports wait for their turn")
        self._exports += 1
        self._bytes += size_bytes
        try:
            yield
        finally:
            self._exports -= 1
            self._bytes -= size_bytes

    # ── reading ───────────────────────────────────────────────────────────────────────────────────

    def _read(self, body: bytes) -> tuple[Shape, list[Told]]:
        """On a thread."""
        try:
            message = ExportMetricsServiceRequest.FromString(body)
        except DecodeError as error:
            raise Unreadable("this is no ExportMetricsServiceRequest") from error
        found, numbers = shape.read(message)
        self._masks.keep(body, found, numbers)
        return found, self._told(found, numbers)

    def _read_message(self, message: ExportMetricsServiceRequest) -> tuple[Shape, list[Told]]:
        """On a thread."""
        found, numbers = shape.read(message)
        return found, self._told(found, numbers)

    def _plain(self, mask: Mask, bodies: Sequence[bytes]) -> list[Tick | None]:
        bundle = mask.shape.parts[0].bundle
        return plain_ticks(bundle, mask.numbers(bodies), now_ms=self._clock.now_ms(), kept_ms=self._kept_ms)

    def _told(self, found: Shape, numbers: Numbers) -> list[Told]:
        now_ms = self._clock.now_ms()
        return [(part, *ticks(part, numbers, now_ms=now_ms, kept_ms=self._kept_ms)) for part in found.parts]

    def _read_masked(self, batch: Sequence[_Export]) -> None:
        """Those that are like each other in one go, the others one by one."""
        alike: dict[object, list[tuple[_Export, Mask]]] = defaultdict(list)
        for export in batch:
            if export.mask is not None and export.told is None:
                alike[export.mask.likeness() or id(export), len(export.body)].append((export, export.mask))
        for several in alike.values():
            first = several[0][1]
            if first.likeness() is not None:
                bodies = [export.body for export, _ in several]
                try:
                    singles = self._plain(first, bodies)
                except Exception:
                    log.exception("some exports cannot be read together, and are read one by one")
                    singles = [None] * len(several)
                for (export, mask), single in zip(several, singles, strict=True):
                    if single is not None:
                        export.told = [(mask.shape.parts[0], [single], Refused())]
            for export, mask in several:
                if export.told is None:
                    try:
                        export.told = self._told(mask.shape, mask.numbers([export.body]).row(0))
                    except Exception as error:
                        log.exception("an export cannot be read", uid=mask.shape.parts[0].who.uid)
                        export.settle(error)

    # ── what is kept of it ────────────────────────────────────────────────────────────────────────

    async def _take(self, export: _Export) -> None:
        """Finds what is to be written of it."""
        refused = export.refusals
        refused.add_all(export.shape.refused)
        for part, found, dynamic in export.told or ():
            refused.add_all(dynamic)
            senseless = export.shape.senseless.get(part.who.uid, 0) + dynamic.senseless
            if not found and not senseless:
                continue
            try:
                machine = await self._machine(part.who, export.key_id)
            except Inadmissible as error:
                log.info("a machine cannot be registered", uid=part.who.uid, reason=str(error))
                refused.add(why.NO_MACHINE, len(part.bundle) - dynamic.total, shown(part.who.uid))
                continue
            if senseless:
                export.refused[machine.id] = export.refused.get(machine.id, 0) + senseless
            for tick in found:
                await self._place_tick(machine, tick, export)

    async def _place_tick(self, machine: _Machine, tick: Tick, export: _Export) -> None:
        refused = export.refusals
        one = self._one(tick.layout)
        fitted = None if one is None else machine.layouts.fit(tick._replace(layout=one), self._clock.monotonic())
        layout = None if fitted is None else await self._admitted(machine, fitted.layout)
        if layout is None:
            fitted = machine.layouts.nearest(tick)
            layout = None if fitted is None else fitted.layout
        if fitted is None or layout is None:
            refused.add(why.CHANGING, len(tick.layout), shown(tick.layout.series[0].name))
            return
        if fitted.left_out:
            refused.add(why.CHANGING, len(fitted.left_out), shown(fitted.left_out[0]))
        values = fitted.values
        used = machine.layouts.used(layout)
        in_order = used.beat(tick.at_ms)
        if not in_order:
            # What was counted is in the rate of the tick that came before it already.
            values = np.where(_counters(layout), np.nan, values)
        arrived = Arrived(
            machine_id=machine.id,
            boot_id="",
            seq=tick.at_ms,
            at_ms=tick.at_ms,
            layout=layout,
            starts_ms=fitted.starts_ms,
            values=values,
            processes=None,
        )
        if in_order:
            export.arrived.append(arrived)
            export.beats.append(used)
        else:
            export.late.append(arrived)

    async def _admitted(self, machine: _Machine, layout: Layout) -> Layout | None:
        """The one object of this layout; None: the machine may not have it."""
        one = self._one(layout)
        if one is None or machine.layouts.uses(one):
            return one
        try:
            await self._writing.run(self._intake.admit, machine.id, one)
        except Inadmissible as error:
            log.info("a machine may not have more series", uid=machine.who.uid, reason=str(error))
            return None
        return one

    def _one(self, layout: Layout) -> Layout | None:
        """The one object for every layout with these series; None: nobody may have it."""
        known = self._ones.get(id(layout))
        if known is None:
            try:
                known = layout, self._intake.intern(layout)
            except Inadmissible as error:
                log.info("a layout makes no sense", reason=str(error))
                return None
            self._ones[id(layout)] = known
            if len(self._ones) > MOST_LAYOUTS:
                self._ones.popitem(last=False)
        return known[1]

    # ── whose it is ───────────────────────────────────────────────────────────────────────────────

    async def _machine(self, who: Who, key_id: int | None) -> _Machine:
        """Registered; and told about when something is other, once in a while."""
        now_s = self._clock.monotonic()
        known = self._machines.get(who.uid)
        if known is not None and not self._intake.exists(known.id):
            known = None
        if known is not None:
            who = _beside(known.who, who)
            lately = now_s - known.looked_s < LOOK_AGAIN_S
            is_first_time = not known.every_ms and known.layouts.every_ms()
            if (lately and not is_first_time) or not known.is_other(who, key_id):
                self._machines.move_to_end(who.uid)
                return known
        elif wait_s := self._new.wait_s(str(key_id), now_s=now_s):
            raise Throttled("too many machines at once that are not known yet, with one key", math.ceil(wait_s))
        every_ms = 0 if known is None else known.layouts.every_ms()
        introduced = Introduced(
            uid=who.uid, name=who.name, version=who.version, every_ms=every_ms, facts=dict(who.facts)
        )
        row = await self._writing.run(self._intake.register, introduced, key_id)
        machine = self._machines.pop(who.uid, None)
        if machine is None or machine.id != row.id:
            machine = _Machine(row.id, who, key_id, 0, now_s)
        machine.who, machine.key_id, machine.every_ms, machine.looked_s = who, key_id, every_ms, now_s
        self._machines[who.uid] = machine
        if len(self._machines) > MOST_MACHINES:
            self._machines.popitem(last=False)
        return machine

    # ── writing ───────────────────────────────────────────────────────────────────────────────────

    async def _kept(self, export: _Export) -> bytes:
        """Its answer, once it is written. Where nobody waits for one any more that is being written it is written all
        the same, which does no harm when it comes again."""
        if not self._writes:
            raise Throttled(_STOPPING)
        self._waiting.append(export)
        self._brought.set()
        try:
            return await export.answer
        finally:
            if export.answer.cancelled():
                with suppress(ValueError):  # it is being written
                    self._waiting.remove(export)

    async def _write_on(self) -> None:
        """Exports that come while others are written are written together."""
        try:
            while True:
                await self._brought.wait()
                if len(self._waiting) < MOST_TOGETHER:
                    await asyncio.sleep(LINGER_S)
                self._brought.clear()
                await self._write_batch(self._next_batch())
                if self._waiting:
                    self._brought.set()
        finally:
            self._writes = False
            for export in self._waiting:
                export.settle(Throttled(_STOPPING))
            self._waiting.clear()

    def _next_batch(self) -> list[_Export]:
        batch: list[_Export] = []
        machines_in_it = 0
        while self._waiting and machines_in_it < MOST_TOGETHER:
            export = self._waiting.popleft()
            if not export.answer.done():
                batch.append(export)
                machines_in_it += len(export.shape.parts)
        return batch

    async def _write_batch(self, batch: Sequence[_Export]) -> None:
        """Sees to it that each of them is answered, or waits again."""
        try:
            self._read_masked(batch)
            taken = await self._take_all(batch)
            to_write = [export for export in taken if export.is_to_be_written]
            errors = await self._writing.run(self._write, to_write) if to_write else []
            for export, why_not in zip(to_write, errors, strict=True):
                export.settle(why_not)
            for export in taken:
                export.settle(None)
        except asyncio.CancelledError:
            for export in batch:
                export.settle(Throttled(_STOPPING))
            raise
        except Exception as error:
            log.exception("exports could not be taken")
            for export in batch:
                export.settle(error)

    async def _take_all(self, batch: Sequence[_Export]) -> list[_Export]:
        """Those that were taken: of one machine in the order of their times, and no more than one transaction has room
        for; the others wait for the next."""
        taken: list[_Export] = []
        ticks_in_it = 0
        failed: StoreError | None = None
        in_order = sorted(batch, key=_Export.first_ms)
        for place, export in enumerate(in_order):
            if ticks_in_it >= MOST_TICKS:
                self._waiting.extendleft(reversed(in_order[place:]))
                break
            if export.answer.done():  # nobody waits for it
                continue
            if failed is not None:
                export.settle(failed)
                continue
            try:
                await self._take(export)
            except Exception as error:
                export.settle(error)
                if isinstance(error, StoreError):
                    log.warning("exports wait at their senders for the database", reason=str(error))
                    failed = error
            else:
                taken.append(export)
                ticks_in_it += len(export.arrived) + len(export.late)
        return taken

    def _write(self, exports: Sequence[_Export]) -> list[Exception | None]:
        """On a thread. One that cannot be written keeps the others from nothing."""
        try:
            self._write_together(exports)
        except StoreError as error:
            log.warning("exports wait at their senders for the database", reason=str(error), exports=len(exports))
            return [error] * len(exports)
        except Exception as error:
            if len(exports) == 1:
                log.exception("an export cannot be stored")
                return [error]
            log.error("some exports cannot be stored together, and are stored one by one", reason=repr(error))
            return [one for export in exports for one in self._write([export])]
        return [None] * len(exports)

    def _write_together(self, exports: Sequence[_Export]) -> None:
        if arrived := sorted((one for export in exports for one in export.arrived), key=_in_order):
            self._intake.write(arrived)
        for export in exports:
            export.is_stored = True
        if late := sorted((one for export in exports for one in export.late), key=_in_order):
            self._intake.write(late)
        refused: dict[int, int] = {}
        for export in exports:
            for machine_id, count in export.refused.items():
                refused[machine_id] = refused.get(machine_id, 0) + count
        if refused:
            with self._store.write() as conn:
                for machine_id in sorted(refused):
                    machines.note(conn, machine_id, refused_more=refused[machine_id])


def _beside(known: Who, who: Who) -> Who:
    """What a machine is after several have spoken of it, a Collector and programs that run there: all facts, the host's
    own name, and the Collector's version before a library's."""
    is_named = "host.name" in who.facts or "host.name" not in known.facts
    is_collector = "Collector" in who.version or "Collector" not in known.version
    return Who(
        who.uid,
        who.name if is_named else known.name,
        {**known.facts, **who.facts},
        who.version if is_collector else known.version,
    )


def _in_order(one: Arrived) -> tuple[int, int]:
    return one.machine_id, one.at_ms


def _counters(layout: Layout) -> shape.Marks:
    return np.array([one.kind == "counter" for one in layout], dtype=np.bool_)


_ALL_STORED: Final = metrics.OTLP_EXPORTS.labels("stored")
_SOME_REFUSED: Final = metrics.OTLP_EXPORTS.labels("partial")


def _count(refused: Refused) -> None:
    (_SOME_REFUSED if refused.total else _ALL_STORED).inc()
    for reason, count in refused.counts.items():
        metrics.OTLP_REFUSED.labels(reason.label).inc(count)


def _answer(refused: Refused) -> bytes:
    if not refused.total:
        return _STORED
    partial = ExportMetricsPartialSuccess(
        rejected_data_points=refused.total, error_message=refused.words[:_LONGEST_WORDS]
    )
    return ExportMetricsServiceResponse(partial_success=partial).SerializeToString()
