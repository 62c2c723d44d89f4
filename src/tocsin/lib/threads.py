"""Blocking work beside an event loop, and an event loop of its own on a thread. Every task has an owner here.

Knows nothing of what it runs.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

import uvloop

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """A small pool for blocking calls. Calls wait their turn; closing waits for those under way."""

    def __init__(self, name: str, size: int) -> None:
        self._pool = ThreadPoolExecutor(size, thread_name_prefix=name)

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """A cancelled caller does not stop the call: it runs to its end and its answer is dropped."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: function(*args, **kwargs))

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


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


class LoopThread:
    """Runs ``main(stop)`` on an event loop of its own, on its own thread, so that no other work delays it.

    ``stop`` is an event of that loop; ``request_stop`` sets it from any thread, ``join`` waits and re-raises.
    """

    def __init__(self, name: str, main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
        self._main = main
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._begun = threading.Event()
        self._error: BaseException | None = None
        self._on_end: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self, on_end: Callable[[], None] = lambda: None) -> None:
        """``on_end`` is called on that thread when ``main`` has ended, for whatever reason."""
        self._on_end = on_end
        self._thread.start()
        self._begun.wait()

    def request_stop(self) -> None:
        if self._loop is not None and self._stop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)

    def join(self, timeout_s: float | None = None) -> bool:
        """False when it is still running after ``timeout_s``. Raises what ``main`` raised."""
        self._thread.join(timeout_s)
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return not self._thread.is_alive()

    def _run(self) -> None:
        async def body() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            self._begun.set()
            await self._main(self._stop)

        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(body())
        except BaseException as error:
            self._error = error
        finally:
            self._begun.set()
            self._on_end()
