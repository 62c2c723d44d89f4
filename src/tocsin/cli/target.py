"""tocsin target …: what is watched. Goes through the catalog, so it says and refuses what REST says and refuses."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.text import Text
from sqlalchemy import Connection

from tocsin.catalog import locations, targets
from tocsin.catalog.causes import Cause, causes
from tocsin.catalog.errors import FieldError, Invalid, NotFound
from tocsin.catalog.locations import Seen
from tocsin.catalog.targets import Checked, Ties
from tocsin.cli.opened import Opened, opened
from tocsin.cli.terminal import (
    FAILED,
    AsJson,
    WrongUse,
    milliseconds,
    moment,
    print_json,
    print_removed,
    print_table,
    print_text,
    verdict_sign,
    when,
)
from tocsin.cli.written import documents_in, fields_of, set_fields
from tocsin.core.decide import Verdict
from tocsin.core.outcome import Subject
from tocsin.core.target import TARGET, Target
from tocsin.lib.net import Network
from tocsin.probes.frame import Examination, examine, prepare
from tocsin.settings import Settings
from tocsin.store import heartbeats as store_heartbeats
from tocsin.store import targets as store_targets
from tocsin.store import transitions as store_transitions
from tocsin.store.targets import Filters, Listed, Position

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Add, list, show, change, test, pause and remove targets.",
)

Reference = Annotated[str, typer.Argument(metavar="TARGET", help="Its id, slug or name.")]
References = Annotated[list[str], typer.Argument(metavar="TARGET…", help="Their ids, slugs or names.")]
Name = Annotated[str | None, typer.Option(help="What to call it. Otherwise the host.")]
Kind = Annotated[str | None, typer.Option(help="The kind, where no address says it.")]
Interval = Annotated[float | None, typer.Option(metavar="SECONDS", help="How often it is checked.")]
Timeout = Annotated[float | None, typer.Option(metavar="SECONDS", help="How long one check may take.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="A label. Give it again for more.")]
Group = Annotated[str | None, typer.Option(help="The heading it is listed under.")]
Assertions = Annotated[
    list[str] | None,
    typer.Option("--assert", help="A CEL expression that must hold, such as 'status == 200'. Again for more."),
]
Locations = Annotated[
    list[str] | None,
    typer.Option("--location", metavar="NAME", help="Where it is checked from. Again for more; none: from everywhere."),
]
Quorum = Annotated[
    str | None,
    typer.Option(metavar="any|majority|all|NUMBER", help="How many locations must agree that it is down."),
]
DependsOn = Annotated[
    list[str] | None,
    typer.Option("--depends-on", metavar="TARGET", help="A target it cannot be up without. Again for more."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Any other field, as in REST. Again for more."),
]

_PAGE: Final = 1000
_SHOWN_TRANSITIONS: Final = 5
_BODY_LINES: Final = 20


# ── adding and changing ───────────────────────────────────────────────────────────────────────────────


@app.command()
def add(
    address: Annotated[
        str | None,
        typer.Argument(
            metavar="[ADDRESS]",
            help="https://…, tcp://host:port, ping://host, dns://name?record=MX or tls://host:port.",
        ),
    ] = None,
    name: Name = None,
    kind: Kind = None,
    interval: Interval = None,
    timeout: Timeout = None,
    tag: Tags = None,
    group: Group = None,
    assertion: Assertions = None,
    location: Locations = None,
    quorum: Quorum = None,
    depends_on: DependsOn = None,
    setting: Set = None,
    paused: Annotated[bool, typer.Option("--paused", help="Do not check it yet.")] = False,
    file: Annotated[
        Path | None, typer.Option(help="Add the targets in this JSON file instead; - is standard input.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add a target, or all those in a file.

    `tocsin target add https://shop.example` is enough: the address says what kind it is, and the host names it.
    A file is added as a whole or not at all.
    """
    if file is not None:
        if address is not None:
            raise WrongUse("Give an address or --file, not both.")
        documents = documents_in(file)
    else:
        document = _written(address, name, kind, interval, timeout, tag, group, assertion, setting)
        documents = [_placed(location, quorum) | document | ({"enabled": False} if paused else {})]
    with opened() as installation:
        vault, now_ms = installation.vault, installation.clock.now_ms()
        documents = [_above(installation, depends_on) | document for document in documents]
        _check_all(documents, numbered=file is not None)
        with installation.changing("targets") as conn:
            ids = [targets.create(conn, document, vault=vault, now_ms=now_ms).id for document in documents]
            added = [_view(conn, target_id, installation.settings) for target_id in ids]
    if as_json:
        print_json({"items": added} if file is not None else added[0])
        return
    for target in added:
        print_text(f"Target {target['id']}: {target['name']} ({target['endpoint']}), every {target['interval_s']} s.")
        if "ping_url" in target:
            print_text(f"Its job calls {target['ping_url']}")


