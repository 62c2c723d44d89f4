"""tocsin up: everything in one process. Knows only how to ask for it; ``tocsin.main`` starts and stops it."""

from __future__ import annotations

import typer

from tocsin.cli.opened import load_settings

app = typer.Typer(add_completion=False)


@app.command()
def up(
    host: str = typer.Option(None, help="Address to listen on.  [default: TOCSIN_HOST, 127.0.0.1]"),
    port: int = typer.Option(None, min=0, max=65535, help="Port to listen on.  [default: TOCSIN_PORT, 8080]"),
) -> None:
    """Start everything on this machine: web app, API, worker, alerts, keeper.

    The database is made or brought to this version's schema first. Ends gracefully on Ctrl-C or SIGTERM.
    """
    given = {"host": host, "port": port}
    settings = load_settings(**{name: value for name, value in given.items() if value is not None})

    from tocsin.main import run

    raise typer.Exit(run(settings))
