"""tocsin rule …: which events of which targets and machines are told on which channels."""

from __future__ import annotations

from typing import Annotated

import typer
from sqlalchemy import Connection

from tocsin.catalog import rules
from tocsin.catalog.errors import NotFound
from tocsin.cli.opened import opened
from tocsin.cli.terminal import AsJson, duration, print_json, print_removed, print_table, print_text
from tocsin.cli.written import set_fields
from tocsin.core.alerting import Rule
from tocsin.store import channels as store_channels
from tocsin.store import rules as store_rules

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="List and change rules: what is told, to which channels.",
)

Reference = Annotated[str, typer.Argument(metavar="RULE", help="Its id or name.")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    settings: Annotated[
        list[str],
        typer.Argument(metavar="FIELD=VALUE…", help="As in REST: channel_ids=[2] 'tags=[\"shop\"]'"),
    ],
    as_json: AsJson = False,
) -> None:
    """Add a rule. A channel is told what any rule tells it, once."""
    document = {"name": name, **set_fields(rules.RuleFields, settings)}
    with opened() as installation, installation.changing("channels") as conn:
        rule = rules.create(conn, document, now_ms=installation.clock.now_ms())
    _print(rule, "added", as_json=as_json)


@app.command("set")
def set_(
    rule: Reference,
    settings: Annotated[
        list[str],
        typer.Argument(metavar="FIELD=VALUE…", help='As in REST: reminder_s=7200 \'events=["down","recovered"]\''),
    ],
    as_json: AsJson = False,
) -> None:
    """Change fields of a rule."""
    fields = set_fields(rules.RuleFields, settings)
    with opened() as installation, installation.changing("channels") as conn:
        changed = rules.change(conn, _find(conn, rule).id, fields, now_ms=installation.clock.now_ms())
    _print(changed, "changed", as_json=as_json)


def _print(rule: Rule, done: str, *, as_json: bool) -> None:
    if as_json:
        print_json(rules.describe(rule))
    else:
        print_text(f"Rule {rule.id}: {rule.name} is {done}.")


@app.command("list")
def list_rules(as_json: AsJson = False) -> None:
    """List rules."""
    with opened() as installation, installation.store.read() as conn:
        found = [stored.rule for stored in store_rules.all_rules(conn)]
        names = {row.id: row.name for row in store_channels.all_channels(conn)}
    if as_json:
        print_json({"items": [rules.describe(rule) for rule in found]})
        return
    print_table(
        ("id", "name", "on", "tells", "of", "to", "again after"),
        (
            (
                rule.id,
                rule.name,
                "yes" if rule.enabled else "no",
                ", ".join(rule.events),
                ", ".join(
                    [
                        *(f"target {number}" for number in rule.target_ids),
                        *(f"machine {number}" for number in rule.machine_ids),
                        *rule.tags,
                    ]
                )
                or "everything",
                ", ".join(names.get(number, str(number)) for number in rule.channel_ids) or "every channel",
                "–" if rule.reminder_s is None else duration(rule.reminder_s * 1000),
            )
            for rule in found
        ),
        empty="There are no rules yet; the first start makes one.",
    )


@app.command()
def rm(rule: Reference, as_json: AsJson = False) -> None:
    """Remove a rule. The default rule can only be switched off."""
    with opened() as installation, installation.changing("channels") as conn:
        found = _find(conn, rule)
        rules.delete(conn, found.id)
    print_removed([(found.id, found.name)], as_json=as_json)


def _find(conn: Connection, reference: str) -> Rule:
    found = [stored.rule for stored in store_rules.all_rules(conn)]
    for rule in found:
        if reference == str(rule.id):
            return rule
    for rule in found:
        if reference.casefold() == rule.name.casefold():
            return rule
    raise NotFound(f"There is no rule {reference!r}. `tocsin rule list` shows those there are.")