def _check_all(documents: Sequence[dict[str, Any]], *, numbered: bool) -> None:
    """Raises ``Invalid`` with everything that is wrong in all of them."""
    wrong: list[FieldError] = []
    for number, document in enumerate(documents):
        try:
            targets.check(document)
        except Invalid as error:
            wrong += [
                FieldError(f"{number}.{one.field}" if numbered else one.field, one.message, one.line, one.column)
                for one in error.errors
            ]
    if wrong:
        raise Invalid(wrong)


def _written(
    address: str | None,
    name: str | None,
    kind: str | None,
    interval: float | None,
    timeout: float | None,
    tag: list[str] | None,
    group: str | None,
    assertion: list[str] | None,
    setting: list[str] | None,
) -> dict[str, Any]:
    """The document that an address and options stand for; what was not given is left out."""
    if address is None and kind is None:
        raise WrongUse("Give an address, or --kind with --name and its fields by --set.")
    document = fields_of(address) if address is not None else {}
    given = {
        "name": name,
        "kind": kind,
        "interval_s": interval,
        "timeout_s": timeout,
        "tags": tag,
        "group": group,
        "assert": assertion,
    }
    document |= {field: value for field, value in given.items() if value is not None}
    return document | set_fields(targets.WRITE_MODELS.get(document["kind"]), setting or [])


def _placed(location: list[str] | None, quorum: str | None) -> dict[str, Any]:
    """Where it is checked from and how many must agree, as far as that was given."""
    number = int(quorum) if quorum is not None and re.fullmatch("[0-9]{1,9}", quorum) else quorum
    return {field: value for field, value in {"locations": location, "quorum": number}.items() if value is not None}


def _above(installation: Opened, depends_on: list[str] | None) -> dict[str, Any]:
    if depends_on is None:
        return {}
    with installation.store.read() as conn:
        return {"depends_on": [_find(conn, reference) for reference in depends_on]}


@app.command("set")
def set_(
    target: Reference,
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="FIELD=VALUE…", help="As in REST: interval_s=30 'assert=[\"status == 200\"]'"),
    ] = None,
    location: Locations = None,
    quorum: Quorum = None,
    depends_on: DependsOn = None,
    as_json: AsJson = False,
) -> None:
    """Change fields of a target. `'locations=[]'` and `'depends_on=[]'` name none."""
    with opened() as installation:
        with installation.store.read() as conn:
            target_id = _find(conn, target)
            kind = targets.get(conn, target_id).kind
        fields = _placed(location, quorum) | _above(installation, depends_on)
        fields |= set_fields(targets.WRITE_MODELS[kind], settings or [])
        if not fields:
            raise WrongUse("Say what to change: FIELD=VALUE, --location, --quorum or --depends-on.")
        _change(installation, target_id, fields, as_json=as_json)


