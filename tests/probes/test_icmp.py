"""Probe icmp on loopback. Silent hosts and routers' errors: ``tests/lib/icmp_in_namespace.py``."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from tests.probes.probing import Examining
from tocsin.core.outcome import Result
from tocsin.lib.icmp import Echoes, Pinger
from tocsin.lib.net import Network
from tocsin.probes.icmp import IcmpSettings, jitter_us, loss


@pytest.mark.parametrize(("host", "ip"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1")])
async def test_a_host_that_answers_passes(host: str, ip: str, examined: Examining) -> None:
    seen = await examined(
        "icmp",
        "received == 2 && sent == 2 && loss == 0.0",
        "min_ms <= latency_ms && latency_ms <= max_ms && jitter_ms <= max_ms",
        f'ip == "{ip}"',
        host=host,
        count=2,
        pause_s=0.01,
    )
    assert (seen.error, seen.result, seen.address) == ("", Result.PASSED, ip)
    assert seen.latency_us is not None
    assert seen.phases.dns_us is not None
    details = seen.evidence()["details"]
    assert isinstance(details, dict)
    assert (details["sent"], details["received"], len(details["round_trips_ms"])) == (2, 2, 2)


async def test_one_of_its_addresses_can_be_chosen(examined: Examining) -> None:
    for version, ip in (("4", "127.0.0.1"), ("6", "::1")):
        seen = await examined("icmp", host="localhost", count=1, ip_version=version)
        assert (seen.result, seen.address) == (Result.PASSED, ip)


async def test_a_metadata_address_is_never_contacted(examined: Examining) -> None:
    seen = await examined("icmp", host="169.254.169.254", count=1)
    assert seen.result is Result.FAILED
    assert "169.254.169.254 must not be contacted" in seen.error


async def test_where_pings_are_not_allowed_nothing_is_measured(examined: Examining, network: Network) -> None:
    network.shared("icmp", lambda: Pinger(ways=()))
    seen = await examined("icmp", host="127.0.0.1")
    assert seen.result is Result.UNMEASURED
    assert "ping_group_range" in seen.error


@pytest.mark.parametrize(
    ("sent", "answered", "lost"), [(4, (1, 2, 3), 0.25), (3, (), 1.0), (0, (), 1.0), (1, (5,), 0.0)]
)
def test_loss(sent: int, answered: tuple[int, ...], lost: float) -> None:
    assert loss(Echoes(sent, answered, "")) == lost


@pytest.mark.parametrize(("round_trips", "jitter"), [((), 0), ((7,), 0), ((10, 20, 10), 10), ((5, 5, 11), 3)])
def test_jitter(round_trips: tuple[int, ...], jitter: float) -> None:
    assert jitter_us(round_trips) == jitter


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"host": "a", "count": 0}, "count"),
        ({"host": "a", "count": 11}, "count"),
        ({"host": "a", "size_bytes": 7}, "size_bytes"),
        ({"host": "a", "pause_s": 0}, "pause_s"),
        ({"host": "256.1.1.1"}, "host"),
        ({"host": "http://a"}, "host"),
        ({}, "host"),
    ],
)
def test_bad_settings_name_their_field(settings: dict[str, object], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        IcmpSettings.model_validate(settings)
    assert [error["loc"] for error in refused.value.errors()] == [(field,)]
