"""A private nginx on the loopback, for what the little servers cannot do: HTTP/2, and answering fast."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")

needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")

_START_WITHIN_S = 10


@contextmanager
def nginx(server: str, directory: Path, *, before: Sequence[str] = (), http: str = "") -> Iterator[None]:
    """Runs nginx with one ``server`` block, its files in ``directory``, until the end of the block.

    The block's first ``listen`` must name an address and a port. ``before`` is put before the command (``taskset …``),
    ``http`` before the block.
    """
    assert NGINX is not None
    temporary = "".join(
        f"{kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = directory / "nginx.conf"
    configuration.write_text(
        f"daemon off; worker_processes 1; pid {directory}/pid; error_log {directory}/error.log;"
        f"events {{ worker_connections 8192; }}"
        f"http {{ access_log off; {temporary} {http} server {{ {server} }} }}"
    )
    listen = re.search(r"listen ([\d.]+):(\d+)", server)
    assert listen is not None
    process = subprocess.Popen([*before, NGINX, "-p", str(directory), "-e", "stderr", "-c", str(configuration)])
    try:
        _await_port(process, listen.group(1), int(listen.group(2)))
        yield
    finally:
        process.terminate()
        process.wait()


def _await_port(process: subprocess.Popen[bytes], host: str, port: int) -> None:
    deadline = time.monotonic() + _START_WITHIN_S
    while True:
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            assert process.poll() is None, "nginx did not start"
            assert time.monotonic() < deadline, "nginx does not listen"
            time.sleep(0.02)
        else:
            return
