"""Checks per second of the HTTP engine alone, and with the frame around the probe, beside the peer's in the same run.

``python -m bench.engine`` measures; with ``--alone`` it is the measured process itself, on the measured core.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import uvloop
from rich.console import Console

from bench import peer
from bench.figures import Figure, show
from bench.stand import cores, nginx, pinned
from tocsin.core.outcome import Result
from tocsin.core.target import Target
from tocsin.lib.http import HttpRequest
from tocsin.lib.net import Network
from tocsin.probes.frame import examine, prepare

ROUNDS: Final = 3
"""Engine, frame and peer take turns this often; the medians count."""
AT_ONCE: Final = 100
WARM_UP_S: Final = 0.5

Check = Callable[[int], Awaitable[None]]
"""Does one check of the target of that number (modulo how many there are)."""


def engine_check(network: Network, urls: Sequence[str]) -> Check:
    requests = [HttpRequest(url=url) for url in urls]

    async def check(number: int) -> None:
        reply = await network.http.fetch(requests[number % len(requests)])
        if reply.status != 200:
            raise RuntimeError(f"the target answered {reply.status}")

    return check


def frame_check(network: Network, urls: Sequence[str]) -> Check:
    prepared = [prepare(_target(number, url)) for number, url in enumerate(urls)]

    async def check(number: int) -> None:
        ready = prepared[number % len(prepared)]
        assert ready is not None
        seen = await examine(ready, network)
        if seen.result is not Result.PASSED:
            raise RuntimeError(f"the check did not pass: {seen.error}")

    return check


def _target(number: int, url: str) -> Target:
    return Target(
        id=number,
        name=url,
        slug=f"target-{number}",
        kind="http",
        settings={"url": url},
        interval_ms=10_000,
        timeout_ms=5_000,
        recheck_ms=10_000,
        enabled=True,
        tags=(),
        group="",
        assertions=(),
    )


CHECKS: Final[dict[str, Callable[[Network, Sequence[str]], Check]]] = {"engine": engine_check, "frame": frame_check}


async def rate(check: Check, seconds: float) -> float:
    """Checks per second with ``AT_ONCE`` always under way, after a moment to warm up."""
    done = 0
    stop_at = time.monotonic() + WARM_UP_S + seconds

    async def keep_checking() -> None:
        nonlocal done
        while time.monotonic() < stop_at:
            await check(done)
            done += 1

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(keep_checking())
        await asyncio.sleep(WARM_UP_S)
        before, began = done, time.monotonic()
    return (done - before) / (time.monotonic() - began)


async def _alone(what: str, urls: Sequence[str], seconds: float) -> None:
    async with Network.open() as network:
        print(await rate(CHECKS[what](network, urls), seconds))


def _measured(what: str, urls: Sequence[str], seconds: float) -> float:
    """The same in a process of its own on the measured core."""
    command = [*pinned(cores().measured), sys.executable, "-m", "bench.engine", "--alone", what]
    command += ["--seconds", str(seconds), *(word for url in urls for word in ("--url", url))]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def rounds(urls: Sequence[str], seconds: float, rival: peer.Peer | None) -> Iterator[Figure]:
    rates: dict[str, list[float]] = {name: [] for name in CHECKS}
    theirs: list[float] = []
    for _ in range(ROUNDS):
        for name, measured in rates.items():
            measured.append(_measured(name, urls, seconds))
        if rival is not None:
            probed = asyncio.run(peer.probe(rival, urls, seconds=seconds))
            theirs.append(probed.checks / probed.seconds)
    for name, measured in rates.items():
        yield Figure(
            f"http_{name}_checks_per_s",
            statistics.median(measured),
            "checks/s",
            peer.NAME if theirs else None,
            statistics.median(theirs) if theirs else None,
        )


def run(seconds: float, urls: Sequence[str] = ()) -> list[Figure]:
    """Measures with a web server and a peer of its own; ``urls`` probes others instead."""
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as directory:
        place = Path(directory)
        with nginx(place) as own, peer.peer(place) as rival:
            return list(rounds(urls or own, seconds, rival))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.engine", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each turn lasts")
    parser.add_argument("--url", action="append", default=[], help="what to probe instead of an nginx of its own")
    parser.add_argument("--alone", choices=CHECKS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        uvloop.run(_alone(arguments.alone, arguments.url, arguments.seconds))
        return
    # What is not measured runs on the other core, so that it takes nothing from what is.
    os.sched_setaffinity(0, {cores().others})
    show(run(arguments.seconds, arguments.url), Console())


if __name__ == "__main__":
    main()
