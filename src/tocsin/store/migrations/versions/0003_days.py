"""History by the day: partitions on PostgreSQL (or TimescaleDB's chunks), and packed checks.

Revision 0003. On PostgreSQL the checks and the evidence that are there are copied into partitions, about half a
million checks a second; nobody can write to them meanwhile. Code of revision 0002 stores NULL where checks have none
any more, so it has to be stopped first.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Connection

from tocsin.lib.log import get_logger
from tocsin.store.migrations import serves_from

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_DAY_MS = 86_400_000
_DAYS_AHEAD = 7
_KEY = "(((at_ms / 3600000 % 24) << 58) | (target_id::bigint << 32) | ((at_ms % 3600000) << 10) | location_id::bigint)"

_CHECKS = """
CREATE TABLE checks (
    at_ms bigint NOT NULL, target_id integer NOT NULL, latency_us integer, dns_us integer, connect_us integer,
    tls_us integer, first_byte_us integer, transfer_us integer, location_id smallint NOT NULL, result "char" NOT NULL,
    error text
)"""
_EVIDENCE = """
CREATE TABLE evidence (
    target_id integer, at_ms bigint, location_id smallint, document bytea NOT NULL,
    CONSTRAINT pk_evidence PRIMARY KEY (target_id, at_ms, location_id)
)"""
_BLOCKS = """
CREATE TABLE check_blocks (
    start_ms bigint NOT NULL, target_id integer NOT NULL, checks integer NOT NULL, location_id smallint NOT NULL,
    document bytea NOT NULL, CONSTRAINT pk_check_blocks PRIMARY KEY (target_id, location_id, start_ms)
)"""
_COPY = {
    "checks": """
        INSERT INTO checks
        SELECT at_ms, target_id, coalesce(latency_us, -1), coalesce(dns_us, -1), coalesce(connect_us, -1),
            coalesce(tls_us, -1), coalesce(first_byte_us, -1), coalesce(transfer_us, -1), location_id,
            result::text::"char", coalesce(error, '')
        FROM checks_before""",
    "evidence": "INSERT INTO evidence SELECT target_id, at_ms, location_id, document FROM evidence_before",
}
log = get_logger("store")

_TIME = {"checks": "at_ms", "evidence": "at_ms", "check_blocks": "start_ms"}


def upgrade() -> None:
    serves_from("0003")
    conn = op.get_bind()
    if conn.dialect.name == "postgresql":
        kind = "timescaledb" if _timescale(conn) else "partitions"
        _remake(conn, kind)
        # Its rows change with every check. Vacuumed when a fiftieth is dead, not a fifth, it stays small.
        op.execute("ALTER TABLE states SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0)")
    else:
        kind = "plain"
        op.create_table(
            "check_blocks",
            sa.Column("start_ms", sa.BigInteger(), nullable=False),
            sa.Column("target_id", sa.Integer(), nullable=False),
            sa.Column("checks", sa.Integer(), nullable=False),
            sa.Column("location_id", sa.SmallInteger(), nullable=False),
            sa.Column("document", sa.LargeBinary(), nullable=False),
            sa.PrimaryKeyConstraint("target_id", "location_id", "start_ms", name=op.f("pk_check_blocks")),
        )
    op.execute(f"INSERT INTO installation (name, value) VALUES ('time_tables', '{kind}')")  # noqa: S608
    op.execute("INSERT INTO rollup_marks (name, through_ms, revision) VALUES ('check_blocks', 0, 0), ('checks', 0, 0)")


def _timescale(conn: Connection) -> bool:
    """Whether the extension is there to be used; it is created where this user may."""
    # A setting of its loader. Where the server has not loaded that, creating the extension would end the connection.
    if conn.execute(sa.text("SELECT current_setting('timescaledb.disable_load', true)")).scalar() != "off":
        return False
    try:
        with conn.begin_nested():
            conn.execute(sa.text("CREATE EXTENSION IF NOT EXISTS timescaledb"))
    except sa.exc.DBAPIError as error:
        log.warning("TimescaleDB is there and cannot be used", reason=str(error.orig))
        return False
    return True


def _remake(conn: Connection, kind: str) -> None:
    for table in ("checks", "evidence"):
        op.execute(f"ALTER TABLE {table} RENAME TO {table}_before")
        op.execute(f"ALTER TABLE {table}_before RENAME CONSTRAINT pk_{table} TO pk_{table}_before")
    for table, definition in {"checks": _CHECKS, "evidence": _EVIDENCE, "check_blocks": _BLOCKS}.items():
        plain = kind == "timescaledb"
        op.execute(definition if plain else f"{definition} PARTITION BY RANGE ({_TIME[table]})")
    for table in ("evidence", "check_blocks"):
        # What is in it is compressed already.
        op.execute(f"ALTER TABLE {table} ALTER COLUMN document SET STORAGE EXTERNAL")
    if kind == "timescaledb":
        _make_hypertables()
    else:
        now_ms = conn.execute(sa.text("SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)")).scalar_one()
        today_ms = int(now_ms) // _DAY_MS * _DAY_MS
        coming = {today_ms + days * _DAY_MS for days in range(_DAYS_AHEAD + 1)}
        for table, time in _TIME.items():
            for start_ms in sorted(coming | (_days_of(conn, f"{table}_before", time) if table in _COPY else set())):
                _make_partition(table, start_ms)
    for table, copy in _COPY.items():
        op.execute(copy)
        op.execute(f"DROP TABLE {table}_before")
    if kind == "partitions":
        _index_partitions(conn)


def _days_of(conn: Connection, table: str, time: str) -> set[int]:
    found = conn.execute(sa.text(f"SELECT DISTINCT {time} / {_DAY_MS} * {_DAY_MS} FROM {table}"))  # noqa: S608
    return set(found.scalars())


def _make_partition(table: str, start_ms: int) -> None:
    name = f"{table}_{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=start_ms):%Y_%m_%d}"
    op.execute(
        f"CREATE TABLE {name} PARTITION OF {table} FOR VALUES FROM ({start_ms}) TO ({start_ms + _DAY_MS}) "
        "WITH (autovacuum_vacuum_insert_threshold = -1)"
    )


def _index_partitions(conn: Connection) -> None:
    """After the rows are in them: in one go instead of row by row."""
    names = conn.execute(
        sa.text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'checks'::regclass")
    )
    for name in names.scalars().all():
        # serves a target's checks by time, and keeps a slot from being recorded twice
        op.execute(f"CREATE UNIQUE INDEX uq_{name} ON {name} ({_KEY})")


def _make_hypertables() -> None:
    op.execute(
        "CREATE FUNCTION tocsin_now_ms() RETURNS bigint LANGUAGE sql STABLE AS "
        "$$ SELECT (extract(epoch FROM now()) * 1000)::bigint $$"
    )
    # serves a target's checks by time, and keeps a slot from being recorded twice
    op.execute("CREATE UNIQUE INDEX uq_checks ON checks (target_id, at_ms, location_id)")
    for table in ("checks", "evidence"):
        op.execute(
            f"SELECT create_hypertable('{table}', 'at_ms', chunk_time_interval => {_DAY_MS}::bigint, "
            "create_default_indexes => false)"
        )
        op.execute(f"SELECT set_integer_now_func('{table}', 'tocsin_now_ms')")
    op.execute(
        "DO $$ BEGIN IF current_setting('timescaledb.license', true) = 'timescale' THEN "
        "ALTER TABLE checks SET (timescaledb.compress, timescaledb.compress_segmentby = 'target_id', "
        "timescaledb.compress_orderby = 'at_ms DESC, location_id'); END IF; END $$"
    )
