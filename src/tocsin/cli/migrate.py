"""tocsin migrate: brings the database to this version's schema. Safe to repeat and to run from several places."""

from __future__ import annotations

import typer

from tocsin.cli.config import without_password
from tocsin.cli.opened import load_settings
from tocsin.cli.terminal import AsJson, Failed, print_json, print_text
from tocsin.store.engine import Store

app = typer.Typer(add_completion=False)


@app.command()
def migrate(as_json: AsJson = False) -> None:
    """Bring the database to this version's schema.

    `tocsin up` does this by itself; run it before a roll-out of several copies.
    """
    settings = load_settings()
    if not settings.database_url:
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = Store(settings.database, data_dir=settings.data_dir)
    try:
        before = store.schema_state()
        if before == "ahead":
            raise Failed("The database was made by a newer Tocsin. Update this one; nothing was changed.")
        if before in ("empty", "behind"):
            store.migrate()
        after = store.schema_state()
    finally:
        store.close()
    database = without_password(settings.database)
    if as_json:
        print_json({"database": database, "before": before, "after": after})
    elif before == "newer":
        print_text(f"Nothing to do: {database} is at a newer version's schema, which this one works with.")
    elif before == "current":
        print_text(f"Nothing to do: {database} is at this version's schema.")
    else:
        print_text(f"{database} is at this version's schema now.")
