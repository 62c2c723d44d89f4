"""What of an export does not change from one to the next: whose it is, and which series its data points belong to.

The numbers and times themselves are ``Numbers``, in the order of the points that a shape keeps. Texts are refused or
cut here; numbers are judged in ``ticks``.
"""

from __future__ import annotations

import base64
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric, NumberDataPoint

from tocsin.core.samples import Layout, Series
from tocsin.otlp import refused as why
from tocsin.otlp.refused import Refused, shown
from tocsin.otlp.vocabulary import KNOWN, normalized

LONGEST_NAME: Final = 255
LONGEST_IDENTITY: Final = 200
LONGEST_KEY: Final = 100
LONGEST_VALUE: Final = 255
LONGEST_UNIT: Final = 63
MOST_ATTRIBUTES: Final = 32
MOST_FACTS: Final = 50
MOST_POINTS: Final = 20_000
"""Of one machine in one export."""
MOST_SERIES: Final = 2000
"""Of one machine in one tick."""

CPU_TIME: Final = "system.cpu.time"
CPU_MODE: Final = "cpu.mode"
CPU_NUMBER: Final = "cpu.logical_number"
CPU_COUNT: Final = Series("system.cpu.logical.count", (), "{cpu}")
IDLE: Final = "idle"
INTERRUPT: Final = "interrupt"

_NO_RECORDED_VALUE: Final = 1  # DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
_IDENTITIES: Final = ("host.id", "host.name", "service.instance.id")
_OF_A_HOST: Final = ("host.", "os.", "cloud.", "k8s.node.", "k8s.cluster.", "deployment.")
"""Facts of a machine that several resources speak of."""
_HOSTS_OWN: Final = ("system.", "hw.")
"""Metrics that a host has once, whoever measures them."""
_OF_A_SERVICE: Final = (("service.name",), ("service.instance.id",))
_OF_A_CONTAINER: Final = (
    ("k8s.namespace.name",),
    ("k8s.pod.name", "k8s.pod.uid"),
    ("k8s.container.name", "container.name", "container.id"),
)
"""What tells the series of one from those of another on the same machine; of several the first that is there. Names
stay when a container is made anew, and its series with them."""
_COLLECTOR: Final = "hostmetricsreceiver"
_MODES: Final = frozenset({CPU_MODE} | {key for key, one in KNOWN[CPU_TIME].attributes.items() if one.name == CPU_MODE})

Int64s = NDArray[np.int64]
UInt64s = NDArray[np.uint64]
Floats = NDArray[np.float64]
Places = NDArray[np.intp]
Marks = NDArray[np.bool_]


class Point(NamedTuple):
    """What is known of a data point before its number: where that goes.

    ``own`` is the series of it alone, ``total`` one that several points are added up for: processor time is told per
    core and mode, and kept per mode, and per core as far as it is idle.
    """

    key: tuple[str, tuple[tuple[str, str], ...]]  # no two points of one tick have the same
    own: Series | None
    total: Series | None
    core: str
    grows: bool
    """It is a sum that never falls."""
    delta: bool
    """It is what was added from its start to its time; what is kept of it is the rate."""

    @property
    def is_counter(self) -> bool:
        return self.grows and not self.delta


class Who(NamedTuple):
    """A machine, as its resource introduces it."""

    uid: str
    name: str
    facts: Mapping[str, str]
    version: str


class Numbers(NamedTuple):
    """Of the points that a shape keeps, in their order: [point], or of several exports [export, point]. Times are
    nanoseconds since 1970; 0: not said."""

    at_ns: UInt64s
    start_ns: UInt64s
    values: Floats

    @property
    def as_row(self) -> Numbers:
        """Those of one export among several."""
        return Numbers(self.at_ns[None, :], self.start_ns[None, :], self.values[None, :])

    def row(self, number: int) -> Numbers:
        return Numbers(self.at_ns[number], self.start_ns[number], self.values[number])


