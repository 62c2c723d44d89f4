"""The heartbeat kind: a job that must call in. Nobody probes it; its calls, and their absence, are the outcomes.

Only its settings live here. When it is due is ``core.schedule``'s business, what a call means ``core.heartbeat``'s.
"""

from __future__ import annotations

from functools import cached_property

from pydantic import Field, ValidationInfo, field_validator

from tocsin.core.schedule import Cron, Every, Schedule, check_cron, check_time_zone, describe
from tocsin.probes.base import ProbeKind, ProbeSettings

_YEAR_S = 366 * 86_400


class HeartbeatSettings(ProbeSettings):
    """A job that calls in: every so often, or at the times of a cron expression."""

    period_s: int | None = Field(
        None, ge=1, le=_YEAR_S, description="It calls at least this often. Give this or cron.", examples=[3600]
    )
    cron: str = Field(
        "",
        max_length=200,
        validate_default=True,
        description="It calls after each of these times: five fields, or @hourly, @daily, @weekly, @monthly, @yearly.",
        examples=["30 2 * * *"],
    )
    tz: str = Field("UTC", max_length=64, description="The time zone of cron (IANA).", examples=["Europe/Berlin"])
    grace_s: int = Field(
        300,
        ge=0,
        le=_YEAR_S,
        description="How late a call may be; also how long a run may take that has announced its start.",
    )

    @field_validator("cron")
    @classmethod
    def _one_schedule(cls, cron: str, info: ValidationInfo) -> str:
        cron = " ".join(cron.split())
        if cron:
            check_cron(cron)
        if "period_s" in info.data and (info.data["period_s"] is not None) == bool(cron):
            raise ValueError("give one of period_s and cron" + (", not both" if cron else ""))
        return cron

    @field_validator("tz")
    @classmethod
    def _is_time_zone(cls, name: str) -> str:
        check_time_zone(name)
        return name

    @cached_property
    def schedule(self) -> Schedule:
        if self.period_s is not None:
            return Every(self.period_s * 1000, self.grace_s * 1000)
        return Cron(self.cron, self.tz, self.grace_s * 1000)


HEARTBEAT = ProbeKind(
    kind="heartbeat",
    title="Heartbeat",
    settings=HeartbeatSettings,
    variables={},
    default_assertions=(),
    probe=None,
    endpoint=lambda settings: describe(settings.schedule),
    schedule=lambda settings: settings.schedule,
)
