"""The tables, once, for every engine. Times are epoch milliseconds (UTC) in BIGINT; secrets are ciphertext.

Knows no query and no engine. Every index names the query it serves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import UserDefinedType

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite gives only INTEGER PRIMARY KEY an automatic value; PostgreSQL gets a BIGINT identity.
_Id = BigInteger().with_variant(Integer, "sqlite")


def _id() -> Column[int]:
    """A number the database gives. Where others keep it (in JSON, in history) the table is ``sqlite_autoincrement``:
    SQLite would otherwise give a deleted row's number to the next one."""
    return Column("id", _Id, Identity(), primary_key=True)


class OneByte(UserDefinedType[int]):
    """A number from 0 to 9 as PostgreSQL's type "char", which shows it as that digit. PostgreSQL only."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return '"char"'

    def bind_processor(self, _: Any) -> Callable[[int | None], str | None]:
        return lambda value: None if value is None else str(int(value))

    def result_processor(self, _: Any, __: Any) -> Callable[[Any], int | None]:
        return lambda value: None if value is None else int(value)


# ── what is registered ────────────────────────────────────────────────────────────────────────────────

targets = Table(
    "targets",
    metadata,
    _id(),
    Column("name", Text, nullable=False),
    Column("slug", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    Column("settings", JSON, nullable=False),  # the kind's own fields; a secret that is set is null here
    Column("secrets", LargeBinary),  # the kind's secret fields, one encrypted JSON object; NULL: none
    Column("endpoint", Text, nullable=False, server_default=""),  # the address people know it by, to search in
    Column("interval_ms", BigInteger, nullable=False),
    Column("timeout_ms", BigInteger, nullable=False),
    Column("recheck_ms", BigInteger, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("tags", JSON, nullable=False),
    Column("group_name", Text, nullable=False, server_default=""),
    Column("assertions", JSON, nullable=False),
    Column("failures_to_down", SmallInteger, nullable=False),
    Column("passes_to_up", SmallInteger, nullable=False),
    Column("warnings_to_degraded", SmallInteger, nullable=False),
    Column("degraded_above_ms", Float),
    Column("certificate_warning_days", SmallInteger),
    Column("location_ids", JSON, nullable=False, server_default="[]"),  # list of int; empty: every location
    Column("quorum", Text, nullable=False, server_default="majority"),  # any | majority | all | a number
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("deleted_ms", BigInteger),  # set at once by a delete; the keeper removes row and history later
    Column("revision", BigInteger, nullable=False),
    # workers: what changed since revision N
    Index("ix_targets_revision", "revision"),
    # list and look-up by slug; a deleted target frees its slug
    Index(
        "uq_targets_slug_live",
        "slug",
        unique=True,
        sqlite_where=text("deleted_ms IS NULL"),
        postgresql_where=text("deleted_ms IS NULL"),
    ),
    sqlite_autoincrement=True,
)

# One row: the last revision given out. Taken with UPDATE … RETURNING, so revisions commit in order.
revisions = Table(
    "revisions",
    metadata,
    Column("name", Text, primary_key=True),  # 'targets'
    Column("value", BigInteger, nullable=False),
)

locations = Table(
    "locations",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False, unique=True),
    Column("removed_ms", BigInteger),  # the row stays: history names it, and no other place gets its number
)

# Who shares the probing of a location, until when each is known to be there. Times are the database's own.
workers = Table(
    "workers",
    metadata,
    Column("id", Text, primary_key=True),  # the same after a restart on the same data directory
    Column("life", Text, nullable=False),  # another one after every start: whose leases these are
    Column("location_id", SmallInteger, nullable=False),
    Column("name", Text, nullable=False),  # the host's, for people
    Column("version", Text, nullable=False),
    Column("remote", Boolean, nullable=False),  # it reports through the aggregator
    Column("started_ms", BigInteger, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    Column("clock_off_ms", BigInteger, nullable=False),  # how far its clock is ahead of the database's
)

# Every location's targets in core.shards.SHARDS parts, each leased to one worker. ``epoch`` grows with every new
# holder: what an earlier one still sends is told apart by it.
shards = Table(
    "shards",
    metadata,
    Column("location_id", SmallInteger, primary_key=True, autoincrement=False),
    Column("shard", SmallInteger, primary_key=True, autoincrement=False),
    Column("holder", Text),  # workers.id; NULL: given back
    Column("epoch", BigInteger, nullable=False),
    Column("until_ms", BigInteger, nullable=False),  # of the lease; of one given back: up to when slots were started
)

# Which targets a target cannot be up without.
target_parents = Table(
    "target_parents",
    metadata,
    Column("target_id", ForeignKey("targets.id", ondelete="CASCADE"), primary_key=True),
    Column("parent_id", ForeignKey("targets.id", ondelete="CASCADE"), primary_key=True),
    # who depends on a target
    Index("ix_target_parents_parent_id", "parent_id"),
)

heartbeat_tokens = Table(
    "heartbeat_tokens",
    metadata,
    Column("token", Text, primary_key=True),  # a UUID; the address a job calls is /ping/<token>
    Column("target_id", ForeignKey("targets.id", ondelete="CASCADE"), nullable=False, unique=True),
)

heartbeat_pings = Table(
    "heartbeat_pings",
    metadata,
    _id(),
    Column("target_id", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),  # start | success | fail | log
    Column("exit_code", SmallInteger),
    Column("run_id", Text),  # the caller's rid, pairs a start with its end
    Column("duration_ms", BigInteger),  # from the matching start, where there was one
    Column("remote", Text, nullable=False, server_default=""),
    Column("user_agent", Text, nullable=False, server_default=""),
    Column("body", LargeBinary),  # first 10 kB of what the job sent
    # target page: the last pings; a success looks up its start
    Index("ix_heartbeat_pings_target_at", "target_id", "at_ms"),
)

# ── evidence: what was seen ───────────────────────────────────────────────────────────────────────────

# On PostgreSQL a partition a day (store.partitions), and a whole row of fixed width takes 64 bytes: no value is NULL,
# which would cost 8 bytes more, and ``result`` takes one. So -1 and '' stand for NULL there; SQLite, where NULL takes
# no room, has NULL. Read with ``checks.read_time`` and ``checks.read_error``.
checks = Table(
    "checks",
    metadata,
    # Fixed-width columns first and widest first: PostgreSQL pads between, SQLite does not care.
    Column("at_ms", BigInteger, nullable=False),  # the slot it was scheduled for
    Column("target_id", Integer, nullable=False),
    Column("latency_us", Integer),  # NULL: nothing was timed
    Column("dns_us", Integer),
    Column("connect_us", Integer),
    Column("tls_us", Integer),
    Column("first_byte_us", Integer),
    Column("transfer_us", Integer),
    Column("location_id", SmallInteger, nullable=False),
    Column("result", SmallInteger().with_variant(OneByte(), "postgresql"), nullable=False),  # core.outcome.Result
    Column("error", Text),  # NULL when it passed
    # one slot is recorded once; serves a target's checks by time, and its newest check. In partitions an index with a
    # shorter key does this (store.partitions.KEY).
    PrimaryKeyConstraint("target_id", "at_ms", "location_id"),
    # Clustered on the key. Against a rowid table with a unique index, measured with 1,000 targets and 1.5 million
    # rows: 12 us to insert a row instead of 16, 2.7 ms to read a target's day instead of 6.0, 38 bytes a row and
    # not 59.
    sqlite_with_rowid=False,
)

# Checks of days that are over: those of one target, from one location, in a quarter of a day, as one row.
check_blocks = Table(
    "check_blocks",
    metadata,
    Column("start_ms", BigInteger, nullable=False),  # of the quarter of a day
    Column("target_id", Integer, nullable=False),
    Column("checks", Integer, nullable=False),  # how many are in it
    Column("location_id", SmallInteger, nullable=False),
    Column("document", LargeBinary, nullable=False),  # store.blocks
    # a target's blocks by time
    PrimaryKeyConstraint("target_id", "location_id", "start_ms"),
)

evidence = Table(
    "evidence",
    metadata,
    Column("target_id", Integer, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("location_id", SmallInteger, primary_key=True, autoincrement=False),
    Column("document", LargeBinary, nullable=False),  # zlib-compressed JSON
)

# The certificate chain each location saw last; written when it is another one, not with every check.
certificates = Table(
    "certificates",
    metadata,
    Column("target_id", Integer, primary_key=True, autoincrement=False),
    Column("location_id", SmallInteger, primary_key=True, autoincrement=False),
    Column("seen_ms", BigInteger, nullable=False),  # when it was first seen
    Column("expires_ms", BigInteger, nullable=False),  # of the first to expire
    Column("document", LargeBinary, nullable=False),  # zlib-compressed JSON: the chain, leaf first
)

# One row per target and hour or day that has been folded. Latency and phases cover checks that passed or warned;
# sums and counts are kept, never averages, so that rows add up.
_PHASES = ("dns", "connect", "tls", "first_byte", "transfer")


def _rollup(name: str) -> Table:
    return Table(
        name,
        metadata,
        Column("start_ms", BigInteger, nullable=False),
        Column("latency_sum_us", BigInteger, nullable=False),
        *(Column(f"{phase}_sum_us", BigInteger, nullable=False) for phase in _PHASES),
        Column("target_id", Integer, nullable=False),
        Column("checks", Integer, nullable=False),
        Column("passed", Integer, nullable=False),
        Column("warned", Integer, nullable=False),
        Column("unmeasured", Integer, nullable=False),  # the rest failed
        Column("timed", Integer, nullable=False),  # how many latencies are in sum, min, max and sketch
        *(Column(f"{phase}_timed", Integer, nullable=False) for phase in _PHASES),
        Column("latency_min_us", Integer),  # NULL: nothing was timed
        Column("latency_max_us", Integer),
        Column("sketch", LargeBinary, nullable=False),  # core.sketch
        # one target's rows by time, read as a range
        PrimaryKeyConstraint("target_id", "start_ms"),
        sqlite_with_rowid=False,
    )


check_hours = _rollup("check_hours")
check_days = _rollup("check_days")

# Up to where checks have been folded into hours, hours into days, single checks into blocks, and from when on single
# checks are kept at all (store.marks). Checks that arrive for a time before the mark of hours are put into late_checks
# in the transaction that stores them. Every fold adds one to ``revision``: a fold that finds another number than it
# began with gives up, so two keepers never count twice.
rollup_marks = Table(
    "rollup_marks",
    metadata,
    # check_hours | check_days | check_blocks | checks | samples | sample_blocks | sample_ticks
    Column("name", Text, primary_key=True),
    Column("through_ms", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
)

late_checks = Table(
    "late_checks",
    metadata,
    _id(),
    Column("target_id", Integer, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("result", SmallInteger, nullable=False),
    Column("latency_us", Integer),
    Column("dns_us", Integer),
    Column("connect_us", Integer),
    Column("tls_us", Integer),
    Column("first_byte_us", Integer),
    Column("transfer_us", Integer),
)

# ── the spine: states and transitions ─────────────────────────────────────────────────────────────────

states = Table(
    "states",
    metadata,
    Column("subject_id", BigInteger, primary_key=True, autoincrement=False),
    Column("subject_kind", Text, primary_key=True),
    Column("rule", Text, primary_key=True),
    Column("location_id", SmallInteger, primary_key=True, autoincrement=False),
    Column("verdict", Text, nullable=False),
    Column("since_ms", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("failures", SmallInteger, nullable=False),
    Column("passes", SmallInteger, nullable=False),
    Column("warnings", SmallInteger, nullable=False),
    Column("clean", SmallInteger, nullable=False),
    Column("run_since_ms", BigInteger, nullable=False),
    Column("pace_since_ms", BigInteger, nullable=False),
    Column("last_at_ms", BigInteger, nullable=False),
    Column("last_latency_us", Integer),
    Column("due_ms", BigInteger),
    Column("held", Boolean, nullable=False),  # the subject is paused: outcomes still on their way do not count
    # No index on due_ms: it changes with every check, and the sweep reads the whole small table in a few
    # milliseconds. Without it PostgreSQL updates a row in place (measured: 99.9 % of updates at 1,667 a second); the
    # free space on each page is for that.
    sqlite_with_rowid=False,
    postgresql_with={"fillfactor": "70"},
)

transitions = Table(
    "transitions",
    metadata,
    _id(),
    Column("subject_kind", Text, nullable=False),
    Column("subject_id", BigInteger, nullable=False),
    Column("rule", Text, nullable=False),
    Column("location_id", SmallInteger, nullable=False),
    Column("before", Text, nullable=False),
    Column("after", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),  # when it began
    Column("check_at_ms", BigInteger, nullable=False),  # the check that settled it, for its evidence
    Column("recorded_ms", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("routed_ms", BigInteger),  # when the alerts service took it; NULL: not yet; only headlines are told
    Column("check_location_id", SmallInteger, nullable=False, server_default="0"),  # of the check that settled it
    Column("waits_for", BigInteger),  # the target because of which it is not told for now; NULL: for none
    # uptime and the target page: one state's transitions by time
    Index("ix_transitions_state_at", "subject_kind", "subject_id", "rule", "location_id", "at_ms"),
    # overview and timeline: the newest of all headlines
    Index(
        "ix_transitions_headline_at",
        "at_ms",
        sqlite_where=text("location_id = 0"),
        postgresql_where=text("location_id = 0"),
    ),
    # alerts: what has not been routed yet
    Index(
        "ix_transitions_unrouted",
        "id",
        sqlite_where=text("routed_ms IS NULL"),
        postgresql_where=text("routed_ms IS NULL"),
    ),
    sqlite_autoincrement=True,
)

# ── machines: what they send, and how they are ────────────────────────────────────────────────────────

machines = Table(
    "machines",
    metadata,
    _id(),
    Column("uid", Text, nullable=False),  # what the machine calls itself
    Column("name", Text, nullable=False),
    Column("name_set", Boolean, nullable=False),  # by a person: what the machine calls itself changes it no more
    Column("facts", JSON, nullable=False),  # attributes of its OpenTelemetry resource
    Column("tags", JSON, nullable=False),
    Column("tags_set", Boolean, nullable=False),  # as name_set
    Column("bands", JSON, nullable=False),  # core.bands: those that differ from the usual
    Column("every_ms", BigInteger, nullable=False),  # it reports this often
    Column("version", Text, nullable=False),  # of its collector
    Column("key_id", BigInteger),  # the API key it came with last
    Column("clock_off_ms", BigInteger, nullable=False),  # how far its clock is ahead of ours
    Column("refused", BigInteger, nullable=False),  # values that made no sense, since it is known
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("deleted_ms", BigInteger),  # the keeper removes row and history later
    # the aggregator: who is it that reports; one that was deleted and reports again is a new one
    Index(
        "uq_machines_uid_live",
        "uid",
        unique=True,
        sqlite_where=text("deleted_ms IS NULL"),
        postgresql_where=text("deleted_ms IS NULL"),
    ),
    sqlite_autoincrement=True,
)

# Bands for every machine with a tag; its own go before.
tag_bands = Table(
    "tag_bands",
    metadata,
    Column("tag", Text, primary_key=True),
    Column("bands", JSON, nullable=False),
)

# Up to which tick of each boot everything has been stored: what is sent again is known by it.
machine_boots = Table(
    "machine_boots",
    metadata,
    Column("machine_id", Integer, primary_key=True, autoincrement=False),
    Column("boot_id", Text, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
    postgresql_with={"fillfactor": "70"},
)

# The newest vector of each machine and layout. A machine whose series come in several parts has several.
machine_now = Table(
    "machine_now",
    metadata,
    Column("machine_id", Integer, primary_key=True, autoincrement=False),
    Column("layout_id", Integer, primary_key=True, autoincrement=False),
    Column("boot_id", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("raw", LargeBinary, nullable=False),  # little-endian doubles as they came: the next rate is made from them
    Column("starts_ms", LargeBinary, nullable=False),  # little-endian 8-byte integers: since when counters count
    Column("summary", JSON, nullable=False),  # core.machine.Summary, as far as this layout tells
    Column("processes", JSON),  # NULL: not sent
    sqlite_with_rowid=False,
    postgresql_with={"fillfactor": "50"},
)

# The series of vectors, once for all machines that have the same.
layouts = Table(
    "layouts",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("series", JSON, nullable=False),  # list of [name, {attributes}, unit, kind]
    # the end of the newest hour that has a document in it; 0: none was sealed yet
    Column("used_ms", BigInteger, nullable=False, server_default="0"),
    sqlite_autoincrement=True,
)

# Ticks of hours that are not sealed yet. On PostgreSQL a partition an hour.
samples = Table(
    "samples",
    metadata,
    Column("at_ms", BigInteger, nullable=False),
    Column("machine_id", Integer, nullable=False),
    Column("layout_id", Integer, nullable=False),
    Column("vector", LargeBinary, nullable=False),  # little-endian float32, NaN: none; counters as rates
    # one tick is stored once; a machine's ticks by time
    PrimaryKeyConstraint("machine_id", "at_ms", "layout_id"),
    sqlite_with_rowid=False,
)

# Ticks that came for an hour that was sealed before; the keeper merges them.
late_samples = Table(
    "late_samples",
    metadata,
    _id(),
    Column("machine_id", Integer, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("layout_id", Integer, nullable=False),
    Column("vector", LargeBinary, nullable=False),
    # one tick waits once; a machine's late ticks by time
    UniqueConstraint("machine_id", "at_ms", "layout_id"),
)


def _sample_tier(name: str) -> Table:
    return Table(
        name,
        metadata,
        Column("start_ms", BigInteger, nullable=False),  # of the hour
        Column("machine_id", Integer, nullable=False),
        Column("layout_id", Integer, nullable=False),
        Column("ticks", Integer, nullable=False),  # how many are in it
        Column("document", LargeBinary, nullable=False),  # store.sample_blocks
        # a machine's hours by time
        PrimaryKeyConstraint("machine_id", "start_ms", "layout_id"),
    )


sample_blocks = _sample_tier("sample_blocks")
"""Every tick of an hour."""
sample_minutes = _sample_tier("sample_minutes")
"""count, sum, least, greatest and last of every minute of an hour."""
sample_hours = _sample_tier("sample_hours")
"""The same of the hour."""

# ── who is told ───────────────────────────────────────────────────────────────────────────────────────

channels = Table(
    "channels",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),  # channels.CHANNELS
    Column("settings", JSON, nullable=False),  # secrets left out
    Column("secrets", LargeBinary),  # one encrypted JSON object; NULL: none
    Column("enabled", Boolean, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

rules = Table(
    "rules",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    Column("enabled", Boolean, nullable=False),
    Column("is_default", Boolean, nullable=False),
    Column("target_ids", JSON, nullable=False),  # list of int; with machine_ids and tags empty, too: every one
    Column("machine_ids", JSON, nullable=False, server_default="[]"),  # list of int
    Column("tags", JSON, nullable=False),  # list of str; a target or a machine matches by id or by any tag
    Column("events", JSON, nullable=False),  # of down, recovered, degraded, certificate
    Column("channel_ids", JSON, nullable=False),  # list of int; empty in the default rule: every channel
    Column("reminder_s", Integer),  # NULL: no reminders
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

# What one rule has to say on one channel about one transition, before it is put into a message.
notices = Table(
    "notices",
    metadata,
    _id(),
    Column("rule_id", BigInteger, nullable=False),
    Column("channel_id", BigInteger, nullable=False),
    Column("transition_id", BigInteger, nullable=False),
    Column("event", Text, nullable=False),  # down | recovered | degraded | certificate | reminder
    Column("created_ms", BigInteger, nullable=False),
    Column("notification_id", BigInteger),  # NULL: waiting for its message
    # routing the same transition twice changes nothing; a reminder differs by its time
    UniqueConstraint("rule_id", "channel_id", "transition_id", "event", "created_ms"),
    # alerts: what waits, by channel
    Index(
        "ix_notices_waiting",
        "channel_id",
        "created_ms",
        sqlite_where=text("notification_id IS NULL"),
        postgresql_where=text("notification_id IS NULL"),
    ),
    # reminders and recoveries: who was told about this transition
    Index("ix_notices_transition_id", "transition_id"),
    sqlite_autoincrement=True,
)

notifications = Table(
    "notifications",
    metadata,
    _id(),
    Column("delivery_key", Text, nullable=False, unique=True),  # the same in every attempt
    Column("channel_id", BigInteger, nullable=False),
    Column("title", Text, nullable=False),
    Column("message", JSON, nullable=False),  # core.alerting.Message
    Column("status", Text, nullable=False),  # pending | sending | delivered | refused | abandoned
    Column("attempts", Integer, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("next_attempt_ms", BigInteger, nullable=False),
    Column("claimed_until_ms", BigInteger),  # a sender that died gives it back by this time
    Column("finished_ms", BigInteger),
    # senders: what is due
    Index(
        "ix_notifications_due",
        "next_attempt_ms",
        sqlite_where=text("finished_ms IS NULL"),
        postgresql_where=text("finished_ms IS NULL"),
    ),
    # settings page: a channel's newest deliveries
    Index("ix_notifications_channel_created", "channel_id", "created_ms"),
    sqlite_autoincrement=True,
)

delivery_attempts = Table(
    "delivery_attempts",
    metadata,
    _id(),
    Column("notification_id", ForeignKey("notifications.id", ondelete="CASCADE"), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Column("ok", Boolean, nullable=False),
    Column("detail", Text, nullable=False),  # what the other side said, never a secret
    # a notification's attempts, in order
    Index("ix_delivery_attempts_notification_id", "notification_id", "id"),
)

# ── what was changed ──────────────────────────────────────────────────────────────────────────────────

deployments = Table(
    "deployments",
    metadata,
    _id(),
    Column("source", Text, nullable=False),  # who told of it, and what it is called there
    Column("outside_id", Text, nullable=False),
    Column("status", Text, nullable=False),  # running | succeeded | failed | canceled
    Column("started_ms", BigInteger, nullable=False),
    Column("finished_ms", BigInteger),  # NULL: running
    Column("service", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("target_names", JSON, nullable=False),  # list of str; with the next two empty: it concerns everything
    Column("machine_names", JSON, nullable=False),  # list of str
    Column("tags", JSON, nullable=False),  # list of str
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    # reports: the deployment each is about
    UniqueConstraint("source", "outside_id"),
    # charts: those of a window
    Index("ix_deployments_started_ms", "started_ms", "id"),
    sqlite_autoincrement=True,
)

# ── who may ───────────────────────────────────────────────────────────────────────────────────────────

users = Table(
    "users",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    Column("password_hash", Text, nullable=False),  # argon2id
    Column("scopes", JSON, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),  # SHA-256 of the cookie
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("seen_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    # keeper: sessions that have run out
    Index("ix_sessions_expires_ms", "expires_ms"),
)

api_keys = Table(
    "api_keys",
    metadata,
    _id(),
    Column("name", Text, nullable=False),
    Column("key_hash", LargeBinary, nullable=False, unique=True),  # SHA-256 of the key
    Column("prefix", Text, nullable=False),  # its first characters, to recognize it by
    Column("scopes", JSON, nullable=False),  # of admin, read, write, ingest, probe
    Column("created_ms", BigInteger, nullable=False),
    Column("last_used_ms", BigInteger),
    Column("revoked_ms", BigInteger),
    sqlite_autoincrement=True,
)

# What is true of the whole installation, by name.
installation = Table(
    "installation",
    metadata,
    Column("name", Text, primary_key=True),  # oldest_revision: the oldest code this schema still serves | key_check
    Column("value", Text, nullable=False),
)

# Which process does a single-handed job (keeper), until when.
leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
)