@dataclass(frozen=True, slots=True)
class Plan:
    """How a vector is made of points: ``values[points]`` are added up from each of ``begins`` to the next and are what
    ``slots`` have; of their starts it is the latest."""

    layout: Layout
    points: Places
    begins: Places
    slots: Places
    others: Places  # slots of what is no counter and has no start
    cores: tuple[int, int] | None  # the slot that says how many cores there are, and how many
    left_out: tuple[int, ...]  # points of too many series


@dataclass(frozen=True)
class Bundle:
    """The points of one machine, in order. Machines that send the same share it."""

    points: tuple[Point, ...]
    _plans: OrderedDict[bytes, Plan] = field(default_factory=OrderedDict, compare=False)
    _lock: Lock = field(default_factory=Lock, compare=False)

    def __len__(self) -> int:
        return len(self.points)

    @cached_property
    def grows(self) -> Marks:
        return np.array([point.grows for point in self.points], dtype=np.bool_)

    @cached_property
    def deltas(self) -> Marks:
        return np.array([point.delta for point in self.points], dtype=np.bool_)

    @cached_property
    def growing(self) -> Places:
        """Which of them ``grows`` marks."""
        return np.flatnonzero(self.grows)

    @cached_property
    def any_delta(self) -> bool:
        return bool(self.deltas.any())

    @cached_property
    def each_once(self) -> bool:
        return len({point.key for point in self.points}) == len(self.points)

    @cached_property
    def whole(self) -> Plan:
        """For all points as one tick."""
        return _plan(self.points, range(len(self.points)), frozenset())

    def plan(self, chosen: Sequence[int], broken: frozenset[Series]) -> Plan:
        """For these points as one tick. ``broken`` are totals that lack a part."""
        if len(chosen) == len(self.points) and not broken:
            return self.whole
        if broken:
            return _plan(self.points, chosen, broken)
        key = np.asarray(chosen, dtype=np.intp).tobytes()
        with self._lock:
            plan = self._plans.pop(key, None) or _plan(self.points, chosen, broken)
            self._plans[key] = plan
            if len(self._plans) > 16:
                self._plans.popitem(last=False)
        return plan


class Part(NamedTuple):
    """One machine's share of an export; ``places`` says which of the numbers are its, None: all of them."""

    who: Who
    bundle: Bundle
    places: Places | None


@dataclass(frozen=True, slots=True)
class Shape:
    parts: tuple[Part, ...]
    kept: Places
    """Of all number data points in the order in which they were sent: which have numbers."""
    sent: int
    """How many number data points there are in all."""
    refused: Refused
    """What is refused whatever its number."""
    senseless: Mapping[str, int]
    """Of that, by machine, what counts against it."""
    histograms: bool
    """There are some, or summaries, in it."""


# ── a shape of a message ──────────────────────────────────────────────────────────────────────────────


def read(message: ExportMetricsServiceRequest) -> tuple[Shape, Numbers]:
    """Everything in the message once."""
    reading = _Reading()
    for resource in message.resource_metrics:
        attributes = _texts(resource.resource.attributes)
        person = _Person.of(attributes)
        for scoped in resource.scope_metrics:
            for metric in scoped.metrics:
                reading.add(person, metric, scoped.scope)
    return reading.finished()


