"""Small servers on the loopback for the acceptance tests: one that is watched, one that is told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.running import free_port


class Served:
    """A service on a port of its own that can be stopped and started again there; counts what it answered."""

    def __init__(self, *, answers_after_s: float = 0.0) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.answers_after_s = answers_after_s
        self.answered = 0
        self.bodies: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        served = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(b"fine")

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                body = json.loads(self.rfile.read(length))
                with served._lock:
                    served.bodies.append(body)
                self._answer(b"thank you")

            def _answer(self, body: bytes) -> None:
                time.sleep(served.answers_after_s)
                with served._lock:
                    served.answered += 1
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Quiet: the test's own output matters."""

        class Server(ThreadingHTTPServer):
            request_queue_size = 512
            daemon_threads = True

        self._server = Server(("127.0.0.1", self.port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Nobody listens any more: connections are refused."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None


@contextmanager
def served(*, answers_after_s: float = 0.0) -> Iterator[Served]:
    server = Served(answers_after_s=answers_after_s)
    server.start()
    try:
        yield server
    finally:
        server.stop()
