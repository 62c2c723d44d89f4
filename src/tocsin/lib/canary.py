"""Whether this machine has its network, asked without bothering anybody by default. Knows no target."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import psutil

TIMEOUT_S = 2.0


async def has_network(addresses: Sequence[str]) -> bool:
    """True when any of ``host:port`` accepts a connection; with none given, when a network interface is up.

    The second sends no packet: it sees an unplugged cable or a switched-off radio, not a fault further away.
    """
    if not addresses:
        return any(card.isup for name, card in psutil.net_if_stats().items() if not name.startswith("lo"))
    return any(await asyncio.gather(*(_accepts(address) for address in addresses)))


async def _accepts(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(TIMEOUT_S):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
