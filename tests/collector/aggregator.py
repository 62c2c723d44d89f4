"""An aggregator for collectors: a real gRPC server that keeps what it is sent, and can be in every kind of mood."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import grpc

from tests.running import free_port
from tocsin.v1 import collection_pb2 as pb

T = TypeVar("T")


class Aggregator:
    """``take`` says what is answered to a tick; None: nothing. It may abort the call, and so may ``lay_out``."""

    def __init__(self, key: str = "tcs_right", *, credentials: grpc.ServerCredentials | None = None) -> None:
        self.port = free_port()
        self.key = key
        self.credentials = credentials
        self.hellos: list[pb.Hello] = []
        self.arrived: list[tuple[str, int]] = []
        """Boot and seq of every tick, in their order, those that came twice too."""
        self.ticks: dict[tuple[str, int], dict[str, float]] = {}
        """By label of the series; NaN left out."""
        self.messages: dict[tuple[str, int], pb.Tick] = {}
        self.layouts: list[pb.Layout] = []
        self.take: Callable[[pb.Tick, grpc.ServicerContext], pb.Receipt | None] = acknowledge
        self.lay_out: Callable[[pb.Layout, grpc.ServicerContext], None] = lambda layout, context: None
        self.changed = threading.Condition()
        self._server: grpc.Server | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self, *options: tuple[str, int]) -> None:
        server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0), *options])
        stream: grpc.RpcMethodHandler[pb.Report, pb.Receipt] = grpc.stream_stream_rpc_method_handler(
            self._stream, pb.Report.FromString, lambda receipt: receipt.SerializeToString()
        )
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("tocsin.v1.Collection", {"Stream": stream})]
        )
        if self.credentials is None:
            server.add_insecure_port(self.address)
        else:
            server.add_secure_port(self.address, self.credentials)
        server.start()
        self._server = server

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop(None).wait()
        self._server = None

    def wait_until(self, look: Callable[[], T], within_s: float = 40.0) -> T:
        with self.changed:
            assert self.changed.wait_for(look, within_s), "waited in vain"
            return look()

    def _stream(self, reports: Iterator[pb.Report], context: grpc.ServicerContext) -> Iterator[pb.Receipt]:
        metadata: dict[str, Any] = dict(context.invocation_metadata())
        if metadata.get("authorization") != f"Bearer {self.key}":
            with self.changed:
                self.hellos.append(pb.Hello())
                self.changed.notify_all()
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "this key is unknown or revoked")
        layouts: dict[int, pb.Layout] = {}
        for report in reports:
            with self.changed:
                match report.WhichOneof("part"):
                    case "hello":
                        self.hellos.append(report.hello)
                    case "layout":
                        layouts[report.layout.id] = report.layout
                        self.layouts.append(report.layout)
                    case "tick":
                        self._keep(report.tick, layouts[report.tick.layout_id])
                self.changed.notify_all()
            if report.HasField("layout"):
                self.lay_out(report.layout, context)
            if report.HasField("tick"):
                receipt = self.take(report.tick, context)
                if receipt is not None:
                    yield receipt

    def _keep(self, tick: pb.Tick, layout: pb.Layout) -> None:
        assert len(tick.values) == 8 * len(layout.series)
        values = struct.unpack(f"<{len(layout.series)}d", tick.values)
        key = tick.boot_id, tick.seq
        self.arrived.append(key)
        self.messages[key] = tick
        self.ticks[key] = {
            _label(series): value for series, value in zip(layout.series, values, strict=True) if value == value
        }


def acknowledge(tick: pb.Tick, _: grpc.ServicerContext) -> pb.Receipt:
    return pb.Receipt(boot_id=tick.boot_id, acked_seq=tick.seq)


def _label(series: pb.Series) -> str:
    attributes = ",".join(f"{name}={value}" for name, value in sorted(series.attributes.items()))
    return f"{series.name}{{{attributes}}}" if attributes else series.name
