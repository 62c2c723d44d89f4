"""Where exports come in, whichever way they came: they are read, stored together with others, and answered when they
are stored for good.

Knows neither gRPC nor HTTP. For one event loop. What is written goes through the intake.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import contextmanager, suppress
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
from tocsin.lib.threads import Threads
from tocsin.otlp import refused as why
from tocsin.otlp import shape
from tocsin.otlp.layouts import Layouts, Used
from tocsin.otlp.masks import Masks
from tocsin.otlp.refused import Refused, shown
from tocsin.otlp.shape import Numbers, Part, Shape, Who
from tocsin.otlp.ticks import Tick, ticks
from tocsin.store import machines
from tocsin.store.engine import Store, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST_BYTES: Final = 8 << 20
"""Of an export, unpacked."""
MOST_WAITING: Final = 2000
"""Exports under way; one more is sent away for a while. So much at most is in memory of them:"""
MOST_WAITING_BYTES: Final = 64 << 20
MOST_TOGETHER: Final = 500
"""Ticks that are written in one transaction."""
NEW_MACHINES_PER_MINUTE: Final = 1200
"""With one key, on average, and as many at once."""
RETRY_AFTER_S: Final = 2.0
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


@dataclass(slots=True)
class _Export:
    """What is to be written of one; ``late`` are older than what was written before."""

    arrived: list[Arrived] = field(default_factory=list)
    beats: list[Used] = field(default_factory=list)
    """Of each that ``arrived``, which layout it is a beat of."""
    late: list[Arrived] = field(default_factory=list)
    refused: dict[int, int] = field(default_factory=dict)
    """By machine: how many values made no sense."""
    is_stored: bool = False
    """All that ``arrived``."""

    def settle(self) -> None:
        for used, one in zip(self.beats, self.arrived, strict=True):
            used.settled(one.at_ms, is_stored=self.is_stored)


def _settle(exports: Sequence[_Export]) -> None:
    for export in exports:
        export.settle()


@dataclass(slots=True)
class _Batch:
    exports: list[_Export] = field(default_factory=list)
    ticks: int = 0
    is_begun: bool = False
    """Its writing."""
    errors: list[Exception | None] | None = None
    """Of each export; None: not written yet."""


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
        self._reading = Threads("otlp-read", 1)
        self._writing = Threads("otlp-write", 1)
        self._batch = _Batch()
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._waiting_bytes = 0

    def close(self) -> None:
        self._reading.close()
        self._writing.close()

    async def export(self, body: bytes, key_id: int | None) -> bytes:
        """The answer, once what is kept of it is stored for good. Raises ``Unreadable`` and ``Throttled``."""
        with self._place(len(body)):
            told = self._masks.read(body)
            if told is None:
                told = await self._reading.run(self._read, body)
            return await self._keep(*told, key_id)

    async def export_message(self, message: ExportMetricsServiceRequest, key_id: int | None) -> bytes:
        """The same for one that came in another form than in bytes."""
        with self._place(message.ByteSize()):
            return await self._keep(*await self._reading.run(shape.read, message), key_id)

    @contextmanager
    def _place(self, size_bytes: int) -> Iterator[None]:
        if self._waiting >= MOST_WAITING or (self._waiting and self._waiting_bytes + size_bytes > MOST_WAITING_BYTES):
            raise Throttled("too many exports wait for their turn")
        self._waiting += 1
        self._waiting_bytes += size_bytes
        try:
            yield
        finally:
            self._waiting -= 1
            self._waiting_bytes -= size_bytes

    def _read(self, body: bytes) -> tuple[Shape, Numbers]:
        """On a thread."""
        try:
            message = ExportMetricsServiceRequest.FromString(body)
        except DecodeError as error:
            raise Unreadable("this is no ExportMetricsServiceRequest") from error
        told = shape.read(message)
        self._masks.keep(body, *told)
        return told

    # ── what is kept of it ────────────────────────────────────────────────────────────────────────

    async def _keep(self, told: Shape, numbers: Numbers, key_id: int | None) -> bytes:
        refused = Refused()
        refused.add_all(told.refused)
        export = _Export()
        try:
            try:
                for part in told.parts:
                    await self._add(part, numbers, key_id, export, refused, told.senseless.get(part.who.uid, 0))
            except BaseException:
                export.settle()
                raise
            if export.arrived or export.late or export.refused:
                await self._written(export)
        except StoreError as error:
            raise Throttled(str(error)) from error
        _count(refused)
        return _answer(refused)

    async def _add(
        self, part: Part, numbers: Numbers, key_id: int | None, export: _Export, refused: Refused, senseless: int
    ) -> None:
        found, dynamic = ticks(part, numbers, now_ms=self._clock.now_ms(), kept_ms=self._kept_ms)
        refused.add_all(dynamic)
        senseless += dynamic.senseless
        if not found and not senseless:
            return
        try:
            machine = await self._machine(part.who, key_id)
        except Inadmissible as error:
            log.info("a machine cannot be registered", uid=part.who.uid, reason=str(error))
            refused.add(why.NO_MACHINE, len(part.bundle) - dynamic.total, shown(part.who.uid))
            return
        if senseless:
            export.refused[machine.id] = export.refused.get(machine.id, 0) + senseless
        for tick in found:
            await self._place_tick(machine, tick, export, refused)

    async def _place_tick(self, machine: _Machine, tick: Tick, export: _Export, refused: Refused) -> None:
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

    async def _written(self, export: _Export) -> None:
        """Exports that come while others are written are written together: whoever of them has the turn first does it
        for all. One whose writing was begun and cancelled is written again by the next, which changes nothing."""
        batch = self._batch
        place = len(batch.exports)
        batch.exports.append(export)
        batch.ticks += len(export.arrived) + len(export.late)
        if batch.ticks >= MOST_TOGETHER:
            self._batch = _Batch()
        try:
            async with self._turn:
                if batch.errors is None:
                    if self._batch is batch:
                        self._batch = _Batch()
                    batch.is_begun = True
                    batch.errors = await self._writing.run(self._settled, batch.exports, asyncio.get_running_loop())
        except asyncio.CancelledError:
            if not batch.is_begun:
                batch.exports[place] = _Export()
                export.settle()
            raise
        error = batch.errors[place]
        if error is not None:
            raise error

    def _settled(self, exports: Sequence[_Export], loop: asyncio.AbstractEventLoop) -> list[Exception | None]:
        """On a thread. The loop hears what became of them also when nobody waits for it any more."""
        try:
            return self._write(exports)
        finally:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(_settle, exports)

    def _write(self, exports: Sequence[_Export]) -> list[Exception | None]:
        """On a thread. One that cannot be written keeps the others from nothing."""
        try:
            self._write_together(exports)
        except StoreError as error:
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
