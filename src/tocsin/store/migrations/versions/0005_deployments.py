"""Deployments: what was put where, and when.

Revision 0005. Only adds.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from tocsin.store.migrations import serves_from

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    serves_from("0003")
    op.create_table(
        "deployments",
        sa.Column("id", _ID, sa.Identity(always=False), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("outside_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=False),
        sa.Column("finished_ms", sa.BigInteger(), nullable=True),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("target_names", sa.JSON(), nullable=False),
        sa.Column("machine_names", sa.JSON(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deployments")),
        sa.UniqueConstraint("source", "outside_id", name=op.f("uq_deployments_source_outside_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_deployments_started_ms", "deployments", ["started_ms", "id"])
