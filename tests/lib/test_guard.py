from __future__ import annotations

from ipaddress import ip_network

import pytest

from tocsin.lib.guard import AddressGuard, BlockedAddress

METADATA = [
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "::ffff:0:169.254.169.254",
    "2001:0:4136:e378:8000:63bf:5601:5601",
    "fd00:ec2::254",
    "fd20:ce::254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
]
OTHERS = ["169.254.1.1", "fe80::1", "0.0.0.0", "0.1.2.3", "::", "224.0.0.251", "ff02::1", "255.255.255.255"]


@pytest.mark.parametrize("address", METADATA + OTHERS)
def test_blocked_by_default(address: str) -> None:
    with pytest.raises(BlockedAddress, match="TOCSIN_ALLOWED_NETWORKS") as blocked:
        AddressGuard().check(address)
    assert blocked.value.code == "blocked_address"
    assert address in str(blocked.value)
    assert not blocked.value.network


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "::1", "10.1.2.3", "192.168.1.1", "172.16.0.1", "fd00::1", "100.64.0.1", "8.8.8.8", "2606:4700::1"],
)
def test_own_networks_and_the_internet_are_allowed(address: str) -> None:
    AddressGuard().check(address)


def test_the_message_names_a_setting_that_lifts_the_block() -> None:
    with pytest.raises(BlockedAddress) as blocked:
        AddressGuard().check("169.254.169.254")
    setting = str(blocked.value).rpartition("TOCSIN_ALLOWED_NETWORKS=")[2]
    AddressGuard(allowed=[ip_network(setting)]).check("169.254.169.254")


def test_what_is_blocked_by_a_setting_says_so() -> None:
    guard = AddressGuard(blocked=[ip_network("10.0.0.0/8")])
    with pytest.raises(BlockedAddress, match=r"10\.1\.2\.3 .* 10\.0\.0\.0/8, which TOCSIN_BLOCKED_NETWORKS names"):
        guard.check("10.1.2.3")
    with pytest.raises(BlockedAddress):
        guard.check("::ffff:10.1.2.3")
    guard.check("11.1.2.3")


def test_allowed_beats_blocked() -> None:
    guard = AddressGuard(allowed=[ip_network("10.1.0.0/16")], blocked=[ip_network("10.0.0.0/8")])
    guard.check("10.1.2.3")
    with pytest.raises(BlockedAddress):
        guard.check("10.2.2.3")


def test_a_name_keeps_its_permitted_addresses_only() -> None:
    guard = AddressGuard()
    assert guard.permitted("mixed.example", ["169.254.169.254", "10.0.0.1", "10.0.0.2"]) == ("10.0.0.1", "10.0.0.2")
    with pytest.raises(BlockedAddress, match=r"evil\.example leads to a blocked address: 169\.254\.169\.254 "):
        guard.permitted("evil.example", ["169.254.169.254", "fe80::1"])
