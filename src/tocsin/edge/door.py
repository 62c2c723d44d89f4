"""The relay's side of a WebSocket, for Uvicorn: how much anybody may send before it is looked at. Knows no message."""

from __future__ import annotations

from typing import Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from tocsin.edge.messages import LARGEST_BYTES

GATEWAY: Final = "/gateway"
LARGEST_OF_A_BROWSER_BYTES: Final = 1024
MOST_UNSENT_BYTES: Final = 1_000_000
"""What waits in memory to be taken by the other end. Messages stop at 64 kB; more are answers to pings of somebody who
takes none."""


class Door(WebSocketsSansIOProtocol):
    """A frame or message that is too large closes with 1009, without being kept."""

    def handle_connect(self, event: Request) -> None:
        path = event.path.partition("?")[0]
        self.conn.max_message_size = LARGEST_BYTES if path == GATEWAY else LARGEST_OF_A_BROWSER_BYTES
        super().handle_connect(event)

    def handle_ping(self) -> None:
        if self.transport.get_write_buffer_size() > MOST_UNSENT_BYTES:
            self.transport.abort()
            return
        super().handle_ping()
