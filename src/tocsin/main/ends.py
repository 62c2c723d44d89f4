"""How a process does not begin, and how it ends."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from tocsin.lib.log import get_logger
from tocsin.lib.threads import Ended

log = get_logger("main")


class CannotStart(Exception):
    """What keeps a process from starting, and what to do about it, in one line."""


class Ends:
    """When this process ends: it was told to, or a service has ended by itself. Half a Tocsin would look healthy and
    not be."""

    def __init__(self) -> None:
        self.over: Final = asyncio.Event()
        self.stopping = False
        self.failed: list[str] = []
        self.refusal: CannotStart | None = None
        """Why a service could not begin."""

    def of(self, service: str) -> Ended:
        """To be told when ``service`` has ended."""
        return partial(self._ended, service)

    def _ended(self, service: str, error: BaseException | None) -> None:
        if isinstance(error, CannotStart):
            self.refusal = error
        elif not self.stopping or error is not None:
            self.failed.append(service)
            log.error("a service ended by itself", failed=service, exc_info=error)
        self.over.set()
