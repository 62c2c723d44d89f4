"""The shapes of REST: what is sent and answered, documented once, here. Knows no store and no handler.

Answers are written from plain dicts (``api.answers``), so these models describe and test them but cost nothing
on the way out. Everything in an answer is always present; what is not known is null.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar, Union

from pydantic import BaseModel, ConfigDict, Field, create_model

from tocsin.api.parameters import Text
from tocsin.catalog.channels import ChannelFields
from tocsin.catalog.deployments import StatusName
from tocsin.catalog.fields import secret_names
from tocsin.catalog.rules import EventName, RuleFields
from tocsin.catalog.targets import TargetFields
from tocsin.channels import CHANNELS
from tocsin.probes import PROBES

Moment = Annotated[
    str,
    Field(
        description="RFC 3339, UTC, milliseconds.",
        json_schema_extra={"format": "date-time"},
        examples=["2026-03-01T03:12:07.250Z"],
    ),
]
Milliseconds = Annotated[float, Field(ge=0)]
Ratio = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Quorum = Literal["any", "majority", "all"] | Count
VerdictName = Literal["up", "degraded", "down", "unknown"]
ResultName = Literal["passed", "warned", "failed", "unmeasured"]
ScopeName = Literal["admin", "write", "read", "ingest", "probe"]

T = TypeVar("T")


class Answer(BaseModel):
    """What is answered: nothing but what is written here."""

    model_config = ConfigDict(extra="forbid")


A = TypeVar("A", bound=Answer)


class Wish(BaseModel):
    """What is sent. Types must fit exactly, and unknown fields are refused by name."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _example(**fields: Any) -> ConfigDict:
    """Shown in the document beside the shape; the rest of a wish's configuration is kept."""
    return ConfigDict(json_schema_extra={"examples": [fields]})


class Page(Answer, Generic[T]):
    """One page of a list."""

    items: list[T]
    next: str | None = Field(description="Send it as `cursor` for what follows; null: this was the end.")


# ── problems ──────────────────────────────────────────────────────────────────────────────────────────


class FieldProblem(BaseModel):
    field: str = Field(
        description="Dotted path of the field, such as `assert.0`; empty: the whole document.",
        examples=["interval_s"],
    )
    message: str = Field(examples=["must be at least 1"])
    line: int | None = Field(None, description="Where the field holds an expression: the line, from 1.")
    column: int | None = Field(None, description="And the column, from 1.")


