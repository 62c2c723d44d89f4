"""What goes over the wire, made of moments: messages of proto/tocsin/v1/collection.proto."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tocsin.collector.ticks import Form, Moment
from tocsin.v1 import collection_pb2 as pb

_KINDS = {"gauge": pb.KIND_GAUGE, "counter": pb.KIND_COUNTER}


def layout_bytes(form: Form) -> bytes:
    """A Layout without a number."""
    layout = pb.Layout(
        series=[
            pb.Series(
                name=series.name,
                attributes=dict(series.attributes),
                unit=series.unit,
                kind=_KINDS[series.kind],
                start_ms=start_ms,
            )
            for series, start_ms in zip(form.layout, form.starts_ms, strict=True)
        ]
    )
    return layout.SerializeToString(deterministic=True)


def tick_bytes(moment: Moment) -> bytes:
    """A Tick without its layout's number and without when it is sent."""
    tick = pb.Tick(
        boot_id=moment.boot_id,
        seq=moment.seq,
        at_ms=moment.at_ms,
        values=moment.values,
        processes=[
            pb.Process(pid=one.pid, name=one.name, user=one.user, cpu=one.cpu, memory_bytes=one.memory_bytes)
            for one in moment.processes or ()
        ],
    )
    return tick.SerializeToString()


def hello(
    *,
    machine_id: str,
    boot_id: str,
    name: str,
    version: str,
    every_s: float,
    facts: Mapping[str, str],
    tags: Sequence[str],
    now_ms: int,
) -> pb.Report:
    return pb.Report(
        hello=pb.Hello(
            machine_id=machine_id,
            boot_id=boot_id,
            name=name,
            version=version,
            every_ms=round(every_s * 1000),
            facts=facts,
            tags=tags,
            sent_at_ms=now_ms,
        )
    )
