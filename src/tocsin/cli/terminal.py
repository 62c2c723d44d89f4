"""What commands print, and how what went wrong is said: tables and sentences for people, JSON for programs.

Knows no command and no database; an error is put into words here and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from tocsin.catalog.errors import CatalogError, Conflict, FieldError, Invalid
from tocsin.lib.vault import VaultError
from tocsin.store.engine import StoreBusy, StoreUnavailable

FAILED = 1
WRONG_USE = 2

AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
"""The option every command has that answers something."""


class Failed(Exception):
    """The command could not do it. ``str()`` says why and what to do."""


class WrongUse(Exception):
    """The command was asked for something that makes no sense. ``str()`` says what would."""


class Explained(NamedTuple):
    text: str
    exit_code: int


def explain(error: Exception) -> Explained | None:
    """An expected error in words, one line per wrong field; None for one nobody foresaw."""
    match error:
        case WrongUse():
            return Explained(str(error), WRONG_USE)
        case Invalid():
            return Explained("\n".join(map(line_of, error.errors)), WRONG_USE)
        case Conflict() if error.errors:
            return Explained("\n".join(map(line_of, error.errors)), FAILED)
        case Failed() | CatalogError() | VaultError():
            return Explained(str(error), FAILED)
        case StoreBusy():
            return Explained(f"The database is busy: {error}. Try again in a moment.", FAILED)
        case StoreUnavailable():
            return Explained(f"{sentence(str(error))} `tocsin doctor` looks closer.", FAILED)
        case PermissionError():
            return Explained(f"Not permitted: {error.filename}. `tocsin doctor` looks closer.", FAILED)
    return None


def line_of(error: FieldError) -> str:
    place = f" (line {error.line}, column {error.column})" if error.line is not None else ""
    return f"{error.field}: {error.message}{place}" if error.field else error.message


def sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


# ── printing ──────────────────────────────────────────────────────────────────────────────────────────


def print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_text(text: str | Text = "") -> None:
    """One line or paragraph, long lines left whole; a plain string is never read as markup."""
    Console(soft_wrap=True, highlight=False).print(text if isinstance(text, Text) else Text(text))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """``empty`` is said in place of a table without rows. Piped output is not cut to a width."""
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else escape(str(cell)) for cell in row))
    if not table.row_count:
        print_text(empty)
        return
    if not console.is_terminal:
        wide = Console(highlight=False, width=100_000)
        console = Console(highlight=False, width=wide.measure(table).maximum)
    console.print(table)


def print_removed(things: Sequence[tuple[int, str]], *, as_json: bool) -> None:
    """What is gone, by number and name."""
    if as_json:
        print_json({"removed": [number for number, _ in things]})
    else:
        print_text(f"Removed: {', '.join(name for _, name in things)}.")


def note(text: str) -> None:
    """Something for the person beside the answer: on standard error, so that the answer can be piped."""
    typer.echo(text, err=True)


_SIGNS = {
    "up": ("●", "green"),
    "degraded": ("◐", "yellow"),
    "down": ("■", "red"),
    "unknown": ("○", "bright_black"),
    "paused": ("‖", "bright_black"),
}


def verdict_sign(verdict: str) -> Text:
    sign, colour = _SIGNS.get(verdict, ("?", "bright_black"))
    return Text(f"{sign} {verdict}", style=colour)


def when(at_ms: int | None, now_ms: int) -> str:
    """``4 min ago``; a dash for never."""
    if at_ms is None or at_ms <= 0:
        return "–"
    return f"{duration(max(0, now_ms - at_ms))} ago"


def moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def duration(length_ms: float) -> str:
    """As people say it: ``41 s``, ``2 h 14 min``, ``3 d 4 h``."""
    seconds = round(length_ms / 1000)
    for size, unit, smaller, smaller_unit in (
        (86_400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if seconds >= size:
            rest = seconds % size // smaller
            first = f"{seconds // size} {unit}"
            return f"{first} {rest} {smaller_unit}" if rest and size > 60 else first
    return f"{seconds} s"


def milliseconds(latency_us: int | None) -> str:
    return "–" if latency_us is None else f"{latency_us / 1000:.1f} ms"
