"""What exports come to: which machine, which series, which vectors; and what of them is refused, in which words."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    Exemplar,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
    Summary,
    SummaryDataPoint,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from tests.otlp.hostmetrics import CUMULATIVE, DELTA, NS, Host, metrics, pairs, points
from tocsin.core.machine import View
from tocsin.core.samples import Series
from tocsin.otlp import refused as why
from tocsin.otlp import shape
from tocsin.otlp.masks import Masks
from tocsin.otlp.refused import Reason, Refused
from tocsin.otlp.shape import MOST_POINTS, MOST_SERIES, Numbers, Shape, Who
from tocsin.otlp.ticks import MOMENT_MS, Tick, ticks

AT_MS = 1_800_000_000_000
DAY_MS = 86_400_000


def read(export: ExportMetricsServiceRequest, now_ms: int = AT_MS) -> tuple[Shape, dict[str, list[Tick]], Refused]:
    """By machine; and everything that is refused."""
    found, numbers = shape.read(export)
    refused = Refused()
    refused.add_all(found.refused)
    told: dict[str, list[Tick]] = {}
    for part in found.parts:
        told[part.who.uid], dynamic = ticks(part, numbers, now_ms=now_ms, kept_ms=DAY_MS)
        refused.add_all(dynamic)
    return found, told, refused


def only(export: ExportMetricsServiceRequest, now_ms: int = AT_MS) -> tuple[Tick, Refused]:
    """Of one machine, one tick."""
    _, told, refused = read(export, now_ms)
    ((tick,),) = told.values()
    return tick, refused


def by_label(tick: Tick) -> dict[str, float]:
    return {one.label: float(value) for one, value in zip(tick.layout, tick.values, strict=True)}


def counts(refused: Refused) -> dict[Reason, int]:
    return dict(refused.counts)


def point(
    value: float | int = 1.0,
    at_ms: int = AT_MS,
    start_ms: int = 0,
    told: Mapping[str, str] | None = None,
    **attributes: str,
) -> NumberDataPoint:
    made = NumberDataPoint(
        attributes=pairs({**attributes, **(told or {})}), time_unix_nano=at_ms * NS, start_time_unix_nano=start_ms * NS
    )
    if isinstance(value, int):
        made.as_int = value
    else:
        made.as_double = value
    return made


def gauge(name: str, *told: NumberDataPoint, unit: str = "1") -> Metric:
    return Metric(name=name, unit=unit, gauge=Gauge(data_points=told))


def total(
    name: str,
    *told: NumberDataPoint,
    unit: str = "By",
    monotonic: bool = True,
    temporality: AggregationTemporality.ValueType = CUMULATIVE,
) -> Metric:
    return Metric(
        name=name, unit=unit, sum=Sum(data_points=told, is_monotonic=monotonic, aggregation_temporality=temporality)
    )


def export(*told: Metric, **resource: str) -> ExportMetricsServiceRequest:
    who = {key.replace("__", "."): value for key, value in (resource or {"host__name": "web-1"}).items()}
    return ExportMetricsServiceRequest(
        resource_metrics=[
            ResourceMetrics(resource=Resource(attributes=pairs(who)), scope_metrics=[ScopeMetrics(metrics=told)])
        ]
    )


def merged(*several: ExportMetricsServiceRequest) -> ExportMetricsServiceRequest:
    found = ExportMetricsServiceRequest()
    for one in several:
        found.MergeFrom(one)
    return found


# ── a host ────────────────────────────────────────────────────────────────────────────────────────────

MODES = ("user", "system", "nice", "idle", "iowait", "interrupt", "steal")
OURS = {
    *(f"system.cpu.time{{cpu.mode={mode}}}" for mode in MODES),
    *(f"system.cpu.time{{cpu.logical_number={number},cpu.mode=idle}}" for number in range(4)),
    "system.cpu.logical.count",
    *(f"system.cpu.load_average.{span}" for span in ("1m", "5m", "15m")),
    "system.memory.limit",
    *(f"system.memory.usage{{system.memory.state={state}}}" for state in ("used", "free", "cached", "buffers")),
    "system.linux.memory.available",
    *(f"system.paging.usage{{system.paging.state={state}}}" for state in ("used", "free")),
    *(
        f"system.filesystem.usage{{system.device={device},system.filesystem.mountpoint={mount},"
        f"system.filesystem.state={state},system.filesystem.type={kind}}}"
        for device, mount, kind in (("/dev/sda1", "/", "ext4"), ("/dev/sdb1", "/srv", "xfs"))
        for state in ("used", "free", "reserved")
    ),
    *(
        f"system.disk.{what}{{disk.io.direction={way},system.device={device}}}"
        for what in ("io", "operations")
        for device in ("sda", "sdb")
        for way in ("read", "write")
    ),
    *(f"system.disk.io_time{{system.device={device}}}" for device in ("sda", "sdb")),
    *(
        f"system.network.{what}{{network.interface.name={name},network.io.direction={way}}}"
        for what in ("io", "errors", "packet.dropped")
        for name in ("lo", "eth0")
        for way in ("receive", "transmit")
    ),
    "system.uptime",
}  # fmt: skip
"""The series of our own collector on such a host; of the number of processes, one."""
BESIDE = {
    "system.process.created",
    "system.process.count{process.state=running}",
    "system.process.count{process.state=sleeping}",
    *(
        f"system.network.packet.count{{network.interface.name={name},network.io.direction={way}}}"
        for name in ("lo", "eth0")
        for way in ("receive", "transmit")
    ),
}
SLABS = {f"system.linux.memory.slab.usage{{linux.memory.slab.state={one}}}" for one in ("reclaimable", "unreclaimable")}


def test_a_host_in_the_old_vocabulary_gives_the_series_of_our_collector() -> None:
    tick, refused = only(Host(vocabulary="old").export(AT_MS))
    assert set(by_label(tick)) == OURS | BESIDE | SLABS
    assert not refused.total


def test_a_host_in_the_new_vocabulary_gives_the_same_layout() -> None:
    old, _ = only(Host(vocabulary="old").export(AT_MS))
    new, refused = only(Host(vocabulary="new").export(AT_MS))
    assert set(by_label(new)) == OURS | BESIDE
    assert [one for one in old.layout if one.label not in SLABS] == list(new.layout)
    assert by_label(new).items() <= by_label(old).items()
    assert not refused.total


@pytest.mark.parametrize("vocabulary", ["old", "new"])
@pytest.mark.parametrize("extra", [True, False])
def test_the_summary_of_a_host_is_right(vocabulary: Any, extra: bool) -> None:
    """Between two exports: counters as the rates that are made of them."""
    host = Host(vocabulary=vocabulary, extra=extra)
    first, _ = only(host.export(AT_MS, 1.0))
    second, _ = only(host.export(AT_MS + 10_000, 2.0), AT_MS + 10_000)
    assert first.layout == second.layout
    counters = np.array([one.kind == "counter" for one in first.layout])
    rates = np.where(counters, (second.values - first.values) / 10, second.values)
    summary = View(first.layout).columns(rates[None, :]).summary(0)
    # Of every 17 s of a core 10 are idle and 1 is waited.
    assert summary.cpu == pytest.approx(6 / 17, rel=1e-3)
    assert summary.memory == pytest.approx(5 / 16 if extra else 4 / 16)
    assert summary.memory_bytes == 16_000_000_000
    assert (summary.swap, summary.cores, summary.load_1m) == (0.5, 4, 0.5)
    assert summary.disk == pytest.approx(1 / 3, rel=1e-3)
    assert summary.disk_mount == "/"
    rates_told = {"network_in": 0.1, "network_out": 0.2, "disk_read": 0.2, "disk_write": 0.4}
    assert {name: getattr(summary, name) for name in rates_told} == pytest.approx(rates_told)
    assert (summary.processes, summary.uptime_s) == (100, 12_345)


def test_volumes_of_zfs_and_paths_of_a_disk_are_not_added_to_the_disks() -> None:
    names = ("nvme0n1", "nvme0c0n1", "nvme0c1n1", "sda", "zd0", "zd16")
    told = [point(2.0, told={"device": name, "direction": "read"}) for name in names]
    tick, _ = only(export(total("system.disk.io", *told)))
    assert View(tick.layout).columns(tick.values[None, :]).summary(0).disk_read == 4


def test_processor_time_is_added_up_by_mode_and_kept_per_core_while_idle() -> None:
    tick, _ = only(Host(cores=64).export(AT_MS, 1.0))
    told = by_label(tick)
    assert sum(one.name == "system.cpu.time" for one in tick.layout) == 64 + 7
    assert told["system.cpu.time{cpu.mode=user}"] == sum(1.0 + core for core in range(64))
    assert told["system.cpu.time{cpu.mode=interrupt}"] == 2 * sum(1.0 + core for core in range(64))
    assert told["system.cpu.time{cpu.logical_number=63,cpu.mode=idle}"] == 10.0 + 63
    assert told["system.cpu.logical.count"] == 64


def test_totals_that_are_told_are_not_added_up_again() -> None:
    """As our own collector tells processor time."""
    told = total(
        "system.cpu.time",
        point(100.0, told={"cpu.mode": "idle"}),
        point(20.0, told={"cpu.mode": "user"}),
        point(60.0, told={"cpu.mode": "idle", "cpu.logical_number": "0"}),
        point(40.0, told={"cpu.mode": "idle", "cpu.logical_number": "1"}),
        unit="s",
    )
    tick, refused = only(export(told))
    assert by_label(tick) == {
        "system.cpu.logical.count": 2,
        "system.cpu.time{cpu.logical_number=0,cpu.mode=idle}": 60,
        "system.cpu.time{cpu.logical_number=1,cpu.mode=idle}": 40,
        "system.cpu.time{cpu.mode=idle}": 100,
        "system.cpu.time{cpu.mode=user}": 20,
    }
    assert not refused.total


def test_a_total_that_lacks_a_core_is_left_out() -> None:
    sent = Host(extra=False).export(AT_MS)
    next(
        one
        for one in points(sent)
        if {a.key: a.value.string_value for a in one.attributes} == {"cpu": "cpu2", "state": "user"}
    ).as_double = float("nan")
    tick, refused = only(sent)
    told = by_label(tick)
    assert "system.cpu.time{cpu.mode=user}" not in told
    assert "system.cpu.time{cpu.mode=system}" in told
    assert counts(refused) == {why.NOT_A_NUMBER: 1}


# ── who ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("resource", "uid", "name"),
    [
        ({"host__id": "abc", "host__name": "web", "service__instance__id": "i"}, "abc", "web"),
        ({"host__name": "web", "service__instance__id": "i"}, "web", "web"),
        ({"service__instance__id": "i", "service__name": "shop"}, "i", "shop"),
        ({"service__instance__id": "i"}, "i", "i"),
        ({"host__id": "  ", "host__name": "web"}, "web", "web"),
        ({"host__id": "x" * 201, "host__name": "web"}, "web", "web"),
    ],
)
def test_a_machine_is_known_by_the_first_that_is_there(resource: dict[str, str], uid: str, name: str) -> None:
    found, _, _ = read(export(gauge("a", point()), **resource))
    assert [(part.who.uid, part.who.name) for part in found.parts] == [(uid, name)]


def test_a_resource_that_names_no_machine_is_refused_in_words() -> None:
    _, told, refused = read(export(gauge("a", point(), point(b="c")), service__name="shop"))
    assert not told
    assert counts(refused) == {why.NO_MACHINE: 2}
    assert "resourcedetection" in refused.words


def test_facts_are_the_hosts_or_where_there_is_none_the_services() -> None:
    host, _, _ = read(
        export(gauge("a", point()), host__name="web", os__type="linux", service__name="shop", process__pid="7")
    )
    assert host.parts[0].who.facts == {"host.name": "web", "os.type": "linux"}
    service, _, _ = read(
        export(gauge("a", point()), service__instance__id="i", service__name="shop", process__command_line="secret")
    )
    assert service.parts[0].who.facts == {"service.instance.id": "i", "service.name": "shop"}


def test_all_resources_of_a_machine_are_one_and_each_machine_its_own() -> None:
    found, told, _ = read(merged(Host("a").export(AT_MS), Host("b").export(AT_MS), Host("a").export(AT_MS + 5000)))
    assert [part.who.uid for part in found.parts] == ["a", "b"]
    assert [[tick.at_ms for tick in told[uid]] for uid in ("a", "b")] == [[AT_MS, AT_MS + 5000], [AT_MS]]
    assert found.parts[0].who.version == "OpenTelemetry Collector 0.140.0"


def test_two_services_on_a_host_are_told_apart_and_the_hosts_own_metrics_are_not() -> None:
    def said(service: str) -> ExportMetricsServiceRequest:
        return export(
            gauge("queue.length", point()), gauge("system.uptime", point()), host__name="web", service__name=service
        )

    tick, refused = only(merged(said("shop"), said("mail")))
    assert set(by_label(tick)) == {
        "queue.length{service.name=mail}",
        "queue.length{service.name=shop}",
        "system.uptime",
    }
    assert counts(refused) == {why.TWICE: 1}


def test_containers_of_a_host_are_told_apart_and_its_own_metrics_are_not() -> None:
    def said(**container: str) -> ExportMetricsServiceRequest:
        used = [
            gauge(name, point()) for name in ("container.memory.usage", "process.count", "system.uptime", "hw.power")
        ]
        return export(*used, host__name="web", **container)

    tick, refused = only(
        merged(
            said(k8s__namespace__name="shop", k8s__pod__name="db-0", k8s__pod__uid="1"),
            said(k8s__namespace__name="shop", k8s__pod__name="db-0", k8s__container__name="pg", container__id="2"),
            said(k8s__namespace__name="mail", k8s__pod__uid="3"),
            said(container__name="cache", container__id="4"),
            said(container__id="5", container__image__name="redis"),
        )
    )
    of = "container.memory.usage"
    assert set(by_label(tick)) == {
        f"{of}{{k8s.namespace.name=shop,k8s.pod.name=db-0}}",
        f"{of}{{k8s.container.name=pg,k8s.namespace.name=shop,k8s.pod.name=db-0}}",
        f"{of}{{k8s.namespace.name=mail,k8s.pod.uid=3}}",
        f"{of}{{container.name=cache}}",
        f"{of}{{container.id=5}}",
        "hw.power",
        "process.count",
        "system.uptime",
    }
    assert counts(refused) == {why.TWICE: 12}


def test_copies_of_a_service_in_pods_of_one_host_are_told_apart() -> None:
    def said(pod: str) -> ExportMetricsServiceRequest:
        return export(gauge("process.cpu.load", point()), host__name="web", service__name="s", k8s__pod__name=pod)

    tick, refused = only(merged(said("s-1"), said("s-2")))
    assert set(by_label(tick)) == {
        "process.cpu.load{k8s.pod.name=s-1,service.name=s}",
        "process.cpu.load{k8s.pod.name=s-2,service.name=s}",
    }
    assert not refused.total


def test_of_single_processes_nothing_is_kept() -> None:
    _, told, refused = read(export(total("process.cpu.time", point()), host__name="web", process__pid="7"))
    assert not told
    assert counts(refused) == {why.ONE_PROCESS: 1}
    _, told, _ = read(export(total("process.cpu.time", point()), host__name="web", process__pid="7", service__name="s"))
    assert told


# ── kinds of numbers ──────────────────────────────────────────────────────────────────────────────────


def test_gauges_and_levels_are_gauges_and_growing_sums_are_counters_with_their_start() -> None:
    tick, _ = only(
        export(
            gauge("a", point(1)),
            total("b", point(2.5, start_ms=AT_MS - 5), monotonic=False),
            total("c", point(3, start_ms=AT_MS - 5000)),
            total("d", point(4)),
        )
    )
    assert list(tick.layout) == [
        Series("a", (), "1", "gauge"),
        Series("b", (), "By", "gauge"),
        Series("c", (), "By", "counter"),
        Series("d", (), "By", "counter"),
    ]
    assert tick.values.tolist() == [1, 2.5, 3, 4]
    assert tick.starts_ms.tolist() == [0, 0, AT_MS - 5000, 0]


def test_a_delta_is_the_rate_over_its_own_time() -> None:
    tick, refused = only(
        export(
            total("a", point(30, start_ms=AT_MS - 15_000), temporality=DELTA),
            total("b", point(-30, start_ms=AT_MS - 15_000), temporality=DELTA, monotonic=False),
        )
    )
    assert list(tick.layout) == [Series("a", (), "By/s", "gauge"), Series("b", (), "By/s", "gauge")]
    assert tick.values.tolist() == [2, -2]
    assert not refused.total


def test_processor_time_told_as_deltas_is_a_share_too() -> None:
    told = [
        point(value, AT_MS, AT_MS - 1000, cpu=f"cpu{number}", state=state)
        for number in (0, 1)
        for state, value in (("idle", 0.9), ("user", 0.1))
    ]
    tick, _ = only(export(total("system.cpu.time", *told, unit="s", temporality=DELTA)))
    assert View(tick.layout).columns(tick.values[None, :]).summary(0).cpu == pytest.approx(0.1)


def test_a_delta_over_no_time_is_no_rate() -> None:
    """The first one that an SDK tells of an observable counter, whose count began long ago."""
    sent = export(GOOD, total("a", point(10**9, AT_MS, AT_MS - 9), temporality=DELTA))
    tick, refused = only(sent)
    assert by_label(tick) == {"good": 7.0}
    assert (counts(refused), refused.senseless) == ({why.SHORT: 1}, 0)
    tick, refused = only(export(total("a", point(1, AT_MS, AT_MS - 10), temporality=DELTA)))
    assert by_label(tick) == {"a": 100}


@pytest.mark.parametrize("start_ms", [0, AT_MS, AT_MS + 1])
def test_a_delta_without_a_start_before_its_time_is_refused(start_ms: int) -> None:
    _, told, refused = read(export(total("a", point(30, start_ms=start_ms), temporality=DELTA)))
    assert told == {"web-1": []}
    assert counts(refused) == {why.START: 1}


def test_histograms_and_summaries_are_counted_and_told() -> None:
    _, told, refused = read(
        export(
            Metric(name="h", histogram=Histogram(data_points=[HistogramDataPoint(), HistogramDataPoint()])),
            Metric(name="e", exponential_histogram=ExponentialHistogram(data_points=[ExponentialHistogramDataPoint()])),
            Metric(name="s", summary=Summary(data_points=[SummaryDataPoint()])),
            Metric(name="nothing"),
            gauge("a", point()),
        )
    )
    assert [by_label(tick) for tick in told["web-1"]] == [{"a": 1.0}]
    assert refused.total == 4
    assert refused.words == "4 data points: histograms and summaries are not kept (such as h)"


# ── bad input ─────────────────────────────────────────────────────────────────────────────────────────

GOOD = gauge("good", point(7))
NOTHING = NumberDataPoint(time_unix_nano=AT_MS * NS)
STALE = NumberDataPoint(time_unix_nano=AT_MS * NS, flags=1)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (gauge("a", point(float("nan"))), why.NOT_A_NUMBER),
        (gauge("a", point(float("inf"))), why.NOT_A_NUMBER),
        (gauge("a", point(float("-inf"))), why.NOT_A_NUMBER),
        (gauge("a", point(1e300)), why.NOT_A_NUMBER),
        (total("a", point(float("nan"))), why.NOT_A_NUMBER),
        (total("a", point(-1)), why.NEGATIVE),
        (total("a", point(-0.5)), why.NEGATIVE),
        (total("a", point(-1, start_ms=AT_MS - 5), temporality=DELTA), why.NEGATIVE),
        (total("a", point(1, start_ms=AT_MS + 1)), why.START),
        (total("a", point(1), temporality=AggregationTemporality.AGGREGATION_TEMPORALITY_UNSPECIFIED), why.TEMPORALITY),
        (gauge("a", point(at_ms=0)), why.TOO_OLD),
        (gauge("a", point(at_ms=1000)), why.TOO_OLD),
        (gauge("a", point(at_ms=AT_MS - DAY_MS - 1)), why.TOO_OLD),
        (gauge("a", point(at_ms=AT_MS + 3_600_001)), why.AHEAD),
        (gauge("a", point(at_ms=4_102_444_800_000)), why.AHEAD),
        (gauge("a", NumberDataPoint(time_unix_nano=2**64 - 1, as_int=1)), why.AHEAD),
        (gauge("a", NOTHING), why.NO_VALUE),
        (gauge("a", STALE), why.NO_VALUE),
        (gauge("", point()), why.NAME),
        (gauge("x" * 256, point()), why.NAME),
        (gauge("a\x00b", point()), why.NAME),
        (gauge("a", point(told={"k" * 101: "v"})), why.ATTRIBUTES),
        (gauge("a", point(told={"": "v"})), why.ATTRIBUTES),
        (gauge("a", point(k="v" * 256)), why.ATTRIBUTES),
        (gauge("a", point(told={f"k{number}": "v" for number in range(33)})), why.ATTRIBUTES),
        (gauge("good", point(8)), why.TWICE),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_and_the_rest_is_kept(bad: Metric, reason: Reason) -> None:
    tick, refused = only(export(GOOD, bad))
    assert by_label(tick) == {"good": 7.0}
    assert counts(refused) == {reason: 1}
    assert refused.words.startswith("1 data point: ")


def test_more_series_than_are_kept_are_refused_and_the_hosts_own_stay() -> None:
    many = gauge("many", *(point(n=str(number)) for number in range(MOST_POINTS + 500)))
    sent = merged(export(many), Host(extra=False).export(AT_MS))
    tick, refused = only(sent)
    assert len(tick.layout) == MOST_SERIES
    # What comes after more points of one machine than are looked at is not looked at.
    assert counts(refused) == {
        why.TOO_MANY_POINTS: 500 + sum(1 for _ in points(Host(extra=False).export(AT_MS))),
        why.TOO_MANY_SERIES: MOST_POINTS - MOST_SERIES,
    }
    tick, refused = only(merged(export(gauge("many", *many.gauge.data_points[:5000])), Host().export(AT_MS)))
    assert {label for label in by_label(tick) if not label.startswith("many")} == OURS | BESIDE | SLABS
    assert len(tick.layout) == MOST_SERIES


def test_a_hundred_thousand_new_series_are_bounded_counted_and_told() -> None:
    sent = export(gauge("many", *(point(n=str(number)) for number in range(100_000))))
    tick, refused = only(sent)
    assert len(tick.layout) == MOST_SERIES
    assert refused.total == 100_000 - MOST_SERIES
    assert "more series than are kept" in refused.words


def test_markup_is_text_and_what_a_terminal_obeys_is_replaced() -> None:
    tick, _ = only(export(gauge("a", point(x="<script>", y="\x1b[2J\n\u202e")), host__name="<b>web\x00</b>"))
    assert list(by_label(tick)) == ["a{x=<script>,y=�[2J��}"]
    found, _, _ = read(export(gauge("a", point()), host__name="<b>web\x00</b>"))
    assert found.parts[0].who.uid == "<b>web�</b>"


def test_attributes_of_every_kind_are_text() -> None:
    told = point()
    told.attributes.extend(
        [
            KeyValue(key="b", value=AnyValue(bool_value=True)),
            KeyValue(key="d", value=AnyValue(double_value=1.5)),
            KeyValue(key="e", value=AnyValue()),
            KeyValue(key="i", value=AnyValue(int_value=-3)),
            KeyValue(key="l", value=AnyValue(array_value=ArrayValue(values=[AnyValue(int_value=1), AnyValue()]))),
            KeyValue(key="y", value=AnyValue(bytes_value=b"\x00\xff")),
        ]
    )  # fmt: skip
    tick, _ = only(export(gauge("a", told)))
    assert tick.layout.series[0].attributes == (
        ("b", "true"), ("d", "1.5"), ("e", ""), ("i", "-3"), ("l", '[1,""]'), ("y", "AP8="),
    )  # fmt: skip


def test_an_export_of_nothing_is_nothing() -> None:
    for nothing in (ExportMetricsServiceRequest(), export(), export(gauge("a"))):
        found, told, refused = read(nothing)
        assert (found.parts, told, refused.total, refused.words) == ((), {}, 0, "")


# ── moments ───────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_told_within_a_second_is_one_tick_at_the_time_of_the_first() -> None:
    tick, _ = only(export(gauge("a", point(1, AT_MS + 700)), gauge("b", point(2, AT_MS))), AT_MS + 700)
    assert (tick.at_ms, by_label(tick)) == (AT_MS, {"a": 1, "b": 2})


def test_a_series_told_twice_is_two_ticks_however_near() -> None:
    _, told, refused = read(
        export(
            gauge("a", point(1, AT_MS), point(2, AT_MS + 100)), gauge("b", point(3, AT_MS + 5), point(4, AT_MS + 105))
        )
    )
    assert [(tick.at_ms, by_label(tick)) for tick in told["web-1"]] == [
        (AT_MS, {"a": 1, "b": 3}),
        (AT_MS + 100, {"a": 2, "b": 4}),
    ]
    assert not refused.total


def test_several_times_are_several_ticks_oldest_first() -> None:
    _, told, _ = read(merged(*(Host().export(AT_MS - n * (MOMENT_MS + 100)) for n in range(3))))
    assert [tick.at_ms for tick in told["web-1"]] == [AT_MS - 2200, AT_MS - 1100, AT_MS]
    assert len({tick.layout for tick in told["web-1"]}) == 1


def shuffled(sent: ExportMetricsServiceRequest, dice: random.Random) -> ExportMetricsServiceRequest:
    """The same data points in another order, at every level."""
    found = ExportMetricsServiceRequest()
    found.CopyFrom(sent)
    for metric in metrics(found):
        told = (metric.gauge if metric.HasField("gauge") else metric.sum).data_points
        mixed = list(told)
        dice.shuffle(mixed)
        del told[:]
        told.extend(mixed)
    mixed_resources = list(found.resource_metrics)
    dice.shuffle(mixed_resources)
    del found.resource_metrics[:]
    found.resource_metrics.extend(mixed_resources)
    return found


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False), st.lists(st.integers(0, 60), min_size=1, max_size=5, unique=True))
def test_the_order_in_which_points_are_told_does_not_matter(dice: random.Random, seconds: list[int]) -> None:
    sent = merged(*(Host(cores=2).export(AT_MS - 2000 * n, float(100 - n)) for n in seconds))
    _, straight, _ = read(sent)
    _, mixed, refused = read(shuffled(sent, dice))
    assert not refused.total
    assert [(one.at_ms, by_label(one)) for one in straight["web-1"]] == [
        (one.at_ms, by_label(one)) for one in mixed["web-1"]
    ]


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 4))
def test_points_told_twice_change_nothing_and_are_counted(dice: random.Random, times: int) -> None:
    sent = Host(cores=2).export(AT_MS)
    once, _ = only(sent)
    again, refused = only(shuffled(merged(*[sent] * times), dice))
    assert (again.at_ms, by_label(again)) == (once.at_ms, by_label(once))
    assert counts(refused) == ({why.TWICE: (times - 1) * sum(1 for _ in points(sent))} if times > 1 else {})


# ── read by the bytes of an earlier one ───────────────────────────────────────────────────────────────


def taught(masks: Masks, make: Callable[[int], ExportMetricsServiceRequest]) -> None:
    for number in range(2):
        message = make(number)
        masks.keep(message.SerializeToString(), *shape.read(message))


def same(masks: Masks, message: ExportMetricsServiceRequest) -> bool:
    """Whether it is read by a mask; if so it is read as without."""
    found = opened(masks, message.SerializeToString())
    if found is None:
        return False
    expected_shape, expected = shape.read(message)
    assert found[0].parts == expected_shape.parts
    assert found[0].refused.counts == expected_shape.refused.counts
    assert all(left.tobytes() == right.tobytes() for left, right in zip(found[1], expected, strict=True))
    return True


def opened(masks: Masks, body: bytes) -> tuple[Shape, Numbers] | None:
    """By a mask, in the middle of others like it."""
    mask = masks.find(body)
    return None if mask is None else (mask.shape, mask.numbers([bytes(len(body)), body, b"\xff" * len(body)]).row(1))


@pytest.mark.parametrize("vocabulary", ["old", "new"])
def test_an_export_like_the_one_before_is_read_by_its_mask(vocabulary: Any) -> None:
    host, masks = Host(vocabulary=vocabulary), Masks()
    assert not same(masks, host.export(AT_MS))
    taught(masks, lambda number: host.export(AT_MS + number))
    for number in range(2, 10):
        assert same(masks, host.export(AT_MS + number * 10_000, number * 1.7))
    assert not same(masks, Host("web-2", vocabulary=vocabulary).export(AT_MS)), "another machine is not this one"
    assert not same(masks, Host(vocabulary=vocabulary, disks=("sda", "sdc")).export(AT_MS)), "nor is another disk"


def test_values_that_make_no_sense_are_seen_through_a_mask_too() -> None:
    masks = Masks()

    def make(value: float) -> ExportMetricsServiceRequest:
        return export(GOOD, total("a", point(value), point(1, k="v"), STALE), gauge("", point()))

    taught(masks, lambda number: make(number + 0.5))
    for value in (float("nan"), -1.0, 3.5, 1e300):
        message = make(value)
        assert same(masks, message)
        found = opened(masks, message.SerializeToString())
        assert found is not None
        told, refused = ticks(found[0].parts[0], found[1], now_ms=AT_MS, kept_ms=DAY_MS)
        expected, expected_refused = only(message)
        assert [by_label(tick) for tick in told] == [by_label(expected)]
        refused.add_all(found[0].refused)
        assert refused.counts == expected_refused.counts


def test_histograms_and_exemplars_are_read_the_long_way() -> None:
    masks = Masks()
    with_histogram = export(GOOD, Metric(name="h", histogram=Histogram(data_points=[HistogramDataPoint(count=3)])))
    exemplar = point()
    exemplar.exemplars.append(Exemplar(as_double=1.0, time_unix_nano=AT_MS))
    for message in (with_histogram, export(gauge("a", exemplar))):
        for _ in range(5):
            masks.keep(message.SerializeToString(), *shape.read(message))
        assert not same(masks, message)


def test_masks_are_bounded() -> None:
    masks = Masks(most=3)
    for number in range(10):
        taught(masks, lambda _, name="n" * (number + 1): Host(name).export(AT_MS))  # type: ignore[misc]
    assert len(masks) == 3
    assert same(masks, Host("n" * 10).export(AT_MS + 5))
    assert not same(masks, Host("n").export(AT_MS + 5))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_bytes_changed_anywhere_are_read_as_without_a_mask_or_not_at_all(data: st.DataObject) -> None:
    masks = _TAUGHT
    body = bytearray(_BODY)
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    found = opened(masks, bytes(body))
    if found is not None:
        expected_shape, expected = shape.read(ExportMetricsServiceRequest.FromString(bytes(body)))
        assert found[0].parts == expected_shape.parts
        assert all(left.tobytes() == right.tobytes() for left, right in zip(found[1], expected, strict=True))


_TAUGHT = Masks()
taught(_TAUGHT, lambda number: export(GOOD, total("a", point(number), point(number + 0.5, k="v"))))
_BODY = export(GOOD, total("a", point(5), point(5.5, k="v"))).SerializeToString()


def test_versions_and_names_are_those_of_the_collector_before_those_of_a_library() -> None:
    def who(sent: ExportMetricsServiceRequest) -> Who:
        return read(sent)[0].parts[0].who

    sdk = {"host__name": "web-1", "telemetry__sdk__language": "python", "telemetry__sdk__version": "1.45.2"}
    assert who(export(GOOD, **sdk)).version == "OpenTelemetry python 1.45.2"
    assert who(merged(export(GOOD, **sdk), Host().export(AT_MS))).version == "OpenTelemetry Collector 0.140.0"
    assert who(export(GOOD)).version == "OpenTelemetry"
