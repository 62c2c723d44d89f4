"""A program with a stock OpenTelemetry SDK, which knows nothing of Tocsin, shows up as a machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import pytest
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpExporter
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import Counter, MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from tests.running import Installation

Temporality = Mapping[type, AggregationTemporality]
Make = Callable[[Installation, str, dict[type, AggregationTemporality]], MetricExporter]
DELTA: Final = {Counter: AggregationTemporality.DELTA, ObservableCounter: AggregationTemporality.DELTA}


def over_grpc(tocsin: Installation, key: str, temporality: dict[type, AggregationTemporality]) -> MetricExporter:
    return GrpcExporter(
        endpoint=f"127.0.0.1:{tocsin.grpc_port}",
        insecure=True,
        headers=(("authorization", f"Bearer {key}"),),
        preferred_temporality=temporality,
    )


def over_http(tocsin: Installation, key: str, temporality: dict[type, AggregationTemporality]) -> MetricExporter:
    return HttpExporter(
        endpoint=f"{tocsin.address}/v1/metrics",
        headers={"Authorization": f"Bearer {key}"},
        preferred_temporality=temporality,
    )


@contextmanager
def program(name: str, exporter: MetricExporter) -> Iterator[None]:
    """One that measures its host: for every second half a second of processor time, and 3 of 4 GB in use."""
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=300)
    provider = MeterProvider([reader], Resource.create({"host.name": name, "service.name": "shop"}))
    meter = provider.get_meter("test")
    began_s = time.monotonic()

    def processor_time(_: CallbackOptions) -> Iterator[Observation]:
        spent_s = time.monotonic() - began_s
        for core in ("0", "1"):
            for state in ("user", "idle"):
                yield Observation(spent_s / 2, {"cpu": core, "state": state})

    def memory(_: CallbackOptions) -> Iterator[Observation]:
        yield Observation(3_000_000_000, {"state": "used"})
        yield Observation(1_000_000_000, {"state": "free"})

    meter.create_observable_counter("system.cpu.time", [processor_time], unit="s")
    meter.create_observable_gauge("system.memory.usage", [memory], unit="By")
    requests = meter.create_counter("http.requests", unit="{request}")
    duration = meter.create_histogram("http.duration", unit="s")
    try:
        requests.add(3, {"route": "/<b>"})
        duration.record(0.2)
        yield
    finally:
        provider.shutdown()


@pytest.mark.parametrize("temporality", [{}, DELTA], ids=["cumulative", "delta"])
@pytest.mark.parametrize("exporting", [over_grpc, over_http], ids=["grpc", "http"])
def test_a_program_with_an_sdk_is_a_machine(
    tocsin: Installation,
    exporting: Make,
    temporality: dict[type, AggregationTemporality],
    request: pytest.FixtureRequest,
) -> None:
    made = tocsin.command("keys", "create", "sdk", "--scope", "ingest")
    assert made.returncode == 0, made.stderr
    name = request.node.callspec.id
    with program(name, exporting(tocsin, made.stdout.strip(), temporality)):

        def current() -> object:
            found = [one for one in tocsin.items("/v1/machines") if one["name"] == name]
            if not found:
                return None
            (machine,) = found
            now = machine["current"]
            assert isinstance(now, dict)
            # The first tick has no rates, or those of a moment.
            return machine if now["cpu"] is not None and 0.48 < now["cpu"] < 0.52 else None

        machine = tocsin.wait_until(current, what=f"for {name} to show its processor")
    assert isinstance(machine, dict)
    assert machine["uid"] == name
    assert machine["verdict"] in ("up", "unknown")
    assert machine["current"]["memory"] == 0.75
    assert machine["current"]["cores"] == 2
    assert machine["facts"]["host.name"] == name
    assert machine["version"].startswith("OpenTelemetry python ")
    series = tocsin.get(f"/v1/machines/{machine['id']}")["series"]
    assert isinstance(series, list)
    labels = {(one["name"], tuple(sorted(one["attributes"].items()))) for one in series}
    assert ("system.cpu.time", (("cpu.mode", "user"),)) in labels
    assert any(
        label == "http.requests" and ("route", "/<b>") in attributes and ("service.name", "shop") in attributes
        for label, attributes in labels
    )
    assert not any(label == "http.duration" for label, _ in labels), "histograms are not kept"
