"""A farm of targets on the loopback range: every address of 127.0.0.0/8 answers, each port in its own manner.

``python -m bench.farm`` prints ``{"well": port, …}`` once it listens, and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Final, NamedTuple, cast
from zlib import crc32

import psutil
import uvloop

SLOW_S: Final = 1.5
"""How long a slow target takes to answer."""
FLAPPING_UP_S: Final = 120
FLAPPING_DOWN_S: Final = 120
"""A flapping target answers 200 for so long, then 503 for so long; each address begins at another time."""
BACKLOG: Final = 4096

_OK: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
_UNWELL: Final = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Manner(StrEnum):
    """How a target behaves."""

    WELL = "well"
    SLOW = "slow"
    REFUSED = "refused"
    HANGING = "hanging"
    FLAPPING = "flapping"


class Shares(NamedTuple):
    """What share of the targets behaves how, from 0 to 1; the rest are well."""

    slow: float = 0.01
    refused: float = 0.01
    hanging: float = 0.005
    flapping: float = 0.005

    def manner_of(self, number: int) -> Manner:
        """The same for the same number; the manners are mixed, not one after the other."""
        # Steps of the golden ratio fall evenly into [0, 1), however many are taken.
        place = number * 0.6180339887498949 % 1.0
        for name, share in self._asdict().items():
            if place < share:
                return Manner(name)
            place -= share
        return Manner.WELL


class Farm(NamedTuple):
    process: psutil.Process
    ports: Mapping[str, int]

    def url(self, number: int, manner: Manner) -> str:
        """Every number has an address of its own."""
        return f"http://{address(number)}:{self.ports[manner]}/"


def address(number: int) -> str:
    """127.1.0.0 and on, as many as four million."""
    return f"127.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


@contextmanager
def farm(wrap: Sequence[str] = ()) -> Iterator[Farm]:
    """A running farm, in a process of its own."""
    process = subprocess.Popen(
        [*wrap, sys.executable, "-m", "bench.farm"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Farm(psutil.Process(process.pid), json.loads(process.stdout.readline()))
    finally:
        process.stdin.close()
        process.stdout.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


# ── the process itself ────────────────────────────────────────────────────────────────────────────────


class _Well(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(_OK)
        self.transport.close()


class _Slow(_Well):
    def data_received(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(SLOW_S, super().data_received, data)


class _Hanging(_Well):
    def data_received(self, data: bytes) -> None:
        """Heard, and never answered."""


class _Flapping(_Well):
    def data_received(self, data: bytes) -> None:
        host = self.transport.get_extra_info("sockname")[0]
        begins_s = crc32(host.encode()) % (FLAPPING_UP_S + FLAPPING_DOWN_S)
        up = (time.time() + begins_s) % (FLAPPING_UP_S + FLAPPING_DOWN_S) < FLAPPING_UP_S
        self.transport.write(_OK if up else _UNWELL)
        self.transport.close()


_ANSWERS: Final[Mapping[Manner, type[_Well]]] = {
    Manner.WELL: _Well,
    Manner.SLOW: _Slow,
    Manner.HANGING: _Hanging,
    Manner.FLAPPING: _Flapping,
}


def _listener() -> socket.socket:
    """On every address of the loopback device, and on no other device (Linux)."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
    listener.bind(("0.0.0.0", 0))
    return listener


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    refusing = _listener()  # taken, so that nobody else gets the port, and not listened on
    ports = {Manner.REFUSED: refusing.getsockname()[1]}
    for manner, answer in _ANSWERS.items():
        listener = _listener()
        ports[manner] = listener.getsockname()[1]
        await loop.create_server(answer, sock=listener, backlog=BACKLOG)
    print(json.dumps(ports), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    refusing.close()


if __name__ == "__main__":
    uvloop.run(_serve())
