"""tocsin up: everything in one process. Knows only how to ask for it; ``tocsin.main`` starts and stops it."""

from __future__ import annotations

import typer

from tocsin.cli.role import Host, Port, start
from tocsin.main import ROLES

app = typer.Typer(add_completion=False)


@app.command()
def up(host: Host = None, port: Port = None) -> None:
    """Start everything on this machine: web app, API, worker, alerts, keeper.

    The database is made or brought to this version's schema first. Ends gracefully on Ctrl-C or SIGTERM.
    """
    start(tuple(ROLES), host=host, port=port)
