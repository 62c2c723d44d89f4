"""Several workers, several locations, dependencies.

Revision 0002. Until now a target's one location made its verdict. Now the headline is a state of its own
(location 0): what was told so far is its history.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from tocsin.store.migrations import serves_from

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "installation",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_installation")),
    )
    serves_from("0002")
    op.create_table(
        "workers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("life", sa.Text(), nullable=False),
        sa.Column("location_id", sa.SmallInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("remote", sa.Boolean(), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("clock_off_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    op.create_table(
        "shards",
        sa.Column("location_id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("shard", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("holder", sa.Text(), nullable=True),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("location_id", "shard", name=op.f("pk_shards")),
    )
    op.create_table(
        "target_parents",
        sa.Column("target_id", _ID, nullable=False),
        sa.Column("parent_id", _ID, nullable=False),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["targets.id"], name=op.f("fk_target_parents_parent_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["target_id"], ["targets.id"], name=op.f("fk_target_parents_target_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("target_id", "parent_id", name=op.f("pk_target_parents")),
    )
    op.create_index("ix_target_parents_parent_id", "target_parents", ["parent_id"], unique=False)
    op.add_column("locations", sa.Column("removed_ms", sa.BigInteger(), nullable=True))
    op.add_column("targets", sa.Column("location_ids", sa.JSON(), server_default="[]", nullable=False))
    op.add_column("targets", sa.Column("quorum", sa.Text(), server_default="majority", nullable=False))
    op.add_column("transitions", sa.Column("check_location_id", sa.SmallInteger(), server_default="0", nullable=False))
    op.add_column("transitions", sa.Column("waits_for", sa.BigInteger(), nullable=True))
    op.execute("UPDATE transitions SET check_location_id = location_id, location_id = 0")
    op.drop_index("ix_transitions_subject_at", "transitions")
    op.drop_index("ix_transitions_at_ms", "transitions")
    op.create_index(
        "ix_transitions_state_at",
        "transitions",
        ["subject_kind", "subject_id", "rule", "location_id", "at_ms"],
        unique=False,
    )
    op.create_index(
        "ix_transitions_headline_at",
        "transitions",
        ["at_ms"],
        unique=False,
        sqlite_where=sa.text("location_id = 0"),
        postgresql_where=sa.text("location_id = 0"),
    )
    _split_headlines()


def _split_headlines() -> None:
    """What nobody probes from anywhere has a headline only, and what was seen of it belongs to no location; of the
    others each gets one beside its location's."""
    heartbeats = "(SELECT target_id FROM heartbeat_tokens)"
    columns = (
        "subject_id, subject_kind, rule, verdict, since_ms, reason, failures, passes, warnings, clean, run_since_ms, "
        "pace_since_ms, last_at_ms, last_latency_us, held"
    )
    for table in ("checks", "evidence"):
        op.execute(f"UPDATE {table} SET location_id = 0 WHERE target_id IN {heartbeats}")  # noqa: S608
    of_heartbeats = f"WHERE subject_kind = 'target' AND subject_id IN {heartbeats}"
    op.execute(f"UPDATE transitions SET check_location_id = 0 {of_heartbeats}")  # noqa: S608
    op.execute(f"UPDATE states SET location_id = 0 {of_heartbeats}")  # noqa: S608
    op.execute(
        f"INSERT INTO states ({columns}, location_id, due_ms) "  # noqa: S608
        f"SELECT {columns}, 0, NULL FROM states WHERE location_id = 1"
    )
