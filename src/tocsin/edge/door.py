"""The relay's side of a connection, for Uvicorn: how much anybody may send before it is looked at, and how long a
connection is kept that nobody does anything with. Knows no message.
"""

from __future__ import annotations

import socket
import struct
from asyncio import AbstractEventLoop, BaseTransport, Protocol, TimerHandle, Transport
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from tocsin.edge.messages import LARGEST_BYTES

GATEWAY: Final = "/gateway"
LARGEST_OF_A_BROWSER_BYTES: Final = 1024
MOST_UNSENT_BYTES: Final = 1_000_000
"""What waits in memory to be taken by the other end. Messages stop at 64 kB; more are answers to pings of somebody who
takes none."""
PATIENCE_S: Final = 10.0
"""So often it is looked at whether the other end does anything. A link that is only slow takes something meanwhile."""


class _Patience:
    """Drops a connection between two looks of which it took nothing of what waits for it."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self._unsent = 0
        self._paused = False
        self._moved = False
        """All but a little was taken since the last look."""

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self._moved = True

    @property
    def unsent(self) -> int:
        return self.transport.get_write_buffer_size()

    def is_over(self) -> bool:
        """Called every PATIENCE_S. While nothing is paused more is being written, so that a size tells nothing."""
        before, self._unsent = self._unsent, self.unsent
        moved, self._moved = self._moved, False
        stands = self._paused or self.transport.is_closing()
        return stands and not moved and 0 < before <= self._unsent


def _cut_off(transport: Transport) -> None:
    """At once, and the system keeps nothing that it had yet to send either."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class _LookedAfter(Protocol):
    """A connection that is dropped when nobody does anything with it. To be mixed into one of Uvicorn's protocols."""

    loop: AbstractEventLoop
    _look: TimerHandle | None = None
    _patience: _Patience

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self._patience = _Patience(cast(Transport, transport))
        self._look = self.loop.call_later(PATIENCE_S, self._look_after)

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        super().connection_lost(exc)

    def _leave(self) -> None:
        """It is looked after no more."""
        if self._look is not None:
            self._look.cancel()

    def _look_after(self) -> None:
        if self._is_over():
            _cut_off(self._patience.transport)
        else:
            self._look = self.loop.call_later(PATIENCE_S, self._look_after)

    def _is_over(self) -> bool:
        return self._patience.is_over()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._patience.pause()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._patience.resume()


class Door(_LookedAfter, WebSocketsSansIOProtocol):
    """A WebSocket. A frame or message that is too large closes with 1009, without being kept."""

    def handle_connect(self, event: Request) -> None:
        path = event.path.partition("?")[0]
        self.conn.max_message_size = LARGEST_BYTES if path == GATEWAY else LARGEST_OF_A_BROWSER_BYTES
        super().handle_connect(event)

    def handle_ping(self) -> None:
        if self.transport.get_write_buffer_size() > MOST_UNSENT_BYTES:
            _cut_off(self.transport)
            return
        super().handle_ping()


class Entrance(_LookedAfter, HttpToolsProtocol):
    """Every connection, until it is a WebSocket. Who asks for nothing between two looks is dropped, too."""

    _seen: Any = None
    """The request that was answered at the last look, or that there was none."""

    def handle_websocket_upgrade(self) -> None:
        self._leave()
        super().handle_websocket_upgrade()

    def _is_over(self) -> bool:
        return super()._is_over() or self._is_idle()

    def _is_idle(self) -> bool:
        """The first look is PATIENCE_S after it came."""
        answering = self.cycle is not None and not self.cycle.response_complete
        before, self._seen = self._seen, self.cycle
        return not answering and not self._patience.unsent and before is self.cycle
