"""The public relay as a process: a port, the relay, and a graceful end. It has no database, no bus and no role in the
table, and loads none of what they need.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from typing import Final

import uvloop

from tocsin.edge.app import create_app, server_config
from tocsin.edge.settings import EdgeSettings
from tocsin.lib.log import configure, get_logger
from tocsin.lib.open_files import most_open_files
from tocsin.main.ends import CannotStart, Ends
from tocsin.main.garbage import settle_down
from tocsin.main.listening import listen
from tocsin.main.server import serving

STOP_S: Final = 2.0

log = get_logger("main")


def run(settings: EdgeSettings) -> int:
    """Runs it until SIGTERM or SIGINT; returns the exit code."""
    configure(settings.log_format, settings.log_level)
    most_open_files()  # every browser is one
    try:
        with (
            listen(settings.host, settings.port, "--port or TOCSIN_PORT") as listener,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            return runner.run(_serve(settings, listener))
    except CannotStart as error:
        print(f"Tocsin cannot start: {error}", file=sys.stderr)
        return 1


async def _serve(settings: EdgeSettings, listener: socket.socket) -> int:
    ends = Ends()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ends.over.set)
    config = server_config(create_app(settings))
    async with serving(config, listener, ends.of("edge"), stop_s=STOP_S):
        settle_down()
        log.info("ready", roles=["edge"])
        host, port = listener.getsockname()[:2]
        print(f"The relay is ready at http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
        await ends.over.wait()
        ends.stopping = True
        log.info("stopping")
    return 1 if ends.failed else 0
