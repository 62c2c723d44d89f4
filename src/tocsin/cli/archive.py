"""tocsin archive …: old samples of machines as Parquet, in a folder or on S3, and back."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Annotated

import typer

from tocsin.archive import ArchiveBusy, ArchiveError, open_archive
from tocsin.cli.opened import Opened, opened
from tocsin.cli.terminal import AsJson, Failed, WrongUse, moment, note, print_json, print_table, print_text, sentence
from tocsin.store.archiving import TIERS, Tier

if TYPE_CHECKING:
    from tocsin.archive.archive import Archive, Written

DAY_MS = 86_400_000
LOOK_AGAIN_S = 1.0
"""How often it looks whether the one who is writing has ended."""

app = typer.Typer(
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Write old samples of machines as Parquet, and bring them back.",
)

Where = Annotated[str, typer.Option("--to", metavar="DIR|s3://…", help="The archive; left out: TOCSIN_ARCHIVE_URL.")]
OneTier = Annotated[str, typer.Option("--tier", help="Only `ticks`, `minutes` or `hours`; left out: all three.")]


@app.callback()
def write(
    ctx: typer.Context,
    to: Where = "",
    tier: OneTier = "",
    before: Annotated[
        str, typer.Option(metavar="TIME", help="Days that end at this time or earlier; left out: all that are over.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Write the days that are over to the archive. Nothing is dropped by it; writing again changes nothing.

    While the keeper or another `tocsin archive` is writing it waits.
    """
    if ctx.invoked_subcommand is not None:
        return
    tiers = _tiers(tier)
    with opened() as installation, _archive(installation, to) as archive:
        now_ms = installation.clock.now_ms()
        before_ms = min(now_ms, _time("--before", before)) if before else now_ms
        written = []
        for one in tiers:
            for day_ms in archive.days(one, before_ms):
                written.append(_written(archive, one, day_ms))
                _progress(f"{written[-1].name}")
    if as_json:
        print_json({"items": [one._asdict() for one in written]})
        return
    print_table(
        ("tier", "day", "documents", "file"),
        ((one.tier, one.day, one.hours, one.name) for one in written),
        empty="There is nothing to write: no whole day is over and sealed.",
    )


@app.command()
def read(
    begin: Annotated[str, typer.Argument(metavar="FROM", help="A day or a time: 2026-03-01, 2026-03-01T14:00Z.")],
    end: Annotated[str, typer.Argument(metavar="TO", help="The first that is not meant.")],
    machine: Annotated[
        str | None, typer.Option(help="Only this machine: its number, its name, or what it calls itself.")
    ] = None,
    tier: OneTier = "",
    out: Annotated[
        Path | None, typer.Option(help="To this file, `.csv` or `.parquet`, and not into the database.")
    ] = None,
    keep_days: Annotated[
        float, typer.Option(min=0.04, max=3650, help="It stays in the database so long, then it goes again.")
    ] = 7,
    to: Where = "",
    as_json: AsJson = False,
) -> None:
    """Bring a window back, into the database or to a file."""
    from_ms, to_ms = _time("FROM", begin), _time("TO", end)
    if from_ms >= to_ms:
        raise WrongUse("FROM must be earlier than TO.")
    tiers = _tiers(tier)
    with opened() as installation, _archive(installation, to) as archive:
        if out is not None:
            one: Tier = tiers[0] if len(tiers) == 1 else "ticks"
            rows = archive.export(out, from_ms, to_ms, tier=one, machine=machine)
            if as_json:
                print_json({"file": str(out), "tier": one, "rows": rows})
            else:
                print_text(f"{rows:,} rows of {one} are in {out}.")
            return
        now_ms = installation.clock.now_ms()
        until_ms = now_ms + round(keep_days * DAY_MS)
        for brought in archive.bring_back(
            from_ms, to_ms, of_tiers=tiers, machine=machine, until_ms=until_ms, now_ms=now_ms
        ):
            _progress(f"{brought.put_back} hours are back")
    if as_json:
        print_json({**brought._asdict(), "until": moment(until_ms)})
        return
    for name in brought.unknown:
        note(f"{name} is not known here: it was left out.")
    print_text(
        f"{brought.put_back} hours are back until {moment(until_ms)}; {brought.there_already} were there already."
    )


def _written(archive: Archive, tier: Tier, day_ms: int) -> Written:
    said = False
    while True:
        try:
            return archive.write(tier, day_ms)
        except ArchiveBusy:
            if not said:
                note("The keeper, or another `tocsin archive`, is writing to the archive: waiting until it has ended.")
            said = True
            sleep(LOOK_AGAIN_S)


def _tiers(tier: str) -> tuple[Tier, ...]:
    if not tier:
        return tuple(TIERS)
    for one in TIERS:
        if one == tier:
            return (one,)
    raise WrongUse(f"There is no tier {tier!r}: ticks, minutes or hours.")


def _time(name: str, text: str) -> int:
    """A time without a zone is UTC."""
    try:
        at = datetime.fromisoformat(text)
        return round((at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise WrongUse(f"{name}: {text!r} is not a time. Write 2026-03-01 or 2026-03-01T14:00Z.") from None


@contextmanager
def _archive(installation: Opened, to: str) -> Iterator[Archive]:
    try:
        yield open_archive(installation.store, installation.settings, to)
    except ArchiveError as error:
        raise Failed(sentence(str(error))) from error


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        note(text)
