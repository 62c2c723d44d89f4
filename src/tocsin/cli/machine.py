"""tocsin machine …: the machines that report, how they stand, and what they are judged by."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.text import Text
from sqlalchemy import Connection

from tocsin.catalog import machines
from tocsin.catalog.machines import Machine
from tocsin.cli.opened import Opened, opened
from tocsin.cli.terminal import (
    AsJson,
    WrongUse,
    duration,
    moment,
    print_json,
    print_removed,
    print_table,
    print_text,
    verdict_sign,
    when,
)
from tocsin.core.bands import FORECAST, REPORTING, RULES
from tocsin.core.machine import Summary
from tocsin.core.outcome import Subject
from tocsin.core.samples import MACHINE
from tocsin.store import machines as store_machines
from tocsin.store import transitions as store_transitions

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="List, show and remove machines; say what they are judged by. They register by themselves.",
)

Reference = Annotated[str, typer.Argument(metavar="MACHINE", help="Its id, uid or name.")]

_SHOWN_TRANSITIONS = 10


@app.command("list")
def list_machines(
    search: Annotated[str | None, typer.Argument(help="Part of name, uid, tag or a fact.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only those with this tag.")] = None,
    verdict: Annotated[str | None, typer.Option(help="Only those that are up, degraded, down or unknown.")] = None,
    as_json: AsJson = False,
) -> None:
    """List machines, by name, with how each is now."""
    if verdict is not None and verdict not in ("up", "degraded", "down", "unknown"):
        raise WrongUse("--verdict must be up, degraded, down or unknown.")
    with opened() as installation, installation.store.read() as conn:
        found = machines.page(conn, text=search, tag=tag, verdict=verdict)
        if as_json:
            print_json({"items": machines.documents(conn, found, moment)})
            return
        now_ms = installation.clock.now_ms()
    print_table(
        ("id", "verdict", "name", "cpu", "memory", "disk", "load", "last seen", "because"),
        (
            (
                one.row.id,
                verdict_sign(one.standing.verdict.value),
                one.row.name,
                _share(one.standing.current.cpu),
                _share(one.standing.current.memory),
                _share(one.standing.current.disk),
                _number(one.standing.current.load_1m),
                when(one.standing.last_seen_ms, now_ms),
                one.standing.reason,
            )
            for one in found
        ),
        empty="There are no such machines."
        if search or tag or verdict
        else "There are no machines. A collector makes one: see docs/collector.md.",
    )


@app.command()
def show(machine: Reference, as_json: AsJson = False) -> None:
    """Show a machine: how it is, how it stands by each rule, and what changed last."""
    with opened() as installation, installation.store.read() as conn:
        one = machines.describe(conn, machines.find(conn, machine).id)
        processes = store_machines.processes(conn, one.row.id)
        now_ms = installation.clock.now_ms()
        (document,) = machines.documents(conn, [one], moment)
        changes = store_transitions.of_subject(
            conn, Subject(MACHINE, one.row.id), None, from_ms=0, to_ms=now_ms, limit=_SHOWN_TRANSITIONS
        )
    if as_json:
        print_json(document | {"processes": processes})
        return
    print_text(_headline(one, now_ms))
    if one.standing.reason:
        print_text(one.standing.reason)
    print_text()
    print_table(("", ""), _facts(one, document["key"], now_ms), empty="")
    print_text()
    print_table(
        ("rule", "verdict", "for", "because"),
        (
            (rule.rule, verdict_sign(rule.verdict.value), _lasting(rule.since_ms, now_ms), rule.reason)
            for rule in one.standing.rules
        ),
        empty="It has not been judged yet.",
    )
    if processes:
        print_text()
        print_table(
            ("pid", "process", "user", "cpu", "memory"),
            (
                (known["pid"], known["name"], known["user"], _share(known["cpu"]), _bytes(known["memory_bytes"]))
                for known in processes
            ),
            empty="",
        )
    if changes:
        print_text()
        print_table(
            ("changed", "rule", "from", "to", "because"),
            (
                (when(one.at_ms, now_ms), one.key.rule, str(one.before), verdict_sign(str(one.after)), one.reason)
                for one in (change.transition for change in changes)
            ),
            empty="",
        )


@app.command()
def rm(
    references: Annotated[list[str], typer.Argument(metavar="MACHINE…", help="Their ids, uids or names.")],
    as_json: AsJson = False,
) -> None:
    """Remove machines and their history. One that goes on reporting comes back as a new one."""
    with opened() as installation, installation.changing("machines", "transitions") as conn:
        rows = list({row.id: row for row in (machines.find(conn, said) for said in references)}.values())
        for row in rows:
            machines.delete(conn, row.id, pipeline=installation.pipeline, now_ms=installation.clock.now_ms())
    print_removed([(row.id, row.name) for row in rows], as_json=as_json)


@app.command()
def bands(
    machine: Annotated[
        str | None, typer.Argument(metavar="[MACHINE]", help="Its id, uid or name. Left out: of tags, and the usual.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="RULE.FIELD=NUMBER", help="cpu.warn=0.9, or cpu=null to judge it no more. Again for more."
        ),
    ] = None,
    usual: Annotated[
        list[str] | None, typer.Option("--usual", metavar="RULE", help="Take away what was set of it. Again for more.")
    ] = None,
    tag: Annotated[str | None, typer.Option(help="Of all machines with this tag, instead of one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what machines are judged by, or change it: from when on a number is worth a warning, and when it is
    critical.

    Shares are from 0 to 1, `forecast` is in hours. A machine's own go before those of its tags, these before the usual.
    """
    if machine is not None and tag is not None:
        raise WrongUse("Give a machine or a tag, not both.")
    changes = bool(settings or usual)
    if changes and machine is None and tag is None:
        raise WrongUse("Say of what: a machine, or --tag TAG.")
    with opened() as installation:
        if changes:
            with installation.changing("machines", "transitions") as conn:
                _change(conn, installation, machine, tag, settings or (), usual or ())
        with installation.store.read() as conn:
            shown = _bands_of(conn, machine, tag)
    if as_json:
        print_json(shown)
        return
    _print_bands(shown["usual"] if "usual" in shown else shown["bands"])
    for item in shown.get("items", ()):
        print_text(f"\nMachines with the tag {item['tag']}:")
        _print_bands(item["bands"])


