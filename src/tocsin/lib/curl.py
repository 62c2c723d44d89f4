"""libcurl's multi-socket interface on the running event loop: any number of transfers, no thread, no polling.

It drives handles that are ready to go and says how they ended. It knows no HTTP.
"""

from __future__ import annotations

import asyncio
import select

import pycurl

_EVENTS_AT_ONCE = 256
"""How many ready sockets are served before other work of the loop has its turn."""


class CurlDriver:
    """Belongs to the event loop it was made on.

    The sockets are watched by an epoll set of our own, of which the loop watches the one descriptor: registering
    short-lived sockets with the loop itself costs a fifth more for every exchange.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._under_way: dict[pycurl.Curl, asyncio.Future[tuple[int, str]]] = {}
        self._watched: dict[int, int] = {}
        self._epoll = select.epoll()
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._kick: asyncio.Handle | None = None
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_PIPELINING, 0)
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_socket)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)
        self.loop.add_reader(self._epoll.fileno(), self._serve)

    def close(self) -> None:
        """Ends what is under way: those who wait for it are cancelled."""
        for curl, ended in list(self._under_way.items()):
            self._multi.remove_handle(curl)
            ended.cancel()
        self._under_way.clear()
        self._multi.close()
        self.loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        if self._timer is not None:
            self._timer.cancel()
        if self._kick is not None:
            self._kick.cancel()

    async def run(self, curl: pycurl.Curl) -> tuple[int, str]:
        """Run one transfer to its end: libcurl's code (0 is fine) and its words. Cancelling it closes its socket."""
        ended: asyncio.Future[tuple[int, str]] = self.loop.create_future()
        self._under_way[curl] = ended
        self._multi.add_handle(curl)
        try:
            return await ended
        finally:
            if self._under_way.pop(curl, None) is not None:
                self._multi.remove_handle(curl)

    def _serve(self) -> None:
        action = self._multi.socket_action
        # libcurl's CSELECT_IN and CSELECT_OUT are 1 and 2; hang-up and error belong to both, and it finds out which.
        for fd, events in self._epoll.poll(0, _EVENTS_AT_ONCE):
            action(fd, (events & select.EPOLLIN and 1) | (events & select.EPOLLOUT and 2) or 3)
        self._collect()

    def _collect(self) -> None:
        queued = 1
        while queued:
            queued, fine, failed = self._multi.info_read()
            for curl in fine:
                self._end(curl, pycurl.E_OK, "")
            for curl, code, text in failed:
                self._end(curl, code, text)

    def _end(self, curl: pycurl.Curl, code: int, text: str) -> None:
        ended = self._under_way.pop(curl)
        self._multi.remove_handle(curl)
        if not ended.done():
            ended.set_result((code, text))

    def _on_socket(self, what: int, fd: int, _multi: pycurl.CurlMulti, _data: object) -> None:
        if what == pycurl.POLL_REMOVE:
            if self._watched.pop(fd, None) is not None:
                self._epoll.unregister(fd)
            return
        events = (what & pycurl.POLL_IN and select.EPOLLIN) | (what & pycurl.POLL_OUT and select.EPOLLOUT)
        held = self._watched.get(fd)
        if held is None:
            self._epoll.register(fd, events)
        elif held != events:
            self._epoll.modify(fd, events)
        self._watched[fd] = events

    def _on_timer(self, after_ms: int) -> None:
        """libcurl wants to be called in that time. A timer that is early is left to find out when it is due."""
        if after_ms < 0:
            self._due = 0.0
        elif after_ms == 0:
            if self._kick is None:
                self._kick = self.loop.call_soon(self._on_kick)
        else:
            self._due = self.loop.time() + after_ms / 1000
            if self._timer is not None and self._timer_at > self._due:
                self._timer.cancel()
                self._timer = None
            if self._timer is None:
                self._arm()

    def _arm(self) -> None:
        self._timer_at = self._due
        self._timer = self.loop.call_at(self._due, self._on_time)

    def _on_kick(self) -> None:
        self._kick = None
        self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        self._collect()

    def _on_time(self) -> None:
        self._timer = None
        if self._due == 0.0:
            return
        if self.loop.time() < self._due:
            self._arm()
            return
        self._due = 0.0
        self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        self._collect()
