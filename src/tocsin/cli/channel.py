"""tocsin channel …: who is told. A secret can be typed or piped in, so that it stands in no history of commands."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from tocsin.catalog import channels
from tocsin.catalog.channels import Destination
from tocsin.catalog.errors import NotFound
from tocsin.channels.base import Carrier
from tocsin.channels.frame import Delivery
from tocsin.cli.opened import opened
from tocsin.cli.terminal import FAILED, AsJson, WrongUse, print_json, print_removed, print_table, print_text
from tocsin.cli.written import set_fields
from tocsin.lib.clock import Clock
from tocsin.lib.net import Network
from tocsin.settings import Settings
from tocsin.store import channels as store_channels

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Add, list, test and remove channels: who is told.",
)

Reference = Annotated[str, typer.Argument(metavar="CHANNEL", help="Its id or name.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="A field, as in REST. Again for more.")
]
Secret = Annotated[
    list[str] | None,
    typer.Option("--secret", metavar="FIELD", help="Ask for this field, or read it from standard input."),
]

_KIND_BY_SCHEME = {"http": "webhook", "https": "webhook"}
_KIND_OF_OTHER_URLS = "apprise"


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    url: Annotated[
        str | None, typer.Argument(metavar="[URL]", help="https://… for a webhook, or any Apprise URL.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="The kind, where no URL says it: webhook, email, apprise.")] = None,
    setting: Set = None,
    secret: Secret = None,
    as_json: AsJson = False,
) -> None:
    """Add a channel. The default rule tells every channel, so this is all it takes.

    `tocsin channel add ops https://example.org/hook` ·
    `tocsin channel add chat --kind apprise --secret url` ·
    `tocsin channel add mail --kind email --set host=smtp.example.org --set from_address=tocsin@example.org
    --set 'to_addresses=["ops@example.org"]'`
    """
    document: dict[str, Any] = {"name": name}
    if url is not None:
        scheme, sign, _ = url.partition("://")
        if not sign:
            raise WrongUse(f"{url} is no URL; it begins like https:// or slack://.")
        document |= {"kind": _KIND_BY_SCHEME.get(scheme.lower(), _KIND_OF_OTHER_URLS), "url": url}
    if kind is not None:
        document["kind"] = kind
    if "kind" not in document:
        raise WrongUse("Give a URL, or --kind with its fields by --set and --secret.")
    document |= set_fields(channels.WRITE_MODELS.get(document["kind"]), setting or []) | _asked(secret)
    with opened() as installation, installation.changing("channels") as conn:
        row = channels.create(conn, document, vault=installation.vault, now_ms=installation.clock.now_ms())
    if as_json:
        print_json(channels.describe(row))
    else:
        print_text(f"Channel {row.id}: {row.name}. Try it: tocsin channel test {row.id}")


def _asked(fields: list[str] | None) -> dict[str, str]:
    """Secrets typed without being shown, or one line each from standard input where nobody types."""
    if sys.stdin.isatty():
        return {field: typer.prompt(field, hide_input=True) for field in fields or ()}
    return {field: sys.stdin.readline().rstrip("\r\n") for field in fields or ()}


@app.command("set")
def set_(
    channel: Reference,
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="FIELD=VALUE…", help="As in REST: enabled=false")
    ] = None,
    secret: Secret = None,
    as_json: AsJson = False,
) -> None:
    """Change fields of a channel. What is not named stays, secrets too."""
    # Asked before anything is opened: whoever types holds nobody up.
    secrets = _asked(secret)
    with opened() as installation, installation.changing("channels") as conn:
        channel_id = _find(conn, channel)
        model = channels.WRITE_MODELS[channels.get(conn, channel_id).kind]
        fields = set_fields(model, settings or []) | secrets
        row = channels.change(conn, channel_id, fields, vault=installation.vault, now_ms=installation.clock.now_ms())
    if as_json:
        print_json(channels.describe(row))
    else:
        print_text(f"Channel {row.id}: {row.name} is changed.")


@app.command("list")
def list_channels(as_json: AsJson = False) -> None:
    """List channels."""
    with opened() as installation, installation.store.read() as conn:
        rows = store_channels.all_channels(conn)
    if as_json:
        print_json({"items": [channels.describe(row) for row in rows]})
        return
    print_table(
        ("id", "name", "kind", "on", "settings"),
        (
            (
                row.id,
                row.name,
                row.kind,
                "yes" if row.enabled else "no",
                ", ".join(
                    f"{field}: {'(hidden)' if value is None else value}"
                    for field, value in row.settings.items()
                    if value != ""
                ),
            )
            for row in rows
        ),
        empty="There are no channels, so nobody is told. Add one: tocsin channel add NAME URL",
    )


@app.command("test")
def try_out(channel: Reference, as_json: AsJson = False) -> None:
    """Send one message that says it is a test. Ends with exit code 1 when it was not taken."""
    with opened() as installation:
        with installation.store.read() as conn:
            row = channels.get(conn, _find(conn, channel))
        where = channels.destination(row, installation.vault)
        clock = installation.clock
    delivery = asyncio.run(_send(where, installation.settings, clock))
    if as_json:
        print_json({"ok": delivery.ok, "detail": delivery.detail, "duration_ms": delivery.duration_ms})
    else:
        print_text(f"{'Delivered' if delivery.ok else 'Not delivered'} to {row.name}: {delivery.detail}")
    if not delivery.ok:
        raise typer.Exit(FAILED)


async def _send(where: Destination, settings: Settings, clock: Clock) -> Delivery:
    async with Network.open(
        allowed_networks=settings.allowed_networks,
        blocked_networks=settings.blocked_networks,
        resolvers=settings.resolvers,
    ) as network:
        return await channels.send_test(where, Carrier(network, clock))


@app.command()
def rm(channel: Reference, as_json: AsJson = False) -> None:
    """Remove a channel. What it was still to send is given up."""
    with opened() as installation, installation.changing("channels") as conn:
        row = channels.get(conn, _find(conn, channel))
        channels.delete(conn, row.id, now_ms=installation.clock.now_ms())
    print_removed([(row.id, row.name)], as_json=as_json)


def _find(conn: Connection, reference: str) -> int:
    rows = store_channels.all_channels(conn)
    for row in rows:
        if reference == str(row.id):
            return row.id
    for row in rows:
        if reference.casefold() == row.name.casefold():
            return row.id
    raise NotFound(f"There is no channel {reference!r}. `tocsin channel list` shows those there are.")
