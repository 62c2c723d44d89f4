"""A stretch of network that can be cut, held and restored."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack, suppress


class Relay:
    """A stretch of network in front of a port of this machine."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._gate = threading.Event()
        self._gate.set()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listening: socket.socket | None = None
        self.port = 0
        self.restore()

    def restore(self) -> None:
        """What was held goes on; what was cut can be made anew."""
        self._gate.set()
        with self._lock:
            if self._listening is None:
                self._listening = socket.create_server(("127.0.0.1", self.port))
                self.port = self._listening.getsockname()[1]
                threading.Thread(target=self._accept, args=[self._listening], daemon=True).start()

    def hold(self) -> None:
        """Connections stay, and nothing comes through them; new ones are made, and hang as well."""
        self._gate.clear()

    def cut(self) -> None:
        """Connections end and new ones are refused."""
        with self._lock:
            listening, self._listening = self._listening, None
            ending, self._open = self._open, set()
        if listening is not None:
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            listening.close()
        for one in ending:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._gate.set()

    def close(self) -> None:
        self.cut()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                inner, _ = listening.accept()
            except OSError:
                return
            try:
                outer = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                inner.close()
                continue
            with self._lock:
                self._open |= {inner, outer}
            for source, sink in ((inner, outer), (outer, inner)):
                threading.Thread(target=self._pass_on, args=[source, sink], daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with ExitStack() as closing, suppress(OSError):
            closing.callback(self._end, source, sink)
            while data := source.recv(65536):
                self._gate.wait()
                sink.sendall(data)

    def _end(self, *sockets: socket.socket) -> None:
        with self._lock:
            self._open.difference_update(sockets)
        for one in sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