def _change(
    conn: Connection,
    installation: Opened,
    machine: str | None,
    tag: str | None,
    settings: Sequence[str],
    usual: Sequence[str],
) -> None:
    pipeline, now_ms = installation.pipeline, installation.clock.now_ms()
    if machine is not None:
        row = machines.find(conn, machine)
        given = {"bands": _changed(row.bands, settings, usual)}
        machines.change(conn, row.id, given, pipeline=pipeline, now_ms=now_ms)
    elif tag is not None:
        known = store_machines.tag_bands(conn)
        given = _changed(known.get(tag, {}), settings, usual)
        if given:
            machines.put_tag_bands(conn, tag, given, pipeline=pipeline, now_ms=now_ms)
        else:
            machines.delete_tag_bands(conn, tag, pipeline=pipeline, now_ms=now_ms)


def _bands_of(conn: Connection, machine: str | None, tag: str | None) -> dict[str, Any]:
    """The words REST uses."""
    if machine is not None:
        one = machines.describe(conn, machines.find(conn, machine).id)
        return {"id": one.row.id, "bands": one.judging.bands, "own_bands": dict(one.row.bands)}
    known = {name: dict(own) for name, own in sorted(store_machines.tag_bands(conn).items())}
    if tag is not None:
        return {"tag": tag, "bands": known.get(tag, {})}
    return {"items": [{"tag": name, "bands": own} for name, own in known.items()], "usual": machines.USUAL}


def _changed(own: Mapping[str, Any], settings: Sequence[str], usual: Sequence[str]) -> dict[str, Any]:
    """``own`` with what is set, rule by rule. The catalog says what is wrong with it."""
    found = {rule: None if band is None else dict(band) for rule, band in own.items() if rule not in usual}
    for setting in settings:
        name, sign, text = setting.partition("=")
        rule, dot, field = name.strip().partition(".")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        if not sign or not rule or bool(dot) is not bool(field) or (not dot and value is not None):
            raise WrongUse(f"{setting!r} is not RULE.FIELD=NUMBER, nor RULE=null.")
        if not dot:
            found[rule] = None
            continue
        band = dict(found.get(rule) or {})
        band[field] = value
        if f"{field}_recovery" in band and not any(other.startswith(f"{name.strip()}_recovery=") for other in settings):
            del band[f"{field}_recovery"]  # it belonged to what was there before
        found[rule] = band
    return found


