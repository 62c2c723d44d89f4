"""Names to addresses, with a hosts file and a DNS server of our own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.clocks import FakeClock
from tests.servers import naming
from tocsin.lib.faults import ContactFailure
from tocsin.lib.net import Network
from tocsin.lib.resolve import IpVersion, Resolver


@pytest.fixture
def hosts_file(tmp_path: Path) -> Path:
    path = tmp_path / "hosts"
    path.write_text(
        "# comment\n"
        "192.0.2.1   nas NAS.home  # the box in the cellar\n"
        "2001:db8::1 nas\n"
        "192.0.2.1   nas\n"
        "not-an-address broken\n"
        "\n"
        "192.0.2.9\n"
    )
    return path


@pytest.fixture
async def resolver(hosts_file: Path) -> AsyncIterator[Resolver]:
    resolver = Resolver(servers=["127.0.0.1:1"], hosts_file=hosts_file)
    yield resolver
    await resolver.close()


@pytest.mark.parametrize(
    ("host", "ip_version", "addresses"),
    [
        ("127.0.0.1", "any", ["127.0.0.1"]),
        ("::1", "any", ["::1"]),
        ("localhost", "any", ["127.0.0.1", "::1"]),
        ("LocalHost.", "6", ["::1"]),
        ("app.localhost", "4", ["127.0.0.1"]),
        ("nas", "any", ["192.0.2.1", "2001:db8::1"]),
        ("NAS.Home.", "any", ["192.0.2.1"]),
        ("nas", "6", ["2001:db8::1"]),
    ],
)
async def test_what_needs_no_query(resolver: Resolver, host: str, ip_version: IpVersion, addresses: list[str]) -> None:
    assert list(resolver.known(host, ip_version) or ()) == addresses
    assert list(await resolver.resolve(host, ip_version)) == addresses


@pytest.mark.parametrize("host", ["broken", "not-an-address", "elsewhere.example", "1.2.3"])
def test_what_needs_one(resolver: Resolver, host: str) -> None:
    assert resolver.known(host) is None


@pytest.mark.parametrize(("host", "ip_version"), [("127.0.0.1", "6"), ("::1", "4"), ("nas.home", "6")])
async def test_no_address_of_that_version(resolver: Resolver, host: str, ip_version: IpVersion) -> None:
    with pytest.raises(ContactFailure, match=f"{host} has no IPv{ip_version} address") as caught:
        await resolver.resolve(host, ip_version)
    assert caught.value.code == "no_address"


def test_a_changed_hosts_file_is_read_again(hosts_file: Path) -> None:
    clock = FakeClock()
    resolver = Resolver(hosts_file=hosts_file, clock=clock)
    assert resolver.known("nas.home") == ("192.0.2.1",)
    hosts_file.write_text("192.0.2.77 nas.home\n")
    os.utime(hosts_file, ns=(1, 1))
    assert resolver.known("nas.home") == ("192.0.2.1",), "it is not looked at for every name"
    clock.tick(10)
    assert resolver.known("nas.home") == ("192.0.2.77",)
    hosts_file.unlink()
    clock.tick(10)
    assert resolver.known("nas.home") is None


async def test_names_from_dns() -> None:
    records = {("www.test", "A"): ["192.0.2.5", "192.0.2.6"], ("www.test", "AAAA"): ["2001:db8::5"]}
    async with naming(records) as dns:
        resolver = Resolver(servers=[dns.address])
        assert set(await resolver.resolve("www.test")) == {"192.0.2.5", "192.0.2.6", "2001:db8::5"}
        assert list(await resolver.resolve("www.test", "6")) == ["2001:db8::5"]
        with pytest.raises(ContactFailure, match=r"the name none\.test does not exist"):
            await resolver.resolve("none.test")
        await resolver.close()
        await resolver.close()


async def test_a_dns_server_that_is_not_there() -> None:
    resolver = Resolver(servers=["127.0.0.1:1"])
    with pytest.raises(ContactFailure) as caught:
        await resolver.resolve("www.test")
    assert (caught.value.code, caught.value.network) == ("dns_failed", True)
    await resolver.close()


class Door:
    def __init__(self, closed: list[str], name: str) -> None:
        self._closed, self._name = closed, name

    def close(self) -> None:
        self._closed.append(self._name)


async def test_the_network_shares_things_and_closes_them() -> None:
    closed: list[str] = []
    async with (
        naming({("evil.test", "A"): ["169.254.169.254"]}) as dns,
        Network.open(resolvers=[dns.address]) as network,
    ):
        first = network.shared("first", lambda: Door(closed, "first"))
        network.shared("second", lambda: Door(closed, "second"))
        assert network.shared("first", lambda: Door(closed, "never made")) is first
        assert await network.addresses("127.0.0.1") == ("127.0.0.1",)
        with pytest.raises(ContactFailure, match=r"evil\.test leads to a blocked address"):
            await network.addresses("evil.test")
        assert closed == []
    assert closed == ["second", "first"]
