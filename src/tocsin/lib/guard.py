"""Which addresses may be contacted. Knows no names and no protocol; it is asked with the address to be used.

A target's address, a redirect and a channel's webhook are chosen by people, or by the servers they watch. Private
and loopback networks are what many people watch, so they are allowed; what is never a thing to watch, and gives
away credentials (cloud metadata), is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from tocsin.lib.faults import ContactFailure

IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network

BLOCKED_BY_DEFAULT: tuple[tuple[IpNetwork, str], ...] = tuple(
    (ip_network(network), what)
    for network, what in (
        ("169.254.0.0/16", "a link-local address (cloud metadata is served there)"),
        ("fe80::/10", "a link-local address"),
        ("fd00:ec2::254/128", "the cloud metadata service of AWS"),
        ("fd20:ce::254/128", "the cloud metadata service of Google"),
        ("100.100.100.200/32", "the cloud metadata service of Alibaba"),
        ("168.63.129.16/32", "the platform service of Azure"),
        ("192.0.0.192/32", "the cloud metadata service of Oracle"),
        ("0.0.0.0/8", "an address of this host"),
        ("::/128", "the unspecified address"),
        ("224.0.0.0/4", "a multicast address"),
        ("ff00::/8", "a multicast address"),
        ("255.255.255.255/32", "the broadcast address"),
    )
)
# Their last 32 bits are an IPv4 address: NAT64 (RFC 6052, 8215) and stateless translation (RFC 2765).
_TRANSLATED = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"), IPv6Network("::ffff:0:0:0/96"))
_CACHED = 16_384


class BlockedAddress(ContactFailure):
    """The address is one that must not be contacted."""

    def __init__(self, message: str) -> None:
        super().__init__("blocked_address", message, network=False)


class AddressGuard:
    """``allowed`` beats ``blocked`` beats the default list. Immutable; answers are cached."""

    def __init__(self, *, allowed: Iterable[IpNetwork] = (), blocked: Iterable[IpNetwork] = ()) -> None:
        self._allowed = tuple(allowed)
        self._blocked = tuple((network, "in a blocked network") for network in blocked) + BLOCKED_BY_DEFAULT
        self._named = frozenset(str(network) for network in blocked)
        self.reason_against = lru_cache(maxsize=_CACHED)(self._reason_against)

    def check(self, address: str) -> None:
        """Raises ``BlockedAddress``. ``address`` is an IP literal without brackets."""
        reason = self.reason_against(address)
        if reason is not None:
            raise BlockedAddress(reason)

    def permitted(self, host: str, addresses: Sequence[str]) -> tuple[str, ...]:
        """Those of ``addresses`` (at least one) that may be contacted. Raises ``BlockedAddress`` when there are none.

        ``host`` is the name they were found for, or the address itself.
        """
        permitted = tuple(address for address in addresses if self.reason_against(address) is None)
        if permitted:
            return permitted
        reason = self.reason_against(addresses[0])
        raise BlockedAddress(f"{reason}" if host == addresses[0] else f"{host} leads to a blocked address: {reason}")

    def _reason_against(self, address: str) -> str | None:
        """Why it must not be contacted, for people; None when it may be."""
        forms = _forms(ip_address(address))
        if any(form in network for form in forms for network in self._allowed):
            return None
        for network, what in self._blocked:
            if any(form in network for form in forms):
                return _message(address, network, what, configured=str(network) in self._named)
        return None


def _forms(address: IpAddress) -> tuple[IpAddress, ...]:
    """The address, and the IPv4 address it really leads to where it wraps one (mapped, 6to4, Teredo, NAT64 …)."""
    if isinstance(address, IPv4Address):
        return (address,)
    inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
    if inner is None and any(address in network for network in _TRANSLATED):
        inner = IPv4Address(int(address) & 0xFFFF_FFFF)
    if inner is None and int(address) >> 32 == 0 and int(address) > 1:
        inner = IPv4Address(int(address))
    return (address,) if inner is None else (address, inner)


def _message(address: str, network: IpNetwork, what: str, *, configured: bool) -> str:
    if configured:
        return f"{address} must not be contacted: it is in {network}, which TOCSIN_BLOCKED_NETWORKS names"
    return (
        f"{address} must not be contacted: it is {what}. "
        f"If you mean to, allow it with TOCSIN_ALLOWED_NETWORKS={address}/{ip_address(address).max_prefixlen}"
    )
