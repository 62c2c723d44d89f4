"""tocsin location …: where checks are made from, and who is there."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tocsin.catalog import locations
from tocsin.catalog.locations import Location
from tocsin.cli.opened import opened
from tocsin.cli.terminal import AsJson, moment, print_json, print_table, print_text

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="List the locations checks are made from; remove one."
)


@app.command("list")
def list_locations(as_json: AsJson = False) -> None:
    """List locations, by name, with the workers that are there now."""
    with opened() as installation, installation.store.read() as conn:
        found = locations.all_locations(conn, now_ms=installation.clock.now_ms())
    if as_json:
        print_json({"items": [_as_json(one) for one in found]})
        return
    print_table(
        ("location", "targets", "workers"),
        ((one.name, one.targets, ", ".join(worker.name for worker in one.workers) or "none") for one in found),
        empty="There are no locations. A worker makes its own when it starts; a target makes those it names.",
    )


@app.command()
def rm(
    location: Annotated[str, typer.Argument(metavar="LOCATION", help="Its name.")],
    as_json: AsJson = False,
) -> None:
    """Remove a location that has no worker and that no target names. Its history stays."""
    with opened() as installation, installation.changing("targets", "transitions") as conn:
        locations.remove(conn, location, pipeline=installation.pipeline, now_ms=installation.clock.now_ms())
    if as_json:
        print_json({"removed": [location]})
    else:
        print_text(f"Removed: {location}.")


def _as_json(one: Location) -> dict[str, Any]:
    """The words REST uses."""
    workers = [
        {
            "id": worker.id,
            "name": worker.name,
            "version": worker.version,
            "remote": worker.remote,
            "started_at": moment(worker.started_ms),
            "seen_at": moment(worker.seen_ms),
            "shards": worker.shards,
            "clock_off_ms": worker.clock_off_ms,
        }
        for worker in one.workers
    ]
    return {"name": one.name, "workers": workers, "targets": one.targets}
