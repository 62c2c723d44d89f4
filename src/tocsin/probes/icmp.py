"""The icmp kind: does the host answer echo requests, how fast, and how many are lost.

Knows no socket; the requests of all targets go over the sockets that ``lib.icmp`` shares.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean, median

from pydantic import Field

from tocsin.lib.expressions import Kind
from tocsin.lib.faults import ContactFailure
from tocsin.lib.icmp import MAX_SIZE_BYTES, TOKEN_BYTES, Echoes, Pinger
from tocsin.lib.net import Network
from tocsin.lib.resolve import IpVersion
from tocsin.lib.stream import Progress
from tocsin.probes.base import ProbeKind, ProbeSettings, Reading
from tocsin.probes.connection import Host, attempt

_HEADROOM = 0.95
"""How much of the time goes into waiting for answers, so that what has come is still told in time."""
_NOTHING_SENT = Echoes(sent=0, round_trips_us=(), unreachable="")


class IcmpSettings(ProbeSettings):
    """Echo requests to a host."""

    host: Host = Field(description="A name or an IP address.", examples=["router.example.com"])
    ip_version: IpVersion = Field("any", description="Ask over IPv4 or IPv6 only.")
    count: int = Field(3, ge=1, le=10, description="How many requests one check sends.")
    pause_s: float = Field(0.2, ge=0.01, le=1, allow_inf_nan=False, description="The pause between two of them.")
    size_bytes: int = Field(56, ge=TOKEN_BYTES, le=MAX_SIZE_BYTES, description="The size of each request's payload.")


@dataclass(slots=True)
class _Seen:
    """How far a probe came."""

    echoes: Echoes = field(default=_NOTHING_SENT)


async def probe(settings: IcmpSettings, timeout_s: float, network: Network) -> Reading:
    progress, seen = Progress(), _Seen()
    work = _ask(settings, timeout_s, network, progress, seen)
    failure = await attempt(work, timeout_s=timeout_s, progress=progress)
    round_trips_us = seen.echoes.round_trips_us
    return Reading(
        latency_us=round(median(round_trips_us)) if round_trips_us else None,
        phases=progress.phases,
        values={
            "sent": seen.echoes.sent,
            "received": len(round_trips_us),
            "loss": loss(seen.echoes),
            "latency_ms": median(round_trips_us) / 1000 if round_trips_us else 0.0,
            "min_ms": min(round_trips_us, default=0) / 1000,
            "max_ms": max(round_trips_us, default=0) / 1000,
            "jitter_ms": jitter_us(round_trips_us) / 1000,
            "ip": progress.address or "",
        },
        failure=failure,
        address=progress.address,
        details=lambda: {
            "sent": seen.echoes.sent,
            "received": len(round_trips_us),
            "round_trips_ms": [round_trip_us / 1000 for round_trip_us in round_trips_us],
            "unreachable": seen.echoes.unreachable,
        },
    )


async def _ask(settings: IcmpSettings, timeout_s: float, network: Network, progress: Progress, seen: _Seen) -> None:
    progress.begin("dns", f"looking up {settings.host}")
    address = (await network.addresses(settings.host, settings.ip_version))[0]
    progress.address = address
    progress.begin(None, f"waiting for echoes from {address}")
    echoes = seen.echoes = await network.shared("icmp", Pinger).ping(
        address,
        count=settings.count,
        interval_s=settings.pause_s,
        size_bytes=settings.size_bytes,
        timeout_s=timeout_s * _HEADROOM - progress.total_us / 1_000_000,
    )
    if echoes.round_trips_us:
        return
    if echoes.unreachable:
        raise ContactFailure("unreachable", f"{address} cannot be reached: {echoes.unreachable}", network=True)
    requests = f"{echoes.sent} echo request{'' if echoes.sent == 1 else 's'}"
    raise ContactFailure("timeout", f"{address} did not answer {requests} within {timeout_s:g} s", network=True)


def loss(echoes: Echoes) -> float:
    """From 0 to 1; 1 where nothing was sent."""
    return 1 - len(echoes.round_trips_us) / echoes.sent if echoes.sent else 1.0


def jitter_us(round_trips_us: tuple[int, ...]) -> float:
    """The mean difference between one round trip and the next; 0 for fewer than two."""
    return fmean(abs(after - before) for before, after in pairwise(round_trips_us)) if len(round_trips_us) > 1 else 0.0


ICMP = ProbeKind(
    kind="icmp",
    title="Ping (ICMP)",
    settings=IcmpSettings,
    variables={
        "sent": Kind.INT,
        "received": Kind.INT,
        "loss": Kind.NUMBER,
        "latency_ms": Kind.NUMBER,
        "min_ms": Kind.NUMBER,
        "max_ms": Kind.NUMBER,
        "jitter_ms": Kind.NUMBER,
        "ip": Kind.STRING,
    },
    default_assertions=("received > 0",),
    probe=probe,
    endpoint=lambda settings: settings.host,
)
