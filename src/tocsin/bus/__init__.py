"""Who is woken, and what is handed round at once. A message only makes sooner what a timer would find in the database
anyway."""

from __future__ import annotations

from contextlib import AbstractContextManager

from tocsin.bus.base import Bus


def open_bus(url: str, *, database_url: str) -> AbstractContextManager[Bus]:
    """The bus that ``url`` names: ``memory://``, ``redis://…`` (``rediss://…``, ``unix://…``), or ``postgres://…``,
    which without a host is the database's own. Never waits for a server, which need not be there.

    Raises ValueError, which repeats nothing of the address, where that cannot be understood.
    """
    scheme, _, rest = url.partition("://")
    # Each engine is imported only where it is chosen: a client takes 0.1 s and 10 MB.
    match scheme:
        case "memory":
            from tocsin.bus.memory import MemoryBus

            return MemoryBus.open()
        case "postgres" | "postgresql":
            from tocsin.bus.postgres import open_postgres_bus

            return open_postgres_bus(url if rest else database_url)
        case "redis" | "rediss" | "unix":
            from tocsin.bus.redis import open_redis_bus

            return open_redis_bus(url)
    raise ValueError("a bus is memory://, postgres://, redis://, rediss:// or unix://")
