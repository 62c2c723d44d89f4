"""Who counts as one guest, by address, and how many places one may take. Knows no message and no key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from starlette.requests import HTTPConnection


def network_of(connection: HTTPConnection) -> str:
    """What stands for one guest: an IPv4 address, or the /64 that an IPv6 guest has to himself."""
    host = connection.client.host if connection.client else ""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if address.version == 6:
        if address.ipv4_mapped is None:
            return str(ip_network((int(address), 64), strict=False))
        address = address.ipv4_mapped
    return str(address)


def also_mapped(proxies: str | Iterable[str]) -> list[str]:
    """The same trusted proxies, and each that is IPv4 also as a socket on ``::`` names it (``::ffff:10.0.0.2``)."""
    given = proxies.split(",") if isinstance(proxies, str) else proxies
    named = [one.strip() for one in given]
    return [*named, *(mapped for one in named if (mapped := _mapped(one)))]


def _mapped(proxy: str) -> str:
    """Empty for what is no IPv4 address or network."""
    try:
        network: IPv4Network | IPv6Network = ip_network(proxy)
    except ValueError:
        return ""
    if network.version == 6:
        return ""
    place = f"::ffff:{network.network_address}"
    return f"{place}/{96 + network.prefixlen}" if "/" in proxy else place


def _is_at_home(guest: str) -> bool:
    """On the relay's own host: a proxy that does not say for whom it asks, or whoever runs it."""
    return guest.startswith("127.") or guest == "::/64"


class Places:
    """How many of them one guest may have at once; who is on the relay's own host as many as there are."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: Counter[str] = Counter()

    @contextmanager
    def one_more(self, guest: str) -> Iterator[bool]:
        """False: it has as many as it may."""
        if self._taken[guest] >= self._most and not _is_at_home(guest):
            yield False
            return
        self._taken[guest] += 1
        try:
            yield True
        finally:
            self._taken[guest] -= 1
            if not self._taken[guest]:
                del self._taken[guest]
