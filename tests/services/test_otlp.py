"""OTLP over gRPC, as whoever comes over the network meets it: with a key, without, and with nonsense."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, cast

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from tests.otlp.hostmetrics import Host, metrics
from tests.services.far import Centre
from tocsin import wire
from tocsin.intake.arrived import Arrived
from tocsin.otlp import door
from tocsin.services.aggregator.otlp import CALL, DETAILS, SERVICE
from tocsin.store import machines
from tocsin.store.engine import StoreUnavailable
from tocsin.store.machines import MachineRow

Code = grpc.StatusCode


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Centre]:
    made = Centre(f"sqlite:///{tmp_path / 'tocsin.db'}")
    yield made
    made.close()


class Refused(NamedTuple):
    code: grpc.StatusCode
    words: str
    status: Status


class Exporter:
    """Says what it likes."""

    def __init__(self, port: int, key: str | None, *, header: str = "authorization") -> None:
        self._channel = grpc.insecure_channel(
            f"127.0.0.1:{port}",
            options=[("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)],
        )
        value = f"Bearer {key}" if header == "authorization" else str(key)
        self._metadata: tuple[tuple[str, str | bytes], ...] = () if key is None else ((header, value),)

    def __call__(self, body: bytes, *, compression: grpc.Compression | None = None) -> ExportMetricsServiceResponse:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(f"/{SERVICE.full_name}/{CALL}")
        answer = call(body, timeout=20, metadata=self._metadata, compression=compression)
        return ExportMetricsServiceResponse.FromString(answer)

    def refused(self, body: bytes, *, compression: grpc.Compression | None = None) -> Refused:
        with pytest.raises(grpc.RpcError) as error:
            self(body, compression=compression)
        status = cast("grpc.Call", cast("object", error.value))  # which the library's types do not say
        trailing = {str(name): value for name, value in status.trailing_metadata() or ()}
        details = trailing.get(DETAILS, b"")
        return Refused(
            status.code(), status.details() or "", Status.FromString(details if isinstance(details, bytes) else b"")
        )

    def close(self) -> None:
        self._channel.close()


@pytest.fixture
def exporter(centre: Centre) -> Iterator[Exporter]:
    with centre.serving(), closing(Exporter(centre.port, centre.make_key("ingest"))) as made:
        yield made


BOOTED_MS = 1_700_000_000_000


def body(centre: Centre, name: str = "web-1") -> bytes:
    return Host(name, booted_ms=BOOTED_MS).export(centre.clock.now_ms()).SerializeToString()


def known(centre: Centre) -> dict[str, MachineRow]:
    with centre.store.read() as conn:
        return {row.uid: row for row in machines.every(conn)}


def test_an_export_is_stored_before_it_is_answered(centre: Centre, exporter: Exporter) -> None:
    for compression in (None, grpc.Compression.Gzip):
        assert not exporter(body(centre), compression=compression).HasField("partial_success")
    machine = known(centre)["web-1"]
    assert machine.key_id is not None
    with centre.store.read() as conn:
        assert machines.now_of(conn, [machine.id])


def test_what_is_not_kept_is_told(centre: Centre, exporter: Exporter) -> None:
    export = Host(booted_ms=BOOTED_MS).export(centre.clock.now_ms())
    next(metrics(export)).histogram.data_points.add()
    told = exporter(export.SerializeToString()).partial_success
    assert told.rejected_data_points == 1
    assert "histograms" in told.error_message


def test_an_export_of_nothing_is_fine(exporter: Exporter) -> None:
    assert exporter(b"") == ExportMetricsServiceResponse()


def test_without_a_key_that_may_nobody_gets_in(centre: Centre) -> None:
    with centre.serving():
        for key, code in (
            (None, Code.UNAUTHENTICATED),
            ("tcs_wrong", Code.UNAUTHENTICATED),
            (centre.key, Code.PERMISSION_DENIED),
            (centre.make_key("admin"), Code.PERMISSION_DENIED),
        ):
            with closing(Exporter(centre.port, key)) as exporter:
                found = exporter.refused(b"\xff\xff\xff")
                assert found.code is code
                assert "key" in found.words
    assert not known(centre)


def test_either_header_may_carry_the_key(centre: Centre) -> None:
    key = centre.make_key("ingest")
    with centre.serving():
        for header in ("authorization", "x-api-key"):
            with closing(Exporter(centre.port, key, header=header)) as exporter:
                exporter(body(centre, header))
    assert set(known(centre)) == {"authorization", "x-api-key"}


def test_a_key_that_is_revoked_is_refused_soon(centre: Centre, exporter: Exporter) -> None:
    exporter(body(centre))
    centre.revoke_keys()
    deadline = time.monotonic() + 30
    while True:
        try:
            exporter(body(centre))
        except grpc.RpcError:
            break
        assert time.monotonic() < deadline, "it goes on being let in"
        time.sleep(0.1)
    assert exporter.refused(body(centre)).code is Code.UNAUTHENTICATED


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff", b"\x0a\x7f", bytes(range(256)) * 20])
def test_garbage_is_never_to_be_sent_again(exporter: Exporter, garbage: bytes) -> None:
    found = exporter.refused(garbage)
    assert (found.code, found.words) == (Code.INVALID_ARGUMENT, "this is no ExportMetricsServiceRequest")
    assert (found.status.code, found.status.message) == (3, found.words)
    detail = BadRequest()
    assert found.status.details[0].Unpack(detail)
    assert detail.field_violations[0].description == found.words


def test_what_is_too_large_is_not_taken_packed_or_not(centre: Centre, exporter: Exporter) -> None:
    too_much = bytes(wire.LARGEST_MESSAGE_BYTES + 1)
    for compression in (None, grpc.Compression.Gzip):
        found = exporter.refused(too_much, compression=compression)
        assert found.code is Code.RESOURCE_EXHAUSTED
        assert not found.status.details, "with details it would be sent again"
    exporter(body(centre))


def test_when_the_database_is_away_it_is_said_when_to_come_back(
    centre: Centre, exporter: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise StoreUnavailable("the database cannot be reached: gone")

    with monkeypatch.context() as broken:
        broken.setattr("tocsin.intake.intake.Intake.write", away)
        found = exporter.refused(body(centre))
    assert (found.code, found.words) == (Code.UNAVAILABLE, StoreUnavailable.outward)
    delay = RetryInfo()
    assert found.status.details[0].Unpack(delay)
    assert delay.retry_delay.ToTimedelta().total_seconds() == door.RETRY_AFTER_S
    exporter(body(centre))


def test_when_too_many_wait_the_next_is_asked_to_come_back(
    centre: Centre, exporter: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "MOST_WAITING", 1)
    write = centre.intake.write
    under_way, let = threading.Event(), threading.Event()

    def slow(arrived: Sequence[Arrived]) -> Mapping[tuple[int, str], int]:
        under_way.set()
        let.wait(20)
        return write(arrived)

    monkeypatch.setattr(centre.intake, "write", slow)
    first = threading.Thread(target=exporter, args=[body(centre)])
    first.start()
    assert under_way.wait(20)
    found = exporter.refused(body(centre, "web-2"))
    let.set()
    first.join()
    assert found.code is Code.UNAVAILABLE
    assert found.status.details[0].Is(RetryInfo.DESCRIPTOR)
    assert set(known(centre)) == {"web-1"}


def test_a_defect_of_ours_says_nothing_of_our_insides(
    centre: Centre, exporter: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(*_: object) -> None:
        raise ZeroDivisionError("inside")

    monkeypatch.setattr("tocsin.intake.intake.Intake.write", defect)
    found = exporter.refused(body(centre))
    assert found.code is Code.INTERNAL
    assert "inside" not in found.words


def test_one_key_may_export_for_many_machines(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway Collector has one key; what a worker may call a minute does not hold here."""
    monkeypatch.setattr("tocsin.services.aggregator.doorkeeper.CALLS_PER_MINUTE", 3)
    with centre.serving(), closing(Exporter(centre.port, centre.make_key("ingest"))) as exporter:
        for number in range(20):
            exporter(body(centre, f"web-{number}"))
    assert len(known(centre)) == 20
