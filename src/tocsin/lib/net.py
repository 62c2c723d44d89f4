"""What everything that contacts other machines shares on one event loop. Knows no probe and no channel.

Opened once per loop, closed by whoever opened it; nothing in it may be used from another thread.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from typing import Protocol, TypeVar, cast

from tocsin.lib.guard import AddressGuard, IpNetwork
from tocsin.lib.http import HttpEngine
from tocsin.lib.resolve import IpVersion, Resolver


class Closable(Protocol):
    def close(self) -> None: ...


T = TypeVar("T", bound=Closable)


class Network:
    """Make it with ``Network.open``."""

    def __init__(self, *, guard: AddressGuard, resolver: Resolver, http: HttpEngine) -> None:
        self.guard = guard
        self.resolver = resolver
        self.http = http
        self._shared: dict[str, Closable] = {}
        self._closing = ExitStack()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        *,
        allowed_networks: Iterable[IpNetwork] = (),
        blocked_networks: Iterable[IpNetwork] = (),
        resolvers: Sequence[str] = (),
    ) -> AsyncIterator[Network]:
        """The network as the settings of the same names describe it. Everything is closed on leaving."""
        async with AsyncExitStack() as closing:
            guard = AddressGuard(allowed=allowed_networks, blocked=blocked_networks)
            resolver = Resolver(servers=resolvers)
            closing.push_async_callback(resolver.close)
            http = HttpEngine(resolver=resolver, guard=guard)
            closing.callback(http.close)
            network = cls(guard=guard, resolver=resolver, http=http)
            closing.callback(network._closing.close)
            yield network

    async def addresses(self, host: str, ip_version: IpVersion = "any") -> tuple[str, ...]:
        """The addresses of ``host`` that may be contacted, best first; never empty.

        ``host`` is a name or an IP literal without brackets. Raises ``ContactFailure`` (``name_not_found``,
        ``blocked_address`` …). Connect to one of these and never to the name, so that the guard holds.
        """
        return self.guard.permitted(host, await self.resolver.resolve(host, ip_version))

    def shared(self, key: str, factory: Callable[[], T]) -> T:
        """What ``factory`` made when ``key`` was first asked for; closed with the network, last made first."""
        if key not in self._shared:
            made = factory()
            self._shared[key] = made
            self._closing.callback(made.close)
        return cast(T, self._shared[key])
