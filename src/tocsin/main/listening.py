"""A port to listen on. Knows no settings and no server."""

from __future__ import annotations

import socket

from tocsin.main.ends import CannotStart


def listen(host: str, port: int, chosen_by: str) -> socket.socket:
    """Bound before anything else starts, so that a taken port is said at once and nothing is half begun."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise CannotStart(
            f"{host}:{port} cannot be listened on ({error.strerror}); {chosen_by} names another"
        ) from error
    return listener
