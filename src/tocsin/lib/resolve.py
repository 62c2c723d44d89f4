"""From names to addresses: literals and the hosts file at once, everything else from DNS without a thread.

Answers are kept as long as their records live (c-ares does that), so a name costs one query per time to live.
Probes that watch DNS itself must not use it. Knows no guard and no protocol.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Literal

import aiodns
from aiodns.error import ARES_EBADNAME, ARES_ENODATA, ARES_ENONAME, ARES_ENOTFOUND, ARES_ETIMEOUT, DNSError

from tocsin.lib.clock import SYSTEM_CLOCK, Clock
from tocsin.lib.faults import ContactFailure

IpVersion = Literal["any", "4", "6"]

HOSTS_FILE = Path("/etc/hosts")
_LOOKED_AT_EVERY_S = 5.0
_FAMILIES = {"any": socket.AF_UNSPEC, "4": socket.AF_INET, "6": socket.AF_INET6}
_VERSIONS = {"any": (4, 6), "4": (4,), "6": (6,)}
_LOCALHOST = (IPv4Address("127.0.0.1"), IPv6Address("::1"))
_NO_SUCH_NAME = (ARES_ENOTFOUND, ARES_ENONAME, ARES_EBADNAME)


class Resolver:
    """Belongs to the event loop it was made on. ``servers`` are ``address`` or ``address:port``; none: the system's."""

    def __init__(
        self, *, servers: Sequence[str] = (), hosts_file: Path = HOSTS_FILE, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._servers = tuple(servers)
        self._dns: aiodns.DNSResolver | None = None
        self._hosts = _HostsFile(hosts_file, clock)

    async def close(self) -> None:
        if self._dns is not None:
            await self._dns.close()
            self._dns = None

    def known(self, host: str, ip_version: IpVersion = "any") -> Sequence[str] | None:
        """Its addresses where no query is needed (an IP literal, ``localhost``, the hosts file); None otherwise.

        Raises ``ContactFailure`` when it is known but has no address of that version.
        """
        fitting = _literal(host, ip_version)
        if fitting is None:
            name = host.rstrip(".").lower()
            if name == "localhost" or name.endswith(".localhost"):
                fitting = _of_version(_LOCALHOST, ip_version)
            elif addresses := self._hosts.addresses(name):
                fitting = _of_version(addresses, ip_version)
            else:
                return None
        if not fitting:
            raise _no_address(host, ip_version)
        return fitting

    async def resolve(self, host: str, ip_version: IpVersion = "any") -> Sequence[str]:
        """Its addresses, best first (RFC 6724), never empty. The caller sets the deadline.

        Raises ``ContactFailure``: ``name_not_found``, ``no_address`` (none of that version) or ``dns_failed``.
        """
        known = self.known(host, ip_version)
        if known is not None:
            return known
        if self._dns is None:
            self._dns = aiodns.DNSResolver(loop=asyncio.get_running_loop(), servers=self._servers or None)
        try:
            answer = await self._dns.getaddrinfo(host, _FAMILIES[ip_version], type=socket.SOCK_STREAM)
        except DNSError as error:
            raise _failure(host, ip_version, error) from None
        addresses = [node.addr[0].decode() for node in answer.nodes]
        if not addresses:
            raise _no_address(host, ip_version)
        return addresses


@lru_cache(maxsize=16_384)
def _literal(host: str, ip_version: IpVersion) -> tuple[str, ...] | None:
    """An IP literal as the only address of itself; None for a name."""
    try:
        return _of_version((ip_address(host),), ip_version)
    except ValueError:
        return None


def _of_version(addresses: Sequence[IPv4Address | IPv6Address], ip_version: IpVersion) -> tuple[str, ...]:
    return tuple(str(address) for address in addresses if address.version in _VERSIONS[ip_version])


def _failure(host: str, ip_version: IpVersion, error: DNSError) -> ContactFailure:
    code = error.args[0]
    if code in _NO_SUCH_NAME:
        return ContactFailure("name_not_found", f"the name {host} does not exist", network=False)
    if code == ARES_ENODATA:
        return _no_address(host, ip_version)
    if code == ARES_ETIMEOUT:
        return ContactFailure("dns_failed", f"no DNS server answered for {host}", network=True)
    return ContactFailure("dns_failed", f"{host} could not be looked up: {error.args[1]}", network=True)


def _no_address(host: str, ip_version: IpVersion) -> ContactFailure:
    kind = "" if ip_version == "any" else f"IPv{ip_version} "
    return ContactFailure("no_address", f"{host} has no {kind}address", network=False)


class _HostsFile:
    """Read again when it has changed; looked at no more often than every few seconds."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._names: dict[str, list[IPv4Address | IPv6Address]] = {}
        self._stamp: tuple[int, int] | None = None
        self._look_again_at = 0.0

    def addresses(self, name: str) -> Sequence[IPv4Address | IPv6Address]:
        now = self._clock.monotonic()
        if now >= self._look_again_at:
            self._look_again_at = now + _LOOKED_AT_EVERY_S
            self._refresh()
        return self._names.get(name, ())

    def _refresh(self) -> None:
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            if stamp != self._stamp:
                self._names = _parsed(self._path.read_text("utf-8", errors="replace"))
                self._stamp = stamp
        except OSError:
            # No hosts file, or none we may read: names come from DNS alone, as everywhere else.
            self._names, self._stamp = {}, None


def _parsed(text: str) -> dict[str, list[IPv4Address | IPv6Address]]:
    names: dict[str, list[IPv4Address | IPv6Address]] = {}
    for line in text.splitlines():
        literal, *aliases = line.partition("#")[0].split() or [""]
        try:
            address = ip_address(literal)
        except ValueError:
            continue
        for alias in aliases:
            held = names.setdefault(alias.rstrip(".").lower(), [])
            if address not in held:
                held.append(address)
    return names
