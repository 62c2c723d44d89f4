"""Deployments as those who make them tell of them, and which of them concern what is watched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from tocsin.catalog import machines, targets
from tocsin.catalog.errors import FieldError
from tocsin.catalog.fields import all_of, validated
from tocsin.catalog.words import Name, Tag, Tags, one_line, plain_text, unique
from tocsin.core.deployment import About, Report, Status, after
from tocsin.store import deployments as store_deployments
from tocsin.store.deployments import Concerning, DeploymentRow, Key

MAX_NAMES: Final = 100
EARLIEST_MS: Final = 946_684_800_000
"""The year 2000. A time before is a clock that was never set, or seconds taken for milliseconds."""
AHEAD_MS: Final = 86_400_000
"""How far ahead of ours the clock of who reports may be."""

StatusName = Literal["running", "succeeded", "failed", "canceled"]


def _web_address(text: str) -> str:
    """It becomes a link: nothing that a browser would run."""
    if not text:
        return text
    try:
        parts = urlsplit(text)
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_one = False
    if not is_one:
        raise ValueError("must be an address that begins with http:// or https://")
    return text


Words = Annotated[str, Field(max_length=200), AfterValidator(one_line)]
Names = Annotated[list[Name], Field(max_length=MAX_NAMES), AfterValidator(unique)]


class DeploymentFields(BaseModel):
    """What may be sent for a deployment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Name = Field(description="What it is called where it is made: a later report with it is about the same.")
    service: Name = Field(description="What was deployed.", examples=["checkout-api"])
    source: Words = Field(
        "",
        description="Where it is made, if `id` alone does not say which it is.",
        examples=["github.com/shop/checkout"],
    )
    environment: Tag | None = Field(
        None,
        description="Where to. Left out: `production`, unless an earlier report said another.",
        examples=["staging"],
    )
    version: Words = Field("", description="What of it: a version, a tag or a commit.", examples=["v1.42.0"])
    status: StatusName | None = Field(
        None,
        description="`canceled` is no failure. Left out: `succeeded`, unless an earlier report said how it ended.",
    )
    started_at: AwareDatetime | None = Field(
        None, description="RFC 3339. Left out: as an earlier report said, or else when it finished, or now."
    )
    finished_at: AwareDatetime | None = Field(
        None,
        description="RFC 3339. Left out: as an earlier report of the same end said, or else now; none of `running`.",
    )
    description: Annotated[str, Field(max_length=1000), AfterValidator(plain_text)] = Field(
        "", description="What changed."
    )
    by: Words = Field("", description="Who made it.", examples=["ada"])
    url: Annotated[str, Field(max_length=2000), AfterValidator(one_line), AfterValidator(_web_address)] = Field(
        "", description="Where to read more.", examples=["https://ci.example/run/4711"]
    )
    targets: Names = Field(default_factory=list, description="Targets it concerns, by name.")
    machines: Names = Field(default_factory=list, description="Machines it concerns, by name.")
    tags: Tags = Field(
        default_factory=list,
        description="Targets and machines with any of these tags are concerned, too. With `targets` and `machines` "
        "empty as well: all are.",
    )


class Told(NamedTuple):
    row: DeploymentRow
    is_new: bool


def tell(conn: Connection, given: Mapping[str, Any], *, now_ms: int) -> Told:
    """Keeps one report. Of the same deployment there may be several, in any order, and each more than once."""
    written = validated(DeploymentFields, given)
    report = _report(written, now_ms)
    key = Key(written.source, written.id)
    fresh = after(None, report, now_ms=now_ms)
    number = store_deployments.add(conn, key, fresh, at_ms=now_ms)
    if number is not None:
        return Told(DeploymentRow(number, key, fresh), is_new=True)
    known = store_deployments.get_for_change(conn, key)
    deployment = after(known.deployment, report, now_ms=now_ms)
    if deployment != known.deployment:
        store_deployments.change(conn, known.id, deployment, at_ms=now_ms)
    return Told(known._replace(deployment=deployment), is_new=False)


def _report(written: DeploymentFields, now_ms: int) -> Report:
    times = {
        name: None if at is None else round(at.timestamp() * 1000)
        for name, at in (("started_at", written.started_at), ("finished_at", written.finished_at))
    }
    started_ms, finished_ms = times["started_at"], times["finished_at"]
    all_of(
        [
            FieldError(name, "must not be before the year 2000, or more than a day ahead of now")
            for name, at_ms in times.items()
            if at_ms is not None and not EARLIEST_MS <= at_ms <= now_ms + AHEAD_MS
        ],
        [FieldError("finished_at", "what is running has not finished")]
        if finished_ms is not None and written.status == "running"
        else [],
        [FieldError("finished_at", "must not be before started_at")]
        if finished_ms is not None and started_ms is not None and finished_ms < started_ms
        else [],
    )
    about = About(
        service=written.service,
        environment=written.environment or "",
        version=written.version,
        description=written.description,
        by=written.by,
        url=written.url,
        target_names=tuple(written.targets),
        machine_names=tuple(written.machines),
        tags=tuple(written.tags),
    )
    status = None if written.status is None else Status(written.status)
    return Report(status, started_ms, finished_ms, about)


def of_target(conn: Connection, target_id: int) -> Concerning:
    row = targets.get(conn, target_id)
    return Concerning.target(row.name, row.tags)


def of_machine(conn: Connection, machine_id: int) -> Concerning:
    row = machines.get(conn, machine_id)
    return Concerning.machine(row.name, row.tags)