class _Person(NamedTuple):
    """A resource. ``who`` is None where it names no machine."""

    who: Who | None
    marks: Mapping[str, str]
    """Attributes that tell its series from those of others on the machine."""
    is_service: bool
    is_process: bool

    @staticmethod
    def of(attributes: Mapping[str, str]) -> _Person:
        by = next((key for key in _IDENTITIES if _is_identity(attributes.get(key, ""))), None)
        if by is None:
            return _Person(None, {}, False, False)
        uid = attributes[by].strip()
        alone = by == "service.instance.id"
        name = next((attributes[key] for key in ("host.name", "service.name") if attributes.get(key)), uid)
        facts = {
            key[:LONGEST_KEY]: value[:LONGEST_VALUE]
            for key, value in sorted(attributes.items())
            if value and (not key.startswith("process.") if alone else key.startswith(_OF_A_HOST))
        }
        facts = dict(list(facts.items())[:MOST_FACTS])
        language, version = attributes.get("telemetry.sdk.language", ""), attributes.get("telemetry.sdk.version", "")
        who = Who(
            uid,
            name[:LONGEST_IDENTITY].strip() or uid,
            facts,
            " ".join(("OpenTelemetry", language, version)).strip()[:100],
        )
        service = "service.name" in attributes
        marks: dict[str, str] = {}
        if not alone:
            for keys in (*(_OF_A_SERVICE if service else ()), *_OF_A_CONTAINER):
                marks.update([(key, attributes[key][:LONGEST_VALUE]) for key in keys if attributes.get(key)][:1])
        return _Person(who, marks, service, "process.pid" in attributes and not service)

    def marks_of(self, name: str) -> tuple[tuple[str, str], ...]:
        """Of a metric; what the host has once has none."""
        is_hosts_own = name.startswith(_HOSTS_OWN) or (name.startswith("process.") and not self.is_service)
        return () if is_hosts_own else tuple(self.marks.items())


def _is_identity(text: str) -> bool:
    return 1 <= len(text.strip()) <= LONGEST_IDENTITY


class _Reading:
    def __init__(self) -> None:
        self._who: dict[str, Who] = {}
        self._points: dict[str, list[Point]] = {}
        self._places: dict[str, list[int]] = {}
        self._kept: list[int] = []
        self._at: list[int] = []
        self._start: list[int] = []
        self._values: list[float] = []
        self._sent = 0
        self._refused = Refused()
        self._senseless: dict[str, int] = {}
        self._histograms = False

    def add(self, person: _Person, metric: Metric, scope: InstrumentationScope) -> None:
        kind = metric.WhichOneof("data")
        if kind is None:
            return
        points: Sequence[Any] = getattr(metric, kind).data_points
        if kind not in ("gauge", "sum"):
            self._histograms = True
            self._refused.add(why.HISTOGRAM, len(points), shown(metric.name))
            return
        reason = _wrong(person, metric, kind)
        if reason is not None or person.who is None:
            self._refuse(person, reason or why.NO_MACHINE, len(points), metric.name)
            self._sent += len(points)
            return
        who = self._introduced(person.who, scope)
        grows = kind == "sum" and metric.sum.is_monotonic
        delta = (
            kind == "sum" and metric.sum.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
        )
        marks = person.marks_of(metric.name)
        own = self._points.setdefault(who.uid, [])
        places = self._places.setdefault(who.uid, [])
        for point in points:
            ordinal = self._sent
            self._sent += 1
            if len(own) >= MOST_POINTS:
                self._refuse(person, why.TOO_MANY_POINTS, 1, metric.name)
                continue
            value = _value(point)
            if value is None:
                self._refuse(person, why.NO_VALUE, 1, metric.name)
                continue
            goes = _point(metric.name, point.attributes, marks, metric.unit, grows, delta)
            if goes is None:
                self._refuse(person, why.ATTRIBUTES, 1, metric.name)
                continue
            own.append(goes)
            places.append(len(self._kept))
            self._kept.append(ordinal)
            self._at.append(point.time_unix_nano)
            self._start.append(point.start_time_unix_nano)
            self._values.append(value)

    def finished(self) -> tuple[Shape, Numbers]:
        alone = len(self._points) == 1
        parts = tuple(
            Part(who, _bundle(tuple(self._points[uid])), None if alone else np.array(self._places[uid], dtype=np.intp))
            for uid, who in self._who.items()
            if self._points[uid]
        )
        kept = np.array(self._kept, dtype=np.intp)
        shape = Shape(parts, kept, self._sent, self._refused, self._senseless, self._histograms)
        return shape, Numbers(
            np.array(self._at, dtype=np.uint64),
            np.array(self._start, dtype=np.uint64),
            np.array(self._values, dtype=np.float64),
        )

    def _refuse(self, person: _Person, reason: why.Reason, count: int, name: str) -> None:
        self._refused.add(reason, count, shown(name))
        if reason.senseless and person.who is not None:
            self._senseless[person.who.uid] = self._senseless.get(person.who.uid, 0) + count

    def _introduced(self, who: Who, scope: InstrumentationScope) -> Who:
        """With what all its resources and scopes say. The Collector's own version goes before that of a library."""
        known = self._who.get(who.uid)
        if known is not None:
            who = who if known.facts == who.facts else known._replace(facts={**who.facts, **known.facts})
            who = who._replace(name=known.name, version=known.version)
        if _COLLECTOR in scope.name and "Collector" not in who.version:
            who = who._replace(version=f"OpenTelemetry Collector {cleaned(scope.version)}".strip()[:100])
        self._who[who.uid] = who
        return who


