"""Tasks with an owner, and loops on threads of their own."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tocsin.lib.threads import beside, together


class Told(Exception):
    pass


async def fails() -> None:
    raise Told


async def goes_on_for_ever(ended: list[str]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.append("for ever")


async def swallows_a_cancellation(ended: list[str]) -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        ended.append("swallowed")
    await goes_on_for_ever(ended)


async def test_with_the_first_that_ends_all_end() -> None:
    ended: list[str] = []
    await together(goes_on_for_ever(ended), asyncio.sleep(0))
    assert ended == ["for ever"]
    with pytest.raises(Told):
        await together(goes_on_for_ever(ended), fails())
    assert ended == ["for ever", "for ever"]


async def test_who_swallows_a_cancellation_is_cancelled_again() -> None:
    ended: list[str] = []
    with pytest.raises(Told):
        await together(swallows_a_cancellation(ended), fails())
    assert ended == ["swallowed", "for ever"]


async def test_who_ends_others_and_is_cancelled_leaves_nobody_behind() -> None:
    ended: list[str] = []
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(together(swallows_a_cancellation(ended), goes_on_for_ever(ended)))
        while len(asyncio.all_tasks()) < 4:  # noqa: ASYNC110 - the tasks are another's
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
    assert sorted(ended) == ["for ever", "for ever", "swallowed"]
    assert task.cancelled()


def test_a_loop_beside_runs_until_it_is_left() -> None:
    seen: list[str] = []

    async def main(stop: asyncio.Event) -> None:
        seen.append(threading.current_thread().name)
        await stop.wait()
        seen.append("stopped")

    with beside("aside", main, stop_s=20):
        assert seen in ([], ["aside"])
    assert seen == ["aside", "stopped"]
    assert "aside" not in {thread.name for thread in threading.enumerate()}


def test_what_a_loop_beside_raises_is_raised_on_leaving() -> None:
    async def main(_: asyncio.Event) -> None:
        raise Told

    with pytest.raises(Told), beside("aside", main, stop_s=20):
        pass
