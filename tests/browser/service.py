"""A small web service on this machine that tests can break. Knows nothing of Tocsin."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.running import free_port


class _Handler(BaseHTTPRequestHandler):
    """``/status/503`` answers with that status, everything else with 200."""

    def do_GET(self) -> None:
        status = int(self.path.rpartition("/")[2]) if self.path.startswith("/status/") else 200
        body = b'{"ok": true}' if status == 200 else b"<h1>The database is gone</h1>"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Shown", "<i>not markup</i>")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """The test's output is not the place."""


class Service:
    """Always at the same address, whether it runs or not."""

    def __init__(self) -> None:
        self._port = free_port()
        self.address = f"http://127.0.0.1:{self._port}"
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), _Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