def _wrong(person: _Person, metric: Metric, kind: str) -> why.Reason | None:
    if person.who is None:
        return why.NO_MACHINE
    if person.is_process and metric.name.startswith("process."):
        return why.ONE_PROCESS
    if not 1 <= len(metric.name) <= LONGEST_NAME or not metric.name.isprintable():
        return why.NAME
    if kind == "sum" and metric.sum.aggregation_temporality not in _TEMPORALITIES:
        return why.TEMPORALITY
    return None


_TEMPORALITIES: Final = (
    AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE,
    AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA,
)


def _value(point: NumberDataPoint) -> float | None:
    if point.flags & _NO_RECORDED_VALUE:
        return None
    match point.WhichOneof("value"):
        case "as_double":
            return point.as_double
        case "as_int":
            return float(point.as_int)
        case _:
            return None


# ── texts ─────────────────────────────────────────────────────────────────────────────────────────────


def cleaned(text: str) -> str:
    """Without what a terminal obeys or a database refuses. What is markup elsewhere is text here."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def _texts(attributes: Iterable[KeyValue]) -> dict[str, str]:
    return {cleaned(one.key): cleaned(_text(one.value)) for one in attributes if one.key}


def _text(value: AnyValue) -> str:
    """https://opentelemetry.io/docs/specs/otel/common/#mapping-to-non-otlp-protocols"""
    if value.HasField("string_value"):
        return value.string_value
    plain = _plain(value)
    return plain if isinstance(plain, str) else msgspec.json.encode(plain).decode()


def _plain(value: AnyValue) -> object:
    """Messages are nested a hundred times at most, which is for whoever reads them to see to."""
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "int_value":
            return value.int_value
        case "double_value":
            return value.double_value
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        case "array_value":
            return [_plain(one) for one in value.array_value.values]
        case "kvlist_value":
            return {one.key: _plain(one.value) for one in value.kvlist_value.values}
        case _:
            return ""


# ── what points come to ───────────────────────────────────────────────────────────────────────────────

Pairs = tuple[tuple[str, str], ...]

_MOST_REMEMBERED: Final = 20_000
_LONGEST_REMEMBERED: Final = 500
_MOST_BUNDLES: Final = 1000
_points: Final[dict[tuple[str, Pairs, Pairs, str, bool, bool], Point]] = {}
_bundles: Final[OrderedDict[tuple[Point, ...], Bundle]] = OrderedDict()
_bundles_lock: Final = Lock()


def _point(
    name: str, attributes: Iterable[KeyValue], marks: Pairs, unit: str, grows: bool, delta: bool
) -> Point | None:
    """None: too many attributes, or too long ones. The same for the same: texts are looked at once, and machines with
    the same series share them. ``marks`` are attributes that it has where it has none of the name itself."""
    given = tuple([(one.key, one.value.string_value or _text(one.value)) for one in attributes])
    key = name, given, marks, unit, grows, delta
    point = _points.get(key)
    if point is not None:
        return point
    found = dict(marks)
    for attribute, value in given:
        if not 1 <= len(attribute) <= LONGEST_KEY or len(value) > LONGEST_VALUE:
            return None
        found[cleaned(attribute)] = cleaned(value)
    if len(found) > MOST_ATTRIBUTES:
        return None
    point = _made_point(name, tuple(sorted(found.items())), unit, grows, delta)
    if sum(len(attribute) + len(value) for attribute, value in given) + len(unit) <= _LONGEST_REMEMBERED:
        if len(_points) >= _MOST_REMEMBERED:
            _points.clear()
        _points[key] = point
    return point