@app.command()
def tag(
    target: Reference,
    tags: Annotated[list[str], typer.Argument(metavar="TAG…", help="The labels.")],
    remove: Annotated[bool, typer.Option("--remove", help="Take them away instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """Add tags to a target, or take them away."""
    with opened() as installation:
        with installation.store.read() as conn:
            target_id = _find(conn, target)
            before = list(targets.get(conn, target_id).tags)
        kept = [tag for tag in before if tag not in tags]
        _change(installation, target_id, {"tags": kept if remove else kept + tags}, as_json=as_json)


def _change(installation: Opened, target_id: int, fields: dict[str, Any], *, as_json: bool) -> None:
    with installation.changing("targets") as conn:
        targets.change(
            conn,
            target_id,
            fields,
            vault=installation.vault,
            pipeline=installation.pipeline,
            now_ms=installation.clock.now_ms(),
        )
        changed = _view(conn, target_id, installation.settings)
    if as_json:
        print_json(changed)
    else:
        print_text(f"Target {target_id}: {changed['name']} is changed.")


@app.command()
def clone(
    target: Reference,
    name: Annotated[str | None, typer.Option(help="What to call the copy.")] = None,
    as_json: AsJson = False,
) -> None:
    """Copy a target with its settings and secrets, without its history."""
    with opened() as installation, installation.changing("targets") as conn:
        copy = targets.clone(
            conn, _find(conn, target), name=name, vault=installation.vault, now_ms=installation.clock.now_ms()
        )
        view = _view(conn, copy.id, installation.settings)
    if as_json:
        print_json(view)
    else:
        print_text(f"Target {copy.id}: {copy.name}")


@app.command()
def pause(target: References, as_json: AsJson = False) -> None:
    """Stop checking targets. Their history stays."""
    _switch(target, enabled=False, as_json=as_json)


@app.command()
def resume(target: References, as_json: AsJson = False) -> None:
    """Check targets again."""
    _switch(target, enabled=True, as_json=as_json)


def _switch(references: list[str], *, enabled: bool, as_json: bool) -> None:
    switched = []
    with opened() as installation, installation.changing("targets", "transitions") as conn:
        for target_id in [_find(conn, reference) for reference in references]:
            done = targets.set_enabled(
                conn, target_id, enabled, pipeline=installation.pipeline, now_ms=installation.clock.now_ms()
            )
            switched.append(_view(conn, done.row.id, installation.settings))
    if as_json:
        print_json({"items": switched})
        return
    for view in switched:
        print_text(f"Target {view['id']}: {view['name']} is {'checked again' if enabled else 'paused'}.")


@app.command()
def rm(
    target: References,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove targets and their history. This cannot be undone; `pause` keeps both."""
    with opened() as installation:
        with installation.store.read() as conn:
            found = [targets.get(conn, _find(conn, reference)) for reference in target]
        names = ", ".join(row.name for row in found)
        # A script has nobody to answer, and said what it wants.
        if not yes and sys.stdin.isatty():
            typer.confirm(f"Remove {names} and all history?", abort=True)
        with installation.changing("targets", "transitions") as conn:
            for row in found:
                targets.delete(conn, row.id, pipeline=installation.pipeline, now_ms=installation.clock.now_ms())
    print_removed([(row.id, row.name) for row in found], as_json=as_json)


# ── looking ───────────────────────────────────────────────────────────────────────────────────────────


@app.command("list")
def list_targets(
    search: Annotated[str | None, typer.Argument(help="Part of a name, address, tag or description.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only with this tag.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only of this kind.")] = None,
    group: Annotated[str | None, typer.Option(help="Only in this group.")] = None,
    verdict: Annotated[str | None, typer.Option(help="Only up, degraded, down or unknown.")] = None,
    location: Annotated[str | None, typer.Option(help="Only those checked from this location.")] = None,
    as_json: AsJson = False,
) -> None:
    """List targets, the worst first."""
    with opened() as installation, installation.store.read() as conn:
        place = None
        if location is not None and (place := locations.place(conn, location)) is None:
            raise NotFound(f"There is no location {location}. `tocsin location list` shows those there are.")
        filters = Filters(text=search, kind=kind, tag=tag, group=group, verdict=verdict, place=place)
        found: list[Listed] = []
        after: Position | None = None
        while page := store_targets.page(conn, filters, sort="verdict", limit=_PAGE, after=after):
            found += page
            after = Position(page[-1].sort_key, page[-1].row.id)
        if as_json:
            print_json({"items": _described(conn, found, installation.settings)})
            return
        because = _because(conn, found)
        now_ms = installation.clock.now_ms()
    headings = ("id", "verdict", "name", "kind", "address", "every", "latency", "last check", "because of")
    print_table(
        headings if because else headings[:-1],
        (
            (
                listed.row.id,
                verdict_sign(_word(listed)),
                listed.row.name,
                listed.row.kind,
                listed.row.endpoint,
                f"{listed.row.interval_ms / 1000:g} s",
                milliseconds(listed.headline.last_latency_us),
                when(listed.headline.last_at_ms or None, now_ms),
                *([because[listed.row.id].name if listed.row.id in because else ""] if because else []),
            )
            for listed in found
        ),
        empty="There are no such targets." if any(filters) else "There are no targets. Add one: tocsin target add URL",
    )


@app.command()
def show(target: Reference, as_json: AsJson = False) -> None:
    """Show a target: its fields, how it stands, and what changed last."""
    with opened() as installation, installation.store.read() as conn:
        target_id = _find(conn, target)
        now_ms = installation.clock.now_ms()
        listed = _listed(conn, target_id)
        (view,) = _described(conn, [listed], installation.settings)
        seen = locations.seen_from(conn, [listed.row], now_ms=now_ms)[target_id]
        above = store_targets.names(conn, view["depends_on"])
        changes = store_transitions.of_subject(
            conn, Subject(TARGET, target_id), from_ms=0, to_ms=now_ms, limit=_SHOWN_TRANSITIONS
        )
    if as_json:
        print_json(view | {"location_states": [_location_state(one) for one in seen]})
        return
    line = verdict_sign(_word(listed))
    line.append(f"  {listed.row.name}", style="bold not dim")
    if listed.headline.since_ms:
        line.append(f"  for {when(listed.headline.since_ms, now_ms).removesuffix(' ago')}", style="not bold default")
    print_text(line)
    if listed.headline.reason:
        print_text(listed.headline.reason)
    if view["because_of"]:
        print_text(f"Because of {view['because_of']['name']} (target {view['because_of']['id']}).")
    view["depends_on"] = [above[number] for number in view["depends_on"]]
    said = {"name", "verdict", "since", "reason", "because_of", "secrets_set"}
    secret = set(view["secrets_set"])
    print_text()
    print_table(
        ("field", "value"),
        (
            (field, "(set, hidden)" if field in secret else _cell(value))
            for field, value in view.items()
            if field not in said and (field in secret or value not in (None, "", [], {}))
        ),
        empty="",
    )
    if seen:
        print_text()
        print_table(
            ("from", "verdict", "for", "latency", "last check", "workers", "because"),
            (
                (
                    one.location,
                    verdict_sign(one.verdict.value),
                    when(one.since_ms, now_ms).removesuffix(" ago"),
                    milliseconds(one.last_latency_us),
                    when(one.last_at_ms or None, now_ms),
                    one.workers,
                    one.reason,
                )
                for one in seen
            ),
            empty="",
        )
    if changes:
        print_text()
        print_table(
            ("changed", "from", "to", "because"),
            (
                (when(one.at_ms, now_ms), str(one.before), verdict_sign(str(one.after)), one.reason)
                for one in (change.transition for change in changes)
            ),
            empty="",
        )


def _cell(value: object) -> str:
    match value:
        case None | "" | [] | {}:
            return "–"
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(map(str, value))
        case dict():
            return ", ".join(f"{name}: {item}" for name, item in value.items())
    return str(value)


def _find(conn: Connection, reference: str) -> int:
    """The id of the one live target that is meant by an id, a slug or a name."""
    standings = store_targets.standings(conn)
    if reference.isdecimal():
        if (numbered := {str(standing.id): standing.id for standing in standings}.get(reference)) is not None:
            return numbered
        raise NotFound(f"There is no target {reference}.")
    found = [standing.id for standing in standings if standing.slug == reference]
    if not found:
        names = store_targets.names(conn, [standing.id for standing in standings])
        found = [target_id for target_id, name in names.items() if name.casefold() == reference.casefold()]
    if not found:
        raise NotFound(f"There is no target {reference!r}. `tocsin target list` shows those there are.")
    if len(found) > 1:
        raise WrongUse(f"Several targets are named {reference!r}: {', '.join(map(str, found))}. Give the id.")
    return found[0]


def _listed(conn: Connection, target_id: int) -> Listed:
    listed = store_targets.listed(conn, target_id)
    if listed is None:
        raise targets.no_target(target_id)
    return listed


def _view(conn: Connection, target_id: int, settings: Settings) -> dict[str, Any]:
    return _described(conn, [_listed(conn, target_id)], settings)[0]


def _because(conn: Connection, found: Sequence[Listed]) -> dict[int, Cause]:
    return causes(conn, [listed.row.id for listed in found if listed.headline.verdict == Verdict.DOWN])


def _described(conn: Connection, found: Sequence[Listed], settings: Settings) -> list[dict[str, Any]]:
    """The words REST uses."""
    ids = [listed.row.id for listed in found]
    tokens = store_heartbeats.tokens(conn, ids)
    ties = targets.ties(conn, [listed.row for listed in found])
    because = _because(conn, found)
    return [
        _target(listed, ties[number], because.get(number), tokens.get(number), settings)
        for number, listed in zip(ids, found, strict=True)
    ]


def _target(listed: Listed, ties: Ties, cause: Cause | None, token: str | None, settings: Settings) -> dict[str, Any]:
    state = listed.headline
    return {
        **targets.describe(listed.row, ties),
        "verdict": state.verdict,
        "since": moment(state.since_ms) if state.since_ms else None,
        "reason": state.reason,
        "because_of": None if cause is None else cause._asdict(),
        "paused": not listed.row.enabled,
        "last_check_at": moment(state.last_at_ms) if state.last_at_ms else None,
        "last_latency_ms": None if state.last_latency_us is None else state.last_latency_us / 1000,
        "created_at": moment(listed.row.created_ms),
        "updated_at": moment(listed.row.updated_ms),
        **({} if token is None else {"ping_url": f"{settings.link_base}/ping/{token}"}),
    }


def _location_state(one: Seen) -> dict[str, Any]:
    return {
        "location": one.location,
        "verdict": one.verdict.value,
        "since": moment(one.since_ms),
        "reason": one.reason,
        "last_check_at": moment(one.last_at_ms) if one.last_at_ms else None,
        "last_latency_ms": None if one.last_latency_us is None else one.last_latency_us / 1000,
        "workers": one.workers,
    }


def _word(listed: Listed) -> str:
    if not listed.row.enabled:
        return "paused"
    return listed.headline.verdict


# ── testing ───────────────────────────────────────────────────────────────────────────────────────────


@app.command("test")
def try_out(
    target: Annotated[
        str | None, typer.Argument(metavar="[TARGET | ADDRESS]", help="A saved target, or an address to try.")
    ] = None,
    name: Name = None,
    kind: Kind = None,
    timeout: Timeout = None,
    assertion: Assertions = None,
    setting: Set = None,
    as_json: AsJson = False,
) -> None:
    """Probe once, save nothing, and say everything that was seen.

    Fields given differ from those saved for this one time. Ends with exit code 1 when it did not pass.
    """
    with opened() as installation:
        if target is None or "://" in target:
            checked = targets.check(_written(target, name, kind, None, timeout, None, None, assertion, setting))
        else:
            checked = _saved(installation, target, name, timeout, assertion, setting)
        whole = targets.unsaved(checked)
    seen = asyncio.run(_probe(whole, installation.settings))
    evidence = seen.evidence()
    if as_json:
        print_json(evidence)
    else:
        _print_evidence(whole.name, evidence)
    if not evidence["ok"]:
        raise typer.Exit(FAILED)


def _saved(
    installation: Opened,
    reference: str,
    name: str | None,
    timeout: float | None,
    assertion: list[str] | None,
    setting: list[str] | None,
) -> Checked:
    """A saved target with what should differ this time."""
    given = {"name": name, "timeout_s": timeout, "assert": assertion}
    differing = {field: value for field, value in given.items() if value is not None}
    vault = installation.vault
    with installation.store.read() as conn:
        row = targets.get(conn, _find(conn, reference))
        differing |= set_fields(targets.WRITE_MODELS[row.kind], setting or [])
        return targets.changed(conn, row, differing, vault)


async def _probe(target: Target, settings: Settings) -> Examination:
    try:
        prepared = prepare(target)
    except ValueError as error:
        raise Invalid([FieldError("", str(error))]) from None
    if prepared is None:
        raise WrongUse(f"Nobody probes a target of kind {target.kind}: its job calls in.")
    waiting = Console(stderr=True)
    async with Network.open(
        allowed_networks=settings.allowed_networks,
        blocked_networks=settings.blocked_networks,
        resolvers=settings.resolvers,
    ) as network:
        with waiting.status(f"Probing {target.name}, at most {target.timeout_ms / 1000:g} s"):
            return await examine(prepared, network)


_RESULTS: Final = {
    "passed": ("● passed", "green"),
    "warned": ("◐ warned", "yellow"),
    "failed": ("■ failed", "red"),
    "unmeasured": ("○ nothing measured", "bright_black"),
}


def _print_evidence(name: str, evidence: dict[str, Any]) -> None:
    word, colour = _RESULTS[evidence["result"]]
    line = Text(word, style=colour)
    line.append(f"  {name}", style="bold default")
    if evidence["latency_ms"] is not None:
        line.append(f"  {evidence['latency_ms']:.1f} ms", style="not bold default")
    if evidence["address"]:
        line.append(f"  {evidence['address']}", style="not bold default")
    print_text(line)
    if evidence["error"]:
        print_text(evidence["error"])
    phases = [(phase.removesuffix("_ms").replace("_", " "), took) for phase, took in evidence["phases"].items()]
    _section("Phases", ((phase, f"{took:.1f} ms") for phase, took in phases if took is not None))
    _section(
        "Assertions",
        (
            (
                "holds" if one["ok"] else "FAILS",
                one["source"],
                one["error"] or ", ".join(f"{variable} = {_cell(value)}" for variable, value in one["values"].items()),
            )
            for one in evidence["assertions"]
        ),
    )
    _section(
        "Certificates",
        ((one["subject"], f"from {one['issuer']}", f"until {one['not_after']}") for one in evidence["certificates"]),
    )
    details = dict(evidence["details"])
    headers, body = details.pop("headers", None), details.pop("body", None)
    redirects = details.pop("redirects", None)
    _section("Seen", ((field.replace("_", " "), _cell(value)) for field, value in details.items()))
    _section("Redirects", ((str(one.get("status", "")), str(one.get("url", ""))) for one in redirects or ()))
    _section("Headers", ((header, value) for header, value in headers or ()))
    if body:
        print_text(Text("\nBody", style="bold"))
        lines = body.splitlines()
        print_text("\n".join(lines[:_BODY_LINES]))
        if len(lines) > _BODY_LINES:
            print_text(f"… {len(lines) - _BODY_LINES} more lines; --json shows them")


def _section(title: str, rows: Any) -> None:
    found = [tuple(map(str, row)) for row in rows]
    if not found:
        return
    print_text(Text(f"\n{title}", style="bold"))
    widths = [max(len(row[column]) for row in found) for column in range(len(found[0]) - 1)]
    for row in found:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print_text("  " + "  ".join([*cells, row[-1]]).rstrip())
