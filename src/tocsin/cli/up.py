"""tocsin up: everything in one process. Knows only how to ask for it; ``tocsin.main`` starts and stops it."""

from __future__ import annotations

import gc
from typing import Annotated

import typer

from tocsin.cli.opened import load_settings

app = typer.Typer(add_completion=False)


@app.command()
def up(
    host: Annotated[str | None, typer.Option(help="Address to listen on. Otherwise TOCSIN_HOST, or 127.0.0.1.")] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port to listen on. Otherwise TOCSIN_PORT, or 8080."),
    ] = None,
) -> None:
    """Start everything on this machine: web app, API, worker, alerts, keeper.

    The database is made or brought to this version's schema first. Ends gracefully on Ctrl-C or SIGTERM.
    """
    given = {"host": host, "port": port}
    settings = load_settings(**{name: value for name, value in given.items() if value is not None})

    gc.disable()  # a start makes a million objects and hardly any garbage; main switches it on again
    from tocsin.main import run

    raise typer.Exit(run(settings))
