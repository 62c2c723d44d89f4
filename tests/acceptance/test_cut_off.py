"""A worker far away whose line is cut, whose process is killed, and whose aggregator dies: nothing it saw is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest

from tests.acceptance.servers import Served
from tests.relay import Relay
from tests.running import Installation, Process

pytestmark = pytest.mark.slow

INTERVAL_MS = 1000


@pytest.fixture
def line(tocsin: Installation) -> Iterator[Relay]:
    """Between the worker and the aggregator."""
    relay = Relay(tocsin.grpc_port)
    yield relay
    relay.close()


@pytest.fixture
def outpost(tocsin: Installation, line: Relay) -> Iterator[Process]:
    process = tocsin.outpost("bergen")
    process.environment["TOCSIN_AGGREGATOR_URL"] = f"grpc://127.0.0.1:{line.port}"
    process.start()
    try:
        process.wait_ready()
        yield process
    finally:
        if process.is_running():
            process.kill()


def watched(tocsin: Installation, service: Served, number: int) -> list[object]:
    """So many targets that only this place probes, every second."""
    return [
        tocsin.post(
            "/v1/targets",
            {
                "name": f"in Bergen {n}",
                "kind": "http",
                "url": service.url,
                "interval_s": INTERVAL_MS / 1000,
                "timeout_s": 1,
                "recheck_s": 1,
                "locations": ["bergen"],
            },
        )["id"]
        for n in range(number)
    ]


def slots(tocsin: Installation, target: object) -> list[int]:
    """Of every check in its own slot, without those looked at once more between."""
    found = sorted(at_ms for (at_ms,) in tocsin.rows(f"SELECT at_ms FROM checks WHERE target_id = {target}"))
    phase = found[-1] % INTERVAL_MS
    return [at_ms for at_ms in found if at_ms % INTERVAL_MS == phase]


def holes(at: Sequence[int]) -> list[tuple[int, int]]:
    return [(one, later) for one, later in pairwise(at) if later - one != INTERVAL_MS]


def probed(service: Served, times: int, outpost: Process) -> None:
    """Waits for so many more requests."""
    seen = service.answered
    deadline = time.monotonic() + 60
    while service.answered < seen + times:
        assert time.monotonic() < deadline, f"it does not probe:\n{outpost.tail()}"
        time.sleep(0.05)


def test_killed_and_started_again_while_cut_off_it_loses_only_what_it_was_looking_at(
    tocsin: Installation, line: Relay, outpost: Process, service: Served
) -> None:
    targets = watched(tocsin, service, 5)
    for target in targets:
        tocsin.wait_until(lambda target=target: tocsin.get(f"/v1/targets/{target}")["verdict"] == "up")  # type: ignore[misc]
    line.cut()
    probed(service, 15, outpost)
    killed_ms = time.time_ns() // 1_000_000
    outpost.kill()
    outpost.start()
    probed(service, 15, outpost)
    again_ms = time.time_ns() // 1_000_000
    # An outage that nobody but the worker knows of.
    service.stop()
    time.sleep(4)
    service.start()
    probed(service, 15, outpost)
    assert "cannot be reached" in outpost.tail()
    line.restore()
    for target in targets:
        changes = f"/v1/targets/{target}/transitions"
        tocsin.wait_until(
            lambda changes=changes: [one["to"] for one in tocsin.items(changes)][:2] == ["up", "down"],  # type: ignore[misc]
            what="for the outage to be told of",
        )
    back_ms = time.time_ns() // 1_000_000
    tocsin.wait_until(lambda: all(slots(tocsin, target)[-1] > back_ms for target in targets), what="for fresh results")
    for target in targets:
        at = slots(tocsin, target)
        assert len(at) == len(set(at))
        missing = holes([one for one in at if one < back_ms])
        # The second before the kill may not have been on disk yet; the start takes a while.
        assert all(one > killed_ms - 3000 and later < again_ms + 1000 for one, later in missing), missing
    assert outpost.stop(within_s=10) == 0


def test_an_aggregator_that_is_killed_again_and_again_costs_no_result(
    tocsin: Installation, outpost: Process, service: Served
) -> None:
    targets = watched(tocsin, service, 40)
    tocsin.wait_until(lambda: all(tocsin.get(f"/v1/targets/{target}")["verdict"] == "up" for target in targets))
    from_ms = time.time_ns() // 1_000_000
    (door,) = [process for process in tocsin.processes if process.name.startswith(("aggregator", "tocsin"))]
    for _ in range(3):
        probed(service, 60, outpost)
        door.kill()
        probed(service, 60, outpost)
        door.start()
        door.wait_ready()
    to_ms = time.time_ns() // 1_000_000
    tocsin.wait_until(lambda: all(slots(tocsin, target)[-1] > to_ms for target in targets), what="for fresh results")
    for target in targets:
        at = slots(tocsin, target)
        assert len(at) == len(set(at))
        assert holes([one for one in at if from_ms <= one <= to_ms]) == []
        verdicts = {str(one["to"]) for one in tocsin.items(f"/v1/targets/{target}/transitions")}
        assert verdicts <= {"up", "unknown"}, "nothing went down for it"
