"""Fixtures: one reading of a kind, one check through the frame, an authority."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from typing import Protocol

import pytest

from tests.probes.authority import Identity, identity
from tocsin.core.target import Target
from tocsin.lib.net import Network
from tocsin.probes import PROBES
from tocsin.probes.base import Reading
from tocsin.probes.frame import Examination, examine, prepare


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    async with Network.open() as opened:
        yield opened


class Probing(Protocol):
    def __call__(self, kind: str, /, *, timeout_s: float = 5.0, **settings: object) -> Awaitable[Reading]: ...


class Examining(Protocol):
    def __call__(
        self, kind: str, /, *assertions: str, timeout_s: float = 5.0, **settings: object
    ) -> Awaitable[Examination]: ...


@pytest.fixture
def probe(network: Network) -> Probing:
    """One reading, straight from the kind."""

    async def probe(kind: str, /, *, timeout_s: float = 5.0, **settings: object) -> Reading:
        row = PROBES[kind]
        assert row.probe is not None
        return await row.probe(row.settings.model_validate(settings), timeout_s, network)

    return probe


@pytest.fixture
def examined(network: Network) -> Examining:
    """One check through the frame, as the worker does it."""

    async def examined(kind: str, /, *assertions: str, timeout_s: float = 5.0, **settings: object) -> Examination:
        prepared = prepare(target(kind, settings, assertions=assertions, timeout_ms=round(timeout_s * 1000)))
        assert prepared is not None
        return await examine(prepared, network)

    return examined


def target(
    kind: str, settings: dict[str, object], *, assertions: tuple[str, ...] = (), timeout_ms: int = 5000
) -> Target:
    return Target(
        id=1,
        name="target",
        slug="target",
        kind=kind,
        settings=settings,
        interval_ms=60_000,
        timeout_ms=timeout_ms,
        recheck_ms=5_000,
        enabled=True,
        tags=(),
        group="",
        assertions=assertions,
    )


@pytest.fixture(scope="session")
def root() -> Identity:
    return identity("Tocsin Test Root", days=(-365, 365), authority=True)


@pytest.fixture(scope="session")
def good(root: Identity) -> Identity:
    return identity("localhost", "localhost", "127.0.0.1", issuer=root)
