"""Machines: who they are, how they stand, and what they measured.

Revision 0004. Only adds. On PostgreSQL, with TimescaleDB or without, samples are kept in partitions: single ticks by
the hour, what is made of them by the day.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Connection

from tocsin.store.migrations import serves_from

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_HOURS_AHEAD = 6
_DAYS_AHEAD = 7
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIERS = ("sample_blocks", "sample_minutes", "sample_hours")


def upgrade() -> None:
    serves_from("0003")
    _machines()
    _samples()
    op.add_column("rules", sa.Column("machine_ids", sa.JSON(), server_default="[]", nullable=False))
    op.bulk_insert(
        sa.table("rollup_marks", sa.column("name"), sa.column("through_ms"), sa.column("revision")),
        [{"name": name, "through_ms": 0, "revision": 0} for name in ("samples", "sample_blocks", "sample_ticks")],
    )
    conn = op.get_bind()
    if conn.dialect.name == "postgresql":
        _first_partitions(conn)


def _machines() -> None:
    op.create_table(
        "machines",
        sa.Column("id", _ID, sa.Identity(always=False), nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_set", sa.Boolean(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("tags_set", sa.Boolean(), nullable=False),
        sa.Column("bands", sa.JSON(), nullable=False),
        sa.Column("every_ms", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("key_id", sa.BigInteger(), nullable=True),
        sa.Column("clock_off_ms", sa.BigInteger(), nullable=False),
        sa.Column("refused", sa.BigInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("deleted_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_machines")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "uq_machines_uid_live",
        "machines",
        ["uid"],
        unique=True,
        sqlite_where=sa.text("deleted_ms IS NULL"),
        postgresql_where=sa.text("deleted_ms IS NULL"),
    )
    op.create_table(
        "tag_bands",
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("bands", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("tag", name=op.f("pk_tag_bands")),
    )
    op.create_table(
        "machine_boots",
        sa.Column("machine_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("boot_id", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("machine_id", "boot_id", name=op.f("pk_machine_boots")),
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": "70"},
    )
    op.create_table(
        "machine_now",
        sa.Column("machine_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("layout_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("boot_id", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("starts_ms", sa.LargeBinary(), nullable=False),
        sa.Column("summary", sa.JSON(), nullable=False),
        sa.Column("processes", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("machine_id", "layout_id", name=op.f("pk_machine_now")),
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": "50"},
    )
    op.create_table(
        "layouts",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("series", sa.JSON(), nullable=False),
        sa.Column("used_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_layouts")),
        sa.UniqueConstraint("digest", name=op.f("uq_layouts_digest")),
        sqlite_autoincrement=True,
    )


def _samples() -> None:
    op.create_table(
        "samples",
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("machine_id", sa.Integer(), nullable=False),
        sa.Column("layout_id", sa.Integer(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("machine_id", "at_ms", "layout_id", name=op.f("pk_samples")),
        sqlite_with_rowid=False,
        postgresql_partition_by="RANGE (at_ms)",
    )
    op.create_table(
        "late_samples",
        sa.Column("id", _ID, sa.Identity(always=False), nullable=False),
        sa.Column("machine_id", sa.Integer(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("layout_id", sa.Integer(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_late_samples")),
        sa.UniqueConstraint(
            "machine_id", "at_ms", "layout_id", name=op.f("uq_late_samples_machine_id_at_ms_layout_id")
        ),
    )
    for tier in _TIERS:
        op.create_table(
            tier,
            sa.Column("start_ms", sa.BigInteger(), nullable=False),
            sa.Column("machine_id", sa.Integer(), nullable=False),
            sa.Column("layout_id", sa.Integer(), nullable=False),
            sa.Column("ticks", sa.Integer(), nullable=False),
            sa.Column("document", sa.LargeBinary(), nullable=False),
            sa.PrimaryKeyConstraint("machine_id", "start_ms", "layout_id", name=op.f(f"pk_{tier}")),
            postgresql_partition_by="RANGE (start_ms)",
        )


def _first_partitions(conn: Connection) -> None:
    # Numbers do not compress, and documents are compressed already.
    op.execute("ALTER TABLE samples ALTER COLUMN vector SET STORAGE EXTERNAL")
    for tier in _TIERS:
        op.execute(f"ALTER TABLE {tier} ALTER COLUMN document SET STORAGE EXTERNAL")
    now_ms = int(conn.execute(sa.text("SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)")).scalar_one())
    _make_partitions(conn, "samples", now_ms, _HOUR_MS, _HOURS_AHEAD, "YYYY_MM_DD_HH24")
    for tier in _TIERS:
        _make_partitions(conn, tier, now_ms, _DAY_MS, _DAYS_AHEAD, "YYYY_MM_DD")


def _make_partitions(conn: Connection, table: str, now_ms: int, length_ms: int, ahead: int, named: str) -> None:
    for number in range(ahead + 1):
        start_ms = now_ms // length_ms * length_ms + number * length_ms
        spelt = sa.text("SELECT to_char(to_timestamp(:at) AT TIME ZONE 'UTC', :named)")
        name = f"{table}_{conn.execute(spelt, {'at': start_ms // 1000, 'named': named}).scalar_one()}"
        op.execute(
            f"CREATE TABLE {name} PARTITION OF {table} FOR VALUES FROM ({start_ms}) TO ({start_ms + length_ms}) "
            "WITH (autovacuum_vacuum_insert_threshold = -1)"
        )
