"""tocsin edge: the public relay. Knows only how to ask for it; ``tocsin.main.edge`` starts and stops it."""

from __future__ import annotations

import os
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)

WRONG_USE = 2


@app.command()
def edge(
    host: Annotated[str | None, typer.Option(help="Address to listen on. Otherwise TOCSIN_HOST, or 127.0.0.1.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on. Otherwise TOCSIN_PORT, or 8080.")
    ] = None,
) -> None:
    """Start the public relay: it shows the world what a gateway hands it, and has no database.

    TOCSIN_EDGE_KEY is the key that the gateway has to show; there it is set with TOCSIN_EDGE_URL, this relay's address.
    Ends gracefully on Ctrl-C or SIGTERM.
    """
    from tocsin.edge.settings import EdgeSettings, WrongSettings
    from tocsin.main.edge import run

    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    try:
        settings = EdgeSettings.read(os.environ, given=given)
    except WrongSettings as error:
        typer.echo(f"The settings cannot be used:\n{error}", err=True)
        raise typer.Exit(WRONG_USE) from None
    raise typer.Exit(run(settings))
