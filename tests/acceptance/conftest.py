"""One body of tests, two forms of installation: whole in one process, and split into many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest

from tests.acceptance.servers import Served, served
from tests.postgres import PrivateServer, Server, start_private_server
from tests.redis import PrivateRedis, start_private_redis
from tests.running import ROLES, Installation, Split, Tocsin, started

FORMS = ("whole", "split")


class Make(Protocol):
    def __call__(self, place: Path, /, *, roles: Mapping[str, int] = ROLES) -> Installation:
        """A new installation in a directory, not started yet. ``roles``: how many processes of each, if it is split."""
        ...


@pytest.fixture(scope="module", params=FORMS)
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    def whole(place: Path, /, *, roles: Mapping[str, int] = ROLES) -> Installation:
        return Tocsin(place)

    if request.param == "whole":
        yield whole
        return
    postgres: Server = request.getfixturevalue("postgres_server")
    made: list[str] = []

    def split(place: Path, /, *, roles: Mapping[str, int] = ROLES) -> Installation:
        made.append(postgres.create_database(migrated=False))
        return Split(place, made[-1], roles=roles)

    yield split
    for url in made:
        postgres.drop_database(url)


@pytest.fixture(scope="module")
def tocsin(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One that runs, for all the tests of a module."""
    with started(make(tmp_path_factory.mktemp("installation"))) as installation:
        yield installation


class Servers(NamedTuple):
    """What a split installation stands on, each to be stopped and started; nobody else uses them."""

    postgres: PrivateServer
    redis: PrivateRedis


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    postgres, redis = start_private_server(), start_private_redis()
    yield Servers(postgres, redis)
    redis.remove()
    postgres.remove()


@pytest.fixture(scope="module")
def split(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Split]:
    """One that runs on servers of its own, for all the tests of a module."""
    url = servers.postgres.create_database(migrated=False)
    place = tmp_path_factory.mktemp("split")
    with started(Split(place, url, {"TOCSIN_BUS_URL": servers.redis.url, "TOCSIN_METRICS_PUBLIC": "1"})) as split:
        yield split


@pytest.fixture
def service() -> Iterator[Served]:
    with served() as service:
        yield service


@pytest.fixture
def receiver() -> Iterator[Served]:
    with served() as receiver:
        yield receiver