class Problem(BaseModel):
    """RFC 9457 problem document."""

    type: str = Field(description="`about:blank`: the status says all.", examples=["about:blank"])
    title: str = Field(examples=["Unprocessable Content"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["interval_s: must be at least 1"])
    errors: list[FieldProblem] = Field(description="Which fields are wrong, and why.")


# ── who ───────────────────────────────────────────────────────────────────────────────────────────────


class SignIn(Wish):
    model_config = _example(name="admin", password="correct horse battery staple")  # noqa: S106 - an example

    name: Text = Field(max_length=200)
    password: str = Field(max_length=1000)


class Who(Answer):
    name: str = Field(examples=["admin"])
    scopes: list[ScopeName] = Field(examples=[["admin"]])


class Session(Answer):
    user: Who


class PasswordChange(Wish):
    model_config = _example(current="correct horse battery staple", new="another long password")

    current: str = Field(max_length=1000)
    new: str = Field(min_length=8, max_length=1000)


class KeyWrite(Wish):
    model_config = _example(name="deploy job", scopes=["write"])

    name: str = Field(min_length=1, max_length=200)
    scopes: list[ScopeName] = Field(min_length=1, max_length=4)


class Key(Answer):
    id: int
    name: str
    prefix: str = Field(description="How the key begins, to know it by.", examples=["tcs_Vq3x"])
    scopes: list[ScopeName]
    created_at: Moment
    last_used_at: Moment | None


class NewKey(Key):
    key: str = Field(description="Shown this once; only its hash is stored.")


# ── targets ───────────────────────────────────────────────────────────────────────────────────────────


class Bar(Answer):
    """One hour of the 24-hour bar."""

    start: Moment
    verdict: VerdictName | None = Field(description="The worst in that hour; null: nothing is known of it.")
    checks: Count
    failed: Count


class TargetSummary(Answer):
    uptime_24h: Ratio | None = Field(description="Time-weighted; null: no data.")
    uptime_30d: Ratio | None
    p95_ms_24h: Milliseconds | None
    checks_24h: Count
    failed_24h: Count
    bar: list[Bar] = Field(description="The last 24 hours, oldest first.")


class TargetName(Answer):
    id: int
    name: str


class MachineName(Answer):
    id: int
    name: str


class LocationState(Answer):
    """How a target stands as one location sees it."""

    location: str = Field(examples=["fra"])
    verdict: VerdictName
    since: Moment
    reason: str
    last_check_at: Moment | None
    last_latency_ms: Milliseconds | None
    workers: Count = Field(description="How many there are now. Without one nothing is checked from there.")


class TargetRead(Answer):
    """What every target has."""

    id: int
    name: str
    slug: str = Field(description="Its name in addresses; made from the name once and never changed.")
    description: str
    enabled: bool
    interval_s: float
    timeout_s: float
    recheck_s: float
    tags: list[str]
    group: str
    assertions: list[str] = Field(alias="assert")
    failures_to_down: int
    passes_to_up: int
    warnings_to_degraded: int
    degraded_above_ms: float | None
    certificate_warning_days: int | None
    locations: list[str] = Field(
        description="Where it is checked from; empty: from every location, or from none because its job calls in.",
        examples=[["fra", "nyc"]],
    )
    quorum: Quorum | None = Field(
        description="How many locations must agree; null: nobody checks it from anywhere, because its job calls in."
    )
    depends_on: list[int] = Field(description="Targets it cannot be up without.")
    endpoint: str = Field(description="The address people know it by.")
    secrets_set: list[str] = Field(description="Which secret fields are set; their values are never shown.")
    verdict: VerdictName
    since: Moment = Field(description="When the verdict began.")
    reason: str
    because_of: TargetName | None = Field(
        description="The target because of which it is down: the topmost of those it depends on, directly or not, that "
        "is down. Null: it is not down, or is so by itself."
    )
    paused: bool
    last_check_at: Moment | None
    last_latency_ms: Milliseconds | None
    certificate_expires_at: Moment | None
    created_at: Moment
    updated_at: Moment
    ping_url: str | None = Field(description="Where a heartbeat's job calls in; null for other kinds.")
    summary: TargetSummary | None = Field(
        None, description="Only with `expand=summary`.", json_schema_extra={"x-optional": True}
    )
    location_states: list[LocationState] | None = Field(
        None,
        description="How it stands as each location sees it. Of one target, and in lists with `expand=locations`.",
        json_schema_extra={"x-optional": True},
    )


def _read_model(name: str, common: type[A], settings: type[BaseModel], kind: str) -> type[A]:
    """The common fields, and the kind's own; a secret is always null."""
    secrets = set(secret_names(settings))
    fields: dict[str, Any] = {"kind": (Literal[kind], ...)}
    for field_name, field in settings.model_fields.items():
        if field_name in secrets:
            fields[field_name] = (None, Field(description=f"Never shown. {field.description or ''}".strip()))
        else:
            fields[field_name] = (field.annotation, Field(description=field.description))
    model: type[A] = create_model(name, __base__=common, __doc__=settings.__doc__, **fields)
    return model


def _optional(name: str, common: type[BaseModel], doc: str, **more: Any) -> type[BaseModel]:
    """The common fields, each of which may be left out; the kind's own may stand beside them."""
    fields: dict[str, Any] = {
        field_name: (field.annotation, Field(None, alias=field.alias, description=field.description))
        for field_name, field in common.model_fields.items()
    }
    model: type[BaseModel] = create_model(name, __doc__=doc, __config__=ConfigDict(extra="allow"), **fields, **more)
    return model


READ_MODELS: dict[str, type[TargetRead]] = {
    kind: _read_model(f"{kind.capitalize()}Target", TargetRead, probe.settings, kind) for kind, probe in PROBES.items()
}
"""What is answered for each kind of target."""

Target: Any = Annotated[Union[tuple(READ_MODELS.values())], Field(discriminator="kind")]  # noqa: UP007

_PATCH = (
    "Only what changes: common fields, and the kind's own beside them. A secret left out or null stays; "
    '"" clears it. The kind itself cannot be changed.'
)
TargetPatch = _optional("TargetPatch", TargetFields, _PATCH)
TargetTrial = _optional(
    "TargetTrial",
    TargetFields,
    "A whole target, or the `id` of a saved one and only what should differ.",
    id=(int, Field(None, description="A saved target.")),
    kind=(str, Field(None, description="Needed where no `id` is given.")),
)


class CloneWish(Wish):
    model_config = _example(name="shop, from the office")

    name: str | None = Field(None, description="Left out: the old name with “(copy)”.")


class Phases(Answer):
    """Where the time went; null: that phase did not happen."""

    dns_ms: Milliseconds | None
    connect_ms: Milliseconds | None
    tls_ms: Milliseconds | None
    first_byte_ms: Milliseconds | None
    transfer_ms: Milliseconds | None


class Assertion(Answer):
    source: str = Field(examples=["status == 200"])
    ok: bool
    error: str | None = Field(description="Why it could not be evaluated; null where it could.")
    values: dict[str, Any] = Field(
        description="The variables it names, with what was seen.", examples=[{"status": 503}]
    )


class CertificateRead(Answer):
    """One certificate of the chain; the first is the server's own."""

    subject: str
    issuer: str
    names: list[str]
    not_before: Moment
    not_after: Moment
    serial: str
    fingerprint: str = Field(description="SHA-256, hex.")


class Examination(Answer):
    """Everything one check saw."""

    result: ResultName
    ok: bool | None = Field(description="Null: nothing could be measured.")
    latency_ms: Milliseconds | None
    phases: Phases
    address: str | None = Field(description="The address that was contacted.")
    error: str | None
    network_fault: bool = Field(description="A fault that a lost network of our own would also cause.")
    assertions: list[Assertion]
    certificates: list[CertificateRead]
    details: dict[str, Any] = Field(
        description="What only this kind has. http: `status`, `version`, `headers`, `body`, `body_bytes`, "
        "`truncated`, `redirects`; dns: `answers` …"
    )


class Evidence(Examination):
    at: Moment
    location: str | None


class Check(Answer):
    at: Moment
    ok: bool | None = Field(description="Null: nothing could be measured.")
    result: ResultName
    latency_ms: Milliseconds | None
    phases: Phases
    location: str | None
    error: str | None
    has_evidence: bool


class Transition(Answer):
    """A change of verdict. `from` and `to` are verdicts, `at` is when the new one began."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    id: int
    rule: str = Field(examples=["reachable"])
    before: VerdictName = Field(alias="from")
    after: VerdictName = Field(alias="to")
    at: Moment
    ended_at: Moment | None = Field(description="When the next change began; null: it lasts.")
    duration_s: float = Field(description="Until then, or until now.")
    reason: str
    location: str | None = Field(
        description="From where the check was made that settled it. Null: from none, as when a job called in."
    )
    check_at: Moment = Field(description="The check that settled it.")
    has_evidence: bool


class TimelineEntry(Transition):
    """A change of a target's or of a machine's verdict."""

    target: TargetName | None = Field(description="Null: it is about a machine.")
    machine: MachineName | None = Field(description="Null: it is about a target.")
    because_of: TargetName | None = Field(
        description="While it lasts: the target because of which this one is down; null: by itself, or it is over."
    )


class DeploymentBrief(Answer):
    """How a deployment stands."""

    id: str = Field(description="What it is called at its source.", examples=["run-4711"])
    source: str = Field(description="Empty: its `id` alone says which it is.", examples=["github.com/shop/checkout"])
    status: StatusName
    started_at: Moment
    finished_at: Moment | None = Field(description="Null: it is running, as far as is known.")


class Deployment(DeploymentBrief):
    """It concerns the targets and machines it names and those with any of its tags; where it names nothing, all."""

    service: str = Field(examples=["checkout-api"])
    environment: str = Field(examples=["production"])
    version: str = Field(description="Empty: not said.", examples=["v1.42.0"])
    description: str
    by: str = Field(examples=["ada"])
    url: str = Field(description="Where to read more; empty: not said.", examples=["https://ci.example/run/4711"])
    targets: list[str]
    machines: list[str]
    tags: list[str]


class ResultCounts(Answer):
    passed: Count
    warned: Count
    failed: Count
    unmeasured: Count


class Window(Answer):
    """One window up to now. Uptime is time-weighted; maintenance and unknown count for neither side."""

    uptime: Ratio | None = Field(description="Null: no data.")
    up_s: float
    degraded_s: float
    down_s: float
    unknown_s: float
    maintenance_s: float
    outages: Count
    p50_ms: Milliseconds | None
    p95_ms: Milliseconds | None
    p99_ms: Milliseconds | None
    checks: Count
    failed: Count
    counts: ResultCounts


WindowName = Literal["24h", "7d", "30d", "90d", "365d"]


class Summary(Answer):
    windows: dict[WindowName, Window]


class Uptime(Answer):
    id: int
    uptime: dict[WindowName, Ratio | None] = Field(
        description="By window; null: no data.", examples=[{"24h": 1.0, "7d": 0.9991}]
    )


class LatencyPoint(Answer):
    at: Moment = Field(description="Where the step begins.")
    checks: Count
    failed: Count
    p50_ms: Milliseconds | None
    p95_ms: Milliseconds | None
    p99_ms: Milliseconds | None
    min_ms: Milliseconds | None
    max_ms: Milliseconds | None
    avg_ms: Milliseconds | None
    phases: Phases


class Latency(Answer):
    """Latency by step. A step in which nothing was checked has no point."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    step_s: float
    start: Moment = Field(alias="from")
    end: Moment = Field(alias="to")
    points: list[LatencyPoint]


class Ping(Answer):
    """One call of a heartbeat's job."""

    id: int
    at: Moment
    kind: Literal["start", "success", "fail", "log"]
    exit_code: int | None
    run_id: str | None
    duration_ms: Milliseconds | None = Field(description="Since the matching start, where there was one.")
    remote: str
    user_agent: str
    body: str | None = Field(description="The first 10 kB of what the job sent, as text.")


# ── machines ──────────────────────────────────────────────────────────────────────────────────────────

Share = Annotated[float, Field(ge=0)]
"""0 to 1."""
RuleName = Literal["reporting", "cpu", "memory", "disk", "forecast"]
TierName = Literal["ticks", "minutes", "hours"]


class Current(Answer):
    """How a machine is now; null: it did not say."""

    cpu: Share | None = Field(description="Of all processors together, 0 to 1.")
    memory: Share | None = Field(description="What is not available, 0 to 1.")
    swap: Share | None
    disk: Share | None = Field(description="Of the fullest filesystem.")
    disk_mount: str | None = Field(description="Where that one is mounted.", examples=["/var"])
    cores: float | None
    memory_bytes: float | None
    load_1m: float | None
    load_5m: float | None
    load_15m: float | None
    network_in: float | None = Field(description="Bytes a second, all interfaces together.")
    network_out: float | None
    disk_read: float | None = Field(description="Bytes a second, all disks together.")
    disk_write: float | None
    processes: float | None = Field(description="How many run.")
    uptime_s: float | None
    temperature: float | None = Field(description="Of the hottest sensor, °C.")
    disk_full_in_h: float | None = Field(
        description="Hours until the first filesystem is full, should it go on like this; null: none will be."
    )


class Band(Answer):
    """From when on a number is worth a warning, and from when on it is critical: shares 0 to 1, for `forecast` hours.
    What is so stays so until the number is beyond the value for recovery."""

    warn: float | None
    critical: float | None
    warn_recovery: float | None
    critical_recovery: float | None
    for_s: float = Field(description="It must have been so for this long.")


class ReportingBand(Answer):
    silent_after_s: float | None = Field(
        description="A machine that is silent for this long is down. Null: three times its interval, at least 15 s."
    )


class Bands(Answer):
    """What a machine is judged by; a rule that is null is not judged."""

    cpu: Band | None
    memory: Band | None
    disk: Band | None
    forecast: Band | None
    reporting: ReportingBand | None


class OwnBand(Wish):
    """What is left out comes from the tags, or is as usual."""

    warn: float | None = Field(None, examples=[0.8])
    critical: float | None = Field(None, examples=[0.95])
    warn_recovery: float | None = Field(None, examples=[0.75])
    critical_recovery: float | None = Field(None, examples=[0.9])
    for_s: float | None = Field(None, examples=[300])


class OwnReportingBand(Wish):
    silent_after_s: float | None = None


class OwnBands(Wish):
    """Only what differs. A rule that is left out is as usual; one that is null is not judged."""

    model_config = _example(cpu={"warn": 0.9, "critical": 0.98, "for_s": 600}, forecast=None)

    cpu: OwnBand | None = None
    memory: OwnBand | None = None
    disk: OwnBand | None = None
    forecast: OwnBand | None = None
    reporting: OwnReportingBand | None = None


class TagBands(Answer):
    """For every machine with the tag; its own go before."""

    tag: str
    bands: OwnBands


class AllTagBands(Answer):
    items: list[TagBands]
    next: None
    usual: Bands = Field(description="For machines without any.")


class MachinePatch(Wish):
    """Only what changes."""

    model_config = _example(name="db-1", tags=["database"], bands={"memory": {"warn": 0.95, "critical": 0.99}})

    name: str | None = None
    tags: list[str] | None = None
    bands: OwnBands | None = Field(None, description="In place of all its own; `{}` takes them away.")


class MachineRule(Answer):
    """How a machine stands by one rule."""

    rule: RuleName
    verdict: VerdictName
    since: Moment
    reason: str


class MachineKey(Answer):
    """The API key that a machine came with last."""

    id: int
    name: str
    revoked: bool


class Process(Answer):
    pid: int
    name: str
    user: str
    cpu: Share | None = Field(description="Of one processor: above 1 where it uses several.")
    memory_bytes: float | None


class SeriesName(Answer):
    """A line of numbers that a machine sends, named as OpenTelemetry does."""

    name: str = Field(examples=["system.memory.usage"])
    attributes: dict[str, str] = Field(examples=[{"system.memory.state": "used"}])
    unit: str = Field(description="Of a counter: per second.", examples=["By"])


class MachineRead(Answer):
    """A machine that reports, or did. All text in it but tags comes from the machine itself."""

    id: int
    uid: str = Field(description="What the machine calls itself; it stays when it is renamed.")
    name: str
    verdict: VerdictName = Field(description="The worst of its rules.")
    since: Moment
    reason: str
    last_seen: Moment | None = Field(description="The time of the newest sample.")
    every_s: float = Field(description="It reports this often.")
    clock_off_ms: int = Field(description="How far its clock is ahead of the installation's; negative: behind.")
    version: str = Field(description="Of its collector.")
    tags: list[str]
    facts: dict[str, str] = Field(
        description="Attributes of its OpenTelemetry resource.", examples=[{"host.arch": "amd64", "os.type": "linux"}]
    )
    refused: Count = Field(description="Values that made no sense and were left out, since it is known.")
    key: MachineKey | None = Field(description="Null: it came without one, from this very installation.")
    bands: Bands = Field(description="In force: its own, then those of its tags, then the usual ones.")
    own_bands: OwnBands
    rules: list[MachineRule] = Field(description="Worst first.")
    current: Current
    created_at: Moment
    spark: list[float | None] | None = Field(
        None,
        description="Only with `expand=spark`: `current.cpu` of each of the last 30 minutes, oldest first.",
        json_schema_extra={"x-optional": True},
    )
    processes: list[Process] | None = Field(
        None,
        description="Of one machine only: what uses most. Null: it does not say.",
        json_schema_extra={"x-optional": True},
    )
    series: list[SeriesName] | None = Field(
        None, description="Of one machine only: what it sends.", json_schema_extra={"x-optional": True}
    )


class SeriesPoints(SeriesName):
    """One value per time of `at`; null: nothing was sent then."""

    avg: list[float | None]
    min: list[float | None]
    max: list[float | None]
    last: list[float | None]


class MachineSeries(Answer):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    start: Moment = Field(alias="from")
    end: Moment = Field(alias="to")
    step_s: float
    tier: TierName = Field(description="What the points were made from.")
    at: list[int] = Field(description="Where each step begins, epoch ms.")
    series: list[SeriesPoints]
    left_out: Count = Field(description="How many more series there are than fit in one answer.")


class MachineCounts(Answer):
    up: Count
    degraded: Count
    down: Count
    unknown: Count


# ── who is told ───────────────────────────────────────────────────────────────────────────────────────


class LastDelivery(Answer):
    status: Literal["pending", "sending", "delivered", "refused", "abandoned"]
    at: Moment
    detail: str = Field(description="What the other side said.")


class ChannelRead(Answer):
    """What every channel has."""

    id: int
    name: str
    enabled: bool
    secrets_set: list[str] = Field(description="Which secret fields are set; their values are never shown.")
    last_delivery: LastDelivery | None
    created_at: Moment
    updated_at: Moment


CHANNEL_READ_MODELS: dict[str, type[ChannelRead]] = {
    kind: _read_model(f"{kind.capitalize()}Channel", ChannelRead, channel.settings, kind)
    for kind, channel in CHANNELS.items()
}
Channel: Any = Annotated[Union[tuple(CHANNEL_READ_MODELS.values())], Field(discriminator="kind")]  # noqa: UP007
ChannelPatch = _optional("ChannelPatch", ChannelFields, _PATCH)
ChannelTrial = _optional(
    "ChannelTrial",
    ChannelFields,
    "A whole channel, or the `id` of a saved one and only what should differ.",
    id=(int, Field(None, description="A saved channel.")),
    kind=(str, Field(None, description="Needed where no `id` is given.")),
)


class DeliveryTrial(Answer):
    ok: bool
    detail: str = Field(description="What the other side said, or why it was not reached.")
    duration_ms: Milliseconds


class ChannelKindRead(Answer):
    kind: str
    title: str
    fields: dict[str, Any] = Field(
        alias="schema", description="JSON Schema of what may be sent for this kind, for forms."
    )


class ChannelKinds(Answer):
    items: list[ChannelKindRead]
    next: None


class RuleRead(Answer):
    id: int
    name: str
    enabled: bool
    is_default: bool = Field(description="The one that is always there; it can be switched off, not deleted.")
    target_ids: list[int]
    machine_ids: list[int]
    tags: list[str]
    events: list[EventName]
    channel_ids: list[int]
    reminder_s: int | None


RulePatch = _optional("RulePatch", RuleFields, "Only what changes.")


class ChannelName(Answer):
    id: int
    name: str | None = Field(description="Null: the channel has been deleted.")


class DeliveryAttempt(Answer):
    at: Moment
    ok: bool
    duration_ms: Milliseconds
    detail: str


class NotificationRead(Answer):
    id: int
    delivery_key: str = Field(description="The same in every attempt: whoever receives it can drop repetitions.")
    channel: ChannelName
    title: str
    text: str
    status: Literal["pending", "sending", "delivered", "refused", "abandoned"]
    attempts: list[DeliveryAttempt] = Field(description="Oldest first.")
    created_at: Moment
    next_attempt_at: Moment | None


# ── all of them ───────────────────────────────────────────────────────────────────────────────────────


class Counts(Answer):
    up: Count
    degraded: Count
    down: Count
    down_because_of: Count = Field(description="Of those that are down: how many because of another that is.")
    unknown: Count
    paused: Count


class TargetBrief(Answer):
    id: int
    name: str
    kind: str
    verdict: VerdictName
    since: Moment
    reason: str
    because_of: TargetName | None = Field(description="The target because of which it is down.")
    last_latency_ms: Milliseconds | None


class TroubledMachine(Answer):
    id: int
    name: str
    verdict: VerdictName
    since: Moment
    reason: str


class AggregatorDoor(Answer):
    port: int = Field(examples=[4317])
    tls: bool


class Overview(Answer):
    counts: Counts
    machines: MachineCounts
    worst: list[TargetBrief] = Field(description="Down, then degraded, then unknown; longest first. At most 50.")
    worst_machines: list[TroubledMachine] = Field(description="Down, then degraded; longest first. At most 50.")
    uptime_30d: Ratio | None = Field(description="Of all targets together; null: no data.")
    measured_s_30d: float = Field(description="How much of the 30 days was measured, of the target where it is most.")
    p95_ms_24h: Milliseconds | None
    timeline: list[TimelineEntry] = Field(
        description="The newest 100 changes of targets and machines that are there, without those from unknown to up. "
        "See `/v1/timeline` for all."
    )
    checks_per_minute: float
    aggregator: AggregatorDoor | None = Field(
        description="Where collectors and workers that are far away are received (gRPC); null: nowhere."
    )
    version: str
    started_at: Moment


class Worker(Answer):
    id: str
    name: str = Field(description="Of its host.", examples=["probe-1.fra.example"])
    version: str
    remote: bool = Field(description="It is far from the database and reports through the aggregator.")
    started_at: Moment
    seen_at: Moment = Field(description="Its last sign of life.")
    shards: Count = Field(description="How many of the 64 parts of the location's targets it has.")
    clock_off_ms: int = Field(description="How far its clock is ahead of the installation's; negative: behind.")


class Location(Answer):
    name: str = Field(examples=["fra"])
    workers: list[Worker] = Field(description="Those that are there now.")
    targets: Count = Field(description="How many targets are to be checked from there: those that name it or none.")


class Tally(Answer):
    name: str
    targets: Count


class Tallies(Answer):
    items: list[Tally]
    next: None


class KindRead(Answer):
    kind: str
    title: str
    variables: dict[str, str] = Field(description="What an assertion may name, and its type.")
    default_assert: list[str]
    fields: dict[str, Any] = Field(
        alias="schema", description="JSON Schema of what may be sent for this kind, for forms."
    )


class Kinds(Answer):
    items: list[KindRead]
    next: None


class ExpressionWish(Wish):
    model_config = _example(kind="http", expression="status == 200 && json.ok")

    kind: str
    expression: str


class ExpressionAnswer(Answer):
    ok: bool
    message: str | None
    line: int | None
    column: int | None


class Liveness(Answer):
    status: Literal["ok"]


class Readiness(Answer):
    status: Literal["ready", "not ready"]
    database: Literal["ok", "unavailable", "slow"]
    schema_state: Literal["current", "behind", "newer", "ahead", "empty", "unknown"]
    detail: str = Field(description="What to do about it; empty when ready.")
