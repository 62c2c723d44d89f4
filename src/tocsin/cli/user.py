"""tocsin user …: people who sign in. A password is typed or piped in, never an argument others could see."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tocsin.catalog import access
from tocsin.catalog.errors import NotFound
from tocsin.cli.opened import opened
from tocsin.cli.terminal import AsJson, print_json, print_text

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Set the password of a user.")


@app.callback()
def _group() -> None:
    """Keeps `password` a subcommand while it is the only one."""


@app.command()
def password(
    name: Annotated[str, typer.Argument(help="Who signs in with it.")] = access.ADMIN_NAME,
    stdin: Annotated[
        bool, typer.Option("--stdin", help="Read it from standard input, one line, without asking.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Set a user's password. Every session of theirs ends."""
    with opened() as installation:
        with installation.store.read() as conn:
            user = access.find_user(conn, name)
        if user is None:
            raise NotFound(f"There is no user {name!r}.")
        chosen = (
            sys.stdin.readline().rstrip("\r\n")
            if stdin
            else typer.prompt("New password", hide_input=True, confirmation_prompt="Once more")
        )
        access.check_new_password(chosen)
        hashed = access.hash_password(chosen)
        with installation.store.write() as conn:
            access.set_password(conn, user.id, hashed, keep_session=None)
    if as_json:
        print_json({"name": user.name, "scopes": list(user.scopes)})
        return
    print_text(f"The password of {name} is set; they sign in again everywhere.")
