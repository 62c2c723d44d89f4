"""A schema as a later version of Tocsin would leave it: one that only adds, and one that this code cannot work with."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final, Literal
from unittest.mock import patch

from alembic.config import Config

from tocsin.store import migrations
from tocsin.store.engine import REVISIONS, Store

Change = Literal["adds", "takes away"]

_HEAD: Final = """
import sqlalchemy as sa
from alembic import op
from tocsin.store.migrations import serves_from

revision, down_revision, branch_labels, depends_on = "9998", {before!r}, None, None
"""

# To tables that are written all the time, and read with every column named.
_ADDS: Final = """
def upgrade():
    serves_from({before!r})
    of_machines = ("machines", "machine_now", "machine_boots", "layouts", "samples", "late_samples")
    documents = ("sample_blocks", "sample_minutes", "sample_hours")
    others = ("checks", "states", "targets", "transitions", "check_blocks", "evidence", "rollup_marks")
    for table in (*others, *of_machines, *documents):
        op.add_column(table, sa.Column("later", sa.Text(), nullable=True))
    op.create_table("laters", sa.Column("id", sa.Integer(), primary_key=True), sa.Column("value", sa.Text()))
    op.create_index("ix_states_later", "states", ["later"])
"""

_TAKES_AWAY: Final = """
def upgrade():
    serves_from("9998")
    with op.batch_alter_table("transitions") as transitions:
        transitions.drop_column("waits_for")
"""


def upgrade(url: str, change: Change, place: Path) -> None:
    """Bring a database of this version to the later one. ``place``: an empty directory for its migrations."""
    here = Path(migrations.__file__).parent
    shutil.copytree(here, place, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    body = _HEAD + (_ADDS if change == "adds" else _TAKES_AWAY)
    (place / "versions" / "9998_later.py").write_text(body.format(before=REVISIONS[-1]))
    later = Config()
    later.set_main_option("script_location", str(place).replace("%", "%%"))
    store = Store(url)
    with patch.object(migrations, "config", lambda: later):
        store.migrate()
    store.close()
