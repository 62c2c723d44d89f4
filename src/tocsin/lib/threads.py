"""Blocking work beside an event loop, and an event loop of its own on a thread. Every task has an owner here.

Knows nothing of what it runs.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final, ParamSpec, TypeAlias, TypeVar

import uvloop

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """A small pool for blocking calls. Calls wait their turn; closing waits for those under way.

    ``niceness`` is how far they give way to others that want the same processor (Linux only). It is for work that
    does not hold the interpreter lock: whoever holds that must not be kept from giving it back.
    """

    def __init__(self, name: str, size: int, *, niceness: int = 0) -> None:
        self._pool = ThreadPoolExecutor(
            size, thread_name_prefix=name, initializer=lambda: _give_way(niceness) if niceness else None
        )

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """A cancelled caller does not stop the call: it runs to its end and its answer is dropped."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: function(*args, **kwargs))

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


def _give_way(niceness: int) -> None:
    """Elsewhere than on Linux it would be that of the whole process."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)


class TaskSet:
    """Tasks with one owner: starts many short ones cheaply, bounds them, and ends them all on close.

    A task that raises is reported to ``on_error``; it never disturbs the others.
    """

    def __init__(self, on_error: Callable[[BaseException], None]) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._on_error = on_error

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_error(error)

    async def wait(self, timeout_s: float) -> bool:
        """Waits for all to end of their own accord; False when some are left after ``timeout_s``."""
        if not self._tasks:
            return True
        _, left = await asyncio.wait(self._tasks, timeout=timeout_s)
        return not left

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


CANCEL_AGAIN_S: Final = 0.1


async def together(*works: Coroutine[Any, Any, None]) -> None:
    """Runs them until the first ends, then ends the others; raises what one raised.

    Unlike a task group it cancels again whoever goes on after a cancellation: a library may swallow one, as
    ``asyncio.wait_for`` does before Python 3.12 when it comes together with the answer.
    """
    loop = asyncio.get_running_loop()
    tasks = {loop.create_task(work) for work in works}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _end(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()


async def _end(tasks: Collection[asyncio.Task[None]]) -> None:
    left = {task for task in tasks if not task.done()}
    interrupted: asyncio.CancelledError | None = None
    while left:
        for task in left:
            task.cancel()
        try:
            _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_S)
        except asyncio.CancelledError as error:  # nobody is left behind for that
            interrupted = error
    if interrupted is not None:
        raise interrupted


Main: TypeAlias = Callable[[asyncio.Event], Awaitable[None]]
"""A loop that runs until the event is set."""
Ended: TypeAlias = Callable[[BaseException | None], None]
"""Told, on the loop that waits, that a main has ended; with what it raised, if it did."""


@asynccontextmanager
async def on_this_loop(main: Main, ended: Ended, *, stop_s: float) -> AsyncIterator[None]:
    """``main`` as a task of this loop; on leaving it is asked to stop and cancelled after ``stop_s``."""
    stop = asyncio.Event()

    def told(task: asyncio.Task[None]) -> None:
        ended(None if task.cancelled() else task.exception())

    async def body() -> None:
        await main(stop)

    task = asyncio.get_running_loop().create_task(body())
    task.add_done_callback(told)
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait([task], timeout=stop_s)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def on_its_own_thread(name: str, main: Main, ended: Ended, *, stop_s: float) -> AsyncIterator[None]:
    """``main`` on a thread and an event loop of its own, so that no other work delays it.

    On leaving it is asked to stop; after ``stop_s`` it is left behind (the thread does not keep the process).
    """
    here = asyncio.get_running_loop()
    begun: asyncio.Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = here.create_future()
    over = asyncio.Event()

    def finish(error: BaseException | None) -> None:
        over.set()
        if not begun.done():
            begun.set_exception(error or RuntimeError(f"the thread {name} ended before it began"))
        ended(error)

    def began(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
        here.call_soon_threadsafe(begun.set_result, (loop, stop))

    def thread() -> None:
        error = _run_on_a_loop(main, began)
        if not here.is_closed():
            here.call_soon_threadsafe(finish, error)

    threading.Thread(target=thread, name=name, daemon=True).start()
    loop, stop = await begun
    try:
        yield
    finally:
        with suppress(RuntimeError):  # the loop is closed: it has ended by itself
            loop.call_soon_threadsafe(stop.set)
        with suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), stop_s)


@contextmanager
def beside(name: str, main: Main, *, stop_s: float) -> Iterator[None]:
    """``main`` on a thread and an event loop of its own, for whoever runs no loop.

    On leaving it is asked to stop; after ``stop_s`` it is left behind. What it raises, leaving raises.
    """
    begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    failed: list[BaseException] = []

    def began(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
        begun.set_result((loop, stop))

    def thread() -> None:
        error = _run_on_a_loop(main, began)
        if error is not None:
            failed.append(error)
            if not begun.done():
                begun.set_exception(error)

    running = threading.Thread(target=thread, name=name, daemon=True)
    running.start()
    loop, stop = begun.result()
    try:
        yield
    finally:
        with suppress(RuntimeError):  # the loop is closed: it has ended by itself
            loop.call_soon_threadsafe(stop.set)
        running.join(stop_s)
    if failed:
        raise failed[0]


def _run_on_a_loop(
    main: Main, began: Callable[[asyncio.AbstractEventLoop, asyncio.Event], None]
) -> BaseException | None:
    """Runs ``main`` to its end; yields what it raised, for the thread that waits."""

    async def body() -> None:
        stop = asyncio.Event()
        began(asyncio.get_running_loop(), stop)
        await main(stop)

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(body())
    except BaseException as raised:
        return raised
    return None
