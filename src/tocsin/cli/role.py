"""tocsin api, tocsin worker and the others: one role as a process of its own, for installations of several processes.

Knows only how to ask for it; ``tocsin.main`` starts and stops it.
"""

from __future__ import annotations

import gc
from typing import Annotated

import typer

from tocsin.cli.opened import load_settings
from tocsin.main import ROLES

_SHARED = (
    "All processes of an installation share a database on a server (`TOCSIN_DATABASE_URL`) and a secret key "
    "(`TOCSIN_SECRET_KEY`); `tocsin migrate` comes first. Ends gracefully on Ctrl-C or SIGTERM."
)

Host = Annotated[str | None, typer.Option(help="Address to listen on. Otherwise TOCSIN_HOST, or 127.0.0.1.")]
Port = Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on. Otherwise TOCSIN_PORT, or 8080.")]
HealthPort = Annotated[
    int | None,
    typer.Option(min=0, max=65535, help="Port for health and metrics. Otherwise TOCSIN_HEALTH_PORT, or none."),
]


def app_of(role: str) -> typer.Typer:
    app = typer.Typer(add_completion=False)

    def with_web(host: Host = None, port: Port = None) -> None:
        start((role,), host=host, port=port)

    def without_web(host: Host = None, health_port: HealthPort = None) -> None:
        start((role,), host=host, health_port=health_port)

    app.command(help=f"{ROLES[role].help}\n\n{_SHARED}")(with_web if ROLES[role].serves_web else without_web)
    return app


def start(roles: tuple[str, ...], **given: object) -> None:
    """Runs these roles to their end, with what was given on the command line before the settings."""
    settings = load_settings(**{name: value for name, value in given.items() if value is not None})

    gc.disable()  # a start makes a million objects and hardly any garbage; it is switched on again once all runs
    from tocsin.main.process import run

    raise typer.Exit(run(roles, settings))
