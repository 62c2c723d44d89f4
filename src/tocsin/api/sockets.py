"""WebSockets whose messages are packed once for all who are sent the same, for Uvicorn.

Packing 30 kB takes half a millisecond: for each of 200 browsers it would be most of what a live view costs. So no
message refers to the one before it (``server_no_context_takeover``), and the same message is the same bytes for all.
https://datatracker.ietf.org/doc/html/rfc7692#section-7.1.1.1
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.extensions.base import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.typing import ExtensionParameter

REMEMBERED: Final = 8
"""Messages; browsers are sent the newest ones."""
SHORTEST_BYTES: Final = 500
"""What is shorter is packed sooner than found."""
BROWSERS_WINDOW_BITS: Final = 12
"""It says little."""


class _Once(PerMessageDeflate):
    packed: OrderedDict[tuple[int, bytes], Frame]

    def encode(self, frame: Frame) -> Frame:
        if frame.opcode is not Opcode.TEXT or not frame.fin or len(frame.data) < SHORTEST_BYTES:
            return super().encode(frame)
        key = self.local_max_window_bits, bytes(frame.data)
        found = self.packed.pop(key, None) or super().encode(frame)
        self.packed[key] = found
        if len(self.packed) > REMEMBERED:
            self.packed.popitem(last=False)
        return found


class _Packing(ServerPerMessageDeflateFactory):
    def __init__(self) -> None:
        super().__init__(
            server_no_context_takeover=True,
            client_no_context_takeover=True,
            client_max_window_bits=BROWSERS_WINDOW_BITS,
        )
        self._packed: OrderedDict[tuple[int, bytes], Frame] = OrderedDict()

    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], PerMessageDeflate]:
        said, plain = super().process_request_params(params, accepted_extensions)
        once = _Once(
            plain.remote_no_context_takeover,
            plain.local_no_context_takeover,
            plain.remote_max_window_bits,
            plain.local_max_window_bits,
        )
        once.packed = self._packed
        return said, once


_PACKING: Final = _Packing()


class Socket(WebSocketsSansIOProtocol):
    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.conn.available_extensions = [_PACKING]
