"""tocsin keys …: API keys. A key is shown once, when it is made; only its hash is stored."""

from __future__ import annotations

from typing import Annotated

import typer

from tocsin.catalog import access
from tocsin.cli.opened import opened
from tocsin.cli.terminal import AsJson, moment, note, print_json, print_table, print_text, when
from tocsin.store.access import KeyRow

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Create, list and revoke API keys.")

_PAGE = 500


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for: the program or person that uses it.")],
    scope: Annotated[
        list[str], typer.Option(help="What it may do: admin, write, read, ingest or probe. Give it again for more.")
    ],
    as_json: AsJson = False,
) -> None:
    """Create a key and print it, alone, on standard output. It is not shown again."""
    with opened() as installation, installation.store.write() as conn:
        row, key = access.create_key(conn, name=name, scopes=scope, now_ms=installation.clock.now_ms())
    if as_json:
        print_json({**_as_json(row), "key": key})
        return
    note(f"Key {row.id} for {row.name!r} may {', '.join(row.scopes)}. It is shown only now:")
    typer.echo(key)


@app.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """List the keys that are in force."""
    with opened() as installation, installation.store.read() as conn:
        rows: list[KeyRow] = []
        while page := access.list_keys(conn, limit=_PAGE, after_id=rows[-1].id if rows else 0):
            rows += page
        now_ms = installation.clock.now_ms()
    if as_json:
        print_json({"items": [_as_json(row) for row in rows]})
        return
    print_table(
        ("id", "name", "begins with", "scopes", "made", "last used"),
        (
            (
                row.id,
                row.name,
                row.prefix,
                ", ".join(row.scopes),
                when(row.created_ms, now_ms),
                when(row.last_used_ms, now_ms),
            )
            for row in rows
        ),
        empty="There are no keys. `tocsin keys create NAME --scope read` makes one.",
    )


@app.command()
def revoke(
    key_id: Annotated[int, typer.Argument(metavar="ID", help="As `tocsin keys list` shows it.")],
    as_json: AsJson = False,
) -> None:
    """Revoke a key. Whoever uses it is refused from the next request on."""
    with opened() as installation, installation.store.write() as conn:
        access.revoke_key(conn, key_id, now_ms=installation.clock.now_ms())
    if as_json:
        print_json({"revoked": [key_id]})
    else:
        print_text(f"Key {key_id} is revoked.")


def _as_json(row: KeyRow) -> dict[str, object]:
    return {
        "id": row.id,
        "name": row.name,
        "prefix": row.prefix,
        "scopes": list(row.scopes),
        "created_at": moment(row.created_ms),
        "last_used_at": None if row.last_used_ms is None else moment(row.last_used_ms),
    }
