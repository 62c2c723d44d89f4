"""A real S3 API, in this process."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator

import pytest
from moto.server import ThreadedMotoServer

from tocsin.archive.places import S3Options


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str) -> str:
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/moto-api/reset", method="POST"))
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/samples", method="PUT"))
    return "s3://samples/of/ours"


def options(endpoint: str) -> S3Options:
    return S3Options(endpoint, "eu-central-1", "key", "secret")