# ── in words ──────────────────────────────────────────────────────────────────────────────────────────


def _headline(one: Machine, now_ms: int) -> Text:
    line = verdict_sign(one.standing.verdict.value)
    line.append(f"  {one.row.name}", style="bold not dim")
    line.append(f"  for {_lasting(one.standing.since_ms, now_ms)}", style="not bold default")
    return line


def _facts(one: Machine, key: Mapping[str, Any] | None, now_ms: int) -> list[tuple[str, str]]:
    row, current = one.row, one.standing.current
    said = [
        ("id", str(row.id)),
        ("uid", row.uid),
        ("last seen", when(one.standing.last_seen_ms, now_ms)),
        ("reports every", f"{row.every_ms / 1000:g} s"),
        ("collector", row.version),
        ("tags", ", ".join(row.tags)),
        ("key", "" if key is None else f"{key['name']}{' (revoked)' if key['revoked'] else ''}"),
        ("clock", f"{row.clock_off_ms / 1000:+.1f} s" if abs(row.clock_off_ms) >= 1000 else ""),
        ("refused values", str(row.refused or "")),
        *_numbers(current),
        *sorted(row.facts.items()),
    ]
    return [(name, value) for name, value in said if value]


def _numbers(current: Summary) -> list[tuple[str, str]]:
    known: dict[str, tuple[Any, Callable[[Any], str], str]] = {
        "cpu": (current.cpu, _share, f" of {current.cores} processors" if current.cores else ""),
        "memory": (current.memory, _share, f" of {_bytes(current.memory_bytes)}" if current.memory_bytes else ""),
        "swap": (current.swap, _share, ""),
        "disk": (current.disk, _share, f" of {current.disk_mount}" if current.disk_mount else ""),
        "disk is full in": (current.disk_full_in_h, lambda hours: duration(hours * 3_600_000), ""),
        "load": (current.load_1m, _number, f" {_number(current.load_5m)} {_number(current.load_15m)}"),
        "network": (current.network_in, _bytes, f"/s in, {_bytes(current.network_out)}/s out"),
        "disks": (current.disk_read, _bytes, f"/s read, {_bytes(current.disk_write)}/s written"),
        "processes": (current.processes, str, ""),
        "up for": (current.uptime_s, lambda seconds: duration(seconds * 1000), ""),
        "temperature": (current.temperature, lambda degrees: f"{degrees:.0f} °C", ""),
    }
    return [(name, words(value) + rest) for name, (value, words, rest) in known.items() if value is not None]


def _print_bands(bands: Mapping[str, Any]) -> None:
    print_table(
        ("rule", "warned", "critical", "over", "lasting"),
        (_band(rule, bands[rule]) for rule in RULES if rule in bands),
        empty="As usual.",
    )


def _band(rule: str, band: Mapping[str, Any] | None) -> tuple[str, str, str, str, str]:
    if band is None:
        return rule, "not judged", "", "", ""
    if rule == REPORTING:
        silent = band["silent_after_s"]
        said = "three intervals, at least 15 s" if silent is None else duration(silent * 1000)
        return rule, "", f"silent for {said}", "", ""

    def said_of(name: str) -> str:
        value = band.get(name)
        if value is None:
            return "–" if name in band else "as usual"
        return f"{value:g} h" if rule == FORECAST else _share(value)

    over = f"{said_of('warn_recovery')}, {said_of('critical_recovery')}"
    lasting = duration(band["for_s"] * 1000) if "for_s" in band else "as usual"
    return rule, said_of("warn"), said_of("critical"), over, lasting


def _lasting(since_ms: int, now_ms: int) -> str:
    return duration(max(0, now_ms - since_ms))


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value * 100:.3g} %"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _bytes(value: float | None) -> str:
    if value is None:
        return "–"
    size = float(value)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} PB"