def _made_point(name: str, attributes: Pairs, unit: str, grows: bool, delta: bool) -> Point:
    ours, own_attributes, own_unit = normalized(name, dict(attributes), cleaned(unit)[:LONGEST_UNIT])
    own_unit = f"{own_unit}/s" if delta else own_unit
    kind: Any = "counter" if grows and not delta else "gauge"

    def series(**changed: str) -> Series:
        return Series(ours, tuple(sorted({**own_attributes, **changed}.items())), own_unit, kind)

    if ours != CPU_TIME or CPU_MODE not in own_attributes:
        one = series()
        return Point((ours, one.attributes), one, None, "", grows, delta)
    mode = own_attributes[CPU_MODE]
    # Interrupts of several kinds are one mode, and yet several points.
    told = next(value for key, value in attributes if key in _MODES) if mode == INTERRUPT else mode
    key = ours, (*((key, value) for key, value in own_attributes.items() if key != CPU_MODE), (CPU_MODE, told))
    if CPU_NUMBER not in own_attributes:
        return Point(key, None, series(), "", grows, delta)
    own = series() if mode == IDLE else None
    core = own_attributes.pop(CPU_NUMBER)
    return Point(key, own, series(), core, grows, delta)


def _bundle(points: tuple[Point, ...]) -> Bundle:
    with _bundles_lock:
        bundle = _bundles.pop(points, None) or Bundle(points)
        _bundles[points] = bundle
        if len(_bundles) > _MOST_BUNDLES:
            _bundles.popitem(last=False)
    return bundle


def _plan(points: Sequence[Point], chosen: Iterable[int], broken: frozenset[Series]) -> Plan:
    chosen = list(chosen)
    told_totals = any(points[place].total is not None and not points[place].core for place in chosen)
    parts: dict[Series, list[int]] = {}
    for place in chosen:
        point = points[place]
        if point.own is not None:
            parts.setdefault(point.own, []).append(place)
        # Where the totals are told, they are not added up a second time.
        if point.total is not None and point.total not in broken and not (told_totals and point.core):
            parts.setdefault(point.total, []).append(place)
    cores = len({points[place].core for place in chosen if points[place].core})
    counted = cores > 0 and not any((one.name, one.attributes) == CPU_COUNT[:2] for one in parts)
    most = MOST_SERIES - counted
    left_out: set[int] = set()
    if len(parts) > most:
        ranked = sorted(parts, key=lambda one: one.name not in KNOWN)  # stable: a host's own first
        for one in ranked[most:]:
            left_out.update(parts.pop(one))
        left_out -= {place for places in parts.values() for place in places}
    series = sorted([*parts, CPU_COUNT] if counted else parts, key=lambda one: (one.name, one.attributes))
    slots = {one: slot for slot, one in enumerate(series)}
    added = [parts[one] for one in series if one in parts]
    sizes = np.array([len(places) for places in added], dtype=np.intp)
    return Plan(
        layout=Layout(tuple(series)),
        points=np.array([place for places in added for place in places], dtype=np.intp),
        begins=np.cumsum(sizes) - sizes,
        slots=np.array([slots[one] for one in series if one in parts], dtype=np.intp),
        others=np.array([slot for slot, one in enumerate(series) if one.kind != "counter"], dtype=np.intp),
        cores=(slots[CPU_COUNT], cores) if counted else None,
        left_out=tuple(sorted(left_out)),
    )
