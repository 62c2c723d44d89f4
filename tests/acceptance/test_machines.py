"""Machines that report to a split installation whose aggregator is killed: nothing is lost, nothing is there twice."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from tests.machines import SimulatedMachine, channel_to, send
from tests.running import Split

MACHINES = 40
KILLS = 4


@pytest.mark.slow
async def test_an_aggregator_that_is_killed_again_and_again_loses_no_tick_and_stores_none_twice(split: Split) -> None:
    (aggregator,) = split.of("aggregator")
    made = split.command("keys", "create", "machines", "--scope", "ingest")
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    several = [SimulatedMachine(f"m-{number}", every_ms=100) for number in range(MACHINES)]
    times: dict[str, set[int]] = {}
    stop = asyncio.Event()
    random.seed(7)

    def stored() -> int:
        return int(split.rows("SELECT count(*) FROM samples")[0][0])

    def more_than(number: int) -> bool:
        return stored() > number

    async with asyncio.TaskGroup() as tasks:
        channels = [channel_to(split.grpc_port) for _ in range(4)]
        for number, machine in enumerate(several):
            tasks.create_task(send(machine, channels[number % 4], key, stop))
        for _ in range(KILLS):
            before = await asyncio.to_thread(stored)
            await _until(partial(more_than, before + 10 * MACHINES))
            await asyncio.sleep(random.random() * 0.2)  # anywhere in a batch
            aggregator.kill()
            aggregator.start()
            await asyncio.to_thread(aggregator.wait_ready)
        await _until(lambda: all(machine.made - len(machine.kept) >= 50 for machine in several))
        stop.set()
    for channel in channels:
        await channel.close()
    # What nobody acknowledged may be there or not; what was must be, and nothing may be there twice.
    rows = split.rows("SELECT m.uid, s.at_ms FROM samples s JOIN machines m ON m.id = s.machine_id")
    found = Counter(rows)
    assert set(found.values()) == {1}
    for uid, at_ms in found:
        times.setdefault(uid, set()).add(at_ms)
    for machine in several:
        kept = {tick.at_ms for tick in machine.kept.values()}
        assert machine.times - kept <= times[machine.uid], f"{machine.uid} lost ticks"
        assert times[machine.uid] <= machine.times, f"{machine.uid} has ticks it never made"
    verdicts = split.rows("SELECT DISTINCT after FROM transitions WHERE subject_kind = 'machine'")
    assert verdicts == [("up",)]


async def _until(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not await asyncio.to_thread(look):
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.1)
